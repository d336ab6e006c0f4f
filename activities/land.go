package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unsafe"

	"fanwatch"
	"fanwatch/lake/landing"
)

const (
	firstWait    = 100 * time.Millisecond // first wait before a retry; it doubles up to lastWait
	lastWait     = 5 * time.Second        // longest wait before a retry
	appendWithin = time.Minute            // bound of one attempt to store a segment
	shownAfter   = 5 * time.Second        // age at which trouble appears in heartbeats
)

// lander appends segments to the landing log, in their order, in a goroutine of its own, so that neither the store nor
// the sender delays reading and judging. It retries until its context ends. Safe for concurrent use.
type lander struct {
	shardLog   landing.Log
	logger     *slog.Logger
	sender     *sender
	cancel     context.CancelFunc
	done       chan struct{}
	work       chan struct{} // signals run
	progressed chan struct{} // signals wait

	mu      sync.Mutex
	queue   []*pendingSegment
	rows    int                     // rows in queue
	held    int                     // bytes of memory of queue, by estimate
	at      fanwatch.SequenceNumber // end of the newest segment landed
	err     error                   // error that ended the lander
	failing error                   // error of the newest attempt; nil: it succeeded
	since   time.Time               // when failing began
}

// pendingSegment is a segment, a snapshot, or a segment and the snapshot behind it, to be stored.
type pendingSegment struct {
	segment  *landing.Segment
	snapshot []byte
	at       fanwatch.SequenceNumber // position of the snapshot
	held     int                     // bytes of memory, by estimate
	opened   time.Time               // when the first record of the segment was read
	ticket   uint64                  // of the newest change of state that must be sent before it lands
}

// memoryOf returns an estimate of a row's memory in bytes. Strings but Reason are shared with other rows.
func memoryOf(r *fanwatch.Row) int { return int(unsafe.Sizeof(*r)) + len(r.Reason) + len(r.Payload) }

// startLander starts a lander of the log, whose end is at.
func startLander(
	ctx context.Context, log landing.Log, at fanwatch.SequenceNumber, s *sender, logger *slog.Logger,
) *lander {
	ctx, cancel := context.WithCancel(ctx)
	l := &lander{shardLog: log, logger: logger, sender: s, at: at, cancel: cancel, done: make(chan struct{}),
		work: make(chan struct{}, 1), progressed: make(chan struct{}, 1)}
	s.signalOn(l.work)
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return l
}

// stop ends the lander and waits up to 1 s for an attempt that is under way.
func (l *lander) stop() {
	l.cancel()
	select {
	case <-l.done:
	case <-time.After(time.Second):
	}
}

func (l *lander) enqueue(x *pendingSegment) {
	if x.segment == nil && x.snapshot == nil {
		return
	}
	l.mu.Lock()
	l.queue = append(l.queue, x)
	l.count(x, 1)
	l.mu.Unlock()
	signal(l.work)
}

// count adds the rows and the memory of x, or with sign -1 subtracts them. l.mu must be locked.
func (l *lander) count(x *pendingSegment, sign int) {
	if x.segment != nil {
		l.rows += sign * len(x.segment.Rows)
		l.held += sign * x.held
	}
}

func (l *lander) head() *pendingSegment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

func (l *lander) pop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.count(x, -1)
	if x.segment != nil {
		l.at = x.segment.Last
	}
}

// replace replaces the segment at the head by its parts.
func (l *lander) replace(parts []*pendingSegment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(l.queue[0], -1)
	for _, p := range parts {
		l.count(p, 1)
	}
	l.queue = append(parts, l.queue[1:]...)
}

func (l *lander) run(ctx context.Context) {
	for ctx.Err() == nil {
		x := l.head()
		if x == nil || x.segment != nil && !l.sender.sentUpTo(x.ticket) {
			select {
			case <-ctx.Done():
			case <-l.work:
			}
			continue
		}
		if x.segment != nil {
			done, err := l.land(ctx, x)
			if err != nil {
				l.end(err)
				return
			}
			if !done {
				continue
			}
		}
		if x.snapshot != nil {
			l.putSnapshot(ctx, x)
		}
		l.pop()
		signal(l.progressed)
	}
}

func (l *lander) end(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	signal(l.progressed)
}

