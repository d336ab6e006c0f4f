package lake

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
)

// stored is a row as its columns lie in the table's files; the IDs are those of tableSchema. Encodings by
// measurement: delta for what counts up, dictionaries for the rest, zstd over all. No BYTE_STREAM_SPLIT:
// several readers lag behind.
type stored struct {
	Time    int64   `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string  `parquet:"fan_id,id(2),dict"`
	Run     int64   `parquet:"run,id(3),dict"`
	Seq     int64   `parquet:"seq,id(4),delta"`
	RPM     float64 `parquet:"rpm,id(5),dict"`
	Hz      float64 `parquet:"hz,id(6),dict"`
	Jitter  float64 `parquet:"jitter,id(7),dict"`
	Score   float64 `parquet:"score,id(8),dict"`
	State   string  `parquet:"state,id(9),dict"`
	Anomaly string  `parquet:"anomaly,id(10),dict,optional"`
	Late    bool    `parquet:"late,id(11)"`
	Edges   int64   `parquet:"edges,id(12),dict"`
	Glitch  int64   `parquet:"glitch,id(13),dict"`
	Lost    int64   `parquet:"lost,id(14),dict"`
	Unsynch bool    `parquet:"unsynch,id(15)"`
	Arrived int64   `parquet:"arrived,id(16),timestamp(microsecond),delta"`
	Shard   string  `parquet:"shard,id(17),dict"`
}

const tableColumns = 17

func toStored(r *fanwatch.Row) stored {
	return stored{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), RPM: plainZero(r.RPM), Hz: plainZero(r.Hz), Jitter: plainZero(r.Jitter),
		Score: plainZero(math.Round(r.Score*1000) / 1000), State: string(r.State), Anomaly: string(r.Anomaly), Late: r.Kind == fanwatch.Late,
		Edges: int64(r.Edges), Glitch: int64(r.Glitch), Lost: int64(r.Lost), Unsynch: r.Unsynch, Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard}
}

func (s *stored) row() fanwatch.Row {
	r := fanwatch.Row{Kind: fanwatch.Scored, Position: fanwatch.Position{Shard: s.Shard}, Arrived: time.UnixMicro(s.Arrived).UTC(), Score: s.Score, Anomaly: fanwatch.Kind(s.Anomaly)}
	if s.Late {
		r.Kind = fanwatch.Late
	}
	r.Reading = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: s.Fan, Run: uint64(s.Run), Seq: uint64(s.Seq)}, Time: time.UnixMicro(s.Time).UTC(),
		RPM: s.RPM, Hz: s.Hz, Jitter: s.Jitter, Edges: uint32(s.Edges), Glitch: uint32(s.Glitch), Lost: uint32(s.Lost), State: fanwatch.State(s.State), Unsynch: s.Unsynch}
	return r
}

// plainZero turns -0 into 0: a dictionary may take either for the other, and the content hash would differ.
func plainZero(f float64) float64 {
	if f == 0 {
		return 0
	}
	return f
}

// compare orders rows as the table sorts them, and what ties there by all that tells two rows apart, so
// that of several copies the same one always comes first.
func (s *stored) compare(o *stored) int {
	return cmp.Or(cmp.Compare(s.Fan, o.Fan), cmp.Compare(s.Time, o.Time), cmp.Compare(s.Run, o.Run), cmp.Compare(s.Seq, o.Seq),
		cmp.Compare(s.Arrived, o.Arrived), cmp.Compare(s.Shard, o.Shard))
}

const dayMicros = 24 * 3600 * 1_000_000

// day gives the partition of the row: whole days since 1970.
func (s *stored) day() int32 {
	d := s.Time / dayMicros
	if s.Time%dayMicros < 0 {
		d--
	}
	return int32(d)
}

// hash of all of the row's content. Sums of it compare two sets of rows in any order.
func (s *stored) hash(seed maphash.Seed) uint64 {
	var buf [512]byte
	b := buf[:0]
	for _, n := range []uint64{uint64(s.Time), uint64(s.Run), uint64(s.Seq), math.Float64bits(s.RPM), math.Float64bits(s.Hz), math.Float64bits(s.Jitter), math.Float64bits(s.Score),
		uint64(s.Edges), uint64(s.Glitch), uint64(s.Lost), uint64(s.Arrived)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = strconv.AppendBool(strconv.AppendBool(b, s.Late), s.Unsynch)
	for _, t := range []string{s.Fan, s.State, s.Anomaly, s.Shard} {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	return maphash.Bytes(seed, b)
}

// deduper passes the first row of every (fan, run, seq). Rows must come with each fan's together: then it
// only remembers one fan.
type deduper struct {
	fan  string
	seen map[[2]int64]struct{}
}

func (d *deduper) first(s *stored) bool {
	if d.seen == nil || d.fan != s.Fan {
		d.fan, d.seen = s.Fan, make(map[[2]int64]struct{}, len(d.seen))
	}
	id := [2]int64{s.Run, s.Seq}
	if _, ok := d.seen[id]; ok {
		return false
	}
	d.seen[id] = struct{}{}
	return true
}

// dataFile collects sorted rows of one day into the bytes of one Parquet file, and what Iceberg wants to
// know of it.
type dataFile struct {
	day    int32
	rows   int
	wells  int // rows without anomaly: its nulls
	lo, hi stored
	buf    bytes.Buffer
	w      *parquet.GenericWriter[stored]
	batch  []stored
}

func newDataFile(day int32) *dataFile {
	f := &dataFile{day: day, batch: make([]stored, 0, 1024)}
	f.w = parquet.NewGenericWriter[stored](&f.buf, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(64<<10),
		parquet.CreatedBy("fanwatch", strconv.Itoa(TableVersion), "table"), parquet.KeyValueMetadata(metaVersion, strconv.Itoa(TableVersion)),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("fan_id"), parquet.Ascending("time"))))
	return f
}

func (f *dataFile) add(s *stored) error {
	if f.rows == 0 {
		f.lo, f.hi = *s, *s
	}
	f.lo.Fan, f.hi.Fan = min(f.lo.Fan, s.Fan), max(f.hi.Fan, s.Fan)
	f.lo.Time, f.hi.Time = min(f.lo.Time, s.Time), max(f.hi.Time, s.Time)
	f.lo.RPM, f.hi.RPM = min(f.lo.RPM, s.RPM), max(f.hi.RPM, s.RPM)
	f.lo.Score, f.hi.Score = min(f.lo.Score, s.Score), max(f.hi.Score, s.Score)
	f.rows++
	if s.Anomaly == "" {
		f.wells++
	}
	if f.batch = append(f.batch, *s); len(f.batch) == cap(f.batch) {
		return f.flush()
	}
	return nil
}

func (f *dataFile) flush() error {
	_, err := f.w.Write(f.batch)
	f.batch = f.batch[:0]
	return wrap(err, "table: write rows")
}

// finish ends the file, reads its row count back and gives its bytes.
func (f *dataFile) finish() ([]byte, error) {
	if err := f.flush(); err != nil {
		return nil, err
	}
	if err := f.w.Close(); err != nil {
		return nil, fmt.Errorf("table: write rows: %w", err)
	}
	back, err := parquet.OpenFile(bytes.NewReader(f.buf.Bytes()), int64(f.buf.Len()))
	if err != nil {
		return nil, fmt.Errorf("table: a file just written cannot be read: %w", err)
	}
	if back.NumRows() != int64(f.rows) {
		return nil, fmt.Errorf("table: a file just written has %d rows, not %d", back.NumRows(), f.rows)
	}
	return f.buf.Bytes(), nil
}

// describe makes Iceberg's entry for the file.
func (f *dataFile) describe(spec iceberg.PartitionSpec, sortOrder int, path string) (iceberg.DataFile, error) {
	b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, path, iceberg.ParquetFile, map[int]any{partitionField: iceberg.Date(f.day)},
		map[int]string{partitionField: "date"}, nil, int64(f.rows), int64(f.buf.Len()))
	if err != nil {
		return nil, fmt.Errorf("table: %s: %w", path, err)
	}
	values, nulls := make(map[int]int64), make(map[int]int64)
	for id := 1; id <= tableColumns; id++ {
		values[id], nulls[id] = int64(f.rows), 0
	}
	nulls[10] = int64(f.wells)
	lo, err := f.lo.bounds()
	if err != nil {
		return nil, err
	}
	hi, err := f.hi.bounds()
	if err != nil {
		return nil, err
	}
	return b.ValueCounts(values).NullValueCounts(nulls).LowerBoundValues(lo).UpperBoundValues(hi).SortOrderID(sortOrder).Build(), nil
}

// bounds serialises the columns by which readers skip whole files (Iceberg spec, "Binary single-value
// serialization").
func (s *stored) bounds() (map[int][]byte, error) {
	bounds := make(map[int][]byte)
	for id, v := range map[int]interface{ MarshalBinary() ([]byte, error) }{
		1: iceberg.Int64Literal(s.Time), 2: iceberg.StringLiteral(s.Fan), 5: iceberg.Float64Literal(s.RPM), 8: iceberg.Float64Literal(s.Score),
	} {
		data, err := v.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("table: bounds: %w", err)
		}
		bounds[id] = data
	}
	return bounds, nil
}

// cursor reads one data file's rows in order.
type cursor struct {
	r     *parquet.GenericReader[stored]
	same  intern
	batch []stored
	i, n  int
	done  bool
}

func openCursor(data []byte) (c *cursor, err error) {
	defer catch(&err)
	f, err := openDataFile(data)
	if err != nil {
		return nil, err
	}
	c = &cursor{r: parquet.NewGenericReader[stored](f), same: make(intern), batch: make([]stored, 256)}
	return c, nil
}

func openDataFile(data []byte) (*parquet.File, error) {
	if err := checkFooter(data); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("damaged Parquet file: %w", err)
	}
	return f, checkCodecs(f)
}

// next gives the row in front, nil at the file's end. It is good until the following next.
func (c *cursor) next() (s *stored, err error) {
	defer catch(&err)
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
	s.Fan, s.State, s.Anomaly, s.Shard = c.same.text(s.Fan), c.same.text(s.State), c.same.text(s.Anomaly), c.same.text(s.Shard)
	return s, nil
}

func (c *cursor) close() { _ = c.r.Close() } // it reads from memory; nothing can fail
