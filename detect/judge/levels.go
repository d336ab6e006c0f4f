package judge

import (
	"math"
	"math/bits"

	"fanwatch/rcf"
)

const (
	maxLevels = 12

	bandFloor  = 0.015   // least half width of a band, of the speed
	fastSigma  = 6.0     // standard deviations of a reading to the edge of the band
	slowSigma  = 6.0     // standard deviations of a minute's mean to the edge of its band
	meanTau    = 60.0    // s, the mean that the slow test looks at
	slowFor    = 10.0    // s that it must be outside
	baseTau    = 900.0   // s
	baseSlew   = 0.05    // of the speed in an hour: the fastest that the base follows
	slowTau    = 604_800 // s, of the speed that "half of usual" goes by
	early      = 300.0   // s after the first reading in which speed is learned, and judged by a wide band
	earlyTau   = 30.0    // s, of the base in that time
	earlyCount = 20      // readings that this time has at least
	earlyWidth = 0.05    // of the speed: how much wider the band is in that time; in its first minute nothing is judged
	warmth     = 0.04    // of the speed: how far a fan may be off right after its start
	warmTau    = 600.0   // s
	youth      = 0.01    // of the speed: how much wider the band is in the first hour
	youthFor   = 3600.0  // s
	hopWidth   = 0.015   // of the speed: how much wider the band is after a told step, as the curve may be off there
	hopTau     = 600.0   // s
	gapWidth   = 0.03    // of the speed: how much wider the band is after a gap
	gapFor     = 60.0    // s

	sigmaPrior  = 0.003 // of the speed
	meanPrior   = 0.002 // of the speed, of a minute's mean
	sigmaWeight = 1800.0
	sigmaTau    = 21_600.0

	heldFor     = 60.0   // s after which a candidate is a visit to a level
	fixFor      = 600.0  // s after which only the base moves a candidate
	knownAfter  = 2      // visits that ended by themselves, after which a level is known
	manyVisited = 3      // levels from which on one visit is enough: known ones, and those visited
	settledFor  = 43_200 // s at one candidate, and
	awayFor     = 86_400 // s away in all, after which a level that pages no one is known
	transit     = 20.0   // s to arrive at a known level, where there are two
	noveltyTau  = 28_800 // s
	noveltyMax  = 4.0    // largest count of novel levels
	quietAt     = 0.5    // count from which on a novel level within the range is quiet
	quietKnown  = 6      // known levels from which on it is
	huntTau     = 180.0  // s
	huntLeast   = 6.0    // changes of level, fading with huntTau, that are hunting at least
)

// level is a speed at which the fan has stood, relative to the expected one.
type level struct {
	Offset  float64 // logarithm of the ratio
	Seconds float64 // time at it
	Last    float64 // age at the end of the newest visit, s
	Visits  uint32  // visits that ended by themselves
	Known   bool
	Fault   bool // a person called it a fault: it is never learned
}

// levels follow the residual of the speed: logarithm of the speed over the expected one, less the base. What moves all
// speeds alike, such as the temperature, is the base; speeds between which the fan changes at once are levels.
type levels struct {
	Base                float64 // what moves all speeds alike
	Slow                float64 // the base with a memory of a week
	Mean                float64 // of the distance from the level over meanTau
	Sigma, Means, Steps spread  // of the distance, of Mean, and from reading to reading

	Table [maxLevels]level
	Count uint8
	At    uint8    // level at which the fan stands or, while away, stood
	Outs  [2]uint8 // which of the newest 8 readings were above and below the band
	Rate  spread   // of readings outside the band while the fan stands at a level: Var is their part
	Out   lasting  // of the slow test

	Away      bool
	AwayFor   float64          // s
	Travel    float64          // s since it left the level, or a speed that it had held
	Fresh     float64          // s left in which the offset of the level is learned beside the base
	Residuals [3]float64       // newest residuals
	Candidate float64          // offset of the speed at which the fan is while away
	Held      float64          // s at the candidate
	HeldN     uint8            // readings at the candidate, at most 200
	CandOuts  uint8            // which of the newest 4 readings were outside the candidate's band
	Back      [maxLevels]uint8 // readings in a row at each level while away
	BySlow    bool             // the slow test found that the fan left
	Heading   int8             // level that the candidate is a visit to; -1 = none yet
	Decided   bool             // whether to tell of the candidate was decided
	Told      bool             // and it is told of
	Novel     float64          // count of novel levels, which fades
	Since     int64            // time of the reading that began to be away, Unix microseconds
	Changes   float64          // changes of level, which fade
	Usual     float64          // of Changes
	Lowest    float64          // lowest offset of a known level
	Begun     bool             // Lowest holds
}

