package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// Stream is the stream of readings.
type Stream interface {
	Shards(ctx context.Context, stream string) ([]Shard, error)
	// Created returns the time at which the stream was made; the zero time where it may not be asked for.
	Created(ctx context.Context, stream string) (time.Time, error)
	// Open starts to read behind a sequence number; "0" is the shard's oldest record. The shard is named as the stream
	// names it.
	Open(stream, shard string, after fanwatch.SequenceNumber) ShardReader
}

// ErrOtherStream says that a sequence number is of another stream than the one that is read: the stream was deleted
// and made again.
var ErrOtherStream = errors.New("the sequence number did not come from this stream")

// ShardReader returns a shard's records in order. Next waits for the next poll, and answers a batch without
// records when there are none yet. An error is one that does not pass by itself; where the stream does not answer
// the batch has Trouble instead, after some seconds at most.
type ShardReader interface {
	Next(ctx context.Context) (Batch, error)
}

// Batch is one answer of a shard.
type Batch struct {
	Records []detect.Input // with the sequence number as position: the scorer adds the shard's name in the landing log
	Behind  time.Duration  // 0: the reader has seen everything
	Closed  bool           // the shard is closed and these were its last records
	Trouble string         // why nothing could be read this time, which will be tried again; then Behind says nothing
}

// Observer tells a fan's workflow of a change of state. Of a fan whose workflow was ended by other means than
// retiring, it starts another, with the device as the scorer knows it. ErrNoFan says that the fan is retired.
type Observer interface {
	Observe(ctx context.Context, d fanwatch.Device, o fanwatch.Observation) error
}

// ErrNoFan says that a fan has no workflow, for it was retired.
var ErrNoFan = errors.New("no workflow of that fan is running")

// ErrRefused says that a fan's workflow does not take the observation and would not if it were sent again, such as one
// that has had as many signals as Temporal allows.
var ErrRefused = errors.New("the fan's workflow does not take the observation")

// ScoreConfig sets how a shard is scored. Zero values mean the defaults.
type ScoreConfig struct {
	Detect        detect.Config
	Window        time.Duration // arrivals per segment; 0 = 60 s. Shorter: fresher table, more objects.
	WindowBytes   int           // of records per segment; 0 = 8 MiB
	WindowRows    int           // per segment, and up to 500 more; 0 = 200,000
	WindowHeld    int           // bytes of memory that a segment's rows hold, by estimate; 0 = 64 MiB
	SnapshotEvery time.Duration // 0 = 5 min. Shorter: faster recovery, more bytes written.
	Heartbeat     time.Duration // 0 = 1 s

	// While the store does not take segments they wait, and reading, judging and telling go on until so much waits.
	PendingRows int           // 0 = 1,048,576
	PendingHeld int           // bytes of memory, by estimate; 0 = 256 MiB
	PendingTime time.Duration // since the oldest that waits was read; 0 = 2 h

	Senders    int           // signals that are under way at once; 0 = 32
	SendWithin time.Duration // that one signal may take; 0 = 10 s
	Stuck      time.Duration // without progress, after which an attempt is given up; 0 = 1 min
}

func (c ScoreConfig) withDefaults() ScoreConfig {
	c.Window = cmp.Or(c.Window, time.Minute)
	c.WindowBytes = cmp.Or(c.WindowBytes, 8<<20)
	c.WindowRows = cmp.Or(c.WindowRows, 200_000)
	c.WindowHeld = cmp.Or(c.WindowHeld, 64<<20)
	c.SnapshotEvery = cmp.Or(c.SnapshotEvery, 5*time.Minute)
	c.Heartbeat = cmp.Or(c.Heartbeat, time.Second)
	c.PendingRows = cmp.Or(c.PendingRows, 1<<20)
	c.PendingHeld = cmp.Or(c.PendingHeld, 256<<20)
	c.PendingTime = cmp.Or(c.PendingTime, 2*time.Hour)
	c.Senders = cmp.Or(c.Senders, 32)
	c.SendWithin = cmp.Or(c.SendWithin, 10*time.Second)
	c.Stuck = cmp.Or(c.Stuck, time.Minute)
	return c
}

