package explain

import (
	"math"
	"slices"
	"time"
)

// axis maps times to columns. It is wide where things happen: each stretch between
// two events has a width by the logarithm of its length, so that the 200 ms of a
// start can be seen in a life of days.
type axis struct {
	times   []time.Time // events, ascending, the first and the last are the ends
	offsets []float64   // columns from the left, one for each time
	width   int
}

// quantum is a stretch of time that is just worth a width of its own.
const quantum = 20 * time.Millisecond

func newAxis(from, to time.Time, events []time.Time, width int) axis {
	times := []time.Time{from, to}
	for _, t := range events {
		if t.After(from) && t.Before(to) {
			times = append(times, t)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	a := axis{times: times, offsets: make([]float64, len(times)), width: width}
	for i := 1; i < len(times); i++ {
		stretch := times[i].Sub(times[i-1])
		a.offsets[i] = a.offsets[i-1] + math.Log2(1+float64(stretch)/float64(quantum))
	}
	if total := a.offsets[len(a.offsets)-1]; total > 0 {
		for i := range a.offsets {
			a.offsets[i] *= float64(width) / total
		}
	}
	return a
}

// column of a time, from 0 to width.
func (a axis) column(t time.Time) int {
	i, exact := slices.BinarySearchFunc(a.times, t, time.Time.Compare)
	switch {
	case exact:
		return int(math.Round(a.offsets[i]))
	case i == 0:
		return 0
	case i == len(a.times):
		return a.width
	}
	part := float64(t.Sub(a.times[i-1])) / float64(a.times[i].Sub(a.times[i-1]))
	return int(math.Round(a.offsets[i-1] + part*(a.offsets[i]-a.offsets[i-1])))
}

// at is the time at a column.
func (a axis) at(column int) time.Time {
	for i := 1; i < len(a.offsets); i++ {
		if float64(column) <= a.offsets[i] {
			width := a.offsets[i] - a.offsets[i-1]
			if width == 0 {
				return a.times[i]
			}
			part := (float64(column) - a.offsets[i-1]) / width
			return a.times[i-1].Add(time.Duration(part * float64(a.times[i].Sub(a.times[i-1]))))
		}
	}
	return a.times[len(a.times)-1]
}

// ruler is the axis as a line of ticks and a line of times since its beginning.
func (a axis) ruler(s Style) (ticks, labels string) {
	line, tick := '-', '+'
	if s.Unicode {
		line, tick = '─', '┴'
	}
	bar := []rune(string(slices.Repeat([]rune{line}, max(a.width, 1))))
	text := []rune{}
	for column := 0; column < a.width; column += 12 {
		label := Duration(a.at(column).Sub(a.times[0]))
		if column == 0 {
			label = "0"
		}
		bar[column] = tick
		text = append([]rune(pad(string(text), column)), []rune(label)...)
	}
	return string(bar), string(text)
}
