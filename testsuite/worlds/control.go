package worlds

import "math"

// surroundings are what a controller can see.
type surroundings struct {
	now  float64 // seconds since the world's beginning
	hour float64 // time of day, hours
	day  int     // days since the world's first midnight
	temp float64 // Celsius
}

// A controller returns the duty cycle, 0..1, that it commands. It is asked once a reading, in order of time.
type controller func(at surroundings) float64

// constant commands one duty for ever.
func constant(duty float64) controller { return func(surroundings) float64 { return duty } }

// hops stays at one of the duties for a time between low and high seconds, then goes to another one. inTurn goes
// through them in order.
func hops(r *source, duties []float64, low, high float64, inTurn bool) controller {
	at, until := r.below(len(duties)), r.between(0, high)
	return func(s surroundings) float64 {
		if s.now >= until {
			until = s.now + r.between(low, high)
			if inTurn {
				at = (at + 1) % len(duties)
			} else {
				at = (at + 1 + r.below(len(duties)-1)) % len(duties)
			}
		}
		return duties[at]
	}
}

// spread returns n duties between low and high, each moved a little, the lowest first.
func spread(r *source, n int, low, high float64) []float64 {
	duties := make([]float64, n)
	for i := range duties {
		step := (high - low) / float64(n-1)
		duties[i] = min(1, math.Round(100*(low+float64(step*(float64(i)+r.between(-0.15, 0.15)))))/100)
	}
	return duties
}

// byHand changes to the other of two duties once a day, at a time of the working day.
func byHand(r *source, a, b float64) controller {
	if r.chance(0.5) {
		a, b = b, a
	}
	at, next, day := a, -1.0, 0
	return func(s surroundings) float64 {
		if next < 0 || s.day > day {
			day, next = s.day, r.between(7, 19)
			if s.now == 0 || s.hour > next {
				next = 25
			}
		}
		if s.hour >= next {
			next = 25
			if at == a {
				at = b
			} else {
				at = a
			}
		}
		return at
	}
}

// follow commands a duty that rises with temperature, in whole percents with a hysteresis of half a percent.
func follow(low, perDegree, from float64) controller {
	at := -1.0
	return func(s surroundings) float64 {
		want := max(low, min(1, low+float64(perDegree*(s.temp-from))))
		if math.Abs(want-at) > 0.0105 {
			at = math.Round(want*100) / 100
		}
		return at
	}
}

// thermostat switches to the high duty when what it cools is hot, and back when it is cool. The cooled thing is heated
// by a load that changes with the hours and is cooled by the fan.
func thermostat(r *source, low, high float64) controller {
	heat, hot := r.uniform(), false
	rise, fall := 1/r.between(600, 2400), 1/r.between(400, 1500)
	load, until, last := 1.0, 0.0, 0.0
	return func(s surroundings) float64 {
		if s.now >= until {
			load, until = r.between(0.6, 1.4), s.now+r.wait(3600)
		}
		dt := s.now - last
		last = s.now
		if hot {
			heat -= float64(dt * fall / load)
		} else {
			heat += float64(dt * rise * load)
		}
		if heat > 1 {
			hot = true
		} else if heat < 0 {
			hot = false
		}
		if hot {
			return high
		}
		return low
	}
}

// offAtNight commands 0 from about the evening hour to about the morning hour, and what the other commands between
// them. Each day has its own minutes.
func offAtNight(r *source, other controller, evening, morning, minutes float64) controller {
	off, on, day := evening, morning, -1
	return func(s surroundings) float64 {
		if s.day != day {
			day = s.day
			on = morning + float64(r.normal()*minutes/60)
			off = evening + float64(r.normal()*minutes/60)
		}
		if duty := other(s); s.hour >= on && s.hour < off {
			return duty
		}
		return 0
	}
}

// offNowAndThen commands 0 for some minutes, every few hours, and what the other commands between.
func offNowAndThen(r *source, other controller, every, low, high float64) controller {
	off, next := false, r.wait(every)
	return func(s surroundings) float64 {
		if s.now >= next {
			off = !off
			next = s.now + r.wait(every)
			if off {
				next = s.now + r.between(low, high)
			}
		}
		if duty := other(s); !off {
			return duty
		}
		return 0
	}
}

// A load returns what is added to the logarithm of the speed. It is asked once a reading, in order of time.
type load func(now float64) float64

// loadSteps lowers the speed by the given part, and raises it again, about every so many seconds.
func loadSteps(r *source, part, every float64) load {
	low, next := false, r.between(0.2, 1)*every
	return func(now float64) float64 {
		if now >= next {
			low = !low
			next = now + float64(r.between(0.75, 1.25)*every)
		}
		if low {
			return -part
		}
		return 0
	}
}

// visits lowers the speed by the given part for 40 to 60 min, after 10 to 13 hours each time.
func visits(r *source, part float64) load {
	low, next := false, r.between(10, 13)*3600
	return func(now float64) float64 {
		if now >= next {
			if low = !low; low {
				next = now + float64(r.between(40, 60)*60)
			} else {
				next = now + float64(r.between(10, 13)*3600)
			}
		}
		if low {
			return -part
		}
		return 0
	}
}

// supplySteps moves the supply by steps of up to the given part, and no further than that, about every so many seconds.
func supplySteps(r *source, part, every float64) load {
	at, next := 0.0, r.wait(every)
	return func(now float64) float64 {
		if now >= next {
			next = now + r.wait(every)
			at = max(-part, min(part, at+r.between(-part, part)))
		}
		return at
	}
}
