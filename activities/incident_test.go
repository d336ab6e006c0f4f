package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

// groupRig is one or more groupers, each of a process of its own, over one system.
type groupRig struct {
	mu      sync.Mutex
	now     time.Time
	visible []fanwatch.Alert // what Temporal lists
	status  IncidentStatus
	runs    bool
	joined  map[string][]string // alert IDs by group key, in order, each once
	calls   int
	most    int // alerts of the largest Joining
	last    Joining
	err     error // of Join
	lists   int
	fans    map[string]int // by site
}

var groupTime = time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)

func newGroupRig() *groupRig {
	return &groupRig{now: groupTime, joined: map[string][]string{}, fans: map[string]int{"Hall A, rack 3": 40,
		"Hall A, rack 4": 40, "Hall B": 20, "": 7}}
}

func (r *groupRig) grouper() *Grouper {
	return &Grouper{System: r, Now: func() time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.now
	}}
}

func (r *groupRig) AlertsBetween(_ context.Context, from, to time.Time) ([]fanwatch.Alert, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	return slices.DeleteFunc(slices.Clone(r.visible), func(a fanwatch.Alert) bool {
		return a.Opened.Before(from) || !a.Opened.Before(to)
	}), nil
}

func (r *groupRig) Fans(context.Context) ([]fanwatch.FanStatus, error) {
	var all []fanwatch.FanStatus
	for site, n := range r.fans {
		for range n {
			all = append(all, fanwatch.FanStatus{Device: fanwatch.Device{Site: site}})
		}
	}
	return all, nil
}

func (r *groupRig) Incident(context.Context, string) (IncidentStatus, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, r.runs, nil
}

func (r *groupRig) Join(_ context.Context, j Joining) (string, error) {
	time.Sleep(time.Millisecond) // as long as others may come
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.last, r.most = r.calls+1, j, max(r.most, len(j.Alerts))
	if r.err != nil {
		return "", r.err
	}
	for _, a := range j.Alerts {
		if !slices.Contains(r.joined[j.Key], a.Alert) {
			r.joined[j.Key] = append(r.joined[j.Key], a.Alert)
		}
	}
	return "incident/" + j.Key, nil
}

func (r *groupRig) AlertsOver(context.Context, []string) ([]string, error) { return nil, nil }

// stall returns the alert of a fan of Hall A, rack 3, opened so long after groupTime.
func stall(n int, after time.Duration) fanwatch.Alert {
	fan := fmt.Sprintf("fan-%04d", n)
	return fanwatch.Alert{ID: "alert/" + fan + "/stall/1", Fan: fan, Site: "Hall A, rack 3", Kind: fanwatch.KindStall,
		Opened: groupTime.Add(after), State: fanwatch.AlertOpen}
}

func (r *groupRig) group(t *testing.T, g *Grouper, a fanwatch.Alert, want string) {
	t.Helper()
	r.mu.Lock()
	if a.Opened.After(r.now) {
		r.now = a.Opened
	}
	r.mu.Unlock()
	if got, err := g.Group(t.Context(), a, fanwatch.Policy{}); err != nil || got != want {
		t.Errorf("%s is part of %q, %v, want %q", a.ID, got, err, want)
	}
}

func TestTheThirdFanWithinAMinuteMakesAnIncidentOfAllThree(t *testing.T) {
	r := newGroupRig()
	g := r.grouper()
	r.group(t, g, stall(1, 0), "")
	r.group(t, g, stall(2, 30*time.Second), "")
	again := stall(2, 30*time.Second)
	again.ID, again.Kind = "alert/fan-0002/frozen/1", fanwatch.KindFrozen
	r.group(t, g, again, "") // a second alert of a fan is not a third fan
	r.group(t, g, stall(3, time.Minute), "incident/Hall-A")
	if all := r.joined["Hall-A"]; len(all) != 4 || all[0] != "alert/fan-0003/stall/1" {
		t.Errorf("joined %q", r.joined)
	}
	if r.last.Site != "Hall A" || r.last.Fans != 80 || r.last.Sites["Hall A, rack 3"] != 40 {
		t.Errorf("%+v", r.last)
	}
	r.group(t, g, stall(1, 0), "incident/Hall-A") // at its next step
}

func TestFansThatFailOneAfterTheOtherAreNoIncident(t *testing.T) {
	r := newGroupRig()
	g := r.grouper()
	for n := range 10 {
		r.group(t, g, stall(n, time.Duration(n)*40*time.Second), "")
	}
	other := stall(11, 6*time.Minute)
	other.Site = "Hall B"
	r.group(t, g, other, "")
}

// TestWhatNotifiesNobodyIsPartOfNoIncident: info, what is held back, fanwatch itself, the canary.
func TestWhatNotifiesNobodyIsPartOfNoIncident(t *testing.T) {
	r := newGroupRig()
	g := r.grouper()
	r.group(t, g, stall(1, 0), "")
	r.group(t, g, stall(2, 0), "")
	canary, info, system := stall(3, 0), stall(3, 0), stall(3, 0)
	canary.Fan = fanwatch.CanaryFan
	info.Kind = fanwatch.KindJitter
	system.Kind = fanwatch.KindIncident
	for _, a := range []fanwatch.Alert{canary, info, system} {
		r.group(t, g, a, "")
	}
	for _, p := range []fanwatch.Policy{{NotBefore: groupTime.Add(time.Hour)}, {Severity: fanwatch.SeverityInfo}} {
		if got, err := g.Group(t.Context(), stall(3, 0), p); got != "" || err != nil {
			t.Errorf("%+v: %q, %v", p, got, err)
		}
	}
	info.ID = "alert/fan-0003/jitter/2"
	if got, err := g.Group(t.Context(), info, fanwatch.Policy{Severity: fanwatch.SeverityWarning}); err != nil ||
		got != "incident/Hall-A" || r.last.Alerts[0].Severity != fanwatch.SeverityWarning {
		t.Errorf("raised by its policy: %q, %v", got, err)
	}
}

