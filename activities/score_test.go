package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// tape is a shard that is a list of records: the boundary to Kinesis, whose own tests stand elsewhere.
type tape struct {
	records []detect.Input
	closed  bool
	shards  []Shard
	created time.Time
	first   int  // sequence number of the first record; 0 = 1000
	other   bool // numbers to start behind are refused: they are of another stream
}

func (s *tape) Shards(context.Context, string) ([]Shard, error) { return s.shards, nil }

func (s *tape) Created(context.Context, string) (time.Time, error) { return s.created, nil }

func (s *tape) Open(_, _ string, after fanwatch.SequenceNumber) ShardReader {
	if s.other && after != "0" {
		return &scripted{err: ErrOtherStream}
	}
	i := 0
	for i < len(s.records) && s.records[i].Position.Sequence.Compare(after) <= 0 {
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

func (s *tape) put(data []byte) { s.arrive(len(s.records), data) }

// arrive puts a record that arrived so many seconds after the beginning.
func (s *tape) arrive(seconds int, data []byte) {
	s.records = append(s.records, detect.Input{Position: fanwatch.Position{Sequence: fanwatch.SequenceNumber(
		fmt.Sprint(cmp.Or(s.first, 1000) + len(s.records)))},
		Arrived: begin.Add(time.Duration(seconds) * time.Second), Data: data})
}

var begin = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)

func (s *tape) reading(rpm float64) { s.at(len(s.records), rpm) }

// at puts a reading of so many seconds after the beginning.
func (s *tape) at(seconds int, rpm float64) {
	s.arrive(seconds, fmt.Appendf(nil, `{"TIME":%q,"FANID":"a","RPM":%v,"client":"a"}`,
		begin.Add(time.Duration(seconds)*time.Second).Format(time.RFC3339), rpm))
}

// told collects what the fans' workflows hear. Safe for concurrent use.
type told struct {
	mu    sync.Mutex
	heard []fanwatch.Observation
	fail  func(fanwatch.Observation) error // what a signal meets; nil: it is taken
}

func (t *told) Observe(ctx context.Context, _ fanwatch.Device, o fanwatch.Observation) error {
	t.mu.Lock()
	fail := t.fail
	t.mu.Unlock()
	if fail != nil {
		if err := fail(o); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = append(t.heard, o)
	return ctx.Err()
}

func (t *told) all() []fanwatch.Observation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.heard)
}

func (t *told) failing(f func(fanwatch.Observation) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = f
}

// has tells whether a fan was told to be of the kind.
func (t *told) has(fan string, kind fanwatch.Kind) bool {
	return slices.ContainsFunc(t.all(), func(o fanwatch.Observation) bool {
		return o.Fan == fan &&
			o.Anomaly.Kind == kind
	})
}

// faulty is a store that fails while a test says so.
type faulty struct {
	objstore.Store
	mu   sync.Mutex
	fail func(ctx context.Context, key string) error // of Put
	puts int
}

func (f *faulty) failing(fail func(ctx context.Context, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error {
	f.mu.Lock()
	fail := f.fail
	f.puts++
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, key); err != nil {
			return err
		}
	}
	return f.Store.Put(ctx, key, data, onlyIfAbsent)
}

type rig struct {
	t     *testing.T
	tape  *tape
	store *faulty
	told  *told
	clock sync.Mutex
	time  time.Time
	log   landing.Log
	cfg   ScoreConfig
}

func (r *rig) now() time.Time {
	r.clock.Lock()
	defer r.clock.Unlock()
	return r.time
}

func (r *rig) later(d time.Duration) {
	r.clock.Lock()
	defer r.clock.Unlock()
	r.time = r.time.Add(d)
}

const wholeRange = "340282366920938463463374607431768211455"

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := &faulty{Store: dir}
	r := &rig{t: t, tape: &tape{created: begin}, store: store, told: &told{}, time: begin, log: landing.Log{Store: store,
		Stream: "s", Shard: "shard-0"},
		cfg: ScoreConfig{Detect: detect.Config{Seed: 1}}}
	r.device("a", 900)
	return r
}

// device puts a fan's configuration on the tape.
func (r *rig) device(fan string, lowest float64) {
	r.t.Helper()
	data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 1, Fan: fan,
		Limits: fanwatch.Limits{MinRPM: lowest}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.tape.put(data)
}

// prepare makes one attempt at a shard.
func (r *rig) prepare(n int32, sh Shard) *scoring {
	s := &Scorer{Stream: r.tape, Store: r.store, Fans: r.told, Config: r.cfg, Now: r.now,
		Log: slog.New(slog.DiscardHandler)}
	if sh.EndHash == "" {
		sh.StartHash, sh.EndHash = "0", wholeRange
	}
	a := s.attempt(ScoreInput{Stream: "s", Shard: sh}, landing.Token{Scheduled: 1, Attempt: n, Run: "run"})
	a.stop = make(chan struct{})
	return a
}

