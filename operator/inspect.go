package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// The bounds of an inspection. Times of Temporal's server are compared with this process's clock, so a clock that
// is off by more than these makes findings, or hides them.
const (
	noHeartbeat  = 20 * time.Second // since a scorer's heartbeat, which comes every 1 to 5 s
	tooFarBehind = 30 * time.Second // distance of a scorer to its shard's newest record
	notTaken     = 20 * time.Second // wait of an activity for a worker
	notAnswered  = 5 * time.Second  // a notification that SNS does not answer
	unproven     = 20 * time.Second // age at which an attempt after a failed one counts as good
	fewTries     = 4                // failed tries of an activity that are a finding
	commitLong   = time.Minute      // time of one commit, which takes about 1 s
	commitLate   = 10 * time.Minute // since the committer's last commit without failure
	namedAtMost  = 5                // reasons in one finding
	endedAtMost  = 50               // workflows ended by other means that one inspection looks at
)

// The parts of fanwatch that findings name.
const (
	partScorer = "scorer"
	partStream = "stream"
	partLake   = "lake"
	partFans   = "fans"
	partPaging = activities.PartPaging
	partCanary = "canary"
)

// Inspect looks at every part of fanwatch through Temporal alone and returns what is wrong now, at most one finding per
// part. The error joins those of the parts that could not be looked at.
func (o Client) Inspect(ctx context.Context, stream string) ([]activities.Finding, error) {
	l := inspection{Client: o, now: time.Now()}
	var failed []error
	for _, part := range []func(context.Context, string) error{l.stream, l.shards, l.committer, l.schedules, l.fans,
		l.alerts} {
		failed = append(failed, part(ctx, stream))
	}
	return l.findings(), errors.Join(failed...)
}

// inspection is one call of Inspect.
type inspection struct {
	Client
	now    time.Time
	shard  []string            // IDs of the shards that can be scored, by the Stream's memo
	order  []string            // parts with reasons, in the order of their first
	reason map[string][]string // by part
}

// addReason adds a reason to a part's finding.
func (l *inspection) addReason(part, format string, args ...any) {
	if l.reason == nil {
		l.reason = map[string][]string{}
	}
	if len(l.reason[part]) == 0 {
		l.order = append(l.order, part)
	}
	l.reason[part] = append(l.reason[part], fmt.Sprintf(format, args...))
}

func (l *inspection) findings() []activities.Finding {
	var out []activities.Finding
	for _, part := range l.order {
		why := l.reason[part]
		text := strings.Join(why[:min(len(why), namedAtMost)], " ")
		if more := len(why) - namedAtMost; more > 0 {
			text += fmt.Sprintf(" And %d more.", more)
		}
		out = append(out, activities.Finding{Part: part, Why: text})
	}
	return out
}

// workflowRun is a run of a workflow and its pending activities.
type workflowRun struct {
	info    *workflowpb.WorkflowExecutionInfo
	pending []*workflowpb.PendingActivityInfo
}

// running returns the newest run of a workflow; ok reports whether it runs.
func (l *inspection) running(ctx context.Context, id string) (r workflowRun, ok bool, err error) {
	d, err := l.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("describe %s: %w", id, err)
	}
	r = workflowRun{d.GetWorkflowExecutionInfo(), d.GetPendingActivities()}
	return r, r.info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// stuck returns why an activity of a few seconds is not done, or "".
func (l *inspection) stuck(a *workflowpb.PendingActivityInfo) string {
	switch {
	case a.GetAttempt() >= fewTries && a.GetLastFailure() != nil:
		return fmt.Sprintf("%s fails: %s", a.GetActivityType().GetName(), failure(a))
	case a.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED && a.GetAttempt() <= 1 &&
		l.now.Sub(a.GetScheduledTime().AsTime()) >= notTaken:
		return fmt.Sprintf("no worker takes %s: start one", a.GetActivityType().GetName())
	}
	return ""
}

// failure returns an activity's last failure in one line.
func failure(a *workflowpb.PendingActivityInfo) string {
	f := a.GetLastFailure()
	for f.GetMessage() == "" && f.GetCause() != nil {
		f = f.GetCause()
	}
	text := strings.TrimRight(fanwatch.Legible(f.GetMessage(), 400), ". ")
	if text == "" {
		text = "for a reason that is not given"
	}
	return text
}

