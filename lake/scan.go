package lake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch/lake/internal/parquetguard"
	"fanwatch/lake/rowfile"
)

// readRuns reads the identities of all rows.
func (t *Table) readRuns(ctx context.Context, tbl *table.Table) (runSets, error) {
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

// runSet has the number of a run's rows and their sequence numbers; a run without gaps takes a few bytes.
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
		empty := newRunSet()
		s = &empty
		m[key] = s
	}
	s.add(seq)
}

func (m runSets) sorted() []runKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b runKey) int {
		return cmp.Or(cmp.Compare(a.fan, b.fan), cmp.Compare(a.run, b.run))
	})
}

// index returns a data file's index, from the cache or the file's end, and the function that reads the file.
func (t *Table) index(ctx context.Context, df iceberg.DataFile) (index *rowfile.Index, fetch rowfile.FetchFunc,
	err error) {
	key, err := t.key(df.FilePath())
	if err != nil {
		return nil, nil, err
	}
	fetch = rowfile.FetchFrom(ctx, t.cfg.Store, key)
	index, err = t.indexes.Get(key, func() (x *rowfile.Index, err error) {
		defer parquetguard.Catch(&err)
		return rowfile.OpenIndex(df.FileSizeBytes(), fetch)
	})
	if err == nil && index.Rows != int(df.Count()) {
		err = fmt.Errorf("the table counts %d rows, the file %d", df.Count(), index.Rows)
	}
	return index, fetch, err
}

// readData returns a data file's bytes.
func (t *iceTable) readData(ctx context.Context, df iceberg.DataFile) ([]byte, error) {
	key, err := t.key(df.FilePath())
	if err != nil {
		return nil, err
	}
	return t.cfg.Store.Get(ctx, key)
}

// mayHold reports whether by its bounds a file may have rows of the fan with lo <= time < hi, in Unix microseconds. A
// file without bounds may.
func mayHold(df iceberg.DataFile, fan string, lo, hi int64) bool {
	least, most := df.LowerBoundValues(), df.UpperBoundValues()
	if l, ok := least[2]; ok && bytes.Compare(l, []byte(fan)) > 0 {
		return false
	}
	if m, ok := most[2]; ok && bytes.Compare(m, []byte(fan)) < 0 {
		return false
	}
	if l, err := iceberg.LiteralFromBytes(iceberg.PrimitiveTypes.Int64, least[1]); err == nil &&
		int64(l.(iceberg.Int64Literal)) >= hi {
		return false
	}
	if m, err := iceberg.LiteralFromBytes(iceberg.PrimitiveTypes.Int64, most[1]); err == nil &&
		int64(m.(iceberg.Int64Literal)) < lo {
		return false
	}
	return true
}

// dayOf returns the partition of a data file, its day since 1970.
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
