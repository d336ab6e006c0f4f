package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/failpoint"
)

// heldFor is how long landing waits for a fan that cannot be told while others can.
const heldFor = 5 * time.Minute

// teller tells the fans' workflows of changes of state: fans side by side, the changes of one fan in their order. A
// signal that fails is tried again until the teller's context ends; of a fan whose signal failed the newest change is
// told. ErrNoFan and ErrRefused are answers. Safe for concurrent use.
type teller struct {
	fans   Observer
	log    *slog.Logger
	within time.Duration
	slots  chan struct{}
	ctx    context.Context // of start; nil before

	mu     sync.Mutex
	queues map[string]*telling
	issued uint64          // changes so far, which is also the newest one's ticket
	open   map[uint64]bool // that are not settled
	lowest uint64          // no lower ticket is open
	told   time.Time       // when a signal was last taken
	answer string          // the newest ErrNoFan or ErrRefused
	when   time.Time       // and when it came
	landed chan struct{}   // is told of settled tickets
}

// telling is what one fan is to be told.
type telling struct {
	queue []change
	err   error     // of the newest signal; nil: it was taken
	since time.Time // when err began
	late  bool      // landing no longer waits for this fan
}

type change struct {
	number uint64 // counts changes
	ticket uint64 // what landing waits for: the number, or that of a change which this one supersedes
	device fanwatch.Device
	o      fanwatch.Observation
}

func newTeller(fans Observer, log *slog.Logger, c ScoreConfig) *teller {
	return &teller{fans: fans, log: log, within: c.SendWithin, slots: make(chan struct{}, c.Senders),
		queues: map[string]*telling{}, open: map[uint64]bool{}, lowest: 1}
}

// start lets it tell until ctx ends. Call it once, before push.
func (t *teller) start(ctx context.Context) { t.ctx = ctx }

// watch has c signalled when landing may go on.
func (t *teller) watch(c chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.landed = c
}

// push takes a change to be told.
func (t *teller) push(d fanwatch.Device, o fanwatch.Observation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[o.Fan]
	if q == nil {
		q = &telling{}
		t.queues[o.Fan] = q
		go t.run(o.Fan)
	}
	t.issued++
	q.queue = append(q.queue, change{t.issued, t.issued, d, o})
	if !q.late {
		t.open[t.issued] = true
	} else {
		t.advance()
	}
	if q.err != nil {
		t.supersede(q)
	}
}

// supersede leaves the newest change of a fan whose signal failed. It has the oldest ticket, so that landing waits for
// it as it did for those before. t.mu is locked.
func (t *teller) supersede(q *telling) {
	oldest, newest := q.queue[0].ticket, q.queue[len(q.queue)-1]
	for _, c := range q.queue[1:] {
		delete(t.open, c.ticket)
	}
	newest.ticket = oldest
	q.queue = append(q.queue[:0], newest)
	t.advance()
}

// advance finds the lowest open ticket. t.mu is locked.
func (t *teller) advance() {
	for t.lowest <= t.issued && !t.open[t.lowest] {
		t.lowest++
	}
	if t.landed != nil {
		signal(t.landed)
	}
}

// issuedTicket is the ticket of the newest change.
func (t *teller) issuedTicket() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

// toldUpTo reports whether landing waits for no change up to the ticket.
func (t *teller) toldUpTo(ticket uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lowest > ticket
}

// wait returns when everything was told, or ctx ends.
func (t *teller) wait(ctx context.Context) {
	for {
		t.mu.Lock()
		n := len(t.queues)
		t.mu.Unlock()
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

// run tells one fan until nothing is left to tell.
func (t *teller) run(fan string) {
	wait := firstWait
	for {
		c, ok := t.next(fan)
		if !ok {
			return
		}
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			return
		}
		if newer, ok := t.next(fan); ok {
			c = newer // it was superseded while this one waited
		}
		err := t.tell(c)
		<-t.slots
		if t.ctx.Err() != nil {
			return
		}
		if t.settle(fan, c, err) {
			wait = firstWait
			continue
		}
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
}

// next returns what the fan is to be told now; without any the fan is forgotten.
func (t *teller) next(fan string) (change, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[fan]
	if len(q.queue) == 0 {
		delete(t.queues, fan)
		return change{}, false
	}
	return q.queue[0], true
}

func (t *teller) tell(c change) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.within)
	defer cancel()
	failpoint.Hit(failpoint.SignalBefore)
	err := t.fans.Observe(ctx, c.device, c.o)
	failpoint.Hit(failpoint.SignalAfter)
	return err
}

// settle notes what became of a signal and tells whether it is done with.
func (t *teller) settle(fan string, c change, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, now := t.queues[fan], time.Now()
	answered := errors.Is(err, ErrNoFan) || errors.Is(err, ErrRefused)
	if err == nil || answered {
		t.told = now
		q.err, q.late = nil, false
		if q.queue[0].number == c.number { // else it was superseded meanwhile
			q.queue = q.queue[1:]
			delete(t.open, c.ticket)
			t.advance()
		}
		if answered {
			t.answer = fmt.Sprintf("of %s (%s) nobody can be told: %v", fan, kindName(c.o.Anomaly.Kind), err)
			t.when = now
			t.log.Warn("nobody to tell", "fan", fan, "kind", c.o.Anomaly.Kind, "err", err)
		}
		return true
	}
	if q.err == nil {
		q.since = now
	}
	q.err = err
	t.log.Warn("will try again", "what", "signal", "fan", fan, "err", err)
	t.supersede(q)
	if !q.late && now.Sub(q.since) >= heldFor && t.told.After(q.since) {
		q.late = true
		delete(t.open, q.queue[0].ticket)
		t.advance()
	}
	return false
}

func kindName(k fanwatch.Kind) string {
	if k == fanwatch.KindNone {
		return "normal"
	}
	return string(k)
}

// trouble says how many fans could not be told for longer than shownAfter, and what was answered in the last noteFor;
// "": none.
func (t *teller) trouble() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, now := 0, time.Now()
	var first string
	for fan, q := range t.queues {
		if q.err == nil || now.Sub(q.since) < shownAfter {
			continue
		}
		if n++; first == "" || fan < first {
			first = fan
		}
	}
	switch {
	case n > 0:
		return fmt.Sprintf("%d fans cannot be told of changes, %s: %v", n, first, t.queues[first].err)
	case t.answer != "" && now.Sub(t.when) < noteFor:
		return t.answer
	}
	return ""
}
