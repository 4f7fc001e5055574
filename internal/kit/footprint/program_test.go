package footprint

import (
	"reflect"
	"strings"
	"testing"
)

// What the dynamic linker wrote is read-only and of the file, but not in it.
func TestProgramIsWhatTheFileHas(t *testing.T) {
	const smaps = `00400000-02054000 r--p 00000000 fe:00 1234 /opt/proa
Size:              29008 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
02054000-055d1000 r-xp 01c54000 fe:00 1234 /opt/proa
Anonymous:             0 kB
098ed000-098ee000 r--p 094ec000 fe:00 1234 /opt/proa
Anonymous:             4 kB
VmFlags: rd mr mw me ac
098ee000-09a3d000 rw-p 094ed000 fe:00 1234 /opt/proa
Anonymous:           100 kB
09a3d000-0ba99000 rw-p 00000000 00:00 0
Anonymous:            50 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 99 /lib/libc.so.6
Anonymous:             0 kB
`
	got, err := program(strings.NewReader(smaps), "/opt/proa")
	want := []mapping{{0x400000, 0x2054000}, {0x2054000, 0x55d1000}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%x, %v", got, err)
	}
}
