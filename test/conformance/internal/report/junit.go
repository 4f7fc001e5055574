package report

import (
	"encoding/xml"
	"io"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     float64     `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    float64       `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report in the form that CI systems read.
func (r Report) JUnit(w io.Writer) error {
	t := r.Tally()
	out := junitSuite{Name: "conformance " + r.Suite, Tests: t.Total, Failures: t.Failed, Skipped: t.Skipped, Time: t.Took.Seconds()}
	for _, result := range r.Results {
		c := junitCase{Name: result.Name, Class: result.Group, Time: result.Took.Seconds()}
		message := &junitMessage{Message: brief(result.Reason, 200), Text: result.Reason + "\n" + result.Where}
		switch result.State {
		case suite.Passed:
		case suite.Skipped:
			c.Skipped = message
		default:
			c.Failure = message
		}
		out.Cases = append(out.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	return encoder.Encode(out)
}
