package policy

import (
	"slices"
	"time"

	"fanwatch"
)

// Turn is one notification of a step that is to come while no one answers.
type Turn struct {
	Step   int           `json:"step"`             // from 1
	Repeat int           `json:"repeat,omitempty"` // of the step, from 1; 0 = the first
	At     time.Time     `json:"at"`
	After  time.Duration `json:"after_ns"` // since the opening
	To     []Recipient   `json:"to"`
	// Because says why the turn waited, such as for the end of quiet hours; "" = it did not.
	Because string `json:"because,omitempty"`
}

// Forecast is what would become of an alert that opens at a time and that no one answers.
type Forecast struct {
	Policy   fanwatch.Policy   `json:"policy"`   // as it is at the opening
	Severity fanwatch.Severity `json:"severity"` // as told: the judge's, or that of a route
	Turns    []Turn            `json:"turns"`    // in order; none for SeverityInfo
	Morning  time.Time         `json:"morning,omitzero"`
	Digest   []Recipient       `json:"digest,omitempty"` // who reads of SeverityInfo at Morning
}

// Forecast says who would be told of the alert if it opened at the time, each turn by the rotation of its own time.
// Maintenances and incidents are not in it.
func (f *File) Forecast(a fanwatch.Alert, at time.Time) (Forecast, error) {
	p, err := f.Resolve(a, at)
	if err != nil {
		return Forecast{}, err
	}
	out := Forecast{Policy: p, Severity: p.Severity, Turns: []Turn{}}
	if out.Severity == "" {
		out.Severity = judged(a)
	}
	if out.Severity == fanwatch.SeverityInfo {
		if p.Info != nil {
			if _, out.Morning, err = p.Info.Elapsed(at, at); err != nil {
				return out, err
			}
			out.Digest = f.recipients(f.policies[p.Name].info.notify, out.Morning)
		}
		return out, nil
	}
	t := at
	for i := 0; i < len(p.Steps); i++ {
		t = t.Add(time.Duration(p.Steps[i].After))
		for repeat := 0; i < len(p.Steps) && repeat <= p.Steps[i].Repeat; repeat++ {
			if repeat > 0 {
				t = t.Add(time.Duration(p.Steps[i].Every))
			}
			because := ""
			if p, err = f.Resolve(a, t); err == nil && p.NotBefore.After(t) {
				t, because = p.NotBefore, p.Because
				p, err = f.Resolve(a, t)
			}
			if err != nil {
				return out, err
			}
			if i < len(p.Steps) { // the policy of that hour has the step
				out.Turns = append(out.Turns, Turn{Step: i + 1, Repeat: repeat, At: t, After: t.Sub(at),
					To: f.recipients(f.policies[p.Name].steps[i].notify, t), Because: because})
			}
		}
	}
	return out, nil
}

// Same reports whether two turns tell the same recipients of the same step.
func (t Turn) Same(other Turn) bool {
	return t.Step == other.Step && t.Because == other.Because && slices.Equal(t.To, other.To)
}