// attempt is one attempt at shard-0, recovered and ready to step.
func (r *rig) attempt(n int32) *scoring {
	r.t.Helper()
	a := r.prepare(n, Shard{ID: "shard-0"})
	a.sender.start(r.t.Context())
	if err := a.recover(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { a.lander.stop() })
	return a
}

func (r *rig) steps(a *scoring, n int) {
	r.t.Helper()
	for range n {
		if err := a.step(r.t.Context(), r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	r.heard(a)
}

// heard waits until the fans' workflows heard what there is to tell.
func (r *rig) heard(a *scoring) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond)
	defer cancel()
	a.sender.wait(ctx)
}

// land seals the window and waits until the lander is done with it, or ended.
func (r *rig) land(a *scoring) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	a.seal(false)
	return a.drain(ctx)
}

// snapshot stores the models.
func (r *rig) snapshot(a *scoring) {
	r.t.Helper()
	a.lander.enqueue(&pendingSegment{at: a.at, snapshot: a.snapshot()})
	if err := a.drain(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mustLand(a *scoring) {
	r.t.Helper()
	if err := r.land(a); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for what happens beside the test.
func (r *rig) until(what string, yes func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !yes(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// landed gives the log's rows and checks that their scores are those of one undisturbed run.
func (r *rig) landed() []fanwatch.Row {
	r.t.Helper()
	var rows []fanwatch.Row
	if err := r.log.Walk(context.Background(), "0", func(s landing.Segment) error {
		rows = append(rows,
			s.Rows...)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	if err := detect.New(detect.Config{Seed: 1}).Replay(rows); err != nil {
		r.t.Error(err)
	}
	seen := map[fanwatch.ReadingID]bool{}
	for _, row := range rows {
		if row.Kind == fanwatch.RowScored && seen[row.ReadingID] {
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
	r.mustLand(owner)
	before := r.landed()
	if err := r.land(zombie); !errors.Is(err, errSuperseded) {
		t.Errorf("the zombie's landing: %v, want errSuperseded", err)
	}
	if after := r.landed(); len(after) != len(before) || len(after) != 40 {
		t.Errorf("%d rows before the zombie, %d after, want 40", len(before), len(after))
	}
}

// TestANewerAttemptGoesOnBehindWhatAnOlderOneLanded: the newer attempt gives its window up, rebuilds its models and
// goes on behind.
func TestANewerAttemptGoesOnBehindWhatAnOlderOneLanded(t *testing.T) {
	r := newRig(t)
	for range 49 {
		r.tape.reading(1800)
	}
	old, owner := r.attempt(1), r.attempt(2)
	r.steps(old, 3)
	r.steps(owner, 7)
	r.mustLand(old)
	if err := r.land(owner); !errors.Is(err, errMoved) {
		t.Fatalf("%v, want errMoved", err)
	}
	r.steps(owner, 8)
	r.mustLand(owner)
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
		r.mustLand(a)
		if n%3 == 0 {
			r.snapshot(a)
		}
		r.steps(a, 1) // read, but lost with the attempt
	}
	if rows := r.landed(); len(rows) != 400 {
		t.Errorf("%d rows, want 400", len(rows))
	}
	var last fanwatch.Observation
	for _, o := range r.told.all() {
		if o.Of() == "" || o.Of() == fanwatch.FamilySpeed {
			last = o
		}
	}
	if last.Anomaly.Kind != fanwatch.KindUnderspeed {
		t.Errorf("the last thing told is %+v", last)
	}
}

func TestSilenceIsToldOnceAndEndsWithAReading(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	a := r.attempt(1)
	r.steps(a, 1)
	r.later(29 * time.Second)
	r.steps(a, 1)
	r.later(2 * time.Second)
	r.steps(a, 3)
	r.tape.reading(1800)
	r.later(2 * time.Second)
	r.steps(a, 1)
	kinds := ""
	heard := r.told.all()
	for i, o := range heard {
		kinds += string(o.Anomaly.Kind) + "."
		if i > 0 && !o.After(heard[i-1]) {
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
	a := r.prepare(1, Shard{ID: "shard-0"})
	out, err := a.run(t.Context())
	if err != nil || !out.Ended {
		t.Fatalf("%+v, %v", out, err)
	}
	child := r.prepare(1, Shard{ID: "shard-1", Parents: []string{"shard-0"}})
	m, err := child.inherit(t.Context())
	if err != nil || len(m.Fans()) != 1 {
		t.Fatalf("inherited %v, %v", m, err)
	}
	child.in.Shard.EndHash = "0"
	if m, err = child.inherit(t.Context()); err != nil || len(m.Fans()) != 0 {
		t.Fatalf("outside the range: %v, %v", m.Fans(), err)
	}
}
