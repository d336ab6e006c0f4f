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

// What a look holds the parts against. Times of Temporal's server are compared with this process's clock here, so a
// clock that is off by more than these makes findings, or hides them.
const (
	noHeartbeat  = 20 * time.Second // a scorer beats every 1 to 5 s
	tooFarBehind = 30 * time.Second // of a shard
	notTaken     = 20 * time.Second // an activity that waits for a worker
	notTold      = 5 * time.Second  // a notification that SNS does not answer
	unproven     = 20 * time.Second // a new attempt after a failed one may fail as well
	fewTries     = 4                // failed tries of an activity that say more than bad luck
	commitLong   = time.Minute      // one round of the committer, which takes a second as a rule
	commitLate   = 10 * time.Minute // since the committer's last good round
	namedAtMost  = 5                // fans or shards in one sentence
	endedAtMost  = 50               // workflows that were ended by other means, looked at in one look
)

// The parts of fanwatch that alerts of KindPipeline name.
const (
	partScorer = "scorer"
	partStream = "stream"
	partLake   = "lake"
	partFans   = "fans"
	partPaging = activities.PartPaging
	partCanary = "canary"
)

// Inspect looks at every part of fanwatch through Temporal alone and answers what is wrong now, at most one finding
// per part.
func (o Client) Inspect(ctx context.Context, stream string) ([]activities.Finding, error) {
	l := look{Client: o, now: time.Now()}
	var failed []error
	for _, part := range []func(context.Context, string) error{l.stream, l.shards, l.committer, l.schedules, l.fans,
		l.alerts} {
		failed = append(failed, part(ctx, stream)) // and the others are looked at all the same
	}
	return l.findings(), errors.Join(failed...)
}

// look is one inspection.
type look struct {
	Client
	now    time.Time
	shard  []string // IDs that should be scored, as the Stream lists them
	order  []string // parts with reasons
	reason map[string][]string
}

// say adds a reason to a part's finding.
func (l *look) say(part, format string, args ...any) {
	if l.reason == nil {
		l.reason = map[string][]string{}
	}
	if len(l.reason[part]) == 0 {
		l.order = append(l.order, part)
	}
	l.reason[part] = append(l.reason[part], fmt.Sprintf(format, args...))
}

func (l *look) findings() []activities.Finding {
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

// run is a running workflow and what it waits for.
type run struct {
	info    *workflowpb.WorkflowExecutionInfo
	pending []*workflowpb.PendingActivityInfo
}

// running returns the newest run of a workflow where it runs.
func (l *look) running(ctx context.Context, id string) (r run, ok bool, err error) {
	d, err := l.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("describe %s: %w", id, err)
	}
	r = run{d.GetWorkflowExecutionInfo(), d.GetPendingActivities()}
	return r, r.info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// stuck says why an activity of a few seconds is not done, or "".
func (l *look) stuck(a *workflowpb.PendingActivityInfo) string {
	switch {
	case a.GetAttempt() >= fewTries && a.GetLastFailure() != nil:
		return fmt.Sprintf("%s fails: %s", a.GetActivityType().GetName(), failure(a))
	case a.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED && a.GetAttempt() <= 1 &&
		l.now.Sub(a.GetScheduledTime().AsTime()) >= notTaken:
		return fmt.Sprintf("no worker takes %s: start one", a.GetActivityType().GetName())
	}
	return ""
}

// failure returns an activity's last failure as one line.
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

// stream looks at the workflow that lists the shards and has each scored.
func (l *look) stream(ctx context.Context, stream string) error {
	r, ok, err := l.running(ctx, workflows.StreamID(stream))
	if err != nil {
		return err
	}
	if !ok {
		l.say(partStream, "The workflow %s does not run, so no new shard is scored: start a worker.",
			workflows.StreamID(stream))
		return nil
	}
	l.shard, _, _ = memo[[]string](r.info, workflows.MemoShards) // one of an older program has none
	if why, known, _ := memo[string](r.info, workflows.MemoTrouble); known && why != "" {
		l.say(partStream, "Stream %s: %s.", stream, strings.TrimRight(fanwatch.Legible(why, 400), ". "))
	}
	for _, a := range r.pending {
		if why := l.stuck(a); why != "" {
			l.say(partStream, "The shards of stream %s cannot be listed: %s.", stream, why)
		}
	}
	return nil
}

// shards looks at the scoring of every shard.
func (l *look) shards(ctx context.Context, stream string) error {
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
			l.say(partScorer, "Shard %s is not scored: its workflow was ended; it is being started again.", name)
			continue
		}
		if why := l.scoring(r); why != "" {
			l.say(partScorer, "Shard %s %s.", name, why)
		}
	}
	if ended { // the Stream starts what it remembers to have started only when it is told to forget
		return l.Temporal.SignalWorkflow(ctx, workflows.StreamID(stream), "", workflows.SignalShards, nil)
	}
	return nil
}

