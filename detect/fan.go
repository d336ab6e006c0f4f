package detect

import (
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

// fan is the model of one fan. Its snapshot holds all fields but zone.
type fan struct {
	device fanwatch.Device
	zone   *time.Location
	forest *rcf.Forest
	seen   seen
	last   fanwatch.Observation // state at the newest scored reading
	st     state
}

func newFan(d fanwatch.Device, cfg Config) *fan {
	f := &fan{forest: newForest(d.Fan, cfg)}
	f.setDevice(d)
	return f
}

func (f *fan) setDevice(d fanwatch.Device) {
	f.device = d
	f.zone = time.UTC
	if loc, err := d.Location(); err == nil {
		f.zone = loc
	}
}

// configure sets a newer device, which arrived at the given time. A fan that was retired begins with empty Arrivals.
// A changed Relearn drops the forest and all usual values; trouble that they caused ends with the next reading.
func (f *fan) configure(d fanwatch.Device, arrived time.Time, cfg Config) {
	before := f.device
	f.setDevice(d)
	if before.Retired && !d.Retired {
		f.st.Arrivals = Arrivals{Since: arrived}
	}
	if d.Relearn > before.Relearn {
		s := f.st
		f.forest = newForest(d.Fan, cfg)
		f.st = state{Current: s.Current, Fine: recoverInARow - 1, Run: s.Run, Seq: s.Seq, LastTime: s.LastTime,
			OlderClock: s.OlderClock, Speakers: s.Speakers, Arrivals: s.Arrivals, Duty: s.Duty, Off: s.Off, Grace: s.Grace}
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

// score judges one reading, sets the row's Score and Anomaly, and returns an observation when the fan's state changed.
func (f *fan) score(cfg Config, row *fanwatch.Row) *fanwatch.Observation {
	s := &f.st
	f.resume(row.Reading)
	changed := false
	if !s.idle(row.Reading) {
		changed = f.judge(cfg, row)
	}
	row.Anomaly = s.Current.Kind
	f.last = fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.device.Fan, Position: row.Position,
		Time: row.Time, RPM: row.RPM, Anomaly: s.Current}
	if !changed {
		return nil
	}
	o := f.last
	return &o
}

// judge applies the rules and the forest to a reading and reports whether the fan's state changed. The forest is
// judged by the median of the newest three scores, so that one wrong reading is no trouble.
func (f *fan) judge(cfg Config, row *fanwatch.Row) (changed bool) {
	s := &f.st
	s.command(row.PWM)
	point := f.features(row.Reading)
	score, err := f.forest.Score(point[:])
	if err != nil {
		score = 0 // unreachable: features are finite by construction
	}
	row.Score = score
	s.Scores[s.N%judgeOver] = score
	s.N++

	found := f.hardRules(row.Reading)
	if found.Kind == fanwatch.KindNone && s.Speakers.Twins != nil {
		found = s.Speakers.Twins.found(f.device.Fan)
	}
	if found.Kind == fanwatch.KindNone {
		found = f.unusual(cfg, row.Reading, point[:], medianOf3(s.Scores[0], s.Scores[1], s.Scores[2]))
	}
	found.Score = score
	f.learn(cfg, row.Reading, point[:], score, found.Kind != fanwatch.KindNone)
	return f.transition(found)
}
