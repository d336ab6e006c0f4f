package ingest_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

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

// counts returns the number of rows per fan, and fails when a reading is there twice.
func (w world) counts(t testing.TB) map[string]int {
	t.Helper()
	rows, seen := make(map[string]int), make(map[fanwatch.ReadingID]bool)
	err := w.table.Each(t.Context(), time.Time{}, time.Time{}, nil, func(r fanwatch.Row) error {
		if seen[r.ReadingID] {
			t.Errorf("%v is in the table twice", r.ReadingID)
		}
		rows[r.Fan]++
		seen[r.ReadingID] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func wantCounts(t testing.TB, got, want map[string]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("counts %v, want %v", got, want)
	}
}

func openTables(t testing.TB, w world, change func(*lake.TableConfig)) *lake.Tables {
	t.Helper()
	var tables *lake.Tables
	openWorld(t, w.dir, func(c *lake.TableConfig) {
		if change != nil {
			change(c)
		}
		var err error
		if tables, err = lake.OpenTables(t.Context(), *c); err != nil {
			t.Fatal(err)
		}
	})
	return tables
}

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

func (s brittleStore) PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64,
	onlyIfAbsent bool) error {
	return s.fuse.change(func() error { return s.Store.PutFrom(ctx, key, data, size, onlyIfAbsent) })
}

func (s brittleStore) Delete(ctx context.Context, key string) error {
	return s.fuse.change(func() error { return s.Store.Delete(ctx, key) })
}
