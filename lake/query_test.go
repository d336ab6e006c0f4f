package lake_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake"
)

// scanned is a row as the reference reader reads it.
type scanned struct {
	Time    int64   `parquet:"time,timestamp(microsecond),delta"`
	Fan     string  `parquet:"fan_id,dict"`
	Run     int64   `parquet:"run,dict"`
	Seq     int64   `parquet:"seq,delta"`
	RPM     float64 `parquet:"rpm,dict"`
	Score   float64 `parquet:"score,dict"`
	Arrived int64   `parquet:"arrived,timestamp(microsecond),delta"`
	Shard   string  `parquet:"shard,dict"`
	Anomaly string  `parquet:"anomaly,dict,optional"`
}

// scanAll reads every row of every file, through the Parquet library.
func (w world) scanAll(t testing.TB) []scanned {
	t.Helper()
	var all []scanned
	for _, path := range dataFiles(t, w) {
		rows, err := parquet.ReadFile[scanned](path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// ofPeriod returns a fan's readings of a period, by the reference: one row after the other, of each day each
// reading once.
func ofPeriod(rows []scanned, fan string, from, to time.Time) []scanned {
	var all []scanned
	for _, r := range rows {
		if r.Fan == fan && r.Time >= from.UnixMicro() && r.Time < to.UnixMicro() {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b scanned) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Seq, b.Seq),
			cmp.Compare(a.Arrived, b.Arrived), cmp.Compare(a.Shard, b.Shard))
	})
	type id struct{ day, run, seq int64 }
	seen := make(map[id]bool)
	return slices.DeleteFunc(all, func(r scanned) bool {
		key := id{r.Time / (24 * 3600 * 1_000_000), r.Run, r.Seq}
		was := seen[key]
		seen[key] = true
		return was
	})
}

func referencePoints(rows []scanned, from, to time.Time, points int) []lake.Point {
	lo, hi := from.UnixMicro(), to.UnixMicro()
	width := max(1, (hi-lo+int64(points)-1)/int64(points))
	parts := make(map[int64][]scanned)
	for _, r := range rows {
		parts[(r.Time-lo)/width] = append(parts[(r.Time-lo)/width], r)
	}
	var out []lake.Point
	for part := range int64(points) {
		rows := parts[part]
		if len(rows) == 0 {
			continue
		}
		p := lake.Point{From: time.UnixMicro(lo + part*width).UTC(), Count: len(rows), RPM: lake.Stats{Min: math.Inf(1),
			Max: math.Inf(-1)}, Score: lake.Stats{Min: math.Inf(1), Max: math.Inf(-1)}}
		for _, r := range rows {
			p.RPM = lake.Stats{Min: min(p.RPM.Min, r.RPM), Max: max(p.RPM.Max, r.RPM), Mean: p.RPM.Mean +
				r.RPM/float64(len(rows))}
			p.Anomaly = cmp.Or(fanwatch.Kind(r.Anomaly), p.Anomaly)
			p.Score = lake.Stats{Min: min(p.Score.Min, r.Score), Max: max(p.Score.Max, r.Score), Mean: p.Score.Mean +
				r.Score/float64(len(rows))}
		}
		out = append(out, p)
	}
	return out
}

// TestAQueryEqualsAFullScan asks for many periods of a table with several files, several days, copies on another
// shard and late rows, and of the same table compacted.
func TestAQueryEqualsAFullScan(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 6 {
		for fan := range 4 {
			w.append(t, fan, window(i*5000, fmt.Sprint("fan-", fan), uint64(7+fan), 1+i*5000, 5000))
		}
		w.commit(t, w.log(0), w.log(1), w.log(2), w.log(3))
	}
	ill := window(30_000, "fan-3", 10, 30_001, 3000)
	for i := range ill.Rows {
		ill.Rows[i].Anomaly = []fanwatch.Kind{fanwatch.KindNone, fanwatch.KindStall, fanwatch.KindUnderspeed,
			fanwatch.KindNone}[i/250%4]
	}
	w.append(t, 3, ill)
	w.commit(t, w.log(3))
	late := window(0, "fan-2", 9, 90_000, 3000) // the next day
	copies := window(3000, "fan-1", 8, 2000, 4000)
	for i := range copies.Rows {
		copies.Rows[i].Score, copies.Rows[i].Arrived = 2, copies.Rows[i].Arrived.Add(time.Duration(i%3-1)*time.Second)
	}
	w.append(t, 4, late)
	w.append(t, 4, copies)
	w.commit(t, w.log(4))
	check := func() {
		t.Helper()
		everything := w.scanAll(t)
		rng := rand.New(rand.NewPCG(1, 8))
		for i := range 60 {
			fan := fmt.Sprint("fan-", rng.IntN(6)-1)
			from := midnight.Add(time.Duration(rng.IntN(100_000)-2000) * time.Second)
			to := from.Add(time.Duration(1+rng.IntN(1<<uint(1+i%17))) * time.Second)
			points := 1 + rng.IntN(500)
			rows := ofPeriod(everything, fan, from, to)
			want := referencePoints(rows, from, to, points)
			got, err := w.table.Query(t.Context(), fan, from, to, points)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if i < len(want) && math.Abs(got[i].RPM.Mean-want[i].RPM.Mean) < 1e-9*want[i].RPM.Mean &&
					math.Abs(got[i].Score.Mean-want[i].Score.Mean) < 1e-9 {
					got[i].RPM.Mean, got[i].Score.Mean = want[i].RPM.Mean, want[i].Score.Mean // added up in another order
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s from %s to %s in %d points:\n%+v, want\n%+v", fan, from, to, points, got, want)
			}
			n := 0
			for r, err := range w.table.Rows(t.Context(), fan, from, to) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Time.UnixMicro() != rows[n].Time || r.Seq != uint64(rows[n].Seq) || r.Score != rows[n].Score ||
					r.Position.Shard != rows[n].Shard || r.State != fanwatch.StateRunning {
					t.Fatalf("row %d is %+v, want %+v", n, r, rows[n])
				}
				n++
			}
			if n != len(rows) {
				t.Fatalf("%d rows, want %d", n, len(rows))
			}
		}
	}
	check()
	if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	if err := w.table.ExpireSnapshots(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestAQueryWithoutPeriodOrPointsIsRefused(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for _, points := range []int{0, -1, lake.MaxPoints + 1} {
		if _, err := w.table.Query(t.Context(), "fan-0", midnight, midnight.Add(time.Hour), points); err == nil {
			t.Errorf("%d points: no error", points)
		}
	}
	if _, err := w.table.Query(t.Context(), "fan-0", midnight, midnight, 10); err == nil {
		t.Error("an empty period: no error")
	}
	if points, err := w.table.Query(t.Context(), "fan-0", midnight, midnight.Add(time.Hour), 10); err != nil ||
		len(points) != 0 {
		t.Errorf("an empty table: %v, %v", points, err)
	}
}
