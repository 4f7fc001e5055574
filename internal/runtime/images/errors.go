package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// What is wrong with an image, for errors.Is. ErrNotFound also satisfies
// errdefs.IsNotFound.
var (
	ErrNotFound     = fmt.Errorf("no such image: %w", errdefs.ErrNotFound)
	ErrUnauthorized = errors.New("access denied")
	ErrUnreachable  = errors.New("registry unavailable")
	ErrInterrupted  = errors.New("download interrupted")
	ErrBadReference = fmt.Errorf("invalid image name: %w", errdefs.ErrInvalidArgument)
	ErrNoPlatform   = errors.New("no image for this platform")
	ErrDiskFull     = errors.New("no space left on the disk")
	ErrCorrupt      = errors.New("content is corrupt")
	ErrBadArchive   = errors.New("not a usable image archive")
	ErrUnsupported  = errors.New("unsupported image")
)

// Error is a failed operation on an image: Kind is one of the errors above and
// is what a caller decides by, Hint says what the user can do about it.
type Error struct {
	Op   string // "pull", "import", …
	Ref  string
	Kind error // nil when it is none of the kinds
	Hint string
	Err  error
}

// Error reads like "pull docker.io/library/nginx:9: no such image: … (…)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Ref != "" {
		b.WriteString(" " + e.Ref)
	}
	kind := ""
	if e.Kind != nil {
		kind, _, _ = strings.Cut(e.Kind.Error(), ": ")
		b.WriteString(": " + kind)
	}
	if e.Err != nil && e.Err.Error() != "" {
		b.WriteString(": " + strings.TrimPrefix(plain(e.Err.Error()), kind+": "))
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// noise is what the layers below say of themselves, which tells a user nothing.
var noise = regexp.MustCompile(`failed to copy: |httpReadSeeker: failed open: |failed to do request: |failed commit on ref "[^"]*": |failed to extract layer \([^)]*\) to overlayfs as "[^"]*": |: failed precondition$`)

func plain(text string) string { return noise.ReplaceAllString(text, "") }

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// classify wraps err for op on ref, finding its kind from what containerd's
// packages, the network and the file system returned.
func classify(op, ref string, err error) error {
	if err == nil {
		return nil
	}
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	hint, kind := kindOf(err)
	return &Error{Op: op, Ref: ref, Kind: kind, Hint: hint, Err: err}
}

func kindOf(err error) (hint string, kind error) {
	for _, known := range []error{ErrUnauthorized, ErrUnreachable, ErrInterrupted, ErrBadReference, ErrNoPlatform, ErrDiskFull, ErrCorrupt, ErrBadArchive, ErrUnsupported} {
		if errors.Is(err, known) {
			return "", known
		}
	}
	text := err.Error()
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "nothing of it was kept", ErrDiskFull
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", ErrInterrupted
	case strings.Contains(text, "no match for platform"):
		return "", ErrNoPlatform
	case isCorrupt(text):
		return "nothing of it was kept", ErrCorrupt
	}
	if hint, kind := remoteKind(err); kind != nil {
		return hint, kind
	}
	if errdefs.IsNotFound(err) {
		return "", ErrNotFound
	}
	return "", nil
}

// isCorrupt knows the texts with which the content store, the unpacker and the
// decompressors report wrong bytes: they have no error values of their own.
func isCorrupt(text string) bool {
	for _, mark := range []string{
		"unexpected commit digest", "unexpected commit size", "wrong diff id",
		"flate: corrupt input", "gzip: invalid", "archive/tar: invalid", "invalid checksum",
		"number of layers and diffIDs don't match", "magic number mismatch",
	} {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}

// remoteKind judges what a registry, or the way to it, answered.
func remoteKind(err error) (hint string, kind error) {
	if errors.Is(err, docker.ErrInvalidAuthorization) {
		return "the registry did not accept the credentials", ErrUnauthorized
	}
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		return statusKind(status.StatusCode)
	}
	if strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "no basic auth credentials") {
		return statusKind(http.StatusUnauthorized)
	}
	var netErr net.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "its name can't be looked up", ErrUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at its address", ErrUnreachable
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "trying again continues where it stopped", ErrInterrupted
	case errors.As(err, &netErr), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "", ErrUnreachable
	}
	return "", nil
}

func statusKind(code int) (hint string, kind error) {
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return "the image does not exist or needs credentials that allow to pull it", ErrUnauthorized
	case code == http.StatusNotFound:
		return "", ErrNotFound
	case code == http.StatusTooManyRequests:
		return "the registry limits how often it may be asked", ErrUnreachable
	case code >= 500:
		return "", ErrUnreachable
	}
	return "", nil
}

// resumable tells whether the same request may succeed later with what was
// already downloaded.
func resumable(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrInterrupted)
}
