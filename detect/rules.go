package detect

import (
	"fmt"

	"fanwatch"
)

const (
	limitsEnter = 2  // readings in a row outside a hard limit that are an anomaly
	noSignalFor = 5  // readings in a row with StateNoSignal that are a stall
	stillFor    = 5  // readings in a row at 0 RPM with StateRunning that are a stall
	startingFor = 30 // readings in a row at 0 RPM with StateStarting that are a stall
)

// hardRules returns what the rules that need no forest find.
func (f *fan) hardRules(r fanwatch.Reading) fanwatch.Anomaly {
	s, limits, base := &f.st, f.device.Limits, f.st.base()
	lowest, learned := limits.MinRPM, false
	if lowest == 0 && base.begun() && s.Settling == 0 {
		lowest, learned = base.Level/2, true
	}
	count(&s.Under, r.State != fanwatch.StateNoSignal && r.RPM < lowest)
	count(&s.Over, limits.MaxRPM > 0 && r.RPM > limits.MaxRPM)
	count(&s.Absent, r.State == fanwatch.StateNoSignal)
	count(&s.Still, r.RPM == 0 && (r.State == fanwatch.StateRunning || r.State == fanwatch.StateStarting))
	same := s.Repeats.add(r)
	found := func(kind fanwatch.Kind, threshold float64, why string, args ...any) fanwatch.Anomaly {
		return fanwatch.Anomaly{Kind: kind, Threshold: threshold, Why: f.device.Fan + " " + fmt.Sprintf(why, args...)}
	}
	switch {
	case r.State == fanwatch.StateStalled && base.begun():
		return found(fanwatch.KindStall, 0, "has stopped: 0 RPM where %.0f RPM is usual.", base.Level)
	case r.State == fanwatch.StateStalled:
		return found(fanwatch.KindStall, 0, "has stopped: 0 RPM.")
	case s.Absent >= noSignalFor:
		return found(fanwatch.KindStall, 0, "gives no tacho pulse: it does not turn or its tacho wire is off.")
	case s.Still >= startingFor || s.Still >= stillFor && r.State == fanwatch.StateRunning:
		return found(fanwatch.KindStall, 0, "does not turn: 0 RPM in %d readings in a row, though its publisher calls it %s.",
			s.Still, r.State)
	case s.Under >= limitsEnter && learned:
		return found(fanwatch.KindUnderspeed, lowest, "turns too slowly: %.0f RPM, below half of its usual speed of "+
			"%.0f RPM.%s",
			r.RPM, lowest, f.relearn())
	case s.Under >= limitsEnter:
		return found(fanwatch.KindUnderspeed, lowest, "turns too slowly: %.0f RPM, below the limit of %.0f RPM.", r.RPM,
			lowest)
	case s.Over >= limitsEnter:
		return found(fanwatch.KindOverspeed, limits.MaxRPM, "turns too fast: %.0f RPM, above the limit of %.0f RPM.",
			r.RPM, limits.MaxRPM)
	case s.Repeats.frozen() || same && s.Current.Kind == fanwatch.KindFrozen:
		return found(fanwatch.KindFrozen, 0, "reports %.1f RPM again and again (%d times, to the digit) where it used "+
			"to vary: "+
			"its publisher may repeat an old value while the fan stands still.", r.RPM, s.Repeats.Streak+1)
	}
	return fanwatch.Anomaly{}
}

// relearn returns the sentence that names the command by which an operator makes the speed usual.
func (f *fan) relearn() string {
	return fmt.Sprintf(" If it is to run like this: fanwatch configure %s --relearn.", f.device.Fan)
}

func count(n *int, yes bool) {
	if yes {
		*n++
	} else {
		*n = 0
	}
}
