package rowfile

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go"

	"fanwatch/lake/internal/parquetguard"
)

// The reference merge: rows one by one, through the Parquet library. It shares neither reader nor writer nor the order
// of work with the columnar merge, which tests compare with it.

// libraryFile writes sorted rows as the library does.
func libraryFile(t testing.TB, rows []Row) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[Row](&buf, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(64<<10),
		parquet.CreatedBy("fanwatch", strconv.Itoa(Version), "table"), parquet.KeyValueMetadata(MetaVersion,
			strconv.Itoa(Version)),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("fan_id"), parquet.Ascending("time"))))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// rowStats accounts for a merge: rows in = rows out + duplicates, and the same of the sums of hashes.
type rowStats struct {
	in, out, duplicates int
	inHash, dupHash     uint64
}

// merge reads sorted cursors together and gives every (fan, run, seq) once, in the table's order, to emit.
// hash may be nil. Memory is a batch of rows per cursor and the identities of one fan.
func rowMerge(cursors []*cursor, hash func(*Row) uint64, emit func(*Row) error) (rowStats, error) {
	var stats rowStats
	h := make(mergeHeap, 0, len(cursors))
	for _, c := range cursors {
		row, err := c.next()
		if err != nil {
			return stats, err
		}
		if row != nil {
			h = append(h, head{row, c})
		}
	}
	heap.Init(&h)
	var dedupe Deduper
	for len(h) > 0 {
		row := h[0].row
		var sum uint64
		if hash != nil {
			sum = hash(row)
		}
		stats.in++
		stats.inHash += sum
		if dedupe.First(row) {
			stats.out++
			if err := emit(row); err != nil {
				return stats, err
			}
		} else {
			stats.duplicates++
			stats.dupHash += sum
		}
		next, err := h[0].from.next()
		if err != nil {
			return stats, err
		}
		if h[0].row = next; next == nil {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return stats, nil
}

type head struct {
	row  *Row
	from *cursor
}

type mergeHeap []head

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return h[i].row.Compare(h[j].row) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *mergeHeap) Push(x any)        { *h = append(*h, x.(head)) }
func (h *mergeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// cursor reads one data file's rows in order.
type cursor struct {
	r     *parquet.GenericReader[Row]
	same  intern
	batch []Row
	i, n  int
	done  bool
}

func openCursor(data []byte) (c *cursor, err error) {
	defer parquetguard.Catch(&err)
	f, err := openDataFile(data)
	if err != nil {
		return nil, err
	}
	c = &cursor{r: parquet.NewGenericReader[Row](f), same: make(intern), batch: make([]Row, 256)}
	return c, nil
}

// next returns the row in front, nil at the file's end. It is good until the following next.
func (c *cursor) next() (s *Row, err error) {
	defer parquetguard.Catch(&err)
	if c.i == c.n {
		if c.done {
			return nil, nil
		}
		n, err := c.r.Read(c.batch)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("damaged Parquet file: %w", err)
		}
		c.i, c.n, c.done = 0, n, errors.Is(err, io.EOF)
		if n == 0 {
			c.done = true
			return nil, nil
		}
	}
	s = &c.batch[c.i]
	c.i++
	s.Fan, s.State, s.Anomaly, s.Shard = c.same.text(s.Fan), c.same.text(s.State), c.same.text(s.Anomaly),
		c.same.text(s.Shard)
	return s, nil
}

func (c *cursor) close() { _ = c.r.Close() } // it reads from memory; nothing can fail

// intern keeps one copy of each text: a file repeats its few fans in every row.
type intern map[string]string

func (m intern) text(s string) string {
	if c, ok := m[s]; ok {
		return c
	}
	s = string([]byte(s)) // the reader's string may share a whole page's memory
	m[s] = s
	return s
}