// view is what the levels make of one reading.
type view struct {
	residual float64
	offset   float64 // of the level or candidate by which the reading is judged
	distance float64 // residual less offset
	sigma    float64 // usual deviation of the distance
	band     float64 // half width of the band
	band2    float64 // half width of the band of a minute's mean
	core     float64 // band2 without what is open of curve, lag, grain and start
	away     bool
	outside  bool
}

func (l *levels) known() (n int) {
	for _, x := range l.Table[:l.Count] {
		if x.Known {
			n++
		}
	}
	return n
}

// bands sets the bands of a reading. extra is what the curve and the lag leave open, grain the step of the speeds.
func (f *Fan) bands(v *view, x expectation, grain float64) {
	s, l := &f.s, &f.s.Level
	steps := math.Sqrt(max(0, float64(l.Steps.Var/2)-float64(grain*grain)))
	v.sigma = max(l.Sigma.sd(sigmaPrior, sigmaWeight), steps)
	extra := grain + float64(0.5*x.unsettled) + x.unsure + float64(warmth*decay(s.Running, warmTau)) +
		float64(youth*max(0, 1-s.Age/youthFor))
	if s.Command.Known {
		extra += float64(hopWidth * decay(s.Command.Since, hopTau))
	}
	if s.Gap > 0 {
		extra += gapWidth
	}
	mean := max(l.Means.sd(meanPrior, sigmaWeight), float64(v.sigma*math.Sqrt(min(1, s.Interval/float64(2*meanTau)))))
	both := math.Sqrt(float64(v.sigma*v.sigma) + float64(mean*mean)) // how far the base lags, and noise
	v.band = max(bandFloor, float64(fastSigma*both)) + extra
	v.core = max(bandFloor, float64(slowSigma*mean))
	v.band2 = v.core + extra
}

// place judges where a reading's speed stands. log is the logarithm of the speed, x what was expected.
func (f *Fan) place(log, dt float64, x expectation, grain float64, rises bool) view {
	s, l := &f.s, &f.s.Level
	v := view{residual: log - x.log - l.Base}
	l.Residuals[2], l.Residuals[1], l.Residuals[0] = l.Residuals[1], l.Residuals[0], v.residual
	if s.Turning == 1 {
		l.Residuals[1], l.Residuals[2] = v.residual, v.residual
	}
	if !l.Away || l.Held >= heldFor { // it does not fade while the fan keeps moving
		l.Novel = float64(l.Novel * decay(dt, noveltyTau))
	}
	l.Changes = float64(l.Changes * decay(dt, huntTau))
	ew(&l.Usual, l.Changes, dt, sigmaTau)
	f.bands(&v, x, grain)
	young := s.Age < early || s.N < earlyCount
	paused := rises || s.Command.Since < settle || s.Command.Known && x.moving >= 0 && x.unsettled > v.band
	if l.Away {
		f.wander(&v, dt, x, paused)
	} else {
		f.stay(&v, dt, x, young, paused)
	}
	v.away = l.Away
	return v
}