// stream looks at the Stream workflow.
func (l *inspection) stream(ctx context.Context, stream string) error {
	r, ok, err := l.running(ctx, workflows.StreamID(stream))
	if err != nil {
		return err
	}
	if !ok {
		l.addReason(partStream, "The workflow %s does not run, so no new shard is scored: start a worker.",
			workflows.StreamID(stream))
		return nil
	}
	l.shard, _, _ = memo[[]string](r.info, workflows.MemoShards) // none with an earlier program
	if why, known, _ := memo[string](r.info, workflows.MemoTrouble); known && why != "" {
		l.addReason(partStream, "Stream %s: %s.", stream, strings.TrimRight(fanwatch.Legible(why, 400), ". "))
	}
	for _, a := range r.pending {
		if why := l.stuck(a); why != "" {
			l.addReason(partStream, "The shards of stream %s cannot be listed: %s.", stream, why)
		}
	}
	return nil
}

// shards looks at the scoring of every shard.
func (l *inspection) shards(ctx context.Context, stream string) error {
	ids := map[string]bool{}
	for _, shard := range l.shard {
		ids[workflows.ShardID(stream, shard)] = true
	}
	listed, err := l.executions(ctx, `WorkflowType = "Shard" AND ExecutionStatus = "Running"`, 0)
	if err != nil {
		return err
	}
	for _, w := range listed {
		ids[w.GetExecution().GetWorkflowId()] = true
	}
	ended := false
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		name := id[strings.LastIndexByte(id, '/')+1:]
		r, ok, err := l.running(ctx, id)
		if err != nil {
			return err
		}
		if !ok {
			ended = true
			l.addReason(partScorer, "Shard %s is not scored: its workflow was ended; it is being started again.", name)
			continue
		}
		if why := l.scoring(r); why != "" {
			l.addReason(partScorer, "Shard %s %s.", name, why)
		}
	}
	if ended { // the Stream starts a Shard again by this signal alone
		return l.Temporal.SignalWorkflow(ctx, workflows.StreamID(stream), "", workflows.SignalShards, nil)
	}
	return nil
}

// scoring returns what is wrong with the activity that scores a shard, or "".
func (l *inspection) scoring(r workflowRun) string {
	for _, a := range r.pending {
		if a.GetActivityType().GetName() != "ScoreShard" {
			continue
		}
		beat := a.GetLastHeartbeatTime().AsTime()
		var p activities.Progress
		if d := a.GetHeartbeatDetails(); d != nil && len(d.GetPayloads()) > 0 {
			// Progress of another version stays zero.
			_ = converter.GetDefaultDataConverter().FromPayload(d.GetPayloads()[0], &p)
		}
		fans := ""
		if p.Fans > 0 {
			fans = fmt.Sprintf(", %d fans are not judged", p.Fans)
		}
		last := max(beat.UnixNano(), a.GetLastStartedTime().AsTime().UnixNano())
		switch {
		case a.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED && a.GetLastFailure() == nil &&
			l.now.Sub(a.GetScheduledTime().AsTime()) >= notTaken:
			return "is not read" + fans + ": no score worker takes it: start one"
		case a.GetLastFailure() != nil && (a.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED ||
			l.now.Sub(a.GetLastStartedTime().AsTime()) < unproven):
			return "is not read" + fans + ": " + failure(a)
		case a.GetState() != enums.PENDING_ACTIVITY_STATE_SCHEDULED && l.now.Sub(time.Unix(0, last)) >= noHeartbeat:
			return "is not read" + fans + fmt.Sprintf(": its scorer gave no sign of life for %s",
				l.now.Sub(time.Unix(0, last)).Round(time.Second))
		case p.Trouble != "":
			return "has trouble: " + strings.TrimRight(fanwatch.Legible(p.Trouble, 400), ". ")
		case !p.Through.IsZero() && p.Now.Sub(p.Through) >= tooFarBehind:
			return fmt.Sprintf("is read %s late: its scorer does not keep up; add workers or shards",
				p.Now.Sub(p.Through).Round(time.Second))
		}
	}
	return ""
}

