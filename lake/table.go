package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
	"fanwatch/objstore"
)

// TableConfig says where the tables are and how they are committed.
type TableConfig struct {
	Catalog catalog.Catalog
	Store   objstore.Store
	// Location is the URI of the Store's root for Iceberg: s3://bucket, or file:///dir for an objstore.Dir. The
	// catalog's own file access must reach it too.
	Location string
	// Namespace is the namespace of the tables in the catalog; "" = fanwatch.
	Namespace string
	// BatchRows is about how many readings one Commit adds; 0 = 500,000, which need some 200 MB. Fewer: less memory,
	// more commits when catching up.
	BatchRows int
	// OldAfter is how much later than it was measured a reading may arrive and still enter with the next commit; 0 = 7
	// days. Older readings are held back and enter together every OldEvery: each of their days is a file, and one
	// message may have 360 days.
	OldAfter time.Duration
	// OldEvery is how long held readings wait; 0 = 1 day.
	OldEvery time.Duration
	Now      fanwatch.Clock // nil = time.Now
}

// Table is the Apache Iceberg table of readings: the readings of the landing logs, each once, sorted by fan and time,
// one partition a day. Its files are in the Store below tables/NAMESPACE/readings.
//
// All methods may be called concurrently and from several processes: each loads the table's newest state from the
// catalog, and a change that conflicts with another is made again on top of it. Commit and Apply belong to one
// committer: several would repeat each other's work. Every other process stores a plan for Apply.
type Table struct {
	iceTable
	followers []*iceTable // the event tables that are fed from the same logs, in transactions of their own

	indexes rowfile.IndexCache
	live    liveCache
}

// iceTable is the part that all tables of the lake have: an Iceberg table in the catalog with its layout.
type iceTable struct {
	cfg    TableConfig
	layout layout
	ident  table.Identifier
	root   string // key prefix of the table in the Store, without a slash at the end

	readOnly bool         // the table is neither created nor brought up to date
	opened   *atomic.Bool // the table exists and has a layout that this program can use
	passed   *passedOver
}

// layout is the columns and the order of a table. Every table is partitioned by the day of its column 1, a time.
type layout struct {
	name     string
	schema   *iceberg.Schema
	sort     []int // IDs of the columns by which files are sorted, ascending
	holdsOld bool  // column 1 is when a reading was measured, which may be long ago; see held
}

// The table properties of fanwatch. Offsets are properties of the table, not of a snapshot's summary, where they would
// vanish with the next compaction's snapshot.
const (
	propVersion = "fanwatch.version"
	propOffset  = "fanwatch.offset."  // + stream/shard: last sequence number of the last segment in the table
	propExpired = "fanwatch.expired." // + stream/shard: up to here all segments with rows are tombstones
	propRetired = "fanwatch.retired"  // key of the droppedRows
)

// partitionField is the ID of the field time_day; Iceberg numbers partition fields from 1000.
const partitionField = 1000

// OpenTable opens the table of readings. It creates a missing table and adds missing columns; where several processes
// do so at once, all get the same table.
func OpenTable(ctx context.Context, cfg TableConfig) (*Table, error) {
	return openReadings(ctx, cfg, false)
}

func openReadings(ctx context.Context, cfg TableConfig, readOnly bool) (*Table, error) {
	t, err := newTable(cfg, readOnly)
	if err != nil {
		return nil, err
	}
	_, err = t.load(ctx)
	return t, err
}

func newTable(cfg TableConfig, readOnly bool) (*Table, error) {
	t, err := newIce(cfg, layout{"readings", tableSchema(), []int{2, 1}, true}, readOnly)
	return &Table{iceTable: t}, err
}

// ErrNoTable says that a table does not exist yet.
var ErrNoTable = errors.New("the table is not there yet: the first commit makes it")

// newIce returns a table without looking for it in the catalog.
func newIce(cfg TableConfig, l layout, readOnly bool) (iceTable, error) {
	if cfg.Catalog == nil || cfg.Store == nil || cfg.Location == "" || strings.HasSuffix(cfg.Location, "/") {
		return iceTable{}, fmt.Errorf("table: catalog, store and location (without a slash at its end) are needed, "+
			"location is %q", cfg.Location)
	}
	cfg.Namespace = cmp.Or(cfg.Namespace, "fanwatch")
	cfg.BatchRows = cmp.Or(cfg.BatchRows, 500_000)
	cfg.OldAfter = cmp.Or(cfg.OldAfter, 7*24*time.Hour)
	cfg.OldEvery = cmp.Or(cfg.OldEvery, 24*time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := iceTable{cfg: cfg, layout: l, ident: table.Identifier{cfg.Namespace, l.name}, root: "tables/" + cfg.Namespace +
		"/" + l.name,
		readOnly: readOnly, opened: new(atomic.Bool), passed: new(passedOver)}
	if err := objstore.CheckKey(t.root); err != nil || strings.ContainsAny(cfg.Namespace, "./") {
		return iceTable{}, fmt.Errorf("table: namespace %.80q: use letters, digits and '_'", cfg.Namespace)
	}
	return t, nil
}

// load returns the table's newest state. The first call opens the table: it creates it and brings it up to date, unless
// t is read-only, and checks its layout. After a failure the next call does so again.
func (t *iceTable) load(ctx context.Context) (*table.Table, error) {
	tbl, err := t.fromCatalog(ctx)
	if t.opened.Load() {
		return tbl, err
	}
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		if t.readOnly {
			return nil, fmt.Errorf("table %s: %w", strings.Join(t.ident, "."), ErrNoTable)
		}
		tbl, err = t.create(ctx)
	}
	if err == nil && !t.readOnly {
		tbl, err = t.evolve(ctx, tbl)
	}
	if err == nil {
		err = t.checkLayout(tbl)
	}
	if err != nil {
		return nil, err
	}
	t.opened.Store(true)
	return tbl, nil
}