// stay judges a reading of a fan that stands at a level.
func (f *Fan) stay(v *view, dt float64, x expectation, young, paused bool) {
	s, l := &f.s, &f.s.Level
	at := &l.Table[l.At]
	v.offset = at.Offset
	v.distance = v.residual - v.offset
	e := v.distance
	v.outside = math.Abs(e) > v.band
	if young {
		v.band += earlyWidth
		// Faster than in its first minute a fan may be that still spins up or warms up.
		if s.Age >= heldFor && s.N >= earlyCount && !paused && l.fast(min(e, 0), v.band) {
			l.leave(s.Last, false)
			v.outside = true
			return
		}
		if s.N > 3 {
			e = median3(l.Residuals[0], l.Residuals[1], l.Residuals[2]) - v.offset
		}
		reach := 0.02
		if s.Age < heldFor {
			reach = 1
		}
		ew(&l.Base, l.Base+clip(float64(e*trusted(x)), reach), dt, earlyTau)
		l.Slow = l.Base
		at.Seconds += dt
		l.spreads(v, e, dt)
		f.know(at)
		return
	}
	if paused {
		l.Outs, l.Out = [2]uint8{}, lasting{}
		return
	}
	fast := l.fast(e, v.band)
	ew(&l.Mean, clip(float64(e*trusted(x)), v.band), dt, meanTau)
	slow := l.Out.add(math.Abs(l.Mean) > v.band2, dt, slowFor, 3)
	if fast || slow {
		l.leave(s.Last, slow)
		v.outside = true
		return
	}
	l.Rate.N = min(l.Rate.N+dt, sigmaTau)
	l.Rate.Var += float64(dt / (l.Rate.N + 600) * (float64(b2u(v.outside)) - l.Rate.Var))
	if v.outside {
		return
	}
	at.Seconds += dt
	at.Last = s.Age
	f.know(at)
	if s.Gap > 0 {
		ew(&l.Base, l.Base+e, dt, 20)
	} else {
		f.follow(e, dt, x)
	}
	if l.Fresh -= dt; l.Fresh > 0 && l.At != 0 {
		at.Offset += float64(min(1, dt/baseTau) * e)
	}
	if math.Abs(l.Mean) < float64(0.75*v.core) {
		l.spreads(v, e, dt)
	}
}

// trusted returns which part of a distance is not the curve's: a duty that is hardly known says nothing of the base.
func trusted(x expectation) float64 { return max(0, 1-x.unsure/0.03) }

// fast takes a distance from the level and reports whether enough of the newest readings lie beyond the band.
func (l *levels) fast(e, band float64) bool {
	l.Outs[0] = l.Outs[0]<<1 | b2u(e > band)
	l.Outs[1] = l.Outs[1]<<1 | b2u(e < -band)
	need := l.fastNeed()
	return max(bits.OnesCount8(l.Outs[0]&(1<<(need+1)-1)), bits.OnesCount8(l.Outs[1]&(1<<(need+1)-1))) >= need
}

// fastNeed returns how many of the newest readings, all but one, must be outside the band on one side: 3, and more for
// a fan of which single readings often are, so that this happens by chance once in a thousand days.
func (l *levels) fastNeed() int {
	for i, rate := range [...]float64{0.0014, 0.0067, 0.0175, 0.035} {
		if l.Rate.Var <= rate {
			return 3 + i
		}
	}
	return 7
}

// follow moves the base by a reading inside the band.
func (f *Fan) follow(e, dt float64, x expectation) {
	l := &f.s.Level
	most := float64(baseSlew / 3600 * dt * (1 + float64(4*decay(f.s.Running, warmTau))))
	l.Base += clip(float64(min(1, dt/baseTau)*e*trusted(x)), most)
	ew(&l.Slow, l.Slow+clip(l.Base-l.Slow, 0.1), dt, slowTau)
}

// spreads learns how far readings lie from the level and from each other.
func (l *levels) spreads(v *view, e, dt float64) {
	l.Sigma.add(e, v.sigma, dt, sigmaTau)
	l.Means.add(l.Mean, l.Means.sd(meanPrior, sigmaWeight), dt, sigmaTau)
	step := l.Residuals[0] - l.Residuals[1]
	l.Steps.add(step, max(0.001, math.Sqrt(l.Steps.Var)), dt, 3600)
}

// know makes a level known that has been held for a minute, if it is the first; the others need visits.
func (f *Fan) know(at *level) {
	l := &f.s.Level
	if at.Seconds >= heldFor {
		if l.Count == 1 {
			at.Known = true
		}
		l.lower(at.Offset)
	}
}

// lower makes the offset of a known level the lowest, if it is.
func (l *levels) lower(offset float64) {
	if !l.Begun || offset < l.Lowest {
		l.Lowest, l.Begun = offset, true
	}
}

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// leave begins to be away from the level.
func (l *levels) leave(now int64, slow bool) {
	l.Away, l.AwayFor, l.Travel, l.BySlow, l.Since = true, 0, 0, slow, now
	l.newCandidate()
}