// Scorer scores shards.
type Scorer struct {
	Stream Stream
	Store  objstore.Store
	Fans   Observer
	Config ScoreConfig
	Now    fanwatch.Clock
	Log    *slog.Logger

	makings makings
}

// ScoreInput names the shard and for how long one activity scores it.
type ScoreInput struct {
	Stream string        `json:"stream"`
	Shard  Shard         `json:"shard"`
	For    time.Duration `json:"for"`
}

// ScoreResult reports whether the shard came to its end, or only the activity's time.
type ScoreResult struct {
	Ended bool                    `json:"ended"`
	At    fanwatch.SequenceNumber `json:"at"`
}

// ProgressVersion is the version of Progress that this program writes.
const ProgressVersion = 1

// Progress is the heartbeat's detail: for people and for Watch; recovery does not need it.
type Progress struct {
	V        int                     `json:"v"`
	At       fanwatch.SequenceNumber `json:"at"`
	Readings int                     `json:"readings"`
	Behind   time.Duration           `json:"behind"`
	Now      time.Time               `json:"now,omitzero"` // the scorer's clock at this heartbeat
	// what arrived until then was judged; zero before the first read
	Through time.Time `json:"through,omitzero"`
	Fans    int       `json:"fans,omitempty"` // that are active on this shard
	// the fans of which nothing was judged for UnjudgedAfter, longest first, at most MaxUnjudged
	Unjudged []Unjudged `json:"unjudged,omitempty"`
	Pending  int        `json:"pending,omitempty"` // segments that wait for the store
	// what is tried again now, and why; "" while all goes well
	Trouble string `json:"trouble,omitempty"`
}

// Unjudged is a fan of which no reading was judged at its arrival for a while. Since is when the newest one was;
// zero: none ever was.
type Unjudged struct {
	Fan   string    `json:"fan"`
	Since time.Time `json:"since,omitzero"`
}

const (
	UnjudgedAfter = 10 * time.Second
	MaxUnjudged   = 1000 // a heartbeat must stay small
)

// errSuperseded says that a newer attempt owns the shard: this one is a zombie and changes nothing.
var errSuperseded = errors.New("a newer attempt scores this shard")

// errStopping ends the activity because its worker is stopping; another worker goes on at once.
var errStopping = errors.New("the worker is stopping; another goes on from the landing log")

const (
	stopWithin   = 7 * time.Second  // what a stopping worker gives an attempt to land what it read; workers give it 10 s
	finishWithin = 10 * time.Second // how long landing goes on when the activity's time is over
	longWork     = 10 * time.Minute // that a snapshot may take, to read and to make
)

// ScoreShard scores one shard until in.For is over, the shard ends or the worker stops. It may run again at any time,
// even while an older attempt still believes that it owns the shard: the landing log says what is done, and the attempt
// that finds a segment taken gives way. While segments wait for the store it goes on beyond in.For.
func (s *Scorer) ScoreShard(ctx context.Context, in ScoreInput) (ScoreResult, error) {
	info := activity.GetInfo(ctx)
	r := s.attempt(in, landing.Token{Scheduled: info.ScheduledTime.UnixNano(), Attempt: info.Attempt,
		Run: info.WorkflowExecution.RunID})
	r.stop = activity.GetWorkerStopChannel(ctx)
	r.pulse.beat = func(p Progress) { activity.RecordHeartbeat(ctx, p) }
	return r.score(ctx)
}

// attempt prepares one attempt at one shard.
func (s *Scorer) attempt(in ScoreInput, token landing.Token) *scoring {
	r := &scoring{Scorer: s, in: in, cfg: s.Config.withDefaults(), token: token,
		stopWithin: stopWithin, finishWithin: finishWithin,
		log: landing.Log{Store: s.Store, Stream: in.Stream, Shard: in.Shard.ID}}
	r.pulse = newPulse(s.Now, r.cfg)
	r.teller = newTeller(s.Fans, s.Log, r.cfg)
	return r
}

