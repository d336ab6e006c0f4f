package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/failpoint"
	"fanwatch/lake"
)

// Stream is the stream of readings.
type Stream interface {
	Shards(ctx context.Context, stream string) ([]Shard, error)
	// Open starts to read behind a sequence number; "0" is the shard's oldest record.
	Open(stream, shard string, after fanwatch.SequenceNumber) ShardReader
}

// ShardReader gives a shard's records in order. Next waits for the next poll, and answers a batch without
// records when there are none yet.
type ShardReader interface {
	Next(ctx context.Context) (Batch, error)
}

// Shard is one shard and where it comes from.
type Shard struct {
	ID        string   `json:"id"`
	Parents   []string `json:"parents,omitempty"`
	StartHash string   `json:"start_hash"` // decimal, inclusive
	EndHash   string   `json:"end_hash"`
}

// Batch is one answer of a shard.
type Batch struct {
	Records []StreamRecord
	Behind  time.Duration // 0: the reader has seen everything
	Closed  bool          // the shard is closed and these were its last records
}

// StreamRecord is one record of a shard.
type StreamRecord struct {
	Sequence fanwatch.SequenceNumber
	Arrived  time.Time
	Data     []byte
}

// Observer tells a fan's workflow of a change of state. Of a fan whose workflow was ended by other means than retiring, it
// starts another, with the device as the scorer knows it. ErrNoFan says that the fan is retired.
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
	SnapshotEvery time.Duration // 0 = 5 min. Shorter: faster recovery, more bytes written.
	Heartbeat     time.Duration // 0 = 1 s
}

func (c ScoreConfig) withDefaults() ScoreConfig {
	if c.Window == 0 {
		c.Window = time.Minute
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 8 << 20
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 5 * time.Minute
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = time.Second
	}
	return c
}

// Scorer scores shards.
type Scorer struct {
	Stream Stream
	Store  lake.Store
	Fans   Observer
	Config ScoreConfig
	Now    fanwatch.Clock
	Log    *slog.Logger
}

// ScoreInput names the shard and for how long one activity scores it.
type ScoreInput struct {
	Stream string        `json:"stream"`
	Shard  Shard         `json:"shard"`
	For    time.Duration `json:"for"`
}

// ScoreResult says whether the shard came to its end, or only the activity's time.
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
	Now      time.Time               `json:"now,omitzero"`       // the scorer's clock at this heartbeat
	Through  time.Time               `json:"through,omitzero"`   // what arrived until then was judged; zero before the first read
	Fans     int                     `json:"fans,omitempty"`     // that are active on this shard
	Unjudged []Unjudged              `json:"unjudged,omitempty"` // the fans of which nothing was judged for UnjudgedAfter, longest first, at most MaxUnjudged
	Pending  int                     `json:"pending,omitempty"`  // segments that wait for the store
	Trouble  string                  `json:"trouble,omitempty"`  // what is tried again now, and why; "" while all goes well
}

// Unjudged is a fan of which no reading was judged at its arrival for a while. Since is when the newest one was; zero: none ever was.
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

// ScoreShard scores one shard until in.For is over, the shard ends or the worker stops. It may run again
// at any time, even while an older attempt still believes that it owns the shard: the landing log says
// what is done, and whoever finds a segment taken gives way.
func (s *Scorer) ScoreShard(ctx context.Context, in ScoreInput) (ScoreResult, error) {
	info := activity.GetInfo(ctx)
	r := &scoring{
		Scorer: s, in: in, cfg: s.Config.withDefaults(),
		log:   lake.Log{Store: s.Store, Stream: in.Stream, Shard: in.Shard.ID},
		token: lake.Token{Scheduled: info.ScheduledTime.UnixNano(), Attempt: info.Attempt, Run: info.WorkflowExecution.RunID},
		stop:  activity.GetWorkerStopChannel(ctx),
		beat:  func(p Progress) { activity.RecordHeartbeat(ctx, p) },
	}
	return r.run(ctx)
}

// scoring is one attempt at one shard.
type scoring struct {
	*Scorer
	in    ScoreInput
	cfg   ScoreConfig
	log   lake.Log
	token lake.Token
	stop  <-chan struct{}
	beat  func(Progress)

	models   *detect.Models
	reader   ShardReader
	at       fanwatch.SequenceNumber // end of the newest segment
	ended    bool                    // that segment is the shard's last
	window   window
	news     news
	readings int
	behind   time.Duration
	snapped  time.Time
	beaten   time.Time
}

// window is what was read since the newest segment.
type window struct {
	rows       []fanwatch.Row
	duplicates int
	bytes      int
	opened     time.Time
	last       fanwatch.SequenceNumber // "" while the window is empty
}

