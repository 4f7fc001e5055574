package job

import (
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
)

// span of indexes, both ends included.
type span struct{ first, last int }

// indexes is a set of completion indexes, in order, without neighbours that
// touch: Jobs may have a hundred thousand.
type indexes []span

// parseIndexes reads "1,3-5"; what is not below completions is left out.
func parseIndexes(s string, completions int) indexes {
	var spans indexes
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && isRange {
			last, err = strconv.Atoi(to)
		}
		if err == nil && first < completions && first <= last {
			spans = append(spans, span{first, min(last, completions-1)})
		}
	}
	return spans.normal()
}

func (x indexes) normal() indexes {
	spans := slices.Clone(x)
	slices.SortFunc(spans, func(a, b span) int { return a.first - b.first })
	var merged indexes
	for _, s := range spans {
		if n := len(merged); n > 0 && s.first <= merged[n-1].last+1 {
			merged[n-1].last = max(merged[n-1].last, s.last)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

func (x indexes) with(more ...int) indexes {
	all := slices.Clone(x)
	for _, i := range more {
		all = append(all, span{i, i})
	}
	return all.normal()
}

func (x indexes) and(y indexes) indexes { return append(slices.Clone(x), y...).normal() }

func (x indexes) total() (n int) {
	for _, s := range x {
		n += s.last - s.first + 1
	}
	return n
}

func (x indexes) has(i int) bool {
	at, found := slices.BinarySearchFunc(x, i, func(s span, i int) int { return s.first - i })
	return found || at > 0 && x[at-1].last >= i
}

// common counts what is in both.
func (x indexes) common(y indexes) (n int) {
	for i, j := 0, 0; i < len(x) && j < len(y); {
		n += max(0, min(x[i].last, y[j].last)-max(x[i].first, y[j].first)+1)
		if x[i].last < y[j].last {
			i++
		} else {
			j++
		}
	}
	return n
}

// missing gives the first n below completions that are not in the set.
func (x indexes) missing(n, completions int) (free []int) {
	next := 0
	for _, s := range append(slices.Clone(x), span{completions, completions}) {
		for ; next < min(s.first, completions) && len(free) < n; next++ {
			free = append(free, next)
		}
		next = max(next, s.last+1)
	}
	return free
}

func (x indexes) String() string {
	parts := make([]string, len(x))
	for i, s := range x {
		switch s.last - s.first {
		case 0:
			parts[i] = strconv.Itoa(s.first)
		case 1:
			parts[i] = strconv.Itoa(s.first) + "," + strconv.Itoa(s.last)
		default:
			parts[i] = strconv.Itoa(s.first) + "-" + strconv.Itoa(s.last)
		}
	}
	return strings.Join(parts, ",")
}

// indexOf a pod, if it has one.
func indexOf(p *v1.Pod) (int, bool) {
	i, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	return i, err == nil && i >= 0
}

// indexesOf pods.
func indexesOf(pods []*v1.Pod) (found []int) {
	for _, p := range pods {
		if i, ok := indexOf(p); ok {
			found = append(found, i)
		}
	}
	return found
}

func isIndexed(j *batchv1.Job) bool {
	return j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion
}

// counts says that a pod stands for a completion of the Job.
func counts(j *batchv1.Job, p *v1.Pod) bool {
	if !isIndexed(j) {
		return true
	}
	i, ok := indexOf(p)
	return ok && i < completions(j)
}

func completions(j *batchv1.Job) int {
	if j.Spec.Completions == nil {
		return 1
	}
	return int(*j.Spec.Completions)
}