// scoring is one attempt at one shard. Its fields belong to the goroutine that calls run; what runs beside it (pulse,
// teller, lander) has locks of its own.
type scoring struct {
	*Scorer
	in    ScoreInput
	cfg   ScoreConfig
	log   landing.Log
	token landing.Token
	stop  <-chan struct{}

	stopWithin, finishWithin time.Duration

	pulse  *pulse
	teller *teller
	lander *lander // from recover on

	models    *detect.Models
	reader    ShardReader
	at        fanwatch.SequenceNumber // end of the newest window, landed or waiting
	ended     bool                    // that window is the shard's last
	window    window
	pending   pendingObservations
	readings  int
	behind    time.Duration
	through   time.Time // what arrived until then was judged
	snapped   time.Time
	snappedAt fanwatch.SequenceNumber
	reported  time.Time
}

// window is what was read since the newest segment was sealed.
type window struct {
	rows       []fanwatch.Row
	duplicates int
	bytes      int // of records
	held       int // of memory, by estimate
	opened     time.Time
	last       fanwatch.SequenceNumber // "" while the window is empty
}

// score makes the attempt, with its heartbeat beside it.
func (r *scoring) score(ctx context.Context) (ScoreResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer func() { <-done }()
	defer cancel(nil)
	go func() {
		defer close(done)
		r.pulse.run(ctx, cancel)
	}()
	current, err := r.current(ctx, r.in.Stream)
	if err != nil {
		return ScoreResult{}, err
	}
	if current.Suffix != suffix(r.in.Shard.ID) {
		r.Log.Warn("the stream of this shard is gone, another of its name is scored",
			"stream", r.in.Stream, "shard", r.in.Shard.ID)
		return ScoreResult{Ended: true}, nil
	}
	out, err := r.run(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStuck) {
		err = errors.Join(cause, err)
	}
	return out, oneLine(err)
}

// run scores until the attempt ends, and lands what it read.
func (r *scoring) run(ctx context.Context) (ScoreResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if r.lander != nil {
			r.lander.stop()
		}
	}()
	r.teller.start(ctx)
	if err := r.recover(ctx); err != nil {
		return ScoreResult{}, err
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go func() { // a read may take seconds, a stopping worker has few
		select {
		case <-r.stop:
			stopReading()
		case <-reading.Done():
		}
	}()
	until := r.Now().Add(r.in.For)
	for {
		for !r.ended {
			if r.stopping() {
				return ScoreResult{}, errors.Join(errStopping, r.finish(ctx, r.stopWithin))
			}
			if r.in.For > 0 && r.Now().After(until) && r.lander.waiting() == 0 {
				if err := r.finish(ctx, r.finishWithin); !errors.Is(err, errPending) {
					return ScoreResult{At: r.at}, err
				}
			}
			err := r.step(ctx, reading)
			switch {
			case err == nil || r.stopping():
			case errors.Is(err, errUnread):
				return r.unreadable(ctx, err)
			default:
				return ScoreResult{}, err
			}
		}
		err := r.drain(reading)
		switch {
		case r.stopping():
			return ScoreResult{}, errors.Join(errStopping, r.finish(ctx, r.stopWithin))
		case errors.Is(err, errMoved):
			if err := r.recover(ctx); err != nil {
				return ScoreResult{}, err
			}
		case err != nil:
			return ScoreResult{}, err
		default:
			return ScoreResult{Ended: true, At: r.at}, r.markEnded(ctx)
		}
	}
}

// stopping reports whether the worker stops.
func (r *scoring) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// errUnread marks errors of reading the stream.
var errUnread = errors.New("the stream cannot be read")

// unreadable ends an attempt whose stream cannot be read: what was read is landed first, for it may be gone from the
// stream. Of a stream that was made anew the shards are others from then on.
func (r *scoring) unreadable(ctx context.Context, err error) (ScoreResult, error) {
	r.Log.Error("reading ends", "stream", r.in.Stream, "shard", r.in.Shard.ID, "err", err)
	r.pulse.trouble(troubleRead, err.Error())
	r.seal(false)
	if landing := r.drain(ctx); landing != nil {
		return ScoreResult{}, errors.Join(err, landing)
	}
	if !errors.Is(err, ErrOtherStream) {
		return ScoreResult{}, err
	}
	if renewing := r.renew(ctx, r.in.Stream, suffix(r.in.Shard.ID)); renewing != nil {
		return ScoreResult{}, errors.Join(err, renewing)
	}
	return ScoreResult{Ended: true, At: r.at}, nil
}

