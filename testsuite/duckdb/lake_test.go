package duckdb

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/catalog"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/testsuite/readings"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// world is a lake in a directory.
type world struct {
	store   *objstore.Dir
	catalog catalog.Catalog
	table   *lake.Table
	close   func() error
}

func open(ctx context.Context, dir string) (*world, error) {
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		return nil, err
	}
	cat, closeCatalog, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		return nil, err
	}
	table, err := lake.OpenTable(ctx, lake.TableConfig{Catalog: cat, Store: store, Location: "file://" + store.Root()})
	if err != nil {
		return nil, err
	}
	return &world{store, cat, table, closeCatalog}, nil
}

func mustOpen(tb testing.TB, dir string) *world {
	tb.Helper()
	w, err := open(tb.Context(), dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.close() })
	return w
}

// files lists the data files of the table's current snapshot as Iceberg names them.
func (w *world) files(tb testing.TB) []string {
	tb.Helper()
	t, err := w.catalog.LoadTable(tb.Context(), []string{"fanwatch", "readings"})
	if err != nil {
		tb.Fatal(err)
	}
	tasks, err := t.Scan().PlanFiles(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var paths []string
	for _, task := range tasks {
		paths = append(paths, strings.TrimPrefix(task.File.FilePath(), "file://"))
	}
	return paths
}

// lander lands rows on the logs of their shards, a segment at a time.
type lander struct {
	w  *world
	at map[string]int // of each shard: the last sequence number
}

func (l *lander) land(tb testing.TB, shard string, rows []fanwatch.Row) {
	tb.Helper()
	number := func(n int) fanwatch.SequenceNumber { return fanwatch.SequenceNumber(fmt.Sprint(n)) }
	after := l.at[shard]
	for i := range rows {
		rows[i].Position = fanwatch.Position{Shard: shard, Sequence: number(after + i + 1)}
	}
	l.at[shard] = after + len(rows)
	s := landing.Segment{Header: landing.Header{After: number(after), Last: number(after + len(rows)),
		Writer: landing.Token{Scheduled: 1, Attempt: 1, Run: "r"}}, Rows: rows}
	if err := l.log(shard).Append(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
}

func (l *lander) log(shard string) landing.Log {
	return landing.Log{Store: l.w.store, Stream: "readings", Shard: shard}
}

func (l *lander) commit(tb testing.TB) {
	tb.Helper()
	var logs []landing.Log
	for shard := range l.at {
		logs = append(logs, l.log(shard))
	}
	if _, err := l.w.table.Commit(tb.Context(), logs); err != nil {
		tb.Fatal(err)
	}
}

// landMinutes lands and commits a fleet's readings of from <= minute < to, a file a minute.
func (l *lander) landMinutes(tb testing.TB, fleet *readings.Fleet, from, to int) {
	tb.Helper()
	for m := from; m < to; m++ {
		byShard := make(map[string][]fanwatch.Row)
		for fan := range fleet.Fans() {
			for s := range 60 {
				byShard[fleet.Shard(fan)] = append(byShard[fleet.Shard(fan)], fleet.Row(fan, m*60+s))
			}
		}
		for shard, rows := range byShard {
			l.land(tb, shard, rows)
		}
		l.commit(tb)
		if m%50 == 49 { // old snapshots make every commit slower
			if err := l.w.table.ExpireSnapshots(tb.Context(), 0, 1); err != nil {
				tb.Fatal(err)
			}
		}
	}
}
