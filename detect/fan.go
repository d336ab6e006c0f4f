package detect

import (
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect/judge"
	"fanwatch/rcf"
)

// fan is the model of one fan. Its snapshot holds all fields but zone, point, habits and asked.
type fan struct {
	device fanwatch.Device
	zone   *time.Location
	judge  *judge.Fan
	forest *rcf.Forest
	seen   seen
	last   fanwatch.Observation // gravest state at the newest scored reading
	judged fanwatch.Judged      // of the newest scored reading
	point  [coordinates]float64 // of the newest scored reading
	st     state
	habits judge.Habits // on which st.Suggestions rest, where asked
	asked  bool
	kept   *kept // in a pause
}

func newFan(d fanwatch.Device, cfg Config) *fan {
	f := &fan{judge: judge.New(d), forest: newForest(d.Fan, cfg)}
	f.setDevice(d)
	return f
}

func (f *fan) setDevice(d fanwatch.Device) {
	if d.Zone != f.device.Zone {
		f.judges((*judge.Fan).ForgetStops)
	}
	f.device, f.asked = d, false
	f.zone = time.UTC
	if loc, err := d.Location(); err == nil {
		f.zone = loc
	}
	f.judges(func(j *judge.Fan) { j.Configure(d) })
}

// configure sets a newer device, which arrived at the given time. A fan that was retired begins with empty Arrivals.
// A changed Relearn drops the forest and all that the judge learned; trouble that they caused ends with the next
// reading.
func (f *fan) configure(d fanwatch.Device, arrived time.Time, cfg Config) {
	before := f.device
	f.setDevice(d)
	if before.Retired && !d.Retired {
		f.st.Arrivals = Arrivals{Since: arrived}
	}
	if d.Relearn > before.Relearn {
		f.judges((*judge.Fan).Reset)
		f.forgetForest(cfg)
		f.st.Repeats = repeats{}
		for i := range f.st.Families {
			if f.st.Families[i].Current.Kind != fanwatch.KindNone {
				f.st.Families[i].Fine = recoverInARow - 1
			}
		}
	}
}

// label applies what a person knows of trouble, once. Normal trouble is usual from then on, and ends with the readings;
// that of a pause is so while the pause lasts.
func (f *fan) label(l fanwatch.Label, cfg Config) {
	id := labelID{l.Alert, l.At.UTC()}
	if slices.Contains(f.st.Labels, id) {
		return
	}
	f.st.Labels = append([]labelID{id}, f.st.Labels[:min(len(f.st.Labels), keptLabels-1)]...)
	switch {
	case l.Kind == fanwatch.KindUnusual && l.Normal:
		f.forgetForest(cfg)
	case l.Kind == fanwatch.KindFrozen && l.Normal:
		f.st.Repeats = repeats{}
	default:
		f.judge.Label(l)
		if f.kept != nil && l.From.UnixMicro() < f.kept.since {
			f.kept.judge.Label(l)
		}
	}
}

// has reports whether a reading is known to have been landed.
func (f *fan) has(id fanwatch.ReadingID) bool {
	return f.seen.has(id) || id.Run == 0 && f.st.OlderClock.N > 0 && int64(id.Seq) == f.st.OlderClock.Last
}

// rowKind returns RowLate for a reading that comes after a newer one of its run, else RowScored. It compares sequence
// numbers, never times; in the legacy format, where the number is the time, a clock that goes back and stays back is
// followed after olderClockAfter readings.
func (f *fan) rowKind(id fanwatch.ReadingID) fanwatch.RowKind {
	late := false
	if id.Run == 0 {
		t := int64(id.Seq)
		late = t <= f.st.LastTime && !f.st.OlderClock.next(t)
	} else if run := f.seen.run(id.Run); run != nil {
		late = id.Seq < run.top()
	}
	if late {
		return fanwatch.RowLate
	}
	return fanwatch.RowScored
}

// note records the arrival of a row and, unless it is refused, its identity and its publisher. A good reading with
// the identity of a refused one may follow.
func (f *fan) note(row *fanwatch.Row) {
	s := &f.st
	s.Arrivals.note(row)
	if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate {
		return
	}
	f.seen.add(row.ReadingID, row.Kind == fanwatch.RowScored)
	now := speaker{Run: row.Run, Client: row.Client}
	if t := int64(row.Seq); row.Run == 0 && row.Kind == fanwatch.RowScored {
		s.LastTime, s.OlderClock = t, olderClock{}
	} else if row.Run == 0 {
		s.OlderClock.add(t)
		now.Behind = s.LastTime-t > otherClock.Microseconds()
	}
	s.Speakers.note(now, row.Arrived)
}