// step reads once, feeds the models, hands changes to the teller, and seals the window when it is due. reading ends
// earlier than ctx when the worker stops.
func (r *scoring) step(ctx, reading context.Context) error {
	r.pulse.alive(r.cfg.Stuck)
	if err := r.landed(); errors.Is(err, errMoved) {
		r.Log.Warn("going on behind what another attempt landed", "shard", r.in.Shard.ID, "err", err)
		return r.recover(ctx)
	} else if err != nil {
		return err
	}
	if why := r.lander.full(r.cfg, r.Now()); why != "" {
		r.pulse.trouble(troubleRead, why)
		r.tell()
		r.report(false)
		return r.lander.wait(reading)
	}
	b, err := r.reader.Next(reading)
	if err != nil {
		return fmt.Errorf("%w: shard %s: %w", errUnread, r.in.Shard.ID, err)
	}
	r.pulse.trouble(troubleRead, b.Trouble)
	for _, rec := range b.Records {
		r.feed(rec)
		w, c := &r.window, &r.cfg
		if w.bytes >= c.WindowBytes || len(w.rows) >= c.WindowRows || w.held >= c.WindowHeld {
			r.seal(false)
		}
	}
	if b.Trouble == "" {
		r.behind, r.through = b.Behind, r.Now().Add(-b.Behind)
	}
	r.tell()
	if b.Closed || (r.window.last != "" && r.Now().Sub(r.window.opened) >= r.cfg.Window) {
		r.seal(b.Closed)
	}
	if r.window.last == "" && r.snappedAt != r.at && r.snapshotDue() {
		r.lander.push(&pendingSegment{at: r.at, snapshot: r.snapshot()})
	}
	r.report(false)
	return nil
}

func (r *scoring) feed(rec detect.Input) {
	r.pulse.alive(r.cfg.Stuck)
	w := &r.window
	if w.last == "" {
		w.opened = r.Now()
	}
	rec.Position.Shard = r.in.Shard.ID
	out := r.models.Feed(rec)
	w.rows = append(w.rows, out.Rows...)
	for i := range out.Rows {
		w.held += held(&out.Rows[i])
	}
	w.duplicates += out.Duplicates
	w.bytes += len(rec.Data)
	w.last = rec.Position.Sequence
	r.readings += len(out.Rows)
	r.pending.add(r.models, out, r.Now())
}

// seal makes the window the next segment and hands it to the lander. Its changes of state go to the teller before, and
// it lands when they are told: what was landed is not told again.
func (r *scoring) seal(end bool) {
	r.hand(r.pending.take(r.Now(), true))
	w := &r.window
	if w.last == "" {
		if !end {
			return
		}
		w.last = r.at
	}
	due := r.snapshotDue()
	l := &pendingSegment{at: w.last, held: w.held, opened: w.opened, ticket: r.teller.issuedTicket(),
		segment: &landing.Segment{Header: landing.Header{After: r.at, Last: w.last, Writer: r.token, End: end}, Rows: w.rows}}
	l.segment.Counts.Duplicates = w.duplicates
	r.at, r.ended, r.window = w.last, end, window{}
	if due && !end {
		l.snapshot = r.snapshot()
	}
	r.lander.push(l)
}

// errMoved says that another attempt had written a segment that this one was to append.
var errMoved = errors.New("another attempt landed this window")

// landed looks at what the lander came to: errMoved, errSuperseded, or what no further attempt can change.
func (r *scoring) landed() error {
	err := r.lander.failure()
	var taken *landing.Conflict
	switch {
	case !errors.As(err, &taken):
		return err
	case taken.Newer():
		return errSuperseded
	}
	return fmt.Errorf("%w: %w", errMoved, err)
}

