package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// compileArg is the argument that makes this program a compiler of one profile.
const compileArg = "compile-seccomp"

// programSeals make a file what it is for ever.
const programSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// maxPrograms are kept, of 20 KB each; a node's pods have a few profiles.
const maxPrograms = 32

// compileTimeout is for a machine that stands still; it takes 30 ms.
const compileTimeout = 30 * time.Second

// programs are seccomp filters that are compiled already. Every process that is
// started in a container gets the one of its profile as a descriptor, and needs not
// compile it again (see seccomp_cache.c); without one it does as ever.
type programs struct {
	mu   sync.Mutex
	have map[[sha256.Size]byte][]*os.File // by profile; none while it is compiled, or if it can't be
}

func newPrograms() *programs { return &programs{have: map[[sha256.Size]byte][]*os.File{}} }

// of returns the program for a profile, or none. One that is met the first time is
// compiled for those who come later.
func (p *programs) of(profile *configs.Seccomp) []*os.File {
	if profile == nil || len(profile.Syscalls) == 0 {
		return nil
	}
	text, err := json.Marshal(profile)
	if err != nil {
		return nil // so will libcontainer say
	}
	key := sha256.Sum256(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	program, known := p.have[key]
	if !known && len(p.have) < maxPrograms {
		p.have[key] = nil
		go p.compile(key, text)
	}
	return program
}

// compile in a process of its own: the library loads what it has compiled, and a
// filter is never taken off again.
func (p *programs) compile(key [sha256.Size]byte, profile []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), compileTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", compileArg)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stdin = bytes.NewReader(profile)
	// How it ends says nothing: the filter may not even let it end by itself. The
	// record tells whether it is whole.
	record, _ := cmd.Output()
	if len(record) == 0 {
		return
	}
	program, err := sealed("proa-seccomp", record)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.have[key] = []*os.File{program}
	p.mu.Unlock()
}

// sealed is a file in memory that nobody can change.
func sealed(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(content); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, programSeals)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}
