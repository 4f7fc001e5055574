package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/proa-project/proa/internal/control"
)

// look of a kind of span in the chart. Where several are true of one column, the
// later in the list is shown.
type look struct {
	kind           string
	unicode, ascii rune
	color, legend  string
}

var looks = []look{
	{"backOff", '·', '.', yellow, "backs off"},
	{"pull", '░', '~', cyan, "pulls"},
	{"start", '▒', ':', blue, "starts"},
	{"run", '▄', '=', yellow, "runs"},
	{"ready", '█', '#', green, "is ready"},
	{"postStart", '▚', 'h', purple, "hook"},
	{"preStop", '▚', 'h', purple, "hook"},
	{"stop", '▓', 'x', red, "is told to end"},
	// Of the pod.
	{"cgroup", '▒', ':', blue, ""},
	{"volumes", '▒', ':', blue, ""},
	{"sandbox", '▒', ':', blue, ""},
	{"resize", '▚', 'h', purple, ""},
	{"release", '·', '.', dim, ""},
}

// phaseLooks are of the pod's own lane.
var phaseLooks = map[string]look{
	"Admitting":    {unicode: '·', ascii: '.', color: dim},
	"Preparing":    {unicode: '▒', ascii: ':', color: blue},
	"Initializing": {unicode: '▄', ascii: '=', color: yellow},
	"Running":      {unicode: '█', ascii: '#', color: green},
	"Stopping":     {unicode: '▓', ascii: 'x', color: red},
	"Releasing":    {unicode: '·', ascii: '.', color: dim},
}

// The ends of a container's runs.
var (
	endedWell = look{unicode: '✓', ascii: 'v', color: green, legend: "ended well"}
	endedBad  = look{unicode: '✗', ascii: '!', color: red, legend: "failed"}
)

// SpansShown in the list below the chart, unless all are asked for.
const SpansShown = 24

// Timeline writes the pod's life as a chart, and its spans as a list, at most as
// many as limit.
func (a *Answer) Timeline(w io.Writer, s Style, now time.Time, limit int) {
	head := a.headline(now)
	fmt.Fprintln(w, s.paint(bold, head))
	spans := sorted(a.Explanation.Spans)
	if len(spans) == 0 {
		fmt.Fprintln(w, "  nothing is known of what it did")
		return
	}
	end := now
	if !a.Explanation.GoneAt.IsZero() {
		end = a.Explanation.GoneAt
	}
	c := newChart(spans, end, s)
	c.write(w)
	writeSpans(w, s, spans, end, limit)
}

func sorted(spans []control.Span) []control.Span {
	out := slices.Clone(spans)
	slices.SortStableFunc(out, func(a, b control.Span) int { return a.From.Compare(b.From) })
	return out
}

// chart is the lanes of a pod on one axis.
type chart struct {
	style Style
	axis  axis
	end   time.Time
	lanes []string
	cells map[string][]look
	used  []look
	label int // width of the lanes' names
}

func newChart(spans []control.Span, end time.Time, s Style) *chart {
	c := &chart{style: s, end: end, cells: map[string][]look{}, label: 3}
	var events []time.Time
	for _, span := range spans {
		events = append(events, span.From, c.to(span))
		if !slices.Contains(c.lanes, span.Lane) {
			c.lanes = append(c.lanes, span.Lane)
			c.label = min(max(c.label, len(span.Lane)), 20)
		}
	}
	slices.SortStableFunc(c.lanes, func(a, b string) int { return boolInt(a != "") - boolInt(b != "") })
	c.axis = newAxis(spans[0].From, end, events, max(s.Width-c.label-4, 20))
	for _, lane := range c.lanes {
		c.cells[lane] = make([]look, c.axis.width+1)
	}
	for _, kind := range append([]look{{kind: "phase"}}, looks...) {
		for _, span := range spans {
			if span.Kind == kind.kind {
				c.draw(span, kind)
			}
		}
	}
	for _, span := range spans {
		c.drawEnd(span)
	}
	return c
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *chart) to(s control.Span) time.Time {
	if s.To.IsZero() || s.To.After(c.end) {
		return c.end
	}
	return s.To
}

func (c *chart) draw(s control.Span, l look) {
	switch {
	case l.kind == "phase":
		l = phaseLooks[s.Note]
	case s.Lane == "" && l.kind != "resize":
		return // the phases say enough
	case s.Lane != "":
		c.use(l)
	}
	if l.unicode == 0 {
		return
	}
	from, to := c.axis.column(s.From), c.axis.column(c.to(s))
	for i := from; i < max(to, from+1) && i < c.axis.width; i++ {
		c.cells[s.Lane][i] = l
	}
}

