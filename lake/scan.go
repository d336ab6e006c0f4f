package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
)

// FanCount says what the table holds of one run of one fan.
type FanCount struct {
	Fan        string `json:"fan"`
	Run        string `json:"run"` // fanwatch.FormatRun; sixteen zeros: the demo's format
	Rows       int    `json:"rows"`
	Distinct   int    `json:"distinct"`   // sequence numbers
	Duplicates int    `json:"duplicates"` // Rows - Distinct: must be 0
}

// Counts counts the rows of the table's current snapshot by fan and run, in that order. It reads three
// columns of every data file.
func (t *Table) Counts(ctx context.Context) ([]FanCount, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := t.runs(ctx, tbl)
	if err != nil {
		return nil, err
	}
	var counts []FanCount
	for _, key := range runs.sorted() {
		s := runs[key]
		counts = append(counts, FanCount{Fan: key.fan, Run: fanwatch.FormatRun(key.run), Rows: s.rows, Distinct: s.distinct(), Duplicates: s.rows - s.distinct()})
	}
	return counts, nil
}

// runs reads the identities of all rows.
func (t *Table) runs(ctx context.Context, tbl *table.Table) (runSets, error) {
	runs := make(runSets)
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return nil, err
		}
		if err := t.addRuns(ctx, runs, df); err != nil {
			return nil, fmt.Errorf("counts: %w", err)
		}
	}
	return runs, nil
}

// runKey is a run of a fan.
type runKey struct {
	fan string
	run uint64
}

// runSet counts a run's rows and remembers its sequence numbers: a run without gaps costs a few bytes.
type runSet struct {
	rows int
	seqs *roaring64.Bitmap
}

func newRunSet() runSet { return runSet{seqs: roaring64.New()} }

func (s *runSet) add(seq uint64) {
	s.rows++
	s.seqs.Add(seq)
}

func (s *runSet) distinct() int { return int(s.seqs.GetCardinality()) }

type runSets map[runKey]*runSet

func (m runSets) add(key runKey, seq uint64) {
	s := m[key]
	if s == nil {
		fresh := newRunSet()
		s = &fresh
		m[key] = s
	}
	s.add(seq)
}

func (m runSets) sorted() []runKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b runKey) int { return cmp.Or(cmp.Compare(a.fan, b.fan), cmp.Compare(a.run, b.run)) })
}

// identity is the three columns of stored that are decoded to count.
type identity struct {
	Fan string `parquet:"fan_id,id(2),dict"`
	Run int64  `parquet:"run,id(3),dict"`
	Seq int64  `parquet:"seq,id(4),delta"`
}

// addFile counts a data file's rows.
func (m runSets) addFile(data []byte) error {
	same := make(intern)
	return eachRow(data, func(row *identity) { m.add(runKey{same.text(row.Fan), uint64(row.Run)}, uint64(row.Seq)) })
}

// eachRow decodes those columns of a data file that T names.
func eachRow[T any](data []byte, do func(*T)) (err error) {
	defer catch(&err)
	f, err := openDataFile(data)
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[T](f)
	defer r.Close()
	batch := make([]T, 1024)
	for {
		n, err := r.Read(batch)
		for i := range batch[:n] {
			do(&batch[i])
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("damaged Parquet file: %w", err)
		}
	}
}

// Rows gives the readings of a fan with from <= time < to, in time's order, each once. Zero times are
// no bounds. What the table does not keep (position within the shard, client, the publisher's counters)
// is zero. It reads the files that may hold such rows, day by day, and of them only the pages of the fan.
func (t *Table) Rows(ctx context.Context, fan string, from, to time.Time) iter.Seq2[fanwatch.Row, error] {
	return func(yield func(fanwatch.Row, error) bool) {
		if err := t.rows(ctx, fan, from, to, yield); err != nil && !errors.Is(err, errEnough) {
			yield(fanwatch.Row{}, fmt.Errorf("rows of %s: %w", fan, err))
		}
	}
}

// errEnough ends a scan whose reader has turned away.
var errEnough = errors.New("enough")

