package lake_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch/lake"
)

// early is a row as the first of two programs before this one would have written it: without arrived and shard.
type early struct {
	Time    int64   `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string  `parquet:"fan_id,id(2),dict"`
	Run     int64   `parquet:"run,id(3),dict"`
	Seq     int64   `parquet:"seq,id(4),delta"`
	RPM     float64 `parquet:"rpm,id(5),dict"`
	Hz      float64 `parquet:"hz,id(6),dict"`
	Jitter  float64 `parquet:"jitter,id(7),dict"`
	Score   float64 `parquet:"score,id(8),dict"`
	State   string  `parquet:"state,id(9),dict"`
	Anomaly *string `parquet:"anomaly,id(10),dict,optional"`
	Late    bool    `parquet:"late,id(11)"`
	Edges   int64   `parquet:"edges,id(12),dict"`
	Glitch  int64   `parquet:"glitch,id(13),dict"`
	Lost    int64   `parquet:"lost,id(14),dict"`
	Unsynch bool    `parquet:"unsynch,id(15)"`
}

// middle is the same of the second: it knew arrived.
type middle struct {
	early
	Arrived int64 `parquet:"arrived,id(16),timestamp(microsecond),delta"`
}

func earlyRow(seq int) early {
	return early{Time: midnight.Add(time.Duration(seq) * time.Second).UnixMicro(), Fan: "fan-a", Run: 7, Seq: int64(seq), RPM: 1800, State: "running"}
}

// appendOld stores the rows as a file of one day and commits it, as a program of its time.
func appendOld[T any](t testing.TB, w world, cat catalog.Catalog, rows []T) {
	t.Helper()
	tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", "readings"})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	pw := parquet.NewGenericWriter[T](&buf, parquet.Compression(&parquet.Zstd))
	if _, err := pw.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("tables/fanwatch/readings/data/time_day=2026-03-01/old-%d.parquet", buf.Len())
	if err := w.store.Put(t.Context(), key, buf.Bytes(), true); err != nil {
		t.Fatal(err)
	}
	day := iceberg.Date(midnight.Unix() / 86400)
	b, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData, "file://"+filepath.Join(w.store.Root(), key), iceberg.ParquetFile,
		map[int]any{1000: day}, map[int]string{1000: "date"}, nil, int64(len(rows)), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{b.Build()}, nil, table.WithoutDuplicateCheck(), table.WithoutAutoNameMapping()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// oldTable makes the table that the first of the two programs would have left, with ten rows, brings it to the
// second's version and adds ten of its rows.
func oldTable(t testing.TB, dir string) {
	t.Helper()
	store, err := lake.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	cat, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"fanwatch"}, nil); err != nil {
		t.Fatal(err)
	}
	p := iceberg.PrimitiveTypes
	var fields []iceberg.NestedField
	for i, c := range []struct {
		name string
		typ  iceberg.Type
	}{{"time", p.TimestampTz}, {"fan_id", p.String}, {"run", p.Int64}, {"seq", p.Int64}, {"rpm", p.Float64}, {"hz", p.Float64}, {"jitter", p.Float64}, {"score", p.Float64},
		{"state", p.String}, {"anomaly", p.String}, {"late", p.Bool}, {"edges", p.Int64}, {"glitch", p.Int64}, {"lost", p.Int64}, {"unsynch", p.Bool}} {
		fields = append(fields, iceberg.NestedField{ID: i + 1, Name: c.name, Type: c.typ, Required: c.name != "anomaly"})
	}
	spec := iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{1}, FieldID: 1000, Name: "time_day", Transform: iceberg.DayTransform{}})
	tbl, err := cat.CreateTable(t.Context(), table.Identifier{"fanwatch", "readings"}, iceberg.NewSchema(0, fields...), catalog.WithLocation("file://"+store.Root()+"/tables/fanwatch/readings"),
		catalog.WithPartitionSpec(&spec), catalog.WithProperties(iceberg.Properties{"fanwatch.version": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	w := world{dir: dir, store: store}
	var first []early
	var second []middle
	for i := range 10 {
		first = append(first, earlyRow(1+i))
		second = append(second, middle{earlyRow(11 + i), midnight.UnixMicro()})
	}
	appendOld(t, w, cat, first)
	if tbl, err = cat.LoadTable(t.Context(), tbl.Identifier()); err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.UpdateSchema(true, false).AddColumn([]string{"arrived"}, p.TimestampTz, "", false, nil).Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendOld(t, w, cat, second)
}

// TestATableOfEarlierVersions gains the columns that it lacks; what was there reads with zeros in them, also
// behind a compaction that brings all three versions into one file.
func TestATableOfEarlierVersions(t *testing.T) {
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
	if r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 3 || r.FilesOut != 1 || r.RowsOut != 30 {
		t.Fatalf("%+v, %v", r, err)
	}
	check()
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
	if err := tx.SetProperties(iceberg.Properties{"fanwatch.version": "2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := lake.OpenTable(t.Context(), lake.TableConfig{Catalog: cat, Store: openDir(t), Location: "file:///nowhere"}); err == nil {
		t.Error("a table of version 2 was opened")
	}
}
