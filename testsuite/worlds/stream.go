package worlds

import (
	"math"
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

// epoch is the Monday at whose midnight every world's clock begins.
var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// plan is one fan: what a world makes of a seed. Times are in seconds, speeds in RPM, changes of speed in parts of it.
type plan struct {
	interval float64 // between two readings, each of which is a mean over it
	device   fanwatch.Device
	start    float64 // hour of the first day at which it is first read
	cold     bool    // it starts with its publisher

	full       float64 // speed at full duty and mean temperature
	pulses     float64 // of the tacho per revolution
	up, down   float64 // time constants of the rotor
	dead, bend float64 // curve: no turning below dead, then a power of the duty
	told       bool    // readings bear the duty
	legacy     bool    // they go in the wire format of 2019, which knows run, duty, jitter and edges of none
	control    controller
	loads      []load

	swing   float64 // from the coldest to the hottest hour of an ordinary day; negative: slower when it is hot
	office  bool    // it is warm in office hours, and not at weekends
	weather float64 // deviation of days from each other, in parts of swing
	warm    float64 // by which a cold fan differs from a warm one
	warmTau float64

	white, tails, rough, roughTau float64 // deviations of noise; tails is of one in thirty readings
	counted                       bool    // whole pulses are counted in each window
	rounded                       float64 // else: steps of RPM; 0 = 0.01

	wrong         float64 // part of readings that are doubled, halved or far too low
	lost          float64 // part of readings that never arrive
	outage        float64 // mean time between outages of 1 to 20 minutes, in which all are lost; 0 = none
	restart       float64 // mean time between restarts of the publisher; 0 = none
	bursts        float64 // bursts of interference per hour
	jitter        float64 // usual; 0 = not measured
	jitterSpread  float64 // deviation of its logarithm
	jitterSlope   float64 // power of 1/speed by which it grows
	jitterWanders float64 // deviation of its wandering over an hour, logarithm
}

// step returns the steps in which the plan's speeds come.
func (p *plan) step() float64 {
	if p.counted {
		return 60 / float64(p.pulses*p.interval)
	}
	return p.rounded
}

// curve returns the part of the full speed that a duty gives.
func (p *plan) curve(duty float64) float64 {
	if duty <= p.dead {
		return 0
	}
	if duty >= 1 {
		return 1
	}
	return pow((duty-float64(0.6*p.dead))/(1-float64(0.6*p.dead)), p.bend)
}

// Truth is what is so at a reading, whatever was measured.
type Truth struct {
	Speed   float64 // RPM of the rotor, mean of the window
	Healthy float64 // RPM that it would have without the fault
	Duty    float64 // commanded duty cycle, 0..1, told or not
	Temp    float64 // Celsius
	// Fault is true from the fault's first effect on.
	Fault bool
	// Factor is the fault's size: Speed/Healthy, or with a fault of the jitter that of the jitter. 1 without fault.
	Factor float64
	// Note says what the measuring did to the reading: wrong, interference, or nothing.
	Note string
}

// Stream gives the readings of one fan in order of time. Not safe for concurrent use.
type Stream struct {
	Reading fanwatch.Reading // the newest
	Truth   Truth            // of Reading
	Visible time.Time        // of the first window in which the fault has an effect; zero before

	p     plan
	fault *Fault
	onset float64

	now, end float64
	noise    source
	measured source // what goes wrong with measuring and sending
	broken   source // what a fault draws

	air        air
	envNext    float64
	duty       float64
	curve      float64
	v, vh      float64 // speed, and that of the healthy twin
	heat       float64
	roughness  float64
	wander     float64
	phase      float64
	run, seq   uint64
	turned     bool // an edge has come in this run
	restarted  bool
	down       float64 // time at which a publisher that restarts is back
	restartAt  float64
	outageAt   float64
	outageEnd  float64
	burst      int
	surging    float64
	phaseUntil float64 // of a surge or an intermittent stop
	held       float64 // curve at which a rotor that does not follow stays
	usual      float64 // RPM without the fault at its first effect
	wasOff     bool
	refusing   bool // it was to start and does not
}

// Device returns the fan's device as its operator configured it.
func (s *Stream) Device() fanwatch.Device { return s.p.device }

// Interval returns the time between two readings.
func (s *Stream) Interval() time.Duration { return time.Duration(s.p.interval * float64(time.Second)) }

// Onset returns the time at which the fault is put on; zero without fault.
func (s *Stream) Onset() time.Time {
	if s.fault == nil {
		return time.Time{}
	}
	return s.at(s.onset)
}

func (s *Stream) at(now float64) time.Time {
	return epoch.Add(time.Duration(float64(s.p.start*3600)+now) * time.Second)
}

func newStream(name string, seed uint64, p plan, onset, end float64) *Stream {
	s := &Stream{p: p, onset: onset, end: end, heat: 1,
		noise: newSource(seed, name, "noise"), measured: newSource(seed, name, "measured"),
		broken: newSource(seed, name, "fault"), restartAt: math.Inf(1), outageAt: math.Inf(1)}
	if p.cold {
		s.heat = 0
	}
	if p.restart > 0 {
		s.restartAt = s.measured.wait(p.restart)
	}
	if p.outage > 0 {
		s.outageAt = s.measured.wait(p.outage)
	}
	s.run = 1 + s.measured.next()>>2
	s.duty = -1
	s.held = -1
	s.Reading.Fan = p.device.Fan
	return s
}

// Next goes to the next reading that arrives; false after the last.
func (s *Stream) Next() bool {
	for s.now+s.p.interval <= s.end {
		s.now += s.p.interval
		s.turn()
		if s.send() {
			return true
		}
	}
	return false
}

// turn moves the fan on by one window.
func (s *Stream) turn() {
	p, dt := &s.p, s.p.interval
	hours := p.start + (s.now / 3600)
	if s.now >= s.envNext {
		s.envNext = s.now + 10
		s.air.update(hours, max(10, dt))
	}
	day := math.Floor(hours / 24)
	duty := p.control(surroundings{now: s.now, hour: hours - float64(24*day), day: int(day), temp: s.air.temp})
	before, change := s.curve, 0.0
	if duty != s.duty {
		change = s.noise.uniform() // the part of the window that goes by before the command
		if s.duty < 0 {
			before, change = p.curve(duty), 0
		}
		s.duty, s.curve = duty, p.curve(duty)
	}
	off := float64(p.air(s.air.temp)) + float64(p.warm*(1-s.heat))
	for _, l := range p.loads {
		off += l(s.now)
	}
	full := float64(p.full * exp(off))
	if s.seq == 0 && s.now == dt && !p.cold {
		s.v, s.vh = float64(full*before), float64(full*before)
	}
	e := s.effect()
	s.Truth = Truth{Duty: duty, Temp: s.air.temp, Factor: 1, Fault: !s.Visible.IsZero()}
	s.Truth.Healthy = s.spin(&s.vh, full*before, full*s.curve, change, effect{factor: 1})
	s.Truth.Speed = s.Truth.Healthy
	if s.fault != nil && s.now >= s.onset {
		faultBefore, faultCurve := before, s.curve
		if s.fault.stuck {
			if s.held < 0 {
				s.held = before
			}
			faultBefore, faultCurve = s.held, s.held
		}
		s.Truth.Speed = float64(s.spin(&s.v, full*faultBefore, full*faultCurve, change, e) * (1 + s.surging))
		s.show(e)
	} else {
		s.v = s.vh
	}
	on := 0.0
	if s.curve > 0 {
		on = 1
	}
	if p.warm != 0 {
		tau := p.warmTau
		if on == 0 {
			tau *= 3
		}
		s.heat += float64((on - s.heat) * min(1, dt/tau))
	}
}

// spin moves a rotor to its target with its lag and returns its mean speed in the window.
func (s *Stream) spin(v *float64, before, after, change float64, e effect) float64 {
	p := &s.p
	before, after = float64(before*e.factor), float64(after*e.factor)
	if e.blocked {
		before, after = 0, 0
	}
	if math.Abs(*v-after) < float64(1e-4*p.full) && before == after {
		*v = after
		return after
	}
	n := max(4, min(40, int(s.p.interval*4)))
	h := s.p.interval / float64(n)
	rise, fall := 1-exp(-h/p.up), 1-exp(-h/p.down)
	if e.blocked {
		fall = 1 - exp(-h/0.15)
	}
	sum := 0.0
	for i := range n {
		target := after
		if (float64(i)+0.5)/float64(n) < change {
			target = before
		}
		if d := target - *v; d > 0 {
			*v += float64(rise * d)
		} else {
			*v += float64(fall * d)
		}
		sum += *v
	}
	if *v < float64(0.01*p.full) && after == 0 {
		*v = 0
	}
	return sum / float64(n)
}

// send measures the window and sends the reading; false when it is lost or the publisher is down.
func (s *Stream) send() bool {
	p, r, t := &s.p, &s.Reading, &s.Truth
	speed, lost := s.measure()
	if s.now >= s.restartAt {
		s.down, s.restartAt = s.now+s.measured.between(3, 40), s.now+s.measured.wait(p.restart)
	}
	if s.now < s.down {
		return false
	}
	if s.down > 0 {
		s.down = 0
		s.newRun()
	}
	s.seq++
	r.Run, r.Seq = s.run, s.seq
	r.Time = s.at(s.now).Add(time.Duration(min(5000, s.measured.wait(80))) * time.Microsecond)
	edges := float64(float64(speed*p.pulses) / 60 * p.interval)
	if p.counted {
		s.phase += edges
		n := math.Floor(s.phase)
		s.phase -= n
		edges, speed = n, float64(n*p.step())
	} else if q := p.rounded; q > 0 {
		speed = math.Round(speed/q) * q
	} else {
		speed = math.Round(speed*100) / 100
	}
	if edges < 1 || t.Speed < float64(0.01*p.full) {
		speed, edges = 0, 0
	}
	if s.seq == 1 && s.restarted && p.interval < 5 && s.measured.chance(0.3) {
		speed, edges = 0, 0 // its first window is too short
		r.State = fanwatch.StateStarting
	} else if speed > 0 {
		r.State = fanwatch.StateRunning
	} else if s.turned {
		r.State = fanwatch.StateStalled
	} else {
		r.State = fanwatch.StateNoSignal
	}
	s.turned = s.turned || speed > 0
	r.RPM, r.Hz = speed, math.Round(float64(speed*p.pulses)/60*1000)/1000
	r.Edges = uint32(edges)
	if speed == 0 {
		r.Jitter = 0
	}
	if p.legacy { // as fanwatch reads it: run 0, and the time for a number
		r.Run, r.Seq, r.Edges = 0, uint64(r.Time.UnixMicro()), 0
	}
	r.PWM = 0
	if p.told {
		r.PWM = fanwatch.NewDuty(t.Duty)
	}
	return !lost
}

// newRun begins a new run of the publisher.
func (s *Stream) newRun() {
	s.run, s.seq, s.turned, s.restarted = 1+s.measured.next()>>2, 0, false, true
}

// measure returns the speed as it is measured, and sets the reading's jitter.
func (s *Stream) measure() (speed float64, lost bool) {
	p, r, t := &s.p, &s.Reading, &s.Truth
	t.Note, r.Glitch, r.Jitter = "", 0, 0
	n := float64(p.white * s.noise.normal())
	if p.tails > 0 && s.noise.chance(1./30) {
		n += float64(p.tails * s.noise.normal())
	}
	if p.rough > 0 {
		k := min(1, p.interval/p.roughTau)
		s.roughness += float64(k*-s.roughness) + float64(float64(p.rough*math.Sqrt(2*k))*s.noise.normal())
		n += s.roughness
	}
	speed = float64(t.Speed * max(0, 1+n))
	if p.jitter > 0 && t.Speed > float64(0.05*p.full) {
		j := float64(p.jitter * exp(float64(p.jitterSpread*s.noise.normal())+s.wander))
		if p.jitterSlope != 0 {
			j = float64(j * pow(p.full/t.Speed, p.jitterSlope))
		}
		if p.jitterWanders > 0 {
			k := min(1, p.interval/3600)
			s.wander += float64(k*-s.wander) + float64(float64(p.jitterWanders*math.Sqrt(2*k))*s.noise.normal())
		}
		if s.fault != nil {
			j = float64(j * s.jitterFactor())
		}
		mean := t.Speed / (1 + s.surging)
		moved := (s.v - mean) / mean // what the rotor's own change of speed adds to the spread of its periods
		r.Jitter = math.Sqrt(float64(j*j) + float64(moved*moved)/3)
	}
	if p.bursts > 0 {
		if s.burst == 0 && s.measured.chance(float64(p.bursts*p.interval)/3600) {
			s.burst = 1 + s.measured.below(2)
			if p.interval > 1.5 {
				s.burst = 1
			}
		} else if s.burst > 0 {
			s.burst--
		}
		if s.burst > 0 {
			t.Note = "interference"
			speed = float64(speed * (1 + s.measured.between(0.005, 0.06)))
			r.Jitter = float64(r.Jitter * s.measured.between(1.5, 6))
			r.Glitch = 1 + uint32(s.measured.below(9))
		}
	}
	if p.wrong > 0 && s.measured.chance(p.wrong) {
		t.Note = "wrong"
		switch s.measured.below(3) {
		case 0:
			speed *= 2
		case 1:
			speed /= 2
		default:
			speed *= s.measured.between(0.2, 0.95)
		}
	}
	r.Jitter = math.Round(r.Jitter*1e5) / 1e5
	lost = s.measured.chance(p.lost)
	if s.now >= s.outageAt {
		s.outageEnd = s.now + s.measured.between(60, 1200)
		s.outageAt = s.now + s.measured.wait(p.outage)
	}
	return speed, lost || s.now < s.outageEnd
}

// air is the temperature of a room.
type air struct {
	r        source
	temp     float64
	degrees  float64
	office   bool
	weather  float64
	day      int
	amp, off [2]float64 // of this midnight and the next
	eddy     float64
}

const meanTemp = 24 // Celsius

func newAir(r source, p plan) air {
	a := air{r: r, degrees: 8, office: p.office, weather: p.weather, day: int(p.start / 24)}
	a.amp[1], a.off[1] = float64(a.weather*a.r.normal()), float64(a.weather*a.r.normal())
	a.nextDay()
	a.update(p.start, 10)
	return a
}

// nextDay draws the next midnight: weather that is mostly yesterday's.
func (a *air) nextDay() {
	for _, x := range []*[2]float64{&a.amp, &a.off} {
		x[0] = x[1]
		x[1] = float64(0.6*x[0]) + float64(float64(0.8*a.weather)*a.r.normal())
	}
}

// update sets the temperature of an hour since the first midnight; dt are the seconds since the update before.
func (a *air) update(hours, dt float64) {
	day := int(math.Floor(hours / 24))
	for a.day < day {
		a.day++
		a.nextDay()
	}
	h := hours - float64(24*float64(day))
	sun := 0.5 + float64(0.42*wave((h-15)/24)) + float64(0.08*wave((h-14)/12))
	if a.office {
		busy := 0.0
		if day%7 < 5 {
			busy = ramp(h, 7, 10) - ramp(h, 16.5, 21)
		}
		sun = float64(0.25*sun) + float64(0.75*busy)
	}
	k := min(1, dt/1200)
	a.eddy += float64(k*-a.eddy) + float64(float64(0.12*math.Sqrt(2*k))*a.r.normal())
	along := h / 24
	amp := a.amp[0] + float64((a.amp[1]-a.amp[0])*along)
	off := a.off[0] + float64((a.off[1]-a.off[0])*along)
	a.temp = meanTemp + float64(a.degrees*(float64(max(0.2, 1+amp)*(sun-0.4))+float64(0.5*off))) + a.eddy
}

// air returns what a temperature adds to the logarithm of the speed.
func (p *plan) air(temp float64) float64 { return float64(p.swing * (temp - meanTemp) / 8) }

// effect is what a fault does to the rotor in one window.
type effect struct {
	factor  float64 // of the speed
	blocked bool
}

// since returns the seconds since the fault was put on; negative before.
func (s *Stream) since() float64 { return s.now - s.onset }

// effect returns what the fault does in this window.
func (s *Stream) effect() effect {
	e := effect{factor: 1}
	f, t := s.fault, s.since()
	if f == nil || t < 0 {
		return e
	}
	if f.Ramp > 0 {
		e.factor = 1 + float64(f.Speed*min(1, t/f.Ramp))
	} else {
		e.factor = 1 + f.Speed
	}
	e.blocked = f.stall
	if f.noSignal && s.Visible.IsZero() {
		s.restartAt = math.Inf(1)
		s.newRun()
	}
	if f.surge > 0 {
		if s.now >= s.phaseUntil {
			s.surging = 0
			s.phaseUntil = s.now + s.broken.between(2, 8)
			if s.broken.chance(0.6) {
				s.surging = f.surge
				if s.broken.chance(0.5) {
					s.surging = -f.surge
				}
			}
		}
	}
	if f.stops {
		if s.now >= s.phaseUntil {
			s.refusing = !s.refusing
			s.phaseUntil = s.now + s.broken.between(60, 600)
			if s.refusing {
				s.phaseUntil = s.now + max(2*s.p.interval, s.broken.between(4, 12))
			}
		}
		e.blocked = s.refusing
	}
	if f.noStart {
		if s.curve == 0 {
			s.wasOff = true
		} else if s.wasOff {
			s.refusing = true
		}
		e.blocked = s.refusing
	}
	return e
}

// jitterFactor returns what the fault makes of the jitter.
func (s *Stream) jitterFactor() float64 {
	f, t := s.fault, s.since()
	switch {
	case f.Jitter == 0 || t < 0:
		return 1
	case f.Ramp > 0:
		return 1 + float64((f.Jitter-1)*min(1, t/f.Ramp))
	}
	return f.Jitter
}

// show notes in the truth what the fault does.
func (s *Stream) show(e effect) {
	t, f := &s.Truth, s.fault
	if f.Jitter > 0 {
		t.Factor = s.jitterFactor()
	} else if t.Healthy > 0 {
		t.Factor = t.Speed / t.Healthy
	}
	if s.Visible.IsZero() {
		seen := true
		switch {
		case f.stuck:
			seen = t.Healthy > 0 && math.Abs(rcf.Log(max(1e-6, t.Factor))) > 0.03
		case f.noStart, f.stops:
			seen = e.blocked
		case f.surge > 0:
			seen = s.surging != 0
		}
		if seen {
			s.Visible, s.usual = s.at(s.now), t.Healthy
			t.Fault = true
		}
	}
}
