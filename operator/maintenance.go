package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// AddMaintenance starts a maintenance, names it where it has no ID, and returns it. The error says what is wrong with
// it, or wraps [ErrUnknown] when its fan is not provisioned.
func (o Client) AddMaintenance(ctx context.Context, m fanwatch.Maintenance, now time.Time) (
	s fanwatch.MaintenanceStatus, err error) {
	m.V = fanwatch.MaintenanceVersion
	named := m.ID != ""
	if !named {
		m.ID = maintenanceID(m)
	}
	if err := activities.CheckMaintenance(m, now); err != nil {
		return s, err
	}
	if m.Fan != "" {
		known, err := o.Known(ctx, m.Fan)
		if err != nil {
			return s, err
		}
		if !known {
			return s, fmt.Errorf("fan %s: %w: no fan of that name is provisioned (see fanwatch fans)", m.Fan, ErrUnknown)
		}
	}
	first, _, err := activities.FirstOccurrence(m, now)
	if err != nil {
		return s, err
	}
	for n := 2; ; n++ {
		s = fanwatch.MaintenanceStatus{Maintenance: m, State: fanwatch.MaintenancePlanned, Begin: first.Begin,
			Until: first.Until, Next: first.Next}
		err := o.startMaintenance(ctx, s)
		if !temporal.IsWorkflowExecutionAlreadyStartedError(err) || named || n > 100 {
			return s.At(now), err
		}
		m.ID = fmt.Sprintf("%s-%d", maintenanceID(m), n)
	}
}

func (o Client) startMaintenance(ctx context.Context, s fanwatch.MaintenanceStatus) error {
	_, err := o.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: s.ID, TaskQueue: workflows.QueueControl,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     map[string]any{workflows.MemoMaintenance: s},
		StaticSummary:                            "maintenance of " + s.Of(),
	}, workflows.Maintenance, workflows.MaintenanceInput{Status: s})
	if err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return fmt.Errorf("start %s: %w", s.ID, err)
	}
	return err
}

// maintenanceID names a maintenance by what it is of and when it begins.
func maintenanceID(m fanwatch.Maintenance) string {
	of := strings.ToLower(cmp.Or(m.Fan, m.Site, "all"))
	if m.Fan != "" {
		of = m.Fan
	}
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.':
			return r
		}
		return '-'
	}, of), "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return "maintenance/" + name[:min(len(name), 120)] + "-" + m.From.UTC().Format("20060102T1504")
}

// OpenMaintenances returns the maintenances that are planned or run. It needs no worker.
func (o Client) OpenMaintenances(ctx context.Context) ([]fanwatch.MaintenanceStatus, error) {
	return o.listMaintenances(ctx, `ExecutionStatus = "Running"`)
}

// pastMaintenances is the largest number of maintenances that Maintenances returns of those that are over.
const pastMaintenances = 100

// Maintenances returns the maintenances as they are at now: those that run first, then the planned ones, each by its
// beginning, and, with past, behind them the newest 100 that are over or cancelled, newest first. It needs no worker.
func (o Client) Maintenances(ctx context.Context, past bool, now time.Time) ([]fanwatch.MaintenanceStatus, error) {
	all, err := o.OpenMaintenances(ctx)
	if err != nil {
		return nil, err
	}
	if past {
		over, err := o.listMaintenances(ctx,
			`ExecutionStatus IN ("Completed", "Terminated", "Canceled", "Failed", "TimedOut")`)
		if err != nil {
			return nil, err
		}
		all = append(all, over...)
	}
	for i := range all {
		all[i] = all[i].At(now)
	}
	slices.SortFunc(all, func(a, b fanwatch.MaintenanceStatus) int {
		if c := cmp.Compare(order(a), order(b)); c != 0 {
			return c
		}
		c := cmp.Or(a.Begin.Compare(b.Begin), cmp.Compare(a.ID, b.ID))
		if order(a) == 2 {
			return -c
		}
		return c
	})
	for i, s := range all {
		if order(s) == 2 {
			return all[:min(len(all), i+pastMaintenances)], nil
		}
	}
	return all, nil
}

