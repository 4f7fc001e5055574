package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Refusal is a node that would not take a pod, and why.
type Refusal struct {
	Node    string   `json:"node"`
	Reasons []string `json:"reasons"`
}

// HandleRefusals adds the route. The answer is encoded as it is: its JSON is that of
// []Refusal.
func HandleRefusals[R any](mux *http.ServeMux, refusals func(ctx context.Context, namespace, name string) []R) {
	mux.HandleFunc("GET /refusals", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(refusals(r.Context(), q.Get("namespace"), q.Get("name")))
	})
}

// Refusals asks the scheduler why each node would not take a pod; nothing if one
// would, or if the scheduler is not here.
func (c *Client) Refusals(ctx context.Context, namespace, name string) ([]Refusal, error) {
	query := url.Values{"namespace": {namespace}, "name": {name}}
	resp, err := c.do(ctx, http.MethodGet, "/refusals?"+query.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var all []Refusal
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read refusals: %w", err)
	}
	return all, nil
}
