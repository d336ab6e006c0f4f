package detect

import (
	"cmp"
	"fmt"
	"time"

	"fanwatch"
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

// Fact is one thing that a decision rests on.
type Fact struct {
	Name  string `json:"name"`            // of the test, counter or budget
	Value string `json:"value,omitempty"` // as it is, with its unit
	Bar   string `json:"bar,omitempty"`   // what it is held against
	Text  string `json:"text,omitempty"`  // what comes of it
}

// Why explains the newest judged reading of a fan. ok is false when there is none.
func (m *Models) Why(name string) (e Explanation, ok bool) {
	f := m.fans[name]
	if f == nil || f.last.Position.Sequence == "" {
		return e, false
	}
	e = Explanation{Fan: name, Time: f.last.Time, RPM: f.last.RPM, Verdict: cmp.Or(string(f.st.Current.Kind), "normal"),
		States: []fanwatch.Observation{f.last}, Facts: []Fact{
			{Name: "readings learned", Value: fmt.Sprint(f.st.Learned), Bar: fmt.Sprint(m.cfg.Warmup)},
			{Name: "score", Value: fmt.Sprintf("%.2f", f.last.Anomaly.Score),
				Text: "the forest's, of the reading alone"},
		}}
	return e, true
}
