package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// delivery is a Store some of whose objects cannot be read.
type delivery struct {
	objstore.Store
	bad  map[string]error // by key; errHangs: it does not answer
	list error            // of every listing
	gets map[string]int
}

var errHangs = errors.New("hangs")

func (d *delivery) GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	d.gets[key]++
	switch err := d.bad[key]; {
	case err == errHangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	return d.Store.GetRange(ctx, key, offset, n)
}

func (d *delivery) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	if err := d.list; err != nil {
		return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, err) }
	}
	return d.Store.List(ctx, prefix, after)
}

// folder is an ingestion of a folder of objects with a clock of its own.
type folder struct {
	*ingest.Ingestion
	*delivery
	now time.Time
}

func newFolder(t *testing.T, w world) *folder {
	f := &folder{delivery: &delivery{Store: w.store, bad: make(map[string]error), gets: make(map[string]int)},
		now: time.Now()}
	f.Ingestion = &ingest.Ingestion{From: f.delivery, Prefix: "firehose/", To: w.store, Stream: "readings",
		Now: func() time.Time { return f.now }, ReadTimeout: 50 * time.Millisecond}
	return f
}

func (f *folder) run(t *testing.T) ingest.Result {
	t.Helper()
	r, err := f.Run(t.Context(), nil)
	if err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	return r
}

var errForbidden = errors.New("get: https response error StatusCode: 403, api error AccessDenied: Access\x1b[2J Denied")

// TestAnObjectThatCannotBeReadStopsNoOther: archived, forbidden, hanging, damaged, of another format.
func TestAnObjectThatCannotBeReadStopsNoOther(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	for i := range 12 {
		put(t, w.store, fmt.Sprintf("firehose/%02d", i), legacyObject("fan-a", i), i%2 == 0)
	}
	put(t, w.store, "firehose/05", "PK\x03\x04 and so on", false)
	put(t, w.store, "firehose/06", "\x1f\x8b rubbish", false)
	f.bad["firehose/00"] = fmt.Errorf("cloud: get s3://b/firehose/00: %w", objstore.ErrArchived)
	f.bad["firehose/03"], f.bad["firehose/04"] = errForbidden, errHangs
	r := f.run(t)
	if r.Readings != 7 || r.PassedOver != 5 || len(r.Passed) != 5 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []struct{ key, why string }{{"00", "archived"}, {"03", "AccessDenied"}, {"04", "deadline"},
		{"05", "ZIP"}, {"06", "gzip"}} {
		p := r.Passed[i]
		if p.Key != "firehose/"+want.key || !strings.Contains(p.Why, want.why) || !p.Since.Equal(f.now) ||
			strings.ContainsAny(p.Why, "\x1b\n") || p.Next.IsZero() != (i > 2) {
			t.Errorf("%+v, want %v", p, want)
		}
	}
	if text := r.Failure(); !strings.HasPrefix(text, `5 objects are not landed: "firehose/00": `) ||
		!strings.HasSuffix(text, "; and 2 more") {
		t.Errorf("%q", text)
	}
	put(t, w.store, "firehose/12", legacyObject("fan-a", 12), false) // what comes later is landed too
	if r := f.run(t); r.Readings != 1 || r.PassedOver != 5 {
		t.Fatalf("%+v", r)
	}
	f.bad = nil
	f.now = f.now.Add(time.Hour)
	put(t, w.store, "firehose/05", legacyObject("fan-a", 5), false)
	put(t, w.store, "firehose/06", legacyObject("fan-a", 6), true)
	if r := f.run(t); r.Readings != 5 || r.PassedOver != 0 || r.Failure() != "" {
		t.Fatalf("mended: %+v", r)
	}
	w.commit(t, f.Log())
	wantCounts(t, w.counts(t), map[string]int{"fan-a": 13})
}

