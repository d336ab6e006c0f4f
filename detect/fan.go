package detect

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

const (
	leaveInARow = 5  // readings in a row with graver trouble gone
	lineAfter   = 3  // readings in a row on a clock behind the newest one after which that clock is followed
	settleOver  = 20 // readings that a rotor has to follow a step
)

// grace is how long a rotor may take to turn after its duty cycle rose from 0.
const grace = 10 * time.Second

// notWatched is a pause after which a fan's speed may be another: twice the longest interval between readings.
const notWatched = 2 * time.Minute

// fan is the model of one fan. All but zone is the snapshot.
type fan struct {
	device fanwatch.Device
	zone   *time.Location
	forest *rcf.Forest
	seen   seen
	last   fanwatch.Observation // the state at the newest scored reading
	st     state
}

// state is all that scoring carries from reading to reading besides the forest.
type state struct {
	N       int                 `json:"n"`       // readings judged
	Learned int                 `json:"learned"` // readings that the forest was fed
	Stats   [features]running   `json:"stats"`
	Raw     [features]float64   `json:"raw"`  // of the newest reading, before scaling
	RPMs    [spreadOver]float64 `json:"rpms"` // ring
	Scores  [judgeOver]float64  `json:"scores"`
	Usual   running             `json:"usual"` // of the score
	Under   int                 `json:"under"` // readings in a row below, above, without signal, at 0 RPM but not stalled
	Over    int                 `json:"over"`
	Absent  int                 `json:"absent"`
	Still   int                 `json:"still,omitempty"`
	Repeats repeats             `json:"repeats"`
	Fine    int                 `json:"fine"`   // readings in a row less grave than Current
	Lesser  fanwatch.Anomaly    `json:"lesser"` // the gravest of them
	Current fanwatch.Anomaly    `json:"current"`
	Run     uint64              `json:"run,string,omitempty"` // of the newest reading judged
	Seq     uint64              `json:"seq,string,omitempty"`

	// In the order of arrival, judged or not.
	LastTime int64    `json:"last_time"` // Unix microseconds, of the demo's readings: the newest of the clock followed
	Line     line     `json:"line,omitzero"`
	Speakers speakers `json:"speakers"`
	Heard    Heard    `json:"heard"`

	// Of fans whose PWM duty cycle is known; Stats[featureRPM] is what is usual at Duty.
	Duty   fanwatch.Duty              `json:"duty,omitempty"`   // at the last step
	Settle int                        `json:"settle,omitempty"` // readings until the rotor has followed it
	Usuals map[fanwatch.Duty]running  `json:"usuals,omitempty"` // usual RPM at the duty cycles before, by dutyBin
	Bases  map[fanwatch.Duty]baseline `json:"bases,omitempty"`  // for the rule, of all duty cycles
	Off    bool                       `json:"off,omitempty"`    // commanded to 0
	Grace  int64                      `json:"grace,omitempty"`  // its end, Unix microseconds; 0: none
}

// line is the demo's readings in a row whose TIME lies behind that of the newest: once there are lineAfter of them,
// the clock was put back.
type line struct {
	N    int   `json:"n"`
	Last int64 `json:"last"` // Unix microseconds
}

// next tells whether a reading at t is in order on the line, and the last that it takes to follow its clock.
func (l line) next(t int64) bool { return l.N == lineAfter-1 && t > l.Last }

func (l *line) take(t int64) {
	if t <= l.Last {
		l.N = 0
	}
	l.N, l.Last = l.N+1, t
}

func newFan(d fanwatch.Device, cfg Config) *fan {
	f := &fan{forest: newForest(d.Fan, cfg)}
	f.setDevice(d)
	return f
}

func newForest(fan string, cfg Config) *rcf.Forest {
	h := fnv.New64a()
	_, _ = h.Write([]byte(fan)) // a hash never fails
	forest, err := rcf.New(rcf.Config{Dimensions: features, Shingle: 1, Trees: cfg.Trees, SampleSize: cfg.SampleSize,
		OutputAfter: 32, Seed: cfg.Seed ^ h.Sum64()})
	if err != nil {
		panic("detect: " + err.Error()) // Config is the program's own, never input
	}
	return forest
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
		f.st.Heard = Heard{Since: arrived}
	}
	if d.Relearn > before.Relearn {
		s := f.st
		f.forest = newForest(d.Fan, cfg)
		f.st = state{Current: s.Current, Fine: leaveInARow - 1, Run: s.Run, Seq: s.Seq, LastTime: s.LastTime,
			Line: s.Line, Speakers: s.Speakers, Heard: s.Heard, Duty: s.Duty, Off: s.Off, Grace: s.Grace}
	}
}

// date completes the reading's time and, in the demo's format, its identity; it gives a reason when
// that cannot be done.
func (f *fan) date(r *fanwatch.RecordReading, arrived time.Time) (reason string) {
	switch {
	case r.Legacy != "":
		t, err := fanwatch.ParseTime(r.Legacy, f.zone, arrived)
		if err != nil {
			return err.Error()
		}
		r.Time, r.Seq = t, uint64(t.UnixMicro())
	case r.Unsynch:
		r.Time = arrived.Add(-r.Age).Truncate(time.Microsecond)
	}
	return ""
}