// fromCatalog returns the table's newest state without opening it.
func (t *iceTable) fromCatalog(ctx context.Context) (*table.Table, error) {
	tbl, err := t.cfg.Catalog.LoadTable(ctx, t.ident)
	if err == nil || errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		return tbl, wrap(err, "table %s: load", strings.Join(t.ident, "."))
	}
	return nil, fmt.Errorf("table %s: load: %w: see that the catalog answers and that the metadata file it names "+
		"is in the bucket (restore an earlier version of the object)",
		strings.Join(t.ident, "."), err)
}

// isCurrent reports whether the table has this program's layout. No changes of other tables are planned: the committer
// brings them up to date first.
func isCurrent(tbl *table.Table) bool {
	return tbl.Properties()[propVersion] == strconv.Itoa(rowfile.Version)
}

// create creates the table, unless another process was faster, and returns it.
func (t *iceTable) create(ctx context.Context) (*table.Table, error) {
	failed := t.cfg.Catalog.CreateNamespace(ctx, table.Identifier{t.cfg.Namespace}, nil)
	if errors.Is(failed, catalog.ErrNamespaceAlreadyExists) {
		failed = nil
	}
	if failed == nil {
		spec := iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{1}, FieldID: partitionField,
			Name: "time_day", Transform: iceberg.DayTransform{}})
		var fields []table.SortField
		for _, id := range t.layout.sort {
			fields = append(fields, table.SortField{SourceIDs: []int{id}, Transform: iceberg.IdentityTransform{},
				Direction: table.SortASC, NullOrder: table.NullsFirst})
		}
		order, err := table.NewSortOrder(1, fields)
		if err != nil {
			return nil, fmt.Errorf("table: %w", err)
		}
		_, failed = t.cfg.Catalog.CreateTable(ctx, t.ident, t.layout.schema, catalog.WithLocation(t.cfg.Location+"/"+t.root),
			catalog.WithPartitionSpec(&spec), catalog.WithSortOrder(order), catalog.WithProperties(iceberg.Properties{
				propVersion:                               fmt.Sprint(rowfile.Version),
				table.ManifestMergeEnabledKey:             "true", // or every commit adds a manifest for ever
				table.MetadataDeleteAfterCommitEnabledKey: "true",
				table.MetadataPreviousVersionsMaxKey:      "100",
				// a conflict means a new transaction from the new offsets, never the old one again
				table.CommitNumRetriesKey: "0",
			}))
	}
	// Each catalog has other errors for a lost race to create: a table that can be loaded was created.
	tbl, err := t.fromCatalog(ctx)
	if err != nil {
		return nil, errors.Join(wrap(failed, "table: create"), err)
	}
	return tbl, nil
}

// evolve adds the columns that a table of an earlier version lacks. A column that a table of the current version lacks
// was renamed or dropped by another program, which adding it would make irreversible. Where several processes do so at
// once, one succeeds.
func (t *iceTable) evolve(ctx context.Context, tbl *table.Table) (*table.Table, error) {
	var errs []error
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		version, err := strconv.Atoi(tbl.Properties()[propVersion])
		if err != nil || version >= rowfile.Version {
			return tbl, nil // checkLayout returns the error
		}
		var missing []iceberg.NestedField
		for _, f := range t.layout.schema.Fields() {
			_, named := tbl.Schema().FindFieldByName(f.Name)
			_, numbered := tbl.Schema().FindFieldByID(f.ID)
			switch {
			case !named && numbered:
				return tbl, nil // it has another name: checkLayout returns the error
			case !named:
				missing = append(missing, f)
			}
		}
		if _, err = t.addColumns(ctx, tbl, missing); err != nil {
			errs = append(errs, err)
		}
		if tbl, err = t.fromCatalog(ctx); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
	}
	return nil, fmt.Errorf("table %s: columns could not be added: %w", strings.Join(t.ident, "."), errors.Join(errs...))
}

