// Package crilog writes what a container prints into its CRI log file: one line
// a line, as
//
//	2026-01-02T15:04:05.000000000Z stdout F text of the line
//
// with P instead of F where the line goes on in the next one. Splitter is the
// pure part (bytes to lines), File the file that is rotated under it, Pump
// the loop that empties a stream into both of them and into attached clients.
package crilog
