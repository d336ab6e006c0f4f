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

// Anomaly is a row of the table anomalies: a scored reading after which its fan was not normal. Times are Unix
// microseconds. A reader finds the changes of state with a window function.
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

// QuarantineRow is a row of the table quarantine: a record, or readings of it, that was refused. Arrived is in Unix
// microseconds, Payload has at most 4 KiB, and Refused 0 means one reading.
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

// AlertRow is a row of the table alerts: one alert that is over. Times are Unix microseconds; AckedAt 0 means that it
// was not acknowledged.
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
	// The columns below are zero in rows of an earlier version.

	Severity   string  `parquet:"severity,id(13),dict,optional"`
	Label      string  `parquet:"label,id(14),dict,optional"`    // LabelNormal or LabelFault
	Answers    string  `parquet:"answers,id(15),optional"`       // JSON list of fanwatch.Answer
	Notices    string  `parquet:"notices,id(16),optional"`       // JSON list of AlertNotice
	AckSeconds float64 `parquet:"ack_seconds,id(17),optional"`   // from the opening to the first acknowledgement
	Incident   string  `parquet:"incident,id(18),dict,optional"` // ID of the incident that notified in its place
	EndedBy    string  `parquet:"ended_by,id(19),dict,optional"` // who resolved it by hand
}

// AlertNotice is an entry of AlertRow.Notices: one notification and what came of it.
type AlertNotice struct {
	To     string    `json:"to"`     // channel, or topic by name or ARN
	At     time.Time `json:"at"`     // when it was taken or given up
	Step   int       `json:"step"`   // from 1
	Taken  bool      `json:"taken"`  // else it was given up
	Result string    `json:"result"` // what the channel said, or why it was given up; "" = nothing
}

// LabelRow is a row of the table labels: what a person knows of an alert's trouble. Times are Unix microseconds; To 0
// means that the trouble lasted.
type LabelRow struct {
	From    int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan     string `parquet:"fan_id,id(2),dict"`
	Alert   string `parquet:"alert_id,id(3)"`
	Kind    string `parquet:"kind,id(4),dict"`
	Label   string `parquet:"label,id(5),dict"` // LabelNormal or LabelFault
	To      int64  `parquet:"until,id(6),timestamp(microsecond),optional"`
	By      string `parquet:"by,id(7),dict"`
	Note    string `parquet:"note,id(8),optional"`
	At      int64  `parquet:"said,id(9),timestamp(microsecond)"`
	Arrived int64  `parquet:"arrived,id(10),timestamp(microsecond)"`
	Shard   string `parquet:"shard,id(11),dict"`
}

// The values of LabelRow.Label.
const (
	// LabelNormal says that the fan is to run like this.
	LabelNormal = "normal"
	// LabelFault says that it was a fault.
	LabelFault = "fault"
)

// eventTable is one of the small tables beside the readings. Its rows are few: those of a commit or a merge are held in
// memory.
type eventTable[T any] struct {
	iceTable
	pick    func(*fanwatch.Row) (T, bool) // the row that a row of the landing log becomes, and whether it becomes one
	time    func(*T) int64                // time of the row, Unix microseconds
	compare func(a, b *T) int             // the table's order; 0: the same row, which is kept once
	root    string                        // name of the root of its files' schema
}

// eventRows is about how many rows one commit or merge of an event table has. eventFileBytes is the largest size of a
// merged file of it, in bytes.
const (
	eventRows      = 100_000
	eventFileBytes = 8 << 20
)

// newEventTable returns an event table without looking for it in the catalog. docs has the columns' documentation, by
// field ID.
func newEventTable[T any](cfg TableConfig, readOnly bool, name string, docs map[int]string,
	t eventTable[T]) (*eventTable[T], error) {
	l, err := layoutOf[T](name, docs)
	if err == nil {
		t.iceTable, err = newIce(cfg, l, readOnly)
	}
	return &t, err
}

// commit brings the logs' new rows into the table. seen has the segments that were read before.
func (t *eventTable[T]) commit(ctx context.Context, logs []landing.Log, seen segmentCache) (CommitResult, error) {
	return t.commitLogs(ctx, logs, func() *batch {
		b := &batch{nextSegment: seen.next}
		var rows []T
		b.isFull = func() bool { return len(rows) >= eventRows }
		// a tombstone's rows are in the table: TruncateLog waits for that
		b.addRows = func(seg *landing.Segment, wanted func(*fanwatch.Row) bool) error {
			for i := range seg.Rows {
				if row, ok := t.pick(&seg.Rows[i]); ok && wanted(&seg.Rows[i]) {
					rows = append(rows, row)
				}
			}
			return nil
		}
		b.storeFiles = func(ctx context.Context, tbl *table.Table) (err error) {
			rowsIn := len(rows)
			b.files, err = t.write(ctx, tbl, rows)
			for _, df := range b.files {
				b.result.Rows += int(df.Count())
			}
			b.result.Files, b.result.Duplicates = len(b.files), rowsIn-b.result.Rows
			failpoint.Hit(failpoint.CommitFiles)
			return err
		}
		return b
	})
}

