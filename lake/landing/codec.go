package landing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/lake/internal/parquetguard"
)

// The header's entries in the Parquet footer. They are not S3 object metadata: a segment is one object that every copy
// keeps whole, that any Parquet reader can show, and that one PUT makes appear at once on every Store.
const (
	metaVersion   = "fanwatch.version"
	metaStream    = "fanwatch.stream"
	metaShard     = "fanwatch.shard"
	metaAfter     = "fanwatch.after"
	metaLast      = "fanwatch.last"
	metaWriter    = "fanwatch.writer"
	metaEnd       = "fanwatch.end"
	metaTombstone = "fanwatch.tombstone"
	metaCounts    = "fanwatch.counts"
	metaFans      = "fanwatch.fans"
	metaSources   = "fanwatch.sources" // absent without sources
)

// segmentRow has the columns of the segment version that is written. Those of fanwatch.Judged are null where they are
// zero; the dictionaries keep the bits of their floats. Pointers stand here: the library reads those of an embedded
// struct as never nil.
type segmentRow struct {
	segmentRowV1
	PWM      *float64 `parquet:"pwm,optional"`     // commanded duty cycle, 0..1; null when unknown
	Refused  *uint32  `parquet:"refused,optional"` // readings that a quarantined row stands for; null is one
	Expected *float64 `parquet:"expected,optional,dict"`
	Low      *float64 `parquet:"low,optional,dict"`
	High     *float64 `parquet:"high,optional,dict"`
	Level    *int32   `parquet:"level,optional,dict"`
	Verdict  string   `parquet:"verdict,dict"`
}

// segmentSchema returns segmentRow's schema under the name that stands in every segment.
var segmentSchema = sync.OnceValue(func() *parquet.Schema {
	return parquet.NewSchema("landed", parquet.SchemaOf(segmentRow{}))
})

// segmentRowV3 has the columns of segment version 3.
type segmentRowV3 struct {
	segmentRowV1
	PWM     *float64 `parquet:"pwm,optional"`
	Refused *uint32  `parquet:"refused,optional"`
}

// segmentRowV2 has the columns of segment version 2.
type segmentRowV2 struct {
	segmentRowV1
	PWM *float64 `parquet:"pwm,optional"`
}

// segmentRowV1 has the columns of segment version 1. Floats are plain: their bits come back unchanged, of -0 and NaN
// too. Times are Unix microseconds, so the zero time.Time survives.
type segmentRowV1 struct {
	Kind     string  `parquet:"kind,dict"`
	Fan      string  `parquet:"fan,dict"`
	Run      uint64  `parquet:"run,dict"`
	Seq      uint64  `parquet:"seq,delta"`
	Time     int64   `parquet:"time,timestamp(microsecond),delta"`
	RPM      float64 `parquet:"rpm,plain"`
	Hz       float64 `parquet:"hz,plain"`
	Jitter   float64 `parquet:"jitter,plain"`
	Edges    uint32  `parquet:"edges,dict"`
	Glitch   uint32  `parquet:"glitch,dict"`
	Lost     uint32  `parquet:"lost,dict"`
	State    string  `parquet:"state,dict"`
	Unsynch  bool    `parquet:"unsynch"`
	Sequence string  `parquet:"sequence,dict"`
	Index    int32   `parquet:"index,delta"`
	Arrived  int64   `parquet:"arrived,timestamp(microsecond),delta"`
	Client   string  `parquet:"client,dict"`
	Score    float64 `parquet:"score,plain"`
	Anomaly  string  `parquet:"anomaly,dict"`
	Acked    uint64  `parquet:"acked,delta"`
	Dropped  uint64  `parquet:"dropped,delta"`
	Reason   string  `parquet:"reason,dict"`
	Payload  []byte  `parquet:"payload"`
}

// EncodeSegment returns the segment's object. It checks the rows against the header and sets s.Counts (all but
// Duplicates) and s.Fans, except in a tombstone, whose header it takes as it is. Every error wraps [ErrSegment].
func EncodeSegment(s *Segment) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("encode segment: %v", p)
		}
		if err != nil {
			data, err = nil, fmt.Errorf("%w: %w", ErrSegment, err)
		}
	}()
	if err := s.check(); err != nil {
		return nil, err
	}
	if !s.Tombstone {
		s.Counts, s.Fans = s.count()
	} else if len(s.Rows) > 0 {
		return nil, errors.New("a tombstone has no rows")
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[segmentRow](&buf, segmentSchema(), parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy("fanwatch", strconv.Itoa(SegmentVersion), "landing"))
	if err := writeHeader(w, s.Header); err != nil {
		return nil, err
	}
	batch := make([]segmentRow, 0, min(len(s.Rows), 4096))
	for i := range s.Rows {
		batch = append(batch, toSegmentRow(&s.Rows[i]))
		if len(batch) == cap(batch) {
			if _, err := w.Write(batch); err != nil {
				return nil, fmt.Errorf("encode segment: %w", err)
			}
			batch = batch[:0]
		}
	}
	if _, err := w.Write(batch); err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	return buf.Bytes(), nil
}

