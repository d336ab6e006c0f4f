package fanwatch

import (
	"testing"
	"time"
)

// TestTheMorningIsByItsZone: at the same time of day where the clock is put forward, and once for days that were
// missed.
func TestTheMorningIsByItsZone(t *testing.T) {
	m := Morning{Zone: "Europe/Berlin"}
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for after, want := range map[string]string{
		"2026-03-28T06:59:59Z": "2026-03-28T07:00:00Z", // 08:00 in winter
		"2026-03-28T07:00:00Z": "2026-03-29T06:00:00Z", // and in summer
		"2026-12-31T12:00:00Z": "2027-01-01T07:00:00Z",
	} {
		if got, err := m.after(at(after)); err != nil || !got.Equal(at(want)) {
			t.Errorf("after %s: %s, %v, want %s", after, got, err, want)
		}
	}
	m.At = "7:30"
	due, next, err := m.Elapsed(at("2026-06-01T12:00:00Z"), at("2026-06-04T05:31:00Z"))
	if err != nil || !due.Equal(at("2026-06-04T05:30:00Z")) || !next.Equal(at("2026-06-05T05:30:00Z")) {
		t.Errorf("due %s, next %s, %v", due, next, err)
	}
	from := at("2026-06-04T05:31:00Z")
	if due, _, err := m.Elapsed(from, from.Add(time.Hour)); err != nil || !due.Equal(from) {
		t.Errorf("none was due, and yet %s, %v", due, err)
	}
}

// TestALabelTellsTheTimeOfTheTrouble in the alert's own words, and is valid though two clocks made it.
func TestALabelTellsTheTimeOfTheTrouble(t *testing.T) {
	opened := time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	a := Alert{ID: "alert/fan-07/drift/x", Fan: "fan-07", Kind: KindDrift, Opened: opened,
		Anomaly: Anomaly{Kind: KindDrift, Since: opened.Add(-3 * time.Hour)}}
	l := LabelOf(a, Acknowledgement{By: "ada", Verdict: VerdictNormal})
	if !l.Normal || !l.From.Equal(opened.Add(-3*time.Hour)) || !l.To.IsZero() || l.Check() != nil {
		t.Errorf("%+v", l)
	}
	a.EndedAt = opened.Add(-4 * time.Hour)
	if l := LabelOf(a, Acknowledgement{Verdict: VerdictFault}); l.Normal || l.To.IsZero() || l.Check() != nil {
		t.Errorf("%+v, %v", l, l.Check())
	}
}
