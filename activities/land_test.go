package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
)

var errAway = errors.New("503 Service Unavailable")

func isSegment(key string) bool { return strings.HasPrefix(key, "landing/") }

// away lets no segment through.
func away(_ context.Context, key string) error {
	if isSegment(key) {
		return errAway
	}
	return nil
}

// TestAStallIsToldWhileTheStoreIsAway: whether the store refuses or hangs, reading, judging and telling go on; what
// waited lands once when it is back, and every score is that of an undisturbed run.
func TestAStallIsToldWhileTheStoreIsAway(t *testing.T) {
	for name, fail := range map[string]func(context.Context, string) error{
		"refuses": away,
		"hangs": func(ctx context.Context, key string) error {
			if isSegment(key) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for range 99 {
				r.tape.reading(1800)
			}
			a := r.attempt(1)
			r.steps(a, 4)
			r.store.failing(fail)
			for range 10 {
				r.steps(a, 2)
				a.seal(false)
			}
			for range 20 {
				r.tape.reading(300)
			}
			r.later(2 * time.Second)
			r.steps(a, 4)
			r.until("the page", func() bool { return r.told.has("a", fanwatch.KindUnderspeed) })
			if n := a.lander.waiting(); n < 8 {
				t.Errorf("%d segments wait, want 8", n)
			}
			r.store.failing(nil)
			if name == "hangs" { // what hangs ends with its own time; a new attempt stands for it here
				a.lander.stop()
				a = r.attempt(2)
				r.steps(a, 30)
			}
			r.mustLand(a)
			if rows := r.landed(); len(rows) != 120 {
				t.Errorf("%d rows, want 120", len(rows))
			}
		})
	}
}

// TestWhatWaitsForTheStoreIsBounded: at each bound reading stops and says so; judging goes on when the store is back.
func TestWhatWaitsForTheStoreIsBounded(t *testing.T) {
	for name, bound := range map[string]func(*rig){
		"rows":  func(r *rig) { r.cfg.PendingRows = 20 },
		"bytes": func(r *rig) { r.cfg.PendingHeld = 20 * memoryOf(&fanwatch.Row{}) },
		"time":  func(r *rig) { r.cfg.PendingTime = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			bound(r)
			for range 99 {
				r.tape.reading(1800)
			}
			a := r.attempt(1)
			r.store.failing(away)
			for range 8 {
				r.steps(a, 1)
				a.seal(false)
				r.later(20 * time.Second)
			}
			if n := a.readings; n < 15 || n > 25 {
				t.Errorf("%d rows were read, want 15 to 25", n)
			}
			if x, _ := a.pulse.compose(); !strings.Contains(x.Trouble, "no reading is read or judged") || x.Pending < 3 {
				t.Errorf("the heartbeat says %+v", x)
			}
			r.store.failing(nil)
			r.mustLand(a)
			r.steps(a, 20)
			r.mustLand(a)
			if x, _ := a.pulse.compose(); x.Trouble != "" || x.Pending != 0 {
				t.Errorf("afterwards the heartbeat says %+v", x)
			}
			if rows := r.landed(); len(rows) != 100 {
				t.Errorf("%d rows, want 100", len(rows))
			}
		})
	}
}

