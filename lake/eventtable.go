package lake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
)

// Anomaly is a row of the table anomalies: a scored reading after which its fan was not well. A reader finds
// the moments of change with a window function; to keep those alone would need the rows before.
type Anomaly struct {
	Time    int64   `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string  `parquet:"fan_id,id(2),dict"`
	Run     int64   `parquet:"run,id(3),dict"`
	Seq     int64   `parquet:"seq,id(4),delta"`
	Kind    string  `parquet:"kind,id(5),dict"`
	Score   float64 `parquet:"score,id(6)"`
	RPM     float64 `parquet:"rpm,id(7)"`
	Hz      float64 `parquet:"hz,id(8)"`
	Jitter  float64 `parquet:"jitter,id(9)"`
	State   string  `parquet:"state,id(10),dict"`
	Arrived int64   `parquet:"arrived,id(11),timestamp(microsecond),delta"`
	Shard   string  `parquet:"shard,id(12),dict"`
}

// QuarantineRow is a row of the table quarantine: what was received and could not be accepted.
type QuarantineRow struct {
	Arrived  int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan      string `parquet:"fan_id,id(2),dict"`
	Client   string `parquet:"client,id(3),dict"`
	Reason   string `parquet:"reason,id(4),dict"`
	Payload  []byte `parquet:"payload,id(5)"`
	Shard    string `parquet:"shard,id(6),dict"`
	Sequence string `parquet:"sequence,id(7),dict"`
	Index    int64  `parquet:"index,id(8),delta"`
	Refused  int64  `parquet:"refused,id(9),optional"`
}

// AlertRow is a row of the table alerts: one alert that is over.
type AlertRow struct {
	Opened  int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string `parquet:"fan_id,id(2),dict"`
	ID      string `parquet:"alert_id,id(3)"`
	Kind    string `parquet:"kind,id(4),dict"`
	Site    string `parquet:"site,id(5),dict"`
	Why     string `parquet:"why,id(6)"`
	Step    int64  `parquet:"step,id(7)"`
	Told    int64  `parquet:"told,id(8)"`
	AckedBy string `parquet:"acked_by,id(9),dict,optional"`
	AckedAt int64  `parquet:"acked_at,id(10),timestamp(microsecond),optional"`
	Note    string `parquet:"note,id(11),optional"`
	Ended   int64  `parquet:"ended,id(12),timestamp(microsecond)"`
}

// eventTable is one of the small tables beside the readings. Its rows are few: it holds a batch's, or one merge's,
// in memory.
type eventTable[T any] struct {
	iceTable
	pick    func(*fanwatch.Row) (T, bool) // the row that a row of the landing log becomes, if any
	time    func(*T) int64                // Unix microseconds
	compare func(a, b *T) int             // the table's order; 0: the same row, which is kept once
	root    string                        // name of the root of its files' schema
}

// eventRows is about how many rows one commit or merge of an event table takes; eventFileBytes, in bytes, is what a
// merged file of it is to have at most.
const (
	eventRows      = 100_000
	eventFileBytes = 8 << 20
)

func newEventTable[T any](cfg TableConfig, readOnly bool, name string, docs map[int]string,
	s eventTable[T]) (*eventTable[T], error) {
	l, err := layoutOf[T](name, docs)
	if err == nil {
		s.iceTable, err = newIce(cfg, l, readOnly)
	}
	return &s, err
}

// commit brings the logs' new rows into the table. seen are segments that were read already, with all rows
// that an event table may want.
func (s *eventTable[T]) commit(ctx context.Context, logs []landing.Log, seen segments) (CommitResult, error) {
	return s.commitLogs(ctx, logs, func() *batch {
		r := &batch{next: seen.next}
		var rows []T
		r.full = func() bool { return len(rows) >= eventRows }
		// a tombstone is older than the table: TruncateLog waits for it
		r.take = func(seg *landing.Segment, wanted func(*fanwatch.Row) bool) error {
			for i := range seg.Rows {
				if row, ok := s.pick(&seg.Rows[i]); ok && wanted(&seg.Rows[i]) {
					rows = append(rows, row)
				}
			}
			return nil
		}
		r.store = func(ctx context.Context, tbl *table.Table) (err error) {
			rowsIn := len(rows)
			r.files, err = s.write(ctx, tbl, rows)
			for _, df := range r.files {
				r.result.Rows += int(df.Count())
			}
			r.result.Files, r.result.Duplicates = len(r.files), rowsIn-r.result.Rows
			failpoint.Hit(failpoint.CommitFiles)
			return err
		}
		return r
	})
}

// write stores the rows, each once, in one file per day.
func (s *eventTable[T]) write(ctx context.Context, tbl *table.Table, rows []T) (files []iceberg.DataFile, err error) {
	slices.SortStableFunc(rows, func(a, b T) int {
		return cmp.Or(cmp.Compare(s.day(&a), s.day(&b)), s.compare(&a, &b))
	})
	rows = slices.CompactFunc(rows, func(a, b T) bool { return s.compare(&a, &b) == 0 })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && s.day(&rows[n]) == s.day(&rows[0]) {
			n++
		}
		df, err := s.writeDay(ctx, tbl, rows[:n])
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", s.layout.name, err)
		}
		files, rows = append(files, df), rows[n:]
	}
	return files, nil
}

func (s *eventTable[T]) day(row *T) int32 { return rowfile.DayOf(s.time(row)) }

func (s *eventTable[T]) writeDay(ctx context.Context, tbl *table.Table, rows []T) (iceberg.DataFile, error) {
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.NewSchema(s.root, parquet.SchemaOf(new(T))),
		parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy("fanwatch", strconv.Itoa(rowfile.Version), "table"), parquet.KeyValueMetadata(rowfile.MetaVersion,
			strconv.Itoa(rowfile.Version)))
	if _, err := w.Write(rows); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	back, err := s.decode(buf.Bytes())
	if err != nil || len(back) != len(rows) {
		return nil, fmt.Errorf("a file just written has %d rows, not %d: %w", len(back), len(rows), err)
	}
	day := s.day(&rows[0])
	path, err := s.storeData(ctx, day, buf.Bytes())
	if err != nil {
		return nil, err
	}
	e := fileEntry{Path: path, Day: day, Rows: int64(len(rows)), Bytes: int64(buf.Len()), Values: make(map[int]int64),
		Nulls: nulls(rows)}
	for _, f := range s.layout.schema.Fields() {
		e.Values[f.ID] = e.Rows
	}
	lo, hi := s.time(&rows[0]), s.time(&rows[0])
	for i := range rows {
		lo, hi = min(lo, s.time(&rows[i])), max(hi, s.time(&rows[i]))
	}
	least, err := iceberg.Int64Literal(lo).MarshalBinary()
	if err != nil {
		return nil, err
	}
	most, err := iceberg.Int64Literal(hi).MarshalBinary()
	if err != nil {
		return nil, err
	}
	order := tbl.SortOrder().OrderID()
	e.Lower, e.Upper, e.SortOrder = map[int][]byte{1: least}, map[int][]byte{1: most}, &order
	return e.dataFile(tbl.Spec())
}

// decode reads a file's rows. A column that the file does not have is zero.
func (s *eventTable[T]) decode(data []byte) ([]T, error) {
	var rows []T
	err := rowfile.DecodeColumns(data, func(row *T) { rows = append(rows, cloneRow(*row)) })
	return rows, err
}

// cloneRow copies the bytes that the reader would overwrite.
func cloneRow[T any](row T) T {
	v := reflect.ValueOf(&row).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(strings.Clone(f.String()))
		case reflect.Slice:
			f.SetBytes(bytes.Clone(f.Bytes()))
		}
	}
	return row
}

// all reads the rows of the table's current snapshot with from <= time < to; zero times are no bounds.
func (s *eventTable[T]) all(ctx context.Context, from, to time.Time) ([]T, error) {
	_, live, err := s.loadFiles(ctx)
	if err != nil {
		return nil, err
	}
	var rows []T
	for _, df := range live {
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		begin := time.Unix(int64(day)*24*3600, 0)
		if !from.IsZero() && !begin.Add(24*time.Hour).After(from) || !to.IsZero() && !begin.Before(to) {
			continue
		}
		part, err := s.readFile(ctx, df)
		if err != nil {
			return nil, err
		}
		for _, row := range part {
			if at := time.UnixMicro(s.time(&row)); (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to)) {
				rows = append(rows, row)
			}
		}
	}
	slices.SortFunc(rows, func(a, b T) int { return cmp.Or(cmp.Compare(s.time(&a), s.time(&b)), s.compare(&a, &b)) })
	return rows, nil
}

// newest reads at least the n newest rows that keep wants, if there are so many, and the others of their days: day
// by day, the newest first. A file that cannot be read is passed over and named in a *Partial.
func (s *eventTable[T]) newest(ctx context.Context, n int, keep func(*T) bool) (rows []T, err error) {
	_, live, err := s.loadFiles(ctx)
	if err != nil {
		return nil, err
	}
	days, err := groupByDay(live)
	if err != nil {
		return nil, err
	}
	var failed failures
	for _, day := range slices.Backward(slices.Sorted(maps.Keys(days))) {
		if len(rows) >= n || ctx.Err() != nil {
			break
		}
		for _, df := range days[day] {
			part, err := s.readFile(ctx, df)
			failed.add(err)
			for i := range part {
				if keep(&part[i]) {
					rows = append(rows, part[i])
				}
			}
		}
	}
	return rows, failed.err()
}

func (s *eventTable[T]) readFile(ctx context.Context, df iceberg.DataFile) ([]T, error) {
	data, err := s.read(ctx, df)
	if err != nil {
		return nil, err
	}
	rows, err := s.decode(data)
	if err == nil && len(rows) != int(df.Count()) {
		err = fmt.Errorf("the table counts %d rows, the file has %d", df.Count(), len(rows))
	}
	return rows, wrap(err, "%s", df.FilePath())
}

// mergeDay is the mergeFunc of an event table.
func (s *eventTable[T]) mergeDay(ctx context.Context, tbl *table.Table, _ int32, files []iceberg.DataFile) (out merged,
	err error) {
	var rows []T
	for _, df := range files {
		part, err := s.readFile(ctx, df)
		if err != nil {
			out.failed.add(err)
			continue
		}
		out.from, rows = append(out.from, df), append(rows, part...)
	}
	if len(out.from) < 2 {
		return out, ctx.Err()
	}
	in := len(rows)
	stored, err := s.write(ctx, tbl, rows)
	if err != nil {
		return out, err
	}
	n := 0
	for _, df := range stored {
		back, err := s.readFile(ctx, df) // as the table will read it
		if err != nil {
			return out, err
		}
		n += len(back)
	}
	if n == 0 || len(stored) != 1 {
		return out, fmt.Errorf("%d rows of one day became %d in %d files: nothing was changed", in, n, len(stored))
	}
	out.file, out.stats = stored[0], rowfile.MergeStats{RowsIn: in, RowsOut: n, Duplicates: in - n}
	return out, nil
}

// layoutOf derives an event table's columns from the row's tags, so that they cannot differ.
func layoutOf[T any](name string, docs map[int]string) (layout, error) {
	var fields []iceberg.NestedField
	p := iceberg.PrimitiveTypes
	for _, c := range eventColumns[T]() {
		f := iceberg.NestedField{ID: c.id, Name: c.name, Required: !c.optional, Doc: docs[c.id]}
		switch {
		case c.time:
			f.Type = p.TimestampTz
		case c.kind == reflect.Int64:
			f.Type = p.Int64
		case c.kind == reflect.Float64:
			f.Type = p.Float64
		case c.kind == reflect.String:
			f.Type = p.String
		case c.kind == reflect.Slice:
			f.Type = p.Binary
		default:
			return layout{}, fmt.Errorf("table %s: column %s: no Iceberg type for %s", name, c.name, c.kind)
		}
		fields = append(fields, f)
	}
	return layout{name, iceberg.NewSchema(0, fields...), []int{2, 1}, name == "anomalies"}, nil
}

type eventColumn struct {
	name           string
	id             int
	optional, time bool
	kind           reflect.Kind
}

// eventColumns reads the parquet tags of a row.
func eventColumns[T any]() (cols []eventColumn) {
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		parts := strings.Split(t.Field(i).Tag.Get("parquet"), ",")
		c := eventColumn{name: parts[0], kind: t.Field(i).Type.Kind()}
		for _, p := range parts[1:] {
			switch {
			case strings.HasPrefix(p, "id("):
				c.id, _ = strconv.Atoi(p[3 : len(p)-1]) // the tags are ours
			case p == "optional":
				c.optional = true
			case strings.HasPrefix(p, "timestamp"):
				c.time = true
			}
		}
		cols = append(cols, c)
	}
	return cols
}

// nulls counts the zero values of optional columns: Parquet writes them as null.
func nulls[T any](rows []T) map[int]int64 {
	counts := make(map[int]int64)
	for i, c := range eventColumns[T]() {
		counts[c.id] = 0
		if !c.optional {
			continue
		}
		for j := range rows {
			if reflect.ValueOf(&rows[j]).Elem().Field(i).IsZero() {
				counts[c.id]++
			}
		}
	}
	return counts
}