// drawEnd marks how a run ended.
func (c *chart) drawEnd(s control.Span) {
	if s.Kind != "run" || s.To.IsZero() {
		return
	}
	l := endedWell
	if s.Failed {
		l = endedBad
	}
	c.use(l)
	c.cells[s.Lane][min(c.axis.column(s.To), c.axis.width)] = l
}

func (c *chart) use(l look) {
	if !slices.ContainsFunc(c.used, func(u look) bool { return u.legend == l.legend }) && l.legend != "" {
		c.used = append(c.used, l)
	}
}

func (c *chart) write(w io.Writer) {
	for _, lane := range c.lanes {
		name := lane
		if name == "" {
			name = "pod"
		}
		fmt.Fprintf(w, "  %s  %s\n", c.style.paint(cyan, pad(clip(name, c.label), c.label)), c.line(c.cells[lane]))
	}
	ticks, labels := c.axis.ruler(c.style)
	indent := strings.Repeat(" ", c.label+4)
	fmt.Fprintln(w, indent+c.style.paint(dim, ticks))
	fmt.Fprintln(w, indent+c.style.paint(dim, labels))
	c.writeLegend(w, indent)
}

// line of cells, with one change of colour a stretch.
func (c *chart) line(cells []look) string {
	var b strings.Builder
	for i := 0; i < len(cells); {
		j := i
		var run strings.Builder
		for j < len(cells) && cells[j].color == cells[i].color {
			run.WriteRune(c.rune(cells[j]))
			j++
		}
		if cells[i].unicode == 0 {
			b.WriteString(run.String())
		} else {
			b.WriteString(c.style.paint(cells[i].color, run.String()))
		}
		i = j
	}
	return strings.TrimRight(b.String(), " ")
}

func (c *chart) rune(l look) rune {
	switch {
	case l.unicode == 0:
		return ' '
	case c.style.Unicode:
		return l.unicode
	}
	return l.ascii
}

func (c *chart) writeLegend(w io.Writer, indent string) {
	line := ""
	for _, l := range c.used {
		item := string(c.rune(l)) + " " + l.legend
		if len([]rune(line))+len([]rune(item))+3 > c.axis.width && line != "" {
			fmt.Fprintln(w, indent+c.style.paint(dim, line))
			line = ""
		}
		if line != "" {
			line += "   "
		}
		line += item
	}
	if line != "" {
		fmt.Fprintln(w, indent+c.style.paint(dim, line))
	}
}

// writeSpans lists what was done: when, for how long, by whom.
func writeSpans(w io.Writer, s Style, spans []control.Span, end time.Time, limit int) {
	began := spans[0].From
	spans = slices.DeleteFunc(slices.Clone(spans), func(x control.Span) bool { return x.Kind == "phase" || x.Kind == "ready" })
	skipFrom, skipped := limit/3, max(len(spans)-limit, 0)
	lanes := 3
	for _, x := range spans {
		lanes = min(max(lanes, len(x.Lane)), 20)
	}
	fmt.Fprintln(w, s.paint(bold, fmt.Sprintf("  %8s  %8s", "at", "took")))
	for i, x := range spans {
		if skipped > 0 && i >= skipFrom && i < skipFrom+skipped {
			if i == skipFrom {
				fmt.Fprintln(w, s.paint(dim, fmt.Sprintf("  … %d more (--all)", skipped)))
			}
			continue
		}
		fmt.Fprintln(w, spanLine(s, x, began, end, lanes))
	}
}

func spanLine(s Style, x control.Span, began, end time.Time, lanes int) string {
	lane, took := x.Lane, Duration(x.To.Sub(x.From))
	if lane == "" {
		lane = "pod"
	}
	if x.To.IsZero() {
		took = Duration(end.Sub(x.From)) + "+"
	}
	text := strings.TrimSpace(spanWord(x) + " " + x.Note)
	if x.Failed {
		text = s.paint(red, text+", failed")
	}
	return fmt.Sprintf("  %s  %s  %s  %s", s.paint(dim, fmt.Sprintf("%8s", "+"+Duration(x.From.Sub(began)))), fmt.Sprintf("%8s", took),
		s.paint(cyan, pad(clip(lane, lanes), lanes)), text)
}

// spanWord is the kind of a span in words.
func spanWord(x control.Span) string {
	switch x.Kind {
	case "backOff":
		return "waits:"
	case "pull":
		return "pulls"
	case "start":
		return "starts"
	case "run":
		return "runs"
	case "postStart", "preStop":
		return x.Kind + " hook"
	case "stop":
		return "is told to end"
	case "release":
		return ""
	}
	return x.Kind
}
