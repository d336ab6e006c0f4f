package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// incidentVersion is the version of IncidentInput and of activities.IncidentStatus that this program writes.
const incidentVersion = 1

// IncidentInput is the input of [Incident], which also carries its state when it continues as new.
type IncidentInput struct {
	V       int                       `json:"v,omitempty"` // 0 at the start
	Key     string                    `json:"key"`         // of the group
	Site    string                    `json:"site,omitempty"`
	Status  activities.IncidentStatus `json:"status,omitzero"`
	Open    map[string]Troubled       `json:"open,omitempty"` // by alert ID, at most maxTroubled
	Fans    map[string]fanwatch.Kind  `json:"fans,omitempty"` // that joined, with the kind of the newest alert
	Newest  []fanwatch.Member         `json:"newest,omitempty"`
	Gravest fanwatch.Severity         `json:"gravest,omitempty"` // of the alerts that joined
	Policy  string                    `json:"policy,omitempty"`  // of the gravest alert that joined
	Group   int                       `json:"group,omitempty"`   // number of fans of the group; 0 = not known
	Sites   map[string]int            `json:"sites,omitempty"`   // number of fans by the sites of Status.Sites
	From    time.Time                 `json:"from,omitzero"`     // when its alert may open
	Told    time.Time                 `json:"told,omitzero"`     // when its alert was told last
	Checked time.Time                 `json:"checked,omitzero"`  // when its members were looked at last
	Changed Change                    `json:"changed,omitempty"` // since Told
	Since   time.Time                 `json:"since,omitzero"`    // when Changed began
	Quiet   bool                      `json:"quiet,omitempty"`   // a person ended its alert; the next member opens another
	PerRun  int                       `json:"per_run,omitempty"` // signals per run; 0 = 2000
}

// Troubled is a member of an incident whose trouble goes on.
type Troubled struct {
	Fan      string            `json:"f"`
	Severity fanwatch.Severity `json:"s"`
}

// Change is what an incident's alert has not been told yet.
type Change int

const (
	changeNone   Change = iota
	changeOver          // members are over
	changeJoined        // members joined, or the last one is over
)

const (
	incidentGathers = 2 * time.Second  // time from a change to telling of it, so that what comes with it counts
	incidentTells   = 2 * time.Second  // least time between two observations to its alert
	incidentCrosses = 10 * time.Second // the same while members are over and none joins
	incidentChecks  = 5 * time.Minute  // time between two looks at the members
	maxTroubled     = 10000            // members that are followed; further ones count as fans that joined and no more
)

// Incident is the workflow of the trouble of several fans of one group at once. It opens one alert of KindIncident
// in place of those of its members, tells it how many there are, and that it is over when all members are. It ends
// with that alert. Members join by signal, and say by signal that they are over; every 5 min it looks for those
// that did not. A cancellation makes it continue as new, because its members do not notify.
func Incident(ctx workflow.Context, in IncidentInput) error {
	i := &incident{IncidentInput: in, joins: workflow.GetSignalChannel(ctx, SignalJoin),
		membersOver: workflow.GetSignalChannel(ctx, SignalMemberOver),
		alertsOver:  workflow.GetSignalChannel(ctx, SignalAlertOver)}
	i.V, i.Status.V, i.PerRun = incidentVersion, incidentVersion, cmp.Or(i.PerRun, observationsPerRun)
	if i.Open == nil {
		i.Open = map[string]Troubled{}
	}
	if i.Fans == nil {
		i.Fans, i.Checked = map[string]fanwatch.Kind{}, workflow.Now(ctx).UTC()
	}
	if i.Sites == nil {
		i.Sites = map[string]int{}
	}
	inner, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := i.run(inner, func() bool { return ctx.Err() != nil }); err != nil || i.ended() {
		return err
	}
	return workflow.NewContinueAsNewError(inner, Incident, i.IncidentInput)
}

type incident struct {
	IncidentInput
	joins, membersOver, alertsOver workflow.ReceiveChannel

	signals int             // of this run
	check   workflow.Future // of the members, under way; nil = none is
	timer   workflow.Future // fires at timerAt; nil = there is none
	timerAt time.Time
	stop    workflow.CancelFunc // of timer
}

