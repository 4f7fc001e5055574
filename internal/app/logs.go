package app

import (
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// setUpLogs sends our own lines and the libraries' to standard error, in one form.
func setUpLogs() {
	level := slog.LevelInfo
	if os.Getenv("PROA_DEBUG") != "" {
		level = slog.LevelDebug
	}
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	slog.SetDefault(slog.New(handler))
	klog.SetLogger(logr.FromSlogHandler(handler))
}
