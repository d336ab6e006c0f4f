package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

const highestHash = "340282366920938463463374607431768211455"

// shards is a Temporal server with Shard workflows.
type shards struct {
	client.Client
	of map[string]*workflowservice.DescribeWorkflowExecutionResponse // by workflow ID; nil: it cannot be described
}

func (s shards) ListWorkflow(context.Context,
	*workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	r := &workflowservice.ListWorkflowExecutionsResponse{}
	for id := range s.of {
		r.Executions = append(r.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{
			WorkflowId: id, RunId: "run"}})
	}
	return r, nil
}

func (s shards) DescribeWorkflowExecution(_ context.Context, id,
	_ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if d := s.of[id]; d != nil {
		return d, nil
	}
	return nil, errors.New("deadline exceeded")
}

// GetWorkflowHistory gives the first event of a workflow that was started before there was MemoShard.
func (s shards) GetWorkflowHistory(context.Context, string, string, bool,
	enums.HistoryEventFilterType) client.HistoryEventIterator {
	return firstEvent{}
}

type firstEvent struct{}

func (firstEvent) HasNext() bool { return true }
func (firstEvent) Next() (*historypb.HistoryEvent, error) {
	in, err := converter.GetDefaultDataConverter().ToPayloads(activities.ScoreInput{Shard: activities.Shard{ID: "old",
		StartHash: "0", EndHash: highestHash}})
	return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: in}}}, err
}

// scoring is a Shard whose activity is pending with that heartbeat.
func scoring(t *testing.T, sh activities.Shard, heard time.Time,
	p any) *workflowservice.DescribeWorkflowExecutionResponse {
	t.Helper()
	details, err := converter.GetDefaultDataConverter().ToPayloads(p)
	if err != nil {
		t.Fatal(err)
	}
	d := &workflowservice.DescribeWorkflowExecutionResponse{
		WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: "x",
			RunId: "run"}},
		PendingActivities: []*workflowpb.PendingActivityInfo{{ActivityType: &commonpb.ActivityType{Name: "ScoreShard"},
			State:             enums.PENDING_ACTIVITY_STATE_STARTED,
			LastHeartbeatTime: timestamppb.New(heard), LastStartedTime: timestamppb.New(heard.Add(-time.Hour)),
			HeartbeatDetails: details, Attempt: 1}},
	}
	if sh.ID != "" {
		memo, err := converter.GetDefaultDataConverter().ToPayload(sh)
		if err != nil {
			t.Fatal(err)
		}
		d.WorkflowExecutionInfo.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoShard: memo}}
	}
	return d
}