// run takes signals and acts until the incident is over, or the run is to continue as new.
func (i *incident) run(ctx workflow.Context, cancelled func() bool) error {
	for {
		i.receive(ctx)
		if i.check != nil && i.check.IsReady() {
			i.finishCheck(ctx)
		}
		now, due := workflow.Now(ctx), i.due()
		renewed := cancelled() || i.signals >= i.PerRun || workflow.GetInfo(ctx).GetContinueAsNewSuggested()
		switch {
		case i.ended():
			return nil
		case !due.After(now):
			i.act(ctx, now)
		case renewed && i.check == nil:
			return nil
		default:
			if err := i.wait(ctx, due, cancelled); err != nil {
				return err
			}
		}
	}
}

// ended reports whether no member is left and no alert.
func (i *incident) ended() bool {
	return len(i.Open) == 0 && i.Status.Alert == "" && i.Status.Joined > 0
}

// wait returns when a signal or the result of a check has come, the run is cancelled, or it is due. A timer that is
// running is used again unless it fires too late, because each member that is over would else make a new one.
func (i *incident) wait(ctx workflow.Context, due time.Time, cancelled func() bool) error {
	if i.timer != nil && due.Before(i.timerAt) {
		i.stop()
		i.timer = nil
	}
	if i.timer == nil || i.timer.IsReady() {
		var timing workflow.Context
		timing, i.stop = workflow.WithCancel(ctx)
		i.timer, i.timerAt = workflow.NewTimer(timing, due.Sub(workflow.Now(ctx))), due
	}
	was := cancelled()
	return workflow.Await(ctx, func() bool {
		return i.timer.IsReady() || i.joins.Len() > 0 || i.membersOver.Len() > 0 || i.alertsOver.Len() > 0 ||
			i.check != nil && i.check.IsReady() || cancelled() && !was
	})
}

// receive takes every signal that waits: first what joins, because a member is over after it has joined.
func (i *incident) receive(ctx workflow.Context) {
	now := workflow.Now(ctx).UTC()
	for {
		var j activities.Joining
		if !i.joins.ReceiveAsync(&j) {
			break
		}
		i.signals++
		i.join(now, j)
	}
	for {
		var m fanwatch.Member
		if !i.membersOver.ReceiveAsync(&m) {
			break
		}
		i.signals++
		if m.Over.IsZero() {
			m.Over = now
		}
		i.memberOver(now, m.Alert, m.Over)
	}
	for {
		var a fanwatch.Alert
		if !i.alertsOver.ReceiveAsync(&a) {
			break
		}
		i.signals++
		if a.ID == i.Status.Alert {
			i.Status.Alert, i.Quiet = "", a.EndedBy != ""
		}
	}
}

// join adds the alerts that are not known.
func (i *incident) join(now time.Time, in activities.Joining) {
	if in.Fans > 0 {
		i.Group = in.Fans
	}
	for _, a := range in.Alerts {
		if _, known := i.Open[a.Alert]; known {
			continue
		}
		if len(i.Open) == 0 && i.Status.Alert == "" {
			i.From = now.Add(incidentGathers)
		}
		if len(i.Open) < maxTroubled {
			i.Open[a.Alert] = Troubled{Fan: a.Fan, Severity: a.Severity}
		}
		i.Fans[a.Fan] = a.Kind
		i.Newest = append(i.Newest, a.Member)
		i.Newest = i.Newest[max(0, len(i.Newest)-fanwatch.MaxMembers):]
		if a.Severity.Weight() > i.Gravest.Weight() {
			i.Gravest, i.Policy = a.Severity, a.Policy
		}
		if i.Status.First.IsZero() || a.Opened.Before(i.Status.First) {
			i.Status.First = a.Opened
		}
		if a.Opened.After(i.Status.Last) {
			i.Status.Last = a.Opened
		}
		if !slices.Contains(i.Status.Sites, a.Site) && len(i.Status.Sites) < activities.MaxIncidentSites {
			i.Status.Sites = append(i.Status.Sites, a.Site)
		}
		if n := in.Sites[a.Site]; n > 0 && slices.Contains(i.Status.Sites, a.Site) {
			i.Sites[a.Site] = n
		}
		i.Status.Joined = len(i.Fans)
		i.change(now, changeJoined)
		i.Quiet = false
	}
}

