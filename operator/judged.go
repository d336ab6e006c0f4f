package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// ShardUnread is the time without progress after which a shard counts as not read: three heartbeat time-outs.
const ShardUnread = 30 * time.Second

// describesAtOnce is the number of concurrent calls to Temporal of one Judged.
const describesAtOnce = 8

// Judging says whether a fan's readings are judged.
type Judging string

// The values of Judging.
const (
	// JudgingNow says that a reading was judged at its arrival within the last activities.UnjudgedAfter.
	JudgingNow Judging = "now"
	// JudgingStopped says that the shard is read and no reading of the fan was judged for longer than that.
	JudgingStopped Judging = "stopped"
	// JudgingNever says that the shard is read and no reading of the fan was ever judged.
	JudgingNever Judging = "never"
	// JudgingUnread says that the fan's shard is not read, or that no control worker takes its scorer's signals.
	JudgingUnread Judging = "unread"
	// JudgingUnknown says that the scorer does not say, because it is of an earlier version or has just started.
	JudgingUnknown Judging = "unknown"
)

// Judgement is what is known of the newest judged reading of one fan. Its times are by the scorer's clock.
type Judgement struct {
	Judging Judging `json:"judging"`
	Shard   string  `json:"shard,omitempty"` // the shard whose scorer says so; "" when none does
	// At is when the newest reading was judged, early by up to activities.UnjudgedAfter; zero: never, or not known.
	At time.Time `json:"judged_at,omitzero"`
	// Since is when judging ended, with JudgingStopped and JudgingUnread; zero: not known.
	Since time.Time `json:"unjudged_since,omitzero"`
	// Why is the reason in one line, with JudgingUnread and JudgingUnknown.
	Why string `json:"unjudged_why,omitempty"`
}

// Blind reports whether a fan must not be shown as normal, though its workflow has no trouble: its shard is not
// read, or no reading of it was judged for longer than its silence time. now is by the scorer's clock.
func (j Judgement) Blind(f fanwatch.FanStatus, now time.Time) bool {
	if f.Phase != fanwatch.PhaseActive || f.Last.Anomaly.Kind != fanwatch.KindNone {
		return false
	}
	silence, since := f.Device.SilenceAfter(), j.Since
	switch j.Judging {
	case JudgingUnread:
		return true
	case JudgingNever:
		since = f.Since
	case JudgingNow: // by the newest heartbeat, which may be old
		if j.At.IsZero() {
			return false
		}
		since = j.At.Add(activities.UnjudgedAfter)
	case JudgingUnknown:
		return false
	}
	return silence > 0 && now.Sub(since) > silence
}

const (
	// NotJudged is the state of a fan for which Judgement.Blind is true.
	NotJudged = "not judged"
	// NotKnown is the state of a fan whose scorer does not say whether it is judged, though it should.
	NotKnown = "not known"
)

// State returns a fan's state as lists show it: its phase, its kind of trouble, [NotJudged], "no reading yet",
// [NotKnown], or "normal".
func State(f fanwatch.FanStatus, j Judgement, now time.Time) string {
	switch {
	case f.Phase != fanwatch.PhaseActive:
		return string(f.Phase)
	case f.Last.Anomaly.Kind != fanwatch.KindNone:
		return string(f.Last.Anomaly.Kind)
	case j.Blind(f, now):
		return NotJudged
	case f.Last.V == 0 && j.Judging != JudgingNow: // its workflow has no observation yet
		return "no reading yet"
	case j.Judging == JudgingUnknown && f.Device.SilenceAfter() > 0:
		return NotKnown
	}
	return "normal"
}

// ShardStatus is a shard by the newest heartbeat of its scorer.
type ShardStatus struct {
	Shard         string              `json:"shard"`
	Read          bool                `json:"read"`              // the shard made progress within ShardUnread
	LastHeartbeat time.Time           `json:"heard,omitzero"`    // time of the newest heartbeat
	Progress      activities.Progress `json:"progress"`          // its detail; version 0: it says nothing of fans
	Attempt       int                 `json:"attempt,omitempty"` // of the activity, from 1
	Since         time.Time           `json:"since,omitzero"`    // all that arrived before was judged; zero: not known
	Why           string              `json:"why,omitempty"`     // why it is not read, or says nothing of its fans

	holds    func(fan string) bool // nil: the range of hash keys is not known
	unjudged map[string]time.Time  // Progress.Unjudged by fan
	expected int                   // number of fans that its scorer must know, set by Judged.Expect
}

// Judged is the state of judging by the newest heartbeats of all scorers.
type Judged struct {
	Now    time.Time // of the inspection, by the scorers' clock
	Shards []ShardStatus
	// NoControl says that no control worker answers, so that changes of state may not have reached the fans' workflows;
	// "" while one answers.
	NoControl      string
	NoControlSince time.Time // when a control worker last answered, with NoControl
}

// controlSilent is the time without a heartbeat of Watch's activity, which runs on a control worker and sends one every
// 5 s, after which no control worker counts as answering.
const controlSilent = 12 * time.Second