func TestAFanIsJudgedOrIsNotJudgedSince(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.UTC)
	whole := activities.Shard{ID: "shard-0", StartHash: "0", EndHash: highestHash}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	progress := func(beat time.Duration, unjudged ...activities.Unjudged) activities.Progress {
		return activities.Progress{V: 1, Now: ago(beat), Through: ago(beat), Fans: 20, Unjudged: unjudged}
	}
	full := make([]activities.Unjudged, activities.MaxUnjudged)
	for i := range full {
		full[i] = activities.Unjudged{Fan: fmt.Sprint("other-", i), Since: ago(time.Hour)}
	}
	failing := scoring(t, whole, ago(2*time.Minute), progress(2*time.Minute))
	failing.PendingActivities[0].Attempt, failing.PendingActivities[0].State = 12, enums.PENDING_ACTIVITY_STATE_SCHEDULED
	failing.PendingActivities[0].LastFailure = &failurepb.Failure{
		Message: "read shard: InvalidArgumentException:\x1b[2J not of this stream"}
	behind := progress(time.Second)
	behind.Through = ago(20 * time.Minute)
	starting := scoring(t, whole, ago(time.Second), activities.Progress{V: 1, Now: ago(time.Second)})
	starting.PendingActivities[0].LastStartedTime = timestamppb.New(ago(5 * time.Second))
	between := scoring(t, whole, now, nil)
	between.PendingActivities = nil
	noControl := scoring(t, whole, now, nil)
	noControl.PendingActivities = nil
	noControl.PendingWorkflowTask = &workflowpb.PendingWorkflowTaskInfo{OriginalScheduledTime: timestamppb.New(
		ago(10 * time.Minute))}
	for name, c := range map[string]struct {
		shards map[string]*workflowservice.DescribeWorkflowExecutionResponse
		want   Judgement
	}{
		"judged": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": scoring(t, whole,
			ago(time.Second), progress(time.Second))},
			Judgement{Judging: JudgingNow, Shard: "shard-0", At: ago(11 * time.Second)}},
		"silent": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": scoring(t, whole,
			ago(time.Second), progress(time.Second, activities.Unjudged{Fan: "fan-07", Since: ago(44 * time.Second)}))},
			Judgement{Judging: JudgingStopped, Shard: "shard-0", At: ago(44 * time.Second), Since: ago(44 * time.Second)}},
		"never": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": scoring(t, whole,
			ago(time.Second), progress(time.Second, activities.Unjudged{Fan: "fan-07"}))},
			Judgement{Judging: JudgingNever, Shard: "shard-0"}},
		"the scorer fails": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": failing},
			Judgement{Judging: JudgingUnread, Shard: "shard-0", At: ago(130 * time.Second), Since: ago(130 * time.Second),
				Why: "shard shard-0 is not read: attempt 12: read shard: InvalidArgumentException: [2J not of this stream"}},
		"the scorer is behind": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": scoring(t,
			whole, ago(time.Second), behind)},
			Judgement{Judging: JudgingUnread, Shard: "shard-0", At: ago(11 * time.Second), Since: ago(11 * time.Second),
				Why: "shard shard-0 is not read: its scorer is behind"}},
		"the scorer starts": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": starting},
			Judgement{Judging: JudgingUnknown, Shard: "shard-0", Why: "shard shard-0: its scorer has read nothing yet"}},
		"an older scorer": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": scoring(t, whole,
			ago(time.Second), map[string]any{"at": "12", "readings": 3})},
			Judgement{Judging: JudgingUnknown, Shard: "shard-0", Why: "shard shard-0: its scorer says nothing of fans"}},
		"an older scorer that is gone": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{
			"shard/s/shard-0": scoring(t, whole, ago(time.Hour), map[string]any{"at": "12"})},
			Judgement{Judging: JudgingUnread, Shard: "shard-0", Since: ago(time.Hour),
				Why: "shard shard-0 is not read: its scorer has not answered since 2026-11-30 12:42:00 UTC"}},
		"between two activities": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": between},
			Judgement{Judging: JudgingUnknown, Shard: "shard-0", Why: "shard shard-0: one scorer hands it to the next"}},
		"no control worker": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{"shard/s/shard-0": noControl},
			Judgement{Judging: JudgingUnread, Shard: "shard-0", Since: ago(10 * time.Minute),
				Why: "shard shard-0 is not read: its workflow waits for a control worker since 2026-11-30 13:32:00 UTC"}},
		"no workflow of the shard": {nil, Judgement{Judging: JudgingUnread, Why: "no workflow scores its shard"}},
		"a shard that cannot be asked for": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{
			"shard/s/shard-1": nil},
			Judgement{Judging: JudgingUnknown, Shard: "shard-1", Why: "shard shard-1: its workflow cannot be read: " +
				"deadline exceeded"}},
		"started before there was a memo": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{
			"shard/s/old": scoring(t, activities.Shard{}, ago(time.Second), progress(time.Second))},
			Judgement{Judging: JudgingNow, Shard: "old", At: ago(11 * time.Second)}},
		"a dead shard beside a living one": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{
			"shard/s/a": failing, "shard/s/b": scoring(t, whole, ago(time.Second), progress(time.Second))},
			Judgement{Judging: JudgingNow, Shard: "b", At: ago(11 * time.Second)}},
		"more fans than the list holds": {map[string]*workflowservice.DescribeWorkflowExecutionResponse{
			"shard/s/shard-0": scoring(t, whole, ago(time.Second), progress(time.Second, full...))},
			Judgement{Judging: JudgingUnknown, Shard: "shard-0", At: ago(time.Hour),
				Why: "more than 1000 fans of shard-0 are not judged"}},
	} {
		j, err := Client{Temporal: shards{of: c.shards}}.Judged(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		got := j.Of(fanwatch.Device{Fan: "fan-07"})
		same := got.At.Equal(c.want.At) && got.Since.Equal(c.want.Since)
		got.At, got.Since = c.want.At, c.want.Since
		if !same || got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestAScorerThatDoesNotKnowAFanDoesNotJudgeIt: it names the fans that it knows and does not judge, and no other. Nor
// does it name a fan that may be silent for ever.
func TestAScorerThatDoesNotKnowAFanDoesNotJudgeIt(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.UTC)
	d := scoring(t, activities.Shard{ID: "s", StartHash: "0", EndHash: highestHash}, now,
		activities.Progress{V: 1, Now: now, Through: now, Fans: 2,
			Unjudged: []activities.Unjudged{{Fan: "a", Since: now.Add(-time.Minute)}}})
	j, err := Client{Temporal: shards{of: map[string]*workflowservice.DescribeWorkflowExecutionResponse{
		"shard/st/s": d}}}.Judged(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	fan := func(name string, since time.Duration) fanwatch.FanStatus {
		return fanwatch.FanStatus{Device: fanwatch.Device{Fan: name}, Phase: fanwatch.PhaseActive, Since: now.Add(-since)}
	}
	j.Expect([]fanwatch.FanStatus{fan("a", time.Hour), fan("b", time.Hour), fan("new", time.Second)})
	if got := j.Of(fanwatch.Device{Fan: "b"}); got.Judging != JudgingNow {
		t.Errorf("all are known but one that is new: %+v", got)
	}
	if got := j.Of(fanwatch.Device{Fan: "b", Silence: -1}); got.Judging != JudgingUnknown {
		t.Errorf("one that may be silent: %+v", got)
	}
	j.Expect([]fanwatch.FanStatus{fan("a", time.Hour), fan("b", time.Hour), fan("c", time.Hour)})
	if got := j.Of(fanwatch.Device{Fan: "b"}); got.Judging != JudgingUnread ||
		got.Why != "the scorer of shard s knows 2 of its 3 fans, and may not know this one" {
		t.Errorf("one is not known: %+v", got)
	}
	if got := j.Of(fanwatch.Device{Fan: "a"}); got.Judging != JudgingStopped {
		t.Errorf("one that is named: %+v", got)
	}
}

func TestWhatIsNotJudgedIsNotNormal(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.UTC)
	normal := fanwatch.FanStatus{Phase: fanwatch.PhaseActive, Since: now.Add(-time.Hour), Last: fanwatch.Observation{V: 1}}
	stalled, patient := normal, normal
	stalled.Last.Anomaly.Kind = fanwatch.KindStall
	patient.Device.Silence = fanwatch.Duration(-1)
	late := Judgement{Judging: JudgingStopped, Since: now.Add(-31 * time.Second)}
	var blind []string
	for name, b := range map[string]bool{
		"unread":               Judgement{Judging: JudgingUnread}.Blind(normal, now),
		"past its silence":     late.Blind(normal, now),
		"never":                Judgement{Judging: JudgingNever}.Blind(normal, now),
		"BUT judged":           Judgement{Judging: JudgingNow}.Blind(normal, now),
		"BUT within silence":   Judgement{Judging: JudgingStopped, Since: now.Add(-29 * time.Second)}.Blind(normal, now),
		"BUT may be silent":    late.Blind(patient, now),
		"BUT in known trouble": Judgement{Judging: JudgingUnread}.Blind(stalled, now),
		"BUT not known":        Judgement{Judging: JudgingUnknown}.Blind(normal, now),
	} {
		if b {
			blind = append(blind, name)
		}
	}
	slices.Sort(blind)
	if got := strings.Join(blind, ", "); got != "never, past its silence, unread" {
		t.Errorf("blind: %s", got)
	}
}
