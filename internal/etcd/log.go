package etcd

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo lets etcd's warnings and errors through to our log; what it says below
// that is about its own inner life.
func zapTo(l *slog.Logger) *zap.Logger {
	return zap.New(&slogCore{log: l.With("component", "etcd")})
}

type slogCore struct{ log *slog.Logger }

var _ zapcore.Core = (*slogCore)(nil)

func (c *slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

// expected is what etcd warns of at every first start of a lone member without
// users: it is elected before its storage has a term to show, and asked to be before
// it can be.
var expected = map[string]bool{
	"simple token is not cryptographically signed": true,
	"Failed to detect schema version":              true,
	"failed to update storage version":             true,
}

func isExpected(message string) bool {
	return expected[message] || strings.Contains(message, " cannot campaign at term ") || strings.Contains(message, " is unpromotable and can not campaign")
}

func (c *slogCore) With(f []zapcore.Field) zapcore.Core {
	return &slogCore{log: slog.New(c.log.Handler().WithAttrs(attrs(f)))}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !isExpected(e.Message) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *slogCore) Write(e zapcore.Entry, f []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.log.LogAttrs(context.Background(), level, e.Message, attrs(f)...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attrs(f []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(f))
	for i := range f {
		f[i].AddTo(enc)
		if v, ok := enc.Fields[f[i].Key]; ok {
			out = append(out, slog.Any(f[i].Key, v))
		}
	}
	return out
}
