// Package podlog reads what containers printed, from CRI log files and those that were rotated away, and follows it until the
// container has ended.
//
//	entry.go    PURE: one line of a log file → Entry
//	format.go   PURE: entries → what a client gets (lines joined, time stamps, limits, one stream or both)
//	files.go    the files of a log in order, and where its last N lines begin
//	read.go     the shell: files → format → writer, and waiting for more
//
// A line that the runtime split ("P" entries) comes out whole; bytes come out as they went in, newline or not.
package podlog
