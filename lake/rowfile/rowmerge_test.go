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

// libraryRow is Row as the library has it, with pointers where null is not the zero value.
type libraryRow struct {
	Time     int64    `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan      string   `parquet:"fan_id,id(2),dict"`
	Run      int64    `parquet:"run,id(3),dict"`
	Seq      int64    `parquet:"seq,id(4),delta"`
	RPM      float64  `parquet:"rpm,id(5),dict"`
	Hz       float64  `parquet:"hz,id(6),dict"`
	Jitter   float64  `parquet:"jitter,id(7),dict"`
	Score    float64  `parquet:"score,id(8),dict"`
	State    string   `parquet:"state,id(9),dict"`
	Anomaly  string   `parquet:"anomaly,id(10),dict,optional"`
	Late     bool     `parquet:"late,id(11)"`
	Edges    int64    `parquet:"edges,id(12),dict"`
	Glitch   int64    `parquet:"glitch,id(13),dict"`
	Lost     int64    `parquet:"lost,id(14),dict"`
	Unsynch  bool     `parquet:"unsynch,id(15)"`
	Arrived  int64    `parquet:"arrived,id(16),timestamp(microsecond),delta"`
	Shard    string   `parquet:"shard,id(17),dict"`
	Expected float64  `parquet:"expected,id(18),dict,optional"`
	Low      float64  `parquet:"low,id(19),dict,optional"`
	High     float64  `parquet:"high,id(20),dict,optional"`
	Level    *int64   `parquet:"level,id(21),dict,optional"`
	Verdict  string   `parquet:"verdict,id(22),dict,optional"`
	PWM      *float64 `parquet:"pwm,id(23),dict,optional"`
}

func toLibraryRow(s Row) libraryRow {
	return libraryRow{s.Time, s.Fan, s.Run, s.Seq, s.RPM, s.Hz, s.Jitter, s.Score, s.State, s.Anomaly, s.Late, s.Edges,
		s.Glitch, s.Lost, s.Unsynch, s.Arrived, s.Shard, s.Expected, s.Low, s.High, unless(s.Level, -1), s.Verdict,
		unless(s.PWM, -1)}
}

func (l *libraryRow) row() Row {
	s := Row{l.Time, l.Fan, l.Run, l.Seq, l.RPM, l.Hz, l.Jitter, l.Score, l.State, l.Anomaly, l.Late, l.Edges,
		l.Glitch, l.Lost, l.Unsynch, l.Arrived, l.Shard, l.Expected, l.Low, l.High, -1, l.Verdict, -1}
	if l.Level != nil {
		s.Level = *l.Level
	}
	if l.PWM != nil {
		s.PWM = *l.PWM
	}
	return s
}

// unless returns nil where v is null.
func unless[T comparable](v, null T) *T {
	if v == null {
		return nil
	}
	return &v
}

// libraryFile writes sorted rows as the library does.
func libraryFile(t testing.TB, rows []Row) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[libraryRow](&buf, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(64<<10),
		parquet.CreatedBy("fanwatch", strconv.Itoa(Version), "table"), parquet.KeyValueMetadata(MetaVersion,
			strconv.Itoa(Version)),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("fan_id"), parquet.Ascending("time"))))
	for _, s := range rows {
		if _, err := w.Write([]libraryRow{toLibraryRow(s)}); err != nil {
			t.Fatal(err)
		}
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
	r     *parquet.GenericReader[libraryRow]
	same  intern
	batch []libraryRow
	row   Row
	i, n  int
	done  bool
}

func openCursor(data []byte) (c *cursor, err error) {
	defer parquetguard.Catch(&err)
	f, err := openDataFile(data)
	if err != nil {
		return nil, err
	}
	c = &cursor{r: parquet.NewGenericReader[libraryRow](f), same: make(intern), batch: make([]libraryRow, 256)}
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
	c.row = c.batch[c.i].row()
	s = &c.row
	c.i++
	s.Fan, s.State, s.Anomaly, s.Shard, s.Verdict = c.same.text(s.Fan), c.same.text(s.State), c.same.text(s.Anomaly),
		c.same.text(s.Shard), c.same.text(s.Verdict)
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
