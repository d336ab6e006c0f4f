package lake_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/testsuite/versions"
)

// oldTable leaves the table of two earlier programs, with ten readings of each, of fan-a, run 7, from 1 on.
func oldTable(t testing.TB, dir string) {
	t.Helper()
	rows := window(0, "fan-a", 7, 1, 20).Rows
	for i := range rows {
		rows[i].Arrived = midnight
	}
	if err := versions.Leave(t.Context(), dir, rows[:10], rows[10:]); err != nil {
		t.Fatal(err)
	}
}

// TestATableOfEarlierVersionsGainsColumns gains the columns that it lacks; what was there reads with zeros in them,
// also behind a compaction that brings all three versions into one file.
func TestATableOfEarlierVersionsGainsColumns(t *testing.T) {
	dir := t.TempDir()
	oldTable(t, dir)
	w := openWorld(t, dir, nil)
	openWorld(t, dir, nil) // again: nothing to add
	w.append(t, 0, window(0, "fan-a", 7, 21, 10))
	w.commit(t, w.log(0))
	check := func() {
		t.Helper()
		rows := w.rows(t, "fan-a")
		if len(rows) != 30 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, r := range rows {
			shard, arrived := "", time.UnixMicro(0).UTC()
			switch {
			case i >= 20:
				shard, arrived = w.log(0).Shard, r.Time.Add(40*time.Millisecond)
			case i >= 10:
				arrived = midnight
			}
			if r.Seq != uint64(i+1) || r.Position.Shard != shard || !r.Arrived.Equal(arrived) || r.State != "running" {
				t.Fatalf("row %d: %+v", i, r)
			}
		}
		wantCounts(t, w.counts(t), map[string]int{"fan-a": 30})
	}
	check()
	if r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 3 ||
		r.FilesOut != 1 || r.RowsOut != 30 {
		t.Fatalf("%+v, %v", r, err)
	}
	check()
}

// TestWhatTheJudgeExpectedIsInTheTable comes back from the table as it landed, behind a compaction with files of
// earlier versions too; of rows that were not judged nothing is said. The duty cycle is there, and off is not unknown.
func TestWhatTheJudgeExpectedIsInTheTable(t *testing.T) {
	dir := t.TempDir()
	oldTable(t, dir)
	w := openWorld(t, dir, nil)
	s := window(0, "fan-a", 7, 21, 5)
	s.Rows[0].Judged = fanwatch.Judged{Expected: 1800.3, Low: 1773.3, High: 1827.3, Verdict: "normal"}
	s.Rows[1].Judged = fanwatch.Judged{Expected: 1700.1, Low: 1680, High: 1720.9, Level: -1, Verdict: "speed, jitter"}
	s.Rows[2].Judged = fanwatch.Judged{Level: 2, Verdict: "stopped"}
	s.Rows[2].PWM, s.Rows[3].PWM = fanwatch.NewDuty(0), fanwatch.NewDuty(0.4321)
	s.Rows[4].Kind = fanwatch.RowLate
	w.append(t, 0, s)
	w.commit(t, w.log(0))
	check := func() {
		t.Helper()
		rows := w.rows(t, "fan-a")
		if len(rows) != 25 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, r := range rows {
			want := fanwatch.Row{}
			if i >= 20 {
				want = s.Rows[i-20]
			}
			if r.Judged != want.Judged || r.PWM != want.PWM {
				t.Errorf("row %d: %+v, duty %d, want %+v, duty %d", i, r.Judged, r.PWM, want.Judged, want.PWM)
			}
		}
	}
	check()
	if r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesOut != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	check()
	points, err := w.table.Query(t.Context(), "fan-a", midnight, midnight.Add(time.Minute), 1)
	if err != nil || len(points) != 1 || points[0].Count != 25 || math.Abs(points[0].Expected-1750.2) > 1e-6 ||
		math.Abs(points[0].Low-1726.65) > 1e-6 || math.Abs(points[0].High-1774.1) > 1e-6 {
		t.Errorf("%+v, %v", points, err)
	}
	if fans, err := w.table.Fans(t.Context(), midnight, time.Time{}); err != nil ||
		!slices.Equal(fans, []string{"fan-a"}) {
		t.Errorf("fans %v, %v", fans, err)
	}
	if fans, err := w.table.Fans(t.Context(), midnight.Add(24*time.Hour), time.Time{}); err != nil || len(fans) != 0 {
		t.Errorf("fans of another day %v, %v", fans, err)
	}
}

func TestATableOfALaterVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	openWorld(t, dir, nil)
	cat, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", "readings"})
	if err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.SetProperties(iceberg.Properties{"fanwatch.version": "5"}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := lake.OpenTable(t.Context(), lake.TableConfig{Catalog: cat, Store: openDir(t),
		Location: "file:///nowhere"}); err == nil {
		t.Error("a table of version 5 was opened")
	}
}