// TestAnObjectThatWasPassedOverIsReadAfterGrowingPauses: a store that refuses is asked after longer and longer
// pauses, and bytes that are of no use are read once. Again has all of them tried.
func TestAnObjectThatWasPassedOverIsReadAfterGrowingPauses(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	put(t, w.store, "firehose/archived", legacyObject("fan-a", 0), false)
	put(t, w.store, "firehose/csv", "TIME,FANID,FREQ,RPM\n2026-03-01T00:00:00,fan-a,60,1800\n", false)
	f.bad["firehose/archived"] = objstore.ErrArchived
	first := f.now
	for range 7 * 24 * 60 { // each minute of a week
		if r := f.run(t); r.PassedOver != 2 || !r.Passed[0].Since.Equal(first) || !r.Passed[1].Since.Equal(first) ||
			r.Quarantined != 0 || r.Objects != 0 {
			t.Fatalf("%+v", r)
		}
		if f.now = f.now.Add(time.Minute); f.gets["firehose/archived"] > 9 && f.now.Sub(first) < 8*time.Hour {
			t.Fatalf("%v: %v", f.now.Sub(first), f.gets)
		}
		if f.now.Sub(first) > 8*time.Hour {
			f.now = f.now.Add(59 * time.Minute)
		}
		if f.now.Sub(first) > 7*24*time.Hour {
			break
		}
	}
	if n := f.gets["firehose/archived"]; n < 28 || n > 40 || f.gets["firehose/csv"] != 1 {
		t.Errorf("in a week: %v", f.gets)
	}
	t.Log(f.gets)
	f.Again, f.bad = true, nil
	if r := f.run(t); r.Readings != 1 || r.PassedOver != 1 || !strings.Contains(r.Passed[0].Why, "CSV") ||
		f.gets["firehose/csv"] != 2 {
		t.Fatalf("%+v, %v", r, f.gets)
	}
}

// TestAStoreThatFailsIsAnErrorAndNoObjectsFault: it is tried again at once, and none waits longer for it.
func TestAStoreThatFailsIsAnErrorAndNoObjectsFault(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	for i := range 5 {
		put(t, w.store, fmt.Sprintf("firehose/%d", i), legacyObject("fan-a", i), false)
	}
	outage := errors.New("503 Slow Down")
	for i := range 5 {
		f.bad[fmt.Sprintf("firehose/%d", i)] = outage
	}
	if r, err := f.Run(t.Context(), nil); !errors.Is(err, outage) || r.PassedOver != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	delete(f.bad, "firehose/0") // what stood before is landed when the listing fails too
	gone := &goneAfter{delivery: f.delivery, after: 1}
	f.From = gone
	if r, err := f.Run(t.Context(), nil); !errors.Is(err, errDead) || r.Readings != 1 || r.PassedOver != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	f.From, f.bad = f.delivery, nil
	if r := f.run(t); r.Readings != 4 || r.PassedOver != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestObjectsThatAreRefusedForGoodAreNoOutage, though there may be nothing else to read.
func TestObjectsThatAreRefusedForGoodAreNoOutage(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	for i := range 4 {
		put(t, w.store, fmt.Sprintf("firehose/%d", i), legacyObject("fan-a", i), false)
		f.bad[fmt.Sprintf("firehose/%d", i)] = errForbidden
	}
	delete(f.bad, "firehose/3")
	if r := f.run(t); r.Readings != 1 || r.PassedOver != 3 {
		t.Fatalf("%+v", r)
	}
	f.now = f.now.Add(time.Hour)
	if r := f.run(t); r.PassedOver != 3 || !r.Passed[0].Next.After(f.now) || f.gets["firehose/0"] != 2 {
		t.Fatalf("%+v, %v", r, f.gets)
	}
}

// goneAfter is a delivery whose store is gone after so many listings.
type goneAfter struct {
	*delivery
	after int
}

func (g *goneAfter) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	if g.after--; g.after < 0 {
		g.list = errDead
	}
	defer func() { g.list = nil }()
	return g.delivery.List(ctx, prefix, after)
}

// TestAStoppedIngestionLandsWhatItHasRead, and remembers what it passed over: objects that hang one after the other
// do not keep the others waiting for ever.
func TestAStoppedIngestionLandsWhatItHasRead(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	for i := range 4 {
		put(t, w.store, fmt.Sprintf("firehose/%d", i), legacyObject("fan-a", i), false)
	}
	f.bad["firehose/1"], f.bad["firehose/2"] = errors.New("one fails"), errHangs
	f.ReadTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if r, err := f.Run(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || r.Readings != 1 || r.PassedOver != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	f.bad["firehose/2"] = nil
	if r := f.run(t); r.Readings != 2 || r.PassedOver != 1 || f.gets["firehose/1"] != 1 {
		t.Fatalf("%+v, %v", r, f.gets)
	}
}

// TestAnObjectThatIsGivenUpCountsAsLanded: it counts as landed, and a row says what it was.
func TestAnObjectThatIsGivenUpCountsAsLanded(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	put(t, w.store, "firehose/x.zip", "PK\x03\x04 and so on", false)
	f.GiveUp = []string{"firehose/x.zip"}
	if _, err := f.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "cannot be given up") {
		t.Fatalf("given up before it was tried: %v", err)
	}
	f.GiveUp = nil
	if r := f.run(t); r.PassedOver != 1 || r.Quarantined != 0 {
		t.Fatalf("%+v", r)
	}
	f.GiveUp = []string{"firehose/x.zip"}
	if r := f.run(t); r.PassedOver != 0 || r.Quarantined != 1 {
		t.Fatalf("%+v", r)
	}
	if r := f.run(t); r.PassedOver != 0 || r.Quarantined != 0 {
		t.Fatalf("given up twice: %+v", r)
	}
	f.GiveUp, f.Again = nil, true
	if r := f.run(t); r.PassedOver != 0 || r.Quarantined != 0 {
		t.Fatalf("%+v", r)
	}
	if rows := rowsOf(t, f.Log()); len(rows) != 1 ||
		!strings.Contains(rows[0].Reason, `object "firehose/x.zip" was given up by hand: it is a ZIP archive`) {
		t.Errorf("%+v", rows)
	}
}

