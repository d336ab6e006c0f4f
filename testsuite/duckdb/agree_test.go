package duckdb

import (
	"crypto/md5"
	"database/sql"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/testsuite/readings"
	"fanwatch/testsuite/versions"
)

// TestDuckDBReadsTheSame holds an hour of readings, with duplicates, late rows and three versions of the schema,
// against what DuckDB makes of the files of the current snapshot: rows and content, before and after compaction.
func TestDuckDBReadsTheSame(t *testing.T) {
	fleet, err := readings.New(9, 3600, start, 7)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := versions.Leave(t.Context(), dir, windows(fleet, 0, 600), windows(fleet, 600, 1200)); err != nil {
		t.Fatal(err)
	}
	w := mustOpen(t, dir)
	l := &lander{w: w, at: make(map[string]int)}
	l.landMinutes(t, fleet, 20, 60)
	landUnusual(t, l, fleet)
	const distinct = 9*3600 + 100 // the late rows are readings that came in no other way
	compare(t, w, fleet, distinct, false)
	r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1})
	if err != nil || r.RowsOut != distinct || r.Duplicates != 450 {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	compare(t, w, fleet, distinct, true)
}

// windows gives the readings of all fans of a part of the hour, in the table's order.
func windows(fleet *readings.Fleet, from, to int) (rows []fanwatch.Row) {
	for fan := range fleet.Fans() {
		for s := from; s < to; s++ {
			rows = append(rows, fleet.Row(fan, s))
		}
	}
	return rows
}

// landUnusual lands what a reshard and a slow publisher do: readings once more on another shard, and late ones.
func landUnusual(t *testing.T, l *lander, fleet *readings.Fleet) {
	var copies, late []fanwatch.Row
	for s := range 450 { // 150 of them of each earlier version's, 150 of this one's
		r := fleet.Row(1, 450+s/150*450+s)
		r.Arrived = r.Arrived.Add(time.Minute)
		copies = append(copies, r)
	}
	for s := range 100 {
		r := fleet.Row(2, 1200+s)
		r.Kind, r.Run, r.Score, r.Anomaly = fanwatch.RowLate, r.Run/2, 0, fanwatch.KindUnusual
		late = append(late, r)
	}
	l.land(t, "shardId-000000000009", copies)
	l.land(t, fleet.Shard(2), late)
	l.commit(t)
}

// rowText is a row in words, the same in Go and in SQL. What an earlier version did not know is null in Iceberg,
// and zero in Go.
const rowText = `concat_ws('|', fan_id, epoch_us(time), run, seq, printf('%.6f', rpm), printf('%.6f', hz),
	printf('%.6f', jitter), printf('%.6f', score), state, coalesce(anomaly, 'null'), late, edges, glitch, lost, unsynch,
	coalesce(epoch_us(arrived), 0), coalesce(shard, ''))`

func text(r fanwatch.Row) string {
	anomaly := string(r.Anomaly)
	if anomaly == "" {
		anomaly = "null"
	}
	return fmt.Sprintf("%s|%d|%d|%d|%.6f|%.6f|%.6f|%.6f|%s|%s|%t|%d|%d|%d|%t|%d|%s", r.Fan, r.Time.UnixMicro(), r.Run,
		r.Seq, r.RPM, r.Hz, r.Jitter, r.Score,
		r.State, anomaly, r.Kind == fanwatch.RowLate, r.Edges, r.Glitch, r.Lost, r.Unsynch, r.Arrived.UnixMicro(),
		r.Position.Shard)
}

// compare lets both read the table. Where it may hold copies DuckDB drops them by the table's rule: of several
// the first in the table's order.
func compare(t *testing.T, w *world, fleet *readings.Fleet, rows int, compacted bool) {
	t.Helper()
	n, sum := 0, new(big.Int)
	for fan := range fleet.Fans() {
		for r, err := range w.table.Rows(t.Context(), fleet.Name(fan), time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			digest := md5.Sum([]byte(text(r)))
			part, _ := new(big.Int).SetString(fmt.Sprintf("%x", digest)[:15], 16)
			sum.Add(sum, part)
			n++
		}
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from := "SELECT * FROM read_parquet(['" + strings.Join(w.files(t), "','") + "'], union_by_name = true)"
	if !compacted {
		from = "SELECT DISTINCT ON (fan_id, run, seq) * FROM (" + from +
			") ORDER BY fan_id, time, run, seq, arrived NULLS FIRST, shard NULLS FIRST"
	}
	var theirRows int
	var theirSum string
	err = db.QueryRowContext(t.Context(), "SELECT count(*), sum(('0x' || substr(md5("+rowText+
		"), 1, 15))::BIGINT::HUGEINT)::VARCHAR FROM ("+from+")").Scan(&theirRows, &theirSum)
	if err != nil {
		t.Fatal(err)
	}
	if n != rows || theirRows != rows || theirSum != sum.String() {
		t.Fatalf("lake reads %d rows of content %s, DuckDB %d of %s, want %d", n, sum, theirRows, theirSum, rows)
	}
}
