package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Explanation is what a node can tell of a pod: what it does, what it waits for,
// and what it did and why. The names are those of the node agent's decision log.
type Explanation struct {
	UID       string     `json:"uid"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Phase     string     `json:"phase"`
	InFlight  []InFlight `json:"inFlight,omitempty"`
	Waits     []Wait     `json:"waits,omitempty"`
	WakeAt    time.Time  `json:"wakeAt,omitzero"`
	Probes    []Probe    `json:"probes,omitempty"`
	Log       []Entry    `json:"log"`
	Spans     []Span     `json:"spans,omitempty"`
	GoneAt    time.Time  `json:"goneAt,omitzero"` // zero while the pod is there
}

// InFlight is something that is being done now.
type InFlight struct {
	Kind      string    `json:"kind"`
	Container string    `json:"container,omitempty"`
	Why       string    `json:"why"`
	Since     time.Time `json:"since"`
}

// Wait is something that must happen before the pod goes on.
type Wait struct {
	Subject string    `json:"subject,omitempty"`
	For     string    `json:"for"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Hint    string    `json:"hint,omitempty"` // what would make it go on
}

// Probe is the verdict of a probe on a container that runs.
type Probe struct {
	Container string    `json:"container"`
	Kind      string    `json:"kind"`              // Startup, Liveness, Readiness
	Verdict   string    `json:"verdict,omitempty"` // Success, Failure; "" is none yet
	Output    string    `json:"output,omitempty"`  // of the last attempt that was told
	Run       int       `json:"run,omitempty"`     // attempts in a row with this outcome
	Threshold int       `json:"threshold,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// Entry is one decision.
type Entry struct {
	At      time.Time `json:"at"`
	Phase   string    `json:"phase"`
	Subject string    `json:"subject,omitempty"`
	What    string    `json:"what"`
	Why     string    `json:"why"`
}

// Span is a time that the pod, or a container of it, spent in a state.
type Span struct {
	Lane   string    `json:"lane,omitempty"` // container; "" is the pod
	Kind   string    `json:"kind"`           // phase, pull, start, run, ready, backOff, …
	ID     string    `json:"id"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"` // zero: it is so still
	Note   string    `json:"note,omitempty"`
	Failed bool      `json:"failed,omitempty"`
}

// HandleWhy adds the route. explain's answer is encoded as it is: its JSON is
// that of []Explanation.
func HandleWhy[E any](mux *http.ServeMux, explain func(namespace, name string) []E) {
	mux.HandleFunc("GET /why", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(explain(q.Get("namespace"), q.Get("name")))
	})
}

// Why asks the node about the pods of a name, those gone within the hour too.
func (c *Client) Why(ctx context.Context, namespace, name string) ([]Explanation, error) {
	query := url.Values{"namespace": {namespace}, "name": {name}}
	resp, err := c.do(ctx, http.MethodGet, "/why?"+query.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var found []Explanation
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		return nil, fmt.Errorf("read explanation: %w", err)
	}
	return found, nil
}
