package testsuite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// TestAMaintenanceFromItsPlanToItsSummary: its fan says that it is quiet, readings of it are judged and not learned,
// its end is summed up once to the first step, and lists have it as over.
func TestAMaintenanceFromItsPlanToItsSummary(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-m", "--min-rpm", "900", "--site", "Hall A, rack 3", "--silence", "-1s")
	c := mustConnect(s, "fan-m", cert, key)
	at := time.Now().Add(-time.Second)
	publish := func(rpm float64, n int) {
		for range n {
			at = at.Add(10 * time.Millisecond)
			demo(t, c, "fan-m", at, rpm)
		}
	}
	publish(1800, 20)
	plan := ask[fanwatch.MaintenanceStatus](s, "maintenance", "add", "--site", "Hall A", "--for", "30m", "--repeat",
		"weekly", "--zone", "Europe/Berlin", "--why", "filters", "--by", "ada")
	if plan.State != fanwatch.MaintenanceRunning || plan.Next.IsZero() ||
		!strings.HasPrefix(plan.ID, "maintenance/hall-a-") {
		t.Fatalf("%+v", plan)
	}
	mute := ask[fanwatch.MaintenanceStatus](s, "mute", "fan-m", "--for", "2h", "--by", "bob")
	if !mute.Mute || mute.State != fanwatch.MaintenanceRunning {
		t.Errorf("%+v", mute)
	}
	type line struct {
		Maintenances []fanwatch.MaintenanceStatus `json:"maintenances"`
	}
	s.until(20*time.Second, "the fan to say so, its models told", func() (bool, string) {
		f := ask[line](s, "show", "fan-m")
		ok := len(f.Maintenances) == 2
		for _, m := range f.Maintenances {
			ok = ok && (m.Mute || m.Paused == 1)
		}
		return ok, fmt.Sprintf("%+v", f)
	})
	time.Sleep(time.Until(plan.Begin.Add(2 * time.Second)))
	at = time.Now()
	publish(300, 5)
	s.openAlert("fan-m", 20*time.Second)
	s.until(30*time.Second, "why to say that nothing is learned", func() (bool, string) {
		out, err := s.cli("why", "fan-m")
		return err == nil && strings.Contains(out, plan.ID), fmt.Sprint(out, err)
	})
	ended := ask[fanwatch.MaintenanceStatus](s, "maintenance", "end", plan.ID, "--by", "eve")
	if ended.State != fanwatch.MaintenancePlanned || ended.EndedBy != "eve" || !ended.Begin.Equal(plan.Next) {
		t.Errorf("%+v", ended)
	}
	want := "[fanwatch] maintenance of Hall A has ended: 1 go on, 0 are over"
	s.until(40*time.Second, "the summary", func() (bool, string) {
		page := strings.Join(s.subjects(), "\n")
		return strings.Count(page, want) == 1, page
	})
	over := ask[fanwatch.MaintenanceStatus](s, "maintenance", "end", plan.ID)
	if over.State != fanwatch.MaintenanceCancelled {
		t.Errorf("%+v", over)
	}
	s.until(20*time.Second, "the list of those that are over", func() (bool, string) {
		list := ask[[]fanwatch.MaintenanceStatus](s, "maintenance", "list", "--past")
		return len(list) == 2 && list[0].ID == mute.ID && list[1].State == fanwatch.MaintenanceCancelled,
			fmt.Sprintf("%+v", list)
	})
	for _, id := range []string{plan.ID, "maintenance/none"} {
		if _, err := s.cli("maintenance", "end", id); err == nil {
			t.Errorf("%s ends again", id)
		}
	}
}
