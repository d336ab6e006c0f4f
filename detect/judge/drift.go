package judge

import (
	"math"

	"fanwatch"
	"fanwatch/rcf"
)

const (
	block       = 300.0 // s
	blocksDay   = 288
	harmonics   = 4 // 24, 12, 8 and 6 h
	driftStates = 1 + 2*harmonics
	driftNoise  = 0.0025 // of the speed: least deviation of a block
	driftWalk   = 0.003  // of the speed in the root of an hour
	driftPhase  = 0.001  // the same of a harmonic, in the root of a day
	driftPrior  = 0.01   // of the level
	driftDay    = 0.015  // prior deviation of the swing of a day; those of the others are parts of it
	driftSlack  = 0.25
	scaleBegin  = 36.0            // blocks that the prior of Scale counts for
	scaleKeep   = 2.0 * blocksDay // blocks, longest memory of Scale
	driftBar    = 14.0
	driftEnd    = 7.0
	driftFloor  = 0.025    // of the speed: least difference from what was foretold
	swingPrior  = 0.005    // of the speed
	swingBegin  = 21_600.0 // s, weight of the prior
	swingSigma  = 3.5
	swingBack   = 0.3     // part of the largest distance at which a fan has come back
	swingAgain  = 1.25    // of a swing that came back: the next one that is told of
	driftYoung  = 0.01    // how much more on the first day
	afterStart  = 1200    // s after a start in which no block is taken
	airFans     = 5       // fans of a site whose median is the air that they share, at least
	airOld      = 2       // blocks after which that median no longer counts
	airSwitch   = 12      // blocks in a row after which the site counts, or no longer does
	airFloor    = 0.01    // driftFloor of a fan that is held against its site
	airWalk     = 0.001   // driftWalk of such a fan
	airNoise    = 0.001   // driftNoise of such a fan
	ownTau      = 172_800 // s, memory of a fan's own mean
	weekFloor   = 0.08    // of the speed: the base lies this far from that of the week
	weekEnd     = 0.6     // part of that at which it no longer does
)

var dayParts = [harmonics]float64{1, 0.4, 0.2, 0.13}

// dayCos and daySin hold cosine and sine of the blocks of a day. They come from one rotation, repeated, because the
// last bits of math.Cos differ by processor.
var dayCos, daySin = func() (c, s [blocksDay]float64) {
	const stepCos, stepSin = 0.9997620270799091, 0.02181488503456112 // of a 288th of a turn
	c[0] = 1
	for i := 1; i < blocksDay; i++ {
		c[i] = float64(c[i-1]*stepCos) - float64(s[i-1]*stepSin)
		s[i] = float64(c[i-1]*stepSin) + float64(s[i-1]*stepCos)
	}
	return c, s
}()

// drift compares the mean speed of each block with what a Kalman filter foretells: a level that walks slowly, and a day
// of four harmonics. Two CUSUMs of its innovations find what neither explains.
type drift struct {
	Block   int64 // number of the block since 1970
	Sum     float64
	Seconds float64
	Total   float64 // s of the block, judged or not

	X      [driftStates]float64
	P      [driftStates][driftStates]float64
	N      float64 // blocks
	Newest int64   // number of the newest block that was taken
	Noise  float64 // mean square of half the differences of successive blocks
	Prev   float64 // newest block
	Scale  float64 // mean square of the standardised innovation

	Shared bool    // blocks are held against the air of the site
	Other  uint8   // blocks in a row in which Shared was to be otherwise
	Own    float64 // mean of the blocks
	OwnN   float64 // s
	Swing  spread  // of how far blocks lie from what the kept states foretell, while nothing is wrong

	Up, Down       float64              // CUSUMs
	KeptUp, KeptDn [driftStates]float64 // states when each was 0 last
	SinceUp        int64                // block at that time
	SinceDn        int64
	On             int8    // 1 faster, -1 slower
	By             float64 // how far the newest block lies from what the kept state foretold
	Hours          float64 // h since then
	Peak           float64 // largest By since On
	Week           bool    // the base lies too far from that of the week before
}

// Air is how far the speeds of a site's fans lie from their own means in a block: what they share, such as the
// temperature. It is the median, so that the fault of one fan is none of the air.
type Air struct {
	Median float64
	Block  int64 // number of the block since 1970
	Fans   int   // that the median is of
}

// Part is what a fan's block tells of the air of its site.
type Part struct {
	Block    int64
	Distance float64 // of the block's mean from the fan's own
	Known    bool    // the fan's own mean is known
}

// Share sets the air of the fan's site, for the next reading.
func (f *Fan) Share(air Air) { f.air = air }

// Part returns what the newest reading's end of a block tells of the air; ok is false where it ended none.
func (f *Fan) Part() (p Part, ok bool) { return f.part, f.part.Block != 0 }

