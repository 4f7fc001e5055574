package main

import (
	"fmt"
	"html"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// row is a line of the text, and of the page's tables.
type row struct{ name, value string }

func (f facts) pod() []row {
	rows := []row{{"pod", f.Pod}, {"namespace", f.Namespace}, {"IP", f.IP}, {"node", f.Node}, {"up for", f.Uptime}, {"requests", strconv.FormatInt(f.Requests, 10)}}
	return slices.DeleteFunc(rows, func(r row) bool { return r.value == "" }) // unknown outside of a pod
}

func sorted(m map[string]string) []row {
	var rows []row
	for _, k := range slices.Sorted(maps.Keys(m)) {
		rows = append(rows, row{k, m[k]})
	}
	return rows
}

// text is for terminals.
func text(f facts) string {
	var b strings.Builder
	b.WriteString("Hello from proa!\n\n")
	lines := func(title string, rows []row) {
		if title != "" && len(rows) > 0 {
			b.WriteString("\n" + title + "\n")
		}
		for _, r := range rows {
			fmt.Fprintf(&b, "  %-10s %s\n", r.name, strings.ReplaceAll(r.value, "\n", "\n             "))
		}
	}
	lines("", f.pod())
	lines("labels", sorted(f.Labels))
	lines("config", sorted(f.Config))
	return b.String()
}

// page is for browsers. It is written without a template package, which would be
// half of the program.
func page(f facts) string {
	var b strings.Builder
	b.WriteString(head)
	fmt.Fprintf(&b, "<h1>Hello from <em>%s</em></h1>\n", html.EscapeString(f.Pod))
	table := func(title, empty string, rows []row) {
		fmt.Fprintf(&b, "<section>\n<h2>%s</h2>\n", title)
		if len(rows) == 0 {
			fmt.Fprintf(&b, "<p class=none>%s</p>\n", empty)
		} else {
			b.WriteString("<table>\n")
			for _, r := range rows {
				fmt.Fprintf(&b, "<tr><th scope=row>%s</th><td>%s</td></tr>\n", html.EscapeString(r.name), html.EscapeString(r.value))
			}
			b.WriteString("</table>\n")
		}
		b.WriteString("</section>\n")
	}
	table("Pod", "", f.pod())
	table("Labels", "none", sorted(f.Labels))
	table("ConfigMap", "no values: there is no ConfigMap mounted", sorted(f.Config))
	b.WriteString("<footer>Change the ConfigMap or a label and load this page again.</footer>\n</main>\n</body>\n</html>\n")
	return b.String()
}

const head = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>proa quickstart</title>
<style>
:root { --ink: #16302b; --soft: #5c726d; --paper: #f4f7f5; --card: #fff; --line: #dbe5e1; --mark: #0b7a5e }
@media (prefers-color-scheme: dark) { :root { --ink: #e3efeb; --soft: #93aaa4; --paper: #0f1a18; --card: #172623; --line: #2a3d39; --mark: #4cc9a4 } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 44rem; margin: 0 auto; padding: 3rem 1.25rem }
h1 { font-size: 1.75rem; font-weight: 600; line-height: 1.25; overflow-wrap: anywhere }
h1 em { font-style: normal; color: var(--mark) }
h2 { margin: 0; padding: .75rem 1rem; font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); border-bottom: 1px solid var(--line) }
section { margin: 1.25rem 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; overflow: hidden }
table { width: 100%; border-collapse: collapse; table-layout: fixed }
th, td { padding: .45rem 1rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; white-space: pre-wrap }
th { width: 35%; font-weight: 400; color: var(--soft) }
tr + tr > * { border-top: 1px solid var(--line) }
.none { margin: 0; padding: .6rem 1rem; color: var(--soft) }
footer { color: var(--soft); font-size: .9rem }
</style>
</head>
<body>
<main>
`