// write stores the rows, each once, in one file for each day.
func (t *eventTable[T]) write(ctx context.Context, tbl *table.Table, rows []T) (files []iceberg.DataFile, err error) {
	slices.SortStableFunc(rows, func(a, b T) int {
		return cmp.Or(cmp.Compare(t.day(&a), t.day(&b)), t.compare(&a, &b))
	})
	rows = slices.CompactFunc(rows, func(a, b T) bool { return t.compare(&a, &b) == 0 })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && t.day(&rows[n]) == t.day(&rows[0]) {
			n++
		}
		df, err := t.writeDay(ctx, tbl, rows[:n])
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.layout.name, err)
		}
		files, rows = append(files, df), rows[n:]
	}
	return files, nil
}

func (t *eventTable[T]) day(row *T) int32 { return rowfile.DayOf(t.time(row)) }

// writeDay stores the rows of one day in a file, which it has read back.
func (t *eventTable[T]) writeDay(ctx context.Context, tbl *table.Table, rows []T) (iceberg.DataFile, error) {
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.NewSchema(t.root, parquet.SchemaOf(new(T))),
		parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy("fanwatch", strconv.Itoa(rowfile.Version), "table"), parquet.KeyValueMetadata(rowfile.MetaVersion,
			strconv.Itoa(rowfile.Version)))
	if _, err := w.Write(rows); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	back, err := t.decode(buf.Bytes())
	if err != nil || len(back) != len(rows) {
		return nil, fmt.Errorf("a file just written has %d rows, not %d: %w", len(back), len(rows), err)
	}
	day := t.day(&rows[0])
	path, err := t.storeData(ctx, day, buf.Bytes())
	if err != nil {
		return nil, err
	}
	e := fileEntry{Path: path, Day: day, Rows: int64(len(rows)), Bytes: int64(buf.Len()), Values: make(map[int]int64),
		Nulls: nulls(rows)}
	for _, f := range t.layout.schema.Fields() {
		e.Values[f.ID] = e.Rows
	}
	lo, hi := t.time(&rows[0]), t.time(&rows[0])
	for i := range rows {
		lo, hi = min(lo, t.time(&rows[i])), max(hi, t.time(&rows[i]))
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

// decode returns a file's rows. A column that the file does not have is zero.
func (t *eventTable[T]) decode(data []byte) ([]T, error) {
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

// all returns the rows of the table's current snapshot with from <= time < to, by time; zero times are no bounds.
func (t *eventTable[T]) all(ctx context.Context, from, to time.Time) ([]T, error) {
	_, live, err := t.loadFiles(ctx)
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
		part, err := t.readFile(ctx, df)
		if err != nil {
			return nil, err
		}
		for _, row := range part {
			if at := time.UnixMicro(t.time(&row)); (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to)) {
				rows = append(rows, row)
			}
		}
	}
	slices.SortFunc(rows, func(a, b T) int { return cmp.Or(cmp.Compare(t.time(&a), t.time(&b)), t.compare(&a, &b)) })
	return rows, nil
}

// newest returns at least the n newest rows for which keep is true, if there are so many, and all such rows of their
// days: day by day, the newest first. A file that cannot be read is passed over and named in a *Partial.
func (t *eventTable[T]) newest(ctx context.Context, n int, keep func(*T) bool) (rows []T, err error) {
	_, live, err := t.loadFiles(ctx)
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
			part, err := t.readFile(ctx, df)
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

func (t *eventTable[T]) readFile(ctx context.Context, df iceberg.DataFile) ([]T, error) {
	data, err := t.readData(ctx, df)
	if err != nil {
		return nil, err
	}
	rows, err := t.decode(data)
	if err == nil && len(rows) != int(df.Count()) {
		err = fmt.Errorf("the table counts %d rows, the file has %d", df.Count(), len(rows))
	}
	return rows, wrap(err, "%s", df.FilePath())
}

// mergeDay is the mergeFunc of an event table.
func (t *eventTable[T]) mergeDay(ctx context.Context, tbl *table.Table, _ int32, files []iceberg.DataFile) (out merged,
	err error) {
	var rows []T
	for _, df := range files {
		part, err := t.readFile(ctx, df)
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
	stored, err := t.write(ctx, tbl, rows)
	if err != nil {
		return out, err
	}
	n := 0
	for _, df := range stored {
		back, err := t.readFile(ctx, df) // read from the store, as every reader does
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

// layoutOf returns the layout of an event table, with the columns of the row's tags.
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

// eventColumn is a column of an event table.
type eventColumn struct {
	name           string
	id             int
	optional, time bool
	kind           reflect.Kind
}

// eventColumns returns the columns by the parquet tags of a row.
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

// nulls returns the number of nulls by field ID: the zero values of optional columns, which Parquet writes as null.
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
