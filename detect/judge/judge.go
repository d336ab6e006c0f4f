// Package judge judges the readings of one fan: what was expected of each, and what is wrong.
//
// It expects a speed from the duty that the fan is told (a curve and the rotor's lag), from a slow base that follows
// what moves all speeds alike, and from the levels between which the fan changes untold. Tests of speed, of its
// texture and of its drift compare readings with that. All speeds are logarithms inside, so that a fault of 3 % is one
// of 0.03 for any fan; memory counts seconds of the readings' own times, and persistence counts readings too, so that
// every interval from a second to a minute is judged alike.
//
// The results are a function of the readings in their order, bit for bit on every processor: products are converted
// explicitly, so that none is fused, and logarithms are those of package rcf.
package judge

import (
	"math"
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

// Fan is the judge of one fan. Not safe for concurrent use.
type Fan struct {
	device fanwatch.Device
	hours  fanwatch.Hours
	zone   *time.Location
	s      state
	last   last
	air    Air  // of the fan's site, set by Share
	part   Part // of the newest reading
}

// last is what Why and Explain tell of the newest reading. It is no part of a snapshot.
type last struct {
	reading fanwatch.Reading
	x       expectation
	view    view
	excess  excess
	wobble  float64 // bar
	grain   float64
	verdict Verdict
}

// New returns the judge of a fan that has not reported.
func New(d fanwatch.Device) *Fan {
	f := &Fan{}
	f.Reset()
	f.Configure(d)
	return f
}

// Reset forgets all that was learned.
func (f *Fan) Reset() {
	f.s = state{}
	f.s.Level.Count, f.s.Level.Heading = 1, -1
	f.s.Command.Since = 1e6
}

// Configure sets the device. What was learned stays.
func (f *Fan) Configure(d fanwatch.Device) {
	f.device = d
	f.zone = time.UTC
	if loc, err := d.Location(); err == nil {
		f.zone = loc
	}
	f.hours, _ = fanwatch.ParseHours(d.Hours) // Device.Check accepted them
}

// Expect makes a speed in RPM known at a duty (0: not told), such as one that an earlier program learned.
func (f *Fan) Expect(duty fanwatch.Duty, rpm float64) {
	if !(rpm > 0) {
		return
	}
	s := &f.s
	told, known := duty.Fraction()
	if !known {
		told = 1
	}
	k := &s.Curve.Knots[int(math.Floor(float64(told*(knots-1))+0.5))]
	k.V, k.N = rcf.Log(rpm), 600
	s.Level.Table[0].Seconds, s.Level.Table[0].Known = heldFor, true
	s.Level.Begun = true
	s.Age, s.N = early, earlyCount
}

// The families that the judge finds trouble in, as indexes of Verdict.Found.
const (
	// Speed is the index of FamilySpeed.
	Speed = iota
	// Texture is the index of FamilyTexture.
	Texture
	// Drift is the index of FamilyDrift.
	Drift
	families
)

// Finding is trouble that one reading shows; Kind is fanwatch.KindNone where it shows none.
type Finding struct {
	Kind     fanwatch.Kind
	Severity fanwatch.Severity
	Test     string
	Value    float64 // RPM or jitter
	Expected float64
	Bar      float64 // speed that was passed, RPM; 0 = none
	By       float64 // how far off: a fraction, or with jitter and wobble a factor
	Since    int64   // Unix microseconds
}

// Verdict is what the judge makes of one reading.
type Verdict struct {
	Found  [families]Finding
	Hold   bool // the reading neither begins nor ends trouble: the fan stands still as it should, or may
	Still  bool // the fan stands still and should not: the reading tells of its speed alone
	Judged fanwatch.Judged
	Point  [3]float64 // the forest's point: residual of speed, wobble, jitter, in usual deviations
	Scored bool       // Point holds: the fan is known, and stands at a level
}

const (
	pageAt      = 0.08             // of the speed: a speed that is off by this much is a warning
	halfCount   = 3                // readings in a row below half of the usual that are underspeed
	limitCount  = 2                // readings in a row outside a hard limit
	noSignalFor = 5                // readings in a row with StateNoSignal that are a stall
	stillFor    = 5                // readings in a row at 0 RPM with StateRunning that are a stall
	startingFor = 30               // readings in a row at 0 RPM with StateStarting that are a stall
	spin        = 10.0             // s in which a rotor begins to turn after its duty rose from 0
	longStop    = 60.0             // s, a stop after which the fan warms up anew
	mayCoast    = 60.0             // s that a fan may take to coast to a stop, where it may stop
	hoursSlack  = 10 * time.Minute // before and after the hours end and begin in which a fan may stand
	pause       = 120.0            // s between two readings that is a gap, or pauseTimes the usual interval
	pauseTimes  = 10
	gapsUsual   = 5 // gaps in a row after which their length is the usual interval

	longestInterval = 86_400.0 // s

	startFor  = 120.0 // s that a rotor may take to reach its speed
	riseTau   = 10.0  // s
	riseLeast = 0.003 // logarithm: a speed above its mean by more rises
)

// stop is the newest time in which the fan stood still.
type stop struct {
	Now   bool
	For   float64 // s
	Since int64   // Unix microseconds
	Coast float64 // s of coasting
	Rises bool    // the rotor has begun to turn and gets faster still
	Mean  float64 // of the logarithm of its speed since then, over riseTau
	Level uint8   // readings in a row that do not rise
	// Times of day at which the newest stops of half an hour and more began and ended, in minutes; newest first.
	From, To [3]int16
	Count    uint8
}

type limits struct {
	Under, Over, Absent, Still, Half uint32
}

func count(n *uint32, yes bool) {
	if yes {
		*n = min(*n+1, maxCount)
	} else {
		*n = 0
	}
}

// Judge judges the next reading.
func (f *Fan) Judge(r fanwatch.Reading) Verdict {
	f.part = Part{}
	v := f.judge(r)
	f.last.reading, f.last.verdict = r, v
	return v
}

func (f *Fan) judge(r fanwatch.Reading) (v Verdict) {
	s := &f.s
	dt := s.advance(r.Time.UnixMicro())
	duty, told := r.PWM.Fraction()
	s.Command.tell(duty, told, dt)
	if f.stands(r, dt, &v) {
		f.last.x, f.last.view = expectation{}, view{}
		return v
	}
	log := rcf.Log(max(r.RPM, 1))
	s.Age += dt
	s.Running += dt
	s.Gap = max(0, s.Gap-dt)
	s.Speeds[3], s.Speeds[2], s.Speeds[1], s.Speeds[0] = s.Speeds[2], s.Speeds[1], s.Speeds[0], log
	s.Turning = min(s.Turning+1, 4)
	s.Grain.add(r.RPM)
	grain := s.Grain.of(r.RPM)
	x := s.Curve.expect(&s.Command)
	f.limit(r, x, &v)
	rises := s.rises(log, dt, grain)
	if !x.known {
		f.first(dt, x, rises)
		v.Judged.Level, v.Judged.Verdict = -1, verdictLearning
		f.last.x, f.last.view = x, view{}
		return v
	}
	if f.coasts(log, dt, x) {
		s.pauseTests()
		v.Hold, v.Judged = true, fanwatch.Judged{Level: -1, Verdict: verdictCoasting}
		return v
	}
	at := f.place(log, dt, x, grain, rises)
	f.last.x, f.last.view, f.last.grain = x, at, grain
	f.learnCurve(log, dt, x, at, rises)
	f.speed(r, x, &v)
	f.texture(r, log, dt, x, at, grain, &v)
	f.driftOf(r, dt, x, at, grain, &v)
	f.point(r, at, &v)
	f.describe(x, at, &v)
	return v
}

// advance moves the clock of the readings to t, in Unix microseconds, and returns the time since the one before in s.
func (s *state) advance(t int64) (dt float64) {
	s.N = min(s.N+1, maxCount)
	if s.N == 1 {
		s.Last = t
		return 0
	}
	dt = max(0, float64(t-s.Last)/1e6)
	longest := max(pause, float64(pauseTimes*s.Interval))
	if dt > longest {
		if s.Gaps++; s.Gaps >= gapsUsual { // so many in a row are the usual interval
			s.Gaps, s.Interval = 0, min(dt, longestInterval)
		}
		s.Gap, dt = max(gapFor, float64(10*s.Interval)), longest
		s.Turning = 0
	} else if s.N <= 100 {
		s.Interval += (dt - s.Interval) / float64(s.N-1)
	} else {
		s.Interval += (dt - s.Interval) / 100
	}
	if dt < longest {
		s.Gaps = 0
	}
	s.Last = t
	return dt
}

// mayStop reports whether the fan may stand still at a time without being told.
func (f *Fan) mayStop(t time.Time) bool {
	if f.device.Kind == fanwatch.FanIntermittent {
		return true
	}
	t = t.In(f.zone)
	return len(f.hours) > 0 && !(f.hours.Include(t) && f.hours.Include(t.Add(-hoursSlack)) &&
		f.hours.Include(t.Add(hoursSlack)))
}

// stands judges a reading of a fan that does not turn, or is told not to. It reports whether that was all.
func (f *Fan) stands(r fanwatch.Reading, dt float64, v *Verdict) bool {
	s, c := &f.s, &f.s.Command
	still := r.RPM == 0 || r.State == fanwatch.StateNoSignal || r.State == fanwatch.StateStalled
	if !c.Off && !still {
		f.turns(r)
		return false
	}
	if !s.Stop.Now {
		s.Stop.Now, s.Stop.For, s.Stop.Since = true, 0, r.Time.UnixMicro()
	}
	s.Stop.For += dt
	s.pauseTests()
	v.Judged.Level = -1
	switch {
	case c.Off:
		v.Hold, v.Judged.Verdict = true, verdictOff
	case c.Spin > 0:
		v.Hold, v.Judged.Verdict = true, verdictStarting
	case f.mayStop(r.Time):
		v.Hold, v.Judged.Verdict = true, verdictStopped
	default:
		f.stall(r, v)
		return true
	}
	s.Limits = limits{}
	return true
}

// stall judges a reading of a fan that should turn and does not.
func (f *Fan) stall(r fanwatch.Reading, v *Verdict) {
	n := &f.s.Limits
	count(&n.Absent, r.State == fanwatch.StateNoSignal)
	count(&n.Still, r.State == fanwatch.StateRunning || r.State == fanwatch.StateStarting)
	count(&n.Under, r.State == fanwatch.StateRunning && r.RPM < f.device.Limits.MinRPM)
	test := ""
	switch {
	case r.State == fanwatch.StateStalled:
		test = testStopped
	case n.Absent >= noSignalFor:
		test = testNoPulse
	case n.Still >= startingFor || n.Still >= stillFor && r.State == fanwatch.StateRunning:
		test = testStill
	}
	if test == "" && n.Under >= limitCount {
		v.Still, v.Found[Speed] = true, f.below(r)
		v.Judged.Verdict = string(fanwatch.KindUnderspeed)
		return
	}
	if test == "" {
		v.Hold, v.Judged.Verdict = true, verdictStarting
		return
	}
	v.Still = true
	v.Found[Speed] = Finding{Kind: fanwatch.KindStall, Severity: fanwatch.SeverityCritical, Test: test,
		Expected: f.usual(), By: -1, Since: f.s.Stop.Since}
	v.Judged.Verdict = string(fanwatch.KindStall)
}

// usual returns the speed that is expected now, in RPM; 0 while it is not known.
func (f *Fan) usual() float64 {
	s := &f.s
	if x := s.Curve.expect(&s.Command); x.known {
		return s.Level.expected(x, s.Level.Table[s.Level.At].Offset)
	}
	return 0
}

// turns notes that the rotor turns. One that stood, or was told to, has to reach its speed first.
func (f *Fan) turns(r fanwatch.Reading) {
	s := &f.s
	s.Limits.Absent, s.Limits.Still = 0, 0
	if !s.Stop.Now {
		return
	}
	s.Stop.Now, s.Stop.Rises, s.Stop.Level, s.Stop.Coast = false, true, 0, 0
	s.Command.Since = 0
	s.Turning = 0
	if s.Stop.For >= longStop {
		s.Running = 0
	}
	if s.Stop.For < 1800 || s.Command.Known {
		return
	}
	copy(s.Stop.From[1:], s.Stop.From[:])
	copy(s.Stop.To[1:], s.Stop.To[:])
	s.Stop.From[0], s.Stop.To[0] = f.minuteOfDay(s.Stop.Since), f.minuteOfDay(r.Time.UnixMicro())
	s.Stop.Count = min(s.Stop.Count+1, 3)
}

func (f *Fan) minuteOfDay(t int64) int16 {
	at := time.UnixMicro(t).In(f.zone)
	return int16(at.Hour()*60 + at.Minute())
}

// pauseTests forgets what tests have seen of the newest readings.
func (s *state) pauseTests() {
	s.Turning = 0
	l := &s.Level
	l.Outs, l.Out, l.Mean = [2]uint8{}, lasting{}, 0
	s.Wobble.Now, s.Wobble.Out, s.Wobble.On = min(s.Wobble.Now, s.Wobble.Usual), lasting{}, false
	s.Jitter.Fast, s.Jitter.Out, s.Jitter.On = 0, lasting{}, false
	if l.Away && l.Heading < 0 {
		l.arrive(int(l.At))
	}
}

// limit applies the hard limits, which hold from the first reading.
func (f *Fan) limit(r fanwatch.Reading, x expectation, v *Verdict) {
	s, d := &f.s, &f.device
	n := &s.Limits
	half := f.half(x)
	count(&n.Under, r.RPM < d.Limits.MinRPM && !(s.Stop.Rises && s.Command.Since < spin))
	count(&n.Over, d.Limits.MaxRPM > 0 && r.RPM > d.Limits.MaxRPM)
	starting := s.Command.Since < settle || s.Stop.Rises
	count(&n.Half, r.RPM < half && !starting && !(f.mayStop(r.Time) && s.Stop.Coast < mayCoast))
	found := Finding{Severity: fanwatch.SeverityCritical, Value: r.RPM, Since: r.Time.UnixMicro()}
	switch {
	case n.Under >= limitCount:
		found = f.below(r)
	case n.Half >= halfCount:
		found.Kind, found.Test, found.Bar, found.Expected = fanwatch.KindUnderspeed, testHalf, half, 2*half
	case n.Over >= limitCount:
		found.Kind, found.Test, found.Bar = fanwatch.KindOverspeed, testMax, d.Limits.MaxRPM
	default:
		return
	}
	found.By = r.RPM/max(found.Bar, 1) - 1
	v.Found[Speed] = found
}

// below returns the finding that a speed is below the device's limit.
func (f *Fan) below(r fanwatch.Reading) Finding {
	least := f.device.Limits.MinRPM
	return Finding{Kind: fanwatch.KindUnderspeed, Severity: fanwatch.SeverityCritical, Test: testMin, Value: r.RPM,
		Bar: least, By: r.RPM/least - 1, Since: r.Time.UnixMicro()}
}

// half returns the speed, in RPM, below which a fan turns at less than half of what it ever did for a minute, by a base
// with a memory of a week. Before that is known it is half of the nominal speed, where the duty is 1 or not told.
func (f *Fan) half(x expectation) float64 {
	l := &f.s.Level
	if x.known && l.Begun {
		return 0.5 * rcf.Exp(x.log+l.Slow+l.Lowest-x.unsure-x.unsettled)
	}
	if f.s.Command.Duty == 1 {
		return 0.5 * f.device.Nominal
	}
	return 0
}

// first learns from a reading before anything is expected: 20 s after the duty was told first.
func (f *Fan) first(dt float64, x expectation, rises bool) {
	s := &f.s
	if s.Command.Known && s.Command.Since < settle || s.Turning < 3 || rises {
		return
	}
	s.Curve.learn(median3(s.Speeds[0], s.Speeds[1], s.Speeds[2]), max(dt, knotFloor/10), x)
}

// rises reports whether the rotor, which has begun to turn, gets faster still.
func (s *state) rises(log, dt, grain float64) bool {
	p := &s.Stop
	if !p.Rises {
		return false
	}
	if s.Turning == 1 {
		p.Mean = log
	}
	ew(&p.Mean, log, dt, riseTau)
	if log-p.Mean > riseLeast+grain || s.Turning < 3 {
		p.Level = 0
	} else {
		p.Level++
	}
	p.Rises = p.Level < 3 && s.Command.Since < startFor
	return p.Rises
}

// coasts reports whether a fan that may stop gets slower, as one that coasts to a stop does.
func (f *Fan) coasts(log, dt float64, x expectation) bool {
	s, l := &f.s, &f.s.Level
	off := log - x.log - l.Base - l.Table[l.At].Offset
	if s.Stop.Rises || off > -2*bandFloor-x.unsure-x.unsettled || !f.mayStop(time.UnixMicro(s.Last)) {
		s.Stop.Coast = 0
		return false
	}
	s.Stop.Coast += dt
	return s.Stop.Coast <= max(mayCoast, float64(3*s.Interval))
}

// learnCurve learns the curve and the lag from a reading at a known level.
func (f *Fan) learnCurve(log, dt float64, x expectation, at view, rises bool) {
	s := &f.s
	if at.away || rises {
		return
	}
	if untold := &s.Curve.Knots[knots-1]; !s.Command.Known && untold.N >= heldFor { // from then on the base moves alone
		untold.N = max(untold.N, knotSure)
		return
	}
	v := log - s.Level.Base - at.offset
	if x.moving >= 0 && x.unsettled > 0.002 {
		s.Curve.follow(&s.Command, v, dt, x.moving)
		return
	}
	if s.Command.Since < settle && s.Command.Known {
		return
	}
	if at.outside && x.unsure == 0 {
		return
	}
	s.Curve.learn(v, dt, x)
}

// speed turns what place found into a finding. A hard limit that was passed stands before it.
func (f *Fan) speed(r fanwatch.Reading, x expectation, v *Verdict) {
	l := &f.s.Level
	if v.Found[Speed].Kind != fanwatch.KindNone || !l.Away || !l.Told {
		return
	}
	by := l.off()
	severity := fanwatch.SeverityInfo
	if math.Abs(by) >= pageAt {
		severity = fanwatch.SeverityWarning
	}
	test := testFast
	if l.BySlow {
		test = testSlow
	}
	v.Found[Speed] = Finding{Kind: fanwatch.KindSpeed, Severity: severity, Test: test, Value: r.RPM,
		Expected: l.expected(x, l.Table[l.At].Offset), By: rcf.Exp(by) - 1, Since: l.Since}
}

// off returns how far the fan is from the level that it left, by the median of the newest readings.
func (l *levels) off() float64 {
	return median3(l.Residuals[0], l.Residuals[1], l.Residuals[2]) - l.Table[l.At].Offset
}

// texture judges jitter, wobble and hunting.
func (f *Fan) texture(r fanwatch.Reading, log, dt float64, x expectation, at view, grain float64, v *Verdict) {
	s, l := &f.s, &f.s.Level
	f.last.excess, f.last.wobble = excess{}, 0
	if s.Turning < 4 {
		return
	}
	steady := 0.02 + grain + float64(2*at.sigma)
	lo := min(s.Speeds[0], s.Speeds[1], s.Speeds[2])
	hi := max(s.Speeds[0], s.Speeds[1], s.Speeds[2])
	quiet := v.Found[Speed].Kind == fanwatch.KindNone
	switch {
	case r.Jitter == 0: // it is not measured
		s.Jitter.Out, s.Jitter.On = lasting{}, false
	case hi-lo <= steady:
		f.last.excess = s.Jitter.add(r.Jitter, log, dt, quiet)
	}
	moved := l.Count > 2 && l.Novel > 0.25 || l.Away
	d := math.Abs(s.Speeds[0] - s.Speeds[1])
	if !moved {
		d = max(d, math.Abs(s.Speeds[0]-s.Speeds[3]))
	}
	settled := !l.Away && s.Command.Since >= settle && x.unsettled < 0.002 && !s.Stop.Rises && s.Gap == 0
	if settled {
		f.last.wobble = s.Wobble.add(max(0, d-grain), dt, quiet)
	} else {
		s.Wobble.Out, s.Wobble.On = lasting{}, false
	}
	found := Finding{Severity: fanwatch.SeverityInfo, Value: r.RPM, Since: r.Time.UnixMicro()}
	hunts := l.Changes > huntLeast && l.Changes > float64(3*l.Usual)
	switch {
	case s.Jitter.On:
		found.Kind, found.Test, found.Value = fanwatch.KindJitter, testJitter, r.Jitter
		found.Expected, found.By = f.last.excess.usual, rcf.Exp(f.last.excess.ratio)
	case s.Wobble.On:
		found.Kind, found.Test = fanwatch.KindWobble, testWobble
		found.By = s.Wobble.Now / max(s.Wobble.Usual, 0.0001)
	case hunts:
		found.Kind, found.Test, found.By = fanwatch.KindHunting, testChanges, l.Changes
	default:
		return
	}
	v.Found[Texture] = found
}

const (
	pointClamp = 20 // usual deviations: bound of a coordinate
	pointFloor = 0.3
)

// point returns the forest's point: residual, wobble and jitter in usual deviations. Coordinates that hardly ever move
// have a floor, because a forest finds any move of them odd.
func (f *Fan) point(r fanwatch.Reading, at view, v *Verdict) {
	s := &f.s
	if at.away || s.Turning < 4 || s.Command.Since < settle || s.Age < early || s.Stop.Rises || s.Gap > 0 {
		return
	}
	scale := max(at.sigma, float64(at.band/fastSigma)) + f.last.grain
	wobble := rcf.Log((s.Wobble.Now+0.001)/(max(s.Wobble.Usual, 0.0005)+0.001)) / pointFloor
	jitter := 0.0
	if f.last.excess.judged {
		jitter = max(-1, f.last.excess.z)
	}
	v.Point = [3]float64{clip(at.distance/scale, pointClamp), max(-1, min(wobble, pointClamp)), min(jitter, pointClamp)}
	v.Scored = true
}

const (
	verdictNormal   = "normal"
	verdictLearning = "learning" // the speed is not known yet
	verdictOff      = "off"      // told to stand still
	verdictStarting = "starting" // may stand for a moment
	verdictStopped  = "stopped"  // stands still, as it may at this hour or by its kind
	verdictCoasting = "coasting" // gets slower where it may stop
	verdictAway     = "away"     // outside the band, and not told of: too short, or a level that comes to be known
	verdictMoved    = "moved"    // at a speed that is not known, and quiet: something moves it untold
)

const (
	testStopped = "stopped"
	testNoPulse = "no-pulse"
	testStill   = "still"
	testMin     = "min-rpm"
	testMax     = "max-rpm"
	testHalf    = "half"
	testFast    = "fast"
	testSlow    = "slow"
	testJitter  = "jitter"
	testWobble  = "wobble"
	testChanges = "changes"
	testCusum   = "cusum"
	testWeek    = "week"
)

// describe sets what the tables hold of the reading.
func (f *Fan) describe(x expectation, at view, v *Verdict) {
	l := &f.s.Level
	offset := l.Table[l.At].Offset
	e := l.expected(x, offset)
	tenth := func(rpm float64) float64 { return math.Floor(float64(rpm*10)+0.5) / 10 }
	v.Judged = fanwatch.Judged{Expected: tenth(e), Low: tenth(float64(e * exp(-at.band))),
		High: tenth(float64(e * exp(at.band))), Level: int32(l.At), Verdict: verdictNormal}
	switch {
	case l.Away:
		v.Judged.Level, v.Judged.Verdict = -1, verdictAway
		if l.Decided && !l.Told {
			v.Judged.Verdict = verdictMoved
		}
	case f.s.Age < early || f.s.N < earlyCount:
		v.Judged.Verdict = verdictLearning
	}
}
