package lake_test

import (
	"context"
	"errors"
	"fmt"
	goio "io"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

var errDead = errors.New("the outside is gone")

// fuse lets a number of writes to store and catalog happen and fails the next. With die, no write happens from there
// on, as by a killed process; without, the next write succeeds. With lost the write that fails happens, but its answer
// is lost.
type fuse struct {
	calls atomic.Int64
	at    int64
	die   func()
	lost  bool
}

// change makes one write to store or catalog, or fails.
func (f *fuse) change(do func() error) error {
	n := f.calls.Add(1)
	switch {
	case n < f.at, n > f.at && f.die == nil:
		return do()
	case n == f.at && f.lost:
		if err := do(); err != nil {
			return err
		}
	}
	if f.die != nil {
		f.die()
	}
	return errDead
}

// brittleStore is a Store behind a fuse.
type brittleStore struct {
	objstore.Store
	fuse *fuse
}

func (s brittleStore) Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error {
	return s.fuse.change(func() error { return s.Store.Put(ctx, key, data, onlyIfAbsent) })
}

func (s brittleStore) PutFrom(ctx context.Context, key string, data goio.ReadSeeker, size int64,
	onlyIfAbsent bool) error {
	return s.fuse.change(func() error { return s.Store.PutFrom(ctx, key, data, size, onlyIfAbsent) })
}

func (s brittleStore) Delete(ctx context.Context, key string) error {
	return s.fuse.change(func() error { return s.Store.Delete(ctx, key) })
}

// brittleCatalog is a catalog behind a fuse. The tables that it gives commit through it.
type brittleCatalog struct {
	catalog.Catalog
	fuse *fuse
}

func (c brittleCatalog) LoadTable(ctx context.Context, ident table.Identifier) (*table.Table, error) {
	t, err := c.Catalog.LoadTable(ctx, ident)
	if err != nil {
		return nil, err
	}
	return table.New(t.Identifier(), t.Metadata(), t.MetadataLocation(), func(ctx context.Context) (io.IO,
		error) {
		return t.FS(ctx)
	}, c), nil
}

func (c brittleCatalog) CommitTable(ctx context.Context, ident table.Identifier, reqs []table.Requirement,
	updates []table.Update) (meta table.Metadata, location string, err error) {
	err = c.fuse.change(func() (err error) {
		meta, location, err = c.Catalog.CommitTable(ctx, ident, reqs, updates)
		return err
	})
	return meta, location, err
}

// ended is an alert that is over.
var ended = fanwatch.Alert{V: 1, ID: "alert/fan-0/stall/20260301T000000.000000Z", Fan: "fan-0",
	Kind: fanwatch.KindStall, Opened: midnight, State: fanwatch.AlertResolved, EndedAt: midnight.Add(time.Hour)}

// steps is a committer's and its planners' life: commits, a compaction, a drop of days, tombstones, the expiry of
// snapshots and the removal of orphans. Each step can be made again by another process.
func steps(ctx context.Context, tb *lake.Tables, store objstore.Store, logs []landing.Log) error {
	if _, err := tb.Apply(ctx); err != nil { // what a planner before us left
		return err
	}
	if err := lake.PutAlert(ctx, store, ended); err != nil {
		return err
	}
	for range 2 {
		if _, err := tb.Commit(ctx, logs); err != nil {
			return err
		}
	}
	if _, err := tb.PlanDropPartitions(ctx, lake.Retention{Readings: time.Since(midnight) + 24*time.Hour}); err != nil {
		return err
	}
	if _, err := tb.PlanCompaction(ctx, lake.CompactConfig{MinFiles: 1}); err != nil {
		return err
	}
	if err := tb.PlanExpiry(ctx, 0, 1); err != nil {
		return err
	}
	for _, l := range logs {
		if _, err := tb.TruncateLog(ctx, l, 0); err != nil {
			return err
		}
	}
	if _, err := tb.Apply(ctx); err != nil {
		return err
	}
	_, err := tb.RemoveOrphans(ctx, time.Hour)
	return err
}

// TestEveryRowEntersOnceWhicheverWriteFails lets every single write to store and catalog fail, in three ways, and wants
// every row once after the steps were made again.
func TestEveryRowEntersOnceWhicheverWriteFails(t *testing.T) {
	stride := int64(5) // one change in so many, another in each mode
	if os.Getenv("FANWATCH_LONG") != "" {
		stride = 1
	}
	for first, mode := range []struct {
		name       string
		dead, lost bool
	}{{"killed before", true, false}, {"killed after", true, true}, {"answer lost", false, true}, {"failed once", false,
		false}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			for at := 1 + int64(first)%stride; ; at += stride {
				f := &fuse{at: at, lost: mode.lost}
				ctx, cancel := context.WithCancel(t.Context())
				if mode.dead {
					f.die = cancel
				}
				blown := stepsFailingAt(t, ctx, f)
				cancel()
				if !blown {
					if at < 40 {
						t.Fatalf("only %d changes of the outside were seen", at-1)
					}
					return
				}
			}
		})
	}
}

// stepsFailingAt reports whether the fuse blew.
func stepsFailingAt(t *testing.T, ctx context.Context, f *fuse) bool {
	t.Helper()
	w := openWorld(t, t.TempDir(), nil)
	// what is held back comes with the next commit
	small := func(c *lake.TableConfig) { c.BatchRows, c.OldEvery = 100, time.Nanosecond }
	logs := []landing.Log{w.log(0), w.log(1)}
	behind := slices.Clone(logs)
	for shard := range logs {
		for i := range 2 {
			s := window(i*50, fmt.Sprint("fan-", shard), 7, 1+i*50, 50)
			s.Rows[0].Time = s.Rows[0].Time.Add(-72 * time.Hour)
			s.Rows[1].Kind, s.Rows[1].Reading = fanwatch.RowQuarantined,
				fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: s.Rows[1].Fan}}
			s.Rows[2].Anomaly = fanwatch.KindStall
			s.Rows[3].Time = s.Rows[3].Time.Add(-30 * 24 * time.Hour) // is held back, and then old enough to leave
			w.append(t, shard, s)
			if err := w.log(shard).PutSnapshot(t.Context(), number(i*50+50), []byte("model")); err != nil {
				t.Fatal(err)
			}
		}
		behind[shard].Store = brittleStore{w.store, f}
	}
	brittle := openTables(t, w, func(c *lake.TableConfig) {
		small(c)
		c.Catalog, c.Store = brittleCatalog{c.Catalog, f}, brittleStore{c.Store, f}
	})
	err := steps(ctx, brittle, brittleStore{w.store, f}, behind)
	blown := f.calls.Load() >= f.at
	if err != nil && !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
		t.Fatalf("change %d: %v", f.at, err)
	}
	tables := openTables(t, w, small)
	if err := steps(t.Context(), tables, w.store, logs); err != nil {
		t.Fatalf("after change %d failed: %v", f.at, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 94, "fan-1": 94})
	accounts, err := lake.Reconcile(t.Context(), logs, w.table)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if !a.OK || a.Landed != 98 || a.Retired != 4 || a.Pending != 0 {
			t.Fatalf("after change %d failed: %+v", f.at, a)
		}
	}
	statuses, err := tables.Statuses(t.Context(), 0)
	if err != nil || statuses[1].Rows != 4 || statuses[2].Rows != 4 || statuses[3].Rows != 1 {
		t.Fatalf("after change %d failed: %+v, %v", f.at, statuses, err)
	}
	return blown
}
