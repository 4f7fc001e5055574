package images

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Normalize gives a name its full form: "nginx" is docker.io/library/nginx:latest,
// and a tag beside a digest is dropped, for the digest decides.
func Normalize(name string) (string, error) {
	named, err := parse(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func parse(name string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return nil, &Error{Op: "parse", Ref: fmt.Sprintf("%q", name), Kind: ErrBadReference, Err: err}
	}
	return named, nil
}

var (
	hexID   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	shortID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{4,64}$`)
)

// asID gives the image ID that ref is, if it is one in full.
func asID(ref string) (string, bool) {
	hex := strings.TrimPrefix(ref, "sha256:")
	if !hexID.MatchString(hex) {
		return "", false
	}
	return "sha256:" + hex, true
}

// digestRef is the name of named's repository with a digest.
func digestRef(named reference.Named, dgst digest.Digest) string {
	return reference.TrimNamed(named).String() + "@" + dgst.String()
}
