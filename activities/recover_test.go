package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// keys lists the store's keys below a folder.
func (r *rig) keys(prefix string) []string {
	r.t.Helper()
	var keys []string
	for o, err := range r.store.List(r.t.Context(), prefix, "") {
		if err != nil {
			r.t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// damage changes bytes of an object.
func (r *rig) damage(key string) {
	r.t.Helper()
	data, err := r.store.Get(r.t.Context(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	copy(data[min(40, len(data)-4):], "XXXX")
	if err := r.store.Put(r.t.Context(), key, data, false); err != nil {
		r.t.Fatal(err)
	}
}

// snapshots lands 60 readings with three snapshots between.
func (r *rig) snapshots() {
	for range 59 {
		r.tape.reading(1800)
	}
	a := r.attempt(1)
	for range 3 {
		r.steps(a, 4)
		r.mustLand(a)
		r.snapshot(a)
	}
}

// TestADamagedSnapshotIsPassedOver: the ones before it, or the whole log, give the same models, and the heartbeat says
// what was found.
func TestADamagedSnapshotIsPassedOver(t *testing.T) {
	newerVersion := func(r *rig, key string) { // a newer program wrote it, and this one was rolled back
		frame, err := r.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		frame[len("fanwatch")]++
		if err := r.store.Put(t.Context(), key, frame, false); err != nil {
			t.Fatal(err)
		}
	}
	otherModels := func(r *rig, key string) { // its frame is sound, what is inside is not
		number := strings.TrimSuffix(key[strings.LastIndex(key, "=")+1:], ".snapshot")
		at, err := fanwatch.ParseSequenceNumber(number)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.log.PutSnapshot(t.Context(), at, []byte("no models")); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(*rig, string){"damaged": (*rig).damage, "of a newer version": newerVersion,
		"not of models": otherModels} {
		for n := 1; n <= 3; n++ {
			t.Run(fmt.Sprintf("%s %d of 3", name, n), func(t *testing.T) {
				r := newRig(t)
				r.snapshots()
				want, err := r.attempt(2).models.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				keys := r.keys("state/stream=s/shard=shard-0/at=")
				if len(keys) != 3 {
					t.Fatalf("%d snapshots", len(keys))
				}
				for _, key := range keys[3-n:] {
					spoil(r, key)
				}
				a := r.attempt(3)
				if got, err := a.models.Snapshot(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("the models are others, %v", err)
				}
				if x, _ := a.pulse.compose(); !strings.Contains(x.Trouble, "snapshot") {
					t.Errorf("the heartbeat says %q", x.Trouble)
				}
				child := r.prepare(1, Shard{ID: "shard-1", Parents: []string{"shard-0"}})
				m, err := child.inherit(t.Context())
				if err != nil || len(m.Fans()) != 1 {
					t.Errorf("a child inherits %v, %v", m, err)
				}
			})
		}
	}
}

// TestWithoutAnySnapshotWhatIsLostIsSaid: the rows of the segments are in the table only.
func TestWithoutAnySnapshotWhatIsLostIsSaid(t *testing.T) {
	r := newRig(t)
	r.snapshots()
	for _, key := range r.keys("state/stream=s/shard=shard-0/at=") {
		r.damage(key)
	}
	h, err := r.log.NextHeader(t.Context(), "0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.log.Tombstone(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	a := r.attempt(2)
	if x, _ := a.pulse.compose(); !strings.Contains(x.Trouble, "20 rows are in the table only") {
		t.Errorf("the heartbeat says %q", x.Trouble)
	}
	if a.at != "1059" {
		t.Errorf("recovered up to %s", a.at)
	}
}

// TestADamagedSegmentIsPassedOver: its rows are missing from the models and the heartbeat says so; the log goes on
// behind it.
func TestADamagedSegmentIsPassedOver(t *testing.T) {
	for name, spoil := range map[string]func(*rig, string){
		"rows": (*rig).damage,
		"all":  func(r *rig, key string) { _ = r.store.Put(t.Context(), key, []byte("PAR1"), false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for range 59 {
				r.tape.reading(1800)
			}
			a := r.attempt(1)
			for range 3 {
				r.steps(a, 4)
				r.mustLand(a)
			}
			keys := r.keys("landing/stream=s/shard=shard-0/")
			if len(keys) != 3 {
				t.Fatalf("%d segments", len(keys))
			}
			spoil(r, keys[1])
			b := r.attempt(2)
			if x, _ := b.pulse.compose(); b.at != "1059" || !strings.Contains(x.Trouble, "without the rows of a segment") {
				t.Errorf("recovered up to %s, the heartbeat says %q", b.at, x.Trouble)
			}
			spoil(r, keys[2])
			if name == "all" {
				c := r.prepare(3, Shard{ID: "shard-0"})
				if err := c.recover(t.Context()); !errors.Is(err, landing.ErrDamaged) ||
					!strings.Contains(err.Error(), "remove it") {
					t.Errorf("of a damaged end: %v", err)
				}
			}
		})
	}
}

// score scores a shard to its end with the records that the tape has.
func (r *rig) score(n int32, sh Shard) {
	r.t.Helper()
	out, err := r.prepare(n, sh).run(r.t.Context())
	if err != nil || !out.Ended {
		r.t.Fatalf("%+v, %v", out, err)
	}
}

// TestAGrandchildKnowsTheFans: its parent was made and expired while no scorer read.
func TestAGrandchildKnowsTheFans(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	r.tape.closed = true
	r.score(1, Shard{ID: "shard-0"})
	r.tape.closed = false
	for range 39 {
		r.tape.reading(1800)
	}
	r.tape.records = r.tape.records[2:]
	a := r.prepare(1, Shard{ID: "shard-2", Parents: []string{"shard-1"}})
	a.sender.start(t.Context())
	if err := a.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer a.lander.stop()
	r.steps(a, 10)
	if err := r.land(a); err != nil {
		t.Fatal(err)
	}
	h, err := a.shardLog.NextHeader(t.Context(), "0")
	if err != nil || h.Counts.Scored != 39 || h.Counts.Quarantined != 0 {
		t.Errorf("%+v, %v, want 39 scored", h.Counts, err)
	}
	if x, _ := a.pulse.compose(); !strings.Contains(x.Trouble, "begins with 1 fans") {
		t.Errorf("the heartbeat says %q", x.Trouble)
	}
}

// TestAParentThatExpiredHandsOnAllThatItLanded: also what lies behind its newest snapshot. And a child that dies
// before its first snapshot hands on what it inherited.
func TestAParentThatExpiredHandsOnAllThatItLanded(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	a := r.attempt(1)
	r.steps(a, 1)
	r.mustLand(a)
	r.snapshot(a)
	r.device("b", 900) // behind the snapshot
	r.steps(a, 1)
	r.mustLand(a)
	child := r.prepare(1, Shard{ID: "shard-1", Parents: []string{"shard-0"}})
	m, err := child.inherit(t.Context())
	if err != nil || len(m.Fans()) != 2 {
		t.Fatalf("the child knows %v, %v", m.Fans(), err)
	}
	child.sender.start(t.Context())
	if err := child.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	child.lander.stop() // it dies
	if s, err := child.shardLog.LatestSnapshot(t.Context()); err != nil || s.At != "0" {
		t.Errorf("what it inherited is stored at %q, %v", s.At, err)
	}
	m, err = r.prepare(1, Shard{ID: "shard-2", Parents: []string{"shard-1"}}).inherit(t.Context())
	if err != nil || len(m.Fans()) != 2 {
		t.Fatalf("the grandchild knows %v, %v", m.Fans(), err)
	}
}

// anew deletes the stream and makes another of its name, whose numbers begin at first.
func (r *rig) anew(first int, after time.Duration) {
	r.tape.created = r.tape.created.Add(after)
	r.tape.records, r.tape.first = nil, first
	r.tape.shards = []Shard{{ID: "shard-0", StartHash: "0", EndHash: wholeRange,
		First: fanwatch.SequenceNumber(fmt.Sprint(first))}}
}

// TestAStreamMadeAnewIsScoredFromItsBeginning with the models as they are, whether its numbers are lower, the same or
// higher than those of the stream before; its news are later than what was told before, and the readings of both are
// in the log once.
func TestAStreamMadeAnewIsScoredFromItsBeginning(t *testing.T) {
	for _, first := range []int{1, 1000, 900000} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("numbers from %d, known before %v", first, known), func(t *testing.T) {
				r := newRig(t)
				r.tape.shards = []Shard{{ID: "shard-0", StartHash: "0", EndHash: wholeRange, First: "1000"}}
				s := r.prepare(1, Shard{ID: "shard-0"}).Scorer
				if known {
					if got, err := s.RunnableShards(t.Context(), "s"); err != nil || len(got) != 1 || got[0].ID != "shard-0" {
						t.Fatalf("runnable %v, %v", got, err)
					}
				}
				for range 49 {
					r.tape.reading(1800)
				}
				r.tape.reading(300)
				r.tape.reading(300)
				r.tape.closed = true
				old := r.prepare(1, Shard{ID: "shard-0"})
				if _, err := old.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := r.told.all()
				r.tape.closed = false
				r.anew(first, 24*time.Hour)
				for i := range 20 {
					r.tape.at(100+i, 1800)
				}
				if !known && first <= 1000 {
					// Where the numbers of logs without making do not decide, the stream does.
					r.tape.other = true
					if err := s.Store.Delete(t.Context(), "state/stream=s/shard=shard-0/ended.json"); err != nil {
						t.Fatal(err)
					}
				}
				got, err := s.RunnableShards(t.Context(), "s")
				if err != nil {
					t.Fatal(err)
				}
				if r.tape.other {
					a := r.prepare(2, got[0])
					out, err := a.score(t.Context())
					if err != nil || !out.Ended {
						t.Fatalf("%+v, %v", out, err)
					}
					r.tape.other = false
					if got, err = s.RunnableShards(t.Context(), "s"); err != nil {
						t.Fatal(err)
					}
				}
				if len(got) != 1 || !strings.HasPrefix(got[0].ID, "shard-0.") {
					t.Fatalf("runnable %+v", got)
				}
				late := r.prepare(3, Shard{ID: "shard-0"})
				if out, err := late.score(t.Context()); err != nil || !out.Ended {
					t.Errorf("an attempt at the earlier shard: %+v, %v", out, err)
				}
				r.tape.closed = true
				a := r.prepare(1, got[0])
				if out, err := a.score(t.Context()); err != nil || !out.Ended {
					t.Fatalf("%+v, %v", out, err)
				}
				after := r.told.all()[len(before):]
				if len(after) == 0 || after[len(after)-1].Anomaly.Kind != fanwatch.KindNone ||
					!after[0].After(before[len(before)-1]) {
					t.Errorf("told before %+v, after %+v", before, after)
				}
				if x, _ := a.pulse.compose(); !strings.Contains(x.Trouble, "made again") {
					t.Errorf("the heartbeat says %q", x.Trouble)
				}
				logs, err := landing.Logs(t.Context(), r.store, "s")
				if err != nil || len(logs) != 2 {
					t.Fatalf("logs %v, %v", logs, err)
				}
				scored := 0
				for _, l := range logs {
					err := l.Walk(t.Context(), "0", func(s landing.Segment) error { scored += s.Counts.Scored; return nil })
					if err != nil {
						t.Fatal(err)
					}
				}
				if scored != 51+20 {
					t.Errorf("%d readings scored, want 71", scored)
				}
			})
		}
	}
}

// TestAReplayThatDivergesIsSaidOnce and goes on.
func TestAReplayThatDivergesIsSaidOnce(t *testing.T) {
	r := newRig(t)
	for i := range 499 { // the judge takes 5 min, and then the forest 32 readings, before it scores
		r.tape.reading(1800 + float64(i*7919%13))
	}
	a := r.attempt(1)
	for range 20 {
		r.steps(a, 5)
		r.mustLand(a)
	}
	r.cfg.Detect = detect.Config{Seed: 2} // a program that scores differently
	b := r.prepare(2, Shard{ID: "shard-0"})
	var said bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&said, nil))
	if err := b.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	x, _ := b.pulse.compose()
	if n := strings.Count(said.String(), "the models go on with the scores of this program"); n != 1 || b.at != "1499" ||
		x.Trouble != "" {
		t.Errorf("said %d times, recovered up to %s, trouble %q", n, b.at, x.Trouble)
	}
}

// TestAStreamThatCannotBeReadEndsTheAttemptWithTheReason, after what was read has landed.
func TestAStreamThatCannotBeReadEndsTheAttemptWithTheReason(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	a := r.prepare(1, Shard{ID: "shard-0"})
	a.Stream = refusing{r.tape}
	_, err := a.score(t.Context())
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") || strings.Contains(err.Error(), "\n") {
		t.Errorf("ended with %v", err)
	}
	if n := len(r.landed()); n != 2 {
		t.Errorf("%d rows landed, want 2", n)
	}
}

type refusing struct{ *tape }

func (s refusing) Open(_, _ string, _ fanwatch.SequenceNumber) ShardReader {
	return &refusingReader{records: s.records}
}

type refusingReader struct{ records []detect.Input }

func (r *refusingReader) Next(context.Context) (Batch, error) {
	if r.records == nil {
		return Batch{}, errors.New("AccessDeniedException: kinesis:GetRecords")
	}
	b := Batch{Records: r.records}
	r.records = nil
	return b, nil
}

// FuzzMaking: whatever stands where a making should, it is an error or a making that is used, never a panic.
func FuzzMaking(f *testing.F) {
	for _, seed := range []string{`{"v":1,"created":"2026-05-28T20:00:00Z","suffix":""}`, `{"v":2}`,
		`{"v":1,"suffix":".17"}`, `[`, ``} {
		f.Add([]byte(seed))
	}
	dir, err := objstore.OpenDir(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := dir.Put(t.Context(), makingKey("s", 1), data, false); err != nil {
			t.Fatal(err)
		}
		s := &Scorer{Stream: &tape{created: begin}, Store: dir, Now: func() time.Time { return begin },
			Log: slog.New(slog.DiscardHandler)}
		m, err := s.current(t.Context(), "s")
		if err == nil && m.V != makingVersion {
			t.Errorf("%q is taken as %+v", data, m)
		}
		if err := dir.Delete(t.Context(), makingKey("s", 2)); err != nil {
			t.Fatal(err)
		}
	})
}