// against returns a block's mean held against the air of the site, and what it tells of that air; ok is false where
// the block is to be left out. A fan that begins or ceases to be held against its site learns its days anew.
func (d *drift) against(b int64, z float64, air Air) (own float64, part Part, ok bool) {
	fresh := air.Fans >= airFans && b-air.Block <= airOld && b >= air.Block
	if fresh == d.Shared {
		d.Other = 0
	} else if d.Other++; d.Other >= airSwitch {
		d.Shared, d.Other, d.N, d.Up, d.Down = fresh, 0, 0, 0, 0
		d.On, d.Peak, d.Swing = 0, 0, spread{}
	}
	common := 0.0
	if fresh {
		common = air.Median
	}
	if d.OwnN == 0 {
		d.Own = z - common
	}
	d.OwnN = min(d.OwnN+block, ownTau)
	part = Part{Block: b, Distance: z - d.Own, Known: d.OwnN >= 12*block}
	d.Own += float64(block / d.OwnN * (z - common - d.Own))
	if !d.Shared {
		return z, part, true
	}
	return z - common, part, fresh
}

// add takes a reading's distance z from the curve and the level; usable is false where it says nothing of drift. It
// returns what the end of a block tells of the air of the site.
func (d *drift) add(t int64, z, dt float64, usable bool, grain float64, air Air) (part Part) {
	b := t / int64(block*1e6)
	if b != d.Block {
		if d.Total > 0 && d.Seconds > float64(d.Total/3) && d.Seconds >= 30 {
			var own float64
			var ok bool
			if own, part, ok = d.against(d.Block, d.Sum/d.Seconds, air); ok {
				d.take(d.Block, own, grain)
			}
		}
		d.Block, d.Sum, d.Seconds, d.Total = b, 0, 0, 0
	}
	d.Total += dt
	if usable {
		d.Sum += float64(z * dt)
		d.Seconds += dt
	}
	return part
}

// basis returns the factors of the states at a block.
func basis(b int64) (h [driftStates]float64) {
	h[0] = 1
	i := int(b % blocksDay)
	if i < 0 {
		i += blocksDay
	}
	for k := 1; k <= harmonics; k++ {
		h[2*k-1], h[2*k] = dayCos[k*i%blocksDay], daySin[k*i%blocksDay]
	}
	return h
}

func (d *drift) begin(z float64) {
	d.X = [driftStates]float64{z}
	d.P = [driftStates][driftStates]float64{}
	d.P[0][0] = driftPrior * driftPrior
	for k, part := range dayParts {
		v := float64(driftDay*part) * float64(driftDay*part)
		d.P[2*k+1][2*k+1], d.P[2*k+2][2*k+2] = v, v
	}
	d.Scale, d.Noise = 1, driftNoise*driftNoise
	d.KeptUp, d.KeptDn = d.X, d.X
}

// take compares a block's mean with what was foretold, and learns it.
func (d *drift) take(b int64, z, grain float64) {
	if d.N == 0 {
		d.begin(z)
		d.N, d.Newest, d.Prev, d.SinceUp, d.SinceDn = 1, b, z, b, b
		return
	}
	passed := float64(max(1, min(b-d.Newest, 30*blocksDay)))
	walks, least := driftWalk, driftNoise
	if d.Shared {
		walks, least = airWalk, airNoise
	}
	walk := float64(float64(walks*walks) * float64(passed*block/3600))
	phase := float64(float64(driftPhase*driftPhase) * float64(passed*block/86_400))
	d.P[0][0] += walk
	for i := 1; i < driftStates; i++ {
		d.P[i][i] += phase
	}
	h := basis(b)
	var ph [driftStates]float64
	s := max(float64(least*least), d.Noise) + float64(grain*grain/4)
	foretold := 0.0
	for i := range h {
		for j := range h {
			ph[i] += float64(d.P[i][j] * h[j])
		}
		foretold += float64(h[i] * d.X[i])
	}
	for i := range h {
		s += float64(h[i] * ph[i])
	}
	nu := z - foretold
	k := max(0.5, d.Scale)
	e := clip(nu/math.Sqrt(float64(s*k)), 3)
	d.cusum(b, z, e, h, grain)
	for i := range h {
		gain := ph[i] / s
		d.X[i] += float64(gain * nu)
		for j := range h {
			d.P[i][j] -= float64(gain * ph[j])
		}
	}
	weight := min(d.N+scaleBegin, scaleKeep)
	d.Scale += float64(min(1, passed/weight) * (min(float64(nu*nu)/s, 9) - d.Scale))
	if passed == 1 {
		step := z - d.Prev
		d.Noise += float64(1.0 / blocksDay * (float64(min(float64(step*step), float64(16*d.Noise))/2) - d.Noise))
	}
	d.N++
	d.Newest, d.Prev = b, z
}

