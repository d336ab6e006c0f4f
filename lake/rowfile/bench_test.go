package rowfile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/objstore"
	"fanwatch/testsuite/readings"
)

var benchStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func benchFleet(b *testing.B, fans, windows int) *readings.Fleet {
	b.Helper()
	fleet, err := readings.New(fans, windows, benchStart, 1)
	if err != nil {
		b.Fatal(err)
	}
	return fleet
}

// minute returns a minute's readings of a fleet, sorted.
func minute(fleet *readings.Fleet, m int) []fanwatch.Row {
	var rows []fanwatch.Row
	for fan := range fleet.Fans() {
		for s := range 60 {
			rows = append(rows, fleet.Row(fan, m*60+s))
		}
	}
	return rows
}

// BenchmarkBytesPerReading writes a fleet's day, sorted as a compaction leaves it, and weighs time, fan, run, seq,
// rpm and score. It logs what each column costs.
func BenchmarkBytesPerReading(b *testing.B) {
	const fans, windows = 16, 86_400
	fleet := benchFleet(b, fans, windows)
	var f *Writer
	for b.Loop() {
		f = NewWriter(0)
		for fan := range fans {
			for w := range windows {
				row := fleet.Row(fan, w)
				s := RowOf(&row)
				if err := f.Add(&s); err != nil {
					b.Fatal(err)
				}
			}
		}
		if _, err := f.Finish(); err != nil {
			b.Fatal(err)
		}
	}
	six, table := 0, ""
	for c, column := range tableLayout().columns {
		n := 0
		for g := range f.groups {
			n += f.groups[g][c].size()
		}
		switch column.name {
		case "time", "fan_id", "run", "seq", "rpm", "score":
			six += n
		}
		table += fmt.Sprintf("\n%-8s %6.3f bytes a reading, %v", column.name, float64(n)/float64(f.Rows),
			f.groups[0][c].encoding)
	}
	b.Log(table)
	b.ReportMetric(float64(six)/float64(f.Rows), "B")
	b.ReportMetric(float64(f.Size)/float64(f.Rows), "all-B")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMerge merges 1,000 files of 5,040 rows.
func BenchmarkMerge(b *testing.B) {
	const fans, minutes = 84, 1000
	store, err := objstore.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	fleet := benchFleet(b, fans, minutes*60)
	files := make([]*Writer, minutes)
	for m := range files {
		f := NewWriter(DayOf(benchStart.UnixMicro()))
		for _, row := range minute(fleet, m) {
			s := RowOf(&row)
			if err := f.Add(&s); err != nil {
				b.Fatal(err)
			}
		}
		data, err := f.Finish()
		if err == nil {
			err = store.Put(b.Context(), fmt.Sprint("in", m), data, true)
		}
		if err != nil {
			b.Fatal(err)
		}
		files[m] = f
	}
	var took []time.Duration
	rows := 0
	for i := 0; b.Loop(); i++ {
		before := cpuTime()
		m := NewMerger(fans * 60 * minutes)
		for n, f := range files {
			if err := m.Add(b.Context(), store, fmt.Sprint("in", n), f.Size, f.Rows); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := m.Merge(b.Context(), store, fmt.Sprint("out", i), 0); err != nil {
			b.Fatal(err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
		rows = m.plan.rows
		took = append(took, cpuTime()-before)
	}
	slices.Sort(took)
	b.ReportMetric(float64(rows)/took[len(took)/2].Seconds(), "rows/cpu_s")
}