// control sets j.NoControl when no control worker answers. Without a Watch, as with an earlier program, it sets
// nothing.
func (o Client) control(ctx context.Context, j *Judged) {
	d, err := o.Temporal.DescribeWorkflowExecution(ctx, workflows.WatchID, "")
	if err != nil || d.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return
	}
	lastSeen := timeOf(d.GetPendingWorkflowTask().GetOriginalScheduledTime()) // when it began to wait for a control worker
	for _, p := range d.GetPendingActivities() {
		lastSeen = cmp.Or(timeOf(p.GetLastHeartbeatTime()), timeOf(p.GetLastStartedTime()), timeOf(p.GetScheduledTime()))
	}
	if !lastSeen.IsZero() && j.Now.Sub(lastSeen) > controlSilent {
		j.NoControl = "no control worker answers since " + clock(lastSeen) + ", so a change of state may not be known"
		j.NoControlSince = lastSeen
	}
}

// Judged reads the newest heartbeats of all scorers from Temporal. It needs no worker. A shard that cannot be read
// is in the result, with the reason. now is by the scorers' clock; 30 s beside it make shards look unread.
func (o Client) Judged(ctx context.Context, now time.Time) (Judged, error) {
	runs, err := o.running(ctx, "Shard")
	if err != nil {
		return Judged{}, err
	}
	j := Judged{Now: now, Shards: make([]ShardStatus, len(runs))}
	o.control(ctx, &j)
	slots := make(chan struct{}, describesAtOnce)
	var wait sync.WaitGroup
	for i, run := range runs {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			j.Shards[i] = o.shard(ctx, run, now)
		})
	}
	wait.Wait()
	slices.SortFunc(j.Shards, func(a, b ShardStatus) int { return strings.Compare(a.Shard, b.Shard) })
	return j, nil
}

// running returns the open workflows of a type.
func (o Client) running(ctx context.Context, kind string) (all []*commonpb.WorkflowExecution, err error) {
	found, err := o.executions(ctx, `WorkflowType = "`+kind+`" AND ExecutionStatus = "Running"`, 0)
	for _, w := range found {
		all = append(all, w.GetExecution())
	}
	return all, err
}

// shard describes one Shard workflow.
func (o Client) shard(ctx context.Context, run *commonpb.WorkflowExecution, now time.Time) ShardStatus {
	id := run.GetWorkflowId()
	s := ShardStatus{Shard: id[strings.LastIndexByte(id, '/')+1:]}
	d, err := o.Temporal.DescribeWorkflowExecution(ctx, id, run.GetRunId())
	var sh activities.Shard
	if err == nil {
		sh, err = o.shardOf(ctx, d)
	}
	if err == nil {
		s.holds, err = sh.Holds()
	}
	if err != nil {
		s.Why = "its workflow cannot be read: " + fanwatch.Legible(err.Error(), 200)
		return s
	}
	s.judge(d, now)
	return s
}

// shardOf returns the shard with its range of hash keys: from the workflow's memo or, in a workflow of an earlier
// program that has none, from its input, which is in its first event.
func (o Client) shardOf(ctx context.Context, d *workflowservice.DescribeWorkflowExecutionResponse) (sh activities.Shard,
	err error) {
	info := d.GetWorkflowExecutionInfo()
	if sh, ok, err := memo[activities.Shard](info, workflows.MemoShard); ok || err != nil {
		return sh, err
	}
	h := o.Temporal.GetWorkflowHistory(ctx, info.GetExecution().GetWorkflowId(), info.GetExecution().GetRunId(), false,
		enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	first, err := h.Next()
	if err != nil {
		return sh, err
	}
	var in activities.ScoreInput
	err = converter.GetDefaultDataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(),
		&in)
	return in.Shard, err
}

