package workflows

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// incidentRun is an Incident whose alerts note what they are told. They end 1 min after a normal observation.
type incidentRun struct {
	*testsuite.TestWorkflowEnvironment
	began  time.Time
	alerts []AlertInput
	told   []string                 // "1m0s why", of all alerts
	extent fanwatch.Extent          // of the newest observation
	gone   map[string]bool          // members that are over and did not say so
	asked  int                      // checks
	signal func(name string, v any) // to the incident
}

func newIncidentRun(t *testing.T, began time.Time) *incidentRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	env.SetStartTime(began)
	env.SetStartWorkflowOptions(startOptions(IncidentID("Hall-A")))
	r := &incidentRun{TestWorkflowEnvironment: env, began: began, gone: map[string]bool{}}
	r.signal = env.SignalWorkflow
	env.RegisterWorkflow(Incident)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
		r.alerts = append(r.alerts, in)
		r.say(in.Alert.Why)
		observations := workflow.GetSignalChannel(ctx, SignalObserve)
		end := workflow.GetSignalChannel(ctx, SignalResolve)
		normal := false
		for {
			wait := 100 * time.Hour
			if normal {
				wait = time.Minute
			}
			var o fanwatch.Observation
			var by string
			timer := workflow.NewTimer(ctx, wait)
			over := false
			workflow.NewSelector(ctx).AddReceive(observations, func(c workflow.ReceiveChannel, _ bool) {
				c.Receive(ctx, &o)
				normal, r.extent = o.Anomaly.Kind == fanwatch.KindNone, *o.Extent
				r.say(string(o.Anomaly.Severity) + " " + o.Anomaly.Why)
			}).AddReceive(end, func(c workflow.ReceiveChannel, _ bool) {
				c.Receive(ctx, &by)
				over = true
			}).AddFuture(timer, func(workflow.Future) { over = true }).Select(ctx)
			if over {
				a := in.Alert
				a.EndedBy = by
				env.SignalWorkflow(SignalAlertOver, a)
				return a, nil
			}
		}
	}, workflow.RegisterOptions{Name: "Alert"})
	env.RegisterActivity(&activities.Grouper{})
	env.OnActivity("MembersOver", anything, anything).Return(func(_ context.Context, ids []string) ([]string, error) {
		r.asked++
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !r.gone[id] }), nil
	}).Maybe()
	return r
}

func (r *incidentRun) say(text string) {
	r.told = append(r.told, r.Now().Sub(r.began).Round(time.Second).String()+" "+strings.TrimSpace(text))
}

func (r *incidentRun) at(d time.Duration, do func()) { r.RegisterDelayedCallback(do, d) }

func (r *incidentRun) member(n int, kind fanwatch.Kind) fanwatch.Member {
	fan := fmt.Sprintf("fan-%04d", n)
	return fanwatch.Member{Alert: AlertID(fan, kind, opened), Fan: fan, Kind: kind, Opened: opened}
}

// joins has the fans of those numbers join with stalls.
func (r *incidentRun) joins(from, to int) {
	j := activities.Joining{Key: "Hall-A", Site: "Hall A", Fans: 400, Sites: map[string]int{"Hall A, rack 3": 40}}
	for n := from; n <= to; n++ {
		j.Alerts = append(j.Alerts, activities.Joiner{Member: r.member(n, fanwatch.KindStall),
			Severity: fanwatch.SeverityCritical, Site: "Hall A, rack 3", Policy: "hall"})
	}
	r.signal(SignalJoin, j)
}

func (r *incidentRun) leaves(from, to int) {
	for n := from; n <= to; n++ {
		m := r.member(n, fanwatch.KindStall)
		m.Over = r.Now()
		r.signal(SignalMemberOver, m)
	}
}

func (r *incidentRun) run(t *testing.T, in IncidentInput) {
	t.Helper()
	in.Key, in.Site = "Hall-A", "Hall A"
	r.ExecuteWorkflow(Incident, in)
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
}

func (r *incidentRun) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(r.told, "\n"), strings.Join(want, "\n"))
	}
}

