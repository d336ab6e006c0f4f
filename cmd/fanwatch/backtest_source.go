package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// recorded is what a backtest reads: readings of fans, and what was said of them.
type recorded struct {
	fans    []string
	devices map[string]fanwatch.Device
	// rows returns a fan's readings in the order of time.
	rows     func(fan string) iter.Seq2[fanwatch.Row, error]
	alerts   map[string][]*episode // alerts that are over, by fan
	labels   map[string][]fanwatch.Label
	from, to time.Time // of the first reading and the last, or earlier and later
}

// fromLake returns what the lake has of the fans (none: of all) with from <= time < to.
func fromLake(ctx context.Context, tables *lake.Tables, logs []landing.Log, fans []string, from, to time.Time,
) (*recorded, error) {
	src := &recorded{fans: fans, devices: make(map[string]fanwatch.Device), alerts: make(map[string][]*episode),
		labels: make(map[string][]fanwatch.Label), from: from, to: to}
	files, err := tables.Files(ctx)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		first, last := files[0].Day, files[len(files)-1].Day.Add(24*time.Hour)
		if src.from.Before(first) {
			src.from = first
		}
		if to.IsZero() || to.After(last) {
			src.to = last
		}
	}
	if len(fans) == 0 {
		if src.fans, err = tables.Fans(ctx, from, to); err != nil {
			return nil, err
		}
	}
	src.rows = func(fan string) iter.Seq2[fanwatch.Row, error] { return tables.Rows(ctx, fan, from, to) }
	for _, l := range logs {
		if err := src.readDevices(ctx, l); err != nil {
			return nil, err
		}
	}
	// a lake of an earlier program has no labels, and a new one no alerts
	alerts, err := tables.Alerts(ctx, from, to)
	if err != nil && !errors.Is(err, lake.ErrNoTable) {
		return nil, err
	}
	for _, a := range alerts {
		kind := fanwatch.Kind(a.Kind)
		src.alerts[a.Fan] = append(src.alerts[a.Fan], &episode{Fan: a.Fan, Family: kind.Family(), Kind: kind,
			Severity: kind.Severity(), From: time.UnixMicro(a.Opened).UTC(), To: time.UnixMicro(a.Ended).UTC(), Why: a.Why,
			Told: a.Told})
	}
	labels, err := tables.Labels(ctx, from, to)
	if err != nil && !errors.Is(err, lake.ErrNoTable) {
		return nil, err
	}
	for i := range labels {
		src.addLabel(&labels[i])
	}
	return src, nil
}

// readDevices takes the devices of a shard's fans from its newest snapshot.
func (src *recorded) readDevices(ctx context.Context, l landing.Log) error {
	if l.Foreign() {
		return nil
	}
	_, err := l.RestoreSnapshot(ctx, func(data []byte) error {
		m, err := detect.Restore(detect.Config{}, data)
		if err != nil {
			return err
		}
		for _, fan := range m.Fans() {
			if d, ok := m.Device(fan); ok && d.Revision >= src.devices[fan].Revision {
				src.devices[fan] = d
			}
		}
		return nil
	})
	return err
}

func (src *recorded) addLabel(r *lake.LabelRow) {
	l := fanwatch.Label{V: fanwatch.LabelVersion, Fan: r.Fan, Alert: r.Alert, Kind: fanwatch.Kind(r.Kind),
		Normal: r.Label == lake.LabelNormal, From: time.UnixMicro(r.From).UTC(), By: r.By, Note: r.Note,
		At: time.UnixMicro(r.At).UTC()}
	if r.To != 0 {
		l.To = time.UnixMicro(r.To).UTC()
	}
	src.labels[l.Fan] = append(src.labels[l.Fan], l)
}

