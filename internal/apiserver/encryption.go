package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
)

// encrypt has values written to etcd encrypted as the user's
// EncryptionConfiguration says, and tells how the key servers are (KMS) that it
// names. They are spoken to until ctx ends.
func (s *Server) encrypt(ctx context.Context) ([]healthz.HealthChecker, error) {
	if s.config.EncryptionFile == "" {
		return nil, nil
	}
	c, err := encryptionconfig.LoadEncryptionConfig(ctx, s.config.EncryptionFile, false, "proa")
	if err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	s.backend.Transformer = encryptionconfig.StaticTransformers(c.Transformers).TransformerForResource
	return c.HealthChecks, nil
}
