package logrotate

import (
	"slices"
	"strings"
)

// stampLayout names a rotated log by when it was moved away, in UTC: names sort by time, in the night when clocks go back too.
const stampLayout = "20060102-150405"

// plan says what is to be done with the files beside a log before it is moved away once more.
type plan struct {
	remove, compress []string
}

// planFor sorts the names beside a log (without the log itself): what a crash left half made goes, all but keep rotated logs
// go, the oldest first, and those that stay are compressed.
func planFor(log string, names []string, keep int) plan {
	var p plan
	var old []string
	for _, name := range names {
		stamp, rotated := strings.CutPrefix(name, log+".")
		switch {
		case !rotated:
		case strings.HasSuffix(stamp, ".tmp"):
			p.remove = append(p.remove, name)
		case strings.Trim(strings.TrimSuffix(stamp, ".gz"), "0123456789-.") != "":
			// Not ours.
		case strings.HasSuffix(stamp, ".gz") && slices.Contains(names, strings.TrimSuffix(name, ".gz")):
			// Complete, but the crash came before the plain one was removed.
			p.remove = append(p.remove, strings.TrimSuffix(name, ".gz"))
			old = append(old, name)
		case slices.Contains(names, name+".gz"):
		default:
			old = append(old, name)
		}
	}
	slices.Sort(old)
	for len(old) > max(keep, 0) {
		p.remove = append(p.remove, old[0])
		old = old[1:]
	}
	for _, name := range old {
		if !strings.HasSuffix(name, ".gz") {
			p.compress = append(p.compress, name)
		}
	}
	return p
}
