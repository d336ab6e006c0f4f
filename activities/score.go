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
	// Created returns the creation time of the stream; zero when it may not be read.
	Created(ctx context.Context, stream string) (time.Time, error)
	// Open returns a reader of the records behind a sequence number; "0" is the beginning. shard is the stream's name of
	// the shard, without suffix.
	Open(stream, shard string, after fanwatch.SequenceNumber) ShardReader
}

// ErrOtherStream says that a sequence number is not of the stream that is read: it was deleted and made again.
var ErrOtherStream = errors.New("the sequence number did not come from this stream")

// ShardReader returns a shard's records in order. Next waits for the next poll, and returns a batch without records
// when there are none. An outage of the stream is Batch.Trouble, after some seconds at most; an error does not pass by
// itself.
type ShardReader interface {
	Next(ctx context.Context) (Batch, error)
}

// Batch is what one read of a shard gives.
type Batch struct {
	Records []detect.Input // their Position has the sequence number alone
	Behind  time.Duration  // distance to the shard's newest record; 0 = none is left
	Closed  bool           // the shard is closed and these are its last records
	Trouble string         // why nothing could be read, which will be tried again; then Behind does not count
}

// Observer sends an observation to a fan's workflow. It starts the workflow anew, with the device d, when it was ended
// by other means than retiring. The error wraps [ErrNoFan] when the fan is retired, and [ErrRefused].
type Observer interface {
	Observe(ctx context.Context, d fanwatch.Device, o fanwatch.Observation) error
}

// ErrNoFan says that a fan has no workflow because it is retired.
var ErrNoFan = errors.New("no workflow of that fan is running")

// ErrRefused says that a fan's workflow will never take the observation, such as one that has had as many signals as
// Temporal allows.
var ErrRefused = errors.New("the fan's workflow does not take the observation")

