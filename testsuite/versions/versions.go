// Package versions leaves a table of readings as programs before this one would have left it, for the tests of
// schema evolution: of the lake's own, and of other readers.
package versions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/objstore"
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
	Anomaly string  `parquet:"anomaly,id(10),dict,optional"`
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

func toEarly(r *fanwatch.Row) early {
	return early{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), RPM: r.RPM, Hz: r.Hz,
		Jitter: r.Jitter, Score: r.Score, State: string(r.State),
		Anomaly: string(r.Anomaly), Late: r.Kind == fanwatch.RowLate, Edges: int64(r.Edges), Glitch: int64(r.Glitch),
		Lost: int64(r.Lost), Unsynch: r.Unsynch}
}

func toMiddle(r *fanwatch.Row) middle { return middle{toEarly(r), r.Arrived.UnixMicro()} }

// Leave makes the table fanwatch.readings in dir (the catalog in catalog.db, the store below objects) that the
// first of the two programs would have left, with one file of the rows of first; brings it to the version of the
// second, and adds one file of the rows of second. The rows of each must be of one day (UTC), in the table's order.
func Leave(ctx context.Context, dir string, first, second []fanwatch.Row) (err error) {
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		return err
	}
	cat, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	tbl, err := create(ctx, cat, "file://"+store.Root()+"/tables/fanwatch/readings")
	if err != nil {
		return err
	}
	if tbl, err = add(ctx, store, tbl, "first", first, toEarly); err != nil {
		return err
	}
	tx := tbl.NewTransaction()
	if err := tx.UpdateSchema(true, false).AddColumn([]string{"arrived"}, iceberg.PrimitiveTypes.TimestampTz, "", false,
		nil).Commit(); err != nil {
		return err
	}
	if tbl, err = tx.Commit(ctx); err != nil {
		return err
	}
	_, err = add(ctx, store, tbl, "second", second, toMiddle)
	return err
}

func create(ctx context.Context, cat catalog.Catalog, location string) (*table.Table, error) {
	if err := cat.CreateNamespace(ctx, table.Identifier{"fanwatch"}, nil); err != nil {
		return nil, err
	}
	p := iceberg.PrimitiveTypes
	var fields []iceberg.NestedField
	for i, c := range []struct {
		name string
		typ  iceberg.Type
	}{{"time", p.TimestampTz}, {"fan_id", p.String}, {"run", p.Int64}, {"seq", p.Int64}, {"rpm", p.Float64},
		{"hz", p.Float64}, {"jitter", p.Float64}, {"score", p.Float64},
		{"state", p.String}, {"anomaly", p.String}, {"late", p.Bool}, {"edges", p.Int64}, {"glitch", p.Int64},
		{"lost", p.Int64}, {"unsynch", p.Bool}} {
		fields = append(fields, iceberg.NestedField{ID: i + 1, Name: c.name, Type: c.typ, Required: c.name != "anomaly"})
	}
	spec := iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{1}, FieldID: 1000, Name: "time_day",
		Transform: iceberg.DayTransform{}})
	return cat.CreateTable(ctx, table.Identifier{"fanwatch", "readings"}, iceberg.NewSchema(0, fields...),
		catalog.WithLocation(location),
		catalog.WithPartitionSpec(&spec), catalog.WithProperties(iceberg.Properties{"fanwatch.version": "0"}))
}

// add stores the rows as a file of one day and commits it, as a program of its time.
func add[T any](ctx context.Context, store *objstore.Dir, tbl *table.Table, name string, rows []fanwatch.Row,
	convert func(*fanwatch.Row) T) (*table.Table, error) {
	var stored []T
	for i := range rows {
		stored = append(stored, convert(&rows[i]))
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("fanwatch", "0", "table"))
	if _, err := w.Write(stored); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	day := rows[0].Time.UTC().Truncate(24 * time.Hour)
	key := fmt.Sprintf("tables/fanwatch/readings/data/time_day=%s/%s.parquet", day.Format(time.DateOnly), name)
	if err := store.Put(ctx, key, buf.Bytes(), true); err != nil {
		return nil, err
	}
	b, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData, "file://"+filepath.Join(store.Root(), key),
		iceberg.ParquetFile,
		map[int]any{1000: iceberg.Date(day.Unix() / (24 * 3600))}, map[int]string{1000: "date"}, nil, int64(len(rows)),
		int64(buf.Len()))
	if err != nil {
		return nil, err
	}
	tx := tbl.NewTransaction()
	if err := tx.AddDataFiles(ctx, []iceberg.DataFile{b.Build()}, nil, table.WithoutDuplicateCheck(),
		table.WithoutAutoNameMapping()); err != nil {
		return nil, err
	}
	return tx.Commit(ctx)
}
