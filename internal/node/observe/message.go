package observe

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

// The documented limits of a termination message.
const (
	maxMessage      = 4096 // bytes, of the file
	maxLogMessage   = 2048 // bytes, of the log
	maxMessageLines = 80
)

// terminationMessage is what the ended container had to say: the end of its
// message file, or, if it failed and its policy says so, of its log. What the
// runtime says comes first.
func terminationMessage(s *runtimeapi.ContainerStatus, inst podlife.Instance) string {
	text := readMessage(s)
	policy := s.GetAnnotations()[container.AnnotationMessagePolicy]
	if text == "" && inst.ExitCode != 0 && policy == string(v1.TerminationMessageFallbackToLogsOnError) && s.GetLogPath() != "" {
		text = endOfLog(s.GetLogPath())
	}
	text = strings.ToValidUTF8(text, "\uFFFD") // as the API would keep it
	switch {
	case text == "":
		return inst.Message
	case inst.Message == "":
		return text
	}
	return inst.Message + ": " + text
}

func readMessage(s *runtimeapi.ContainerStatus) string {
	path := s.GetAnnotations()[container.AnnotationMessagePath]
	if path == "" {
		return ""
	}
	for _, m := range s.GetMounts() {
		if m.ContainerPath != path {
			continue
		}
		b, err := endOf(m.HostPath, maxMessage)
		if os.IsNotExist(err) {
			return ""
		}
		if err != nil {
			return fmt.Sprintf("Error on reading termination log %s: %v", m.HostPath, err)
		}
		return string(b)
	}
	return ""
}

// endOfLog reads the last lines of a CRI log, without their time, stream and tag.
func endOfLog(path string) string {
	b, err := endOf(path, 16*maxLogMessage)
	if err != nil {
		return ""
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines = lines[max(0, len(lines)-maxMessageLines-1):]
	var out strings.Builder
	for _, l := range lines {
		parts := bytes.SplitN(l, []byte(" "), 4)
		if len(parts) < 4 {
			continue
		}
		content := parts[3]
		if string(parts[2]) == "P" { // a line that goes on
			content = bytes.TrimSuffix(content, []byte("\n"))
		}
		out.Write(content)
	}
	text := out.String()
	return text[max(0, len(text)-maxLogMessage):]
}

// endOf reads at most the last n bytes of a regular file: the path is in the
// container's hands, so it may be anything.
func endOf(path string, n int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, n))
}
