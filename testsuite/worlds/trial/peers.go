package trial

import (
	"math"

	"fanwatch"
	"fanwatch/rcf"
)

// The peers know one severity: whatever they find pages. Their trouble begins and ends with single readings.

// rule finds trouble in one reading.
type rule func(r *fanwatch.Reading) fanwatch.Kind

// peer makes changes of what a rule for each fan finds.
type peer struct {
	rules   map[string]rule
	now     map[string]fanwatch.Kind
	changes []Change
}

// peers returns the maker of a peer, of which each fan has a rule.
func peers(newRule func() rule) maker {
	return func(devices []fanwatch.Device) (Judge, error) {
		p := &peer{rules: map[string]rule{}, now: map[string]fanwatch.Kind{}}
		for _, d := range devices {
			p.rules[d.Fan] = newRule()
		}
		return p, nil
	}
}

func (p *peer) Feed(r *fanwatch.Reading) error {
	if found := p.rules[r.Fan](r); found != p.now[r.Fan] {
		p.now[r.Fan] = found
		c := Change{Fan: r.Fan, Time: r.Time, Kind: found}
		if found != fanwatch.KindNone {
			c.Severity, c.Why = fanwatch.SeverityWarning, string(found)
		}
		p.changes = append(p.changes, c)
	}
	return nil
}

func (p *peer) Changes() ([]Change, error) { return p.changes, nil }

// newScore6 is the rule of 2019: RANDOM_CUT_FOREST of Kinesis over speed and jitter, and a score above 6.
func newScore6() rule {
	forest, err := rcf.NewKDA(rcf.KDAConfig{Dimensions: 2, Seed: 1})
	if err != nil {
		panic("trial: " + err.Error()) // a fixed configuration
	}
	return func(r *fanwatch.Reading) fanwatch.Kind {
		if score, err := forest.Process([]float64{r.RPM, r.Jitter}); err != nil || score <= 6 {
			return fanwatch.KindNone
		}
		return fanwatch.KindUnusual
	}
}

// newBands is a rule with fixed bands: below 90, 75 and 50 % of the first hour's mean.
func newBands() rule {
	var n, mean, first float64
	return func(r *fanwatch.Reading) fanwatch.Kind {
		at := float64(r.Time.Unix())
		if n == 0 {
			first = at
		}
		if at-first < 3600 && r.RPM > 0 {
			n++
			mean += (r.RPM - mean) / n
		}
		switch part := r.RPM / max(mean, 1); {
		case r.RPM == 0:
			return fanwatch.KindStall
		case part < 0.5:
			return fanwatch.KindUnderspeed
		case part < 0.9:
			return fanwatch.KindSpeed
		}
		return fanwatch.KindNone
	}
}

// newChart is a control chart of the speed: Shewhart's limits of six deviations, and an EWMA of 0.2 with six of its
// own. What is usual is the first 20 minutes, and follows with an hour while the fan is in control.
func newChart() rule {
	const lambda, limit = 0.2, 6
	var n, mean, variance, ewma, first, last float64
	return func(r *fanwatch.Reading) fanwatch.Kind {
		at := float64(r.Time.Unix())
		if n == 0 {
			first, last, mean, ewma = at, at, r.RPM, r.RPM
		}
		dt := at - last
		last = at
		n++
		d := r.RPM - mean
		if at-first < 1200 {
			mean += d / n
			variance += (d*(r.RPM-mean) - variance) / n
			ewma = mean
			return fanwatch.KindNone
		}
		sd := math.Sqrt(variance)
		ewma += lambda * (r.RPM - ewma)
		if math.Abs(d) > limit*sd || math.Abs(ewma-mean) > limit*sd*math.Sqrt(lambda/(2-lambda)) {
			return fanwatch.KindSpeed
		}
		gain := min(1, dt/3600)
		mean += gain * d
		variance += gain * (d*d - variance)
		return fanwatch.KindNone
	}
}
