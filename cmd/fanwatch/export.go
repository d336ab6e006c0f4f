package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// exported is a reading as it is exported. The columns have the table's names.
type exported struct {
	Time    int64   `parquet:"time,timestamp(microsecond),delta"`
	Fan     string  `parquet:"fan_id,dict"`
	Run     int64   `parquet:"run,dict"`
	Seq     int64   `parquet:"seq,delta"`
	RPM     float64 `parquet:"rpm"`
	Hz      float64 `parquet:"hz"`
	Jitter  float64 `parquet:"jitter"`
	Score   float64 `parquet:"score"`
	State   string  `parquet:"state,dict"`
	Anomaly string  `parquet:"anomaly,dict,optional"`
	Late    bool    `parquet:"late"`
	Edges   int64   `parquet:"edges,dict"`
	Glitch  int64   `parquet:"glitch,dict"`
	Lost    int64   `parquet:"lost,dict"`
	Unsynch bool    `parquet:"unsynch"`
	Arrived int64   `parquet:"arrived,timestamp(microsecond),delta"`
	Shard   string  `parquet:"shard,dict"`

	Expected float64  `parquet:"expected,dict,optional"`
	Low      float64  `parquet:"low,dict,optional"`
	High     float64  `parquet:"high,dict,optional"`
	Level    *int64   `parquet:"level,dict,optional"`
	Verdict  string   `parquet:"verdict,dict,optional"`
	PWM      *float64 `parquet:"pwm,optional"`
}

func toExported(r fanwatch.Row) exported {
	e := exported{r.Time.UnixMicro(), r.Fan, int64(r.Run), int64(r.Seq), r.RPM, r.Hz, r.Jitter, r.Score, string(r.State),
		string(r.Anomaly), r.Kind == fanwatch.RowLate,
		int64(r.Edges), int64(r.Glitch), int64(r.Lost), r.Unsynch, r.Arrived.UnixMicro(), r.Position.Shard,
		r.Judged.Expected, r.Judged.Low, r.Judged.High, nil, r.Judged.Verdict, nil}
	if level := int64(r.Judged.Level); r.Judged.Verdict != "" && level >= 0 {
		e.Level = &level
	}
	if duty, known := r.PWM.Fraction(); known {
		e.PWM = &duty
	}
	return e
}

// exportOptions are the flags of fanwatch lake export.
type exportOptions struct {
	period
	table, fan, format, out string
}

func (a *app) lakeExport() *cobra.Command {
	var o awsOptions
	var e exportOptions
	c := &cobra.Command{
		Use:   "export",
		Short: "Write a table, or a part of it, as CSV, Parquet or newline-delimited JSON", Args: cobra.NoArgs,
		Long: `Write a table, or a part of it, as CSV, Parquet or newline-delimited JSON.

Times are UTC; a run is a whole number, as in the table. With --fan readings come in the order of time, without it
day by day, and within a day in the order of the table's files. A file appears under its name only when it is
complete.`,
		Example: "  fanwatch lake export --fan fan-07 --from 2026-05-28 --to 2026-05-29 --out fan-07.csv\n" +
			"  fanwatch lake export --format ndjson | jq .rpm\n  fanwatch lake export --table alerts --format parquet " +
			"--out alerts.parquet",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return fmt.Errorf("--json is not for export, give --format ndjson (%w)", errUsage)
			}
			from, to, err := e.times(time.Now())
			if err != nil {
				return err
			}
			if e.format == "" {
				e.format = "csv"
				for _, f := range []string{"parquet", "ndjson"} {
					if strings.HasSuffix(e.out, "."+f) {
						e.format = f
					}
				}
			}
			return a.withLake(cmd.Context(), o, func(tables *lake.Tables, _ objstore.Store, _ []landing.Log) error {
				return toFile(e.out, cmd.OutOrStdout(), func(w io.Writer) error {
					return e.write(cmd.Context(), tables, from, to,
						w)
				})
			})
		},
	}
	o.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&e.table, "table", "readings", "table to write: readings, anomalies, quarantine, alerts or labels")
	f.StringVar(&e.fan, "fan", "", "write rows of this fan only; empty: of all fans")
	f.StringVar(&e.from, "from", "", "write rows from this time on (2026-05-28, RFC 3339, or 24h ago as 24h); "+
		"empty: from the start")
	f.StringVar(&e.to, "to", "", "write rows before this time (2026-05-28, RFC 3339, or 24h ago as 24h); empty: to "+
		"the end")
	f.StringVar(&e.format, "format", "", "format to write: csv, parquet or ndjson; empty: by the name of --out, else csv")
	f.StringVar(&e.out, "out", "", "file to write; empty: standard output")
	return c
}

