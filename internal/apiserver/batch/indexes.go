package batch

import (
	"fmt"
	"strconv"
	"strings"
)

// intervals are the indexes of an indexed job as its status has them: "1,3-5,7".
type intervals []interval

type interval struct{ first, last int32 }

// parseIndexes parses indexes below completions, in rising order. What was parsed
// before an error is returned with it.
func parseIndexes(text string, completions int32) (intervals, error) {
	var parsed intervals
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		next, err := parseInterval(part, completions)
		if err != nil {
			return nil, err
		}
		if n := len(parsed); n > 0 && parsed[n-1].last >= next.first {
			return nil, fmt.Errorf("non-increasing order, previous: %d, current: %d", parsed[n-1].last, next.first)
		}
		parsed = append(parsed, next)
	}
	return parsed, nil
}

func parseInterval(text string, completions int32) (interval, error) {
	limits := strings.Split(text, "-")
	if len(limits) > 2 {
		return interval{}, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", text)
	}
	values := make([]int32, len(limits))
	for i, limit := range limits {
		n, err := strconv.Atoi(limit)
		if err != nil {
			return interval{}, fmt.Errorf("cannot convert string to integer for index: %q", limit)
		}
		if n >= int(completions) {
			return interval{}, fmt.Errorf("too large index: %q", limit)
		}
		values[i] = int32(n)
	}
	if len(values) == 1 {
		return interval{values[0], values[0]}, nil
	}
	if values[0] >= values[1] {
		return interval{}, fmt.Errorf("non-increasing order, previous: %d, current: %d", values[0], values[1])
	}
	return interval{values[0], values[1]}, nil
}

func (all intervals) count() int32 {
	var n int32
	for _, i := range all {
		n += i.last - i.first + 1
	}
	return n
}

// overlap finds an index that both have.
func (all intervals) overlap(others intervals) (int32, bool) {
	for len(all) > 0 && len(others) > 0 {
		a, b := all[0], others[0]
		if a.first <= b.last && b.first <= a.last {
			return max(a.first, b.first), true
		}
		if a.first <= b.first {
			all = all[1:]
		} else {
			others = others[1:]
		}
	}
	return 0, false
}
