package judge

import (
	"math"

	"fanwatch/rcf"
)

const (
	knots      = 21      // of the curve, 5 % of duty apart
	knotFloor  = 30.0    // s at a knot after which it counts
	knotSure   = 300.0   // s at a knot after which it is sure
	knotTau    = 172_800 // s, memory of a knot
	lags       = 5
	lagTau     = 120.0 // s, memory of a lag's error
	slope      = 0.8   // power of the duty that the speed follows where no second knot is known
	slopeLeast = 0.4   // of such a power where two knots show it
	slopeMost  = 2.5
	dutyStep   = 0.03  // a larger change of the duty suspends the tests of speed for settle
	dutyNear   = 0.001 // of the duty: a rotor this close to its command has followed
	settle     = 20.0  // s
)

// lagTaus are the time constants, in s, of the filters of which one follows the rotor.
var lagTaus = [lags]float64{0.7, 1.5, 3, 6, 12}

// command is the duty that the fan is told, and what a rotor with each lag would make of it.
type command struct {
	Known   bool    // a duty was told
	Off     bool    // the newest is 0
	Duty    float64 // newest above 0, 0..1; 1 while none is known
	Filters [lags]float64
	Since   float64 // time since the last step, or since the rotor began to turn, s
	Spin    float64 // time left in which the rotor may still stand, s
}

// curve is the speed that is expected at each duty: knots, between which it is linear, and for each direction the lag
// with which the rotor follows.
type curve struct {
	Knots  [knots]knot
	Errors [2][lags]float64 // mean squares of the residual while the rotor moves, by direction and lag
	Moving [2]float64       // s of moving seen, by direction
	Follow [2]uint8         // lag in use, by direction
}

type knot struct {
	V float64 // logarithm of the speed in RPM
	N float64 // s
}

// tell follows the duty. It reports whether the duty took a step.
func (c *command) tell(duty float64, known bool, dt float64) (step bool) {
	c.Since += dt
	c.Spin = max(0, c.Spin-dt)
	if !known {
		if !c.Known && c.Duty == 0 {
			c.Duty = 1
			c.fill(1)
		}
		c.Off = false
		return false
	}
	if duty == 0 {
		c.Off = true
		c.fill(0)
		return false
	}
	first := !c.Known || c.Duty == 0
	step = first || math.Abs(duty-c.Duty) > dutyStep || c.Off
	if c.Off {
		c.Spin = spin
	}
	if first {
		c.fill(duty)
	}
	if step {
		c.Since = 0
	}
	c.Known, c.Off, c.Duty = true, false, duty
	for i, tau := range lagTaus {
		c.Filters[i] += float64((1 - decay(dt, tau)) * (duty - c.Filters[i]))
	}
	return step
}

func (c *command) fill(duty float64) {
	for i := range c.Filters {
		c.Filters[i] = duty
	}
}

// expectation is the speed that the curve expects of a reading. All but u are logarithms or fractions of the speed.
type expectation struct {
	log       float64 // of the speed in RPM; 0 where known is false
	known     bool
	u         float64 // duty that the rotor has reached
	unsettled float64 // how far the lag leaves it open
	unsure    float64 // how far the curve leaves it open
	moving    int     // direction in which the rotor moves: 0 up, 1 down, -1 not
}

// expect returns what the curve expects now.
func (c *curve) expect(m *command) expectation {
	x := expectation{u: m.Duty, moving: -1}
	if m.Known {
		slowest := m.Filters[lags-1]
		switch {
		case m.Duty > slowest+dutyNear:
			x.moving = 0
		case m.Duty < slowest-dutyNear:
			x.moving = 1
		}
	}
	if x.moving >= 0 {
		x.u = m.Filters[c.Follow[x.moving]]
	}
	x.log, x.unsure, x.known = c.at(x.u)
	if x.moving >= 0 && x.known {
		x.unsettled = c.open(m, x.moving)
	}
	return x
}

// open returns the range of the curve over the command and the lags next to the one in use; over all lags until the
// direction was seen for a minute.
func (c *curve) open(m *command, way int) float64 {
	lo, hi := m.Duty, m.Duty
	from, to := 0, lags-1
	if c.Moving[way] >= 60 {
		from, to = max(0, int(c.Follow[way])-1), min(lags-1, int(c.Follow[way])+1)
		lo = m.Filters[c.Follow[way]]
		hi = lo
	}
	for _, u := range m.Filters[from : to+1] {
		lo, hi = min(lo, u), max(hi, u)
	}
	a, _, _ := c.at(lo)
	b, _, _ := c.at(hi)
	return math.Abs(b - a)
}

