package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Shutdown is how long the node's pods may take to end; zero is what the node's
// settings say.
type Shutdown struct {
	// Grace is for all, the last part of it, CriticalGrace, for the system's own.
	Grace, CriticalGrace time.Duration
}

// HandleShutdown adds the route. The answer comes when the pods have ended.
func HandleShutdown(mux *http.ServeMux, shutdown func(context.Context, Shutdown) error) {
	mux.HandleFunc("POST /shutdown", func(w http.ResponseWriter, r *http.Request) {
		var s Shutdown
		err := json.NewDecoder(r.Body).Decode(&s)
		if err == nil {
			err = shutdown(r.Context(), s)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// ShutDown ends the node's pods in order, as before the machine goes down, and
// returns when they have ended.
func (c *Client) ShutDown(ctx context.Context, s Shutdown) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodPost, "/shutdown", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(answer)))
	}
	return nil
}
