package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake"
)

// tape is a shard that is a list of records: the boundary to Kinesis, whose own tests stand elsewhere.
type tape struct {
	records []StreamRecord
	closed  bool
}

func (s *tape) Shards(context.Context, string) ([]Shard, error) { return nil, nil }

func (s *tape) Open(_, _ string, after fanwatch.SequenceNumber) ShardReader {
	i := 0
	for i < len(s.records) && s.records[i].Sequence.Compare(after) <= 0 {
		i++
	}
	return &tapeReader{tape: s, next: i}
}

type tapeReader struct {
	tape *tape
	next int
}

// Next gives up to five records, so that a run takes several steps.
func (r *tapeReader) Next(context.Context) (Batch, error) {
	n := min(5, len(r.tape.records)-r.next)
	b := Batch{Records: r.tape.records[r.next : r.next+n]}
	r.next += n
	b.Closed = r.tape.closed && r.next == len(r.tape.records)
	return b, nil
}

func (s *tape) put(data []byte) {
	s.records = append(s.records, StreamRecord{Sequence: fanwatch.SequenceNumber(fmt.Sprint(1000 + len(s.records))), Arrived: begin.Add(time.Duration(len(s.records)) * time.Second), Data: data})
}

var begin = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)

func (s *tape) reading(rpm float64) {
	s.put(fmt.Appendf(nil, `{"TIME":%q,"FANID":"a","RPM":%v,"client":"a"}`, begin.Add(time.Duration(len(s.records))*time.Second).Format(time.RFC3339), rpm))
}

// told collects what the fans' workflows hear.
type told []fanwatch.Observation

func (t *told) Observe(_ context.Context, _ fanwatch.Device, o fanwatch.Observation) error {
	*t = append(*t, o)
	return nil
}

type rig struct {
	t     *testing.T
	tape  *tape
	store *lake.Dir
	told  told
	now   time.Time
	log   lake.Log
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := lake.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, tape: &tape{}, store: store, now: begin, log: lake.Log{Store: store, Stream: "s", Shard: "shard-0"}}
	data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 1, Fan: "a", Limits: fanwatch.Limits{MinRPM: 900}})
	if err != nil {
		t.Fatal(err)
	}
	r.tape.put(data)
	return r
}