// cusum adds a standardised innovation to both sums and sets On.
func (d *drift) cusum(b int64, z, e float64, h [driftStates]float64, grain float64) {
	d.Up, d.Down = max(0, d.Up+e-driftSlack), max(0, d.Down-e-driftSlack)
	if d.Up == 0 && d.On <= 0 {
		d.KeptUp, d.SinceUp = d.X, b
	}
	if d.Down == 0 && d.On >= 0 {
		d.KeptDn, d.SinceDn = d.X, b
	}
	var up, down float64
	for i := range h {
		up += float64(h[i] * d.KeptUp[i])
		down += float64(h[i] * d.KeptDn[i])
	}
	swing := d.Swing.sd(swingPrior, swingBegin)
	if d.On == 0 {
		far := 0.0
		if d.Down > 0 {
			far = down - z
		}
		if d.Up > 0 {
			far = max(far, z-up)
		}
		d.Swing.add(far, swing, block, 2*86_400)
	}
	floor := driftFloor
	if d.Shared {
		floor = airFloor
	}
	least := max(floor, float64(swingSigma*swing)) + float64(driftYoung*decay(float64(d.N*block), 86_400)) + grain
	was := d.On // on the way back to what was foretold before, the fan does not drift the other way
	switch {
	case d.Down > driftBar && down-z > least && (was <= 0 || up-z > least):
		d.On = -1
	case d.Up > driftBar && z-up > least && (was >= 0 || z-down > least):
		d.On = 1
	case max(d.Up, d.Down) < driftEnd:
		d.On = 0
	}
	if d.On != was {
		d.Peak = 0
	}
	switch d.On {
	case -1:
		d.By, d.Hours = z-down, float64(float64(b-d.SinceDn)*block/3600)
	case 1:
		d.By, d.Hours = z-up, float64(float64(b-d.SinceUp)*block/3600)
	default:
		return
	}
	d.Peak = max(d.Peak, math.Abs(d.By))
	if math.Abs(d.By) < float64(swingBack*d.Peak) {
		d.back()
	}
}

// back ends trouble of a fan that came back by itself to what was foretold before: what was learned meanwhile is
// forgotten. It swings as far as it was away, and is told of next when it goes farther by a quarter.
func (d *drift) back() {
	d.X = d.KeptDn
	if d.On > 0 {
		d.X = d.KeptUp
	}
	if most := float64(swingAgain * d.Peak / swingSigma); d.Swing.sd(swingPrior, swingBegin) < most {
		d.Swing.N = 2 * 86_400
		d.Swing.Var = float64(most * most)
	}
	d.On, d.Up, d.Down, d.Peak = 0, 0, 0, 0
}

// driftOf gives the reading to the drift test.
func (f *Fan) driftOf(r fanwatch.Reading, dt float64, x expectation, at view, grain float64, v *Verdict) {
	s, l := &f.s, &f.s.Level
	calm := !at.away && !at.outside && s.Running >= afterStart && s.Age >= afterStart && l.Novel <= 0.25 &&
		l.known() < quietKnown && x.unsure < 0.005 && (l.At == 0 || l.Table[l.At].Seconds >= 3600)
	z := at.residual + l.Base - l.Table[l.At].Offset
	f.part = s.Drift.add(s.Last, z, dt, calm, grain, f.air)
	week := f.week(calm && l.Count == 1 && s.Age > 86_400, grain)
	found := Finding{Kind: fanwatch.KindDrift, Severity: fanwatch.SeverityInfo, Value: r.RPM}
	switch {
	case s.Drift.On != 0:
		found.Test, found.By = testCusum, rcf.Exp(s.Drift.By)-1
		found.Since = s.Last - int64(s.Drift.Hours*3600e6)
	case week != 0:
		found.Test, found.By, found.Since = testWeek, rcf.Exp(week)-1, s.Last
	default:
		return
	}
	found.Expected = f.usual() / (1 + found.By)
	v.Found[Drift] = found
}

// week returns how far the base lies from that of the week before, by the lesser of it and its mean over the days; 0
// where that is no trouble, or usable is false.
func (f *Fan) week(usable bool, grain float64) float64 {
	l, d := &f.s.Level, &f.s.Drift
	off := l.Base - l.Slow
	if days := d.X[0] - l.Slow; !d.Shared && math.Abs(days) < math.Abs(off) {
		off = days
	}
	bar := max(weekFloor, float64(2*swingSigma*d.Swing.sd(swingPrior, swingBegin))) + grain
	if d.Week {
		bar *= weekEnd
	}
	if d.Week = usable && math.Abs(off) > bar; !d.Week {
		return 0
	}
	return off
}
