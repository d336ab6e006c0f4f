// Package health answers a program's probes, such as /healthz, with what is wrong and since when.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"fanwatch"
)

// Check is one thing that must hold. Do returns nil while it does, else an error that says why not and what to do.
// It may be called concurrently with other checks, never with itself. One that has not returned after Patience counts
// as failed, and is not called again before it has returned.
type Check struct {
	Name string
	Do   func(ctx context.Context) error
}

// Patience is how long one probe waits for its checks.
const Patience = 3 * time.Second

// Result is what a check found at the latest probe.
type Result struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"` // the first probe of those in a row that found it failed
}

// Probe is an http.Handler that makes its checks at each request and answers 200 when all hold, else 503, with
// {"status": "ok" or "failing", "checks": [Result...]} as JSON. It is safe for concurrent use.
type Probe struct {
	now    fanwatch.Clock
	mu     sync.Mutex // held for one probe: probes that come at the same time wait for each other
	checks []*state
}

type state struct {
	Check
	last    Result
	running chan error // nil while the check is not under way
}

// New makes a Probe of checks, which it answers in this order. now is the clock of Result.Since; nil means time.Now.
func New(now fanwatch.Clock, checks ...Check) *Probe {
	if now == nil {
		now = time.Now
	}
	p := &Probe{now: now}
	for _, c := range checks {
		p.checks = append(p.checks, &state{Check: c})
	}
	return p
}

// Run makes the checks side by side and tells whether all hold. It takes no longer than Patience.
func (p *Probe) Run(ctx context.Context) (all []Result, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience) // a prober that goes is no failure
	defer cancel()
	for _, c := range p.checks {
		c.start(ctx)
	}
	ok = true
	for _, c := range p.checks {
		err := c.wait(ctx)
		r := Result{Name: c.Name, OK: err == nil}
		if err != nil {
			ok, r.Why, r.Since = false, oneLine(err), c.last.Since
			if r.Since.IsZero() {
				r.Since = p.now()
			}
		}
		c.last = r
		all = append(all, r)
	}
	return all, ok
}

// start calls the check, unless an earlier call is under way. What one found that came too late for its probe is old.
func (c *state) start(ctx context.Context) {
	select {
	case <-c.running:
		c.running = nil
	default:
	}
	if c.running == nil {
		c.running = make(chan error, 1)
		go func(done chan<- error) { done <- c.Do(ctx) }(c.running)
	}
}

func (c *state) wait(ctx context.Context) error {
	select {
	case err := <-c.running:
		c.running = nil
		return err
	case <-ctx.Done():
	}
	select { // another check has used up the time; this one may have returned long before
	case err := <-c.running:
		c.running = nil
		return err
	default:
		return fmt.Errorf("no answer within %v", Patience)
	}
}

// ServeHTTP implements http.Handler.
func (p *Probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	checks, ok := p.Run(r.Context())
	status, word := http.StatusOK, "ok"
	if !ok {
		status, word = http.StatusServiceUnavailable, "failing"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // fails only when the prober has gone
		Status string   `json:"status"`
		Checks []Result `json:"checks"`
	}{word, checks})
}

// oneLine returns an error as one line of at most 300 bytes.
func oneLine(err error) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	return strings.ToValidUTF8(s[:min(len(s), 300)], "")
}