func TestSilenceIsOneIncidentOverAllSites(t *testing.T) {
	r := newGroupRig()
	g := r.grouper()
	for n, site := range []string{"Hall A, rack 3", "Hall B", ""} {
		a := stall(n, 0)
		a.Site, a.Kind = site, fanwatch.KindSilent
		r.group(t, g, a, map[bool]string{true: "incident/_all"}[n == 2])
	}
	if r.last.Fans != 107 || r.last.Sites["Hall B"] != 20 {
		t.Errorf("%+v", r.last)
	}
}

func TestAnAlertOfAnotherWorkerCounts(t *testing.T) {
	r := newGroupRig()
	paged, done := stall(1, 0), stall(2, 0)
	done.State = fanwatch.AlertResolved
	r.visible = []fanwatch.Alert{paged, done}
	g := r.grouper()
	r.group(t, g, stall(3, time.Second), "")
	r.mu.Lock()
	r.visible = append(r.visible, stall(4, 2*time.Second))
	r.now = groupTime.Add(10 * time.Second)
	r.mu.Unlock()
	r.group(t, g, stall(5, 10*time.Second), "incident/Hall-A")
	if len(r.joined["Hall-A"]) != 4 {
		t.Errorf("joined %q", r.joined)
	}
}

// TestAnOpenIncidentTakesFurtherAlertsWhileItIsYoung at its sites; another rack's fan notifies alone.
func TestAnOpenIncidentTakesFurtherAlertsWhileItIsYoung(t *testing.T) {
	r := newGroupRig()
	r.runs, r.status = true, IncidentStatus{First: groupTime, Last: groupTime.Add(time.Minute),
		Sites: []string{"Hall A, rack 3"}}
	g := r.grouper() // of a worker that has just started
	r.group(t, g, stall(1, 11*time.Minute), "incident/Hall-A")
	r.group(t, g, stall(2, 13*time.Minute), "")
	r.group(t, g, stall(3, -3*time.Minute), "") // it was open long before
	rack4 := stall(4, 5*time.Minute)
	rack4.Site = "Hall A, rack 4"
	r.group(t, g, rack4, "")
	r.status.Sites = make([]string, MaxIncidentSites)
	r.now = r.now.Add(time.Hour)
	r.group(t, g, rack4, "incident/Hall-A")
	r.runs = false
	r.now = r.now.Add(time.Hour)
	r.group(t, g, stall(1, 11*time.Minute), "") // it ended, and the alert goes on
}

// TestAThousandFansInASecondAreToldOfInFewSignals by two workers, and at most two of each notify alone.
func TestAThousandFansInASecondAreToldOfInFewSignals(t *testing.T) {
	r := newGroupRig()
	workers := []*Grouper{r.grouper(), r.grouper()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	alone := 0
	for n := range 1000 {
		wg.Go(func() {
			id, err := workers[n%2].Group(t.Context(), stall(n, time.Duration(n)*time.Millisecond), fanwatch.Policy{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || id != "" && id != "incident/Hall-A" {
				t.Errorf("%q, %v", id, err)
			}
			if id == "" {
				alone++
			}
		})
	}
	wg.Wait()
	if alone > 4 || len(r.joined["Hall-A"]) != 1000 || r.calls > 1000 || r.most > maxJoining || r.lists > 4 {
		t.Errorf("%d alone, %d joined by %d signals of at most %d, %d lists", alone, len(r.joined["Hall-A"]), r.calls,
			r.most, r.lists)
	}
	t.Logf("%d alone, %d signals of at most %d alerts", alone, r.calls, r.most)
}

func TestAnIncidentThatCannotBeToldIsAnErrorAndTriedAgain(t *testing.T) {
	r := newGroupRig()
	g := r.grouper()
	r.group(t, g, stall(1, 0), "")
	r.group(t, g, stall(2, 0), "")
	r.err = errors.New("Temporal does not answer")
	if _, err := g.Group(t.Context(), stall(3, 0), fanwatch.Policy{}); !errors.Is(err, r.err) {
		t.Errorf("%v", err)
	}
	member := stall(4, 0)
	member.Incident = "incident/Hall-A"
	r.group(t, g, member, "incident/Hall-A") // it does not notify again because of that
	r.err = nil
	r.group(t, g, stall(3, 0), "incident/Hall-A")
	if len(r.joined["Hall-A"]) != 4 {
		t.Errorf("joined %q", r.joined)
	}
	slow, cancel := context.WithCancel(t.Context())
	cancel()
	if id, err := g.Group(slow, stall(5, 0), fanwatch.Policy{}); id != "incident/Hall-A" || err != nil {
		t.Errorf("while an incident that runs is told: %q, %v", id, err)
	}
}
