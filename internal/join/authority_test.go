package join

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/proa-project/proa/internal/pki"
)

// server shows a certificate of the authority for the given names, and with it
// whatever else is to be in its chain.
func server(t *testing.T, a *pki.Authority, names []string, also ...*pki.Authority) *url.URL {
	t.Helper()
	c, err := a.Serving("server", names, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range also {
		c.Certificate = append(c.Certificate, other.Certificate().Raw)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The authority is taken by its pin alone: neither from somebody who shows another,
// nor from somebody who shows the right one and has no certificate of it.
func TestTheAuthorityIsTakenByItsPin(t *testing.T) {
	ours, theirs := authority(t), authority(t)
	pin := pki.Pin(ours.Certificate())
	right := []string{serverName}
	got, err := fetchAuthority(t.Context(), server(t, ours, right, ours), pin)
	if err != nil || !got.Equal(ours.Certificate()) {
		t.Fatalf("got %v, %v", got, err)
	}
	for what, c := range map[string]struct {
		at   *url.URL
		says string
	}{
		"another cluster's":           {server(t, theirs, right, theirs), "another cluster"},
		"one that shows no authority": {server(t, ours, right), "another cluster"},
		"one that only shows ours":    {server(t, theirs, right, ours), "unknown authority"},
		"a certificate for others":    {server(t, ours, []string{"elsewhere"}, ours), "not kubernetes"},
	} {
		if _, err := fetchAuthority(t.Context(), c.at, pin); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

func TestServersAreURLs(t *testing.T) {
	for _, wrong := range []string{"", "192.0.2.1:6443", "http://192.0.2.1:6443", "https://", "https://%"} {
		if _, err := parseServer(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	for in, want := range map[string]string{"https://192.0.2.1:6443": "192.0.2.1:6443", "https://host": "host:443"} {
		if u, err := parseServer(in); err != nil || address(u) != want {
			t.Errorf("%q: %v, %v", in, u, err)
		}
	}
}

func TestJoiningTakesTokenAndPinOnce(t *testing.T) {
	_, err := Open(t.Context(), Config{Dir: t.TempDir(), Server: "https://127.0.0.1:1", Node: "n", Token: "abcdef.0123456789abcdef"})
	if err == nil || !strings.Contains(err.Error(), "--ca-hash") {
		t.Errorf("without a pin: %v", err)
	}
}
