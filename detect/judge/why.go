package judge

import (
	"fmt"
	"time"

	"fanwatch/rcf"
)

// Sentence returns what a finding of the newest reading says to people: what, how far from what is expected, since
// when, and a likely cause.
func (f *Fan) Sentence(n Finding) string {
	return f.device.Fan + " " + f.sentence(n)
}

func (f *Fan) sentence(n Finding) string {
	switch n.Test {
	case testStopped, testNoPulse, testStill:
		return f.stallSentence(n)
	case testMin:
		return fmt.Sprintf("turns too slowly: %.0f RPM, below the limit of %.0f RPM.", n.Value, n.Bar)
	case testMax:
		return fmt.Sprintf("turns too fast: %.0f RPM, above the limit of %.0f RPM.", n.Value, n.Bar)
	case testHalf:
		return fmt.Sprintf("turns too slowly: %.0f RPM, below half of its usual speed of %.0f RPM.%s", n.Value, n.Expected,
			f.toKeep())
	case testFast, testSlow:
		low, high := f.bandOf()
		return fmt.Sprintf("turns %s by %.1f %% than expected: %.0f RPM where %.0f RPM (%.0f to %.0f) is usual%s: %s.%s",
			slower(n.By), 100*abs(n.By), n.Value, n.Expected, low, high, f.atDuty(), speedCause(n.By), f.toKeep())
	case testJitter:
		return fmt.Sprintf("has pulses that jitter by %.2f %%, %.1f times the usual %.2f %%: a bearing that wears, or "+
			"a loose "+
			"tacho wire.", 100*n.Value, n.By, 100*n.Expected)
	case testWobble:
		return fmt.Sprintf("swings in speed from reading to reading, %.1f times as much as usual: unsteady air, a supply "+
			"that surges, or a rotor that rubs.", n.By)
	case testChanges:
		return fmt.Sprintf("hunts: it changed between speeds %.0f times within minutes, more often than usual: a controller "+
			"at its limit, or a bad contact.", n.By)
	case testCusum:
		return fmt.Sprintf("is %s by %.1f %% than its days explain, in %.1f h: %s.", slower(n.By), 100*abs(n.By),
			max(0, float64(f.s.Last-n.Since)/3600e6), driftCause(n.By))
	case testWeek:
		return fmt.Sprintf("is %s by %.1f %% than in the week before: %s.", slower(n.By), 100*abs(n.By), driftCause(n.By))
	}
	return "is normal again."
}

func (f *Fan) stallSentence(n Finding) string {
	text := ""
	switch {
	case n.Test == testNoPulse:
		text = "gives no tacho pulse: it does not turn or its tacho wire is off."
	case n.Test == testStill:
		text = fmt.Sprintf("does not turn: 0 RPM in %d readings in a row, though its publisher calls it %s.",
			f.s.Limits.Still, f.last.reading.State)
	case n.Expected > 0:
		text = fmt.Sprintf("has stopped: 0 RPM where %.0f RPM is usual.", n.Expected)
	default:
		text = "has stopped: 0 RPM."
	}
	return text + f.habit()
}

// habit returns a sentence that names the command by which long stops at the same hours are no trouble; "" where there
// are none.
func (f *Fan) habit() string {
	from, to, ok := f.nightly()
	if !ok {
		return ""
	}
	return fmt.Sprintf(" Its last three long stops began at about %s and ended at about %s. If it is switched off then: "+
		"fanwatch configure %s --hours %s-%s.", clock(from), clock(to), f.device.Fan, clock(to), clock(from))
}

func (f *Fan) bandOf() (low, high float64) {
	l := &f.s.Level
	e := l.expected(f.last.x, l.Table[l.At].Offset)
	return e * rcf.Exp(-f.last.view.band), e * rcf.Exp(f.last.view.band)
}

func (f *Fan) atDuty() string {
	if !f.s.Command.Known {
		return ""
	}
	return fmt.Sprintf(" at %.0f %% PWM", 100*f.s.Command.Duty)
}

// toKeep returns the sentence that names the command by which the speed becomes usual.
func (f *Fan) toKeep() string {
	return fmt.Sprintf(" If it is to run like this: fanwatch ack %s --normal.", f.device.Fan)
}

func slower(by float64) string {
	if by < 0 {
		return "slower"
	}
	return "faster"
}

func abs(x float64) float64 { return max(x, -x) }

func speedCause(by float64) string {
	if by < 0 {
		return "a rotor that rubs, a low supply, a filter or inlet that changed, or a load that fanwatch is not told of"
	}
	return "a blocked inlet or a lost filter, a high supply, or a load that fanwatch is not told of"
}

