package app

import (
	"os"

	"github.com/proa-project/proa/internal/apiserver"
)

// ifThere is the file that a flag named, or else the one in the data folder if
// there is one: what must not be forgotten at the next start lies there.
func ifThere(named, inData string) string {
	if named != "" {
		return named
	}
	if _, err := os.Stat(inData); err != nil {
		return ""
	}
	return inData
}

func (s *server) encryption() string { return ifThere(s.config.Encryption, s.layout.Encryption()) }

func (s *server) audit() apiserver.Audit {
	c := s.config.Audit
	a := apiserver.Audit{
		PolicyFile: ifThere(c.PolicyFile, s.layout.AuditRules()), LogFile: c.LogFile,
		LogDays: c.LogDays, LogBackups: c.LogBackups, LogMiB: c.LogMiB, WebhookFile: c.WebhookFile,
	}
	if a.LogFile == "" && a.WebhookFile == "" {
		a.LogFile = s.layout.AuditLog()
	}
	return a
}
