package app

import "testing"

func TestRuntimeSocket(t *testing.T) {
	for _, c := range []struct{ flag, file, before, want string }{
		{"", "", "", ""},
		{"", "", "unix:///b", "unix:///b"},
		{"", "unix:///f", "unix:///b", "unix:///f"},
		{"/run/x.sock", "unix:///f", "unix:///b", "unix:///run/x.sock"},
		{"own", "unix:///f", "unix:///b", ""},
	} {
		if got := runtimeSocket(c.flag, c.file, c.before); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
