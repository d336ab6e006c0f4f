package dashboard

import (
	"testing"
	"time"

	"fanwatch"
)

// TestMaintenancesStandOnThePage: those that run and those that are planned in the fleet's list, and with each fan the
// one that it is under, or else the next; it begins and ends there by the clock.
func TestMaintenancesStandOnThePage(t *testing.T) {
	st := status("fan-01", fanwatch.KindNone)
	st.Device.Site = "Hall A, rack 3"
	plan := func(id, fan, site string, from, long time.Duration, mute bool) fanwatch.MaintenanceStatus {
		return fanwatch.MaintenanceStatus{Maintenance: fanwatch.Maintenance{ID: id, Fan: fan, Site: site, By: "ada",
			Why: "filters", Mute: mute}, State: fanwatch.MaintenancePlanned, Begin: noon.Add(from), Until: noon.Add(from + long)}
	}
	p, clock := newPlant(st, status("fan-02", fanwatch.KindNone)), &hands{t: noon}
	p.plans = []fanwatch.MaintenanceStatus{plan("maintenance/1", "", "Hall A", time.Hour, 2*time.Hour, false),
		plan("maintenance/2", "fan-01", "", 90*time.Minute, 10*time.Minute, true)}
	_, u := open(t, Config{Operator: p, Now: clock.now}, brisk)
	look := func() (one, other fanView, list int) {
		t.Helper()
		var all update
		getJSON(t, u+"/api/fans", &all)
		a, b := all.fan("fan-01"), all.fan("fan-02")
		if a == nil || b == nil {
			t.Fatalf("%+v", all)
		}
		return *a, *b, len(all.Maintenances)
	}
	for _, c := range []struct {
		after time.Duration
		quiet string
		until time.Duration
	}{{0, "planned", 3 * time.Hour}, {time.Hour, "maintenance", 3 * time.Hour},
		{95 * time.Minute, "maintenance", 3 * time.Hour}, {4 * time.Hour, "", 0}} {
		clock.move(noon.Add(c.after).Sub(clock.now()))
		one, other, list := look()
		until := int64(0)
		if c.until != 0 {
			until = noon.Add(c.until).UnixMilli()
		}
		if one.Quiet != c.quiet || one.QuietUntil != until || other.Quiet != "" || list == 0 {
			t.Errorf("after %s: %+v, %+v, %d bytes", c.after, one, other, list)
		}
	}
}