// errPending says that segments still wait for the store.
var errPending = errors.New("segments wait for the store")

// drain waits until no segment waits, or ctx ends: then the error wraps errPending. See landed for others.
func (r *scoring) drain(ctx context.Context) error {
	for r.lander.waiting() > 0 {
		r.pulse.alive(r.cfg.Stuck)
		if err := r.landed(); err != nil {
			return err
		}
		if err := r.lander.wait(ctx); err != nil {
			return fmt.Errorf("%w: %d of shard %s, to be read again: %w",
				errPending, r.lander.waiting(), r.in.Shard.ID, err)
		}
		r.report(false)
	}
	return nil
}

// finish lands what was read and snapshots, so that the next attempt starts where this one ends. It takes no longer
// than within.
func (r *scoring) finish(ctx context.Context, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r.seal(false)
	if err := r.drain(limited); err != nil {
		if errors.Is(err, errMoved) {
			return nil // the next attempt goes on behind it
		}
		return err
	}
	if r.snappedAt != r.at {
		r.lander.push(&pendingSegment{at: r.at, snapshot: r.snapshot()})
		if err := r.drain(limited); err != nil {
			r.Log.Warn("no snapshot at the end: recovery replays more of the log", "shard", r.in.Shard.ID, "err", err)
		}
	}
	r.teller.wait(limited)
	return nil
}

// snapshotDue reports whether a snapshot is to be taken now: never while segments wait.
func (r *scoring) snapshotDue() bool {
	return r.Now().Sub(r.snapped) >= r.cfg.SnapshotEvery && r.lander.waiting() == 0
}

// snapshot returns the models as they are now; nil: there is none this time, which is logged.
func (r *scoring) snapshot() []byte {
	r.pulse.alive(longWork)
	defer r.pulse.alive(r.cfg.Stuck)
	r.snapped, r.snappedAt = r.Now(), r.at
	data, err := r.models.Snapshot()
	if err != nil {
		r.Log.Error("no snapshot: recovery replays more of the log", "shard", r.in.Shard.ID, "err", err)
		return nil
	}
	return data
}

// markEnded makes it known that the shard is done: its children may start.
func (r *scoring) markEnded(ctx context.Context) error {
	data := r.snapshot()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		r.pulse.alive(2 * longWork)
		err := r.putEnded(ctx, data)
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("the shard's end cannot be marked; will try again", "shard", r.in.Shard.ID, "err", err)
		r.pulse.trouble(troubleLand, err.Error())
		select {
		case <-ctx.Done():
			return fmt.Errorf("end of shard %s: %w", r.in.Shard.ID, errors.Join(ctx.Err(), err))
		case <-r.stop:
			return errors.Join(errStopping, err)
		case <-time.After(wait):
		}
	}
}

func (r *scoring) putEnded(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, longWork)
	defer cancel()
	if data != nil {
		if err := r.log.PutSnapshot(ctx, r.at, data); err != nil {
			return err
		}
	}
	return r.log.MarkEnded(ctx, r.at)
}

// tell hands changes of state, and silence, to the teller, one a fan and second.
func (r *scoring) tell() {
	r.pending.silence(r.models, r.Now(), r.through)
	r.hand(r.pending.take(r.Now(), false))
}

func (r *scoring) hand(changes []fanwatch.Observation) {
	for _, o := range changes {
		d, _ := r.models.Device(o.Fan)
		r.teller.push(d, o)
	}
}

// report returns the next heartbeats what they say, as often as there are heartbeats.
func (r *scoring) report(now bool) {
	at := r.Now()
	if !now && at.Sub(r.reported) < r.cfg.Heartbeat {
		return
	}
	r.reported = at
	p := Progress{V: ProgressVersion, At: r.at, Readings: r.readings, Behind: r.behind, Through: r.through}
	if r.models != nil {
		p.Fans, p.Unjudged = r.pending.watched(r.models), r.pending.unjudged(r.models, at)
	}
	if r.lander != nil {
		p.At = r.lander.landedAt()
	}
	r.pulse.report(p, r.lander, r.teller)
}
