package lake_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake"
)

// alertRowV3 is a row of the table alerts as programs of layout version 3 wrote it.
type alertRowV3 struct {
	Opened  int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string `parquet:"fan_id,id(2),dict"`
	ID      string `parquet:"alert_id,id(3)"`
	Kind    string `parquet:"kind,id(4),dict"`
	Site    string `parquet:"site,id(5),dict"`
	Why     string `parquet:"why,id(6)"`
	Step    int64  `parquet:"step,id(7)"`
	Told    int64  `parquet:"told,id(8)"`
	AckedBy string `parquet:"acked_by,id(9),dict,optional"`
	AckedAt int64  `parquet:"acked_at,id(10),timestamp(microsecond),optional"`
	Note    string `parquet:"note,id(11),optional"`
	Ended   int64  `parquet:"ended,id(12),timestamp(microsecond)"`
}

// TestATableOfAlertsOfVersion3GainsTheStory: its rows stay, with nothing in the new columns, beside new ones that have
// them.
func TestATableOfAlertsOfVersion3GainsTheStory(t *testing.T) {
	dir := t.TempDir()
	w := openWorld(t, dir, nil)
	cat, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	p := iceberg.PrimitiveTypes
	var fields []iceberg.NestedField
	for i, c := range []struct {
		name     string
		typ      iceberg.Type
		optional bool
	}{{"time", p.TimestampTz, false}, {"fan_id", p.String, false}, {"alert_id", p.String, false},
		{"kind", p.String, false}, {"site", p.String, false}, {"why", p.String, false}, {"step", p.Int64, false},
		{"told", p.Int64, false}, {"acked_by", p.String, true}, {"acked_at", p.TimestampTz, true}, {"note", p.String, true},
		{"ended", p.TimestampTz, false}} {
		fields = append(fields, iceberg.NestedField{ID: i + 1, Name: c.name, Type: c.typ, Required: !c.optional})
	}
	spec := iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{1}, FieldID: 1000, Name: "time_day",
		Transform: iceberg.DayTransform{}})
	tbl, err := cat.CreateTable(t.Context(), table.Identifier{"fanwatch", "alerts"}, iceberg.NewSchema(0, fields...),
		catalog.WithLocation("file://"+w.store.Root()+"/tables/fanwatch/alerts"), catalog.WithPartitionSpec(&spec),
		catalog.WithProperties(iceberg.Properties{"fanwatch.version": "3"}))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	f := parquet.NewGenericWriter[alertRowV3](&buf, parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy("fanwatch", "3", "table"), parquet.KeyValueMetadata("fanwatch.version", "3"))
	if _, err := f.Write([]alertRowV3{{Opened: midnight.UnixMicro(), Fan: "fan-1", ID: "alert/fan-1/stall/1",
		Kind: "stall", Why: "It stopped.", Told: 2, AckedBy: "ada", AckedAt: midnight.Add(time.Minute).UnixMicro(),
		Ended: midnight.Add(time.Hour).UnixMicro()}}); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	key := "tables/fanwatch/alerts/data/time_day=" + midnight.Format(time.DateOnly) + "/old.parquet"
	if err := w.store.Put(t.Context(), key, buf.Bytes(), true); err != nil {
		t.Fatal(err)
	}
	b, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData,
		"file://"+filepath.Join(w.store.Root(), key), iceberg.ParquetFile,
		map[int]any{1000: iceberg.Date(midnight.Unix() / (24 * 3600))}, map[int]string{1000: "date"}, nil,
		1, int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{b.Build()}, nil, table.WithoutDuplicateCheck(),
		table.WithoutAutoNameMapping()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}

	tables := openTables(t, w, nil)
	if err := lake.PutAlert(t.Context(), w.store, fanwatch.Alert{V: 2, ID: "alert/fan-2/stall/1", Fan: "fan-2",
		Kind: fanwatch.KindStall, Opened: midnight.Add(time.Second), EndedAt: midnight.Add(time.Hour), EndedBy: "bob",
		State: fanwatch.AlertResolved}); err != nil {
		t.Fatal(err)
	}
	if _, err := tables.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	rows, err := tables.Alerts(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(rows) != 2 || rows[0].AckedBy != "ada" || rows[0].Severity != "" || rows[0].Told != 2 ||
		rows[1].EndedBy != "bob" || rows[1].Severity != "critical" {
		t.Errorf("%+v, %v", rows, err)
	}
}
