package operator

import (
	"context"
	"errors"
	"fmt"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// Incident returns the status of the incident of a group from its memo; ok is false when none runs. It needs no worker.
func (o Client) Incident(ctx context.Context, key string) (s activities.IncidentStatus, ok bool, err error) {
	w, err := o.describe(ctx, workflows.IncidentID(key))
	if errors.Is(err, ErrUnknown) {
		return s, false, nil
	}
	if err != nil || w.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return s, false, err
	}
	s, _, err = memo[activities.IncidentStatus](w, workflows.MemoIncident)
	return s, true, err
}

// Join tells the incident of a group of alerts that are part of it, and starts it when none runs. It returns its
// workflow's ID. Alerts that it knows change nothing.
func (o Client) Join(ctx context.Context, j activities.Joining) (id string, err error) {
	id = workflows.IncidentID(j.Key)
	_, err = o.Temporal.SignalWithStartWorkflow(ctx, id, workflows.SignalJoin, j, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.QueueIncident, StaticSummary: "fans that fail together"},
		workflows.Incident, workflows.IncidentInput{Key: j.Key, Site: j.Site})
	if err != nil {
		return "", fmt.Errorf("join %s: %w", id, err)
	}
	return id, nil
}

// confirmedAtMost is the number of alerts that one call of AlertsOver looks at one by one.
const confirmedAtMost = 200

// AlertsOver returns those of the alerts whose trouble is over, or whose workflows have ended; of very many it returns
// some, and the rest by the next calls. It needs no worker.
func (o Client) AlertsOver(ctx context.Context, ids []string) ([]string, error) {
	open, err := o.listAlerts(ctx, `ExecutionStatus = "Running"`)
	if err != nil {
		return nil, err
	}
	goesOn := map[string]bool{}
	for _, a := range open {
		goesOn[a.ID] = a.State != fanwatch.AlertResolved
	}
	var over []string
	looked := 0
	for _, id := range ids {
		if goesOn[id] || looked == confirmedAtMost {
			continue
		}
		looked++
		a, err := o.Alert(ctx, id) // a list may be seconds old
		switch {
		case errors.Is(err, ErrUnknown) || err == nil && (a.State == fanwatch.AlertResolved ||
			a.State == fanwatch.AlertTerminated):
			over = append(over, id)
		case err != nil:
			return nil, err
		}
	}
	return over, nil
}
