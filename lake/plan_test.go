package lake_test

import (
	"fmt"
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// TestFilesOfADayStayFewAndRowsAreSeldomRewritten lets a day of commits pass, one a quarter of a minute and each
// compacted at once: files stay few, rows are rewritten a few times, and when the day is over one file holds it. A
// late row makes that happen again.
func TestFilesOfADayStayFewAndRowsAreSeldomRewritten(t *testing.T) {
	now := midnight.Add(time.Minute)
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.Now = func() time.Time { return now } })
	const commits, rows = 120, 30
	cfg := lake.CompactConfig{MinFiles: 3}
	rewritten := 0
	for i := range commits {
		w.append(t, 0, window(i*rows, fmt.Sprint("fan-", i%2), 7, 1+i*rows, rows))
		w.commit(t, w.log(0))
		r, err := w.table.Compact(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		rewritten += r.RowsIn
		if n := len(live(t, w)); n > 4*3 {
			t.Fatalf("%d files after commit %d", n, i)
		}
	}
	if rewritten < commits*rows || rewritten > 6*commits*rows {
		t.Errorf("%d rows were rewritten for %d", rewritten, commits*rows)
	}
	now = midnight.Add(25 * time.Hour)
	for _, want := range []int{1, 2, 1} { // the day is over; a late file; merged again
		if want == 2 {
			w.append(t, 0, window(commits*rows, "fan-0", 8, 1, 5))
			w.commit(t, w.log(0))
		} else if r, err := w.table.Compact(t.Context(), cfg); err != nil || r.FilesOut != 1 {
			t.Fatalf("compacted %+v, %v", r, err)
		}
		if n := len(live(t, w)); n != want {
			t.Fatalf("%d files, want %d", n, want)
		}
	}
	if r, err := w.table.Compact(t.Context(), cfg); err != nil || r.FilesIn != 0 {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": commits*rows/2 + 5, "fan-1": commits * rows / 2})
}

// TestNoMergedFileExceedsTheTargetSize sees that no merged file is to exceed the target, and that full files are
// left alone.
func TestNoMergedFileExceedsTheTargetSize(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	size := int64(0)
	for i := range 8 {
		w.append(t, 0, window(i*100, fmt.Sprint("fan-", i), 7, 1, 100))
		w.commit(t, w.log(0))
		size = live(t, w)[0].Bytes
	}
	cfg := lake.CompactConfig{MinFiles: 1, TargetBytes: size*4 + size/2}
	if r, err := w.table.Compact(t.Context(), cfg); err != nil || r.FilesIn != 8 || r.FilesOut != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// TestFilesOfAWaitingPlanAreLeftAlone sees that what waits for the committer is neither planned again nor removed
// as an orphan.
func TestFilesOfAWaitingPlanAreLeftAlone(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 4 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		w.commit(t, w.log(0))
	}
	cfg := lake.CompactConfig{MinFiles: 1}
	if r, err := w.table.PlanCompaction(t.Context(), cfg); err != nil || r.FilesIn != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := w.table.PlanCompaction(t.Context(), cfg); err != nil || r.FilesIn != 0 {
		t.Fatalf("planned again: %+v, %v", r, err)
	}
	if n, err := w.table.RemoveOrphans(t.Context(), -time.Minute); err != nil || n != 0 {
		t.Fatalf("removed %d, %v", n, err)
	}
	w.append(t, 0, window(40, "fan-0", 7, 41, 10)) // a commit comes in between
	w.commit(t, w.log(0))
	if a, err := w.table.Apply(t.Context()); err != nil ||
		a != (lake.ApplyResult{Swaps: 1, FilesRemoved: 4, FilesAdded: 1}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if n := len(live(t, w)); n != 2 {
		t.Fatalf("%d files", n)
	}
	if a, err := w.table.Apply(t.Context()); err != nil || a != (lake.ApplyResult{}) {
		t.Fatalf("again: %+v, %v", a, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 50})
}

// TestAPlanThatTheTableHasPassedIsDiscarded is discarded; its files go as orphans.
func TestAPlanThatTheTableHasPassedIsDiscarded(t *testing.T) {
	dir := t.TempDir()
	w := openWorld(t, dir, nil)
	for i := range 4 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		w.commit(t, w.log(0))
	}
	if _, err := w.table.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	plans := list(t, w.store, "tables/fanwatch/readings/plans/", "")
	data, err := w.store.Get(t.Context(), plans[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.table.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.append(t, 0, window(40, "fan-0", 7, 41, 10))
	w.commit(t, w.log(0))
	if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Put(t.Context(), plans[0], data, true); err != nil {
		t.Fatal(err)
	}
	if a, err := w.table.Apply(t.Context()); err != nil || a != (lake.ApplyResult{Discarded: 1}) {
		t.Fatalf("%+v, %v", a, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 50})
}

func TestDroppedDaysStayInTheAccounts(t *testing.T) {
	now := midnight.Add(30 * 24 * time.Hour)
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.Now = func() time.Time { return now } })
	log := w.log(0)
	for day := range 4 {
		s := window(day*10, "fan-0", 7, 1+day*10, 10)
		for i := range s.Rows {
			s.Rows[i].Time = s.Rows[i].Time.Add(time.Duration(day) * 24 * time.Hour)
		}
		w.append(t, 0, s)
	}
	w.commit(t, log)
	drop := func(keep time.Duration, files, table, dropped int) {
		t.Helper()
		if n, err := w.table.PlanDropPartitions(t.Context(), keep); err != nil || n != files {
			t.Fatalf("planned %d files, want %d, %v", n, files, err)
		}
		if _, err := w.table.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, err := lake.Reconcile(t.Context(), []landing.Log{log}, w.table)
		if err != nil || !a[0].OK || a[0].Table != table || a[0].Retired != dropped {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	const day = 24 * time.Hour
	drop(0, 0, 40, 0)
	drop(40*day, 0, 40, 0)
	drop(29*day, 1, 30, 10)
	drop(29*day, 0, 30, 10)
	late := window(40, "fan-0", 7, 41, 5) // of a day that is gone
	w.append(t, 0, late)
	w.commit(t, log)
	drop(40*day, 0, 35, 10)
	if err := log.PutSnapshot(t.Context(), "40", []byte("model")); err != nil {
		t.Fatal(err)
	}
	if n, err := w.table.TruncateLog(t.Context(), log, 0); err != nil || n != 4 {
		t.Fatalf("%d tombstones, %v", n, err)
	}
	drop(27*day, 3, 10, 35) // the late file and two days
	if n, err := w.table.RemoveOrphans(t.Context(), -10*365*day); err != nil || n != 1 {
		t.Fatalf("removed %d files, %v; want the older ledger", n, err)
	}
	drop(27*day, 0, 10, 35)
}

func live(t testing.TB, w world) []lake.File {
	t.Helper()
	files, err := w.table.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestStatusAndLagCountTableAndLog(t *testing.T) {
	now := midnight.Add(time.Hour)
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.Now = func() time.Time { return now } })
	for i := range 3 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		if i < 2 {
			w.commit(t, w.log(0))
		}
	}
	if _, err := w.table.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	s, err := w.table.Status(t.Context(), 1)
	if err != nil || s.Table != "fanwatch.readings" || s.Rows != 20 || s.Files != 2 || s.Days != 1 || s.Snapshots != 2 ||
		s.Plans != 1 || s.Bytes < 1000 ||
		len(s.Changes) != 1 || s.Changes[0].Operation != "append" || s.Changes[0].Files != "+1 -0" ||
		s.Changes[0].Rows != 10 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = w.table.Status(t.Context(), -1); err != nil || s.Changes == nil || len(s.Changes) > 0 {
		t.Errorf("%+v, %v; want an empty list", s.Changes, err)
	}
	lag, err := w.table.Lag(t.Context(), w.log(0))
	if want := (lake.Lag{Shard: w.log(0).Shard, Segments: 1, Rows: 10,
		Oldest: time.Hour - 21*time.Second - 40*time.Millisecond}); err != nil || lag != want {
		t.Errorf("%+v, want %+v, %v", lag, want, err)
	}
}
