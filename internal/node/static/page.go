package static

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
)

// page asks a URL for manifests.
type page struct {
	url, node string
	header    http.Header
	rules     Rules
	log       *slog.Logger
	event     func(reason, message string)
	client    *http.Client
	every     time.Duration
	// cache is a file with the last good answer: the pods that it describes run, and must not end because the agent starts anew
	// while the URL doesn't answer. Empty is none.
	cache string

	last []byte
	told string
}

// run calls set with all pods whenever the answer changed. While there is no usable answer the last pods stay.
func (p *page) run(ctx context.Context, set func([]*v1.Pod)) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for first := true; ; first = false {
		err := p.look(ctx, set)
		if err != nil && first {
			set(p.remembered())
		}
		if err != nil && ctx.Err() == nil && p.told != err.Error() {
			p.told = err.Error()
			p.log.Error("static pod manifests not read", "url", p.url, "err", err)
			p.event(invalidManifest, fmt.Sprintf("static pod manifests at %s not used: %v", p.url, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *page) look(ctx context.Context, set func([]*v1.Pod)) error {
	data, err := p.get(ctx)
	if err != nil {
		return err
	}
	if p.last != nil && bytes.Equal(data, p.last) {
		return nil
	}
	pods, err := parse(data, origin{"http", p.url}, p.node, p.rules)
	if err != nil {
		return err
	}
	p.last, p.told = data, ""
	p.remember(data)
	set(pods)
	return nil
}

func (p *page) remember(data []byte) {
	if p.cache == "" {
		return
	}
	temporary := p.cache + ".tmp"
	err := os.WriteFile(temporary, data, 0o600)
	if err == nil {
		err = os.Rename(temporary, p.cache)
	}
	if err != nil {
		p.log.Warn("static pod manifests not remembered", "file", p.cache, "err", err)
	}
}

// remembered are the pods of the last good answer, in an earlier life of the agent perhaps.
func (p *page) remembered() []*v1.Pod {
	data, err := os.ReadFile(p.cache)
	if err != nil {
		return nil
	}
	pods, err := parse(data, origin{"http", p.url}, p.node, p.rules)
	if err != nil {
		return nil
	}
	return pods
}

func (p *page) get(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range p.header {
		request.Header[name] = values
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxManifest))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", answer.Status)
	}
	return data, nil
}
