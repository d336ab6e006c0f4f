package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// MaintenanceInput is the input of [Maintenance], which also carries its state when it continues as new.
type MaintenanceInput struct {
	Status fanwatch.MaintenanceStatus `json:"status"` // planned, its first time set
}

const (
	pauseAhead    = time.Minute      // before the beginning, when models are told not to learn
	planAfter     = 10 * time.Second // after an early end, when no worker goes by the list of before any more
	summaryFor    = 6 * time.Hour    // after which a summary that its channel does not take is given up
	timesPerRun   = 20               // after which a Maintenance continues as new
	maxEndBy      = 100              // bytes
	sumUpFor      = time.Hour        // after which a summary that cannot be composed is given up
	pauseTimeout  = 2 * time.Minute  // of one try
	maintenanceBy = "a person"       // where the request to end it names none
)

// Maintenance is the workflow of one maintenance or mute: it waits for each of its times, shows them, has the models of
// its fans not learn meanwhile, and sums up what came of each. Alerts ask their plan whether one runs
// (activities.Maintenances), by the times that this workflow shows ahead, so that no beginning depends on a worker.
func Maintenance(ctx workflow.Context, in MaintenanceInput) (fanwatch.MaintenanceStatus, error) {
	m := &maintenance{MaintenanceStatus: in.Status}
	if err := m.listen(ctx); err != nil {
		return m.MaintenanceStatus, err
	}
	for range timesPerRun {
		m.show(ctx)
		if err := m.once(ctx); err != nil {
			return m.MaintenanceStatus, err
		}
		if m.isOver() {
			return m.MaintenanceStatus, m.leave(ctx)
		}
	}
	if err := m.leave(ctx); err != nil {
		return m.MaintenanceStatus, err
	}
	return m.MaintenanceStatus, workflow.NewContinueAsNewError(ctx, Maintenance,
		MaintenanceInput{Status: m.MaintenanceStatus})
}

type maintenance struct {
	fanwatch.MaintenanceStatus
	end     *fanwatch.MaintenanceEnd // asked for, and not yet done
	pausing int                      // announcements that are on their way
}

func (m *maintenance) isOver() bool {
	return m.State == fanwatch.MaintenanceOver || m.State == fanwatch.MaintenanceCancelled
}

// listen installs the handlers of queries and updates.
func (m *maintenance) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.MaintenanceStatus, error) {
		return m.MaintenanceStatus, nil
	}, workflow.QueryHandlerOptions{Description: "The maintenance: of what, and when it is next."}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateEnd, func(ctx workflow.Context,
		end fanwatch.MaintenanceEnd) (fanwatch.MaintenanceStatus, error) {
		end.By = cmp.Or(fanwatch.Legible(end.By, maxEndBy), maintenanceBy)
		m.end = &end
		err := workflow.Await(ctx, func() bool { return m.end == nil || m.isOver() })
		return m.MaintenanceStatus, err
	}, workflow.UpdateHandlerOptions{Description: "End the time that runs, or cancel those that are planned. Input: " +
		"{\"by\": \"name\", \"all\": true to cancel the next ones, too}",
		Validator: func(_ workflow.Context, _ fanwatch.MaintenanceEnd) error {
			if m.isOver() {
				return temporal.NewApplicationError("the maintenance is over already", TypeEnded)
			}
			return nil
		}})
}

// plan sets the time after the one that is set; where there is none the maintenance is over. The history keeps what was
// found, so that another time-zone database changes no run.
func (m *maintenance) plan(ctx workflow.Context) {
	type found struct {
		activities.Occurrence
		OK bool `json:"ok"`
	}
	var next found
	err := workflow.SideEffect(ctx, func(workflow.Context) any {
		o, ok, _ := activities.NextOccurrence(m.Maintenance, m.Begin) // it was checked before its start
		return found{Occurrence: o, OK: ok}
	}).Get(&next)
	if err != nil || !next.OK {
		m.State, m.Next = fanwatch.MaintenanceOver, time.Time{}
		return
	}
	m.State, m.Paused = fanwatch.MaintenancePlanned, 0
	m.Begin, m.Until, m.Next = next.Begin, next.Until, next.Next
}

// once waits for one time and sees it through. The error is a cancellation's.
func (m *maintenance) once(ctx workflow.Context) error {
	ended, err := m.wait(ctx, m.Begin.Add(-pauseAhead))
	if err != nil {
		return err
	}
	if !ended {
		m.pause(ctx, m.Until)
		if ended, err = m.wait(ctx, m.Begin); err != nil {
			return err
		}
		if ended {
			m.pause(ctx, m.Begin)
		}
	}
	if ended {
		m.State, m.EndedBy, m.Next, m.end = fanwatch.MaintenanceCancelled, m.end.By, time.Time{}, nil
		return nil
	}
	m.State, m.EndedBy = fanwatch.MaintenanceRunning, ""
	m.show(ctx)
	if ended, err = m.wait(ctx, m.Until); err != nil {
		return err
	}
	return m.finish(ctx, ended)
}