// DecodeSegment reads a segment's object. A Payload of no bytes comes back as nil, times as UTC. The bytes may be
// anything: damage is an error, never a panic.
func DecodeSegment(data []byte) (s Segment, err error) {
	defer parquetguard.Catch(&err)
	f, err := openSegment(data)
	if err != nil {
		return Segment{}, err
	}
	if s.Header, err = readHeader(f); err != nil {
		return Segment{}, err
	}
	if s.Rows, err = readRows(f, s.Shard); err != nil {
		return Segment{}, err
	}
	if err := s.check(); err != nil {
		return Segment{}, err
	}
	if counts, _ := s.count(); !s.Tombstone && counts != s.Counts || s.Tombstone && len(s.Rows) > 0 {
		return Segment{}, fmt.Errorf("segment holds %+v, its header says %+v", counts, s.Counts)
	}
	return s, nil
}

// DecodeHeader reads the header alone. The bytes may be anything: damage is an error, never a panic.
func DecodeHeader(data []byte) (h Header, err error) {
	defer parquetguard.Catch(&err)
	f, err := openSegment(data)
	if err != nil {
		return Header{}, err
	}
	return readHeader(f)
}

func openSegment(data []byte) (*parquet.File, error) {
	if err := parquetguard.CheckFooter(data); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipPageIndex(true),
		parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("damaged Parquet file: %w", err)
	}
	if err := parquetguard.CheckCodecs(f); err != nil {
		return nil, err
	}
	columns := parquet.SchemaOf(segmentRow{})
	switch v, _ := f.Lookup(metaVersion); v {
	case strconv.Itoa(SegmentVersion):
	case "3":
		columns = parquet.SchemaOf(segmentRowV3{})
	case "2":
		columns = parquet.SchemaOf(segmentRowV2{})
	case "1":
		columns = parquet.SchemaOf(segmentRowV1{})
	default:
		return nil, fmt.Errorf("segment version %.20q is unknown, this program knows 1 to %d", v, SegmentVersion)
	}
	if !parquet.EqualNodes(f.Schema(), columns) {
		return nil, errors.New("the columns are not those of the segment's version")
	}
	return f, nil
}

func writeHeader(w *parquet.GenericWriter[segmentRow], h Header) error {
	for _, e := range []struct {
		key   string
		value any
	}{{metaWriter, h.Writer}, {metaCounts, h.Counts}, {metaFans, h.Fans}} {
		text, err := json.Marshal(e.value)
		if err != nil {
			return fmt.Errorf("encode segment: %s: %w", e.key, err)
		}
		w.SetKeyValueMetadata(e.key, string(text))
	}
	if len(h.Sources) > 0 {
		text, err := json.Marshal(h.Sources)
		if err != nil {
			return fmt.Errorf("encode segment: %s: %w", metaSources, err)
		}
		w.SetKeyValueMetadata(metaSources, string(text))
	}
	w.SetKeyValueMetadata(metaVersion, strconv.Itoa(SegmentVersion))
	w.SetKeyValueMetadata(metaStream, h.Stream)
	w.SetKeyValueMetadata(metaShard, h.Shard)
	w.SetKeyValueMetadata(metaAfter, string(h.After))
	w.SetKeyValueMetadata(metaLast, string(h.Last))
	w.SetKeyValueMetadata(metaEnd, strconv.FormatBool(h.End))
	w.SetKeyValueMetadata(metaTombstone, strconv.FormatBool(h.Tombstone))
	return nil
}

func readHeader(f *parquet.File) (Header, error) {
	var h Header
	text := make(map[string]string)
	for _, kv := range f.Metadata().KeyValueMetadata {
		text[kv.Key] = kv.Value
	}
	h.Stream, h.Shard = text[metaStream], text[metaShard]
	var errs []error
	note := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("segment's entry %s: %w", key, err))
		}
	}
	var err error
	h.After, err = fanwatch.ParseSequenceNumber(text[metaAfter])
	note(metaAfter, err)
	h.Last, err = fanwatch.ParseSequenceNumber(text[metaLast])
	note(metaLast, err)
	h.End, err = strconv.ParseBool(text[metaEnd])
	note(metaEnd, err)
	h.Tombstone, err = strconv.ParseBool(text[metaTombstone])
	note(metaTombstone, err)
	note(metaWriter, json.Unmarshal([]byte(text[metaWriter]), &h.Writer))
	note(metaCounts, json.Unmarshal([]byte(text[metaCounts]), &h.Counts))
	note(metaFans, json.Unmarshal([]byte(text[metaFans]), &h.Fans))
	if sources, ok := text[metaSources]; ok {
		note(metaSources, json.Unmarshal([]byte(sources), &h.Sources))
	}
	return h, errors.Join(errs...)
}

