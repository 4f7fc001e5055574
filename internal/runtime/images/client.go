package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Client uses the store of a running node over its socket.
type Client struct {
	http http.Client
}

// Dial makes a client; ok is false when nobody listens on the socket.
func Dial(path string) (c *Client, ok bool) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, false
	}
	conn.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, true
}

// List is Store.List.
func (c *Client) List(ctx context.Context) (imgs []Image, err error) {
	return imgs, c.simple(ctx, http.MethodGet, "/images", &imgs)
}

// Untag is Store.Untag.
func (c *Client) Untag(ctx context.Context, ref string) (gone []string, err error) {
	return gone, c.simple(ctx, http.MethodDelete, "/images?ref="+url.QueryEscape(ref), &gone)
}

func (c *Client) simple(ctx context.Context, method, path string, into any) error {
	resp, err := c.do(ctx, method, path, nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e wireError
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			return fmt.Errorf("image store: %s", resp.Status)
		}
		return e.err()
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Pull is Store.Pull. PullOptions.Pinned is not carried.
func (c *Client) Pull(ctx context.Context, ref string, opts PullOptions) (Image, error) {
	body, err := json.Marshal(pullRequest{Ref: ref, Platform: opts.Platform, Auth: opts.Auth})
	if err != nil {
		return Image{}, err
	}
	imgs, err := c.stream(ctx, "/pull", bytes.NewReader(body), "", opts.Progress)
	if err != nil {
		return Image{}, err
	}
	return imgs[0], nil
}

// Import is Store.Import.
func (c *Client) Import(ctx context.Context, archive io.Reader, opts ImportOptions) ([]Image, error) {
	header, err := json.Marshal(importRequest{Names: opts.Names, Platform: opts.Platform, Pinned: opts.Pinned})
	if err != nil {
		return nil, err
	}
	// The server may refuse before it has read all.
	return c.stream(ctx, "/import", io.NopCloser(archive), string(header), opts.Progress)
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://images"+path, body)
	if err != nil {
		return nil, err
	}
	if header != "" {
		req.Header.Set(importHeader, header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return resp, nil
}

func (c *Client) stream(ctx context.Context, path string, body io.Reader, header string, progress func(Progress)) ([]Image, error) {
	resp, err := c.do(ctx, http.MethodPost, path, body, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("image store: %s: %s", resp.Status, text)
	}
	for d := json.NewDecoder(resp.Body); ; {
		var m message
		if err := d.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("image store: it stopped in the middle: %w", err)
		}
		switch {
		case m.Error != nil:
			return nil, m.Error.err()
		case m.Images != nil:
			return m.Images, nil
		case m.Progress != nil && progress != nil:
			progress(*m.Progress)
		}
	}
}
