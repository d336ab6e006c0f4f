package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// fanServer is a Temporal server of which only fans are asked: the newest run of each, and the signals that came.
type fanServer struct {
	client.Client
	mu      sync.Mutex
	runs    map[string]fanwatch.FanStatus // by workflow ID
	running map[string]bool
	refuse  error // of signals to what runs
	signals []string
	started []workflows.FanInput
}

func (s *fanServer) SignalWorkflow(_ context.Context, id, _, signal string, _ any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running[id] {
		return serviceerror.NewNotFound("workflow execution already completed")
	}
	s.signals = append(s.signals, signal+" "+id)
	return s.refuse
}

func (s *fanServer) execution(id string) *workflowpb.WorkflowExecutionInfo {
	status := enums.WORKFLOW_EXECUTION_STATUS_TERMINATED
	if s.runs[id].Phase == fanwatch.PhaseRetired {
		status = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	if s.running[id] {
		status = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	p, _ := converter.GetDefaultDataConverter().ToPayload(s.runs[id]) // it always encodes
	return &workflowpb.WorkflowExecutionInfo{Status: status,
		Memo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoFan: p}}}
}

func (s *fanServer) DescribeWorkflowExecution(_ context.Context, id,
	_ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if _, ok := s.runs[id]; !ok {
		return nil, serviceerror.NewNotFound("workflow not found")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: s.execution(id)}, nil
}

func (s *fanServer) ListWorkflow(context.Context,
	*workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	out := &workflowservice.ListWorkflowExecutionsResponse{}
	for id := range s.running {
		out.Executions = append(out.Executions, s.execution(id))
	}
	return out, nil
}

func (s *fanServer) SignalWithStartWorkflow(_ context.Context, id, signal string, _ any, o client.StartWorkflowOptions,
	_ any, args ...any) (client.WorkflowRun, error) {
	s.signals, s.started = append(s.signals, signal+" "+id+" "+o.TaskQueue),
		append(s.started, args[0].(workflows.FanInput))
	return nil, nil
}

// TestAFanWithoutWorkflowGetsAnother guards against a fan that stands still while nothing but a line in a log says so.
func TestAFanWithoutWorkflowGetsAnother(t *testing.T) {
	device := func(revision int, site string) fanwatch.Device {
		return fanwatch.Device{V: 1, Fan: "fan-07", Revision: revision, Site: site}
	}
	status := func(p fanwatch.Phase, d fanwatch.Device) fanwatch.FanStatus {
		return fanwatch.FanStatus{V: 2, Phase: p, Device: d, Alert: "alert/x", Alerts: 3, Certificate: "c"}
	}
	retired := device(9, "")
	retired.Retired = true
	for what, c := range map[string]struct {
		newest *fanwatch.FanStatus
		device fanwatch.Device
		want   fanwatch.FanStatus
		err    error
	}{
		"terminated": {point(status(fanwatch.PhaseActive, device(5, "memo"))), device(5, "scorer"),
			status(fanwatch.PhaseActive, device(5, "scorer")), nil},
		"terminated, and newer than a scorer": {point(status(fanwatch.PhaseActive, device(7, "memo"))), device(5, "scorer"),
			status(fanwatch.PhaseActive, device(7, "memo")), nil},
		"in no database": {nil, device(5, "scorer"), fanwatch.FanStatus{Phase: fanwatch.PhaseActive,
			Device: device(5, "scorer")}, nil},
		"terminated before it showed itself": {point(fanwatch.FanStatus{}), device(5, "scorer"),
			fanwatch.FanStatus{Phase: fanwatch.PhaseActive, Device: device(5, "scorer")}, nil},
		"retired": {point(status(fanwatch.PhaseRetired, device(5, ""))), device(4, "scorer"),
			fanwatch.FanStatus{}, activities.ErrNoFan},
		"retired long ago":          {nil, retired, fanwatch.FanStatus{}, activities.ErrNoFan},
		"of which nothing is known": {nil, fanwatch.Device{}, fanwatch.FanStatus{}, activities.ErrNoFan},
	} {
		s := &fanServer{runs: map[string]fanwatch.FanStatus{}}
		if c.newest != nil {
			s.runs["fan/fan-07"] = *c.newest
		}
		err := Client{Temporal: s}.Observe(t.Context(), c.device, observation(1, fanwatch.KindStall))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", what, err, c.err)
		}
		switch {
		case c.err != nil && len(s.started) > 0:
			t.Errorf("%s: started %+v", what, s.started)
		case c.err == nil && (len(s.started) != 1 || fmt.Sprint(s.started[0].Status) != fmt.Sprint(c.want) ||
			s.signals[0] != "observe fan/fan-07 "+workflows.QueueControl):
			t.Errorf("%s: %q started %+v, want %+v", what, s.signals, s.started, c.want)
		}
	}
}

