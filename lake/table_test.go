package lake_test

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// world is a store, a catalog and the table in them, as another process would open them.
type world struct {
	dir   string
	store *objstore.Dir
	table *lake.Table
}

func openWorld(t testing.TB, dir string, change func(*lake.TableConfig)) world {
	t.Helper()
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	cat, closeCatalog, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeCatalog() })
	cfg := lake.TableConfig{Catalog: cat, Store: store, Location: "file://" + store.Root()}
	if change != nil {
		change(&cfg)
	}
	tbl, err := lake.OpenTable(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return world{dir, store, tbl}
}

func (w world) log(shard int) landing.Log {
	return landing.Log{Store: w.store, Stream: "readings", Shard: fmt.Sprintf("shardId-%012d", shard)}
}

func (w world) append(t testing.TB, shard int, s landing.Segment) {
	t.Helper()
	if err := w.log(shard).Append(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func (w world) commit(t testing.TB, logs ...landing.Log) lake.CommitResult {
	t.Helper()
	r, err := w.table.Commit(t.Context(), logs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rows returns all rows of a fan, as the table orders them.
func (w world) rows(t testing.TB, fan string) []fanwatch.Row {
	t.Helper()
	var rows []fanwatch.Row
	for r, err := range w.table.Rows(t.Context(), fan, time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func TestACommitAddsEachReadingOnce(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	if r := w.commit(t, w.log(0), w.log(1)); r != (lake.CommitResult{}) {
		t.Fatalf("nothing landed, committed %+v", r)
	}
	a := window(0, "fan-a", 7, 1, 100)
	a.Rows[3].Kind, a.Rows[3].Anomaly, a.Rows[3].Score = fanwatch.RowLate, fanwatch.KindUnusual, 3.14159
	a.Rows[4].Kind, a.Rows[4].Reading = fanwatch.RowQuarantined, fanwatch.Reading{}
	a.Rows[5].Time = midnight.Add(-time.Microsecond) // the day before
	w.append(t, 0, a)
	w.append(t, 1, window(0, "fan-b", 8, 1, 50))
	if r := w.commit(t, w.log(0), w.log(1)); r != (lake.CommitResult{Segments: 2, Rows: 149, Files: 2}) {
		t.Fatalf("committed %+v", r)
	}
	if r := w.commit(t, w.log(0), w.log(1)); r != (lake.CommitResult{}) {
		t.Fatalf("again: committed %+v", r)
	}
	w.append(t, 0, window(100, "fan-a", 7, 101, 10))
	// nothing but duplicates
	w.append(t, 1, landing.Segment{Header: landing.Header{After: "50", Last: "60", Writer: older}})
	if r := w.commit(t, w.log(0), w.log(1)); r != (lake.CommitResult{Segments: 2, Rows: 10, Files: 1}) {
		t.Fatalf("committed %+v", r)
	}
	w.append(t, 1, window(60, "fan-b", 8, 51, 5))
	if r := w.commit(t, w.log(1), w.log(0)); r != (lake.CommitResult{Segments: 1, Rows: 5, Files: 1}) {
		t.Fatalf("committed %+v", r)
	}

	got := w.rows(t, "fan-a")
	var want []fanwatch.Row
	for i, r := range append(slices.Clone(a.Rows), window(100, "fan-a", 7, 101, 10).Rows...) {
		if i == 4 {
			continue
		}
		want = append(want, asTabled(r, w.log(0).Shard))
	}
	slices.SortFunc(want, func(a, b fanwatch.Row) int { return a.Time.Compare(b.Time) })
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("rows\n%+v, want\n%+v", got, want)
	}
	if got := w.rows(t, "fan-b"); len(got) != 55 {
		t.Fatalf("%d rows of fan-b", len(got))
	}
}

// asTabled is what the table keeps of a row.
func asTabled(r fanwatch.Row, shard string) fanwatch.Row {
	r.Position = fanwatch.Position{Shard: shard}
	r.Score = float64(int64(r.Score*1000+0.5)) / 1000
	r.Client, r.Acked, r.Dropped, r.Reason, r.Payload = "", 0, 0, "", nil
	return r
}

func TestRowsAreThoseOfThePeriod(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 5 {
		s := window(i*2000, fmt.Sprint("fan-", i), 7, 1, 2000)
		w.append(t, 0, s)
		w.append(t, 1, window(i*2000, "fan-2", 9, 1+i*2000, 2000))
	}
	w.commit(t, w.log(0), w.log(1))
	n := 0
	last := time.Time{}
	for r, err := range w.table.Rows(t.Context(), "fan-2", midnight.Add(100*time.Second), midnight.Add(5000*time.Second)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Fan != "fan-2" || r.Time.Before(midnight.Add(100*time.Second)) ||
			!r.Time.Before(midnight.Add(5000*time.Second)) || r.Time.Before(last) {
			t.Fatalf("row %+v", r)
		}
		last = r.Time
		n++
	}
	if want := 1901 + 4900; n != want {
		t.Fatalf("%d rows, want %d", n, want)
	}
	for range w.table.Rows(t.Context(), "fan-2", time.Time{}, time.Time{}) {
		break // stopping early is no trouble
	}
}

func TestALongLogIsCommittedInBatches(t *testing.T) {
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.BatchRows = 150 })
	for i := range 5 {
		w.append(t, 0, window(i*100, "fan-a", 7, 1+i*100, 100))
		w.append(t, 1, window(i*100, "fan-b", 8, 1+i*100, 100))
	}
	rows := 0
	for more := true; more; {
		r := w.commit(t, w.log(0), w.log(1))
		if r.Rows > 200 {
			t.Fatalf("a batch of %d rows", r.Rows)
		}
		rows, more = rows+r.Rows, r.More
	}
	if rows != 1000 || len(w.rows(t, "fan-a")) != 500 || len(w.rows(t, "fan-b")) != 500 {
		t.Fatalf("%d rows", rows)
	}
}

func TestCopiesWithinABatchAreDropped(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	w.append(t, 0, window(0, "fan-a", 7, 1, 100))
	again := window(0, "fan-a", 7, 51, 100) // after a reshard both shards may hold a reading
	for i := range again.Rows {
		again.Rows[i].Time = again.Rows[i].Time.Add(24 * time.Hour) // dated anew: the device's clock was off
	}
	w.append(t, 1, again)
	if r := w.commit(t, w.log(0), w.log(1)); r != (lake.CommitResult{Segments: 2, Rows: 150, Duplicates: 50, Files: 2}) {
		t.Fatalf("committed %+v", r)
	}
}

func TestRacingCommittersAddEachReadingOnce(t *testing.T) {
	dir := t.TempDir()
	worlds := []world{openWorld(t, dir, nil), openWorld(t, dir, nil), openWorld(t, dir, nil)}
	logs := []landing.Log{worlds[0].log(0), worlds[0].log(1)}
	for i := range 12 {
		worlds[0].append(t, 0, window(i*10, "fan-a", 7, 1+i*10, 10))
		if i%3 == 0 {
			worlds[0].append(t, 1, landing.Segment{Header: landing.Header{After: number(i / 3), Last: number(i/3 + 1),
				Writer: older}})
		}
		var wg sync.WaitGroup
		for _, w := range worlds {
			wg.Go(func() {
				if _, err := w.table.Commit(context.Background(), logs); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if rows := worlds[1].rows(t, "fan-a"); len(rows) != 10*(i+1) {
			t.Fatalf("round %d: %d rows", i, len(rows))
		}
	}
}

func TestRacingCreatorsGetOneTable(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { openWorld(t, dir, nil) })
	}
	wg.Wait()
	w := openWorld(t, dir, nil)
	w.append(t, 0, window(0, "fan-a", 7, 1, 10))
	w.commit(t, w.log(0))
	if n := len(w.rows(t, "fan-a")); n != 10 {
		t.Fatalf("%d rows", n)
	}
}

// TestDataFilesAreReadByParquetAlone reads the files without this package.
func TestDataFilesAreReadByParquetAlone(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	s := window(0, "fan-b", 7, 1, 100)
	s.Rows = append(window(0, "fan-a", 7, 1, 100).Rows, s.Rows...)
	s.Rows[0].Anomaly = fanwatch.KindStall
	w.append(t, 0, s)
	w.commit(t, w.log(0))
	type row struct {
		Time    time.Time `parquet:"time,timestamp(microsecond)"`
		Fan     string    `parquet:"fan_id"`
		Seq     int64     `parquet:"seq"`
		RPM     float64   `parquet:"rpm"`
		Anomaly *string   `parquet:"anomaly,optional"`
	}
	var rows []row
	for _, path := range dataFiles(t, w) {
		if !strings.Contains(path, "time_day=2026-03-01/") {
			t.Errorf("file %s", path)
		}
		part, err := parquet.ReadFile[row](path)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, part...)
	}
	if len(rows) != 200 || !slices.IsSortedFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Fan, b.Fan),
			a.Time.Compare(b.Time))
	}) {
		t.Fatalf("%d rows, or not sorted", len(rows))
	}
	if r := rows[0]; r.Fan != "fan-a" || r.Seq != 1 || !r.Time.Equal(midnight.Add(time.Second)) || r.RPM != 1801 ||
		r.Anomaly == nil || *r.Anomaly != "stall" || rows[1].Anomaly != nil {
		t.Fatalf("first row %+v, second %+v", r, rows[1])
	}
}