func (r *scoring) run(ctx context.Context) (ScoreResult, error) {
	if err := r.recover(ctx); err != nil {
		return ScoreResult{}, err
	}
	until := r.Now().Add(r.in.For)
	for !r.ended {
		r.heartbeat()
		select {
		case <-r.stop:
			return ScoreResult{}, errors.Join(errStopping, r.finish(ctx))
		default:
		}
		if r.in.For > 0 && r.Now().After(until) {
			return ScoreResult{At: r.at}, r.finish(ctx)
		}
		if err := r.step(ctx); err != nil {
			return ScoreResult{}, err
		}
	}
	if err := r.markEnded(ctx); err != nil {
		return ScoreResult{}, err
	}
	return ScoreResult{Ended: true, At: r.at}, nil
}

// step reads once, feeds the models, tells of changes, and lands the window when it is due.
func (r *scoring) step(ctx context.Context) error {
	b, err := r.reader.Next(ctx)
	if err != nil {
		return fmt.Errorf("read shard %s: %w", r.in.Shard.ID, err)
	}
	r.behind = b.Behind
	for _, rec := range b.Records {
		r.feed(rec)
		if r.window.bytes >= r.cfg.WindowBytes {
			if moved, err := r.land(ctx, false); err != nil || moved {
				return err
			}
		}
	}
	if err := r.tell(ctx, false); err != nil {
		return err
	}
	if b.Closed || (r.window.last != "" && r.Now().Sub(r.window.opened) >= r.cfg.Window) {
		if _, err := r.land(ctx, b.Closed); err != nil {
			return err
		}
	}
	if r.Now().Sub(r.snapped) >= r.cfg.SnapshotEvery && r.window.last == "" {
		return r.snapshot(ctx)
	}
	return nil
}

func (r *scoring) feed(rec StreamRecord) {
	if r.window.last == "" {
		r.window.opened = r.Now()
	}
	out := r.models.Feed(detect.Input{Position: fanwatch.Position{Shard: r.in.Shard.ID, Sequence: rec.Sequence}, Arrived: rec.Arrived, Data: rec.Data})
	r.window.rows = append(r.window.rows, out.Rows...)
	r.window.duplicates += out.Duplicates
	r.window.bytes += len(rec.Data)
	r.window.last = rec.Sequence
	r.readings += len(out.Rows)
	r.news.add(r.models, out, r.Now())
}

// land writes the window as the next segment. moved says that another attempt had written that segment:
// then the models were rebuilt from the log and the reader stands behind it.
func (r *scoring) land(ctx context.Context, end bool) (moved bool, err error) {
	if err := r.tell(ctx, true); err != nil { // before landing: what was landed is never told again
		return false, err
	}
	w := &r.window
	if w.last == "" {
		if !end {
			return false, nil
		}
		w.last = r.at
	}
	seg := lake.Segment{Header: lake.Header{After: r.at, Last: w.last, Writer: r.token, End: end}, Rows: w.rows}
	seg.Counts.Duplicates = w.duplicates
	err = r.retry(ctx, "land", func() error { return r.log.Append(ctx, seg) })
	var taken *lake.Conflict
	if errors.As(err, &taken) {
		if taken.Newer() {
			return false, errSuperseded
		}
		r.Log.Warn("another attempt landed this window: going on behind it", "shard", r.in.Shard.ID, "existing", taken.Error())
		return true, r.recover(ctx)
	}
	if err != nil {
		return false, err
	}
	r.at, r.ended, r.window = w.last, end, window{}
	return false, nil
}

// retry repeats what failed because a store or the control plane is out of reach, until the attempt ends;
// the models are too dear to be thrown away for that. Conflicts are answers and pass through.
func (r *scoring) retry(ctx context.Context, what string, do func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		var taken *lake.Conflict
		if err == nil || errors.As(err, &taken) || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("will try again", "what", what, "shard", r.in.Shard.ID, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s shard %s: %w", what, r.in.Shard.ID, errors.Join(ctx.Err(), err))
		case <-r.stop:
			return errors.Join(errStopping, err)
		case <-time.After(wait):
		}
		r.heartbeat()
	}
}

// finish lands what was read and snapshots, so that the next attempt starts where this one ends.
func (r *scoring) finish(ctx context.Context) error {
	if moved, err := r.land(ctx, false); err != nil || moved {
		return err
	}
	return r.snapshot(ctx)
}

// recover builds the models from the newest snapshot and the segments behind it, bit for bit as they were
// when the newest segment was landed, and opens the stream there.
func (r *scoring) recover(ctx context.Context) error {
	r.window, r.news = window{}, newNews(r.Now())
	at, data, err := r.log.LatestSnapshot(ctx)
	switch {
	case errors.Is(err, lake.ErrNotFound):
		if r.models, err = r.inherit(ctx); err != nil {
			return err
		}
		at = "0"
	case err != nil:
		return err
	default:
		if r.models, err = detect.Restore(r.cfg.Detect, data); err != nil {
			return fmt.Errorf("shard %s: %w", r.in.Shard.ID, err)
		}
	}
	r.at, r.ended = at, false
	err = r.log.Walk(ctx, at, func(seg lake.Segment) error {
		if err := r.models.Replay(seg.Rows); err != nil {
			if !errors.Is(err, detect.ErrDiverged) {
				return err
			}
			r.Log.Error("the models go on with the scores of this program", "shard", r.in.Shard.ID, "err", err)
		}
		r.at, r.ended = seg.Last, seg.End
		r.heartbeat()
		return nil
	})
	if err != nil {
		return err
	}
	r.snapped = r.Now()
	r.reader = r.Stream.Open(r.in.Stream, r.in.Shard.ID, r.at)
	return nil
}

