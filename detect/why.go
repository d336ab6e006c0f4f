package detect

import (
	"fmt"
	"time"

	"fanwatch"
	"fanwatch/detect/judge"
)

// Explanation says how the newest judged reading of a fan was judged.
type Explanation struct {
	Fan      string    `json:"fan"`
	Time     time.Time `json:"time"` // of the reading
	RPM      float64   `json:"rpm"`
	Expected float64   `json:"expected"` // this and the four below as in fanwatch.Judged
	Low      float64   `json:"low"`
	High     float64   `json:"high"`
	Level    int32     `json:"level"`
	Verdict  string    `json:"verdict"`
	// States are the states of the families that are in trouble, or of the fan where none is.
	States []fanwatch.Observation `json:"states"`
	Facts  []Fact                 `json:"facts"` // tests, counters and budgets
}

// Fact is one thing that a decision rests on: a test, a counter or a budget.
type Fact = judge.Fact

// Why explains the newest judged reading of a fan. ok is false when there is none.
func (m *Models) Why(name string) (e Explanation, ok bool) {
	f := m.fans[name]
	if f == nil || f.last.Position.Sequence == "" {
		return e, false
	}
	j, s := f.judged, &f.st.Forest
	e = Explanation{Fan: name, Time: f.last.Time, RPM: f.last.RPM, Expected: j.Expected, Low: j.Low, High: j.High,
		Level: j.Level, Verdict: j.Verdict}
	for i := range families {
		if o := f.stateOf(i); o.Anomaly.Kind != fanwatch.KindNone {
			e.States = append(e.States, o)
		}
	}
	if len(e.States) == 0 {
		e.States = []fanwatch.Observation{f.last}
	}
	e.Facts = append(f.judge.Facts(),
		Fact{Name: "score", Value: fmt.Sprintf("%.2f", medianOf3(s.Scores[0], s.Scores[1], s.Scores[2])),
			Bar: fmt.Sprintf("%.2f", s.threshold()), Text: fmt.Sprintf("by the forest, median of 3, usually %.2f; "+
				"%d readings learned of %d that it needs", s.Usual.Mean, s.Learned, m.cfg.Warmup)})
	if p := f.paused(f.last.Time); f.kept != nil && p != nil {
		e.Facts = append(e.Facts, Fact{Name: "maintenance", Value: p.Maintenance,
			Text: "readings until " + p.To.UTC().Format(time.RFC3339) + " are judged and not learned"})
	}
	for _, s := range f.st.Suggestions {
		e.Facts = append(e.Facts, Fact{Name: "suggestion", Value: string(s.Kind), Text: s.Text +
			" If it is to be so: fanwatch configure " + name + " --accept."})
	}
	return e, true
}