// order is 0 for a maintenance that runs, 1 for one that is planned, 2 for one that is over.
func order(s fanwatch.MaintenanceStatus) int {
	switch s.State {
	case fanwatch.MaintenanceRunning:
		return 0
	case fanwatch.MaintenancePlanned:
		return 1
	}
	return 2
}

func (o Client) listMaintenances(ctx context.Context, which string) ([]fanwatch.MaintenanceStatus, error) {
	found, err := o.executions(ctx, `WorkflowType = "Maintenance" AND `+which, 0)
	if err != nil {
		return nil, err
	}
	var all []fanwatch.MaintenanceStatus
	for _, w := range found {
		if s, ok := maintenanceOf(w); ok {
			all = append(all, s)
		}
	}
	return all, nil
}

// maintenanceOf returns the maintenance as its memo shows it; ok is false without a readable memo. One whose workflow
// was ended from outside is cancelled.
func maintenanceOf(w *workflowpb.WorkflowExecutionInfo) (s fanwatch.MaintenanceStatus, ok bool) {
	s, ok, err := memo[fanwatch.MaintenanceStatus](w, workflows.MemoMaintenance)
	if err != nil || !ok {
		return s, false
	}
	switch w.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED,
		enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		s.State = fanwatch.MaintenanceCancelled
	}
	return s, true
}

// EndMaintenance ends the time of a maintenance that runs, or cancels it when none runs, and returns it. The error
// wraps [ErrUnknown] or [ErrEnded].
func (o Client) EndMaintenance(ctx context.Context, id string, end fanwatch.MaintenanceEnd) (
	s fanwatch.MaintenanceStatus, err error) {
	if !strings.HasPrefix(id, "maintenance/") {
		return s, fmt.Errorf("maintenance %.120q: %w: its ID begins with maintenance/ (see fanwatch maintenance list)", id,
			ErrUnknown)
	}
	err = o.update(ctx, id, workflows.UpdateEnd, &s, end)
	switch {
	case errors.Is(err, ErrEnded):
		return s, fmt.Errorf("%s is %w (see fanwatch maintenance list --past)", id, ErrEnded)
	case errors.Is(err, ErrUnknown):
		return s, fmt.Errorf("%s: %w: there is no such maintenance (see fanwatch maintenance list)", id, ErrUnknown)
	}
	return s, err
}

// AlertsDuring returns the alerts that were open at some time from one time on and before another, by the times of
// their workflows, without the canary's.
func (o Client) AlertsDuring(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error) {
	begun := fmt.Sprintf("StartTime < '%s' AND ", to.UTC().Format(time.RFC3339Nano))
	open, err := o.listAlerts(ctx, begun+`ExecutionStatus = "Running"`)
	if err != nil {
		return nil, err
	}
	over, err := o.listAlerts(ctx, begun+fmt.Sprintf(`ExecutionStatus != "Running" AND ExecutionStatus != `+
		`"ContinuedAsNew" AND CloseTime >= '%s'`, from.UTC().Format(time.RFC3339Nano)))
	if err != nil {
		return nil, err
	}
	all := append(open, over...)
	slices.SortStableFunc(all, func(a, b fanwatch.Alert) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b fanwatch.Alert) bool { return a.ID == b.ID }), nil
}

// Replan has an open alert read its plan again. That it is over is no error.
func (o Client) Replan(ctx context.Context, alert string) error {
	err := o.Temporal.SignalWorkflow(ctx, alert, "", workflows.SignalPlan, nil)
	var none *serviceerror.NotFound
	if err != nil && !errors.As(err, &none) {
		return fmt.Errorf("%s: %w", alert, err)
	}
	return nil
}
