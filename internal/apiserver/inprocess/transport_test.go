package inprocess

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(h http.HandlerFunc) *http.Client {
	return &http.Client{Transport: &Transport{Handler: h, User: &user.DefaultInfo{Name: "me"}}}
}

func TestRequestAndAnswer(t *testing.T) {
	c := client(func(w http.ResponseWriter, r *http.Request) {
		resp, ok, err := Authenticator().AuthenticateRequest(r)
		if !ok || err != nil {
			t.Errorf("not authenticated: %v", err)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X", "y")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s", resp.User.GetName(), r.Method, r.RequestURI, body)
	})
	resp, err := c.Post("https://host/a?b=c", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "me POST /a?b=c hello" || resp.StatusCode != http.StatusTeapot || resp.Header.Get("X") != "y" {
		t.Errorf("%d %q %v, %v", resp.StatusCode, body, resp.Header, err)
	}
}

func TestNobodyFromOutsideIsKnown(t *testing.T) {
	r, _ := http.NewRequest(http.MethodGet, "https://host/", nil)
	if _, ok, _ := Authenticator().AuthenticateRequest(r); ok {
		t.Error("a request of unknown origin was taken for an in-process one")
	}
}

// What is written is there at once, and closing the body ends the handler.
func TestStream(t *testing.T) {
	ended := make(chan struct{})
	next := make(chan string)
	c := client(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for {
			select {
			case s := <-next:
				fmt.Fprintln(w, s)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	go func() { next <- "one" }()
	resp, err := c.Get("https://host/")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := resp.Body.Read(buf); err != nil || string(buf[:n]) != "one\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	go func() { next <- "two" }()
	if n, err := resp.Body.Read(buf); err != nil || string(buf[:n]) != "two\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	resp.Body.Close()
	<-ended
}

func TestCancelEndsAWaitingReader(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := client(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		<-r.Context().Done()
	})
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://host/", nil)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("reading after cancel: %v", err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	if _, err := client(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).Get("https://host/"); err == nil {
		t.Error("a panic before the answer was taken for one")
	}
	resp, err := client(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "half"); panic(http.ErrAbortHandler) }).Get("https://host/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a cut answer was taken for a whole one")
	}
}

// A reader that doesn't read holds the writer back, and is not waited for when it goes.
func TestBackPressure(t *testing.T) {
	done := make(chan error, 1)
	c := client(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		var err error
		for range 8 {
			if _, err = w.Write(chunk); err != nil {
				break
			}
		}
		done <- err
	})
	resp, err := c.Get("https://host/")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("8 MiB were written with nobody reading (%v)", err)
	default:
	}
	resp.Body.Close()
	if err := <-done; err == nil {
		t.Error("the writer was not told that the reader went")
	}
}
