package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake"
)

// episode is an alert as it would be, or was: trouble of one family of a fan, with what came back within the hold.
type episode struct {
	Fan      string            `json:"fan"`
	Family   fanwatch.Family   `json:"family"`
	Kind     fanwatch.Kind     `json:"kind"`     // the gravest that it had
	Severity fanwatch.Severity `json:"severity"` // the gravest that it had
	From     time.Time         `json:"from"`     // of the first reading in trouble
	To       time.Time         `json:"to"`       // of the reading that ended it, or the last one
	Open     bool              `json:"open"`     // the readings ended before it did
	Why      string            `json:"why"`      // the sentence of its gravest moment
	Told     int64             `json:"told"`     // messages that were sent; 0 in what would have been
	Label    string            `json:"label"`    // what a person said of it: normal, fault or ""
	ended    time.Time         // when its family was normal again; zero: it goes on
}

// pages reports whether a person is told at once.
func (e *episode) pages() bool { return e.Severity != fanwatch.SeverityInfo }

// overlaps reports whether the episode and the time from..to share a moment.
func (e *episode) overlaps(from, to time.Time) bool { return !e.From.After(to) && !e.To.Before(from) }

// episodes gathers a fan's states into episodes. The families stand side by side.
type episodes struct {
	hold    time.Duration
	all     []*episode
	current map[fanwatch.Family]*episode // the newest of each family
}

// note takes a family's state from a reading on.
func (s *episodes) note(family fanwatch.Family, o fanwatch.Observation) {
	if s.current == nil {
		s.current = make(map[fanwatch.Family]*episode)
	}
	e := s.current[family]
	if o.Anomaly.Kind == fanwatch.KindNone {
		if e != nil && e.ended.IsZero() {
			e.ended, e.To = o.Time, o.Time
		}
		return
	}
	severity := cmp.Or(o.Anomaly.Severity, o.Anomaly.Kind.Severity())
	if e == nil || !e.ended.IsZero() && o.Time.Sub(e.ended) > s.hold {
		e = &episode{Fan: o.Fan, Family: family, From: o.Time}
		s.all, s.current[family] = append(s.all, e), e
	}
	e.ended, e.To = time.Time{}, o.Time
	now := fanwatch.Anomaly{Kind: o.Anomaly.Kind, Severity: severity}
	if now.Graver(fanwatch.Anomaly{Kind: e.Kind, Severity: e.Severity}) {
		e.Kind, e.Severity, e.Why = o.Anomaly.Kind, severity, o.Anomaly.Why
	}
}

// observe takes a change of state. One without a family is of a judge with one state: it ends those of other families.
func (s *episodes) observe(o fanwatch.Observation) {
	if o.Family != "" {
		s.note(o.Family, o)
		return
	}
	well := o
	well.Anomaly = fanwatch.Anomaly{}
	for family := range s.current {
		if family != o.Anomaly.Kind.Family() {
			s.note(family, well)
		}
	}
	if o.Anomaly.Kind != fanwatch.KindNone {
		s.note(o.Anomaly.Kind.Family(), o)
	}
}

// record takes what a row says that the fan's states were.
func (s *episodes) record(r *fanwatch.Row) {
	if r.Kind != fanwatch.RowScored {
		return
	}
	found := make(map[fanwatch.Family]fanwatch.Kind)
	for word := range strings.SplitSeq(r.Judged.Verdict, ",") {
		if k := fanwatch.Kind(strings.TrimSpace(word)); k.Family() != "" {
			found[k.Family()] = k
		}
	}
	if f := r.Anomaly.Family(); f != "" {
		found[f] = r.Anomaly
	}
	o := fanwatch.Observation{Fan: r.Fan, Time: r.Time}
	for family, e := range s.current {
		if e.ended.IsZero() && found[family] == "" {
			s.note(family, o)
		}
	}
	for family, kind := range found {
		o.Anomaly = fanwatch.Anomaly{Kind: kind, Severity: kind.Severity()}
		if off := math.Abs(r.RPM/r.Judged.Expected - 1); kind == fanwatch.KindSpeed && off < warnOff {
			o.Anomaly.Severity = fanwatch.SeverityInfo
		}
		s.note(family, o)
	}
}

