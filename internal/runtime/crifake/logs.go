package crifake

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// writeLog puts the program's lines into the CRI log file. A file that can't be
// written is the test's own affair: it reads it and finds nothing.
func (c *container) writeLog(now time.Time) {
	if c.logPath == "" || len(c.program.Stdout)+len(c.program.Stderr) == 0 {
		return
	}
	if err := os.MkdirAll(filepath.Dir(c.logPath), 0o755); err != nil {
		return
	}
	f, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	stamp := now.UTC().Format(time.RFC3339Nano)
	for _, line := range c.program.Stdout {
		fmt.Fprintf(f, "%s stdout F %s\n", stamp, line)
	}
	for _, line := range c.program.Stderr {
		fmt.Fprintf(f, "%s stderr F %s\n", stamp, line)
	}
}

// writeMessage puts the termination message where the container has it mounted.
func (c *container) writeMessage(text string) {
	if text == "" {
		return
	}
	path := c.program.TerminationPath
	if path == "" {
		path = "/dev/termination-log"
	}
	for _, m := range c.config.Mounts {
		if m.ContainerPath == path {
			_ = os.WriteFile(m.HostPath, []byte(text), 0o644)
		}
	}
}
