package lake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
)

// TableConfig says where the table lives.
type TableConfig struct {
	Catalog catalog.Catalog
	Store   Store
	// Location is the URI at which Iceberg finds the Store's root: s3://bucket, or file:///dir for a Dir.
	// The catalog's own file access must reach it too.
	Location string
	// Namespace of the table "readings"; "" = fanwatch.
	Namespace string
	// RoundRows is about how many readings one Commit takes; 0 = 500,000, which need some 200 MB. Fewer:
	// less memory, more commits when catching up.
	RoundRows int
	Now       fanwatch.Clock // nil = time.Now
}

// Table is the Apache Iceberg table of readings: what the landing logs hold, once, sorted by fan and time,
// one partition per day. Everything of it lies in the Store below tables/<namespace>/readings.
//
// All methods may be called concurrently and from several processes: each loads the table's newest state
// from the catalog, and a change that meets another's is made again on top of it. Still a table wants one
// committer, or they keep redoing each other's work: Commit and Apply belong to it. Whatever else wants the
// table changed leaves a plan for Apply.
type Table struct {
	iceTable
	followers []*iceTable // those that are fed from the same logs, one transaction each

	indexes indexCache
	live    liveCache
	columns sync.Pool // of *[]vector, for queries
}

// iceTable is what all tables of the lake share: an Iceberg table with a layout of its own in the catalog.
type iceTable struct {
	cfg    TableConfig
	layout layout
	ident  table.Identifier
	root   string // key prefix of the table in the Store, without a slash at the end
}

// layout says what a table looks like. Every table is partitioned by the day of its column 1, a time.
type layout struct {
	name   string
	schema *iceberg.Schema
	sort   []int // IDs of the columns by which files are sorted, ascending
}

// The table's properties that are ours. Offsets are TABLE properties, never a snapshot's summary: there
// they would vanish with the next compaction's snapshot.
const (
	propVersion = "fanwatch.version"
	propOffset  = "fanwatch.offset."  // + stream/shard: last sequence number of the last segment in the table
	propExpired = "fanwatch.expired." // + stream/shard: up to here all segments with rows are tombstones
	propRetired = "fanwatch.retired"  // key of the ledger of rows that left the table by age
)

// TableVersion is the version of the tables' layout that this program writes. A later version adds columns,
// numbered on, and changes nothing else. A table of an earlier version gains them when it is opened; its
// files stay as they are, and rows of theirs read as null there (in Go: as zero). A table of a later version
// is refused.
const TableVersion = 1

const partitionField = 1000 // ID of the field time_day; Iceberg numbers partition fields from 1000

// OpenTable opens the table, creating it where it is missing and adding columns that it lacks. Of several
// that create it at once one wins and all get the same table.
func OpenTable(ctx context.Context, cfg TableConfig) (*Table, error) {
	t, err := openIce(ctx, cfg, layout{"readings", tableSchema(), []int{2, 1}})
	if err != nil {
		return nil, err
	}
	return &Table{iceTable: t}, nil
}

func openIce(ctx context.Context, cfg TableConfig, l layout) (iceTable, error) {
	if cfg.Catalog == nil || cfg.Store == nil || cfg.Location == "" || strings.HasSuffix(cfg.Location, "/") {
		return iceTable{}, fmt.Errorf("table: catalog, store and location (without a slash at its end) are needed, location is %q", cfg.Location)
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "fanwatch"
	}
	if cfg.RoundRows == 0 {
		cfg.RoundRows = 500_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := iceTable{cfg: cfg, layout: l, ident: table.Identifier{cfg.Namespace, l.name}, root: "tables/" + cfg.Namespace + "/" + l.name}
	if err := CheckKey(t.root); err != nil || strings.ContainsAny(cfg.Namespace, "./") {
		return iceTable{}, fmt.Errorf("table: namespace %.80q: use letters, digits and '_'", cfg.Namespace)
	}
	tbl, err := t.load(ctx)
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		tbl, err = t.create(ctx)
	}
	if err == nil {
		tbl, err = t.evolve(ctx, tbl)
	}
	if err != nil {
		return iceTable{}, err
	}
	return t, t.checkLayout(tbl)
}