// score judges one reading, sets the row's Score, Anomaly and Judged, and returns an observation for each family whose
// state changed.
func (f *fan) score(cfg Config, row *fanwatch.Row) []fanwatch.Observation {
	s := &f.st
	v := f.judge.Judge(row.Reading)
	if f.kept == nil {
		f.suggest()
	}
	f.point, row.Judged = v.Point, v.Judged
	row.Score = f.scoreOf(v)
	f.last = fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.device.Fan, Position: row.Position,
		Time: row.Time, RPM: row.RPM}
	var changed []fanwatch.Observation
	for i := range s.Families {
		if v.Hold || v.Still && i != familySpeed && i != familySource {
			continue
		}
		found := f.find(cfg, i, row, v)
		if s.transition(i, found, func() fanwatch.Anomaly { return f.anomaly(found, row) }) {
			if a := &s.Families[i].Current; a.Kind == fanwatch.KindNone {
				*a = fanwatch.Anomaly{Score: row.Score, Why: f.device.Fan + " is normal again."}
			}
			changed = append(changed, f.stateOf(i))
		}
	}
	if v.Hold {
		s.Repeats.RPM = 0
	}
	f.judged = v.Judged
	if !v.Hold {
		f.judged.Verdict = s.verdict(v.Judged.Verdict)
	}
	row.Judged = f.judged
	worst := s.worst()
	f.last.Family, f.last.Anomaly = families[worst], s.Families[worst].Current
	row.Anomaly = f.last.Anomaly.Kind
	return changed
}

// suggest brings the suggestions in line with the newest reading.
func (f *fan) suggest() {
	if h := f.judge.Habits(); h != f.habits || !f.asked {
		f.habits, f.asked = h, true
		f.st.Suggestions = f.judge.Suggest(f.st.Suggestions)
	}
}

// stateOf returns the state of a family at the newest scored reading as an observation.
func (f *fan) stateOf(family int) fanwatch.Observation {
	o := f.last
	o.Suggestions = f.st.Suggestions
	o.Family, o.Anomaly = families[family], f.st.Families[family].Current
	return o
}

// find returns what a reading shows of a family.
func (f *fan) find(cfg Config, family int, row *fanwatch.Row, v judge.Verdict) judge.Finding {
	switch family {
	case familySpeed:
		return v.Found[judge.Speed]
	case familyTexture:
		return v.Found[judge.Texture]
	case familyDrift:
		return v.Found[judge.Drift]
	case familySource:
		return f.source(row.Reading)
	}
	return f.unusual(cfg, row, v)
}

// source returns what is wrong with the readings themselves.
func (f *fan) source(r fanwatch.Reading) judge.Finding {
	s := &f.st
	same := s.Repeats.add(r)
	switch {
	case s.Repeats.frozen() || same && s.Families[familySource].Current.Kind == fanwatch.KindFrozen:
		return judge.Finding{Kind: fanwatch.KindFrozen, Severity: fanwatch.SeverityWarning, Test: testRepeats,
			Value: r.RPM, Since: r.Time.UnixMicro()}
	case s.Speakers.Twins != nil:
		return judge.Finding{Kind: fanwatch.KindPublishers, Severity: fanwatch.SeverityWarning, Test: testTurns,
			Since: r.Time.UnixMicro()}
	}
	return judge.Finding{}
}

const (
	testRepeats = "repeats"
	testTurns   = "turns"
	testScore   = "score"
)

// anomaly returns a finding with its sentence.
func (f *fan) anomaly(n judge.Finding, row *fanwatch.Row) fanwatch.Anomaly {
	a := fanwatch.Anomaly{Kind: n.Kind, Score: row.Score, Severity: n.Severity, Value: n.Value, Expected: n.Expected,
		Test: n.Test, Low: row.Judged.Low, High: row.Judged.High}
	if n.Since != 0 {
		a.Since = time.UnixMicro(n.Since).UTC()
	}
	switch n.Kind {
	case fanwatch.KindFrozen:
		a.Why = f.device.Fan + " " + f.st.Repeats.sentence(row.RPM)
	case fanwatch.KindPublishers:
		a.Why = f.st.Speakers.sentence(f.device.Fan)
	case fanwatch.KindUnusual:
		f.explain(&a, row)
	default:
		a.Why = f.judge.Sentence(n)
		a.Threshold = n.Bar
	}
	return a
}
