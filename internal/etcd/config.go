package etcd

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"
)

// Config says where the state is. Exactly one of Dir and Endpoints is set.
type Config struct {
	Dir       string      // data directory of the embedded member; made when missing
	Endpoints []string    // URLs of an external cluster
	TLS       *tls.Config // for Endpoints; nil means plain text

	// NoFsync trades durability for speed. For throw-away clusters of tests only.
	NoFsync bool
	Logger  *slog.Logger

	tick time.Duration // of the embedded member; 0 = the usual
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.Dir == "" && len(c.Endpoints) == 0:
		return errors.New("etcd: neither a data directory nor endpoints")
	case c.Dir != "" && len(c.Endpoints) != 0:
		return errors.New("etcd: both a data directory and endpoints")
	case c.TLS != nil && c.Dir != "":
		return errors.New("etcd: TLS is for external endpoints only")
	}
	return nil
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}
