package detect

import (
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

// fan is the model of one fan. All but zone is the snapshot.
type fan struct {
	device fanwatch.Device
	zone   *time.Location
	forest *rcf.Forest
	seen   seen
	last   fanwatch.Observation // the state at the newest scored reading
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

// configure takes a newer device, that arrived at at. A fan that was retired begins anew to be heard, and one that an
// operator has learned anew forgets what is usual; trouble that is over thereby ends with the next reading.
func (f *fan) configure(d fanwatch.Device, arrived time.Time, cfg Config) {
	before := f.device
	f.setDevice(d)
	if before.Retired && !d.Retired {
		f.st.Arrivals = Arrivals{Since: arrived}
	}
	if d.Relearn > before.Relearn {
		s := f.st
		f.forest = newForest(d.Fan, cfg)
		f.st = state{Current: s.Current, Fine: leaveInARow - 1, Run: s.Run, Seq: s.Seq, LastTime: s.LastTime,
			Line: s.Line, Speakers: s.Speakers, Arrivals: s.Arrivals, Duty: s.Duty, Off: s.Off, Grace: s.Grace}
	}
}

// has reports whether a reading was landed, as far as that is remembered.
func (f *fan) has(id fanwatch.ReadingID) bool {
	return f.seen.has(id) || id.Run == 0 && f.st.Line.N > 0 && int64(id.Seq) == f.st.Line.Last
}

// kindOf tells late readings from the others: those that come after a newer one of their own run, by their sequence
// number, whatever the device's clock says. The demo's readings have their time only; when it goes back and stays
// back, that clock is followed.
func (f *fan) kindOf(id fanwatch.ReadingID) fanwatch.RowKind {
	late := false
	if id.Run == 0 {
		t := int64(id.Seq)
		late = t <= f.st.LastTime && !f.st.Line.next(t)
	} else if run := f.seen.run(id.Run); run != nil {
		late = id.Seq < run.top()
	}
	if late {
		return fanwatch.RowLate
	}
	return fanwatch.RowScored
}

// hear takes note of a row: which reading it is, who published it, and that it came. A refused reading leaves no
// trace in what was seen, for a good one with its identity may follow.
func (f *fan) hear(row *fanwatch.Row) {
	s := &f.st
	s.Arrivals.hear(row)
	if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate {
		return
	}
	f.seen.add(row.ReadingID, row.Kind == fanwatch.RowScored)
	now := speaker{Run: row.Run, Client: row.Client}
	if t := int64(row.Seq); row.Run == 0 && row.Kind == fanwatch.RowScored {
		s.LastTime, s.Line = t, line{}
	} else if row.Run == 0 {
		s.Line.take(t)
		now.Behind = s.LastTime-t > otherClock.Microseconds()
	}
	s.Speakers.hear(now, row.Arrived)
}

// score judges one reading, sets the row's Score and Anomaly, and gives an observation when the fan's
// state changed.
func (f *fan) score(cfg Config, row *fanwatch.Row) *fanwatch.Observation {
	s := &f.st
	f.resume(row.Reading)
	changed := false
	if !s.idle(row.Reading) {
		changed = f.judge(cfg, row)
	}
	row.Anomaly = s.Current.Kind
	f.last = fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.device.Fan, Position: row.Position,
		Time: row.Time,
		RPM:  row.RPM, Anomaly: s.Current}
	if !changed {
		return nil
	}
	o := f.last
	return &o
}

// judge holds a reading against the rules and the forest. A wrong score or two do not make the middle of three, so
// that one wrong reading is no trouble.
func (f *fan) judge(cfg Config, row *fanwatch.Row) (changed bool) {
	s := &f.st
	s.command(row.PWM)
	point := f.features(row.Reading)
	score, err := f.forest.Score(point[:])
	if err != nil {
		score = 0 // features are finite by construction; a forest that refuses them has nothing to say
	}
	row.Score = score
	s.Scores[s.N%judgeOver] = score
	s.N++

	found := f.hard(row.Reading)
	if found.Kind == fanwatch.KindNone && s.Speakers.Twins != nil {
		found = s.Speakers.Twins.found(f.device.Fan)
	}
	if found.Kind == fanwatch.KindNone {
		found = f.unusual(cfg, row.Reading, point[:], medianOf3(s.Scores[0], s.Scores[1], s.Scores[2]))
	}
	found.Score = score
	f.learn(cfg, row.Reading, point[:], score, found.Kind != fanwatch.KindNone)
	return f.turn(found)
}