func (l *inspection) committer(ctx context.Context, _ string) error {
	r, ok, err := l.running(ctx, workflows.CommitterID)
	if err != nil {
		return err
	}
	if !ok {
		l.addReason(partLake, "The workflow %s does not run, so nothing gets into the tables: start a worker.",
			workflows.CommitterID)
		return nil
	}
	c, known, _ := memo[workflows.CommitterState](r.info, workflows.MemoCommitter)
	var why string
	for _, a := range r.pending {
		why = l.stuck(a)
		runs := l.now.Sub(a.GetLastStartedTime().AsTime())
		if why == "" && a.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED && runs >= commitLong {
			why = fmt.Sprintf("a round has been under way for %s: see whether S3 and the catalog answer",
				runs.Round(time.Second))
		}
	}
	switch {
	case why != "":
		l.addReason(partLake, "Nothing gets into the tables: %s.", why)
	case known && !c.Failed.IsZero():
		l.addReason(partLake, "Rounds of the committer fail since %s: %s.", c.Failed.UTC().Format(time.RFC3339),
			strings.TrimRight(fanwatch.Legible(c.Why, 400), ". "))
	case known && !c.Done.IsZero() && l.now.Sub(c.Done) >= commitLate:
		l.addReason(partLake, "Nothing got into the tables since %s: see the workflow %s.", c.Done.UTC().Format(time.RFC3339),
			workflows.CommitterID)
	}
	return nil
}

// schedules looks at the newest run of each schedule's workflow.
func (l *inspection) schedules(ctx context.Context, _ string) error {
	for _, s := range []struct{ id, workflow, part, what string }{
		{workflows.ScheduleCompact, "Compact", partLake, "The compaction"},
		{workflows.ScheduleMaintain, "Maintain", partLake, "The maintenance"},
		{workflows.ScheduleCount, "Reconcile", partLake, "The reconciliation"},
		{workflows.ScheduleIngest, "Ingest", partLake, "The ingestion"},
		{workflows.ScheduleCanary, "Canary", partCanary, "Paging is broken: the canary's page"},
	} {
		if err := l.schedule(ctx, s.id, s.workflow, s.part, s.what); err != nil {
			return err
		}
	}
	return nil
}

func (l *inspection) schedule(ctx context.Context, id, workflow, part, what string) error {
	d, err := l.Temporal.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil // without a delivery stream there is no ingestion; Keep makes the others anew
	case err != nil:
		return fmt.Errorf("schedule %s: %w", id, err)
	case d.Schedule.State != nil && d.Schedule.State.Paused:
		l.addReason(part, "The schedule %s is paused: unpause it in the Temporal Web UI.", id)
		return nil
	}
	runs, err := l.executions(ctx, fmt.Sprintf("WorkflowType = %q", workflow), 3)
	if err != nil {
		return err
	}
	for _, w := range runs { // newest first
		if w.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			r, ok, err := l.running(ctx, w.GetExecution().GetWorkflowId())
			if err != nil {
				return err
			}
			for _, a := range r.pending {
				if why := l.stuck(a); ok && why != "" {
					l.addReason(part, "%s is stuck: %s.", what, why)
					return nil
				}
			}
			continue // the result of the run before holds
		}
		if w.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			l.addReason(part, "%s failed at %s: %s.", what, w.GetCloseTime().AsTime().Format(time.RFC3339), l.why(ctx, w))
		}
		return nil
	}
	return nil
}

// why returns a closed workflow's error in one line.
func (l *inspection) why(ctx context.Context, w *workflowpb.WorkflowExecutionInfo) string {
	err := l.Temporal.GetWorkflow(ctx, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()).Get(ctx, nil)
	if err == nil {
		return w.GetStatus().String()
	}
	return strings.TrimRight(fanwatch.Legible(userMessage(err).Error(), 400), ". ")
}

// endedOtherwise is a query for workflows that were ended by hand or by the server.
const endedOtherwise = `ExecutionStatus IN ("Terminated", "Canceled", "Failed", "TimedOut")`

