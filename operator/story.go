package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// Happened is one thing that happened to an alert, as the history of its workflow has it.
type Happened struct {
	At   time.Time `json:"at"`
	What string    `json:"what"` // opened, observed, normal, planned, told, not told, an Action, ended, landed, terminated
	Text string    `json:"text,omitempty"`
	// The fields below are of notifications.

	Event  fanwatch.Event `json:"event,omitempty"`
	To     string         `json:"to,omitempty"`
	Step   int            `json:"step,omitempty"`
	Result string         `json:"result,omitempty"` // what the channel said, or why it was given up
	Tries  int            `json:"tries,omitempty"`
	// The fields below are of answers.

	By   string `json:"by,omitempty"`
	From string `json:"from,omitempty"`
}

// Story returns what happened to an alert, oldest first, from the histories of all runs of its workflow that the server
// still has. It needs no worker. The error wraps [ErrUnknown] when there is no such alert.
func (o Client) Story(ctx context.Context, alertID string) ([]Happened, error) {
	w, err := o.describe(ctx, alertID)
	if err != nil {
		return nil, err
	}
	var runs [][]*historypb.HistoryEvent
	for run := w.GetExecution().GetRunId(); run != ""; {
		events, err := o.history(ctx, alertID, run)
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) && len(runs) > 0 {
			break // the retention has taken the earlier runs
		}
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", alertID, err)
		}
		runs = append(runs, events)
		run = ""
		if len(events) > 0 {
			run = events[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId()
		}
	}
	s := story{first: true}
	for _, events := range slices.Backward(runs) {
		s.read(events)
	}
	return s.all, nil
}

