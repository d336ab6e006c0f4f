package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"
)

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

// addFile counts a data file's rows.
func (m runSets) addFile(index *fileIndex, fetch fetchFunc) error { return eachID(index, fetch, m.add) }

// eachID calls do with the identity of every row of a data file.
func eachID(index *fileIndex, fetch fetchFunc, do func(key runKey, seq uint64)) (err error) {
	defer catch(&err)
	l, table := tableLayout(), newTextTable()
	r := newChunkReader(table)
	columns, v := []int{l.fan, l.run, l.seq}, make([]vector, 3)
	for g := range index.groups {
		rows := index.groups[g].rows
		for i, c := range columns {
			v[i] = v[i].sized(l.columns[c].kind, rows)
		}
		if err := index.readRows(r, fetch, g, columns, rowsOfGroup{0, rows}, v); err != nil {
			return err
		}
		for i := range rows {
			do(runKey{table.texts[v[0].tags[i]], v[1].numbers[i]}, v[2].numbers[i])
		}
	}
	return nil
}

// index gives what the end of a data file says.
func (t *Table) index(ctx context.Context, df iceberg.DataFile) (index *fileIndex, fetch fetchFunc, err error) {
	key, err := t.key(df.FilePath())
	if err != nil {
		return nil, nil, err
	}
	fetch = fetchFrom(ctx, t.cfg.Store, key)
	index, err = t.indexes.get(key, func() (x *fileIndex, err error) {
		defer catch(&err)
		return openIndex(df.FileSizeBytes(), fetch)
	})
	if err == nil && index.rows != int(df.Count()) {
		err = fmt.Errorf("the table counts %d rows, the file %d", df.Count(), index.rows)
	}
	return index, fetch, err
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

func openDataFile(data []byte) (*parquet.File, error) {
	if err := checkFooter(data); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("damaged Parquet file: %w", err)
	}
	for _, group := range f.Metadata().RowGroups {
		for _, c := range group.Columns {
			m := &c.MetaData
			start, size := m.DataPageOffset, m.TotalCompressedSize
			if m.DictionaryPageOffset > 0 && m.DictionaryPageOffset < start {
				start = m.DictionaryPageOffset
			}
			if start < 0 || size < 0 || size > int64(len(data)) || start > int64(len(data))-size {
				return nil, errFooter
			}
			if err := checkPages(m.Codec, data[start:start+size]); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// read gives a data file's bytes.
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