func (l *levels) newCandidate() {
	if l.Heading >= 0 {
		l.Travel = 0
	}
	l.endVisit(true)
	l.Candidate = median3(l.Residuals[0], l.Residuals[1], l.Residuals[2])
	l.Held, l.HeldN, l.CandOuts, l.Decided = 0, 0, 0, false
	l.Back = [maxLevels]uint8{}
}

// endVisit counts the visit to the level that the candidate is at, if it is one.
func (l *levels) endVisit(byItself bool) {
	if l.Heading < 0 {
		return
	}
	at := &l.Table[l.Heading]
	l.Heading = -1
	if !byItself || at.Fault {
		return
	}
	at.Visits = min(at.Visits+1, maxCount)
	visited := 0
	for _, x := range l.Table[:l.Count] {
		visited += int(b2u(x.Known || x.Visits > 0))
	}
	need := uint32(knownAfter)
	if visited >= manyVisited {
		need = 1
	}
	for i := range l.Table[:l.Count] {
		if x := &l.Table[i]; !x.Known && !x.Fault && x.Visits >= need {
			x.Known = true
			l.lower(x.Offset)
		}
	}
}

// wander judges a reading of a fan that is away from the levels that are known.
func (f *Fan) wander(v *view, dt float64, x expectation, paused bool) {
	s, l := &f.s, &f.s.Level
	l.AwayFor += dt
	l.Travel += dt
	v.offset, v.distance = l.Table[l.At].Offset, v.residual-l.Table[l.At].Offset
	v.outside = true
	if paused {
		return
	}
	e := v.residual - l.Candidate
	l.CandOuts = l.CandOuts<<1&15 | b2u(math.Abs(e) > v.band)
	if bits.OnesCount8(l.CandOuts) >= 3 {
		l.newCandidate()
	} else {
		l.Held += dt
		l.HeldN = min(l.HeldN+1, 200)
		switch {
		case math.Abs(e) > v.band:
		case l.Held < heldFor:
			ew(&l.Candidate, v.residual, dt, 10)
		case l.Held < fixFor:
			ew(&l.Candidate, v.residual, dt, l.Held)
		default:
			f.follow(e, dt, x)
		}
	}
	if at := l.home(v); at >= 0 {
		l.arrive(at)
		v.offset = l.Table[at].Offset
		v.distance = v.residual - v.offset
		v.outside = math.Abs(v.distance) > v.band
		return
	}
	if l.Held >= heldFor {
		f.visit(v)
	}
	f.decide(v)
	if l.Heading >= 0 {
		at := &l.Table[l.Heading]
		at.Seconds += dt
		at.Last = s.Age
		if l.AwayFor >= awayFor && l.Held >= settledFor && !at.Fault && !l.pages() {
			at.Known = true
			l.arrive(int(l.Heading))
		}
	}
}

// pages reports whether the candidate is so far off that a person is woken.
func (l *levels) pages() bool {
	return l.Told && math.Abs(l.Candidate-l.Table[l.At].Offset) >= pageAt
}

// home returns the known level to which the fan has come back, or -1: one near the newest three readings, or one near
// the candidate. To the level that only a minute's mean told it had left it comes back by the candidate alone.
func (l *levels) home(v *view) int {
	m := median3(l.Residuals[0], l.Residuals[1], l.Residuals[2])
	best := -1
	for i := range l.Table[:l.Count] {
		at := &l.Table[i]
		if !at.Known || at.Fault {
			continue
		}
		near, left := v.band2, l.BySlow && i == int(l.At)
		if left {
			near = float64(0.5 * v.band2)
		}
		if !left && math.Abs(m-at.Offset) <= near {
			l.Back[i] = min(l.Back[i]+1, 3)
		} else {
			l.Back[i] = 0
		}
		back := l.Back[i] == 3 || l.HeldN >= 10 && math.Abs(l.Candidate-at.Offset) <= near
		if back && (best < 0 || math.Abs(m-at.Offset) < math.Abs(m-l.Table[best].Offset)) {
			best = i
		}
	}
	return best
}

