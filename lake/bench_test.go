package lake

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fanwatch/testsuite/readings"
)

var benchStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// benchFiles puts into a directory what a committer leaves behind: a file a minute, of all fans.
func benchFiles(b *testing.B, store Store, fleet *readings.Fleet, minutes int) (keys []string, sizes []int64) {
	b.Helper()
	for m := range minutes {
		f := newDataFile(0)
		for fan := range fleet.Fans() {
			for s := range 60 {
				row := fleet.Row(fan, m*60+s)
				r := toStored(&row)
				if err := f.add(&r); err != nil {
					b.Fatal(err)
				}
			}
		}
		data, err := f.finish()
		if err != nil {
			b.Fatal(err)
		}
		keys, sizes = append(keys, fmt.Sprintf("in/%06d.parquet", m)), append(sizes, f.size)
		if err := store.Put(b.Context(), keys[m], data, true); err != nil {
			b.Fatal(err)
		}
	}
	return keys, sizes
}

func BenchmarkMerge(b *testing.B) {
	const fans, minutes = 84, 1000
	fleet, err := readings.New(fans, minutes*60, benchStart, 1)
	if err != nil {
		b.Fatal(err)
	}
	dir, err := OpenDir(filepath.Join(b.TempDir(), "objects"))
	if err != nil {
		b.Fatal(err)
	}
	keys, sizes := benchFiles(b, dir, fleet, minutes)
	var in int64
	for _, n := range sizes {
		in += n
	}
	var file *tableFile
	var took []time.Duration
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		before := cpuTime()
		m := newMerger()
		for i := range keys {
			if err := m.add(context.Background(), dir, keys[i], sizes[i], fans*60); err != nil {
				b.Fatal(err)
			}
		}
		if file, err = m.merge(context.Background(), dir, fmt.Sprint("out", i), 0); err != nil {
			b.Fatal(err)
		}
		if err := m.close(); err != nil {
			b.Fatal(err)
		}
		took = append(took, cpuTime()-before)
	}
	slices.Sort(took)
	b.ReportMetric(float64(file.rows)/took[len(took)/2].Seconds(), "rows-per_cpu_s")
	b.ReportMetric(float64(in)/float64(file.rows), "in-B/row")
	b.ReportMetric(float64(file.size)/float64(file.rows), "out-B/row")
	for c, column := range tableLayout().columns {
		n := 0
		for g := range file.groups {
			n += file.groups[g][c].size()
		}
		b.Logf("%-8s %6.3f B a reading, %v", column.name, float64(n)/float64(file.rows), file.groups[0][c].encoding)
	}
}
