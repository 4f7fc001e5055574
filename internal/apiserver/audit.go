package apiserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	auditlog "k8s.io/apiserver/plugin/pkg/audit/log"
	auditwebhook "k8s.io/apiserver/plugin/pkg/audit/webhook"
)

// Audit is who is told of requests, and of which.
type Audit struct {
	PolicyFile string // an audit.k8s.io/v1 Policy; without one nothing is told

	LogFile    string // a line of JSON for each event; "-" is standard output, "" none
	LogDays    int    // older rotated files are removed; 0: never
	LogBackups int    // more rotated files are removed; 0: never
	LogMiB     int    // at which a file is rotated; 0: never

	WebhookFile string // a kubeconfig of a server that takes events; "" none
}

// How events are sent to a webhook: by the batch, and not so many that a slow
// server would be buried. What doesn't fit in the buffer is lost.
var auditBatches = buffered.BatchConfig{
	BufferSize: 10000, MaxBatchSize: 400, MaxBatchWait: 30 * time.Second,
	ThrottleEnable: true, ThrottleQPS: 10, ThrottleBurst: 15, AsyncDelegate: true,
}

const auditRetryAfter = 10 * time.Second // for the first time, then ever longer

// applyTo makes g tell.
func (a Audit) applyTo(g *genericserver.Config) error {
	if a.PolicyFile == "" {
		return nil
	}
	rules, err := policy.LoadPolicyFromFile(a.PolicyFile)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	var backends []audit.Backend
	if a.LogFile != "" {
		out, err := a.openLog()
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		// A request waits for its line, so that none can do anything unseen.
		backends = append(backends, auditlog.NewBackend(out, auditlog.FormatJson, auditv1.SchemeGroupVersion))
	}
	if a.WebhookFile != "" {
		hook, err := auditwebhook.NewBackend(a.WebhookFile, auditv1.SchemeGroupVersion, webhook.DefaultRetryBackoffWithInitialDelay(auditRetryAfter), nil)
		if err != nil {
			return fmt.Errorf("audit webhook: %w", err)
		}
		backends = append(backends, buffered.NewBackend(hook, auditBatches))
	}
	if len(backends) == 0 {
		return errors.New("audit: a policy, but neither a log nor a webhook")
	}
	g.AuditPolicyRuleEvaluator = policy.NewPolicyRuleEvaluator(rules)
	g.AuditBackend = audit.Union(backends...)
	return nil
}

func (a Audit) openLog() (io.Writer, error) {
	if a.LogFile == "-" {
		return os.Stdout, nil
	}
	if err := os.MkdirAll(filepath.Dir(a.LogFile), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(a.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil || a.LogMiB == 0 {
		return f, err
	}
	// It is there now and can be written; the rotating writer opens it itself.
	if err := f.Close(); err != nil {
		return nil, err
	}
	return &lumberjack.Logger{Filename: a.LogFile, MaxAge: a.LogDays, MaxBackups: a.LogBackups, MaxSize: a.LogMiB}, nil
}