// memberOver crosses a member off.
func (i *incident) memberOver(now time.Time, alert string, at time.Time) {
	if _, open := i.Open[alert]; !open {
		return
	}
	delete(i.Open, alert)
	what := changeOver
	if len(i.Open) == 0 {
		what = changeJoined
	}
	i.change(now, what)
	for n := range i.Newest {
		if i.Newest[n].Alert == alert {
			i.Newest[n].Over = at
		}
	}
}

// change keeps what the alert is to be told.
func (i *incident) change(now time.Time, what Change) {
	if i.Changed == changeNone {
		i.Since = now
	}
	i.Changed = max(i.Changed, what)
}

// due returns when the next thing is to be done.
func (i *incident) due() time.Time {
	check := i.Checked.Add(incidentChecks)
	switch {
	case i.opens() && i.From.Before(check):
		return i.From
	case i.Status.Alert != "" && i.Changed != changeNone && i.tells().Before(check):
		return i.tells()
	}
	return check
}

// opens reports whether the incident is to have an alert and has none.
func (i *incident) opens() bool { return i.Status.Alert == "" && len(i.Open) > 0 && !i.Quiet }

// tells returns when the alert may be told of what has changed.
func (i *incident) tells() time.Time {
	every := incidentTells
	if i.Changed == changeOver {
		every = incidentCrosses
	}
	if at := i.Told.Add(every); at.After(i.Since.Add(incidentGathers)) {
		return at
	}
	return i.Since.Add(incidentGathers)
}

// act does what is due.
func (i *incident) act(ctx workflow.Context, now time.Time) {
	switch {
	case i.opens() && !i.From.After(now):
		i.open(ctx, now.UTC())
	case i.Status.Alert != "" && i.Changed != changeNone && !i.tells().After(now):
		i.tell(ctx, now.UTC())
	}
	if i.check == nil && !i.Checked.Add(incidentChecks).After(now) {
		i.Checked = now.UTC()
		ids := workflow.DeterministicKeys(i.Open)
		if i.Status.Alert != "" {
			ids = append(ids, i.Status.Alert)
		}
		if len(ids) > 0 {
			i.check = membersOver(ctx, ids)
		}
	}
}

// open starts the alert of the incident. When that fails it is tried again in 30 s.
func (i *incident) open(ctx workflow.Context, now time.Time) {
	i.Gravest = ""
	for _, id := range workflow.DeterministicKeys(i.Open) {
		m := i.Open[id]
		if m.Severity.Weight() > i.Gravest.Weight() {
			i.Gravest = m.Severity
		}
	}
	e := i.extent()
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(i.Key, fanwatch.KindIncident, now), Fan: i.Key,
		Site: e.Site, Kind: fanwatch.KindIncident, Severity: i.Gravest, Anomaly: fanwatch.Anomaly{
			Kind: fanwatch.KindIncident, Severity: i.Gravest, Since: i.Status.First},
		Policy: i.Policy, Opened: now, Why: i.why(e), State: fanwatch.AlertOpen, Members: e.Members, Troubled: e.Troubled,
		Joined: e.Joined, Fans: e.Fans}
	if err := openAlert(ctx, AlertInput{Alert: a, Policy: i.Policy}); err != nil {
		workflow.GetLogger(ctx).Error("the alert of an incident cannot be opened, tried again in 30 s", "incident", i.Key,
			"err", err)
		i.From = now.Add(30 * time.Second)
		return
	}
	i.Status.Alert, i.Told, i.Changed = a.ID, now, changeNone
	i.show(ctx, a.Why)
}

// tell sends the newest counts to the alert. One that does not run any more was ended from outside: while members are
// left, another opens.
func (i *incident) tell(ctx workflow.Context, now time.Time) {
	e := i.extent()
	o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: i.Key, Time: now, Extent: &e,
		Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindIncident, Severity: i.Gravest, Since: i.Status.First, Why: i.why(e)}}
	if len(i.Open) == 0 {
		o.Anomaly = fanwatch.Anomaly{Why: fmt.Sprintf("All %d fans%s are normal again.", e.Joined, i.where(e))}
	}
	runs, err := signalAlert(ctx, i.Status.Alert, SignalObserve, o)
	if err != nil {
		return // cancelled, and ctx is not
	}
	if !runs {
		i.Status.Alert = ""
	}
	i.Told, i.Changed = now, changeNone
	i.show(ctx, o.Anomaly.Why)
}