// fans finds the fans whose workflow was ended by other means than retiring. The scorer starts another at the next
// change of state; until then lists lack the fan.
func (l *inspection) fans(ctx context.Context, _ string) error {
	ended, err := l.executions(ctx, `WorkflowType = "Fan" AND `+endedOtherwise, endedAtMost)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, w := range ended {
		id := w.GetExecution().GetWorkflowId()
		if seen[id] {
			continue
		}
		seen[id] = true
		r, ok, err := l.running(ctx, id)
		if err != nil {
			return err
		}
		s, known, _ := memo[fanwatch.FanStatus](r.info, workflows.MemoFan)
		if ok || id == workflows.FanID(fanwatch.CanaryFan) || known && s.Phase == fanwatch.PhaseRetired ||
			r.info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			continue
		}
		fan := strings.TrimPrefix(id, workflows.FanID(""))
		l.addReason(partFans, "The workflow of fan %s was ended (%s): its lists are empty until it changes; provision it "+
			"again, or retire it.", fan, strings.ToLower(r.info.GetStatus().String()))
	}
	return nil
}

// alerts finds notifications that could not be sent, and signals fans that their alert was ended by other means, so
// that a fan that is still in trouble opens the next.
func (l *inspection) alerts(ctx context.Context, _ string) error {
	open, err := l.executions(ctx, `WorkflowType = "Alert" AND ExecutionStatus = "Running"`, 0)
	if err != nil {
		return err
	}
	failed := map[string]string{}
	described := 0
	for _, w := range open {
		a, ok, _ := memo[fanwatch.Alert](w, workflows.MemoAlert)
		for _, f := range a.Failed {
			if ok {
				failed[f.To] = f.Why
			}
		}
		if a.State == fanwatch.AlertAcknowledged || described >= endedAtMost {
			continue
		}
		described++ // the newest alerts stand for all, because all notify through SNS
		if err := l.notices(ctx, w.GetExecution().GetWorkflowId()); err != nil {
			return err
		}
	}
	for _, to := range slices.Sorted(maps.Keys(failed)) {
		l.addReason(partPaging, "Topic %.256q cannot be told: %s; mend the topic or the policy file.", to,
			strings.TrimRight(fanwatch.Legible(failed[to], 400), ". "))
	}
	ended, err := l.executions(ctx, `WorkflowType = "Alert" AND `+endedOtherwise, endedAtMost)
	if err != nil {
		return err
	}
	for _, w := range ended {
		a, ok, _ := memo[fanwatch.Alert](w, workflows.MemoAlert)
		if !ok || a.Kind == fanwatch.KindPipeline || a.Kind == fanwatch.KindDifference {
			continue // Watch and Reconcile look after these
		}
		if err := l.signalAlertOver(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// notices finds notifications of an alert that are on their way for too long, because SNS does not answer or fails.
// They are not given up yet, so the alert does not show them.
func (l *inspection) notices(ctx context.Context, id string) error {
	r, ok, err := l.running(ctx, id)
	if err != nil || !ok {
		return err
	}
	for _, a := range r.pending {
		if a.GetActivityType().GetName() != "Notify" {
			continue
		}
		waits := l.now.Sub(a.GetLastStartedTime().AsTime())
		switch {
		case a.GetAttempt() > 2 && a.GetLastFailure() != nil:
			l.addReason(partPaging, "People are not told of %s: %s.", id, failure(a))
			return nil
		case a.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED && waits >= notAnswered:
			l.addReason(partPaging, "People are not told of %s: SNS gives no answer for %s.", id, waits.Round(time.Second))
			return nil
		case l.stuck(a) != "":
			l.addReason(partPaging, "People are not told of %s: %s.", id, l.stuck(a))
			return nil
		}
	}
	return nil
}

// signalAlertOver signals a fan that its alert is over, if its status still has it open.
func (l *inspection) signalAlertOver(ctx context.Context, a fanwatch.Alert) error {
	r, ok, err := l.running(ctx, workflows.FanID(a.Fan))
	if err != nil || !ok {
		return err
	}
	s, known, _ := memo[fanwatch.FanStatus](r.info, workflows.MemoFan)
	if !known || !slices.Contains(s.OpenAlerts(), a.ID) {
		return nil
	}
	if running, err := l.Running(ctx, a.ID); err != nil || running {
		return err
	}
	return l.Temporal.SignalWorkflow(ctx, workflows.FanID(a.Fan), "", workflows.SignalAlertOver, a)
}
