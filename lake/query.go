package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/apache/iceberg-go"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/lake/internal/parquetguard"
)

// Rows gives the readings of a fan with from <= time < to, in time's order, of each day each once. Zero times
// are no bounds. What the table does not keep (position within the shard, client, the publisher's counters) is
// zero. It reads the files that may hold such rows, day by day, and of them only the pages of the fan.
func (t *Table) Rows(ctx context.Context, fan string, from, to time.Time) iter.Seq2[fanwatch.Row, error] {
	return func(yield func(fanwatch.Row, error) bool) {
		lo, hi := bounds(from, to)
		err := t.eachFanDay(ctx, fan, lo, hi, allColumns(), func(d *fanDay) error {
			for _, r := range d.plan.runs {
				for i := r.from; i < r.to; i++ {
					var s stored
					assemble(&s, d.columns, int(i), d.table)
					if !yield(s.row(), nil) {
						return errEnough
					}
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(fanwatch.Row{}, fmt.Errorf("rows of %s: %w", fan, err))
		}
	}
}

func allColumns() []int {
	columns := make([]int, len(tableLayout().columns))
	for i := range columns {
		columns[i] = i
	}
	return columns
}

// errEnough ends a scan whose reader has turned away.
var errEnough = errors.New("enough")

// Spread is the least, the greatest and the mean of some values.
type Spread struct {
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

func (s *Spread) add(v float64, n int) {
	if n == 0 {
		s.Min, s.Max = v, v
	}
	s.Min, s.Max, s.Mean = min(s.Min, v), max(s.Max, v), s.Mean+(v-s.Mean)/float64(n+1)
}

// Point is what a fan's readings of one part of a period come to.
type Point struct {
	From    time.Time     `json:"from"` // UTC, where the part begins
	Count   int           `json:"count"`
	RPM     Spread        `json:"rpm"`
	Score   Spread        `json:"score"`
	Anomaly fanwatch.Kind `json:"anomaly,omitempty"` // of the last reading of the part that had one
}

// MaxPoints bounds how many points a Query may ask for.
const MaxPoints = 100_000

// Query divides from <= time < to into points parts (1 to MaxPoints) of equal length, whole microseconds, and
// sums up the fan's readings in each. Parts without readings are left out. It counts what Rows gives, and reads
// like it, but only the columns that it needs.
func (t *Table) Query(ctx context.Context, fan string, from, to time.Time, points int) ([]Point, error) {
	lo, hi := from.UnixMicro(), to.UnixMicro()
	if points < 1 || points > MaxPoints || lo >= hi {
		return nil, fmt.Errorf("query: %d points from %s to %s: want 1 to %d points, and from before to", points, from.Format(time.RFC3339), to.Format(time.RFC3339), MaxPoints)
	}
	l := tableLayout()
	width := max(1, (hi-lo+int64(points)-1)/int64(points))
	var out []Point
	last := int64(-1)
	err := t.eachFanDay(ctx, fan, lo, hi, []int{l.time, l.run, l.seq, l.fan, l.arrived, l.shard, l.rpm, l.score, l.anomaly}, func(d *fanDay) error {
		anomalies := d.columns[l.anomaly].tags
		times, rpm, score := d.columns[l.time].numbers, d.columns[l.rpm].numbers, d.columns[l.score].numbers
		for _, r := range d.plan.runs {
			for i := r.from; i < r.to; i++ {
				if part := (int64(times[i]) - lo) / width; part != last {
					out, last = append(out, Point{From: time.UnixMicro(lo + part*width).UTC()}), part
				}
				p := &out[len(out)-1]
				p.RPM.add(math.Float64frombits(rpm[i]), p.Count)
				p.Score.add(math.Float64frombits(score[i]), p.Count)
				p.Count++
				if a := d.table.texts[anomalies[i]]; a != "" {
					p.Anomaly = fanwatch.Kind(a)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("query of %s: %w", fan, err)
	}
	return out, nil
}

// fanDay is what the table holds of one fan on one day, in a period.
type fanDay struct {
	table   *textTable
	columns []vector // by place in the layout; those that were not asked for are empty
	rows    int
	plan    *mergePlan // in which order, and which of several copies
}

// eachFanDay calls with the rows of a fan with lo <= time < hi, day by day. The columns must include those that
// give rows their order and identity. What it calls with is good until the call returns.
func (t *Table) eachFanDay(ctx context.Context, fan string, lo, hi int64, columns []int, do func(*fanDay) error) error {
	files, err := t.current(ctx)
	if err != nil {
		return err
	}
	days := make(map[int32][]iceberg.DataFile)
	for _, df := range files {
		day, err := dayOf(df)
		if err != nil {
			return err
		}
		if mayHold(df, fan, lo, hi) {
			days[day] = append(days[day], df)
		}
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		d, err := t.readFanDay(ctx, days[day], fan, lo, hi, columns)
		if err == nil {
			err = do(d)
		}
		if err != nil {
			return err
		}
		t.columns.Put(&d.columns)
	}
	return nil
}

// filesAtOnce is how many files of a day are read at the same time.
const filesAtOnce = 8

func (t *Table) readFanDay(ctx context.Context, files []iceberg.DataFile, fan string, lo, hi int64, columns []int) (*fanDay, error) {
	parts := make([]fanDay, len(files))
	reading, reads := errgroup.WithContext(ctx)
	reading.SetLimit(filesAtOnce)
	for i, df := range files {
		reading.Go(func() error {
			if err := t.readFan(reads, df, fan, lo, hi, columns, &parts[i]); err != nil {
				return fmt.Errorf("%s: %w", df.FilePath(), err)
			}
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	d := &parts[0]
	bounds := []int{0, d.rows}
	for i := range parts[1:] {
		d.join(&parts[i+1])
		t.columns.Put(&parts[i+1].columns)
		bounds = append(bounds, d.rows)
	}
	k, l := d.keys(), tableLayout()
	var segments []segment
	var fans, runs vector
	for i, base := range bounds[:len(bounds)-1] {
		fans, runs = fans.noRuns(), runs.noRuns()
		fans.addValues(texts, d.columns[l.fan], base, bounds[i+1])
		runs.addValues(integers, d.columns[l.run], base, bounds[i+1])
		segments = k.addSegments(segments, fans, runs, base)
	}
	d.plan = planMerge(k, segments, d.table)
	return d, nil
}

// keys gives what orders the rows.
func (d *fanDay) keys() *rowKeys {
	l := tableLayout()
	arrived, shards := d.columns[l.arrived].numbers, d.columns[l.shard].tags
	return &rowKeys{time: d.columns[l.time].numbers, seq: d.columns[l.seq].numbers, tie: func(a, b int) int {
		return cmp.Or(cmp.Compare(int64(arrived[a]), int64(arrived[b])), cmp.Compare(d.table.texts[shards[a]], d.table.texts[shards[b]]))
	}}
}

// readFan decodes a fan's rows of one file of the table.
func (t *Table) readFan(ctx context.Context, df iceberg.DataFile, fan string, lo, hi int64, columns []int, d *fanDay) error {
	index, fetch, err := t.index(ctx, df)
	if err != nil {
		return err
	}
	if used, ok := t.columns.Get().(*[]vector); ok {
		d.columns = *used
	}
	return d.readFile(index, fetch, fan, lo, hi, columns)
}

// readFile fills d, in the memory of its columns if it has any.
func (d *fanDay) readFile(index *fileIndex, fetch fetchFunc, fan string, lo, hi int64, columns []int) (err error) {
	defer parquetguard.Catch(&err)
	l := tableLayout()
	if d.columns == nil {
		d.columns = make([]vector, len(l.columns))
	}
	for c := range d.columns {
		d.columns[c] = vector{numbers: d.columns[c].numbers[:0], tags: d.columns[c].tags[:0]}
	}
	d.table = newTextTable()
	r := newChunkReader(d.table)
	place := d.table.placeOf(fan)
	found, most := make([]rowsOfGroup, len(index.groups)), 0
	for g := range index.groups {
		found[g] = index.mayHoldFan(g, fan, lo, hi)
		most += found[g].to - found[g].from
	}
	for _, c := range columns {
		d.columns[c] = d.columns[c].sized(l.columns[c].kind, most)
	}
	to := make([]vector, len(columns))
	for g, rows := range found {
		n := rows.to - rows.from
		if n == 0 {
			continue
		}
		for i, c := range columns {
			to[i] = d.columns[c].slice(l.columns[c].kind, d.rows, d.rows+n)
		}
		if err := index.readRows(r, fetch, g, columns, rows, to); err != nil {
			return err
		}
		fans, times := d.columns[l.fan].tags, d.columns[l.time].numbers
		d.keep(columns, n, func(i int) bool { return fans[i] == place && int64(times[i]) >= lo && int64(times[i]) < hi })
	}
	for _, c := range columns {
		d.columns[c] = d.columns[c].slice(l.columns[c].kind, 0, d.rows)
	}
	return nil
}

// keep takes over those of the next n rows that fit.
func (d *fanDay) keep(columns []int, n int, fits func(i int) bool) {
	at, end := d.rows, d.rows+n
	for i := at; i < end; i++ {
		from := i
		for i < end && fits(i) {
			i++
		}
		if i > from && from != d.rows {
			for _, c := range columns {
				if v := d.columns[c]; tableLayout().columns[c].kind.numeric() {
					copy(v.numbers[d.rows:], v.numbers[from:i])
				} else {
					copy(v.tags[d.rows:], v.tags[from:i])
				}
			}
		}
		d.rows += i - from
	}
}

// join appends another file's rows. Their texts get places in d's table.
func (d *fanDay) join(o *fanDay) {
	places := make([]uint32, len(o.table.texts))
	for p, text := range o.table.texts {
		places[p] = d.table.placeOf(text)
	}
	for c := range d.columns {
		d.columns[c].numbers = append(d.columns[c].numbers, o.columns[c].numbers...)
		if tableLayout().columns[c].kind == flags {
			d.columns[c].tags = append(d.columns[c].tags, o.columns[c].tags...)
			continue
		}
		for _, tag := range o.columns[c].tags {
			d.columns[c].tags = append(d.columns[c].tags, places[tag])
		}
	}
	d.rows += o.rows
}

// liveCache keeps the data files of the snapshot that was read last. Safe for concurrent use.
type liveCache struct {
	mu       sync.Mutex
	snapshot int64
	files    []iceberg.DataFile
}

// current gives the data files of the table's current snapshot. A snapshot's files never change: only a new one's
// are read.
func (t *Table) current(ctx context.Context) ([]iceberg.DataFile, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	snapshot := tbl.CurrentSnapshot()
	if snapshot == nil {
		return nil, nil
	}
	t.live.mu.Lock()
	defer t.live.mu.Unlock()
	if t.live.files != nil && t.live.snapshot == snapshot.SnapshotID {
		return t.live.files, nil
	}
	var files []iceberg.DataFile
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return nil, err
		}
		files = append(files, df)
	}
	t.live.snapshot, t.live.files = snapshot.SnapshotID, files
	return files, nil
}