// openCSV is fromCSV of a file, "-" for the standard input.
func openCSV(name string, stdin io.Reader, fans []string, from, to time.Time) (src *recorded, err error) {
	err = openFile(name, stdin, func(in io.Reader) (err error) {
		src, err = fromCSV(in, fans, from, to)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--csv: %w", err)
	}
	return src, nil
}

// fromCSV returns the readings of a CSV file with a header: of the named fans (none: of all) with from <= time < to.
func fromCSV(in io.Reader, fans []string, from, to time.Time) (*recorded, error) {
	src := &recorded{alerts: make(map[string][]*episode), labels: make(map[string][]fanwatch.Label)}
	byFan := make(map[string][]fanwatch.Row)
	names := make(map[string]bool)
	for _, fan := range fans {
		names[fan] = true
	}
	err := eachRecord(in, []string{"time", "rpm"}, func(c csvRecord) error {
		row, err := c.reading(fans)
		if err != nil {
			return err
		}
		if len(fans) > 0 && !names[row.Fan] || row.Time.Before(from) || !to.IsZero() && !row.Time.Before(to) {
			return nil
		}
		byFan[row.Fan] = append(byFan[row.Fan], row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	src.fans = slices.Sorted(maps.Keys(byFan))
	for fan, rows := range byFan {
		slices.SortStableFunc(rows, func(a, b fanwatch.Row) int { return a.Time.Compare(b.Time) })
		for i := range rows {
			rows[i].Seq = uint64(i + 1)
		}
		if first := rows[0].Time; src.from.IsZero() || first.Before(src.from) {
			src.from = first
		}
		if last := rows[len(rows)-1].Time; last.After(src.to) {
			src.to = last
		}
		byFan[fan] = rows
	}
	src.rows = func(fan string) iter.Seq2[fanwatch.Row, error] {
		return func(yield func(fanwatch.Row, error) bool) {
			for _, r := range byFan[fan] {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
	return src, nil
}

// readLabels takes labels from CSV as fanwatch lake export --table labels writes it.
func (src *recorded) readLabels(in io.Reader) error {
	return eachRecord(in, []string{"fan_id", "time", "kind", "label"}, func(c csvRecord) error {
		r := lake.LabelRow{Fan: c.text("fan_id"), Alert: cmp.Or(c.text("alert_id"), fmt.Sprint("line ", c.line)),
			Kind: c.text("kind"), Label: c.text("label"), By: c.text("by")}
		from, err := c.time("time")
		if err != nil {
			return err
		}
		if r.From, r.At = from.UnixMicro(), from.UnixMicro(); c.text("until") != "" {
			to, err := c.time("until")
			if err != nil {
				return err
			}
			r.To, r.At = to.UnixMicro(), to.UnixMicro()
		}
		if c.text("said") != "" {
			said, err := c.time("said")
			if err != nil {
				return err
			}
			r.At = said.UnixMicro()
		}
		if r.Label != lake.LabelNormal && r.Label != lake.LabelFault {
			return fmt.Errorf("label %.40q is none of %s, %s", r.Label, lake.LabelNormal, lake.LabelFault)
		}
		src.addLabel(&r)
		all := src.labels[r.Fan]
		return all[len(all)-1].Check()
	})
}

// csvRecord is a record of CSV with its header.
type csvRecord struct {
	line   int
	column map[string]int
	fields []string
}

// eachRecord calls do with each record of CSV whose header has the columns of need.
func eachRecord(in io.Reader, need []string, do func(csvRecord) error) error {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty: it needs a header and rows")
	}
	if err != nil {
		return err
	}
	c := csvRecord{column: make(map[string]int)}
	for i, name := range header {
		c.column[strings.TrimPrefix(strings.TrimSpace(name), "\ufeff")] = i
	}
	for _, name := range need {
		if _, ok := c.column[name]; !ok {
			return fmt.Errorf("it has no column %q, its header has %s", name, listed(slices.Clone(header)))
		}
	}
	for {
		c.fields, err = r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.line, _ = r.FieldPos(0)
		if err := do(c); err != nil {
			return fmt.Errorf("line %d: %w", c.line, err)
		}
	}
}

// text returns the field of a column, "" where there is no such column.
func (c *csvRecord) text(name string) string {
	if i, ok := c.column[name]; ok {
		return strings.Clone(strings.TrimSpace(c.fields[i]))
	}
	return ""
}

// number returns the number of a column; 0 where the field is empty or there is no such column.
func (c *csvRecord) number(name string) (float64, error) {
	text := c.text(name)
	if text == "" {
		return 0, nil
	}
	v, err := number(text)
	if err != nil {
		return 0, fmt.Errorf("column %q is %.40q, %w", name, text, err)
	}
	return v, nil
}

func (c *csvRecord) time(name string) (time.Time, error) {
	t, err := fanwatch.ParseTime(c.text(name), time.UTC, time.Time{})
	if err != nil {
		return t, fmt.Errorf("column %q: %w", name, err)
	}
	return t, nil
}

// reading returns the record's reading. Without a column fan or fan_id it is of the one fan of fans.
func (c *csvRecord) reading(fans []string) (r fanwatch.Row, err error) {
	r.Kind, r.Run = fanwatch.RowScored, 1
	r.Fan = cmp.Or(c.text("fan"), c.text("fan_id"))
	if r.Fan == "" {
		if len(fans) != 1 {
			return r, errors.New("it names no fan: add a column fan, or give one --fan")
		}
		r.Fan = fans[0]
	}
	if err := fanwatch.CheckFan(r.Fan); err != nil {
		return r, err
	}
	if r.Time, err = c.time("time"); err != nil {
		return r, err
	}
	if c.text("rpm") == "" {
		return r, errors.New(`column "rpm" is empty`)
	}
	for name, to := range map[string]*float64{"rpm": &r.RPM, "hz": &r.Hz, "jitter": &r.Jitter,
		"expected": &r.Judged.Expected} {
		if *to, err = c.number(name); err != nil {
			return r, err
		}
	}
	if text := c.text("pwm"); text != "" {
		duty, err := strconv.ParseFloat(text, 64)
		if err != nil || !(duty >= 0 && duty <= 1) {
			return r, fmt.Errorf("column \"pwm\" is %.40q, want a duty cycle of 0 to 1, or nothing", text)
		}
		r.PWM = fanwatch.NewDuty(duty)
	}
	r.State = fanwatch.State(c.text("state"))
	if r.State == "" {
		if r.State = fanwatch.StateRunning; r.RPM == 0 {
			r.State = fanwatch.StateStalled
		}
	}
	r.Arrived, r.Anomaly = r.Time, fanwatch.Kind(c.text("anomaly"))
	r.Judged.Verdict = c.text("verdict")
	return r, r.Check()
}

// openFile calls read with a file, or with standard input where its name is -.
func openFile(name string, stdin io.Reader, read func(io.Reader) error) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("%w (%w)", err, errUsage)
		}
		defer func() { _ = f.Close() }() // it was read
		in = f
	}
	if err := read(in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
