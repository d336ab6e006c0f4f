package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/failpoint"
)

// detachAfter is how long landing waits for a fan whose signals fail while others succeed.
const detachAfter = 5 * time.Minute

// sender sends changes of state to the fans' workflows: fans concurrently, the changes of one fan in their order. It
// retries a signal that fails until its context ends, and then drops all but the newest change of each family. ErrNoFan
// and ErrRefused are not retried. Safe for concurrent use.
type sender struct {
	fans   Observer
	log    *slog.Logger
	within time.Duration   // bound of one signal
	slots  chan struct{}   // one place per signal that may be under way
	ctx    context.Context // set by start

	mu         sync.Mutex
	queues     map[string]*fanQueue
	issued     uint64          // number of changes so far, which is the newest ticket
	open       map[uint64]bool // tickets that landing waits for
	lowest     uint64          // no lower ticket is open
	lastSent   time.Time       // when a signal last succeeded
	lastAnswer string          // text of the newest ErrNoFan or ErrRefused
	answeredAt time.Time       // when that came
	advanced   chan struct{}   // signals that lowest has grown
}

// fanQueue is the changes of one fan that are to be sent, oldest first.
type fanQueue struct {
	queue    []change
	err      error     // of the newest signal; nil: it succeeded
	since    time.Time // when err began
	detached bool      // landing no longer waits for this fan
}

type change struct {
	number      uint64 // counts changes, from 1
	ticket      uint64 // the number, or that of a change which this one supersedes
	device      fanwatch.Device
	observation fanwatch.Observation
}

func newSender(fans Observer, log *slog.Logger, c ScoreConfig) *sender {
	return &sender{fans: fans, log: log, within: c.SendWithin, slots: make(chan struct{}, c.Senders),
		queues: map[string]*fanQueue{}, open: map[uint64]bool{}, lowest: 1}
}

// start sets the context that ends the sender. Call it once, before enqueue.
func (s *sender) start(ctx context.Context) { s.ctx = ctx }

// signalOn sets the channel that is signalled when landing may go on.
func (s *sender) signalOn(c chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced = c
}

// enqueue queues a change. The sender starts a goroutine for a fan that has none.
func (s *sender) enqueue(d fanwatch.Device, o fanwatch.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[o.Fan]
	if q == nil {
		q = &fanQueue{}
		s.queues[o.Fan] = q
		go s.run(o.Fan)
	}
	s.issued++
	q.queue = append(q.queue, change{s.issued, s.issued, d, o})
	if !q.detached {
		s.open[s.issued] = true
	} else {
		s.advance()
	}
	if q.err != nil {
		s.supersede(q)
	}
}

// supersede drops what a later change of the same family, or of all families, supersedes. The later one gets the oldest
// ticket, so that landing waits for it. s.mu must be locked.
func (s *sender) supersede(q *fanQueue) {
	var kept []change // newest first
	for _, c := range slices.Backward(q.queue) {
		i := slices.IndexFunc(kept, func(k change) bool {
			return k.observation.Of() == "" || k.observation.Of() == c.observation.Of()
		})
		if i < 0 {
			kept = append(kept, c)
			continue
		}
		delete(s.open, kept[i].ticket)
		kept[i].ticket = c.ticket
	}
	slices.Reverse(kept)
	q.queue = kept
	s.advance()
}

// advance moves lowest to the lowest open ticket. s.mu must be locked.
func (s *sender) advance() {
	for s.lowest <= s.issued && !s.open[s.lowest] {
		s.lowest++
	}
	if s.advanced != nil {
		signal(s.advanced)
	}
}

// issuedTicket returns the newest ticket.
func (s *sender) issuedTicket() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// sentUpTo reports whether landing waits for no change up to the ticket.
func (s *sender) sentUpTo(ticket uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lowest > ticket
}

// wait returns when every change is sent, or ctx ends.
func (s *sender) wait(ctx context.Context) {
	for {
		s.mu.Lock()
		n := len(s.queues)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// run sends the changes of one fan until none is left.
func (s *sender) run(fan string) {
	wait := firstWait
	for {
		c, ok := s.next(fan)
		if !ok {
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		if newer, ok := s.next(fan); ok {
			c = newer // c was superseded meanwhile
		}
		err := s.send(c)
		<-s.slots
		if s.ctx.Err() != nil {
			return
		}
		if s.done(fan, c, err) {
			wait = firstWait
			continue
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
}

// next returns the change that is to be sent now. When there is none it removes the fan's queue.
func (s *sender) next(fan string) (change, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[fan]
	if len(q.queue) == 0 {
		delete(s.queues, fan)
		return change{}, false
	}
	return q.queue[0], true
}

func (s *sender) send(c change) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.within)
	defer cancel()
	failpoint.Hit(failpoint.SignalBefore)
	err := s.fans.Observe(ctx, c.device, c.observation)
	failpoint.Hit(failpoint.SignalAfter)
	return err
}

// done records the result of a signal and reports whether no retry is due.
func (s *sender) done(fan string, c change, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, now := s.queues[fan], time.Now()
	answered := errors.Is(err, ErrNoFan) || errors.Is(err, ErrRefused)
	if err == nil || answered {
		s.lastSent = now
		q.err, q.detached = nil, false
		if q.queue[0].number == c.number { // else c was superseded meanwhile
			q.queue = q.queue[1:]
			delete(s.open, c.ticket)
			s.advance()
		}
		if answered {
			s.lastAnswer = fmt.Sprintf("no workflow takes the change of %s (%s): %v", fan,
				kindName(c.observation.Anomaly.Kind), err)
			s.answeredAt = now
			s.log.Warn("no workflow takes the change", "fan", fan, "kind", c.observation.Anomaly.Kind, "err", err)
		}
		return true
	}
	if q.err == nil {
		q.since = now
	}
	q.err = err
	s.log.Warn("will try again", "what", "signal", "fan", fan, "err", err)
	s.supersede(q)
	if !q.detached && now.Sub(q.since) >= detachAfter && s.lastSent.After(q.since) {
		q.detached = true
		for _, c := range q.queue {
			delete(s.open, c.ticket)
		}
		s.advance()
	}
	return false
}

func kindName(k fanwatch.Kind) string {
	if k == fanwatch.KindNone {
		return "normal"
	}
	return string(k)
}

// trouble returns how many fans could not be signalled for longer than shownAfter, or else the newest ErrNoFan or
// ErrRefused of the last noteFor; "" = none.
func (s *sender) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, now := 0, time.Now()
	var first string
	for fan, q := range s.queues {
		if q.err == nil || now.Sub(q.since) < shownAfter {
			continue
		}
		if n++; first == "" || fan < first {
			first = fan
		}
	}
	switch {
	case n > 0:
		return fmt.Sprintf("%d fans cannot be told of changes, %s: %v", n, first, s.queues[first].err)
	case s.lastAnswer != "" && now.Sub(s.answeredAt) < noteFor:
		return s.lastAnswer
	}
	return ""
}