// rowsOf returns the rows of a landing log.
func rowsOf(t *testing.T, log landing.Log) (all []fanwatch.Row) {
	t.Helper()
	if err := log.Walk(t.Context(), "0", func(s landing.Segment) error {
		all = append(all,
			s.Rows...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAKilledIngestionHasOneRowForADamage lets every change of the store fail once for good, goes on, and wants every
// reading and the row of the damage once.
func TestAKilledIngestionHasOneRowForADamage(t *testing.T) {
	for at := int64(1); ; at++ {
		w := openWorld(t, t.TempDir(), nil)
		f := newFolder(t, w)
		for i := range 4 {
			put(t, w.store, fmt.Sprintf("firehose/%d", i), strings.Repeat("[", i)+legacyObject("fan-a", i)+","+
				legacyObject("fan-a", i+10), false)
		}
		put(t, w.store, "firehose/1", zipped(t, legacyObject("fan-a", 1)+legacyObject("fan-a", 11))+"rubbish", false)
		f.bad["firehose/0"], f.bad["firehose/2"] = objstore.ErrArchived, errForbidden
		ctx, cancel := context.WithCancel(t.Context())
		f.To, f.SegmentRows = brittleStore{w.store, &fuse{at: at, die: cancel, lost: at%2 == 0}}, 1
		_, err := f.Run(ctx, nil)
		cancel()
		f.To = w.store
		f.now = f.now.Add(time.Hour)
		f.run(t)
		f.bad, f.Again = nil, true
		if r := f.run(t); r.PassedOver != 1 {
			t.Fatalf("after change %d failed: %+v", at, r)
		}
		w.commit(t, f.Log())
		wantCounts(t, w.counts(t), map[string]int{"fan-a": 8})
		refused := 0
		for _, row := range rowsOf(t, f.Log()) {
			if row.Kind == fanwatch.RowQuarantined {
				refused++
			}
		}
		if refused != 1 {
			t.Fatalf("after change %d failed: %d rows of the damage", at, refused)
		}
		if err == nil {
			if at < 6 {
				t.Fatalf("only %d changes", at-1)
			}
			return
		}
	}
}

// TestAnIngestionOfTheFirstVersionIsContinued: its landing log counts separators among the parts of an object, and its
// snapshot knows of nothing that was passed over.
func TestAnIngestionOfTheFirstVersionIsContinued(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		w := openWorld(t, t.TempDir(), nil)
		f := newFolder(t, w)
		var text strings.Builder
		for i := range 10 {
			text.WriteString(legacyObject("fan-a", i) + ",")
		}
		put(t, w.store, "firehose/x", text.String(), false)
		put(t, w.store, "firehose/w", legacyObject("fan-a", 99), false)
		segment := landing.Segment{Header: landing.Header{After: "0", Last: "1", Writer: landing.Token{Scheduled: 1,
			Attempt: 1, Run: "ingest"}, Sources: []landing.Source{{Key: "firehose/w", Upto: 1, Done: true},
			{Key: "firehose/x", Upto: 6}}}}
		for i := range 3 {
			at := midnight.Add(time.Duration(i) * time.Second)
			segment.Rows = append(segment.Rows, fanwatch.Row{Kind: fanwatch.RowLate,
				Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-a", Seq: uint64(at.UnixMicro())}, Time: at,
					RPM: 1800, State: fanwatch.StateRunning},
				Position: fanwatch.Position{Sequence: "1", Index: 2*i + 1}, Arrived: at})
		}
		if err := f.Log().Append(t.Context(), segment); err != nil {
			t.Fatal(err)
		}
		if snapshot {
			if err := f.Log().PutSnapshot(t.Context(), "1",
				[]byte(`{"v":1,"done":{"firehose/w":-1,"firehose/x":6},"seen":{}}`)); err != nil {
				t.Fatal(err)
			}
		}
		if r := f.run(t); r.Readings != 7 || r.Duplicates != 0 || r.Quarantined != 0 || r.Objects != 1 {
			t.Errorf("snapshot %v: %+v", snapshot, r)
		}
	}
}
