package lake_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// marked is a Store in which people have made folders, as the console of S3 makes them: objects of no bytes, whose
// keys no program of ours can write.
type marked struct {
	objstore.Store
	markers []string
}

func (s marked) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for _, m := range s.markers {
			if strings.HasPrefix(m, prefix) && m > startAfter && !yield(objstore.Object{Key: m, Modified: midnight}, nil) {
				return
			}
		}
		for o, err := range s.Store.List(ctx, prefix, startAfter) {
			if !yield(o, err) {
				return
			}
		}
	}
}

// TestStrayObjectsArePassedOver puts what does not belong there among the plans, the waiting alerts and the data:
// commits, compaction, plans, retention, orphans, status and verify go on, and the objects are named.
func TestStrayObjectsArePassedOver(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	const plans = "tables/fanwatch/readings/plans/"
	store := marked{w.store, []string{"alerts/waiting/", plans, "tables/fanwatch/readings/data/",
		"tables/fanwatch/quarantine/plans/"}}
	for key, text := range map[string]string{"alerts/waiting/notes.txt": "x", "alerts/waiting/empty.json": "",
		"alerts/waiting/list.json": "[1]", "alerts/waiting/other.json": "{}",
		plans + "0.json": "", plans + "1.json": "{", plans + "2.json": `{"v":99}`, plans + "readme": "?"} {
		if err := w.store.Put(t.Context(), key, []byte(text), true); err != nil {
			t.Fatal(err)
		}
	}
	tables := openTables(t, w, func(c *lake.TableConfig) { c.Store = store })
	if err := lake.PutAlert(t.Context(), w.store, ended); err != nil {
		t.Fatal(err)
	}
	logs := []landing.Log{w.log(0)}
	for i := range 4 {
		w.append(t, 0, eventful(i*100, 1+i*100))
		if _, err := tables.Commit(t.Context(), logs); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := tables.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 12 {
		t.Errorf("compact: %+v, %v", r, err)
	}
	if err := tables.PlanExpiry(t.Context(), time.Hour, 1); err != nil {
		t.Error(err)
	}
	if a, err := tables.Apply(t.Context()); err != nil || a.Swaps != 3 || a.Expiries != 5 {
		t.Errorf("apply: %+v, %v", a, err)
	}
	if _, err := tables.RemoveOrphans(t.Context(), -time.Minute); err != nil {
		t.Error(err)
	}
	if n, err := tables.PlanDropPartitions(t.Context(), lake.Retention{Readings: 24 * time.Hour,
		Events: 24 * time.Hour}); err != nil || n != 4 {
		t.Errorf("drop days: %d, %v", n, err)
	}
	if s, err := tables.Statuses(t.Context(), 1); err != nil || s[0].Rows != 380 || s[0].Plans != 1 || s[3].Rows != 1 {
		t.Errorf("status: %+v, %v", s, err)
	}
	if v, err := tables.Verify(t.Context(), logs, nil); err != nil || !v.OK {
		t.Errorf("verify: %v, %v", v.Faults, err)
	}
	found := strings.Join(tables.PassedOver(), "\n")
	for _, want := range []string{"alerts/waiting/: a folder marker", "alerts/waiting/notes.txt: not an object",
		"alerts/waiting/empty.json: not an alert", "alerts/waiting/list.json: not an alert",
		"alerts/waiting/other.json: not an alert", plans + ": a folder marker", plans + "0.json: not a plan", plans +
			"1.json: not a plan", plans + "2.json: a plan of version 99",
		plans + "readme: not an object", "tables/fanwatch/quarantine/plans/: a folder marker"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not named:\n%s", want, found)
		}
	}
}