func (t *Table) rows(ctx context.Context, fan string, from, to time.Time, yield func(fanwatch.Row, error) bool) error {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	if !from.IsZero() {
		lo = from.UnixMicro()
	}
	if !to.IsZero() {
		hi = to.UnixMicro()
	}
	tbl, err := t.load(ctx)
	if err != nil {
		return err
	}
	days := make(map[int32][]iceberg.DataFile)
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return err
		}
		day, err := dayOf(df)
		if err != nil {
			return err
		}
		if mayHold(df, fan, lo, hi) {
			days[day] = append(days[day], df)
		}
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		if err := t.rowsOfDay(ctx, days[day], fan, lo, hi, yield); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) rowsOfDay(ctx context.Context, files []iceberg.DataFile, fan string, lo, hi int64, yield func(fanwatch.Row, error) bool) error {
	var cursors []*cursor
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	for _, df := range files {
		data, err := t.read(ctx, df)
		if err != nil {
			return err
		}
		c, err := openCursorAt(data, fan)
		if err != nil {
			return fmt.Errorf("%s: %w", df.FilePath(), err)
		}
		cursors = append(cursors, c)
	}
	_, err := merge(cursors, nil, func(s *stored) error {
		switch {
		case s.Fan > fan:
			return errDayDone
		case s.Fan == fan && s.Time >= lo && s.Time < hi && !yield(s.row(), nil):
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errDayDone) {
		return nil
	}
	return err
}

// errDayDone ends a merge at the first row behind the fan.
var errDayDone = errors.New("day done")

// openCursorAt opens a cursor at the first page that may hold the fan: the file is sorted by fan, and its
// page index says where each page begins.
func openCursorAt(data []byte, fan string) (c *cursor, err error) {
	defer catch(&err)
	if c, err = openCursor(data); err != nil {
		return nil, err
	}
	f, err := openDataFile(data)
	if err != nil {
		return nil, err
	}
	var before int64 // rows of the groups before
	for _, group := range f.RowGroups() {
		column, ok := group.Schema().Lookup("fan_id")
		if !ok {
			return nil, errors.New("no column fan_id")
		}
		chunk := group.ColumnChunks()[column.ColumnIndex]
		values, err := chunk.ColumnIndex()
		if err != nil {
			return c, nil // no page index: read from the start
		}
		places, err := chunk.OffsetIndex()
		if err != nil {
			return c, nil
		}
		for page := range values.NumPages() {
			if string(values.MaxValue(page).ByteArray()) >= fan {
				return c, c.r.SeekToRow(before + places.FirstRowIndex(page))
			}
		}
		before += group.NumRows()
	}
	c.done = true
	return c, nil
}

func (t *iceTable) read(ctx context.Context, df iceberg.DataFile) ([]byte, error) {
	key, err := t.key(df.FilePath())
	if err != nil {
		return nil, err
	}
	return t.cfg.Store.Get(ctx, key)
}

// mayHold tells by the file's bounds whether it can hold such rows; a file without bounds can.
func mayHold(df iceberg.DataFile, fan string, lo, hi int64) bool {
	least, most := df.LowerBoundValues(), df.UpperBoundValues()
	if l, ok := least[2]; ok && bytes.Compare(l, []byte(fan)) > 0 {
		return false
	}
	if m, ok := most[2]; ok && bytes.Compare(m, []byte(fan)) < 0 {
		return false
	}
	if l, err := iceberg.LiteralFromBytes(iceberg.PrimitiveTypes.Int64, least[1]); err == nil && int64(l.(iceberg.Int64Literal)) >= hi {
		return false
	}
	if m, err := iceberg.LiteralFromBytes(iceberg.PrimitiveTypes.Int64, most[1]); err == nil && int64(m.(iceberg.Int64Literal)) < lo {
		return false
	}
	return true
}

// dayOf gives the partition of a data file.
func dayOf(df iceberg.DataFile) (int32, error) {
	switch v := df.Partition()[partitionField].(type) {
	case iceberg.Date:
		return int32(v), nil
	case int32:
		return v, nil
	default:
		return 0, fmt.Errorf("table: file %s: partition value %v is not a day", df.FilePath(), v)
	}
}
