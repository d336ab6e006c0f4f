package workflows

import (
	"testing"
	"time"

	"fanwatch"
)

// TestAnAlertResolvedByHandIsOpenedAgainByTheNextBadReading: not at once, and after a minute at the latest while the
// trouble goes on; one that ended by itself is opened at once.
func TestAnAlertResolvedByHandIsOpenedAgainByTheNextBadReading(t *testing.T) {
	r := newFanRun(t)
	signal := func(at time.Duration, n int, kind fanwatch.Kind) {
		r.at(at, func() { r.SignalWorkflow(SignalObserve, observationOf(n, fanwatch.FamilySpeed, kind)) })
	}
	over := func(at time.Duration, by string) {
		r.at(at, func() {
			a := r.alerts[len(r.alerts)-1]
			a.EndedBy = by
			r.SignalWorkflow(SignalAlertOver, a)
		})
	}
	opens := func(at time.Duration, want int) {
		r.at(at, func() {
			if len(r.alerts) != want {
				t.Errorf("after %s: %d alerts, want %d", at, len(r.alerts), want)
			}
		})
	}
	signal(time.Second, 10, fanwatch.KindStall)
	over(10*time.Second, "ada")
	opens(20*time.Second, 1)
	signal(30*time.Second, 11, fanwatch.KindStall)
	opens(31*time.Second, 2)
	over(40*time.Second, "ada")
	opens(99*time.Second, 2)
	opens(101*time.Second, 3)
	over(110*time.Second, "")
	opens(111*time.Second, 4)
	over(120*time.Second, "ada")
	signal(130*time.Second, 12, fanwatch.KindNone)
	opens(300*time.Second, 4)
	r.retireAt(t, 10*time.Minute)
	r.execute(t, FanInput{})
}
