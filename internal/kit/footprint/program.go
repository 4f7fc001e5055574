// Package footprint keeps a process's resident memory to what it uses.
package footprint

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// DropProgram unmaps, page by page, what is resident of the program's own code and
// constants. They stay in the page cache and are mapped again where they are
// used; what is won is what only the start has used. From then on they are
// mapped in small pieces: the huge pages that make a start quick hold mostly code
// that is never run.
func DropProgram() error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer maps.Close()
	list, err := program(maps, path)
	if err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	for _, m := range list {
		// Without huge pages in the kernel there is nothing to say no to.
		_ = advise(m.from, m.to, unix.MADV_NOHUGEPAGE)
		if err := advise(m.from, m.to, unix.MADV_DONTNEED); err != nil {
			return fmt.Errorf("drop the program's pages: %w", err)
		}
	}
	return nil
}

type mapping struct{ from, to uintptr }

// program lists the mappings of the file at path, out of an smaps file, that are
// now as they are in the file. Others are not there to be read again: the data,
// and what the dynamic linker wrote (addresses of C functions, where there are
// any) before it made it read-only.
func program(smaps io.Reader, path string) (list []mapping, err error) {
	lines := bufio.NewScanner(smaps)
	ours := false // the lines are about the last of the list
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		if !strings.HasSuffix(fields[0], ":") { // a mapping begins
			if ours = len(fields) >= 6 && fields[5] == path && !strings.Contains(fields[1], "w"); !ours {
				continue
			}
			var m mapping
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); err != nil {
				return nil, err
			}
			list = append(list, m)
			continue
		}
		if ours && fields[0] == "Anonymous:" && fields[1] != "0" {
			list = list[:len(list)-1]
			ours = false
		}
	}
	return list, lines.Err()
}

// advise is madvise(2) of memory that Go knows no pointer to.
func advise(from, to uintptr, advice int) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, uintptr(advice)); errno != 0 {
		return errno
	}
	return nil
}