// finishCheck crosses off the members that are over and did not say so.
func (i *incident) finishCheck(ctx workflow.Context) {
	var over []string
	if err := i.check.Get(ctx, &over); err != nil {
		workflow.GetLogger(ctx).Error("the members of an incident cannot be looked at, tried again in 5 min", "incident",
			i.Key, "err", err)
	}
	i.check = nil
	now := workflow.Now(ctx).UTC()
	for _, id := range over {
		if id == i.Status.Alert {
			i.Status.Alert = ""
		}
		i.memberOver(now, id, now)
	}
}

// membersOver runs Grouper.MembersOver, and gives up after 2 min, because it is asked again.
func membersOver(ctx workflow.Context, ids []string) workflow.Future {
	var a *activities.Grouper
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueIncident,
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 2 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
	return workflow.ExecuteActivity(ctx, a.MembersOver, ids)
}

// extent counts the fans.
func (i *incident) extent() fanwatch.Extent {
	troubled := map[string]bool{}
	for _, id := range workflow.DeterministicKeys(i.Open) {
		troubled[i.Open[id].Fan] = true
	}
	i.Status.Troubled = len(troubled)
	e := fanwatch.Extent{Site: i.Site, Members: slices.Clone(i.Newest), Troubled: len(troubled), Joined: i.Status.Joined,
		Fans: i.Group}
	if len(i.Status.Sites) == 1 {
		e.Site = i.Status.Sites[0]
		e.Fans = i.Sites[e.Site]
	}
	if e.Fans < e.Joined { // fans were provisioned since they were counted
		e.Fans = 0
	}
	return e
}

// where returns the place of the fans.
func (i *incident) where(e fanwatch.Extent) string {
	n := len(i.Status.Sites)
	switch {
	case e.Site != "":
		return " in " + e.Site
	case n == 1:
		return " without a site"
	case n >= activities.MaxIncidentSites:
		return fmt.Sprintf(" in %d sites or more", n)
	}
	return fmt.Sprintf(" in %d sites", n)
}

// why returns the sentences of the incident, such as "37 of 40 fans in Hall A, rack 3 fail at once: 30 stall, 7
// underspeed. 5 are normal again."
func (i *incident) why(e fanwatch.Extent) string {
	text := fmt.Sprint(e.Joined)
	if e.Fans > 0 {
		text += fmt.Sprintf(" of %d", e.Fans)
	}
	kinds := map[fanwatch.Kind]int{}
	for _, fan := range workflow.DeterministicKeys(i.Fans) {
		kinds[i.Fans[fan]]++
	}
	var counts []string
	ordered := workflow.DeterministicKeys(kinds)
	slices.SortStableFunc(ordered, func(a, b fanwatch.Kind) int { return cmp.Compare(kinds[b], kinds[a]) })
	for _, kind := range ordered {
		counts = append(counts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	text += fmt.Sprintf(" fans%s fail at once: %s.", i.where(e), strings.Join(counts, ", "))
	switch over := e.Joined - e.Troubled; {
	case over == 1:
		text += " 1 is normal again."
	case over > 1:
		text += fmt.Sprintf(" %d are normal again.", over)
	}
	return text
}

// show writes the incident to the memo, by which Grouper finds it, and to the details of the Temporal Web UI.
func (i *incident) show(ctx workflow.Context, why string) {
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoIncident: i.Status}) // never fails: an IncidentStatus encodes
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%s\n\nAlert: `%s`", why, i.Status.Alert))
}

// queueOf returns the queue of alerts of the kind.
func queueOf(kind fanwatch.Kind) string {
	if kind == fanwatch.KindIncident {
		return QueueIncident
	}
	return QueueControl
}

// alertQueue returns the queue of the activities of an alert: its own for that of an incident.
func alertQueue(ctx workflow.Context) string {
	if queue := workflow.GetInfo(ctx).TaskQueueName; queue == QueueIncident {
		return queue
	}
	return QueueControl
}

// ownerOf returns the ID of the workflow that opened the alert and is told of its end.
func ownerOf(a fanwatch.Alert) string {
	if a.Kind == fanwatch.KindIncident {
		return IncidentID(a.Fan)
	}
	return FanID(a.Fan)
}

// reach takes how far an incident reaches.
func (a *alert) reach(e *fanwatch.Extent) {
	if e != nil {
		a.Site, a.Members, a.Troubled, a.Joined, a.Fans = e.Site, e.Members, e.Troubled, e.Joined, e.Fans
	}
}