// toFile calls do with a file that gets its name only when it is complete, or standard output.
func toFile(path string, stdout io.Writer, do func(io.Writer) error) error {
	if path == "" {
		w := bufio.NewWriter(stdout)
		return cmp.Or(do(w), w.Flush())
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--out %s is a folder, name a file in it (%w)", path, errUsage)
	}
	f, err := os.CreateTemp(dirOf(path), hidden+"*")
	if err != nil {
		return fmt.Errorf("--out: %w, name a file in a folder that is there and can be written", named(err, path))
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone when all went well
	w := bufio.NewWriterSize(f, 1<<20)
	if err := cmp.Or(do(w), w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return named(err, path)
	}
	return named(os.Rename(f.Name(), path), path)
}

// hidden begins the name of a file that is not complete.
const hidden = ".export-"

// named returns err with the name of the target in the place of the hidden temporary file's.
func named(err error, path string) error {
	var file *os.PathError
	if errors.As(err, &file) && strings.HasPrefix(file.Path, dirOf(path)) && strings.Contains(file.Path, hidden) {
		file.Path = path
	}
	if link, ok := err.(*os.LinkError); ok {
		return &os.PathError{Op: link.Op, Path: path, Err: link.Err}
	}
	return err
}

func dirOf(path string) string {
	if i := strings.LastIndexByte(path, os.PathSeparator); i >= 0 {
		return path[:i+1]
	}
	return "."
}

func (e *exportOptions) write(ctx context.Context, tables *lake.Tables, from, to time.Time, w io.Writer) error {
	switch e.table {
	case "readings":
		return exportRows(w, e.format, func(add func(exported) error) error {
			bar := progressBar(os.Stderr, "data files")
			defer bar.end()
			if e.fan == "" {
				return tables.Each(ctx, from, to, bar.show, func(r fanwatch.Row) error { return add(toExported(r)) })
			}
			for r, err := range tables.Rows(ctx, e.fan, from, to) {
				if err == nil {
					err = add(toExported(r))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	case "anomalies":
		rows, err := tables.Anomalies(ctx, from, to)
		return cmp.Or(err, exportAll(w, e, rows, func(r *lake.Anomaly) string { return r.Fan }))
	case "quarantine":
		rows, err := tables.Quarantine(ctx, from, to)
		return cmp.Or(err, exportAll(w, e, rows, func(r *lake.QuarantineRow) string { return r.Fan }))
	case "alerts":
		rows, err := tables.Alerts(ctx, from, to)
		return cmp.Or(err, exportAll(w, e, rows, func(r *lake.AlertRow) string { return r.Fan }))
	case "labels":
		rows, err := tables.Labels(ctx, from, to)
		return cmp.Or(err, exportAll(w, e, rows, func(r *lake.LabelRow) string { return r.Fan }))
	}
	return fmt.Errorf("--table %.40q is none of readings, anomalies, quarantine, alerts, labels (%w)", e.table, errUsage)
}

func exportAll[T any](w io.Writer, e *exportOptions, rows []T, fan func(*T) string) error {
	return exportRows(w, e.format, func(add func(T) error) error {
		for i := range rows {
			if e.fan != "" && fan(&rows[i]) != e.fan {
				continue
			}
			if err := add(rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// exportRows writes what each gives, by the parquet tags of the row's type.
func exportRows[T any](w io.Writer, format string, each func(add func(T) error) error) error {
	cols := columnsOf[T]()
	switch format {
	case "csv":
		out := csv.NewWriter(w)
		var head []string
		for _, c := range cols {
			head = append(head, c.name)
		}
		record := make([]string, len(head))
		err := cmp.Or(out.Write(head), each(func(row T) error {
			for i := range cols {
				record[i] = text(cols[i].value(reflect.ValueOf(row).Field(i)))
			}
			return out.Write(record)
		}))
		out.Flush()
		return cmp.Or(err, out.Error())
	case "ndjson":
		enc := json.NewEncoder(w)
		return each(func(row T) error {
			object := make(map[string]any, len(cols))
			for i, c := range cols {
				if v := c.value(reflect.ValueOf(row).Field(i)); v != nil {
					object[c.name] = v
				}
			}
			return enc.Encode(object)
		})
	case "parquet":
		out := parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Zstd))
		batch := make([]T, 0, 4096)
		flush := func() error {
			_, err := out.Write(batch)
			batch = batch[:0]
			return err
		}
		err := each(func(row T) error {
			if batch = append(batch, row); len(batch) == cap(batch) {
				return flush()
			}
			return nil
		})
		return cmp.Or(err, flush(), out.Close())
	}
	return fmt.Errorf("--format %.40q is none of csv, parquet, ndjson (%w)", format, errUsage)
}

type exportColumn struct {
	name           string
	time, optional bool
}

func columnsOf[T any]() (cols []exportColumn) {
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("parquet"), ",")
		cols = append(cols, exportColumn{name, strings.Contains(options, "timestamp("), strings.Contains(options,
			"optional")})
	}
	return cols
}

// value returns a column's value: a time as text in UTC, nil for what is not there.
func (c *exportColumn) value(f reflect.Value) any {
	switch {
	case c.optional && f.IsZero():
		return nil
	case c.time:
		return time.UnixMicro(f.Int()).UTC().Format("2006-01-02T15:04:05.000000Z")
	case f.Kind() == reflect.Pointer:
		return f.Elem().Interface()
	case f.Kind() == reflect.Slice:
		return string(f.Bytes())
	}
	return f.Interface()
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
