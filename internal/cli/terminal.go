package cli

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/proa-project/proa/internal/cli/explain"
)

// defaultWidth is for outputs that have none.
const defaultWidth = 100

// terminal is the look of standard output: colours only where somebody looks, and
// does not mind them (https://no-color.org).
func terminal() explain.Style {
	s := explain.Style{Unicode: unicodeLocale(os.Getenv), Width: defaultWidth, Zone: time.Local}
	fd := int(os.Stdout.Fd())
	if term.IsTerminal(fd) {
		s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			s.Width = width
		}
	} else if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		s.Width = width
	}
	return s
}

// unicodeLocale: the first of the three that is set says which characters there are.
// None set is a container or a service, whose output ends up in something modern.
func unicodeLocale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToUpper(env(name)); value != "" {
			return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
		}
	}
	return true
}
