package lake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/apache/iceberg-go"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/lake/rowfile"
)

// Rows returns the readings of a fan with from <= time < to, in the order of time, each once within a day. Zero times
// are no bounds. Fields that the table does not keep (position within the shard, client, the publisher's counters) are
// zero. It reads the files that may have such rows, day by day, and of them only the pages of the fan.
func (t *Table) Rows(ctx context.Context, fan string, from, to time.Time) iter.Seq2[fanwatch.Row, error] {
	return func(yield func(fanwatch.Row, error) bool) {
		lo, hi := bounds(from, to)
		err := t.eachFanDay(ctx, fan, lo, hi, rowfile.AllColumns(), func(d *rowfile.FanDay) error {
			for _, r := range d.Ranges() {
				for i := r.From; i < r.To; i++ {
					s := d.Row(int(i))
					if !yield(s.Reading(), nil) {
						return errStop
					}
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(fanwatch.Row{}, fmt.Errorf("rows of %s: %w", fan, err))
		}
	}
}

// Fans returns the names of the fans of which the table's files of the days that overlap from <= time < to have
// readings, sorted. Zero times are no bounds. It reads one column of these files.
func (t *Table) Fans(ctx context.Context, from, to time.Time) ([]string, error) {
	files, err := t.currentFiles(ctx)
	if err != nil {
		return nil, err
	}
	lo, hi := bounds(from, to)
	names := make(map[string]bool)
	for _, df := range files {
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		if begin := int64(day) * rowfile.DayMicros; begin+rowfile.DayMicros <= lo || begin >= hi {
			continue
		}
		index, fetch, err := t.index(ctx, df)
		var found []string
		if err == nil {
			found, err = index.Fans(fetch)
		}
		if err != nil {
			return nil, fmt.Errorf("fans of %s: %w", df.FilePath(), err)
		}
		for _, name := range found {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// errStop ends a scan whose caller wants no more rows.
var errStop = errors.New("enough")

// Stats are the least, the greatest and the mean of some values.
type Stats struct {
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// add adds a value to n others.
func (s *Stats) add(v float64, n int) {
	if n == 0 {
		s.Min, s.Max = v, v
	}
	s.Min, s.Max, s.Mean = min(s.Min, v), max(s.Max, v), s.Mean+(v-s.Mean)/float64(n+1)
}

// Point sums up a fan's readings of one part of a period.
type Point struct {
	From    time.Time     `json:"from"`  // beginning of the part, UTC
	Count   int           `json:"count"` // readings
	RPM     Stats         `json:"rpm"`
	Score   Stats         `json:"score"`
	Anomaly fanwatch.Kind `json:"anomaly,omitempty"` // the last anomaly of the part's readings
	// Expected, Low and High are the means of fanwatch.Judged over the readings of which a speed was expected; 0 = of
	// none.
	Expected float64 `json:"expected,omitempty"`
	Low      float64 `json:"low,omitempty"`
	High     float64 `json:"high,omitempty"`
}

// MaxPoints is the largest number of points of a [Table.Query].
const MaxPoints = 100_000

// Query divides from <= time < to into points parts (1 to [MaxPoints]) of equal length, in whole microseconds, and sums
// up in each the readings that [Table.Rows] returns. Parts without readings are left out. It reads only the columns
// that it needs.
func (t *Table) Query(ctx context.Context, fan string, from, to time.Time, points int) ([]Point, error) {
	lo, hi := from.UnixMicro(), to.UnixMicro()
	if points < 1 || points > MaxPoints || lo >= hi {
		return nil, fmt.Errorf("query: %d points from %s to %s: want 1 to %d points, and from before to", points,
			from.Format(time.RFC3339), to.Format(time.RFC3339), MaxPoints)
	}
	width := max(1, (hi-lo+int64(points)-1)/int64(points))
	var out []Point
	last, judged := int64(-1), 0 // the newest part, and of how many of its readings a speed was expected
	err := t.eachFanDay(ctx, fan, lo, hi, rowfile.SeriesColumns(), func(d *rowfile.FanDay) error {
		s := d.Series()
		for _, r := range d.Ranges() {
			for i := r.From; i < r.To; i++ {
				if part := (s.Time(i) - lo) / width; part != last {
					out, last, judged = append(out, Point{From: time.UnixMicro(lo + part*width).UTC()}), part, 0
				}
				p := &out[len(out)-1]
				p.RPM.add(s.RPM(i), p.Count)
				p.Score.add(s.Score(i), p.Count)
				p.Count++
				if expected, low, high := s.Judged(i); expected != 0 {
					judged++
					p.Expected += (expected - p.Expected) / float64(judged)
					p.Low += (low - p.Low) / float64(judged)
					p.High += (high - p.High) / float64(judged)
				}
				if a := s.Anomaly(i); a != "" {
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

// eachFanDay calls do with the rows of a fan with lo <= time < hi, in Unix microseconds, day by day. The columns must
// include those that give rows their order and identity. do's argument is valid until do returns.
func (t *Table) eachFanDay(ctx context.Context, fan string, lo, hi int64, columns []int,
	do func(*rowfile.FanDay) error) error {
	files, err := t.currentFiles(ctx)
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
		d.Release()
	}
	return nil
}

// filesAtOnce is how many files of a day are read at the same time.
const filesAtOnce = 8

// readFanDay decodes a fan's rows of one day's files.
func (t *Table) readFanDay(ctx context.Context, files []iceberg.DataFile, fan string, lo, hi int64,
	columns []int) (*rowfile.FanDay, error) {
	parts := make([]rowfile.FanDay, len(files))
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
	return rowfile.JoinFiles(parts), nil
}

// readFan decodes a fan's rows of one file of the table.
func (t *Table) readFan(ctx context.Context, df iceberg.DataFile, fan string, lo, hi int64, columns []int,
	d *rowfile.FanDay) error {
	index, fetch, err := t.index(ctx, df)
	if err != nil {
		return err
	}
	return d.ReadFile(index, fetch, fan, lo, hi, columns)
}

// liveCache has the data files of the snapshot that was read last. It is safe for concurrent use.
type liveCache struct {
	mu       sync.Mutex
	snapshot int64
	files    []iceberg.DataFile
}

// currentFiles returns the data files of the table's current snapshot. A snapshot's files never change: only those of
// a new one are read.
func (t *Table) currentFiles(ctx context.Context) ([]iceberg.DataFile, error) {
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