// attempt is one attempt at the shard, recovered and ready to step.
func (r *rig) attempt(n int32) *scoring {
	r.t.Helper()
	s := &Scorer{Stream: r.tape, Store: r.store, Fans: &r.told, Now: func() time.Time { return r.now }, Log: slog.New(slog.DiscardHandler)}
	a := &scoring{Scorer: s, cfg: ScoreConfig{Detect: detect.Config{Seed: 1}}.withDefaults(), log: r.log, stop: make(chan struct{}), beat: func(Progress) {},
		in:    ScoreInput{Stream: "s", Shard: Shard{ID: "shard-0", StartHash: "0", EndHash: "340282366920938463463374607431768211455"}},
		token: lake.Token{Scheduled: 1, Attempt: n, Run: "run"}}
	if err := a.recover(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) steps(a *scoring, n int) {
	r.t.Helper()
	for range n {
		if err := a.step(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// landed gives the log's rows and checks that their scores are those of one undisturbed run.
func (r *rig) landed() []fanwatch.Row {
	r.t.Helper()
	var rows []fanwatch.Row
	if err := r.log.Walk(context.Background(), "0", func(s lake.Segment) error { rows = append(rows, s.Rows...); return nil }); err != nil {
		r.t.Fatal(err)
	}
	if err := detect.New(detect.Config{Seed: 1}).Replay(rows); err != nil {
		r.t.Error(err)
	}
	seen := map[fanwatch.ReadingID]bool{}
	for _, row := range rows {
		if row.Kind == fanwatch.Scored && seen[row.ReadingID] {
			r.t.Errorf("%s was landed twice", row.ReadingID)
		}
		seen[row.ReadingID] = true
	}
	return rows
}

// TestZombieChangesNothing: an attempt reads a window and falls asleep; the next attempt reads and lands it;
// the first wakes up and lands its window.
func TestZombieChangesNothing(t *testing.T) {
	r := newRig(t)
	for range 50 {
		r.tape.reading(1800)
	}
	zombie := r.attempt(1)
	r.steps(zombie, 4)
	owner := r.attempt(2)
	r.steps(owner, 8)
	if _, err := owner.land(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	before := r.landed()
	if _, err := zombie.land(context.Background(), false); !errors.Is(err, errSuperseded) {
		t.Errorf("the zombie's landing: %v, want errSuperseded", err)
	}
	if after := r.landed(); len(after) != len(before) || len(after) != 40 {
		t.Errorf("%d rows before the zombie, %d after, want 40", len(before), len(after))
	}
}

// TestOlderAttemptLandedFirst: the newer attempt gives its window up, rebuilds its models and goes on behind.
func TestOlderAttemptLandedFirst(t *testing.T) {
	r := newRig(t)
	for range 49 {
		r.tape.reading(1800)
	}
	old, owner := r.attempt(1), r.attempt(2)
	r.steps(old, 3)
	r.steps(owner, 7)
	if _, err := old.land(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	moved, err := owner.land(context.Background(), false)
	if err != nil || !moved {
		t.Fatalf("moved %v, %v", moved, err)
	}
	r.steps(owner, 7)
	if _, err := owner.land(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if rows := r.landed(); len(rows) != 50 {
		t.Errorf("%d rows, want 50", len(rows))
	}
}

// TestEveryRestartGoesOnBitByBit restarts after every few steps, with and without a snapshot between.
func TestEveryRestartGoesOnBitByBit(t *testing.T) {
	r := newRig(t)
	for i := range 399 {
		rpm := 1800 + float64(i*7919%13)
		if i > 350 {
			rpm = 300
		}
		r.tape.reading(rpm)
	}
	for n := int32(1); n <= 20; n++ {
		a := r.attempt(n)
		r.steps(a, 4)
		if _, err := a.land(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		if n%3 == 0 {
			if err := a.snapshot(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		r.steps(a, 1) // read, but lost with the attempt
	}
	if rows := r.landed(); len(rows) != 400 {
		t.Errorf("%d rows, want 400", len(rows))
	}
	last := r.told[len(r.told)-1]
	if last.Anomaly.Kind != fanwatch.Underspeed {
		t.Errorf("the last thing told is %+v", last)
	}
}

func TestSilenceIsToldOnceAndEndsWithAReading(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	a := r.attempt(1)
	r.steps(a, 1)
	r.now = r.now.Add(29 * time.Second)
	r.steps(a, 1)
	r.now = r.now.Add(2 * time.Second)
	r.steps(a, 3)
	r.tape.reading(1800)
	r.now = r.now.Add(2 * time.Second)
	r.steps(a, 1)
	kinds := ""
	for i, o := range r.told {
		kinds += string(o.Anomaly.Kind) + "."
		if i > 0 && !o.After(r.told[i-1]) {
			t.Errorf("observation %d is not news after the one before", i)
		}
	}
	if kinds != ".silent.." {
		t.Errorf("told %q", kinds)
	}
}

func TestClosedShardEndsItsLogAndHandsItsFansOn(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	r.tape.closed = true
	a := r.attempt(1)
	out, err := a.run(context.Background())
	if err != nil || !out.Ended {
		t.Fatalf("%+v, %v", out, err)
	}
	child := &scoring{Scorer: a.Scorer, cfg: a.cfg, in: ScoreInput{Stream: "s", Shard: Shard{ID: "shard-1", Parents: []string{"shard-0"}, StartHash: "0", EndHash: "340282366920938463463374607431768211455"}}}
	m, err := child.inherit(context.Background())
	if err != nil || len(m.Fans()) != 1 {
		t.Fatalf("inherited %v, %v", m, err)
	}
	child.in.Shard.EndHash = "0"
	if m, err = child.inherit(context.Background()); err != nil || len(m.Fans()) != 0 {
		t.Fatalf("outside the range: %v, %v", m.Fans(), err)
	}
}
