package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fanwatch"
)

// The sources of trouble, in the order in which a heartbeat names them.
const (
	troubleRead = iota
	troubleLand
	troubleSend
	troubleNote // findings of recovery, shown for noteFor
)

const (
	noteFor    = 10 * time.Minute
	maxTrouble = 1000 // bytes of Progress.Trouble
)

// errStuck ends an attempt that made no progress.
var errStuck = errors.New("the attempt made no progress")

// pulse sends the heartbeats of an attempt from a goroutine of its own, and cancels the attempt when its work makes no
// progress for longer than it said. Safe for concurrent use.
type pulse struct {
	beat  func(Progress)
	now   fanwatch.Clock
	every time.Duration

	mu       sync.Mutex
	progress Progress
	lander   *lander
	sender   *sender
	until    time.Time // when the work must have made progress
	troubles map[int]string
	noted    time.Time
}

func newPulse(now fanwatch.Clock, c ScoreConfig) *pulse {
	p := &pulse{beat: func(Progress) {}, now: now, every: c.Heartbeat, troubles: map[int]string{},
		progress: Progress{V: ProgressVersion}}
	p.alive(c.Stuck)
	return p
}

// alive says that the work makes progress and will say so again within d.
func (p *pulse) alive(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(d)
}

// report sets the content of the next heartbeats.
func (p *pulse) report(x Progress, l *lander, s *sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress, p.lander, p.sender = x, l, s
}

// trouble sets what is wrong with one source; "" = nothing.
func (p *pulse) trouble(source int, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why == "" {
		delete(p.troubles, source)
		return
	}
	p.troubles[source] = why
}

// note adds a finding, which heartbeats show for noteFor.
func (p *pulse) note(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.troubles[troubleNote]; old != "" {
		why = old + "; " + why
	}
	p.troubles[troubleNote], p.noted = why[:min(len(why), maxTrouble)], time.Now()
}

// run sends heartbeats until ctx ends or the work is stuck; then it cancels with an error that wraps errStuck.
func (p *pulse) run(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		x, stuck := p.compose()
		p.beat(x)
		if stuck {
			cancel(fmt.Errorf("%w: %s", errStuck, x.Trouble))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compose returns the next heartbeat, and whether the work is stuck.
func (p *pulse) compose() (x Progress, stuck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x = p.progress
	x.Now = p.now()
	troubles := maps.Clone(p.troubles)
	if time.Since(p.noted) > noteFor {
		delete(troubles, troubleNote)
	}
	if p.lander != nil {
		x.Pending, x.At = p.lander.waiting(), p.lander.landedAt()
		if why := p.lander.trouble(); why != "" {
			troubles[troubleLand] = why
		}
	}
	if p.sender != nil {
		if why := p.sender.trouble(); why != "" {
			troubles[troubleSend] = why
		}
	}
	if over := time.Since(p.until); over > 0 {
		stuck = true
		troubles[troubleRead] = fmt.Sprintf("nothing was read or judged for %s longer than it may take: "+
			"the attempt is given up", over.Round(time.Second))
	}
	var all []string
	for _, source := range slices.Sorted(maps.Keys(troubles)) {
		all = append(all, troubles[source])
	}
	x.Trouble = heartbeatText(strings.Join(all, "; "), maxTrouble)
	return x, stuck
}

// heartbeatText returns s as one line of at most n bytes.
func heartbeatText(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.ToValidUTF8(s[:min(len(s), n)], "")
}

// oneLine returns an error whose text is one line and which wraps err, or err if its text is one line.
func oneLine(err error) error {
	if err == nil || !strings.Contains(err.Error(), "\n") {
		return err
	}
	return &oneLineError{err}
}

type oneLineError struct{ error }

// Error returns the text, with "; " for each line break.
func (l *oneLineError) Error() string { return strings.ReplaceAll(l.error.Error(), "\n", "; ") }

// Unwrap returns the original error.
func (l *oneLineError) Unwrap() error { return l.error }