// judge sets the status from the pending activity.
func (s *ShardStatus) judge(d *workflowservice.DescribeWorkflowExecutionResponse, now time.Time) {
	i := slices.IndexFunc(d.GetPendingActivities(),
		func(p *workflowpb.PendingActivityInfo) bool { return p.GetActivityType().GetName() == "ScoreShard" })
	if i < 0 { // between two activities, which takes a control worker
		waits := timeOf(d.GetPendingWorkflowTask().GetOriginalScheduledTime())
		if !waits.IsZero() && now.Sub(waits) > ShardUnread {
			s.Since, s.Why = waits, "its workflow waits for a control worker since "+clock(waits)
			return
		}
		s.Read, s.Why = true, "one scorer hands it to the next"
		return
	}
	p := d.GetPendingActivities()[i]
	s.LastHeartbeat, s.Attempt = timeOf(p.GetLastHeartbeatTime()), int(p.GetAttempt())
	if err := converter.GetDefaultDataConverter().FromPayloads(p.GetHeartbeatDetails(), &s.Progress); err != nil {
		s.Progress = activities.Progress{} // it is of another version
	}
	s.unjudged = make(map[string]time.Time, len(s.Progress.Unjudged))
	for _, u := range s.Progress.Unjudged {
		s.unjudged[u.Fan] = u.Since
	}
	var known time.Time // time of the newest progress, or of the start of an attempt without any
	switch {
	case s.Progress.V == 0 || s.Progress.Now.IsZero():
		known, s.Since, s.Why = s.LastHeartbeat, s.LastHeartbeat, "its scorer says nothing of fans"
	case s.Progress.Through.IsZero():
		s.Why = "its scorer has read nothing yet"
	default:
		known, s.Since = s.Progress.Through, s.Progress.Through
	}
	if known.IsZero() {
		known = cmp.Or(timeOf(p.GetLastStartedTime()), timeOf(p.GetScheduledTime()))
	}
	if now.Sub(known) <= ShardUnread {
		s.Read = true
		return
	}
	failure, waiting := p.GetLastFailure().GetMessage(), p.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED
	switch {
	case failure != "":
		s.Why = fmt.Sprintf("attempt %d: %s", s.Attempt, fanwatch.Legible(failure, 200))
	case s.Progress.Trouble != "":
		s.Why = fanwatch.Legible(s.Progress.Trouble, 200)
	case waiting:
		s.Why = "no score worker takes it"
	case now.Sub(s.LastHeartbeat) > ShardUnread:
		s.Why = "its scorer has not answered since " + clock(cmp.Or(s.LastHeartbeat, known))
	default:
		s.Why = "its scorer is behind"
	}
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// expectAfter is the time since its last change of state after which a fan must be known to its scorer.
const expectAfter = time.Minute

// Expect counts the fans of each shard. A scorer that knows fewer, as after a reshard that lost its parents' state,
// does not name those that it does not know; then no fan that it does not name counts as judged.
func (j Judged) Expect(fans []fanwatch.FanStatus) {
	for i := range j.Shards {
		s := &j.Shards[i]
		s.expected = 0
		for _, f := range fans {
			if s.holds != nil && f.Phase == fanwatch.PhaseActive && j.Now.Sub(f.Since) > expectAfter && s.holds(f.Device.Fan) {
				s.expected++
			}
		}
	}
}

// Of returns the judgement of one fan. Where more than one shard may have it, as after a reshard, a shard that is read
// counts before one that is not, and one that names the fan before one that does not.
func (j Judged) Of(d fanwatch.Device) Judgement {
	if j.NoControl != "" {
		return Judgement{Judging: JudgingUnread, Since: j.NoControlSince, Why: j.NoControl}
	}
	best, rank := Judgement{Judging: JudgingUnread, Why: "no workflow scores its shard"}, -1
	for _, s := range j.Shards {
		switch {
		case s.holds == nil && rank < 0: // the fan may be on this shard
			best = Judgement{Judging: JudgingUnknown, Shard: s.Shard, Why: "shard " + s.Shard + ": " + s.Why}
		case s.holds != nil && s.holds(d.Fan):
			if v, r := s.of(d); r > rank {
				best, rank = v, r
			}
		}
	}
	return best
}

// of returns the judgement of a fan that is on the shard, and its rank among shards.
func (s ShardStatus) of(d fanwatch.Device) (j Judgement, rank int) {
	j.Shard = s.Shard
	p, named := s.Progress, false
	if p.V != 0 && !p.Now.IsZero() && !p.Through.IsZero() {
		switch j.At, named = s.unjudged[d.Fan]; {
		case named:
		case d.SilenceAfter() == 0:
			j.Why = "it may be silent for ever, so its scorer does not say"
		case len(p.Unjudged) < activities.MaxUnjudged:
			j.At = p.Now.Add(-activities.UnjudgedAfter)
		default: // the list is full: fans that it lacks were judged later than its last
			j.At = p.Unjudged[len(p.Unjudged)-1].Since
			j.Why = fmt.Sprintf("more than %d fans of %s are not judged", activities.MaxUnjudged, s.Shard)
		}
	}
	switch {
	case !s.Read:
		j.Judging, j.Why = JudgingUnread, fmt.Sprintf("shard %s is not read: %s", s.Shard, s.Why)
		if j.Since = j.At; j.Since.IsZero() && !named {
			j.Since = s.Since
		}
		return j, 0
	case s.Why != "":
		j.Judging, j.Why = JudgingUnknown, fmt.Sprintf("shard %s: %s", s.Shard, s.Why)
		return j, 1
	case named && j.At.IsZero():
		j.Judging = JudgingNever
		return j, 3
	case named:
		j.Judging, j.Since = JudgingStopped, j.At
		return j, 3
	case j.Why != "":
		j.Judging = JudgingUnknown
		return j, 1
	case s.Progress.Fans < s.expected:
		j.Judging, j.At = JudgingUnread, time.Time{}
		j.Why = fmt.Sprintf("the scorer of shard %s knows %d of its %d fans, and may not know this one", s.Shard,
			s.Progress.Fans, s.expected)
		return j, 0
	}
	j.Judging = JudgingNow
	return j, 2
}