// TestAPlanOfALaterProgramKeepsItsFiles: what only that program can read may name data files that are stored already.
func TestAPlanOfALaterProgramKeepsItsFiles(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	data := "tables/fanwatch/readings/data/time_day=2026-03-01/x.parquet"
	plan := "tables/fanwatch/readings/plans/1.json"
	for key, text := range map[string]string{data: "PAR1", plan: `{"v":2,"added":[{"path":"x"}]}`} {
		if err := w.store.Put(t.Context(), key, []byte(text), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.table.RemoveOrphans(t.Context(), -time.Minute); err != nil || len(list(t, w.store, data, "")) != 1 {
		t.Errorf("its file is gone, %v", err)
	}
	if err := w.store.Delete(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if n, err := w.table.RemoveOrphans(t.Context(), -time.Minute); err != nil || n != 1 {
		t.Errorf("%d orphans, %v", n, err)
	}
}

// failing is a catalog that has lost a table, until it is mended.
type failing struct {
	catalog.Catalog
	table *string
}

func (c failing) LoadTable(ctx context.Context, ident table.Identifier) (*table.Table, error) {
	if ident[1] == *c.table {
		return nil, errors.New("its metadata is gone")
	}
	return c.Catalog.LoadTable(ctx, ident)
}

// TestATableThatFailsStopsNoOther takes each table away, at the start and while the lake runs: the others go on, the
// error names the one, and when it is back it has everything.
func TestATableThatFailsStopsNoOther(t *testing.T) {
	for _, name := range []string{"readings", "anomalies", "quarantine", "alerts", "labels"} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", name, before), func(t *testing.T) {
				t.Parallel()
				w := openWorld(t, t.TempDir(), nil)
				lost := ""
				if before {
					lost = name
				}
				var cfg lake.TableConfig
				openWorld(t, w.dir, func(c *lake.TableConfig) { cfg = *c })
				cfg.Catalog = failing{cfg.Catalog, &lost}
				tables, err := lake.OpenTables(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				lost = name
				w.append(t, 0, eventful(0, 1))
				w.append(t, 0, labelled(t, 100, label))
				if err := lake.PutAlert(t.Context(), w.store, ended); err != nil {
					t.Fatal(err)
				}
				logs := []landing.Log{w.log(0)}
				_, err = tables.Commit(t.Context(), logs)
				if err == nil || !strings.Contains(err.Error(), "table "+name) || strings.Contains(err.Error(), "\n") ||
					!strings.Contains(err.Error(), "its metadata is gone") {
					t.Errorf("%v", err)
				}
				rows := func(want map[string]int64) {
					t.Helper()
					all, _ := tables.Statuses(t.Context(), 0)
					for i, table := range []string{"readings", "anomalies", "quarantine", "alerts", "labels"} {
						if all[i].Rows != want[table] {
							t.Errorf("%s has %d rows, want %d", table, all[i].Rows, want[table])
						}
					}
				}
				full := map[string]int64{"readings": 95, "anomalies": 10, "quarantine": 5, "alerts": 1, "labels": 1}
				partly := map[string]int64{}
				for table, n := range full {
					if table != name {
						partly[table] = n
					}
				}
				rows(partly)
				lost = ""
				if _, err := tables.Commit(t.Context(), logs); err != nil {
					t.Error(err)
				}
				rows(full)
			})
		}
	}
}