// TestARefusalIsNoOutage guards against a shard that stops because one fan's workflow takes no more signals.
func TestARefusalIsNoOutage(t *testing.T) {
	for _, c := range []struct {
		err     error
		refused bool
	}{
		{serviceerror.NewInvalidArgument("exceeded workflow execution limit for signal events"), true},
		{serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT,
			"exceeded workflow execution limit for signal events"), true},
		{serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, "namespace rate limit exceeded"), false},
		{serviceerror.NewUnavailable("no"), false},
		{context.DeadlineExceeded, false},
	} {
		s := &fanServer{running: map[string]bool{"fan/fan-07": true}, refuse: c.err}
		err := Client{Temporal: s}.Observe(t.Context(), fanwatch.Device{}, observation(1, fanwatch.KindStall))
		if err == nil || errors.Is(err, activities.ErrRefused) != c.refused || errors.Is(err, activities.ErrNoFan) ||
			!errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// TestOnlyRunsOfAnEarlierProgramAreAskedToRenew names each that could not be asked, and asks the others.
func TestOnlyRunsOfAnEarlierProgramAreAskedToRenew(t *testing.T) {
	s := &fanServer{runs: map[string]fanwatch.FanStatus{}, running: map[string]bool{}}
	for i := range 40 {
		id := workflows.FanID(fmt.Sprintf("fan-%02d", i))
		s.runs[id] = fanwatch.FanStatus{V: 2 + i%2, Device: fanwatch.Device{Fan: fmt.Sprintf("fan-%02d", i)}}
		s.running[id] = true
	}
	o := Client{Temporal: s}
	if err := o.renew(t.Context()); err != nil {
		t.Error(err)
	}
	slices.Sort(s.signals)
	if len(s.signals) != 20 || s.signals[0] != "renew fan/fan-00" || s.signals[1] != "renew fan/fan-02" {
		t.Errorf("%q", s.signals)
	}
	s.refuse, s.signals = serviceerror.NewUnavailable("no"), nil
	if err := o.renew(t.Context()); err == nil || strings.Count(err.Error(), "renew fan fan-") != 20 ||
		len(s.signals) != 20 {
		t.Errorf("%d were asked, %v", len(s.signals), err)
	}
}

// TestAClientIDThatIsAnotherFansNameIsRefused guards against a certificate that speaks for two fans.
func TestAClientIDThatIsAnotherFansNameIsRefused(t *testing.T) {
	s := &fanServer{runs: map[string]fanwatch.FanStatus{"fan/fan-02": {Phase: fanwatch.PhaseActive},
		"fan/old": {Phase: fanwatch.PhaseRetired}}, running: map[string]bool{"fan/fan-02": true}}
	o := Client{Temporal: s}
	for client, want := range map[string]string{"fan-02": "is the name of another fan", "old": "", "new_Client": "",
		"fan-07": "", "a/b": ""} {
		err := o.checkClients(t.Context(), "fan-07", []string{client})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", client, err)
		}
	}
	if _, err := o.Change(t.Context(), "fan-07", fanwatch.DeviceChange{Clients: point([]string{"fan-02"})}); err == nil ||
		!strings.Contains(err.Error(), "another fan") {
		t.Error(err)
	}
}

// TestACertificateIsFoundByItsFan has an operator who holds a certificate alone end it.
func TestACertificateIsFoundByItsFan(t *testing.T) {
	id := strings.Repeat("0a", 32)
	s := &fanServer{runs: map[string]fanwatch.FanStatus{"fan/fan-02": {Certificate: id,
		Device: fanwatch.Device{Fan: "fan-02"}}}, running: map[string]bool{"fan/fan-02": true}}
	o := Client{Temporal: s}
	if fan, err := o.fanOfCertificate(t.Context(), id); fan != "fan-02" || err != nil {
		t.Errorf("%q, %v", fan, err)
	}
	if _, _, err := o.Revoke(t.Context(), "arn:aws:iot:x:y:cert/"+strings.Repeat("0b", 32)); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