// warnOff is the part of its expected speed from which on a fan's speed is a warning and no longer info.
const warnOff = 0.08

// finish ends the episodes at the last reading and returns those from a time on, by time.
func (s *episodes) finish(last, from time.Time) (out []*episode) {
	for _, e := range s.all {
		if e.ended.IsZero() {
			e.Open, e.To = true, last
		}
		if !e.From.Before(from) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b *episode) int { return a.From.Compare(b.From) })
	return out
}

// backtested is what became of one fan's readings.
type backtested struct {
	Fan      string     `json:"fan"`
	Readings int        `json:"readings"`         // from the beginning of the period on
	Days     float64    `json:"days"`             // from the first of them to the last
	Reason   string     `json:"reason,omitempty"` // why the first of Refused is
	Refused  int        `json:"refused"`          // readings that the candidate does not accept
	Would    []*episode `json:"would"`            // alerts of the candidate
	Did      []*episode `json:"did"`              // alerts that there were
	Cases    []testCase `json:"cases"`
}

// testCase is a label that the candidate was held against.
type testCase struct {
	Fan   string        `json:"fan"`
	Alert string        `json:"alert"`
	Kind  fanwatch.Kind `json:"kind"`
	Label string        `json:"label"`
	From  time.Time     `json:"from"`
	To    time.Time     `json:"to"`
	OK    bool          `json:"ok"`    // a fault was found, a normal was quiet
	Delay time.Duration `json:"delay"` // of a fault that was found: from its beginning to the alert, in ns
	Found *episode      `json:"found"` // the alert that found the fault or broke the quiet; null: none
}

// backtest is the judgement of a period by a candidate.
type backtest struct {
	from      time.Time // alerts that begin earlier do not count: the judge learns
	hold      time.Duration
	candidate *candidate
}

// judge feeds a fan's readings, in the order of time, to the candidate, and holds its alerts against the labels and
// those that there were. each is called with every row.
func (b *backtest) judge(device fanwatch.Device, rows iter.Seq2[fanwatch.Row, error], labels []fanwatch.Label,
	alerts []*episode, each func(*fanwatch.Row)) (r backtested, err error) {
	r = backtested{Fan: device.Fan, Would: []*episode{}, Did: []*episode{}, Cases: []testCase{}}
	would, did := episodes{hold: b.hold}, episodes{hold: b.hold}
	f := feeder{models: detect.New(b.candidate.Detect), device: device, labels: slices.Clone(labels)}
	slices.SortStableFunc(f.labels, func(a, b fanwatch.Label) int { return a.At.Compare(b.At) })
	f.take = func(out detect.Output) {
		for _, o := range out.Observations {
			would.observe(o)
		}
		for i := range out.Rows {
			if out.Rows[i].Kind == fanwatch.RowQuarantined {
				r.Refused += max(1, int(out.Rows[i].Refused))
				r.Reason = cmp.Or(r.Reason, out.Rows[i].Reason)
			}
		}
	}
	var first, last time.Time
	for row, err := range rows {
		if err != nil {
			return r, err
		}
		each(&row)
		did.record(&row)
		if err := f.add(&row); err != nil {
			return r, err
		}
		if last = row.Time; !row.Time.Before(b.from) {
			if r.Readings++; first.IsZero() {
				first = row.Time
			}
		}
	}
	if err := f.flush(); err != nil {
		return r, err
	}
	if !first.IsZero() {
		r.Days = last.Sub(first).Hours() / 24
	}
	r.Would = append(r.Would, would.finish(last, b.from)...)
	r.Did = append(r.Did, did.finish(last, b.from)...)
	r.join(alerts, b.hold)
	r.holdAgainst(labels, b.from, last)
	return r, nil
}

// join adds the alerts that were over to those that the rows tell of, each once.
func (r *backtested) join(alerts []*episode, hold time.Duration) {
	for _, a := range alerts {
		i := slices.IndexFunc(r.Did, func(e *episode) bool {
			return e.Family == a.Family && e.overlaps(a.From.Add(-hold), a.To)
		})
		if i >= 0 {
			r.Did[i].Told += a.Told
			continue
		}
		r.Did = append(r.Did, a)
	}
	slices.SortStableFunc(r.Did, func(a, b *episode) int { return a.From.Compare(b.From) })
}