// TestADamagedLogStopsNoOther: a segment that cannot be read stops its own shard's commits and no other's.
func TestADamagedLogStopsNoOther(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	w.append(t, 0, window(0, "fan-a", 7, 1, 10))
	key := "landing/stream=readings/shard=" + w.log(0).Shard + "/after=" + number(10).Pad() + ".parquet"
	if err := w.store.Put(t.Context(), key, []byte("junk"), true); err != nil {
		t.Fatal(err)
	}
	w.append(t, 1, window(0, "fan-b", 8, 1, 20))
	r, err := tables.Commit(t.Context(), []landing.Log{w.log(0), w.log(1)})
	if err == nil || !strings.Contains(err.Error(), w.log(0).Shard) || r.Rows != 30 {
		t.Errorf("%+v, %v", r, err)
	}
	if v, err := tables.Verify(t.Context(), []landing.Log{w.log(0), w.log(1)}, nil); err != nil || v.OK ||
		!strings.Contains(strings.Join(v.Faults, "\n"), "after="+number(10).Pad()) {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestAPlanThatFailsStopsNoOther: a plan whose change is refused again and again stays, and those behind it are
// applied.
func TestAPlanThatFailsStopsNoOther(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	w.append(t, 0, window(0, "fan-a", 7, 1, 10))
	w.commit(t, w.log(0))
	bad := `{"v":1,"why":"bad","removed":["` + live(t, w)[0].Path + `"],"added":[{"path":"","day":1,"rows":1,"bytes":1}]}`
	if err := w.store.Put(t.Context(), "tables/fanwatch/readings/plans/0.json", []byte(bad), true); err != nil {
		t.Fatal(err)
	}
	if err := w.table.PlanExpiry(t.Context(), time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	if a, err := w.table.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "plan 0.json (bad)") ||
		a.Expiries != 1 || a.PlansLeft != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// rewrite replaces a data file of the table by other bytes of as many rows, as another program may.
func rewrite(t *testing.T, w world, path string, rows int64, data []byte) {
	t.Helper()
	cat, done, err := lake.OpenSQLite(filepath.Join(w.dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", "readings"})
	if err != nil {
		t.Fatal(err)
	}
	var was iceberg.DataFile
	fs, err := tbl.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := tbl.CurrentSnapshot().Manifests(fs)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifests {
		for entry, err := range m.Entries(fs, true) {
			if err != nil {
				t.Fatal(err)
			}
			if entry.DataFile().FilePath() == path {
				was = entry.DataFile()
			}
		}
	}
	key := strings.TrimPrefix(strings.TrimSuffix(path, ".parquet")+"-foreign.parquet", "file://"+w.store.Root()+"/")
	if err := w.store.Put(t.Context(), key, data, true); err != nil {
		t.Fatal(err)
	}
	b, err := iceberg.NewDataFileBuilder(tbl.Spec(), iceberg.EntryContentData, "file://"+w.store.Root()+"/"+
		key, iceberg.ParquetFile, was.Partition(),
		map[int]string{1000: "date"}, nil, rows, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.ReplaceDataFilesWithDataFiles(t.Context(), []iceberg.DataFile{was}, []iceberg.DataFile{b.Build()}, nil,
		table.WithoutAutoNameMapping()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestAForeignColumnStopsNoOtherFile: another program added the column note and rewrote one file of two days. Where
// all its values are null the file is merged; where not, it stays and is named, and all others are merged.
func TestAForeignColumnStopsNoOtherFile(t *testing.T) {
	for _, c := range []struct {
		note  *string
		files int // that are merged
	}{{nil, 8}, {new("a person's remark"), 7}} {
		w := openWorld(t, t.TempDir(), nil)
		for i := range 8 {
			s := window(i*10, "fan-a", 7, 1+i*10, 10)
			for j := range s.Rows {
				s.Rows[j].Time = s.Rows[j].Time.Add(time.Duration(i%2) * 24 * time.Hour)
				s.Rows[j].Arrived = s.Rows[j].Time
			}
			w.append(t, 0, s)
			w.commit(t, w.log(0))
		}
		first := live(t, w)[0]
		var rows []fanwatch.Row
		err := w.table.Each(t.Context(), time.Time{}, time.Time{}, nil, func(r fanwatch.Row) error {
			rows = append(rows, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, w, first.Path, first.Rows, withNote(t, rows[:first.Rows], c.note))
		r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1})
		if r.FilesIn != c.files || r.FilesOut != 2 {
			t.Errorf("note %v: %+v, %v", c.note, r, err)
		}
		if c.note == nil && err != nil || c.note != nil &&
			(err == nil || !strings.Contains(err.Error(), "-foreign.parquet: it has a column \"note\" with values")) {
			t.Errorf("note %v: %v", c.note, err)
		}
		wantCounts(t, w.counts(t), map[string]int{"fan-a": 80})
	}
}

// TestReadingNeverChangesATable opens tables to read: none is made, none gains columns, and a column that another
// program renamed is neither added again, nor by the committer.
func TestReadingNeverChangesATable(t *testing.T) {
	w := world{dir: t.TempDir()}
	store, err := objstore.OpenDir(filepath.Join(w.dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	cat, done, err := lake.OpenSQLite(filepath.Join(w.dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	cfg := lake.TableConfig{Catalog: cat, Store: store, Location: "file://" + store.Root()}
	if _, err := lake.ReadTables(t.Context(), cfg); !errors.Is(err, lake.ErrNoTable) {
		t.Errorf("no tables: %v", err)
	}
	if _, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", "readings"}); !errors.Is(err,
		catalog.ErrNoSuchTable) {
		t.Errorf("a table was made: %v", err)
	}
	oldTable(t, w.dir)
	columns := func(name string) int {
		t.Helper()
		tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", name})
		if err != nil {
			t.Fatal(err)
		}
		return tbl.Schema().NumFields()
	}
	read, err := lake.ReadTables(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := read.Statuses(t.Context(), 0); err == nil || s[0].Rows != 20 ||
		!strings.Contains(err.Error(), "table fanwatch.anomalies: the table is not there yet") || columns("readings") != 16 {
		t.Errorf("%+v, %v; %d columns", s, err, columns("readings"))
	}
	if r, err := read.Table.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 0 {
		t.Errorf("planned for a table of an earlier version: %+v, %v", r, err)
	}
	if _, err := lake.OpenTables(t.Context(), cfg); err != nil || columns("readings") != 23 || columns("quarantine") != 9 {
		t.Fatalf("%v; %d columns", err, columns("readings"))
	}
	if r, err := read.Table.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesIn != 2 {
		t.Errorf("%+v, %v", r, err)
	}

	tbl, err := cat.LoadTable(t.Context(), table.Identifier{"fanwatch", "readings"})
	if err != nil {
		t.Fatal(err)
	}
	tx := tbl.NewTransaction()
	if err := tx.UpdateSchema(true, false).RenameColumn([]string{"jitter"}, "jit").Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(context.Context, lake.TableConfig) (*lake.Table, error){lake.ReadTable, lake.OpenTable} {
		if _, err := open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), `column jitter is named "jit"`) ||
			columns("readings") != 23 {
			t.Errorf("%v; %d columns", err, columns("readings"))
		}
	}
}
