package worlds

import (
	"fmt"
	"io"
	"math"
	"time"

	"fanwatch"
)

// Regime says what of a healthy world its fan's judge cannot know at first.
type Regime string

// The regimes.
const (
	// Announced is the regime of a world in which nothing but weather, load and measuring moves the fan untold by more
	// than a few percent: no alert is due.
	Announced Regime = "announced"
	// Unannounced is the regime of a world in which a controller or a hand moves the fan and no reading says so: two
	// alerts a fan are allowed until that is known.
	Unannounced Regime = "unannounced"
	// Said is the regime of a world in which something moves the fan untold, and a person says of the first alert what
	// it was: with "normal" no other alert is allowed.
	Said Regime = "said"
	// Nights is the regime of a world in which the fan is switched off each night and no reading says so: one alert
	// each night, because to anyone who is not told it is a stall. The world nights-hours is the same with its hours.
	Nights Regime = "nights"
)

// Allowed returns how many alerts a fan may cause in all; 0 where alerts are counted by the day.
func (r Regime) Allowed() int {
	switch r {
	case Unannounced:
		return 2
	case Said:
		return 1
	case Nights:
		return 6
	}
	return 0
}

// World is a place and a way of use, of which a seed makes one fan.
type World struct {
	Name   string
	About  string // one line
	Regime Regime
	Days   int // for which a trial runs it
	Fans   int // that stand in the same air; 0 = 1
	// Verdict is what a person says of the first alert, after ten minutes of it; "" = nothing.
	Verdict fanwatch.Verdict
	plan    func(r *source, p *plan)
}

// Worlds returns all worlds, in the order of the tables.
func Worlds() []World { return all }