func TestFansThatFailTogetherAreOneAlertUntilAllAreNormal(t *testing.T) {
	r := newIncidentRun(t, opened)
	r.at(0, func() { r.joins(1, 3) })
	r.at(time.Second, func() { r.joins(4, 36) })
	r.at(time.Minute, func() { r.joins(37, 37) })
	r.at(2*time.Minute, func() { r.leaves(1, 12) })
	r.at(2*time.Minute+3*time.Second, func() { r.leaves(13, 36) })
	r.at(3*time.Minute, func() { r.leaves(37, 37) })
	r.run(t, IncidentInput{})
	r.want(t, "2s 36 of 40 fans in Hall A, rack 3 fail at once: 36 stall.",
		"1m2s critical 37 of 40 fans in Hall A, rack 3 fail at once: 37 stall.",
		"2m2s critical 37 of 40 fans in Hall A, rack 3 fail at once: 37 stall. 12 are normal again.",
		"2m12s critical 37 of 40 fans in Hall A, rack 3 fail at once: 37 stall. 36 are normal again.",
		"3m2s All 37 fans in Hall A, rack 3 are normal again.")
	a := r.alerts[0].Alert
	if len(r.alerts) != 1 || a.ID != "alert/Hall-A/incident/20260528T202642.000000Z" || a.Policy != "hall" ||
		a.Severity != fanwatch.SeverityCritical || a.Site != "Hall A, rack 3" || a.Troubled != 36 || a.Fans != 40 ||
		ownerOf(a) != IncidentID("Hall-A") {
		t.Errorf("%+v", a)
	}
	if e := r.extent; e.Troubled != 0 || e.Joined != 37 || len(e.Members) != 37 || e.Members[0].Over.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestAMemberThatComesDuringTheHoldKeepsTheIncident(t *testing.T) {
	r := newIncidentRun(t, opened)
	r.at(0, func() { r.joins(1, 3) })
	r.at(time.Minute, func() { r.leaves(1, 3) })
	r.at(90*time.Second, func() { r.joins(4, 4) })
	r.at(10*time.Minute, func() { r.leaves(4, 4) })
	r.run(t, IncidentInput{})
	r.want(t, "2s 3 of 40 fans in Hall A, rack 3 fail at once: 3 stall.",
		"1m2s All 3 fans in Hall A, rack 3 are normal again.",
		"1m32s critical 4 of 40 fans in Hall A, rack 3 fail at once: 4 stall. 3 are normal again.",
		"10m2s All 4 fans in Hall A, rack 3 are normal again.")
}

func TestAnIncidentTellsOfTheGravestMemberAndOfAllSites(t *testing.T) {
	r := newIncidentRun(t, opened)
	r.at(0, func() {
		j := activities.Joining{Fans: 400, Sites: map[string]int{"Hall A, rack 3": 40, "Hall A, rack 4": 40}}
		for n, kind := range []fanwatch.Kind{fanwatch.KindSpeed, fanwatch.KindSpeed, fanwatch.KindFrozen} {
			j.Alerts = append(j.Alerts, activities.Joiner{Member: r.member(n, kind), Severity: kind.Severity(),
				Site: "Hall A, rack 4"})
		}
		r.signal(SignalJoin, j)
	})
	r.at(time.Minute, func() { r.joins(2, 2) }) // a second alert of a fan
	r.at(2*time.Minute, func() {
		r.gone[r.member(0, fanwatch.KindSpeed).Alert], r.gone[r.member(1, fanwatch.KindSpeed).Alert] = true, true
		r.gone[r.member(2, fanwatch.KindFrozen).Alert], r.gone[r.member(2, fanwatch.KindStall).Alert] = true, true
	})
	r.run(t, IncidentInput{})
	r.want(t, "2s 3 of 40 fans in Hall A, rack 4 fail at once: 2 speed, 1 frozen.",
		"1m2s critical 3 of 400 fans in Hall A fail at once: 2 speed, 1 stall.",
		"5m2s All 3 fans in Hall A are normal again.")
	if r.alerts[0].Alert.Severity != fanwatch.SeverityWarning {
		t.Errorf("%+v", r.alerts[0])
	}
}

// TestAMemberThatNeverSaysThatItIsOverEndsAllTheSame: its workflow was terminated.
func TestAMemberThatNeverSaysThatItIsOverEndsAllTheSame(t *testing.T) {
	r := newIncidentRun(t, opened)
	r.at(0, func() { r.joins(1, 3) })
	r.at(time.Minute, func() { r.leaves(1, 2) })
	r.at(7*time.Minute, func() { r.gone[r.member(3, fanwatch.KindStall).Alert] = true })
	r.run(t, IncidentInput{})
	if last := r.told[len(r.told)-1]; last != "10m2s All 3 fans in Hall A, rack 3 are normal again." || r.asked != 2 {
		t.Errorf("%q, asked %d times", r.told, r.asked)
	}
}

func TestAnIncidentWhoseAlertWasEndedFromOutsideOpensAnother(t *testing.T) {
	r := newIncidentRun(t, opened)
	r.at(0, func() { r.joins(1, 3) })
	r.at(time.Minute, func() {
		r.CancelWorkflowByID(r.alerts[0].Alert.ID, "")
		r.gone[r.alerts[0].Alert.ID] = true
	})
	r.at(20*time.Minute, func() { r.leaves(1, 3) })
	r.run(t, IncidentInput{})
	if len(r.alerts) != 2 || r.alerts[1].Alert.Opened.Sub(opened) != 5*time.Minute {
		t.Errorf("%+v", r.alerts)
	}
}

// TestAnIncidentThatAPersonEndedStaysQuietUntilAnotherFanFails guards against an alert that opens again by itself.
func TestAnIncidentThatAPersonEndedStaysQuietUntilAnotherFanFails(t *testing.T) {
	for name, c := range map[string]struct{ joins, alerts int }{"none fails": {0, 1}, "one fails": {4, 2}} {
		t.Run(name, func(t *testing.T) {
			r := newIncidentRun(t, opened)
			r.at(0, func() { r.joins(1, 3) })
			r.at(time.Minute, func() {
				if err := r.SignalWorkflowByID(r.alerts[0].Alert.ID, SignalResolve, "ada"); err != nil {
					t.Error(err)
				}
			})
			r.at(2*time.Minute, func() { r.joins(1, 3) }) // planned again
			if c.joins > 0 {
				r.at(3*time.Minute, func() { r.joins(c.joins, c.joins) })
			}
			r.at(20*time.Minute, func() { r.leaves(1, 4) })
			r.run(t, IncidentInput{})
			if len(r.alerts) != c.alerts {
				t.Errorf("told %q", r.told)
			}
		})
	}
}

// TestAnIncidentGoesOnInItsNextRun with its members and its alert, and so does one that is cancelled.
func TestAnIncidentGoesOnInItsNextRun(t *testing.T) {
	for name, cancelled := range map[string]bool{"after many signals": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			r := newIncidentRun(t, opened)
			r.at(0, func() { r.joins(1, 60) })
			if cancelled {
				r.at(time.Minute, r.CancelWorkflow)
			} else {
				r.at(time.Minute, func() { r.leaves(1, 19) })
			}
			in := IncidentInput{Key: "Hall-A", Site: "Hall A", PerRun: 20}
			r.ExecuteWorkflow(Incident, in)
			var next *workflow.ContinueAsNewError
			if !asContinue(r.GetWorkflowError(), &next) {
				t.Fatalf("ended with %v", r.GetWorkflowError())
			}
			in = IncidentInput{}
			if err := decode(next, &in); err != nil {
				t.Fatal(err)
			}
			left := 60
			if !cancelled {
				left = 41
			}
			if len(in.Open) != left || len(in.Fans) != 60 || len(in.Newest) != fanwatch.MaxMembers || in.Status.Joined != 60 ||
				in.Status.Alert != r.alerts[0].Alert.ID || in.PerRun != 20 {
				t.Fatalf("passed on %+v", in)
			}
			r2 := newIncidentRun(t, opened.Add(2*time.Minute))
			r2.OnSignalExternalWorkflow(anything, in.Status.Alert, "", SignalObserve, anything).Return(
				func(_, id, _, _ string, arg any) error {
					o := arg.(fanwatch.Observation)
					r2.say(o.Anomaly.Why)
					if o.Anomaly.Kind == fanwatch.KindNone {
						r2.at(time.Minute, func() { r2.signal(SignalAlertOver, fanwatch.Alert{ID: id}) })
					}
					return nil
				})
			in.PerRun = 0
			r2.at(time.Minute, func() { r2.leaves(1, 60) })
			r2.run(t, in)
			if last := r2.told[len(r2.told)-1]; last != "1m2s All 60 fans in Hall A, rack 3 are normal again." {
				t.Errorf("told %q", r2.told)
			}
		})
	}
}

