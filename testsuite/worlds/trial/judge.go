// Package trial runs judges over worlds and counts what a user would see: alerts that nothing calls for, and faults
// that are found, and after how long.
package trial

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// Judge judges the readings of one fan.
type Judge interface {
	// Feed judges the next reading. It may do so later.
	Feed(r *fanwatch.Reading) error
	// Changes returns all changes of the fan's states, in order of time. Nothing is fed afterwards.
	Changes() ([]Change, error)
}

// Change is a change of the state of one family of a fan's trouble.
type Change struct {
	Time     time.Time // of the reading that caused it
	Family   fanwatch.Family
	Kind     fanwatch.Kind // KindNone ends the trouble
	Severity fanwatch.Severity
	Why      string
}

// Alert is trouble of one family, from its beginning to its end. Trouble that returns within the hold continues it.
type Alert struct {
	Change             // the gravest
	Begin    time.Time // of the first
	End      time.Time // zero: it lasts
	risen    []Change  // those that made it graver, the first too
	returned bool
}

// Page reports whether a person is called for the alert at once.
func (a *Alert) Page() bool { return a.Severity.Weight() >= fanwatch.SeverityWarning.Weight() }

// hold is how long an alert stays open after its trouble, as in the default policy.
const hold = time.Minute

// alerts returns the alerts of a fan's changes, in the order of their beginnings.
func alerts(changes []Change) []*Alert {
	var all []*Alert
	open := map[fanwatch.Family]*Alert{}
	for _, c := range changes {
		a := open[c.Family]
		switch {
		case c.Kind == fanwatch.KindNone:
			if a != nil && a.End.IsZero() {
				a.End = c.Time
			}
		case a == nil || !a.End.IsZero() && c.Time.Sub(a.End) > hold:
			a = &Alert{Change: c, Begin: c.Time, risen: []Change{c}}
			open[c.Family], all = a, append(all, a)
		default:
			a.End = time.Time{}
			if c.Severity.Weight() > a.Severity.Weight() {
				a.Change, a.risen = c, append(a.risen, c)
			}
		}
	}
	return all
}

// firstSince returns the first beginning of an alert, or rise of one, at or after the time; false when there is none.
func firstSince(all []*Alert, from time.Time) (first Change, ok bool) {
	for _, a := range all {
		for _, c := range a.risen {
			if !c.Time.Before(from) && (!ok || c.Time.Before(first.Time)) {
				first, ok = c, true
			}
		}
	}
	return first, ok
}

// batches makes records of the stream of readings, as the rule of IoT Core puts them there.
type batches struct {
	device fanwatch.Device
	held   []fanwatch.Reading
}

const (
	batchSize = 120              // readings of a record
	batchSpan = 10 * time.Minute // of its readings
)

// add keeps a reading and returns the record of those before it when it is complete.
func (b *batches) add(r *fanwatch.Reading) ([]byte, error) {
	var record []byte
	if n := len(b.held); n > 0 && (n == batchSize || r.Run != b.held[0].Run || r.Time.Sub(b.held[0].Time) > batchSpan) {
		var err error
		if record, err = b.take(); err != nil {
			return nil, err
		}
	}
	b.held = append(b.held, *r)
	return record, nil
}

// take returns the record of the readings that are kept, nil when there are none. It arrives with its last reading.
func (b *batches) take() ([]byte, error) {
	if len(b.held) == 0 {
		return nil, nil
	}
	arrived := b.held[len(b.held)-1].Time
	record, err := json.Marshal(struct {
		Arrived int64  `json:"arrived"`
		Client  string `json:"client"`
		fanwatch.Batch
	}{arrived.UnixMilli(), b.device.Fan, fanwatch.NewBatch(b.held, 0, 0, arrived)})
	b.held = b.held[:0]
	return record, err
}

// project is the project's judge, by its public Feed.
type project struct {
	batches
	models  *detect.Models
	n       int
	changes []Change
}

// newProject returns package detect's judge of a fan.
func newProject(d fanwatch.Device) (Judge, error) {
	p := &project{batches: batches{device: d}, models: detect.New(detect.Config{})}
	record, err := fanwatch.EncodeDevice(d)
	if err == nil {
		err = p.feed(record, epoch)
	}
	return p, err
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *project) Feed(r *fanwatch.Reading) error {
	record, err := p.add(r)
	if err != nil || record == nil {
		return err
	}
	return p.feed(record, r.Time)
}

func (p *project) Changes() ([]Change, error) {
	record, err := p.take()
	if err == nil && record != nil {
		err = p.feed(record, epoch)
	}
	return p.changes, err
}

func (p *project) feed(record []byte, arrived time.Time) error {
	p.n++
	out := p.models.Feed(detect.Input{Arrived: arrived, Data: record,
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
	c := Change{Time: o.Time, Family: cmp.Or(o.Family, o.Anomaly.Kind.Family()), Kind: o.Anomaly.Kind,
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

// sortChanges puts changes in order of time.
func sortChanges(all []Change) {
	slices.SortStableFunc(all, func(a, b Change) int { return a.Time.Compare(b.Time) })
}