func readRows(f *parquet.File, shard string) ([]fanwatch.Row, error) {
	if n := f.NumRows(); n < 0 || n > MaxSegmentRows {
		return nil, fmt.Errorf("segment of %d rows, want 0 to %d", n, MaxSegmentRows)
	}
	r := parquet.NewGenericReader[segmentRow](f)
	defer r.Close()
	same := make(intern)
	var rows []fanwatch.Row
	batch := make([]segmentRow, 1024)
	for {
		n, err := r.Read(batch)
		for i := range batch[:n] {
			row, err := toRow(&batch[i], shard, same)
			if err != nil {
				return nil, fmt.Errorf("row %d of the segment: %w", len(rows), err)
			}
			rows = append(rows, row)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (n == 0 || len(rows) > MaxSegmentRows) {
			err = errors.New("it holds other rows than it says")
		}
		if err != nil {
			return nil, fmt.Errorf("damaged Parquet file behind row %d: %w", len(rows), err)
		}
	}
	if int64(len(rows)) != f.NumRows() {
		return nil, fmt.Errorf("damaged Parquet file: %d rows of %d", len(rows), f.NumRows())
	}
	return rows, nil
}

func toSegmentRow(r *fanwatch.Row) segmentRow {
	l := segmentRow{segmentRowV1: segmentRowV1{Kind: string(r.Kind), Fan: r.Fan, Run: r.Run, Seq: r.Seq,
		Time: r.Time.UnixMicro(), RPM: r.RPM, Hz: r.Hz,
		Jitter: r.Jitter, Edges: r.Edges, Glitch: r.Glitch, Lost: r.Lost, State: string(r.State), Unsynch: r.Unsynch,
		Sequence: string(r.Position.Sequence), Index: int32(r.Position.Index), Arrived: r.Arrived.UnixMicro(),
		Client: r.Client,
		Score:  r.Score, Anomaly: string(r.Anomaly), Acked: r.Acked, Dropped: r.Dropped, Reason: r.Reason,
		Payload: r.Payload}, Expected: orNull(r.Judged.Expected), Low: orNull(r.Judged.Low),
		High: orNull(r.Judged.High), Verdict: r.Judged.Verdict}
	if r.Judged.Level != 0 {
		l.Level = &r.Judged.Level
	}
	if duty, known := r.PWM.Fraction(); known {
		l.PWM = &duty
	}
	if r.Refused > 0 {
		l.Refused = &r.Refused
	}
	return l
}

// orNull returns nil for the number whose bits are all 0: not for -0.
func orNull(f float64) *float64 {
	if math.Float64bits(f) == 0 {
		return nil
	}
	return &f
}

// orZero undoes orNull.
func orZero[T float64 | int32](v *T) T {
	if v == nil {
		return 0
	}
	return *v
}

func toRow(l *segmentRow, shard string, same intern) (fanwatch.Row, error) {
	sequence, err := fanwatch.ParseSequenceNumber(l.Sequence)
	if err != nil {
		return fanwatch.Row{}, err
	}
	r := fanwatch.Row{
		Kind: fanwatch.RowKind(same.text(l.Kind)),
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: same.text(l.Fan), Run: l.Run, Seq: l.Seq},
			Time: time.UnixMicro(l.Time).UTC(),
			RPM:  l.RPM, Hz: l.Hz, Jitter: l.Jitter, Edges: l.Edges, Glitch: l.Glitch, Lost: l.Lost,
			State: fanwatch.State(same.text(l.State)), Unsynch: l.Unsynch},
		Position: fanwatch.Position{Shard: shard, Sequence: fanwatch.SequenceNumber(same.text(string(sequence))),
			Index: int(l.Index)},
		Arrived: time.UnixMicro(l.Arrived).UTC(), Client: same.text(l.Client), Score: l.Score,
		Anomaly: fanwatch.Kind(same.text(l.Anomaly)),
		Judged: fanwatch.Judged{Expected: orZero(l.Expected), Low: orZero(l.Low), High: orZero(l.High),
			Level: orZero(l.Level), Verdict: same.text(l.Verdict)},
		Acked: l.Acked, Dropped: l.Dropped, Reason: same.text(l.Reason),
	}
	if l.PWM != nil {
		r.PWM = fanwatch.NewDuty(*l.PWM)
	}
	if l.Refused != nil {
		r.Refused = *l.Refused
	}
	if len(l.Payload) > 0 {
		r.Payload = bytes.Clone(l.Payload)
	}
	return r, nil
}

// intern keeps one copy of each text: a segment repeats its few fans, clients and states in every row.
type intern map[string]string

func (m intern) text(s string) string {
	if c, ok := m[s]; ok {
		return c
	}
	s = strings.Clone(s) // the reader's string may share a whole page's memory
	m[s] = s
	return s
}
