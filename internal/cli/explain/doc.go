// Package explain turns what is known of a pod into what a user wants to know: what
// it does, what holds it up, since when, and what would make it go on; and its life
// as a chart. It is pure: every text is a function of its input, the time and the
// look of the terminal.
//
//	findings.go  what holds the pod up
//	advice.go    what would help
//	why.go       `proa why` as text
//	axis.go      a time axis that is wide where things happen
//	chart.go     `proa timeline` as text
//	style.go     colours, characters, durations
package explain