// at returns the curve at a duty, and how unsure it is.
func (c *curve) at(u float64) (v, unsure float64, known bool) {
	p := float64(max(u, 0.001) * (knots - 1))
	lower, upper := -1, -1
	for i := range c.Knots {
		if c.Knots[i].N < knotFloor {
			continue
		}
		if float64(i) <= p {
			lower = i
		} else if upper < 0 {
			upper = i
		}
	}
	young := func(k knot) float64 { return float64(0.01 * max(0, 1-k.N/knotSure)) }
	switch {
	case lower < 0 && upper < 0:
		return 0, 0, false
	case lower >= 0 && (upper < 0 || p-float64(lower) < 1e-6):
		return c.beyond(lower, p, young(c.Knots[lower]))
	case lower < 0:
		return c.beyond(upper, p, young(c.Knots[upper]))
	}
	a, b := c.Knots[lower], c.Knots[upper]
	w := (p - float64(lower)) / float64(upper-lower)
	if upper-lower > 1 { // the speed is about linear in the duty, and its logarithm is only between near knots
		v = rcf.Log(float64((1-w)*rcf.Exp(a.V)) + float64(w*rcf.Exp(b.V)))
	} else {
		v = a.V + float64(w*(b.V-a.V))
	}
	unsure = float64((1-w)*young(a)) + float64(w*young(b))
	if upper-lower > 1 {
		from := max(float64(lower), 0.5)
		unsure += float64(0.1 * float64(rcf.Log(float64(upper)/from)*float64(4*w*(1-w))))
	}
	return v, unsure, true
}

// beyond returns the curve at place p outside the knots that are known, from the nearest one.
func (c *curve) beyond(i int, p, young float64) (v, unsure float64, known bool) {
	if d := p - float64(i); d > -0.02 && d < 0.02 {
		return c.Knots[i].V, young, true
	}
	far := rcf.Log(p / max(float64(i), 0.5))
	return c.Knots[i].V + float64(c.slope(i, p > float64(i))*far), young + float64(1.2*math.Abs(far)), true
}

// slope returns the power of the duty that the speed follows beyond knot i, the outermost one on that side: as between
// it and the next one inside.
func (c *curve) slope(i int, above bool) float64 {
	step := 1
	if above {
		step = -1
	}
	for j := i + step; j >= 1 && j < knots; j += step {
		if c.Knots[j].N < knotSure {
			continue
		}
		power := (c.Knots[i].V - c.Knots[j].V) / rcf.Log(max(float64(i), 0.5)/float64(j))
		return max(slopeLeast, min(power, slopeMost))
	}
	return slope
}

// learn moves the curve by a reading whose speed, without base and level, is v; x is what was expected of it.
func (c *curve) learn(v, dt float64, x expectation) {
	p := float64(x.u * (knots - 1))
	near := int(math.Floor(p + 0.5))
	if near < 0 || near >= knots {
		return
	}
	k := &c.Knots[near]
	if k.N < knotFloor {
		c.begin(k, near, p, v, dt, x)
		return
	}
	lower := int(math.Floor(p))
	w := p - float64(lower)
	type part struct {
		k *knot
		w float64
	}
	parts := [2]part{{k, 1}, {nil, 0}}
	if lower+1 < knots && w > 1e-6 && c.Knots[lower].N >= knotFloor && c.Knots[lower+1].N >= knotFloor {
		parts = [2]part{{&c.Knots[lower], 1 - w}, {&c.Knots[lower+1], w}}
	}
	norm := float64(parts[0].w*parts[0].w) + float64(parts[1].w*parts[1].w)
	e := v - x.log
	for _, q := range parts {
		if q.w == 0 {
			continue
		}
		q.k.N = min(q.k.N+float64(dt*q.w), knotTau)
		q.k.V += float64(min(1, float64(dt*q.w)/q.k.N) * e * q.w / norm)
	}
}

// begin learns a knot that is not known yet: v is moved to the knot's duty on the line through a known neighbour, or in
// proportion.
func (c *curve) begin(k *knot, near int, p, v, dt float64, x expectation) {
	at := v
	if x.known {
		there, _, _ := c.at(float64(near) / (knots - 1))
		at += there - x.log
	} else if near > 0 && p > 0 {
		at += float64(slope * rcf.Log(float64(near)/p))
	}
	k.N += dt
	k.V += float64(min(1, dt/k.N) * (at - k.V))
}

// follow judges the lags by a reading while the rotor moves: v is its speed without base and level.
func (c *curve) follow(m *command, v, dt float64, way int) {
	c.Moving[way] = min(c.Moving[way]+dt, 3600)
	best := c.Follow[way]
	for i, u := range m.Filters {
		at, _, _ := c.at(u)
		e := clip(v-at, 0.1)
		ew(&c.Errors[way][i], float64(e*e), dt, lagTau)
		if c.Errors[way][i] < float64(0.98*c.Errors[way][best]) {
			best = uint8(i)
		}
	}
	c.Follow[way] = best
}