// dataFiles returns the paths of all data files in the store, live or not.
func dataFiles(t testing.TB, w world) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(w.store.Root(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "/data/") && !e.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

// counts returns rows per fan by Table.Counts, and sees that nothing is there twice.
func (w world) counts(t testing.TB) map[string]int {
	t.Helper()
	counts, err := w.table.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]int)
	for _, c := range counts {
		if c.Duplicates != 0 || c.Rows != c.Distinct {
			t.Fatalf("duplicates in the table: %+v", c)
		}
		rows[c.Fan] += c.Rows
	}
	return rows
}

func wantCounts(t testing.TB, got, want map[string]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("counts %v, want %v", got, want)
	}
}

// list returns the keys of a listing.
func list(t *testing.T, store objstore.Store, prefix, after string) []string {
	t.Helper()
	var keys []string
	for o, err := range store.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

var (
	midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	older    = landing.Token{Scheduled: 100, Attempt: 1, Run: "a"}
)

func openDir(t testing.TB) *objstore.Dir {
	t.Helper()
	d, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// window makes a segment of n readings of the run, seq from first on, one a second, spread over the
// sequence numbers (after, after+n].
func window(after int, fan string, run uint64, first, n int) landing.Segment {
	s := landing.Segment{Header: landing.Header{After: number(after), Last: number(after + n), Writer: older}}
	for i := range n {
		seq := uint64(first + i)
		s.Rows = append(s.Rows, fanwatch.Row{
			Kind: fanwatch.RowScored,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan, Run: run, Seq: seq},
				Time: midnight.Add(time.Duration(seq) * time.Second),
				RPM:  1800 + float64(seq%7), Hz: 60, Jitter: 0.01, Edges: 60, State: fanwatch.StateRunning},
			Position: fanwatch.Position{Sequence: number(after + i + 1)}, Arrived: midnight.Add(time.Duration(seq)*time.Second +
				40*time.Millisecond),
			Client: fan, Score: 0.5 + float64(seq%11)/16, Acked: seq - 1,
		})
	}
	return s
}

func number(n int) fanwatch.SequenceNumber { return fanwatch.SequenceNumber(fmt.Sprint(n)) }
