package lake

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"fanwatch"
)

// stored is a row as its columns lie in the table's files; the IDs are those of tableSchema. Encodings by
// measurement: delta for what counts up, dictionaries for the rest (but plain numbers where a dictionary would hold
// most of them), zstd where it saves a thirtieth or more. No BYTE_STREAM_SPLIT: several readers lag behind.
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
	return stored{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), RPM: plainZero(roundRPM(r.RPM)), Hz: plainZero(r.Hz), Jitter: plainZero(r.Jitter),
		Score: plainZero(math.Round(r.Score*1000) / 1000), State: string(r.State), Anomaly: string(r.Anomaly), Late: r.Kind == fanwatch.RowLate,
		Edges: int64(r.Edges), Glitch: int64(r.Glitch), Lost: int64(r.Lost), Unsynch: r.Unsynch, Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard}
}

func (s *stored) row() fanwatch.Row {
	r := fanwatch.Row{Kind: fanwatch.RowScored, Position: fanwatch.Position{Shard: s.Shard}, Arrived: time.UnixMicro(s.Arrived).UTC(), Score: s.Score, Anomaly: fanwatch.Kind(s.Anomaly)}
	if s.Late {
		r.Kind = fanwatch.RowLate
	}
	r.Reading = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: s.Fan, Run: uint64(s.Run), Seq: uint64(s.Seq)}, Time: time.UnixMicro(s.Time).UTC(),
		RPM: s.RPM, Hz: s.Hz, Jitter: s.Jitter, Edges: uint32(s.Edges), Glitch: uint32(s.Glitch), Lost: uint32(s.Lost), State: fanwatch.State(s.State), Unsynch: s.Unsynch}
	return r
}

// roundRPM keeps a speed to within 1e-5 of itself, or 0.0005 RPM: to 0.001 below 500 RPM, to 0.01 below 5000, and
// so on. The estimator errs by 4e-5 (edge/doc.go), so what goes is noise, and noise is what a speed would cost
// most for: 3.1 bytes a reading with the publisher's three decimals, 1.6 like this. The landing log keeps these.
func roundRPM(rpm float64) float64 {
	scale := 1000.0
	for limit := 500.0; math.Abs(rpm) >= limit && scale > 1; limit *= 10 {
		scale /= 10
	}
	return math.Round(rpm*scale) / scale
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

// dataFile collects sorted rows of one day into the bytes of one Parquet file.
type dataFile struct {
	tableFile
	table  *textTable
	group  []vector
	fill   int // rows of group
	batch  []stored
	chunks *chunkWriter
	buf    []byte
}

func newDataFile(day int32) *dataFile {
	return &dataFile{tableFile: tableFile{day: day}, table: newTextTable(), group: make([]vector, len(tableLayout().columns)), batch: make([]stored, 0, 1024),
		chunks: newChunkWriter(), buf: []byte(fileMagic)}
}

func (f *dataFile) add(s *stored) error {
	f.rows++
	if f.batch = append(f.batch, *s); len(f.batch) < cap(f.batch) && f.fill+len(f.batch) < groupRows {
		return nil
	}
	f.transpose()
	if f.fill < groupRows {
		return nil
	}
	return f.flush()
}

func (f *dataFile) transpose() {
	transpose(f.batch, f.group, f.table)
	f.fill += len(f.batch)
	f.batch = f.batch[:0]
}

// flush ends the group.
func (f *dataFile) flush() error {
	if f.fill == 0 {
		return nil
	}
	chunks := make([]chunk, len(f.group))
	for c, column := range tableLayout().columns {
		var err error
		if f.buf, chunks[c], err = f.chunks.write(f.buf, column, f.group[c], f.table); err != nil {
			return err
		}
		f.group[c] = vector{numbers: f.group[c].numbers[:0], tags: f.group[c].tags[:0]}
	}
	f.groups, f.fill = append(f.groups, chunks), 0
	return nil
}

// finish ends the file, reads its row count back and gives its bytes.
func (f *dataFile) finish() ([]byte, error) {
	f.transpose()
	if err := f.flush(); err != nil {
		return nil, err
	}
	tail, err := fileTail(f.groups)
	if err != nil {
		return nil, err
	}
	f.buf = append(f.buf, tail...)
	f.size = int64(len(f.buf))
	back, err := openIndex(f.size, fetchBytes(f.buf))
	if err != nil {
		return nil, fmt.Errorf("table: a file just written cannot be read: %w", err)
	}
	if back.rows != f.rows {
		return nil, fmt.Errorf("table: a file just written has %d rows, not %d", back.rows, f.rows)
	}
	return f.buf, nil
}