// holdAgainst makes a test case of each label whose trouble began from..last. Of several labels of an alert the latest
// counts.
func (r *backtested) holdAgainst(labels []fanwatch.Label, from, last time.Time) {
	newest := make(map[string]fanwatch.Label)
	for _, l := range labels {
		if old, ok := newest[l.Alert]; !ok || !l.At.Before(old.At) {
			newest[l.Alert] = l
		}
	}
	for _, l := range newest {
		if l.From.Before(from) || l.From.After(last) {
			continue
		}
		c := testCase{Fan: l.Fan, Alert: l.Alert, Kind: l.Kind, Label: lake.LabelFault, From: l.From, To: l.To}
		if l.Normal {
			c.Label = lake.LabelNormal
		}
		if c.To.IsZero() {
			c.To = last
		}
		for _, e := range slices.Concat(r.Would, r.Did) {
			if e.overlaps(c.From, c.To) && e.Label != lake.LabelFault && (!l.Normal || e.Family == l.Kind.Family()) {
				e.Label = c.Label
			}
		}
		i := slices.IndexFunc(r.Would, func(e *episode) bool {
			return e.overlaps(c.From, c.To) && (!l.Normal || e.Family == l.Kind.Family())
		})
		if c.OK = (i >= 0) != l.Normal; i >= 0 {
			c.Found = r.Would[i]
			c.Delay = max(0, c.Found.From.Sub(c.From))
		}
		r.Cases = append(r.Cases, c)
	}
	slices.SortFunc(r.Cases, func(a, b testCase) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Alert, b.Alert))
	})
}

// feeder makes records of a fan's readings, as publisher and rule would, and feeds them to models.
type feeder struct {
	models  *detect.Models
	device  fanwatch.Device
	labels  []fanwatch.Label // not yet fed, by At
	take    func(detect.Output)
	records int
	batch   []fanwatch.Reading // of one run, arrived together
	arrived time.Time          // of batch
}

// add adds a reading. Its time is that of the row, whatever the device's clock was.
func (f *feeder) add(row *fanwatch.Row) error {
	if f.records == 0 {
		data, err := fanwatch.EncodeDevice(f.device)
		if err != nil {
			return err
		}
		f.feed(data, row.Arrived)
	}
	said := len(f.labels) > 0 && !f.labels[0].At.After(row.Arrived)
	if n := len(f.batch); n > 0 && (said || n == fanwatch.MaxBatch || f.batch[0].Run != row.Run || row.Run == 0 ||
		!f.arrived.Equal(row.Arrived)) {
		if err := f.flush(); err != nil {
			return err
		}
	}
	for ; len(f.labels) > 0 && !f.labels[0].At.After(row.Arrived); f.labels = f.labels[1:] {
		data, err := fanwatch.EncodeLabel(f.labels[0])
		if err != nil {
			return err
		}
		f.feed(data, row.Arrived)
	}
	r := row.Reading
	r.Fan, r.Unsynch = f.device.Fan, false
	f.batch, f.arrived = append(f.batch, r), row.Arrived
	return nil
}

// flush feeds the batch.
func (f *feeder) flush() error {
	if len(f.batch) == 0 {
		return nil
	}
	var record any = struct {
		fanwatch.Batch
		Client string `json:"client"`
	}{fanwatch.NewBatch(f.batch, 0, 0, f.arrived), f.device.Fan}
	if r := f.batch[0]; r.Run == 0 {
		record = map[string]any{"FANID": r.Fan, "TIME": r.Time.UnixMicro(), "RPM": r.RPM, "FREQ": r.Hz, "client": r.Fan}
	}
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("readings of %s at %s: %w", f.device.Fan, f.batch[0].Time.Format(time.RFC3339), err)
	}
	f.feed(data, f.arrived)
	f.batch = f.batch[:0]
	return nil
}

func (f *feeder) feed(data []byte, arrived time.Time) {
	f.records++
	at := fanwatch.Position{Shard: "backtest", Sequence: fanwatch.SequenceNumber(strconv.Itoa(f.records))}
	f.take(f.models.Feed(detect.Input{Position: at, Arrived: arrived, Data: data}))
}