func (t *iceTable) create(ctx context.Context) (*table.Table, error) {
	failed := t.cfg.Catalog.CreateNamespace(ctx, table.Identifier{t.cfg.Namespace}, nil)
	if errors.Is(failed, catalog.ErrNamespaceAlreadyExists) {
		failed = nil
	}
	if failed == nil {
		spec := iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{1}, FieldID: partitionField, Name: "time_day", Transform: iceberg.DayTransform{}})
		var fields []table.SortField
		for _, id := range t.layout.sort {
			fields = append(fields, table.SortField{SourceIDs: []int{id}, Transform: iceberg.IdentityTransform{}, Direction: table.SortASC, NullOrder: table.NullsFirst})
		}
		order, err := table.NewSortOrder(1, fields)
		if err != nil {
			return nil, fmt.Errorf("table: %w", err)
		}
		_, failed = t.cfg.Catalog.CreateTable(ctx, t.ident, t.layout.schema, catalog.WithLocation(t.cfg.Location+"/"+t.root),
			catalog.WithPartitionSpec(&spec), catalog.WithSortOrder(order), catalog.WithProperties(iceberg.Properties{
				propVersion:                               fmt.Sprint(TableVersion),
				table.ManifestMergeEnabledKey:             "true", // or every commit adds a manifest for ever
				table.MetadataDeleteAfterCommitEnabledKey: "true",
				table.MetadataPreviousVersionsMaxKey:      "100",
				table.CommitNumRetriesKey:                 "0", // a conflict means a new transaction from the new offsets, never the old one again
			}))
	}
	// Catalogs word a lost race to create in different ways: whoever can load the table has what it wanted.
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, errors.Join(wrap(failed, "table: create"), err)
	}
	return tbl, nil
}

// evolve adds the columns that a table of an earlier version lacks. Of several that do it at once one wins.
func (t *iceTable) evolve(ctx context.Context, tbl *table.Table) (*table.Table, error) {
	var errs []error
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		version, err := strconv.Atoi(tbl.Properties()[propVersion])
		if err != nil || version > TableVersion {
			return tbl, nil // checkLayout says what is wrong
		}
		var missing []iceberg.NestedField
		for _, f := range t.layout.schema.Fields() {
			if _, ok := tbl.Schema().FindFieldByName(f.Name); !ok {
				missing = append(missing, f)
			}
		}
		if len(missing) == 0 && version == TableVersion {
			return tbl, nil
		}
		if _, err = t.addColumns(ctx, tbl, missing); err != nil {
			errs = append(errs, err)
		}
		if tbl, err = t.load(ctx); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
	}
	return nil, fmt.Errorf("table %s: columns could not be added: %w", strings.Join(t.ident, "."), errors.Join(errs...))
}

// addColumns adds columns in the order of their IDs: the catalog numbers them on. Rows that are there
// already have no value for them, so they are never required.
func (t *iceTable) addColumns(ctx context.Context, tbl *table.Table, missing []iceberg.NestedField) (*table.Table, error) {
	tx := tbl.NewTransaction()
	if err := tx.SetProperties(iceberg.Properties{propVersion: fmt.Sprint(TableVersion)}); err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		change := tx.UpdateSchema(true, false)
		for _, f := range missing {
			change.AddColumn([]string{f.Name}, f.Type, f.Doc, false, nil)
		}
		if err := change.Commit(); err != nil {
			return nil, err
		}
	}
	return tx.Commit(ctx)
}