// land appends the segment, and retries until it succeeds, the log has another segment there (*landing.Conflict) or
// ctx ends. A segment that can never be stored is replaced by its parts; then done is false.
func (l *lander) land(ctx context.Context, x *pendingSegment) (done bool, err error) {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := l.append(ctx, x.segment)
		l.failed(err)
		var taken *landing.Conflict
		switch {
		case err == nil:
			return true, nil
		case errors.As(err, &taken), ctx.Err() != nil:
			return false, err
		case errors.Is(err, landing.ErrSegment):
			parts, why := divide(x, err)
			if why != nil {
				return false, why
			}
			l.logger.Error("a segment cannot be stored as it is: divided",
				"shard", l.shardLog.Shard, "parts", len(parts), "err", err)
			l.replace(parts)
			return false, nil
		}
		l.logger.Warn("will try again", "what", "land", "shard", l.shardLog.Shard, "err", err)
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("land shard %s: %w", l.shardLog.Shard, errors.Join(ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

func (l *lander) append(ctx context.Context, s *landing.Segment) error {
	ctx, cancel := context.WithTimeout(ctx, appendWithin)
	defer cancel()
	return l.shardLog.Append(ctx, *s)
}

func (l *lander) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing == nil {
		l.since = time.Now()
	}
	l.failing = err
}

func (l *lander) putSnapshot(ctx context.Context, x *pendingSegment) {
	ctx, cancel := context.WithTimeout(ctx, longWork)
	defer cancel()
	if err := l.shardLog.PutSnapshot(ctx, x.at, x.snapshot); err != nil {
		l.logger.Warn("no snapshot this time: recovery replays more of the log", "shard", l.shardLog.Shard, "err", err)
	}
}

// waiting returns the length of the queue.
func (l *lander) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// failure returns the error that ended the lander: a *landing.Conflict, or one that no retry can change.
func (l *lander) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *lander) landedAt() fanwatch.SequenceNumber {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// overBound returns why reading has to wait, or "" while the queue is within the bounds.
func (l *lander) overBound(c ScoreConfig, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return ""
	}
	var over string
	age := time.Duration(0)
	if !l.queue[0].opened.IsZero() {
		age = now.Sub(l.queue[0].opened)
	}
	switch {
	case l.rows >= c.PendingRows:
		over = fmt.Sprintf("%d rows", l.rows)
	case l.held >= c.PendingHeld:
		over = fmt.Sprintf("%d MiB", l.held>>20)
	case age >= c.PendingTime:
		over = fmt.Sprintf("rows of %s", age.Round(time.Second))
	default:
		return ""
	}
	why := "changes of state cannot be told"
	if l.failing != nil {
		why = l.failing.Error()
	}
	return fmt.Sprintf("no reading is read or judged: %s wait to be landed, which is the bound: %s", over, why)
}

// trouble returns what has failed for longer than shownAfter, or "".
func (l *lander) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing == nil || time.Since(l.since) < shownAfter {
		return ""
	}
	return fmt.Sprintf("%d segments wait to be landed: %v", len(l.queue), l.failing)
}

// wait returns when something was landed, when the lander has ended, or after firstWait. The error is ctx's.
func (l *lander) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.progressed:
	case <-time.After(firstWait):
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// divide divides a segment that can never be stored into two, between two records. In a segment of one record it
// replaces the rows that cannot be stored by quarantine rows; when there is none the error is the cause.
func divide(x *pendingSegment, cause error) ([]*pendingSegment, error) {
	s := x.segment
	cut := 0 // where the second part begins
	for i := 1; i < len(s.Rows); i++ {
		if s.Rows[i].Position.Sequence != s.Rows[i-1].Position.Sequence && (cut == 0 || i <= len(s.Rows)/2) {
			cut = i
		}
	}
	if cut == 0 {
		if err := note(s, cause); err != nil {
			return nil, err
		}
		return []*pendingSegment{x}, nil
	}
	first, second := *x, *x
	a, b := *s, *s
	a.Rows, b.Rows = s.Rows[:cut:cut], s.Rows[cut:]
	a.Last, a.End, a.Counts.Duplicates = s.Rows[cut-1].Position.Sequence, false, 0
	b.After = a.Last
	first.segment, first.snapshot, first.held = &a, nil, x.held*cut/len(s.Rows)
	second.segment, second.held = &b, x.held-first.held
	return []*pendingSegment{&first, &second}, nil
}

// note replaces the segment's rows that cannot be stored by quarantine rows.
func note(s *landing.Segment, cause error) error {
	replaced := 0
	for i := range s.Rows {
		alone := landing.Segment{Header: s.Header, Rows: s.Rows[i : i+1]}
		_, err := landing.EncodeSegment(&alone)
		if err == nil {
			continue
		}
		row := &s.Rows[i]
		*row = fanwatch.Row{Kind: fanwatch.RowQuarantined,
			Reading:  fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: row.Fan}},
			Position: fanwatch.Position{Shard: s.Shard, Sequence: s.Last, Index: i},
			Arrived:  row.Arrived.Truncate(time.Microsecond), Client: row.Client,
			Reason: fmt.Sprintf("the row of this reading cannot be stored: %v", err)}
		replaced++
		if _, err := landing.EncodeSegment(&alone); err != nil {
			return fmt.Errorf("a row can be stored neither as it is nor as a note: %w", err)
		}
	}
	if replaced == 0 {
		return cause
	}
	return nil
}