func (f *fan) refuse(r fanwatch.RecordReading, arrived time.Time) string {
	if err := r.Check(); err != nil {
		return err.Error()
	}
	at := r.Time.Format(time.RFC3339)
	switch {
	case r.Time.After(arrived.Add(fanwatch.MaxAhead)):
		return fmt.Sprintf("time %s is %s ahead of its arrival: %s", at, distance(arrived, r.Time), f.mend(r, arrived))
	case r.Time.Before(arrived.Add(-maxAge)):
		return fmt.Sprintf("time %s is more than a year before its arrival: set the publisher's clock", at)
	case r.Seq == 0:
		return "sequence number 0: a publisher counts from 1"
	case r.Seq > math.MaxInt64:
		return "sequence number beyond 63 bits"
	}
	return ""
}

// mend says what to do about a time that is ahead. A time without zone that is off by whole quarter hours, as zones
// are, was read in another zone than it was written in.
func (f *fan) mend(r fanwatch.RecordReading, arrived time.Time) string {
	const quarter, near = 15 * time.Minute, time.Minute
	off := r.Time.Sub(arrived)
	naive := r.Legacy != "" && !fanwatch.TimeHasZone(r.Legacy)
	if !naive || off > 27*time.Hour || off < quarter-near || (off-off.Round(quarter)).Abs() > near {
		return "set the publisher's clock"
	}
	return fmt.Sprintf("it bears no zone and was read as %s; name the one in which the publisher writes it "+
		"(fanwatch configure %s --zone Area/City)", f.zone, f.device.Fan)
}

// distance writes the time from one instant to a later one for a person.
func distance(from, to time.Time) string {
	d := to.Sub(from)
	switch days := d / (24 * time.Hour); {
	case days < 2:
		return d.Round(time.Second).String()
	case days < 2*365:
		return fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("%d years", to.Year()-from.Year()) // d ends at 292 years
}

// has tells whether a reading was landed, as far as that is remembered.
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
	s.Heard.hear(row)
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
	f.last = fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.device.Fan, Position: row.Position, Time: row.Time,
		RPM: row.RPM, Anomaly: s.Current}
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

// resume begins the spread anew where the fan was not watched for a while: its publisher was started again, more
// readings were dropped than the spread is taken over, or the machine slept. Load and temperature moved the speed
// meanwhile, and the step from then to now is no wobble. Whether the speed itself is usual is judged as ever. A rotor
// that begins to turn has to settle.
func (f *fan) resume(r fanwatch.Reading) {
	s := &f.st
	dropped := r.Run != 0 && r.Seq > s.Seq+spreadOver // without a run the number is a time
	stood := s.N > 0 && f.last.RPM == 0 && r.RPM > 0
	if r.Run != s.Run || dropped || r.Time.Sub(f.last.Time) > notWatched || stood {
		s.spreadFrom(r.RPM)
	}
	if stood {
		s.Settle = settleOver
	}
	s.Run, s.Seq = r.Run, r.Seq
}

func (s *state) spreadFrom(rpm float64) {
	for i := range s.RPMs {
		s.RPMs[i] = rpm
	}
}

// idle tells whether the fan is commanded to stand still, or has had no time yet to turn after it was: then nothing
// is judged and nothing learned, no trouble begins and none ends.
func (s *state) idle(r fanwatch.Reading) bool {
	duty, known := r.PWM.Fraction()
	off, now := known && duty == 0, r.Time.UnixMicro()
	if s.Off && !off {
		s.Settle, s.Grace = settleOver, now+grace.Microseconds()
	}
	if s.Off = off; !off {
		if left := s.Grace - now; left <= 0 || left > grace.Microseconds() { // the clock may have gone back
			s.Grace = 0
			return false
		}
	}
	s.Under, s.Over, s.Absent, s.Still = 0, 0, 0, 0
	s.Repeats.RPM = 0
	s.spreadFrom(r.RPM)
	return true
}

// command takes note of the duty cycle that the fan is told. After a step neither the speed nor its wobble
// says anything until the rotor has followed; then the speed is held against what is usual at this duty
// cycle, which at a new one has to be learned first. What wears (the jitter) stays usual throughout, and
// the hard limits stay in force.
func (s *state) command(d fanwatch.Duty) {
	switch {
	case d == 0:
		return
	case s.Duty == 0:
		b := s.base()
		delete(s.Bases, 0)
		s.Duty = d
		s.setBase(b)
		return
	case max(d, s.Duty)-min(d, s.Duty) <= dutyStep:
		return
	}
	if s.Usuals == nil {
		s.Usuals = make(map[fanwatch.Duty]running)
	}
	s.Usuals[s.Duty/dutyBin] = s.Stats[featureRPM]
	s.Stats[featureRPM] = s.Usuals[d/dutyBin]
	s.Duty, s.Settle = d, settleOver
}

// turn decides whether the fan's state changes: at once to what is graver, and to what is less grave, or normal, after
// leaveInARow readings. While two publishers take turns, the readings of one do not end what the other's show.
func (f *fan) turn(found fanwatch.Anomaly) (changed bool) {
	s := &f.st
	now, then := found.Kind, s.Current.Kind
	if now == then || now.Gravity() > then.Gravity() {
		s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
		if now == then {
			return false
		}
		s.Current = found
		return true
	}
	if s.Lesser.Kind == fanwatch.KindPublishers && s.Speakers.Twins == nil {
		s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
	}
	s.Fine++
	if now.Gravity() > s.Lesser.Kind.Gravity() {
		s.Lesser = found
	}
	least := leaveInARow
	if s.Speakers.Twins != nil {
		least = returnsWithin + leaveInARow
	}
	if s.Fine < least {
		return false
	}
	s.Current = s.Lesser
	if s.Current.Kind == fanwatch.KindNone {
		s.Current = fanwatch.Anomaly{Score: found.Score, Why: fmt.Sprintf("%s is normal again.", f.device.Fan)}
	}
	s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
	return true
}