func driftCause(by float64) string {
	if by < 0 {
		return "dust, a drying bearing or a dying capacitor"
	}
	return "a duct or filter that clogs or was taken out, or a supply that rises"
}

// Fact is one thing that a decision rests on: a test, a counter or a budget.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // as it is, with its unit
	Bar   string `json:"bar,omitempty"`   // what it is held against
	Text  string `json:"text,omitempty"`  // what comes of it
}

// Facts returns the figures behind the verdict on the newest reading, of this process's life: tests, counters and the
// novelty budget.
func (f *Fan) Facts() []Fact {
	s, l, at, x := &f.s, &f.s.Level, f.last.view, f.last.x
	pct := func(v float64) string { return fmt.Sprintf("%+.2f %%", 100*v) }
	wide := func(v float64) string { return fmt.Sprintf("%.2f %%", 100*v) }
	bar := func(on float64) string { return fmt.Sprintf("%.2f", on) }
	facts := []Fact{
		{"age", (time.Duration(s.Age) * time.Second).String(), "", "time of readings that turned; in the first " +
			"5 min the band is 5 % wider"},
		{"interval", fmt.Sprintf("%.1f s", s.Interval), "", "usual time between two readings"},
		{"grain", fmt.Sprintf("%.1f RPM", s.Grain.Q), "", "step in which the speeds come; 0: none"},
	}
	if s.Stop.Now {
		return append(facts, Fact{"stop", (time.Duration(s.Stop.For) * time.Second).String(), "",
			"stands still; stopped, off and starting are as they may be"})
	}
	if !x.known {
		return append(facts, Fact{"curve", "unknown", "", "no speed is expected yet"})
	}
	facts = append(facts,
		Fact{"duty", fmt.Sprintf("%.0f %%", 100*x.u), "", "that the rotor has reached; 100 % where none is told"},
		Fact{"unsettled", wide(x.unsettled), "", "how far the rotor's lag leaves the speed open"},
		Fact{"unsure", wide(x.unsure), "", "how far a duty that is hardly known leaves it open"},
		Fact{"base", pct(l.Base), wide(weekFloor), "what moves all speeds alike, such as the temperature; beside the " +
			"week's " + pct(l.Slow)},
		Fact{"distance", pct(at.distance), wide(at.band), "of the speed from its level; 3 of 4 readings beyond the bar " +
			"leave it"},
		Fact{"mean", pct(l.Mean), wide(at.band2), "of the distance over a minute; 10 s beyond the bar leave the level"},
		Fact{"sigma", wide(at.sigma), "", "usual deviation of the distance"})
	for i, q := range l.Table[:l.Count] {
		is := "seen"
		switch {
		case q.Fault:
			is = "called a fault"
		case q.Known:
			is = "known"
		}
		facts = append(facts, Fact{fmt.Sprintf("level %d", i), pct(q.Offset), "",
			fmt.Sprintf("%s, %d visits, %s in all", is, q.Visits, time.Duration(q.Seconds)*time.Second)})
	}
	if l.Away {
		facts = append(facts, Fact{"away", (time.Duration(l.AwayFor) * time.Second).String(),
			fmt.Sprintf("%.0f s", f.s.wait(&at)), "time away from every known level; told of from the bar on, unless quiet"},
			Fact{"candidate", pct(l.Candidate), "", fmt.Sprintf("held for %s; told: %t",
				time.Duration(l.Held)*time.Second, l.Told)})
	}
	facts = append(facts,
		Fact{"novelty", bar(l.Novel), bar(quietAt), "novel speeds, fading over 7 h; from the bar on another one within " +
			"the range of those seen is quiet"},
		Fact{"changes", bar(l.Changes), bar(max(huntLeast, 3*l.Usual)), "of level, fading over 3 min"})
	if f.last.excess.judged {
		facts = append(facts, Fact{"jitter", fmt.Sprintf("x%.2f", rcf.Exp(f.last.excess.ratio)),
			fmt.Sprintf("x%.2f", rcf.Exp(f.last.excess.bar)), "over the usual, mean of 15 s"})
	}
	facts = append(facts, Fact{"wobble", wide(s.Wobble.Now), wide(f.last.wobble), "from reading to reading, mean of 16"},
		Fact{"cusum", fmt.Sprintf("%.1f down, %.1f up", s.Drift.Down, s.Drift.Up), bar(driftBar), "of blocks of 5 min " +
			"against what the days foretell; " + fmt.Sprintf("%.0f blocks known", s.Drift.N)})
	return facts
}
