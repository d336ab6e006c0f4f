package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"fanwatch"
)

var start = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)

func rows(n int, rng *rand.Rand) (all []fanwatch.Row) {
	at := start
	for i := range n {
		r := fanwatch.Row{Kind: fanwatch.Scored, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-1", Run: 7, Seq: uint64(i + 1)}, Time: at, RPM: 1800 + 10*rng.NormFloat64(), State: fanwatch.Running},
			Position: fanwatch.Position{Shard: "s"}, Arrived: at.Add(time.Second), Score: rng.Float64()}
		if i%7 == 3 {
			r.Anomaly = fanwatch.Stall
		}
		all = append(all, r)
		at = at.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
	}
	return all
}

func seq(all []fanwatch.Row) iter.Seq2[fanwatch.Row, error] {
	return func(yield func(fanwatch.Row, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// TestDownsample holds the buckets against sums made the dumb way.
func TestDownsample(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000} {
		for _, points := range []int{1, 2, 7, 100, 5000, 0} {
			all := rows(n, rng)
			got, err := downsample(seq(all), points)
			if err != nil || points > 0 && len(got) > points || points == 0 && len(got) != n {
				t.Fatalf("%d rows in %d points: %d, %v", n, points, len(got), err)
			}
			i := 0
			for k, b := range got {
				part := all[i : i+b.Readings]
				i += b.Readings
				sum := 0.0
				for _, r := range part {
					sum += r.RPM
				}
				low := slices.MinFunc(part, func(a, b fanwatch.Row) int { return int(math.Copysign(1, a.RPM-b.RPM)) }).RPM
				if math.Abs(b.Mean-sum/float64(len(part))) > 1e-6 || b.Min != low || b.From.After(part[0].Time) || k > 0 && points > 0 && !b.From.After(got[k-1].From) {
					t.Fatalf("%d rows in %d points: bucket %d is %+v", n, points, k, b)
				}
			}
			if i != n {
				t.Fatalf("%d rows in the buckets, want %d", i, n)
			}
		}
	}
}

func TestExport(t *testing.T) {
	all := rows(5000, rand.New(rand.NewPCG(1, 2)))
	each := func(add func(exported) error) error {
		for _, r := range all {
			if err := add(toExported(r)); err != nil {
				return err
			}
		}
		return nil
	}
	var buf bytes.Buffer
	if err := exportRows(&buf, "csv", each); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&buf).ReadAll()
	if err != nil || len(records) != 5001 || records[0][0] != "time" || records[1][0] != "2026-05-28T20:00:00.000000Z" || records[1][9] != "" || records[4][9] != "stall" || records[1][10] != "false" {
		t.Fatalf("%d records, %v ...; %v", len(records), records[:5], err)
	}
	buf.Reset()
	if err := exportRows(&buf, "ndjson", each); err != nil {
		t.Fatal(err)
	}
	dec, n := json.NewDecoder(&buf), 0
	for ; ; n++ {
		var o map[string]any
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if _, anomalous := o["anomaly"]; o["rpm"] != all[n].RPM || o["seq"] != float64(n+1) || anomalous != (n%7 == 3) {
			t.Fatalf("line %d: %v", n, o)
		}
	}
	buf.Reset()
	if err := exportRows(&buf, "parquet", each); err != nil {
		t.Fatal(err)
	}
	back, err := parquet.Read[exported](bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil || n != 5000 || len(back) != 5000 || back[4999] != toExported(all[4999]) {
		t.Fatalf("%d lines, %d rows, %v", n, len(back), err)
	}
	if err := exportRows(&buf, "xls", each); !errors.Is(err, errUsage) {
		t.Errorf("xls: %v", err)
	}
}

func TestPeriod(t *testing.T) {
	now := start
	from, to, err := period{"24h", "2026-05-28T19:00"}.times(now)
	if err != nil || !from.Equal(now.Add(-24*time.Hour)) || !to.Equal(now.Add(-time.Hour)) {
		t.Errorf("%v to %v, %v", from, to, err)
	}
	if from, to, err = (period{"2026-05-01", ""}).times(now); err != nil || !from.Equal(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) || !to.IsZero() {
		t.Errorf("%v to %v, %v", from, to, err)
	}
	for _, bad := range []period{{"yesterday", ""}, {"", "soon"}, {"1h", "2h"}} {
		if _, _, err := bad.times(now); !errors.Is(err, errUsage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 128 << 20: "128.0 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
