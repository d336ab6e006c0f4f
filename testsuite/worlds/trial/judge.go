// Package trial runs judges over worlds and counts what a user would see: alerts that nothing calls for, and faults
// that are found, and after how long.
package trial

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// Judge judges the readings of the fans of one world.
type Judge interface {
	// Feed judges the next reading. It may do so later.
	Feed(r *fanwatch.Reading) error
	// Changes returns all changes of the fans' states, those of a fan in order of time. Nothing is fed afterwards.
	Changes() ([]Change, error)
}

// Change is a change of the state of one family of a fan's trouble.
type Change struct {
	Fan      string
	Time     time.Time // of the reading that caused it
	Family   fanwatch.Family
	Kind     fanwatch.Kind // KindNone ends the trouble
	Severity fanwatch.Severity
	Why      string
}

// Alert is trouble of one family, from its beginning to its end. Trouble that returns within the hold continues it.
type Alert struct {
	Change           // the gravest
	Begin  time.Time // of the first
	End    time.Time // zero: it lasts
	risen  []Change  // those that made it graver, the first too
}

// Page reports whether a person is called for the alert at once.
func (a *Alert) Page() bool { return a.Severity.Weight() >= fanwatch.SeverityWarning.Weight() }

// hold is how long an alert stays open after its trouble, as in the default policy.
const hold = time.Minute

// alerts returns the alerts that changes make.
func alerts(changes []Change) []*Alert {
	type key struct {
		fan    string
		family fanwatch.Family
	}
	var all []*Alert
	open := map[key]*Alert{}
	for _, c := range changes {
		of := key{c.Fan, c.Family}
		a := open[of]
		switch {
		case c.Kind == fanwatch.KindNone:
			if a != nil && a.End.IsZero() {
				a.End = c.Time
			}
		case a == nil || !a.End.IsZero() && c.Time.Sub(a.End) > hold:
			a = &Alert{Change: c, Begin: c.Time, risen: []Change{c}}
			open[of], all = a, append(all, a)
		default:
			a.End = time.Time{}
			if c.Severity.Weight() > a.Severity.Weight() {
				a.Change, a.risen = c, append(a.risen, c)
			}
		}
	}
	return all
}

// firstSince returns the first beginning of a fan's alert, or rise of one, of at least the severity, at or after the
// time; false when there is none.
func firstSince(all []*Alert, fan string, from time.Time, least fanwatch.Severity) (first Change, ok bool) {
	for _, a := range all {
		for _, c := range a.risen {
			counts := c.Fan == fan && c.Severity.Weight() >= least.Weight() && !c.Time.Before(from)
			if counts && (!ok || c.Time.Before(first.Time)) {
				first, ok = c, true
			}
		}
	}
	return first, ok
}

// batches makes records of the stream of readings, as the rule of IoT Core puts them there.
type batches struct {
	span time.Duration // of a record's readings
	held map[string][]fanwatch.Reading
	fans []string // keys of held, in order
}

const batchSize = 120 // readings of a record

// newBatches returns the batches of fans: of ten minutes where a fan is alone, else of one, for fans are compared.
func newBatches(devices []fanwatch.Device) batches {
	b := batches{span: 10 * time.Minute, held: map[string][]fanwatch.Reading{}}
	if len(devices) > 1 {
		b.span = time.Minute
	}
	for _, d := range devices {
		b.fans = append(b.fans, d.Fan)
	}
	return b
}

// add keeps a reading and returns the record of those before it when it is complete.
func (b *batches) add(r *fanwatch.Reading) (record []byte, err error) {
	if r.Run == 0 {
		return legacy(r)
	}
	held := b.held[r.Fan]
	if n := len(held); n > 0 && (n == batchSize || r.Run != held[0].Run || r.Time.Sub(held[0].Time) > b.span) {
		record, err = b.take(r.Fan)
	}
	b.held[r.Fan] = append(b.held[r.Fan], *r)
	return record, err
}

// legacy returns a reading as a record in the wire format of 2019, which holds one.
func legacy(r *fanwatch.Reading) ([]byte, error) {
	return json.Marshal(struct {
		Time    string  `json:"TIME"`
		Fan     string  `json:"FANID"`
		Hz      float64 `json:"FREQ"`
		RPM     float64
		Arrived int64  `json:"arrived"`
		Client  string `json:"client"`
	}{r.Time.Format("2006-01-02T15:04:05.000000Z"), r.Fan, r.Hz, r.RPM, r.Time.UnixMilli(), r.Fan})
}