// TestAnIncidentOfTenThousandFansFitsIntoItsNextRun: Temporal takes 2 MB.
func TestAnIncidentOfTenThousandFansFitsIntoItsNextRun(t *testing.T) {
	i := incident{IncidentInput: IncidentInput{Key: "_all", Open: map[string]Troubled{},
		Fans: map[string]fanwatch.Kind{}, Sites: map[string]int{}}}
	for n := range maxTroubled + 10 {
		fan := fmt.Sprintf("hall-a-rack-3-fan-%05d", n)
		i.join(opened, activities.Joining{Fans: 20000, Alerts: []activities.Joiner{{Severity: fanwatch.SeverityCritical,
			Site: fmt.Sprintf("Hall A, rack %d", n), Member: fanwatch.Member{Alert: AlertID(fan, fanwatch.KindSilent, opened),
				Fan: fan, Kind: fanwatch.KindSilent, Opened: opened}}}})
	}
	i.memberOver(opened, AlertID("hall-a-rack-3-fan-00000", fanwatch.KindSilent, opened), opened)
	e := i.extent()
	if why := i.why(e); why != "10010 of 20000 fans in 50 sites or more fail at once: 10010 silent. 11 are normal again." {
		t.Error(why)
	}
	size := func(v any) int {
		p, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return len(p)
	}
	if n := size(i.IncidentInput); n > 1800000 {
		t.Errorf("the input has %d bytes", n)
	}
	if n := size(e); n > 20000 {
		t.Errorf("an observation has %d bytes", n)
	}
}
