package rowfile

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"strconv"
	"time"

	"fanwatch"
)

// Row is a row of the table's files. Its fields are the columns, in their order; the IDs are the field IDs of the
// Iceberg table. In an optional column null stands for the zero value, or for the one that the tag null names.
// Encodings were chosen by measurement: delta for columns that count up, dictionaries for the others
// (plain numbers where a dictionary would have most of them), zstd where it saves 1/32 or more. Several readers do not
// know BYTE_STREAM_SPLIT.
type Row struct {
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

	// Expected and the four below are fanwatch.Judged; null in rows that were not judged.
	Expected float64 `parquet:"expected,id(18),dict,optional"`
	Low      float64 `parquet:"low,id(19),dict,optional"`
	High     float64 `parquet:"high,id(20),dict,optional"`
	Level    int64   `parquet:"level,id(21),dict,optional" null:"-1"` // null also at no known level
	Verdict  string  `parquet:"verdict,id(22),dict,optional"`
	PWM      float64 `parquet:"pwm,id(23),dict,optional" null:"-1"` // null: unknown
}

// RowOf returns a reading as the table keeps it: RPM is rounded to within 1e-5 of itself, the score to 0.001.
func RowOf(r *fanwatch.Row) Row {
	s := Row{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq),
		RPM: positiveZero(roundRPM(r.RPM)),
		Hz:  positiveZero(r.Hz), Jitter: positiveZero(r.Jitter),
		Score: positiveZero(math.Round(r.Score*1000) / 1000), State: string(r.State), Anomaly: string(r.Anomaly),
		Late:  r.Kind == fanwatch.RowLate,
		Edges: int64(r.Edges), Glitch: int64(r.Glitch), Lost: int64(r.Lost), Unsynch: r.Unsynch,
		Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard, Level: -1, PWM: -1}
	if j := r.Judged; j.Verdict != "" {
		s.Expected, s.Low, s.High = positiveZero(j.Expected), positiveZero(j.Low), positiveZero(j.High)
		s.Level, s.Verdict = int64(max(j.Level, -1)), j.Verdict
	}
	if duty, known := r.PWM.Fraction(); known {
		s.PWM = duty
	}
	return s
}

// Reading returns the row as a reading. Fields that the table does not keep are zero.
func (s *Row) Reading() fanwatch.Row {
	r := fanwatch.Row{Kind: fanwatch.RowScored, Position: fanwatch.Position{Shard: s.Shard},
		Arrived: time.UnixMicro(s.Arrived).UTC(), Score: s.Score, Anomaly: fanwatch.Kind(s.Anomaly)}
	if s.Late {
		r.Kind = fanwatch.RowLate
	}
	r.Reading = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: s.Fan, Run: uint64(s.Run), Seq: uint64(s.Seq)},
		Time: time.UnixMicro(s.Time).UTC(),
		RPM:  s.RPM, Hz: s.Hz, Jitter: s.Jitter, Edges: uint32(s.Edges), Glitch: uint32(s.Glitch), Lost: uint32(s.Lost),
		State: fanwatch.State(s.State), Unsynch: s.Unsynch}
	if s.Verdict != "" {
		r.Judged = fanwatch.Judged{Expected: s.Expected, Low: s.Low, High: s.High, Level: int32(s.Level),
			Verdict: s.Verdict}
	}
	if s.PWM >= 0 {
		r.PWM = fanwatch.NewDuty(s.PWM)
	}
	return r
}

// roundRPM rounds a speed to within 1e-5 of itself, or 0.0005 RPM: to 0.001 below 500 RPM, to 0.01 below 5000, and so
// on. The estimator errs by 4e-5 (edge/doc.go), so only noise is lost, which takes most of a speed's bytes: a reading
// has 3.1 bytes with the publisher's three decimals and 1.6 when rounded. The landing log keeps the decimals.
func roundRPM(rpm float64) float64 {
	scale := 1000.0
	for limit := 500.0; math.Abs(rpm) >= limit && scale > 1; limit *= 10 {
		scale /= 10
	}
	return math.Round(rpm*scale) / scale
}

// positiveZero turns -0 into 0: a dictionary may have one entry for both, and the content hash would differ.
func positiveZero(f float64) float64 {
	if f == 0 {
		return 0
	}
	return f
}

// Compare orders rows by fan and time, as the table sorts them, and then by run, seq, arrival and shard, so that of
// several copies the same one is always first.
func (s *Row) Compare(o *Row) int {
	return cmp.Or(cmp.Compare(s.Fan, o.Fan), cmp.Compare(s.Time, o.Time), cmp.Compare(s.Run, o.Run),
		cmp.Compare(s.Seq, o.Seq),
		cmp.Compare(s.Arrived, o.Arrived), cmp.Compare(s.Shard, o.Shard))
}

// DayMicros is a day in microseconds.
const DayMicros = 24 * 3600 * 1_000_000

// DayOf returns the day of a time in Unix microseconds: whole days since 1970, in UTC.
func DayOf(micros int64) int32 {
	d := micros / DayMicros
	if micros%DayMicros < 0 {
		d--
	}
	return int32(d)
}

// Day returns the partition of the row; see [DayOf].
func (s *Row) Day() int32 { return DayOf(s.Time) }

// Deduper finds the first row of every (fan, run, seq). All rows of a fan must be passed together: it remembers one
// fan. Its zero value is ready for use.
type Deduper struct {
	fan  string
	seen map[[2]int64]struct{}
}

// First reports whether the row is the first of its identity.
func (d *Deduper) First(s *Row) bool {
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

// Hash returns a hash of all columns but PWM, which rows of files before version 3 lack though the landing log has it.
// Sums of it compare two sets of rows in any order.
func (s *Row) Hash(seed maphash.Seed) uint64 {
	var buf [512]byte
	b := buf[:0]
	for _, n := range []uint64{uint64(s.Time), uint64(s.Run), uint64(s.Seq), math.Float64bits(s.RPM),
		math.Float64bits(s.Hz), math.Float64bits(s.Jitter), math.Float64bits(s.Score),
		uint64(s.Edges), uint64(s.Glitch), uint64(s.Lost), uint64(s.Arrived), math.Float64bits(s.Expected),
		math.Float64bits(s.Low), math.Float64bits(s.High), uint64(s.Level)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = strconv.AppendBool(strconv.AppendBool(b, s.Late), s.Unsynch)
	for _, t := range []string{s.Fan, s.State, s.Anomaly, s.Shard, s.Verdict} {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	return maphash.Bytes(seed, b)
}