// arrive ends being away at a known level.
func (l *levels) arrive(at int) {
	l.endVisit(int(l.Heading) != at)
	if l.At != uint8(at) {
		l.Changes++
	}
	l.At, l.Away, l.Outs, l.Out, l.Mean = uint8(at), false, [2]uint8{}, lasting{}, 0
	l.Fresh = fixFor
	l.AwayFor, l.Held, l.HeldN, l.Decided, l.Told, l.BySlow = 0, 0, 0, false, false, false
}

// visit makes a candidate that has held for a minute a visit to an unknown level: the nearest one, or a new one in
// place of the one seen longest ago.
func (f *Fan) visit(v *view) {
	l := &f.s.Level
	if l.Heading >= 0 {
		return
	}
	best := -1
	for i := range l.Table[:l.Count] {
		at := &l.Table[i]
		d := math.Abs(at.Offset - l.Candidate)
		if !at.Known && d < float64(0.8*v.band) && (best < 0 || d < math.Abs(l.Table[best].Offset-l.Candidate)) {
			best = i
		}
	}
	if best < 0 {
		best = l.slot()
		l.Table[best] = level{Offset: l.Candidate}
	}
	l.Heading = int8(best)
}

// slot returns the place of a new level.
func (l *levels) slot() int {
	if l.Count < maxLevels {
		l.Count++
		return int(l.Count) - 1
	}
	oldest := -1
	for i := 1; i < maxLevels; i++ { // the first is what all others are relative to
		if i != int(l.At) && (oldest < 0 || l.Table[i].Last < l.Table[oldest].Last) {
			oldest = i
		}
	}
	return oldest
}

// decide settles once for each candidate whether it is told of: at once, or after the time to arrive at a known level
// where there are two. A fan that is moved by something that fanwatch is not told of is told of once, and is quiet for
// hours while it moves within its range.
func (f *Fan) decide(v *view) {
	l := &f.s.Level
	if l.Decided || l.Travel < f.s.wait(v) || l.near(median3(l.Residuals[0], l.Residuals[1], l.Residuals[2]), v.band) {
		return
	}
	known := l.known()
	if l.Told { // it is told of already; a candidate farther off shows in the data
		l.Decided = true
		return
	}
	low, high := 0.0, 0.0
	for i, at := range l.Table[:l.Count] {
		if i == 0 || at.Seconds >= heldFor {
			low, high = min(low, at.Offset), max(high, at.Offset)
		}
	}
	wider := float64(0.5 * (high - low))
	within := l.Candidate > low-wider-v.band2 && l.Candidate < high+wider+v.band2 && high-low > v.band2
	quiet := within && (l.Novel >= quietAt || known >= quietKnown)
	l.Decided, l.Told = true, !quiet
	if !l.seen(v) {
		l.Novel = min(noveltyMax, l.Novel+1)
	}
}

// near reports whether a residual lies within reach of a known level, to which the fan may have come back.
func (l *levels) near(residual, reach float64) bool {
	for i, at := range l.Table[:l.Count] {
		if at.Known && !at.Fault && math.Abs(residual-at.Offset) <= reach && !(l.BySlow && i == int(l.At)) {
			return true
		}
	}
	return false
}

// wait returns the time, in s, that a fan has to arrive at a known level before a candidate is decided on: none before
// two are known, and longer while the fan still moves or is near one.
func (s *state) wait(v *view) float64 {
	l := &s.Level
	m := median3(l.Residuals[0], l.Residuals[1], l.Residuals[2])
	switch {
	case l.known() < 2:
		return 0
	case l.Held < 5 || math.Abs(m-l.Candidate) > 0.005+v.sigma || l.near(m, float64(2*v.band)):
		return 3 * transit
	}
	return transit
}

// seen reports whether the candidate is a level that was visited before.
func (l *levels) seen(v *view) bool {
	for i := range l.Table[:l.Count] {
		if l.Table[i].Seconds >= heldFor && i != int(l.Heading) && math.Abs(l.Table[i].Offset-l.Candidate) < v.band {
			return true
		}
	}
	return false
}

// expected returns the speed expected at an offset, in RPM.
func (l *levels) expected(x expectation, offset float64) float64 {
	return rcf.Exp(x.log + l.Base + offset)
}
