package lake

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
	"fanwatch/objstore"
	"fanwatch/testsuite/readings"
)

var benchStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func benchFleet(b *testing.B, fans, windows int) *readings.Fleet {
	b.Helper()
	fleet, err := readings.New(fans, windows, benchStart, 1)
	if err != nil {
		b.Fatal(err)
	}
	return fleet
}

func benchTable(b *testing.B) (*Table, *objstore.Dir) {
	b.Helper()
	dir := b.TempDir()
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		b.Fatal(err)
	}
	cat, done, err := OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = done() })
	t, err := OpenTable(b.Context(), TableConfig{Catalog: cat, Store: store, Location: "file://" + store.Root()})
	if err != nil {
		b.Fatal(err)
	}
	return t, store
}

// register enters data files into the table as a commit does.
func (t *Table) register(b *testing.B, files []iceberg.DataFile) {
	b.Helper()
	tbl, err := t.load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.AddDataFiles(b.Context(), files, nil, table.WithoutDuplicateCheck(),
		table.WithoutAutoNameMapping()); err != nil {
		b.Fatal(err)
	}
	if _, err := tx.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// put stores a data file and describes it.
func (t *Table) put(b *testing.B, rows []fanwatch.Row) iceberg.DataFile {
	b.Helper()
	f := rowfile.NewWriter(toDay(rows[0].Time))
	for i := range rows {
		s := rowfile.RowOf(&rows[i])
		if err := f.Add(&s); err != nil {
			b.Fatal(err)
		}
	}
	tbl, err := t.load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	df, err := t.storeFile(b.Context(), tbl, f)
	if err != nil {
		b.Fatal(err)
	}
	return df
}

func toDay(t time.Time) int32 { return rowfile.DayOf(t.UnixMicro()) }

// minute returns a minute's readings of a fleet, sorted.
func minute(fleet *readings.Fleet, m int) []fanwatch.Row {
	var rows []fanwatch.Row
	for fan := range fleet.Fans() {
		for s := range 60 {
			rows = append(rows, fleet.Row(fan, m*60+s))
		}
	}
	return rows
}

// BenchmarkCommit commits a minute of a fleet to a table of 10,000 files.
func BenchmarkCommit(b *testing.B) {
	const fans, minutes, files = 84, 60, 10_000
	t, store := benchTable(b)
	fleet := benchFleet(b, fans, minutes*60)
	like := t.put(b, minute(fleet, 0))
	tbl, err := t.load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var many []iceberg.DataFile
	for i := range files {
		nd, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData, fmt.Sprintf("%s/%s", t.cfg.Location,
			t.newFileKey(int32(i/100))), iceberg.ParquetFile,
			map[int]any{partitionField: iceberg.Date(int32(i / 100))}, map[int]string{partitionField: "date"}, nil, like.Count(),
			like.FileSizeBytes())
		if err != nil {
			b.Fatal(err)
		}
		many = append(many, nd.ValueCounts(like.ValueCounts()).NullValueCounts(like.NullValueCounts()).LowerBoundValues(
			like.LowerBoundValues()).UpperBoundValues(like.UpperBoundValues()).Build())
	}
	for part := range slices.Chunk(many, 100) {
		t.register(b, part)
	}
	logs := []landing.Log{{Store: store, Stream: "readings", Shard: fleet.Shard(0)}, {Store: store, Stream: "readings",
		Shard: fleet.Shard(1)}}
	land := func(m int) {
		for i, log := range logs {
			s := landing.Segment{Header: landing.Header{After: fanwatch.SequenceNumber(fmt.Sprint(m)),
				Last: fanwatch.SequenceNumber(fmt.Sprint(m + 1)), Writer: landing.Token{Scheduled: 1, Attempt: 1, Run: "r"}}}
			for _, r := range minute(fleet, m%minutes) {
				if r.Position.Shard == fleet.Shard(i) {
					r.Position.Sequence = s.Last
					s.Rows = append(s.Rows, r)
				}
			}
			if err := log.Append(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
	}
	var took []time.Duration
	var cpu time.Duration
	for m := 0; b.Loop(); m++ {
		b.StopTimer()
		land(m)
		b.StartTimer()
		began, before := time.Now(), cpuTime()
		if r, err := t.Commit(b.Context(), logs); err != nil || r.Rows != fans*60 {
			b.Fatalf("%+v, %v", r, err)
		}
		took, cpu = append(took, time.Since(began)), cpu+cpuTime()-before
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*9/10].Seconds()*1000, "p90-ms")
	b.ReportMetric(cpu.Seconds()*1000/float64(len(took)), "cpu-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPointQuery asks for one fan's day, in 1,000 points, of 50 million rows: 584 fans' day in files of up to
// 8 million rows, as compactions leave them.
func BenchmarkPointQuery(b *testing.B) {
	const fans, windows, fansPerFile = 584, 86_400, 92
	t, _ := benchTable(b)
	fleet := benchFleet(b, fans, windows)
	var files []iceberg.DataFile
	for first := 0; first < fans; first += fansPerFile {
		f := rowfile.NewWriter(toDay(benchStart))
		for fan := first; fan < min(first+fansPerFile, fans); fan++ {
			for w := range windows {
				row := fleet.Row(fan, w)
				s := rowfile.RowOf(&row)
				if err := f.Add(&s); err != nil {
					b.Fatal(err)
				}
			}
		}
		tbl, err := t.load(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		df, err := t.storeFile(b.Context(), tbl, f)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, df)
	}
	t.register(b, files)
	var names []string
	for fan := range fans {
		names = append(names, fleet.Name(fan))
	}
	fleet = nil // or the collector would look through it again and again
	runtime.GC()
	ask := func(fan int) {
		points, err := t.Query(b.Context(), names[fan], benchStart, benchStart.Add(24*time.Hour), 1000)
		n := 0
		for _, p := range points {
			n += p.Count
		}
		if err != nil || n < windows-2 {
			b.Fatalf("%d rows, %v", n, err)
		}
	}
	before := cpuTime()
	for fan := 0; fan < fans; fan += fansPerFile {
		ask(fan) // and so reads every file's end
	}
	cold := cpuTime() - before
	before = cpuTime()
	n := 0
	for ; b.Loop(); n++ {
		ask(n * 7 % fans)
	}
	b.ReportMetric((cpuTime()-before).Seconds()*1000/float64(n), "cpu-ms")
	b.ReportMetric(cold.Seconds()*1000/float64(len(files)), "cold_cpu-ms")
	b.ReportMetric(0, "ns/op")
}