func (o Client) history(ctx context.Context, id, run string) (events []*historypb.HistoryEvent, err error) {
	h := o.Temporal.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for h.HasNext() {
		e, err := h.Next()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// story collects what happened from the histories of an alert's runs.
type story struct {
	all    []Happened
	first  bool // no run was read yet
	asked  map[int64]activities.Notification
	kinds  map[int64]string // type of the activity, by the ID of the event that scheduled it
	tries  map[int64]int32
	planOf fanwatch.Policy // the newest
}

// payload stores the first of the payloads in v and reports whether it could.
func payload(p *commonpb.Payloads, v any) bool {
	return len(p.GetPayloads()) > 0 &&
		converter.GetDefaultDataConverter().FromPayload(p.GetPayloads()[0], v) == nil
}

func (s *story) add(e *historypb.HistoryEvent, h Happened) {
	h.At = e.GetEventTime().AsTime()
	s.all = append(s.all, h)
}

func (s *story) read(events []*historypb.HistoryEvent) {
	s.asked, s.kinds, s.tries = map[int64]activities.Notification{}, map[int64]string{}, map[int64]int32{}
	for _, e := range events {
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			var in workflows.AlertInput
			if payload(e.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in) && s.first {
				s.add(e, Happened{What: "opened", Text: in.Alert.Why})
			}
			s.first = false
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			x := e.GetWorkflowExecutionSignaledEventAttributes()
			s.signalled(e, x.GetSignalName(), x.GetInput())
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
			x := e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput()
			s.answered(e, x.GetName(), x.GetArgs())
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			x := e.GetActivityTaskScheduledEventAttributes()
			s.kinds[e.GetEventId()] = x.GetActivityType().GetName()
			var n activities.Notification
			if x.GetActivityType().GetName() == "Notify" && payload(x.GetInput(), &n) {
				s.asked[e.GetEventId()] = n
			}
		case enums.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			x := e.GetActivityTaskStartedEventAttributes()
			s.tries[x.GetScheduledEventId()] = x.GetAttempt()
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			x := e.GetActivityTaskCompletedEventAttributes()
			s.done(e, x.GetScheduledEventId(), x.GetResult())
		case enums.EVENT_TYPE_ACTIVITY_TASK_FAILED:
			x := e.GetActivityTaskFailedEventAttributes()
			s.gaveUp(e, x.GetScheduledEventId(), x.GetFailure())
		case enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
			x := e.GetActivityTaskTimedOutEventAttributes()
			s.gaveUp(e, x.GetScheduledEventId(), x.GetFailure())
		case enums.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
			s.gaveUp(e, e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId(), nil)
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
			var a fanwatch.Alert
			if payload(e.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &a) {
				s.ended(e, a)
			}
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
			s.add(e, Happened{What: "terminated", Text: e.GetWorkflowExecutionTerminatedEventAttributes().GetReason()})
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
			s.add(e, Happened{What: "terminated", Text: "it was cancelled"})
		}
	}
}

func (s *story) signalled(e *historypb.HistoryEvent, name string, input *commonpb.Payloads) {
	switch name {
	case workflows.SignalObserve, workflows.SignalResolve:
		var o fanwatch.Observation
		if !payload(input, &o) {
			return
		}
		h := Happened{What: "observed", Text: o.Anomaly.Why}
		if o.Anomaly.Kind == fanwatch.KindNone {
			h.What = "normal"
		}
		s.add(e, h)
	case workflows.SignalAcknowledge, workflows.SignalAnswer:
		s.answered(e, name, input)
	}
}

// answered adds an answer, or an acknowledgement, by signal or update. An alert may have passed over that of a signal.
func (s *story) answered(e *historypb.HistoryEvent, name string, input *commonpb.Payloads) {
	var x fanwatch.Answer
	var k fanwatch.Acknowledgement
	switch {
	case name == workflows.UpdateAnswer && payload(input, &x):
	case name == workflows.UpdateAcknowledge && (payload(input, &k) || len(input.GetPayloads()) == 0):
		x = k.Answer()
	default:
		return
	}
	x = x.Legible()
	h := Happened{What: string(x.Action), By: x.By, From: x.From, Text: x.Note}
	switch {
	case x.Action == fanwatch.ActionHand:
		h.To = x.To
	case x.Action == fanwatch.ActionSnooze:
		h.Result = "until " + x.Until.UTC().Format(time.RFC3339)
	case x.Verdict != "":
		h.Result = string(x.Verdict)
	}
	s.add(e, h)
}

func (s *story) done(e *historypb.HistoryEvent, scheduled int64, result *commonpb.Payloads) {
	switch s.kinds[scheduled] {
	case "Notify":
		var d activities.Delivery
		_ = payload(result, &d) // without it, it was told nevertheless
		h := s.notification(scheduled, "told")
		if h.Result = d.Detail; h.Result == "" {
			h.Result = d.ID
		}
		s.add(e, h)
	case "Plan":
		var p fanwatch.Policy
		if !payload(result, &p) {
			return
		}
		was := s.planOf
		s.planOf = p
		switch {
		case p.Incident != was.Incident && p.Incident != "":
			s.add(e, Happened{What: "planned", Text: "the incident " + p.Incident + " tells in its place"})
		case p.Incident != was.Incident:
			s.add(e, Happened{What: "planned", Text: "the incident " + was.Incident + " does not tell in its place any more"})
		case !p.NotBefore.Equal(was.NotBefore) && p.NotBefore.After(e.GetEventTime().AsTime()):
			s.add(e, Happened{What: "planned", Text: fmt.Sprintf("not told before %s: %s",
				p.NotBefore.UTC().Format(time.RFC3339), p.Because)})
		}
	case "LandAlert":
		s.add(e, Happened{What: "landed", Text: "it is in the lake"})
	}
}

func (s *story) gaveUp(e *historypb.HistoryEvent, scheduled int64, f *failurepb.Failure) {
	why := "it was cancelled, such as by an answer"
	if f != nil {
		for f.GetCause() != nil && f.GetApplicationFailureInfo() == nil {
			f = f.GetCause()
		}
		why = f.GetMessage()
	}
	switch s.kinds[scheduled] {
	case "Notify":
		h := s.notification(scheduled, "not told")
		h.Result = fanwatch.Legible(why, 300)
		s.add(e, h)
	case "LandAlert":
		s.add(e, Happened{What: "not landed", Text: fanwatch.Legible(why, 300)})
	}
}

func (s *story) notification(scheduled int64, what string) Happened {
	n := s.asked[scheduled]
	return Happened{What: what, To: n.To, Step: n.Step, Event: n.Message.Event, Text: n.Subject,
		Tries: int(s.tries[scheduled])}
}

func (s *story) ended(e *historypb.HistoryEvent, a fanwatch.Alert) {
	h := Happened{What: "ended", By: a.EndedBy, Text: a.Why}
	if !a.EndedAt.IsZero() {
		h.Result = fmt.Sprintf("at %s, after %s", a.EndedAt.UTC().Format(time.RFC3339),
			a.EndedAt.Sub(a.Opened).Round(time.Second))
	}
	s.add(e, h)
}