// scoring says what is wrong with the activity that scores a shard, or "".
func (l *look) scoring(r run) string {
	for _, a := range r.pending {
		if a.GetActivityType().GetName() != "ScoreShard" {
			continue
		}
		beat := a.GetLastHeartbeatTime().AsTime()
		var p activities.Progress
		if d := a.GetHeartbeatDetails(); d != nil && len(d.GetPayloads()) > 0 {
			// of another version: then it says nothing
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

func (l *look) committer(ctx context.Context, _ string) error {
	r, ok, err := l.running(ctx, workflows.CommitterID)
	if err != nil {
		return err
	}
	if !ok {
		l.say(partLake, "The workflow %s does not run, so nothing gets into the tables: start a worker.",
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
		l.say(partLake, "Nothing gets into the tables: %s.", why)
	case known && !c.Failed.IsZero():
		l.say(partLake, "Rounds of the committer fail since %s: %s.", c.Failed.UTC().Format(time.RFC3339),
			strings.TrimRight(fanwatch.Legible(c.Why, 400), ". "))
	case known && !c.Done.IsZero() && l.now.Sub(c.Done) >= commitLate:
		l.say(partLake, "Nothing got into the tables since %s: see the workflow %s.", c.Done.UTC().Format(time.RFC3339),
			workflows.CommitterID)
	}
	return nil
}

// schedules looks at what runs by a schedule: its newest run has not failed, and is not stuck.
func (l *look) schedules(ctx context.Context, _ string) error {
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

func (l *look) schedule(ctx context.Context, id, workflow, part, what string) error {
	d, err := l.Temporal.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil // without a delivery stream there is no ingestion; Keep makes the others anew
	case err != nil:
		return fmt.Errorf("schedule %s: %w", id, err)
	case d.Schedule.State != nil && d.Schedule.State.Paused:
		l.say(part, "The schedule %s is paused: unpause it in the Temporal Web UI.", id)
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
					l.say(part, "%s is stuck: %s.", what, why)
					return nil
				}
			}
			continue // what the run before came to still holds
		}
		if w.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			l.say(part, "%s failed at %s: %s.", what, w.GetCloseTime().AsTime().Format(time.RFC3339), l.why(ctx, w))
		}
		return nil
	}
	return nil
}

// why returns a closed workflow's error as one line.
func (l *look) why(ctx context.Context, w *workflowpb.WorkflowExecutionInfo) string {
	err := l.Temporal.GetWorkflow(ctx, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()).Get(ctx, nil)
	if err == nil {
		return w.GetStatus().String()
	}
	return strings.TrimRight(fanwatch.Legible(userMessage(err).Error(), 400), ". ")
}

// endedOtherwise are the states of a workflow that a person or the server has ended.
const endedOtherwise = `ExecutionStatus IN ("Terminated", "Canceled", "Failed", "TimedOut")`

// fans finds the fans whose workflow was ended by other means than retiring: the scorer starts another at the next
// change of state, so that nothing is lost but what lists show until then.
func (l *look) fans(ctx context.Context, _ string) error {
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
		l.say(partFans, "The workflow of fan %s was ended (%s): its lists are empty until it changes; provision it "+
			"again, or retire it.", fan, strings.ToLower(r.info.GetStatus().String()))
	}
	return nil
}

// alerts finds notifications that could not be sent, and tells fans of alerts that were ended by other means: a fan
// that is in trouble still opens the next.
func (l *look) alerts(ctx context.Context, _ string) error {
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
		described++ // the channel is one: what it does to the newest alerts it does to all
		if err := l.notices(ctx, w.GetExecution().GetWorkflowId()); err != nil {
			return err
		}
	}
	for _, to := range slices.Sorted(maps.Keys(failed)) {
		l.say(partPaging, "Topic %.256q cannot be told: %s; mend the topic or the policy file.", to,
			strings.TrimRight(fanwatch.Legible(failed[to], 400), ". "))
	}
	ended, err := l.executions(ctx, `WorkflowType = "Alert" AND `+endedOtherwise, endedAtMost)
	if err != nil {
		return err
	}
	for _, w := range ended {
		a, ok, _ := memo[fanwatch.Alert](w, workflows.MemoAlert)
		if !ok || a.Kind == fanwatch.KindPipeline || a.Kind == fanwatch.KindDifference {
			continue // Watch and Reconcile look after their own
		}
		if err := l.forget(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// notices finds notifications of an alert that are on their way for too long: SNS does not answer, or fails again
// and again. They are not given up yet, so the alert does not say so itself.
func (l *look) notices(ctx context.Context, id string) error {
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
			l.say(partPaging, "People are not told of %s: %s.", id, failure(a))
			return nil
		case a.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED && waits >= notTold:
			l.say(partPaging, "People are not told of %s: SNS gives no answer for %s.", id, waits.Round(time.Second))
			return nil
		case l.stuck(a) != "":
			l.say(partPaging, "People are not told of %s: %s.", id, l.stuck(a))
			return nil
		}
	}
	return nil
}

// forget tells a fan that its alert is over where it still takes it for open.
func (l *look) forget(ctx context.Context, a fanwatch.Alert) error {
	r, ok, err := l.running(ctx, workflows.FanID(a.Fan))
	if err != nil || !ok {
		return err
	}
	if s, known, _ := memo[fanwatch.FanStatus](r.info, workflows.MemoFan); !known || s.Alert != a.ID {
		return nil
	}
	if running, err := l.Running(ctx, a.ID); err != nil || running {
		return err
	}
	return l.Temporal.SignalWorkflow(ctx, workflows.FanID(a.Fan), "", workflows.SignalAlertOver, a)
}