// ScoreConfig sets how a shard is scored.
type ScoreConfig struct {
	Detect        detect.Config
	Window        time.Duration // time of arrivals in one segment; 0 = 60 s. Shorter: fresher table, more objects.
	WindowBytes   int           // bytes of records in one segment; 0 = 8 MiB
	WindowRows    int           // rows of one segment, exceeded by up to 500; 0 = 200,000
	WindowHeld    int           // bytes of memory of a segment's rows, by estimate; 0 = 64 MiB
	SnapshotEvery time.Duration // time between two snapshots; 0 = 5 min. Shorter: faster recovery, more bytes written.
	Heartbeat     time.Duration // time between two heartbeats; 0 = 1 s

	// PendingRows is the number of rows that wait for the store at which reading stops; 0 = 1,048,576.
	PendingRows int
	// PendingHeld is the memory in bytes, by estimate, of waiting rows at which reading stops; 0 = 256 MiB.
	PendingHeld int
	// PendingTime is the age of the oldest waiting row, since it was read, at which reading stops; 0 = 2 h.
	PendingTime time.Duration

	Senders    int           // signals that are under way at once; 0 = 32
	SendWithin time.Duration // bound of one signal; 0 = 10 s
	Stuck      time.Duration // time without progress after which an attempt is given up; 0 = 1 min
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

// ScoreInput is the input of [Scorer.ScoreShard].
type ScoreInput struct {
	Stream string        `json:"stream"`
	Shard  Shard         `json:"shard"`
	For    time.Duration `json:"for"` // how long the activity lasts; 0 = until the shard ends
}

// ScoreResult is the result of [Scorer.ScoreShard].
type ScoreResult struct {
	Ended bool                    `json:"ended"` // the shard has ended; false: the activity's time is over
	At    fanwatch.SequenceNumber `json:"at"`    // end of what was scored
}

// ProgressVersion is the version of Progress that this program writes.
const ProgressVersion = 1

// Progress is the detail of a scorer's heartbeat. Lists and the Watch activity read it; recovery does not need it.
type Progress struct {
	V        int                     `json:"v"`
	At       fanwatch.SequenceNumber `json:"at"`               // end of the newest segment landed
	Readings int                     `json:"readings"`         // rows of this attempt
	Behind   time.Duration           `json:"behind"`           // distance to the shard's newest record
	Now      time.Time               `json:"now,omitzero"`     // the scorer's clock at this heartbeat
	Through  time.Time               `json:"through,omitzero"` // all that arrived before was judged; zero: nothing is read
	Fans     int                     `json:"fans,omitempty"`   // number of active fans of the shard
	// Unjudged are the fans of which nothing was judged for UnjudgedAfter, longest first, at most MaxUnjudged.
	Unjudged []Unjudged `json:"unjudged,omitempty"`
	Pending  int        `json:"pending,omitempty"` // number of segments and snapshots that wait for the store
	Trouble  string     `json:"trouble,omitempty"` // what fails and is tried again, in one line; "" = nothing
}

// Unjudged is a fan of which no reading was judged at its arrival for a while.
type Unjudged struct {
	Fan   string    `json:"fan"`
	Since time.Time `json:"since,omitzero"` // arrival of the newest judged reading; zero: there is none
}

const (
	// UnjudgedAfter is the time without a judged reading after which a fan is listed in Progress.Unjudged.
	UnjudgedAfter = 10 * time.Second
	// MaxUnjudged is the largest number of fans in Progress.Unjudged, because a heartbeat must stay small.
	MaxUnjudged = 1000
)

// errSuperseded says that a newer attempt owns the shard: this one must change nothing more.
var errSuperseded = errors.New("a newer attempt scores this shard")

// errStopping ends the activity because its worker stops.
var errStopping = errors.New("the worker is stopping; another goes on from the landing log")

const (
	stopWithin   = 7 * time.Second  // time to land what was read when the worker stops, which takes 10 s
	finishWithin = 10 * time.Second // time to land what was read when the activity's time is over
	longWork     = 10 * time.Minute // bound of reading or making a snapshot
)

// ScoreShard scores one shard until in.For is over, the shard ends or the worker stops. It may run again at any time,
// even while an older attempt still runs: the landing log says what is done, and an attempt that finds its segment
// taken by a newer one ends. While segments wait for the store it goes on beyond in.For.
func (s *Scorer) ScoreShard(ctx context.Context, in ScoreInput) (ScoreResult, error) {
	info := activity.GetInfo(ctx)
	r := s.attempt(in, landing.Token{Scheduled: info.ScheduledTime.UnixNano(), Attempt: info.Attempt,
		Run: info.WorkflowExecution.RunID})
	r.stop = activity.GetWorkerStopChannel(ctx)
	r.pulse.beat = func(p Progress) { activity.RecordHeartbeat(ctx, p) }
	return r.score(ctx)
}

// attempt returns one attempt at one shard, ready to start.
func (s *Scorer) attempt(in ScoreInput, token landing.Token) *scoring {
	r := &scoring{Scorer: s, in: in, cfg: s.Config.withDefaults(), token: token,
		stopWithin: stopWithin, finishWithin: finishWithin,
		shardLog: landing.Log{Store: s.Store, Stream: in.Stream, Shard: in.Shard.ID}}
	r.pulse = newPulse(s.Now, r.cfg)
	r.sender = newSender(s.Fans, s.Log, r.cfg)
	return r
}

// scoring is one attempt at one shard. Its fields belong to the goroutine that calls run; pulse, sender and lander,
// which run beside it, have their own locks.
type scoring struct {
	*Scorer
	in       ScoreInput
	cfg      ScoreConfig
	shardLog landing.Log
	token    landing.Token
	stop     <-chan struct{}

	stopWithin, finishWithin time.Duration

	pulse  *pulse
	sender *sender
	lander *lander // nil before recover

	models    *detect.Models
	reader    ShardReader
	at        fanwatch.SequenceNumber // end of the newest sealed window, landed or waiting
	ended     bool                    // that window is the shard's last
	window    window
	pending   pendingObservations
	readings  int                     // rows so far
	behind    time.Duration           // Batch.Behind of the newest read
	through   time.Time               // all that arrived before was judged
	snapped   time.Time               // when the newest snapshot was taken
	snappedAt fanwatch.SequenceNumber // position of the newest snapshot
	reported  time.Time               // when report last set the heartbeat
}

// window is what was read since the newest segment was sealed.
type window struct {
	rows       []fanwatch.Row
	duplicates int
	bytes      int // bytes of records
	held       int // bytes of memory, by estimate
	opened     time.Time
	last       fanwatch.SequenceNumber // "" while the window is empty
}

// score runs the attempt with its heartbeat.
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

// run scores until the attempt ends, and lands what was read.
func (r *scoring) run(ctx context.Context) (ScoreResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if r.lander != nil {
			r.lander.stop()
		}
	}()
	r.sender.start(ctx)
	if err := r.recover(ctx); err != nil {
		return ScoreResult{}, err
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go func() { // ends a read, which may take seconds, when the worker stops
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

// unreadable ends an attempt whose stream cannot be read. It lands what was read, which may be gone from the stream;
// when the stream was made anew it then stores the new making.
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

// step reads once, feeds the models, queues changes of state for the sender, and seals the window when it is full or
// over. reading ends earlier than ctx when the worker stops.
func (r *scoring) step(ctx, reading context.Context) error {
	r.pulse.alive(r.cfg.Stuck)
	if err := r.landed(); errors.Is(err, errMoved) {
		r.Log.Warn("going on behind what another attempt landed", "shard", r.in.Shard.ID, "err", err)
		return r.recover(ctx)
	} else if err != nil {
		return err
	}
	if why := r.lander.overBound(r.cfg, r.Now()); why != "" {
		r.pulse.trouble(troubleRead, why)
		r.sendChanges()
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
	r.sendChanges()
	if b.Closed || (r.window.last != "" && r.Now().Sub(r.window.opened) >= r.cfg.Window) {
		r.seal(b.Closed)
	}
	if r.window.last == "" && r.snappedAt != r.at && r.snapshotDue() {
		r.lander.enqueue(&pendingSegment{at: r.at, snapshot: r.snapshot()})
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
		w.held += memoryOf(&out.Rows[i])
	}
	w.duplicates += out.Duplicates
	w.bytes += len(rec.Data)
	w.last = rec.Position.Sequence
	r.readings += len(out.Rows)
	r.pending.add(r.models, out, r.Now())
}

// seal queues the window for the lander as the next segment, and before it all changes of state for the sender. The
// segment lands when they are sent, because a change that is landed is not sent again after a restart.
func (r *scoring) seal(end bool) {
	r.enqueue(r.pending.dequeue(r.Now(), true))
	w := &r.window
	if w.last == "" {
		if !end {
			return
		}
		w.last = r.at
	}
	due := r.snapshotDue()
	l := &pendingSegment{at: w.last, held: w.held, opened: w.opened, ticket: r.sender.issuedTicket(),
		segment: &landing.Segment{Header: landing.Header{After: r.at, Last: w.last, Writer: r.token, End: end}, Rows: w.rows}}
	l.segment.Counts.Duplicates = w.duplicates
	r.at, r.ended, r.window = w.last, end, window{}
	if due && !end {
		l.snapshot = r.snapshot()
	}
	r.lander.enqueue(l)
}

// errMoved says that another attempt has written the segment that this one was to append.
var errMoved = errors.New("another attempt landed this window")

// landed returns the error that ended the lander, if any: errMoved, errSuperseded, or one that no retry can change.
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

// drain waits until no segment waits. The error wraps errPending when ctx ends before, or is one of landed.
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

// finish lands what was read, and a snapshot, so that the next attempt starts where this one ends. It takes no longer
// than within.
func (r *scoring) finish(ctx context.Context, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r.seal(false)
	if err := r.drain(limited); err != nil {
		if errors.Is(err, errMoved) {
			return nil // the next attempt goes on behind that segment
		}
		return err
	}
	if r.snappedAt != r.at {
		r.lander.enqueue(&pendingSegment{at: r.at, snapshot: r.snapshot()})
		if err := r.drain(limited); err != nil {
			r.Log.Warn("no snapshot at the end: recovery replays more of the log", "shard", r.in.Shard.ID, "err", err)
		}
	}
	r.sender.wait(limited)
	return nil
}

// snapshotDue reports whether a snapshot is due; none is while segments wait.
func (r *scoring) snapshotDue() bool {
	return r.Now().Sub(r.snapped) >= r.cfg.SnapshotEvery && r.lander.waiting() == 0
}

// snapshot returns a snapshot of the models, or nil when it fails, which is logged.
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

// markEnded marks in the store that the shard has ended, so that its children may start. It retries until ctx ends or
// the worker stops.
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
		if err := r.shardLog.PutSnapshot(ctx, r.at, data); err != nil {
			return err
		}
	}
	return r.shardLog.MarkEnded(ctx, r.at)
}

// sendChanges queues changes of state, and silence, for the sender: one per fan and second.
func (r *scoring) sendChanges() {
	r.pending.silence(r.models, r.Now(), r.through)
	r.enqueue(r.pending.dequeue(r.Now(), false))
}

func (r *scoring) enqueue(changes []fanwatch.Observation) {
	for _, o := range changes {
		d, _ := r.models.Device(o.Fan)
		r.sender.enqueue(d, o)
	}
}

// report sets the content of the next heartbeats, at most once per heartbeat unless now is set.
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
	r.pulse.report(p, r.lander, r.sender)
}