// TestAnAttemptDoesNotEndWhileSegmentsWait: its time is over and goes on until the store is back.
func TestAnAttemptDoesNotEndWhileSegmentsWait(t *testing.T) {
	r := newRig(t)
	r.cfg.WindowRows = 10
	for range 49 {
		r.tape.reading(1800)
	}
	r.store.failing(away)
	a := r.prepare(1, Shard{ID: "shard-0"})
	a.in.For, a.finishWithin = time.Minute, 10*time.Millisecond
	ended := make(chan error, 1)
	go func() {
		_, err := a.run(t.Context())
		ended <- err
	}()
	r.until("windows that wait", func() bool { x, _ := a.pulse.compose(); return x.Pending > 0 })
	r.later(2 * time.Minute)
	select {
	case err := <-ended:
		t.Fatalf("the attempt ended while segments wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	r.store.failing(nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if rows := r.landed(); len(rows) != 50 {
		t.Errorf("%d rows, want 50", len(rows))
	}
}

// TestAStoppingWorkerWaitsABoundedTime for the store, and nothing is lost.
func TestAStoppingWorkerWaitsABoundedTime(t *testing.T) {
	r := newRig(t)
	r.cfg.WindowRows = 10
	for range 49 {
		r.tape.reading(1800)
	}
	r.store.failing(away)
	a := r.prepare(1, Shard{ID: "shard-0"})
	stop := make(chan struct{})
	a.stop, a.stopWithin = stop, 200*time.Millisecond
	ended := make(chan error, 1)
	go func() {
		_, err := a.run(t.Context())
		ended <- err
	}()
	r.until("windows that wait", func() bool { x, _ := a.pulse.compose(); return x.Pending > 0 })
	begun := time.Now()
	close(stop)
	if err := <-ended; !errors.Is(err, errStopping) || !errors.Is(err, errPending) {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(begun); took > a.stopWithin+3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	r.store.failing(nil)
	b := r.attempt(2)
	r.steps(b, 15)
	r.mustLand(b)
	if rows := r.landed(); len(rows) != 50 {
		t.Errorf("%d rows, want 50", len(rows))
	}
}

// TestWhatIsLandedWasTold: while a fan cannot be told of its stall nothing behind it lands, but reading and judging go
// on; an attempt that ends there leaves the stall to be told by the next.
func TestWhatIsLandedWasTold(t *testing.T) {
	r := newRig(t)
	for range 20 {
		r.tape.reading(1800)
	}
	a := r.attempt(1)
	r.steps(a, 5)
	r.mustLand(a)
	r.told.failing(func(fanwatch.Observation) error { return errors.New("Temporal is away") })
	for range 20 {
		r.tape.reading(300)
	}
	before := len(r.landed())
	r.steps(a, 10)
	a.seal(false)
	for range 20 {
		r.tape.reading(300)
	}
	r.steps(a, 10)
	if n := a.readings; n != 61 {
		t.Errorf("%d rows were read, want 61", n)
	}
	if n := len(r.landed()); n != before {
		t.Errorf("%d rows landed before they were told of", n-before)
	}
	a.lander.stop() // kill -9
	r.told.failing(nil)
	b := r.attempt(2)
	r.steps(b, 30)
	r.mustLand(b)
	if !r.told.has("a", fanwatch.KindUnderspeed) {
		t.Error("the stall was not sent")
	}
	if n := len(r.landed()); n != 61 {
		t.Errorf("%d rows, want 61", n)
	}
}

// TestASegmentThatCannotBeStoredIsDivided: too many rows are two segments, and a row that no store can take is a note
// in the quarantine; what stands beside it lands.
func TestASegmentThatCannotBeStoredIsDivided(t *testing.T) {
	r := newRig(t)
	for range 40 {
		r.tape.reading(1800)
	}
	a := r.attempt(1)
	r.steps(a, 9)
	a.window.rows[17].Kind = "impossible"
	r.mustLand(a)
	var segments, notes, rows int
	err := r.log.Walk(t.Context(), "0", func(s landing.Segment) error {
		segments++
		for _, row := range s.Rows {
			rows++
			if row.Kind == fanwatch.RowQuarantined {
				notes++
				if row.Fan != "a" || !strings.Contains(row.Reason, "cannot be stored") {
					t.Errorf("the note is %+v", row)
				}
			}
		}
		return nil
	})
	if err != nil || segments < 2 || notes != 1 || rows != 41 {
		t.Errorf("%d segments, %d rows, %d notes, %v; want several, 41, 1", segments, rows, notes, err)
	}

	x := &pendingSegment{segment: &landing.Segment{Header: landing.Header{Stream: "s", Shard: "shard-0", After: "0",
		Last: "4000000"}}, held: 100}
	for i := range landing.MaxSegmentRows + 1 {
		x.segment.Rows = append(x.segment.Rows, fanwatch.Row{Kind: fanwatch.RowScored,
			Position: fanwatch.Position{Sequence: fanwatch.SequenceNumber(fmt.Sprint(1 + i/10))}})
	}
	_, err = landing.EncodeSegment(x.segment)
	if !errors.Is(err, landing.ErrSegment) {
		t.Fatalf("too many rows: %v, want ErrSegment", err)
	}
	parts, err := divide(x, err)
	if err != nil || len(parts) != 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	p, q := parts[0].segment, parts[1].segment
	if len(p.Rows)+len(q.Rows) != len(x.segment.Rows) || p.Last != q.After || p.After != "0" || q.Last != "4000000" ||
		p.Rows[len(p.Rows)-1].Position.Sequence != p.Last {
		t.Errorf("parts of %d and %d rows, (%s, %s] and (%s, %s]", len(p.Rows), len(q.Rows), p.After, p.Last, q.After, q.Last)
	}
}

// TestWindowsEndByRowsAndByMemory: records of few bytes can hold many rows.
func TestWindowsEndByRowsAndByMemory(t *testing.T) {
	for name, bound := range map[string]func(*rig){
		"rows":   func(r *rig) { r.cfg.WindowRows = 10 },
		"memory": func(r *rig) { r.cfg.WindowHeld = 10 * memoryOf(&fanwatch.Row{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			bound(r)
			for range 99 {
				r.tape.reading(1800)
			}
			a := r.attempt(1)
			r.steps(a, 20)
			r.mustLand(a)
			segments := 0
			err := r.log.Walk(t.Context(), "0", func(s landing.Segment) error { segments++; return nil })
			if err != nil || segments < 9 || len(r.landed()) != 100 {
				t.Errorf("%d segments, %v", segments, err)
			}
		})
	}
}

// TestSnapshotsAreTakenWhereNothingWaits, and each is what a replay gives.
func TestSnapshotsAreTakenWhereNothingWaits(t *testing.T) {
	r := newRig(t)
	r.cfg.SnapshotEvery = time.Second
	for range 99 {
		r.tape.reading(1800)
	}
	var snapshots atomic.Int32
	a := r.attempt(1)
	r.steps(a, 5)
	r.store.failing(func(ctx context.Context, key string) error {
		if strings.HasSuffix(key, ".snapshot") {
			snapshots.Add(1)
		}
		return away(ctx, key)
	})
	r.later(time.Minute)
	a.seal(false) // takes one, for nothing waited before it
	for range 3 {
		r.later(time.Minute)
		r.steps(a, 1)
		a.seal(false)
	}
	a.lander.mu.Lock()
	for i, l := range a.lander.queue {
		if l.snapshot != nil && i > 0 {
			t.Errorf("a snapshot is to follow the %d. segment that waits", i+1)
		}
	}
	a.lander.mu.Unlock()
	if n := snapshots.Load(); n != 0 {
		t.Errorf("%d snapshots while segments wait", n)
	}
	r.store.failing(nil)
	r.mustLand(a)
	newest, err := r.log.LatestSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := detect.New(detect.Config{Seed: 1})
	err = r.log.Walk(t.Context(), "0", func(s landing.Segment) error {
		if s.Last.Compare(newest.At) > 0 {
			return nil
		}
		return m.Replay(s.Rows)
	})
	if err != nil {
		t.Fatal(err)
	}
	if replayed, err := m.Snapshot(); err != nil || string(replayed) != string(newest.Data) {
		t.Errorf("the snapshot at %s is not what a replay up to there gives: %v", newest.At, err)
	}
}
