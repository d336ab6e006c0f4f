package lake_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// TestATableThatAnotherProgramRewroteReadsTheSame replaces every data file of three tables as a program that knows
// nothing of their layout would: optional columns in another order, Snappy, pages of the first version, several
// groups, rows the other way round. The tables must read the same, verify, and be compacted to the same.
func TestATableThatAnotherProgramRewroteReadsTheSame(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	logs := []landing.Log{w.log(0), w.log(1)}
	for i := range 3 {
		w.append(t, 0, eventful(i*100, 1+i*100))
		w.append(t, 1, window(i*100, "fan-b", 9, 1+i*100, 100))
		if _, err := tables.Commit(t.Context(), logs); err != nil {
			t.Fatal(err)
		}
	}
	before := everything(t, w, tables)
	for _, name := range []string{"readings", "anomalies", "quarantine"} {
		replaceFiles(t, w, name)
	}
	check := func(when string) {
		t.Helper()
		if after := everything(t, w, tables); !reflect.DeepEqual(after, before) {
			t.Fatalf("%s the tables read\n%+v, before that\n%+v", when, after, before)
		}
		if v, err := tables.Verify(t.Context(), logs, nil); err != nil || !v.OK || v.Compared != 585 {
			t.Fatalf("%s verify says %+v, %v", when, v, err)
		}
	}
	check("rewritten")
	if r, err := tables.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 9 ||
		r.FilesOut != 3 || r.RowsOut != r.RowsIn {
		t.Fatalf("%+v, %v", r, err)
	}
	if a, err := tables.Apply(t.Context()); err != nil || a.Swaps != 3 {
		t.Fatalf("%+v, %v", a, err)
	}
	check("compacted")
}

// content is all that can be asked of the tables.
type content struct {
	Rows       []fanwatch.Row
	Each       []string // rows in words, sorted
	Points     []lake.Point
	Counts     []lake.FanCount
	Anomalies  []lake.Anomaly
	Quarantine []lake.QuarantineRow
}

func everything(t *testing.T, w world, tables *lake.Tables) (c content) {
	t.Helper()
	c.Rows = append(w.rows(t, "fan-a"), w.rows(t, "fan-b")...)
	var errs [5]error
	errs[0] = tables.Each(t.Context(), time.Time{}, time.Time{}, nil, func(r fanwatch.Row) error {
		c.Each = append(c.Each, fmt.Sprintf("%+v", r))
		return nil
	})
	slices.Sort(c.Each)
	c.Points, errs[1] = tables.Query(t.Context(), "fan-a", midnight.Add(20*time.Second), midnight.Add(250*time.Second), 40)
	c.Counts, errs[2] = tables.Counts(t.Context())
	c.Anomalies, errs[3] = tables.Anomalies(t.Context(), time.Time{}, time.Time{})
	c.Quarantine, errs[4] = tables.Quarantine(t.Context(), time.Time{}, time.Time{})
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

// replaceFiles rewrites all data files of a table and swaps them in.
func replaceFiles(t *testing.T, w world, name string) {
	t.Helper()
	cat, done, err := lake.OpenSQLite(filepath.Join(w.dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", name})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := tbl.Scan().PlanFiles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var removed, added []iceberg.DataFile
	for _, task := range tasks {
		old := task.File
		key := strings.TrimPrefix(old.FilePath(), "file://"+w.store.Root()+"/")
		data, err := w.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		data = rewritten(t, data)
		key = strings.TrimSuffix(key, ".parquet") + "-other.parquet"
		if err := w.store.Put(t.Context(), key, data, false); err != nil {
			t.Fatal(err)
		}
		b, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData, "file://"+filepath.Join(w.store.Root(),
			key), iceberg.ParquetFile,
			old.Partition(), map[int]string{1000: "date"}, nil, old.Count(), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		removed, added = append(removed, old), append(added, b.Build())
	}
	tx := tbl.NewTransaction()
	if err := tx.ReplaceDataFilesWithDataFiles(t.Context(), removed, added, nil,
		table.WithoutAutoNameMapping()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// rewritten returns a file's rows in another file.
func rewritten(t *testing.T, data []byte) []byte {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	group := parquet.Group{}
	for _, field := range f.Schema().Fields() {
		group[field.Name()] = parquet.FieldID(parquet.Optional(parquet.Leaf(field.Type())), field.ID())
	}
	schema := parquet.NewSchema("other", group)
	var rows []parquet.Row
	for _, g := range f.RowGroups() {
		r := g.Rows()
		for buf := make([]parquet.Row, 64); ; {
			n, err := r.ReadRows(buf)
			for _, row := range buf[:n] {
				rows = append(rows, row.Clone())
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = r.Close()
	}
	slices.Reverse(rows)
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[any](&buf, schema, parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1),
		parquet.MaxRowsPerRowGroup(30), parquet.PageBufferSize(100))
	for _, row := range rows {
		other := make(parquet.Row, len(row))
		for i, v := range row {
			leaf, _ := schema.Lookup(f.Schema().Columns()[i]...)
			level := 1
			if v.IsNull() {
				level = 0
			}
			other[leaf.ColumnIndex] = v.Level(0, level, leaf.ColumnIndex)
		}
		if _, err := w.WriteRows([]parquet.Row{other}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
