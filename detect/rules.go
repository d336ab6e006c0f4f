package detect

import (
	"fmt"

	"fanwatch"
)

const (
	limitsEnter = 2  // readings in a row outside a hard limit
	noSignalFor = 5  // readings in a row without any edge since the publisher started
	stillFor    = 5  // readings in a row at 0 RPM that the publisher calls running
	startingFor = 30 // likewise starting
)

// hard applies the rules that need no forest.
func (f *fan) hard(r fanwatch.Reading) fanwatch.Anomaly {
	s, d, base := &f.st, &f.device, f.st.base()
	lowest, what, mend := d.Limits.MinRPM, "the limit", ""
	if lowest == 0 && base.begun() && s.Settle == 0 {
		lowest, what = base.Level/2, "half of its usual speed"
		mend = fmt.Sprintf(" If it is to run like this: fanwatch configure %s --relearn.", d.Fan)
	}
	count(&s.Under, r.State != fanwatch.NoSignal && r.RPM < lowest)
	count(&s.Over, d.Limits.MaxRPM > 0 && r.RPM > d.Limits.MaxRPM)
	count(&s.Absent, r.State == fanwatch.NoSignal)
	count(&s.Still, r.RPM == 0 && (r.State == fanwatch.Running || r.State == fanwatch.Starting))
	same := s.Repeats.take(r)
	switch {
	case r.State == fanwatch.Stalled && base.begun():
		return fanwatch.Anomaly{Kind: fanwatch.Stall, Why: fmt.Sprintf("%s has stopped: 0 RPM where %.0f RPM is usual.", d.Fan, base.Level)}
	case r.State == fanwatch.Stalled:
		return fanwatch.Anomaly{Kind: fanwatch.Stall, Why: fmt.Sprintf("%s has stopped: 0 RPM.", d.Fan)}
	case s.Absent >= noSignalFor:
		return fanwatch.Anomaly{Kind: fanwatch.Stall, Why: fmt.Sprintf("%s gives no tacho pulse: it does not turn or its tacho wire is off.", d.Fan)}
	case s.Still >= startingFor || s.Still >= stillFor && r.State == fanwatch.Running:
		return fanwatch.Anomaly{Kind: fanwatch.Stall,
			Why: fmt.Sprintf("%s does not turn: 0 RPM in %d readings in a row, though its publisher calls it %s.", d.Fan, s.Still, r.State)}
	case s.Under >= limitsEnter:
		return fanwatch.Anomaly{Kind: fanwatch.Underspeed, Threshold: lowest,
			Why: fmt.Sprintf("%s turns too slowly: %.0f RPM, below %s of %.0f RPM.%s", d.Fan, r.RPM, what, lowest, mend)}
	case s.Over >= limitsEnter:
		return fanwatch.Anomaly{Kind: fanwatch.Overspeed, Threshold: d.Limits.MaxRPM,
			Why: fmt.Sprintf("%s turns too fast: %.0f RPM, above the limit of %.0f RPM.", d.Fan, r.RPM, d.Limits.MaxRPM)}
	case s.Repeats.frozen() || same && s.Current.Kind == fanwatch.Frozen:
		return fanwatch.Anomaly{Kind: fanwatch.Frozen, Why: fmt.Sprintf(
			"%s reports %.1f RPM again and again (%d times, to the digit) where it used to vary: its publisher may repeat an old value while the fan stands still.",
			d.Fan, r.RPM, s.Repeats.Streak+1)}
	}
	return fanwatch.Anomaly{}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	} else {
		*n = 0
	}
}