// finish ends the time that runs, early by a request, and sums it up.
func (m *maintenance) finish(ctx workflow.Context, early bool) error {
	in := activities.SumUpInput{Maintenance: m.Maintenance, Begin: m.Begin, Until: m.Until}
	all := false
	if early {
		m.Until, m.EndedBy, all = workflow.Now(ctx).UTC(), m.end.By, m.end.All
		in.Until, in.EndedBy = m.Until, m.EndedBy
		m.pause(ctx, m.Until)
	}
	m.Times++
	if all {
		m.State, m.Next = fanwatch.MaintenanceOver, time.Time{}
	} else {
		m.plan(ctx)
	}
	m.end = nil
	if m.State == fanwatch.MaintenancePlanned {
		in.Next = m.Begin
	}
	m.show(ctx)
	if early {
		if err := workflow.Sleep(ctx, planAfter); err != nil {
			return err
		}
	}
	sum, err := sumUp(ctx, in)
	switch {
	case temporal.IsCanceledError(err):
		return err
	case err != nil:
		workflow.GetLogger(ctx).Error("what came of a maintenance could not be summed up", "maintenance", m.ID, "err", err)
		return nil
	}
	return deliver(ctx, sum.Notifications, summaryFor)
}

// wait returns when the time has come, or ended when the maintenance is to end before.
func (m *maintenance) wait(ctx workflow.Context, until time.Time) (ended bool, err error) {
	left := until.Sub(workflow.Now(ctx))
	if left <= 0 || m.end != nil {
		return m.end != nil, nil
	}
	return workflow.AwaitWithTimeout(ctx, left, func() bool { return m.end != nil })
}

// pause has the models of the fans not learn from readings of Begin until to, beside the loop. A mute leaves them.
func (m *maintenance) pause(ctx workflow.Context, to time.Time) {
	if m.Mute {
		return
	}
	in := activities.PauseInput{Maintenance: m.Maintenance, From: m.Begin, To: to, At: workflow.Now(ctx).UTC()}
	m.pausing++
	workflow.GoNamed(ctx, "pause", func(ctx workflow.Context) {
		defer func() { m.pausing-- }()
		fans, err := pauseModels(ctx, in)
		if err != nil {
			workflow.GetLogger(ctx).Error("models learn in a maintenance", "maintenance", m.ID, "err", err)
			return
		}
		if m.Begin.Equal(in.From) && !m.isOver() {
			m.Paused = fans
			m.show(ctx)
		}
	})
}

// leave waits, before a run ends, for what is still to be done by it.
func (m *maintenance) leave(ctx workflow.Context) error {
	m.show(ctx)
	return workflow.Await(ctx, func() bool { return m.pausing == 0 && workflow.AllHandlersFinished(ctx) })
}

func (m *maintenance) show(ctx workflow.Context) {
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoMaintenance: m.MaintenanceStatus}) // a status encodes
	workflow.SetCurrentDetails(ctx, m.details())
}

// details says in the Temporal Web UI how it stands.
func (m *maintenance) details() string {
	zone, err := m.Location()
	if err != nil {
		zone = time.UTC
	}
	clock := func(t time.Time) string { return t.In(zone).Format("Mon 2006-01-02 15:04 MST") }
	what := "Maintenance"
	if m.Mute {
		what = "Mute"
	}
	what += fmt.Sprintf(" of %s by %s ", m.Of(), m.By)
	switch m.State {
	case fanwatch.MaintenanceRunning:
		what += "runs until " + clock(m.Until)
	case fanwatch.MaintenancePlanned:
		what += "begins at " + clock(m.Begin)
	default:
		what += "is " + string(m.State)
	}
	if m.Why != "" {
		what += ": " + fanwatch.OneLine(m.Why)
	}
	return what + "."
}

// pauseModels runs Maintainer.PauseModels, which is retried without limit.
func pauseModels(ctx workflow.Context, in activities.PauseInput) (fans int, err error) {
	var a *activities.Maintainer
	o := workflow.GetActivityOptions(short(ctx, QueueControl))
	o.StartToCloseTimeout = pauseTimeout
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), a.PauseModels, in).Get(ctx, &fans)
	return fans, err
}

// sumUp runs Maintainer.SumUp, and gives up after sumUpFor.
func sumUp(ctx workflow.Context, in activities.SumUpInput) (r activities.Summary, err error) {
	var a *activities.Maintainer
	o := workflow.GetActivityOptions(short(ctx, QueueControl))
	o.StartToCloseTimeout, o.ScheduleToCloseTimeout = pauseTimeout, sumUpFor
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), a.SumUp, in).Get(ctx, &r)
	return r, err
}