// inherit takes over the fans of the parents in the shard's hash range; a shard without parents knows none.
func (r *scoring) inherit(ctx context.Context) (*detect.Models, error) {
	models := detect.New(r.cfg.Detect)
	keep, err := hashRange(r.in.Shard)
	if err != nil {
		return nil, err
	}
	for _, parent := range r.in.Shard.Parents {
		_, data, err := lake.Log{Store: r.Store, Stream: r.in.Stream, Shard: parent}.LatestSnapshot(ctx)
		if errors.Is(err, lake.ErrNotFound) {
			continue // it ended before fanwatch read this stream
		}
		if err != nil {
			return nil, err
		}
		p, err := detect.Restore(r.cfg.Detect, data)
		if err != nil {
			return nil, fmt.Errorf("parent shard %s: %w", parent, err)
		}
		models.Adopt(p, keep)
	}
	return models, nil
}

func (r *scoring) snapshot(ctx context.Context) error {
	data, err := r.models.Snapshot()
	if err != nil {
		return err
	}
	r.snapped = r.Now()
	if err := r.log.PutSnapshot(ctx, r.at, data); err != nil {
		r.Log.Warn("no snapshot this time: recovery replays more of the log", "shard", r.in.Shard.ID, "err", err)
	}
	return nil
}

// markEnded makes it known that the shard is done: its children may start.
func (r *scoring) markEnded(ctx context.Context) error {
	data, err := r.models.Snapshot()
	if err != nil {
		return err
	}
	return r.retry(ctx, "end", func() error {
		if err := r.log.PutSnapshot(ctx, r.at, data); err != nil {
			return err
		}
		return r.Store.Put(ctx, endedKey(r.in.Stream, r.in.Shard.ID), []byte(`{"v":1,"last":"`+string(r.at)+`"}`), false)
	})
}

func endedKey(stream, shard string) string {
	return fmt.Sprintf("state/stream=%s/shard=%s/ended.json", stream, shard)
}

func (r *scoring) heartbeat() {
	if now := r.Now(); now.Sub(r.beaten) >= r.cfg.Heartbeat {
		r.beaten = now
		r.beat(Progress{V: ProgressVersion, At: r.at, Readings: r.readings, Behind: r.behind})
	}
}

// tell signals the fans whose state changed, at most once a second each unless all is set.
func (r *scoring) tell(ctx context.Context, all bool) error {
	if r.behind == 0 {
		r.news.silence(r.models, r.Now())
	}
	for _, o := range r.news.due(r.Now(), all) {
		failpoint.Hit(failpoint.SignalBefore)
		err := r.retry(ctx, "signal", func() error {
			d, _ := r.models.Device(o.Fan)
			err := r.Fans.Observe(ctx, d, o)
			if errors.Is(err, ErrNoFan) {
				r.Log.Warn("nobody to tell", "fan", o.Fan, "kind", o.Anomaly.Kind)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		failpoint.Hit(failpoint.SignalAfter)
	}
	return nil
}

// RunnableShards lists the shards that can be scored now: those that have not ended and whose parents
// have, so that a child never judges a fan before its parent's last reading.
func (s *Scorer) RunnableShards(ctx context.Context, stream string) ([]Shard, error) {
	shards, err := s.Stream.Shards(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("list shards of %s: %w", stream, err)
	}
	ended := make(map[string]bool, len(shards))
	listed := make(map[string]bool, len(shards))
	for _, sh := range shards {
		listed[sh.ID] = true
		_, err := s.Store.Get(ctx, endedKey(stream, sh.ID))
		if err != nil && !errors.Is(err, lake.ErrNotFound) {
			return nil, err
		}
		ended[sh.ID] = err == nil
	}
	var runnable []Shard
	for _, sh := range shards {
		ready := !ended[sh.ID]
		for _, p := range sh.Parents {
			ready = ready && (ended[p] || !listed[p]) // a parent that is no longer listed has expired
		}
		if ready {
			runnable = append(runnable, sh)
		}
	}
	return runnable, nil
}

// hashRange gives the test whether a fan's partition key falls on the shard (Kinesis: the MD5 of the key
// as a 128-bit number).
func hashRange(sh Shard) (func(fan string) bool, error) {
	low, ok1 := new(big.Int).SetString(sh.StartHash, 10)
	high, ok2 := new(big.Int).SetString(sh.EndHash, 10)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("shard %s: hash range %q to %q is not two decimal numbers", sh.ID, sh.StartHash, sh.EndHash)
	}
	return func(fan string) bool {
		h := partitionHash(fan)
		return h.Cmp(low) >= 0 && h.Cmp(high) <= 0
	}, nil
}
