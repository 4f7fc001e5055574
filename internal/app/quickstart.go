package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/proa-project/proa/internal/quickstart"
	"github.com/proa-project/proa/internal/runtime/images"
)

// importQuickstart puts the built-in image into the store, so that a first pod
// needs no registry.
func (s *server) importQuickstart(ctx context.Context) error {
	if _, err := s.images.Get(ctx, quickstart.Ref); !errors.Is(err, images.ErrNotFound) {
		return err
	}
	archive, err := quickstart.Image()
	if err != nil {
		return err
	}
	defer archive.Close()
	if _, err := s.images.Import(ctx, archive, images.ImportOptions{Pinned: true}); err != nil {
		return fmt.Errorf("import the quickstart image: %w", err)
	}
	return nil
}