func tableSchema() *iceberg.Schema {
	p := iceberg.PrimitiveTypes
	field := func(id int, name string, typ iceberg.Type, doc string) iceberg.NestedField {
		return iceberg.NestedField{ID: id, Name: name, Type: typ, Required: true, Doc: doc}
	}
	anomaly := field(10, "anomaly", p.String, "the fan's state after this reading; null: well")
	anomaly.Required = false
	return iceberg.NewSchema(0,
		field(1, "time", p.TimestampTz, "end of the measuring window"),
		field(2, "fan_id", p.String, ""),
		field(3, "run", p.Int64, "publisher's process, a random number; 0: the demo's format"),
		field(4, "seq", p.Int64, "counts within the run from 1; with run 0 the time in Unix microseconds"),
		field(5, "rpm", p.Float64, "revolutions per minute, to within 1e-5 of what was measured"),
		field(6, "hz", p.Float64, "tacho pulses per second"),
		field(7, "jitter", p.Float64, "standard deviation of the pulse periods over their mean"),
		field(8, "score", p.Float64, "of the forest, to 0.001; 0: not scored"),
		field(9, "state", p.String, "running, starting, stalled or no-signal"),
		anomaly,
		field(11, "late", p.Bool, "older than what the model had seen, so not fed to it"),
		field(12, "edges", p.Int64, "falling edges in the window"),
		field(13, "glitch", p.Int64, "edges rejected as glitches"),
		field(14, "lost", p.Int64, "edges that the kernel dropped"),
		field(15, "unsynch", p.Bool, "the device's clock was not synchronised: time is arrival minus age"),
		field(16, "arrived", p.TimestampTz, "at the stream or the broker"),
		field(17, "shard", p.String, ""),
	)
}

// checkLayout sees that the catalog's table is one that this program can write: a catalog may number
// fields anew, and a person may have made the table by hand.
func (t *iceTable) checkLayout(tbl *table.Table) error {
	if v := tbl.Properties()[propVersion]; v != fmt.Sprint(TableVersion) {
		return fmt.Errorf("table %s: layout version %.20q is unknown, this program knows %d", strings.Join(t.ident, "."), v, TableVersion)
	}
	for _, want := range t.layout.schema.Fields() {
		got, ok := tbl.Schema().FindFieldByName(want.Name)
		if !ok || got.ID != want.ID || !got.Type.Equals(want.Type) {
			return fmt.Errorf("table %s: column %s is not the one this program writes: let it create the table itself, or use another namespace", strings.Join(t.ident, "."), want.Name)
		}
	}
	if spec := tbl.Spec(); spec.NumFields() != 1 || spec.Field(0).FieldID != partitionField {
		return fmt.Errorf("table %s: it is not partitioned by the day of time alone", strings.Join(t.ident, "."))
	}
	return nil
}

func (t *iceTable) load(ctx context.Context) (*table.Table, error) {
	tbl, err := t.cfg.Catalog.LoadTable(ctx, t.ident)
	return tbl, wrap(err, "table %s: load", strings.Join(t.ident, "."))
}

// liveFiles gives the data files of the table's current snapshot.
func liveFiles(ctx context.Context, tbl *table.Table) iter.Seq2[iceberg.DataFile, error] {
	return func(yield func(iceberg.DataFile, error) bool) {
		snapshot := tbl.CurrentSnapshot()
		if snapshot == nil {
			return
		}
		fs, err := tbl.FS(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("table's files: %w", err))
			return
		}
		manifests, err := snapshot.Manifests(fs)
		if err != nil {
			yield(nil, fmt.Errorf("table's files: %w", err))
			return
		}
		for _, m := range manifests {
			for entry, err := range m.Entries(fs, true) {
				if err != nil {
					yield(nil, fmt.Errorf("table's files: manifest %s: %w", m.FilePath(), err))
					return
				}
				if entry.DataFile().ContentType() != iceberg.EntryContentData {
					yield(nil, fmt.Errorf("table's files: %s holds deletes (merge on read), which fanwatch does not apply: have the program that wrote it rewrite the table's data files", entry.DataFile().FilePath()))
					return
				}
				if !yield(entry.DataFile(), ctx.Err()) || ctx.Err() != nil {
					return
				}
			}
		}
	}
}

// key gives the Store's key of one of the table's files.
func (t *iceTable) key(path string) (string, error) {
	key, ok := strings.CutPrefix(path, t.cfg.Location+"/")
	if !ok {
		return "", fmt.Errorf("table: file %.200s lies outside %s", path, t.cfg.Location)
	}
	return key, nil
}

func offsetKey(l Log) string { return propOffset + l.Stream + "/" + l.Shard }

// offset gives the last sequence number of the shard's last segment that is in the table.
func offset(tbl *table.Table, l Log) (fanwatch.SequenceNumber, error) {
	text, ok := tbl.Properties()[offsetKey(l)]
	if !ok {
		return "0", nil
	}
	at, err := fanwatch.ParseSequenceNumber(text)
	return at, wrap(err, "table property %s", offsetKey(l))
}