// addColumns adds columns in the order of their IDs, because the catalog numbers them on. Earlier rows have no value
// for them, so they are never required.
func (t *iceTable) addColumns(ctx context.Context, tbl *table.Table, missing []iceberg.NestedField) (*table.Table,
	error) {
	tx := tbl.NewTransaction()
	if err := tx.SetProperties(iceberg.Properties{propVersion: fmt.Sprint(rowfile.Version)}); err != nil {
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
	optional := func(id int, name string, typ iceberg.Type, doc string) iceberg.NestedField {
		f := field(id, name, typ, doc)
		f.Required = false
		return f
	}
	return iceberg.NewSchema(0,
		field(1, "time", p.TimestampTz, "end of the measuring window"),
		field(2, "fan_id", p.String, ""),
		field(3, "run", p.Int64, "publisher's process, a random number; 0: the legacy format"),
		field(4, "seq", p.Int64, "counts within the run from 1; with run 0 the time in Unix microseconds"),
		field(5, "rpm", p.Float64, "revolutions per minute, to within 1e-5 of what was measured"),
		field(6, "hz", p.Float64, "tacho pulses per second"),
		field(7, "jitter", p.Float64, "standard deviation of the pulse periods over their mean"),
		field(8, "score", p.Float64, "of the forest, to 0.001; 0: not scored"),
		field(9, "state", p.String, "running, starting, stalled or no-signal"),
		optional(10, "anomaly", p.String, "the fan's state after this reading; null: normal"),
		field(11, "late", p.Bool, "older than what the model had seen, so not fed to it"),
		field(12, "edges", p.Int64, "falling edges in the window"),
		field(13, "glitch", p.Int64, "edges rejected as glitches"),
		field(14, "lost", p.Int64, "edges that the kernel dropped"),
		field(15, "unsynch", p.Bool, "the device's clock was not synchronised: time is arrival minus age"),
		field(16, "arrived", p.TimestampTz, "at the stream or the broker"),
		field(17, "shard", p.String, ""),
		optional(18, "expected", p.Float64, "RPM that the judge expected, in steps of 0.1; null: none, or not judged"),
		optional(19, "low", p.Float64, "lower end of the band around it, RPM"),
		optional(20, "high", p.Float64, "upper end of the band, RPM"),
		optional(21, "level", p.Int64, "level at which the fan stood, from 0; null: at none that is known, or not judged"),
		optional(22, "verdict", p.String, "normal, learning, stopped, away or kinds of trouble; null: not judged"),
		optional(23, "pwm", p.Float64, "commanded duty cycle, 0 to 1; null: unknown"),
	)
}

// checkLayout returns an error where this program cannot use the catalog's table: a catalog may number fields anew, and
// a table may be made by hand. One that is only read may be of an earlier version.
func (t *iceTable) checkLayout(tbl *table.Table) error {
	text := tbl.Properties()[propVersion]
	version, err := strconv.Atoi(text)
	if err != nil || version > rowfile.Version || version < rowfile.Version && !t.readOnly {
		return fmt.Errorf("table %s: layout version %.20q is unknown, this program knows %d", strings.Join(t.ident, "."),
			text, rowfile.Version)
	}
	for _, want := range t.layout.schema.Fields() {
		got, ok := tbl.Schema().FindFieldByName(want.Name)
		other, taken := tbl.Schema().FindFieldByID(want.ID)
		switch {
		case !ok && !taken && version < rowfile.Version:
		case !ok && taken:
			return fmt.Errorf("table %s: column %s is named %.80q: another program renamed it, give it back its name",
				strings.Join(t.ident, "."), want.Name, other.Name)
		case !ok || got.ID != want.ID || !got.Type.Equals(want.Type):
			return fmt.Errorf("table %s: column %s is not the one this program writes: let it create the table itself, "+
				"or use another namespace", strings.Join(t.ident, "."), want.Name)
		}
	}
	if spec := tbl.Spec(); spec.NumFields() != 1 || spec.Field(0).FieldID != partitionField {
		return fmt.Errorf("table %s: it is not partitioned by the day of time alone", strings.Join(t.ident, "."))
	}
	return nil
}

// liveFiles returns the data files of the table's current snapshot.
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
					yield(nil, fmt.Errorf("table's files: %s holds deletes (merge on read), which fanwatch does not apply: "+
						"have the program that wrote it rewrite the table's data files", entry.DataFile().FilePath()))
					return
				}
				if !yield(entry.DataFile(), ctx.Err()) || ctx.Err() != nil {
					return
				}
			}
		}
	}
}

// key returns the Store's key of one of the table's files.
func (t *iceTable) key(path string) (string, error) {
	key, ok := strings.CutPrefix(path, t.cfg.Location+"/")
	if !ok {
		return "", fmt.Errorf("table: file %.200s lies outside %s", path, t.cfg.Location)
	}
	return key, nil
}

func offsetKey(l landing.Log) string { return propOffset + l.Stream + "/" + l.Shard }

// offset returns the end of the log's last segment that is in the table.
func offset(tbl *table.Table, l landing.Log) (fanwatch.SequenceNumber, error) {
	text, ok := tbl.Properties()[offsetKey(l)]
	if !ok {
		return "0", nil
	}
	at, err := fanwatch.ParseSequenceNumber(text)
	return at, wrap(err, "table property %s", offsetKey(l))
}
