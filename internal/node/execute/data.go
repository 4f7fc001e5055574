package execute

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/proa-project/proa/internal/node/container"
)

// removeData removes the pod's folder and logs.
func (e *Executor) removeData(r Request) error {
	dir := e.podDir(r.Pod)
	if err := nothingMounted(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pod folder: %w", err)
	}
	if e.Userns != nil {
		e.Userns.release(r.Pod.UID)
	}
	if err := os.RemoveAll(container.PodLogDir(e.Node().LogDir, r.Pod)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	return nil
}

// nothingMounted: to remove a folder with something mounted in it would remove
// what is mounted.
func nothingMounted(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("look for mounts: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			return fmt.Errorf("remove pod folder: %s is still mounted", fields[4])
		}
	}
	return lines.Err()
}