// take returns the record of the readings of a fan that are kept, nil when there are none. It arrives with its last
// reading.
func (b *batches) take(fan string) ([]byte, error) {
	held := b.held[fan]
	if len(held) == 0 {
		return nil, nil
	}
	arrived := held[len(held)-1].Time
	record, err := json.Marshal(struct {
		Arrived int64  `json:"arrived"`
		Client  string `json:"client"`
		fanwatch.Batch
	}{arrived.UnixMilli(), fan, fanwatch.NewBatch(held, 0, 0, arrived)})
	b.held[fan] = held[:0]
	return record, err
}

// rest gives the records of all readings that are kept.
func (b *batches) rest(to func(record []byte) error) error {
	for _, fan := range b.fans {
		record, err := b.take(fan)
		if err == nil && record != nil {
			err = to(record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// project is the project's judge, by its public Feed.
type project struct {
	batches
	models  *detect.Models
	n       int
	changes []Change
	verdict fanwatch.Verdict // what a person is to say of the first alert of a speed; "" = nothing, or it is said
}

// personAfter is the time of an alert after which a person says what it was.
const personAfter = 10 * time.Minute

// Say has a person say v of the first alert of a speed.
func (p *project) Say(v fanwatch.Verdict) { p.verdict = v }

// say puts the verdict that is due at a time on the stream.
func (p *project) say(at time.Time) error {
	i := slices.IndexFunc(p.changes, func(c Change) bool { return c.Kind == fanwatch.KindSpeed })
	if p.verdict == "" || i < 0 || at.Sub(p.changes[i].Time) < personAfter {
		return nil
	}
	c := p.changes[i]
	a := fanwatch.Alert{ID: "alert/" + c.Fan, Fan: c.Fan, Kind: c.Kind, Opened: c.Time}
	l := fanwatch.LabelOf(a, fanwatch.Acknowledgement{By: "ada", Verdict: p.verdict})
	l.At, p.verdict = at, ""
	record, err := fanwatch.EncodeLabel(l)
	if err != nil {
		return err
	}
	return p.feed(record)
}

// newProject returns package detect's judge of fans, with the default models.
func newProject(devices []fanwatch.Device) (Judge, error) {
	return newProjectOf(detect.Config{}, devices)
}

// newForestless returns package detect's judge of fans whose forests find nothing, in a third of the time.
func newForestless(devices []fanwatch.Device) (Judge, error) {
	return newProjectOf(detect.Config{Trees: 1, SampleSize: 8, Warmup: math.MaxInt}, devices)
}

func newProjectOf(c detect.Config, devices []fanwatch.Device) (Judge, error) {
	p := &project{batches: newBatches(devices), models: detect.New(c)}
	for _, d := range devices {
		record, err := fanwatch.EncodeDevice(d)
		if err == nil {
			err = p.feed(record)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *project) Feed(r *fanwatch.Reading) error {
	record, err := p.add(r)
	if err != nil || record == nil {
		return err
	}
	if err := p.feed(record); err != nil {
		return err
	}
	return p.say(r.Time)
}

func (p *project) Changes() ([]Change, error) {
	err := p.rest(p.feed)
	return p.changes, err
}

// feed judges one record. Its own arrival goes before that of the stream.
func (p *project) feed(record []byte) error {
	p.n++
	out := p.models.Feed(detect.Input{Arrived: epoch, Data: record,
		Position: fanwatch.Position{Shard: "shard-0", Sequence: fanwatch.SequenceNumber(strconv.Itoa(p.n))}})
	for i := range out.Rows {
		if row := &out.Rows[i]; row.Kind == fanwatch.RowQuarantined {
			return fmt.Errorf("the judge refuses a reading of %s: %s", row.Fan, row.Reason)
		}
	}
	for i := range out.Observations {
		p.changes = append(p.changes, changesOf(&out.Observations[i])...)
	}
	return nil
}

// changesOf returns the changes that an observation tells of. One without family ends, with KindNone, the trouble of
// every family.
func changesOf(o *fanwatch.Observation) []Change {
	c := Change{Fan: o.Fan, Time: o.Time, Family: cmp.Or(o.Family, o.Anomaly.Kind.Family()), Kind: o.Anomaly.Kind,
		Severity: cmp.Or(o.Anomaly.Severity, o.Anomaly.Kind.Severity()), Why: o.Anomaly.Why}
	if c.Family != "" {
		return []Change{c}
	}
	var all []Change
	for _, f := range []fanwatch.Family{fanwatch.FamilySpeed, fanwatch.FamilySource, fanwatch.FamilyTexture,
		fanwatch.FamilyDrift, fanwatch.FamilyForest} {
		c.Family = f
		all = append(all, c)
	}
	return all
}