// List writes a line for each world and each fault.
func List(to io.Writer) error {
	for _, w := range all {
		if _, err := fmt.Fprintf(to, "world  %-16s %-12s %d days  %s\n", w.Name, w.Regime, w.Days, w.About); err != nil {
			return err
		}
	}
	for i := range faults {
		if _, err := fmt.Fprintf(to, "fault  %-16s %s\n", faults[i].Name, faults[i].About); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the world of that name.
func Find(name string) (World, error) {
	for _, w := range all {
		if w.Name == name {
			return w, nil
		}
	}
	return World{}, fmt.Errorf("world %.60q is unknown: list them with -list", name)
}

// Options say how much of a world is wanted.
type Options struct {
	Seed     uint64
	Span     time.Duration // of the readings; 0 = the world's Days
	Interval time.Duration // between two readings, whole seconds; 0 = the world's own
	Fault    *Fault        // nil = none
	Onset    time.Duration // of the fault, from the first reading on
}

// Open returns the readings of the fans of the world, which is one in most worlds. A fault is put on the first.
func (w World) Open(o Options) []*Stream {
	var all []*Stream
	for k := range max(1, w.Fans) {
		seed := o.Seed + uint64(k)<<32
		draw, week := newSource(seed, w.Name, "plan"), newSource(seed, w.Name, "weekday")
		r := &draw
		p := ordinary(r)
		p.device = fanwatch.Device{V: fanwatch.DeviceVersion, Revision: 1, Fan: fmt.Sprintf("%s-%d", w.Name, o.Seed)}
		w.plan(r, &p)
		p.start += float64(24 * week.below(7))
		if w.Fans > 1 {
			p.device.Site = p.device.Fan
			p.device.Fan += fmt.Sprintf("-%d", k+1)
		}
		if k > 0 {
			first := &all[0].p
			p.start, p.swing = first.start, math.Copysign(p.swing, first.swing)
		}
		if o.Interval > 0 {
			p.interval = math.Round(o.Interval.Seconds())
		}
		span := o.Span
		if span == 0 {
			span = time.Duration(w.Days) * 24 * time.Hour
		}
		s := newStream(w.Name, seed, p, o.Onset.Seconds(), span.Seconds())
		s.air = newAir(newSource(o.Seed, w.Name, "air"), p)
		if k == 0 {
			s.fault = o.Fault
		}
		all = append(all, s)
	}
	return all
}

// ordinary returns a fan in a cellar: what every world starts from.
func ordinary(r *source) plan {
	up := r.between(1.5, 4)
	swing := r.between(0.003, 0.008)
	if r.chance(0.4) {
		swing = -swing
	}
	return plan{
		interval: 1, start: math.Round(float64(3600*r.between(0, 24))) / 3600,
		full: math.Round(r.ratio(1500, 4500)), pulses: 2, up: up, down: float64(up * r.between(1, 2.5)),
		dead: 0.1, bend: r.between(0.75, 1.1), control: constant(math.Round(float64(100*r.between(0.45, 1))) / 100),
		swing: swing, weather: 0.3, warmTau: 900, white: r.ratio(0.001, 0.004), roughTau: 30,
		jitter: r.ratio(0.002, 0.01), jitterSpread: r.between(0.05, 0.12), jitterWanders: 0.03,
	}
}

// day makes the room as warm and as cold as rooms become: 2 to 4 % of the speed.
func (p *plan) day(r *source, low, high float64) {
	p.swing = math.Copysign(r.between(low, high), p.swing)
}

// count makes the publisher count whole pulses.
func (p *plan) count(pulses, interval float64) {
	p.counted, p.pulses, p.interval = true, pulses, interval
}

// at makes the usual speed, at the duty that p.control first commands, about so many RPM.
func (p *plan) at(r *source, low, high float64) {
	p.full, p.control = math.Round(r.ratio(low, high)), constant(1)
}

var all = []World{
	{Name: "steady", Regime: Announced, Days: 3,
		About: "a fan at one speed in a cellar",
		plan:  func(*source, *plan) {}},
	{Name: "day", Regime: Announced, Days: 4,
		About: "2 to 4 % between night and afternoon, another weather each day",
		plan:  func(r *source, p *plan) { p.day(r, 0.02, 0.04) }},
	{Name: "office-5s", Regime: Announced, Days: 4,
		About: "3 % in office hours, every 5 s, steps of 6 RPM",
		plan: func(r *source, p *plan) {
			p.day(r, 0.025, 0.035)
			p.office = true
			p.count(2, 5)
			p.at(r, 900, 2500)
		}},
	{Name: "slow-10s", Regime: Announced, Days: 4,
		About: "every 10 s, steps of 3 RPM of 700, 2 % lost, 3 % in office hours",
		plan: func(r *source, p *plan) {
			p.day(r, 0.025, 0.035)
			p.office, p.lost = true, 0.02
			p.count(2, 10)
			p.at(r, 600, 900)
		}},
	{Name: "minute", Regime: Announced, Days: 5,
		About: "every minute, 2 to 3 % between night and afternoon",
		plan: func(r *source, p *plan) {
			p.day(r, 0.02, 0.03)
			p.interval = 60
		}},
	{Name: "duty-5", Regime: Announced, Days: 3,
		About: "five duties told, for 5 min to 1 h each",
		plan: func(r *source, p *plan) {
			p.told, p.control = true, hops(r, spread(r, 5, 0.35, 1), 300, 3600, false)
		}},
	{Name: "duty-30", Regime: Announced, Days: 3,
		About: "thirty duties told, a dead zone, every 2 s, steps of 7.5 RPM, interference",
		plan: func(r *source, p *plan) {
			p.told, p.dead, p.bursts = true, r.between(0.15, 0.25), 3
			p.control = hops(r, spread(r, 30, 0.35, 1), 120, 1800, false)
			p.count(4, 2)
		}},
	{Name: "lazy", Regime: Announced, Days: 3,
		About: "a rotor of 5 s up and 11 s down, four duties told, a bent curve, 3 % in office hours",
		plan: func(r *source, p *plan) {
			p.told, p.up, p.down = true, r.between(4, 6), r.between(9, 13)
			p.bend = r.between(0.55, 0.75)
			p.control = hops(r, spread(r, 4, 0.3, 1), 180, 2400, false)
			p.day(r, 0.025, 0.035)
			p.office = true
		}},
	{Name: "staircase", Regime: Announced, Days: 3,
		About: "12,000 RPM, every 10 s, the next of seven duties told each 15 min, heavy tails",
		plan: func(r *source, p *plan) {
			p.told, p.interval, p.tails = true, 10, 0.01
			p.control = hops(r, spread(r, 7, 0.3, 1), 880, 920, true)
			p.full = r.between(11_000, 13_000)
		}},
	{Name: "follows-told", Regime: Announced, Days: 3,
		About: "follows the temperature in steps of 1 % of duty, told; 1 in 1,000 wrong",
		plan: func(r *source, p *plan) {
			p.told, p.wrong, p.jitterSlope = true, 1./1000, r.between(0.5, 1)
			p.control = follow(r.between(0.3, 0.4), r.between(0.03, 0.05), 20)
			p.day(r, 0.01, 0.02)
		}},
	{Name: "off-told", Regime: Announced, Days: 3,
		About: "switched off by command for 2 to 40 min, every 3 hours or so",
		plan: func(r *source, p *plan) {
			p.told = true
			p.control = offNowAndThen(r, p.control, 3*3600, 120, 2400)
			p.warm = -r.between(0.005, 0.015)
		}},
	{Name: "nights-told", Regime: Announced, Days: 4,
		About: "switched off by command each night, coasts, warms up by 2 %",
		plan: func(r *source, p *plan) {
			p.told, p.down, p.warm = true, r.between(5, 12), -r.between(0.015, 0.025)
			p.control = offAtNight(r, p.control, 21.5, 6, 10)
			p.start = 8 + math.Floor(p.start/3)
		}},
	{Name: "nights-hours", Regime: Announced, Days: 4,
		About: "switched off each night untold, and its hours are configured",
		plan: func(r *source, p *plan) {
			p.down, p.warm = r.between(5, 12), -r.between(0.015, 0.025)
			p.control = offAtNight(r, p.control, 21.5, 6.5, 5)
			p.start = 8 + math.Floor(p.start/3)
			p.device.Hours = "07:00-21:00"
		}},
	{Name: "stands-still", Regime: Announced, Days: 3,
		About: "runs for 5 to 40 min, stands for as long, untold, and is configured as intermittent",
		plan: func(r *source, p *plan) {
			p.control = thermostat(r, 0, 1)
			p.device.Kind = fanwatch.FanIntermittent
		}},
	{Name: "steps-30", Regime: Announced, Days: 3,
		About: "counts two pulses each second: steps of 30 RPM",
		plan: func(r *source, p *plan) {
			p.count(2, 1)
			p.at(r, 900, 3000)
		}},
	{Name: "steps-15", Regime: Announced, Days: 3,
		About: "counts four pulses each second: steps of 15 RPM; 2 % between night and afternoon",
		plan: func(r *source, p *plan) {
			p.count(4, 1)
			p.at(r, 900, 3000)
			p.day(r, 0.015, 0.025)
		}},
	{Name: "rounded-30", Regime: Announced, Days: 3,
		About: "the publisher rounds to 30 RPM: the same reading for hours; 2 % by day",
		plan: func(r *source, p *plan) {
			p.rounded, p.white = 30, r.ratio(0.001, 0.006)
			p.at(r, 900, 3000)
			p.day(r, 0.015, 0.025)
		}},
	{Name: "steps-told", Regime: Announced, Days: 3,
		About: "steps of 30 RPM, three duties told",
		plan: func(r *source, p *plan) {
			p.count(2, 1)
			p.at(r, 1800, 3500)
			p.told, p.control = true, hops(r, spread(r, 3, 0.4, 1), 600, 5400, false)
		}},
	{Name: "wrong-2000", Regime: Announced, Days: 3,
		About: "one reading in 2,000 is doubled, halved or far too low",
		plan:  func(_ *source, p *plan) { p.wrong = 1. / 2000 }},
	{Name: "wrong-500", Regime: Announced, Days: 3,
		About: "one reading in 500 is doubled, halved or far too low; 2 % by day",
		plan: func(r *source, p *plan) {
			p.wrong = 1. / 500
			p.day(r, 0.015, 0.025)
		}},
	{Name: "restarts", Regime: Announced, Days: 3,
		About: "the publisher restarts every 3 hours or so",
		plan: func(r *source, p *plan) {
			p.restart = 3 * 3600
			p.day(r, 0.01, 0.02)
		}},
	{Name: "losses", Regime: Announced, Days: 3,
		About: "3 % of readings are lost, and all for 1 to 20 min five times a day; 3 % by day",
		plan: func(r *source, p *plan) {
			p.lost, p.outage = 0.03, 5*3600
			p.day(r, 0.025, 0.035)
		}},
	{Name: "tails", Regime: Announced, Days: 3,
		About: "heavy-tailed noise: one reading in thirty is off by 2 %",
		plan:  func(r *source, p *plan) { p.tails, p.jitterSpread = r.between(0.015, 0.025), 0.14 }},
	{Name: "rough", Regime: Announced, Days: 3,
		About: "noise that wanders over half a minute, and over minutes",
		plan: func(r *source, p *plan) {
			p.rough, p.roughTau = r.between(0.002, 0.004), r.between(15, 120)
			p.day(r, 0.01, 0.02)
		}},
	{Name: "blower", Regime: Announced, Days: 3,
		About: "a blower on the mains, spread 0.05 %",
		plan: func(r *source, p *plan) {
			p.white, p.jitter = 0.0005, r.ratio(0.0008, 0.002)
			p.day(r, 0.003, 0.006)
			p.at(r, 2700, 2950)
		}},
	{Name: "noisy-600", Regime: Announced, Days: 3,
		About: "600 RPM with 2 % white noise",
		plan: func(r *source, p *plan) {
			p.white, p.jitterSpread = 0.02, 0.14
			p.at(r, 560, 680)
		}},
	{Name: "supply", Regime: Announced, Days: 3,
		About: "steps of the supply of up to 1 % every 40 min or so, heavy tails",
		plan: func(r *source, p *plan) {
			p.tails = 0.008
			p.loads = []load{supplySteps(r, 0.01, 2400)}
		}},
	{Name: "three-wire", Regime: Announced, Days: 3,
		About: "no jitter is measured, warms up by 3 % from cold, 2 to 3 % by day",
		plan: func(r *source, p *plan) {
			p.jitter, p.cold, p.warm, p.warmTau = 0, true, -r.between(0.02, 0.035), r.between(600, 1500)
			p.day(r, 0.02, 0.03)
		}},
	{Name: "interference", Regime: Announced, Days: 3,
		About: "four bursts of interference an hour: false pulses and jitter for a second or two",
		plan: func(r *source, p *plan) {
			p.bursts = 4
			p.day(r, 0.01, 0.02)
		}},
	{Name: "messy", Regime: Announced, Days: 4,
		About: "every 5 s, five duties told, 3 % in office hours, 1 in 1,000 wrong, 2 % lost, restarts, rough noise",
		plan: func(r *source, p *plan) {
			p.interval, p.told, p.office = 5, true, true
			p.control = hops(r, spread(r, 5, 0.35, 1), 600, 4*3600, false)
			p.day(r, 0.025, 0.035)
			p.wrong, p.lost, p.restart = 1./1000, 0.02, 8*3600
			p.rough, p.roughTau = 0.002, 60
		}},
	{Name: "legacy", Regime: Announced, Days: 3,
		About: "in the wire format of 2019: whole RPM every 2 s, no PWM, no jitter, no sequence number; 2 % by day",
		plan: func(r *source, p *plan) {
			p.legacy, p.interval, p.rounded, p.jitter, p.lost = true, 2, 1, 0, 0.01
			p.day(r, 0.015, 0.025)
		}},
	{Name: "hall", Regime: Announced, Days: 4, Fans: 6,
		About: "six fans in one hall, every 5 s, 2 to 4 % between night and afternoon",
		plan: func(r *source, p *plan) {
			p.interval, p.weather = 5, 0.4
			p.day(r, 0.02, 0.04)
		}},

	{Name: "load-steps", Regime: Unannounced, Days: 3,
		About: "a load of 4 % comes and goes each hour",
		plan:  func(r *source, p *plan) { p.loads = []load{loadSteps(r, 0.04, 3600)} }},
	{Name: "load-noisy", Regime: Unannounced, Days: 3,
		About: "a load of 4.5 % comes and goes, steps of 15 RPM of 1,500, 1 in 500 wrong",
		plan: func(r *source, p *plan) {
			p.count(4, 1)
			p.at(r, 1400, 1700)
			p.wrong, p.white = 1./500, 0.004
			p.loads = []load{loadSteps(r, 0.045, 3000)}
		}},
	{Name: "thermostat", Regime: Unannounced, Days: 3,
		About: "a thermostat changes between two speeds, untold",
		plan:  func(r *source, p *plan) { p.control = thermostat(r, r.between(0.45, 0.6), r.between(0.8, 1)) }},
	{Name: "by-hand", Regime: Unannounced, Days: 6,
		About: "two speeds, changed by hand once a day, untold",
		plan:  func(r *source, p *plan) { p.control = byHand(r, r.between(0.45, 0.6), r.between(0.75, 1)) }},
	{Name: "by-hand-30", Regime: Unannounced, Days: 6,
		About: "two speeds of about 1,400 RPM in steps of 30, changed by hand, interference, 2 % lost",
		plan: func(r *source, p *plan) {
			p.count(2, 1)
			p.at(r, 1500, 1800)
			p.control = byHand(r, r.between(0.5, 0.6), r.between(0.8, 0.95))
			p.bursts, p.lost = 2, 0.02
		}},
	{Name: "untold-3", Regime: Unannounced, Days: 4,
		About: "three levels at odd times, untold, no jitter, heavy tails, warms up by 3 %",
		plan: func(r *source, p *plan) {
			p.jitter, p.tails, p.cold, p.warm = 0, 0.01, true, -0.03
			p.control = hops(r, spread(r, 3, 0.4, 1), 600, 4*3600, false)
		}},
	{Name: "untold-5", Regime: Unannounced, Days: 3,
		About: "five levels for 5 min to 1 h each, untold",
		plan:  func(r *source, p *plan) { p.control = hops(r, spread(r, 5, 0.35, 1), 300, 3600, false) }},
	{Name: "follows", Regime: Unannounced, Days: 3,
		About: "follows the temperature in steps of 1 % of duty, untold; 1 in 1,000 wrong",
		plan: func(r *source, p *plan) {
			p.wrong, p.jitterSlope = 1./1000, r.between(0.5, 1)
			p.control = follow(r.between(0.3, 0.4), r.between(0.03, 0.05), 20)
		}},
	{Name: "said-normal", Regime: Said, Days: 4, Verdict: fanwatch.VerdictNormal,
		About: "a load of 7 to 12 % for 40 to 60 min, twice a day, untold; a person calls the first alert normal",
		plan:  func(r *source, p *plan) { p.loads = []load{visits(r, r.between(0.07, 0.12))} }},
	{Name: "nights", Regime: Nights, Days: 6,
		About: "switched off each night, untold, coasts, warms up by 2 %",
		plan: func(r *source, p *plan) {
			p.down, p.warm = r.between(5, 12), -r.between(0.015, 0.025)
			p.control = offAtNight(r, p.control, 21.5, 6, 8)
			p.start = 8 + math.Floor(p.start/3)
		}},
}
