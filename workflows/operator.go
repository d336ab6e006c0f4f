package workflows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/activities"
)

// Operator is what people and programs outside the workflows may do with them: the CLI, the dashboard
// and the scorers all come through here. It is safe for concurrent use.
type Operator struct {
	Temporal  client.Client
	Namespace string
}

// ErrUnknown says that there is no such fan or alert, ErrEnded that the alert is resolved.
var (
	ErrUnknown = errors.New("unknown")
	ErrEnded   = errors.New("over already")
)

// Provision makes the fan's workflow if there is none, and has the device's CSR signed. The fan gets d as a whole.
func (o Operator) Provision(ctx context.Context, d fanwatch.Device, csrPEM string) (ProvisionAnswer, error) {
	return o.provision(ctx, ProvisionRequest{Device: d, CSR: csrPEM})
}

// Enroll is Provision for what c names: a fan that exists keeps the rest, a new one has the defaults.
func (o Operator) Enroll(ctx context.Context, fan string, c Change, csrPEM string) (ProvisionAnswer, error) {
	return o.provision(ctx, ProvisionRequest{Device: c.Apply(fanwatch.Device{Fan: fan}), CSR: csrPEM, Change: &c})
}

func (o Operator) provision(ctx context.Context, r ProvisionRequest) (answer ProvisionAnswer, err error) {
	fan := r.Device.Fan
	r.Device.V = fanwatch.DeviceVersion
	if err := r.Device.CheckNew(); err != nil {
		return answer, err
	}
	if err := CheckCSR(r.CSR, fan, r.Device.Clients...); err != nil {
		return answer, fmt.Errorf("provision %s: certificate signing request: %w: make one with fanwatch-edge enroll --fan %s", fan, err, fan)
	}
	if err := o.checkClients(ctx, fan, r.Device.Clients); err != nil {
		return answer, fmt.Errorf("provision %s: %w", fan, err)
	}
	s, _, err := o.newest(ctx, fan)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return answer, fmt.Errorf("provision %s: %w", fan, err)
	}
	if s.Phase != fanwatch.Active { // nothing of a fan that is retired, or never was one, but its revision, which the scorers know
		s = fanwatch.FanStatus{Device: fanwatch.Device{V: fanwatch.DeviceVersion, Fan: fan, Revision: s.Device.Revision}}
	}
	start := o.Temporal.NewWithStartWorkflowOperation(fanOptions(fan, fanwatch.Provisioning), Fan, FanInput{Status: s})
	handle, err := o.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{UpdateName: UpdateProvision, WaitForStage: client.WorkflowUpdateStageCompleted,
			Args: []any{r}},
	})
	if err == nil {
		err = handle.Get(ctx, &answer)
	}
	if err != nil {
		return answer, fmt.Errorf("provision %s: %w", fan, plain(err))
	}
	return answer, nil
}

// fanOptions are those of every start of a Fan; one that runs already goes on.
func fanOptions(fan string, p fanwatch.Phase) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       FanID(fan),
		TaskQueue:                QueueControl,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "fan " + fan,
		StaticDetails:            "Owns the fan's certificate, configuration, state and open alert. Ends when the fan is retired.",
		TypedSearchAttributes:    temporal.NewSearchAttributes(SearchFan.ValueSet(fan), SearchState.ValueSet(string(p))),
	}
}

// checkClients refuses client IDs that are other fans' names: the certificate of this fan could then speak for those.
func (o Operator) checkClients(ctx context.Context, fan string, clients []string) error {
	for _, c := range clients {
		if c == fan || fanwatch.CheckFan(c) != nil {
			continue
		}
		switch _, running, err := o.newest(ctx, c); {
		case err != nil && !errors.Is(err, ErrUnknown):
			return err
		case running:
			return fmt.Errorf("client ID %s is the name of another fan, whose readings it could forge: give the publisher a name of its own", c)
		}
	}
	return nil
}

// newest gives a fan's status as the memo of its workflow's newest run has it, and whether that run is running. It
// asks no worker. A run that has shown nothing, or nothing that can be read, has the zero status. The error wraps
// ErrUnknown when there is no run.
func (o Operator) newest(ctx context.Context, fan string) (s fanwatch.FanStatus, running bool, err error) {
	w, err := o.describe(ctx, FanID(fan))
	if err != nil {
		return s, false, err
	}
	if s, _, err = memo[fanwatch.FanStatus](w, MemoFan); err != nil {
		s = fanwatch.FanStatus{}
	}
	return s, w.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// plain gives what an update's error says to a person: of one that came out of the workflow its own sentence,
// without the names and numbers of Temporal's events; of one that waited in vain what may be still to come.
func plain(err error) error {
	var waited *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var said *temporal.ApplicationError
	switch {
	case errors.As(err, &waited):
		return errors.New("no answer in time (does a worker run?): it may still take effect, so look with fanwatch fans or alerts before you try again")
	case errors.As(err, &said):
		return saidError{said}
	}
	return err
}

// saidError is an error of a workflow or an activity, as it was worded there.
type saidError struct{ said *temporal.ApplicationError }

func (e saidError) Error() string { return e.said.Message() }
func (e saidError) Unwrap() error { return e.said }

// Change changes what c names of a fan and answers what took effect.
func (o Operator) Change(ctx context.Context, fan string, c Change) (fanwatch.Device, error) {
	var out fanwatch.Device
	if c.Clients != nil {
		if err := o.checkClients(ctx, fan, *c.Clients); err != nil {
			return out, fmt.Errorf("configure %s: %w", fan, err)
		}
	}
	err := o.update(ctx, FanID(fan), UpdateChange, &out, c)
	return out, err
}

// Retire ends a fan: its readings are refused from then on, its alert and its certificates end.
func (o Operator) Retire(ctx context.Context, fan string) (RetireAnswer, error) {
	var out RetireAnswer
	err := o.update(ctx, FanID(fan), UpdateRetire, &out)
	return out, err
}

// Revoke makes certificates of a fan inactive, without retiring it: all of the fan, or the one that what names by its
// ARN or ID. It answers the fan too, which may be retired already.
func (o Operator) Revoke(ctx context.Context, what string) (fan string, out RevokeAnswer, err error) {
	fan, r := what, RevokeRequest{}
	if IsCertificate(what) {
		r.Certificate = activities.CertificateID(what)
		if fan, err = o.holder(ctx, r.Certificate); err != nil {
			return "", out, err
		}
	}
	s, running, err := o.newest(ctx, fan)
	if err == nil && !running && s.Phase == fanwatch.Retired {
		out, err = o.revokeRetired(ctx, s, r)
		return fan, out, err
	}
	err = o.update(ctx, FanID(fan), UpdateRevoke, &out, r)
	return fan, out, err
}

// revokeRetired ends certificates of a fan whose workflow has ended: earlier programs left them active. Its workflow
// is started for it, and ends when they are inactive.
func (o Operator) revokeRetired(ctx context.Context, s fanwatch.FanStatus, r RevokeRequest) (out RevokeAnswer, err error) {
	fan := s.Device.Fan
	handle, err := o.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: o.Temporal.NewWithStartWorkflowOperation(fanOptions(fan, s.Phase), Fan, FanInput{Status: s, Deactivate: true}),
		UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: UpdateRevoke, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{r}},
	})
	if err == nil {
		err = handle.Get(ctx, &out)
	}
	if err != nil {
		return out, fmt.Errorf("revoke %s: %w", fan, plain(err))
	}
	return out, nil
}

var certificateID = regexp.MustCompile("^[0-9a-f]{64}$")

// IsCertificate tells whether text is the ID or the ARN of a certificate of AWS IoT Core. No fan's name is taken for
// one that has not 64 hexadecimal digits.
func IsCertificate(text string) bool {
	return certificateID.MatchString(activities.CertificateID(text))
}

// holder gives the fan whose certificate has that ID.
func (o Operator) holder(ctx context.Context, id string) (string, error) {
	fans, err := o.Fans(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range fans {
		if s.Certificate == id {
			return s.Device.Fan, nil
		}
	}
	return "", fmt.Errorf("certificate %s: %w: it speaks for no fan; the certificate that a fan had before ends when it gets another", id, ErrUnknown)
}

// Acknowledge stops an alert's escalation and answers the alert.
func (o Operator) Acknowledge(ctx context.Context, alertID string, k Acknowledgement) (fanwatch.Alert, error) {
	var a fanwatch.Alert
	if !strings.HasPrefix(alertID, "alert/") {
		return a, fmt.Errorf("alert %.120q: %w: an alert's ID begins with alert/ (see fanwatch alerts)", alertID, ErrUnknown)
	}
	k = k.Trim()
	if err := k.Check(); err != nil {
		return a, fmt.Errorf("acknowledge %.120q: %w", alertID, err)
	}
	err := o.update(ctx, alertID, UpdateAcknowledge, &a, k)
	return a, err
}

func (o Operator) update(ctx context.Context, id, name string, out any, args ...any) error {
	handle, err := o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, out) // a validator's rejection comes from here
	}
	var none *serviceerror.NotFound
	var said *temporal.ApplicationError
	switch {
	case errors.As(err, &none):
		return o.closed(ctx, id)
	case errors.As(err, &said) && said.Type() == typeEnded:
		return fmt.Errorf("%s: the alert is %w", id, ErrEnded)
	case err != nil:
		return fmt.Errorf("%s %s: %w", name, id, plain(err))
	}
	return nil
}

// closed says why no workflow of a fan or an alert takes an update: it has ended, or there never was one that anybody
// remembers.
func (o Operator) closed(ctx context.Context, id string) error {
	w, err := o.describe(ctx, id)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if fan, ok := strings.CutPrefix(id, FanID("")); ok {
		if s, _, err := memo[fanwatch.FanStatus](w, MemoFan); err == nil && s.Phase == fanwatch.Retired {
			return fmt.Errorf("fan %s is retired already", fan)
		}
		return fmt.Errorf("fan %s: %w: no fan of that name is provisioned (see fanwatch fans)", fan, ErrUnknown)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: there is no such alert (see fanwatch alerts --all)", id, ErrUnknown)
	}
	return fmt.Errorf("%s: the alert is %w", id, ErrEnded)
}

// describe gives a workflow's newest run, also one that has ended, or an error that wraps ErrUnknown. It asks no worker.
func (o Operator) describe(ctx context.Context, id string) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := o.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%s: %w", id, ErrUnknown)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return d.GetWorkflowExecutionInfo(), nil
}

// Observe tells a fan's workflow of a change of state. A fan whose workflow was cancelled, terminated or has failed
// gets another, which goes on from what lists show of the one before, with the device d where that is the newer. The
// error wraps activities.ErrNoFan when the fan is retired, and activities.ErrRefused when Temporal would refuse the
// signal as often as it is sent.
func (o Operator) Observe(ctx context.Context, d fanwatch.Device, obs fanwatch.Observation) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := o.Temporal.SignalWorkflow(ctx, FanID(obs.Fan), "", SignalObserve, obs)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		err = o.revive(ctx, d, obs)
	}
	var invalid *serviceerror.InvalidArgument
	var exhausted *serviceerror.ResourceExhausted
	if errors.As(err, &invalid) || errors.As(err, &exhausted) && strings.Contains(exhausted.Message, "execution limit for signal events") {
		return fmt.Errorf("fan %s: %w: %w", obs.Fan, activities.ErrRefused, err)
	}
	return err
}

// revive starts the workflow of a fan that has none, with the observation.
func (o Operator) revive(ctx context.Context, d fanwatch.Device, obs fanwatch.Observation) error {
	s, running, err := o.newest(ctx, obs.Fan)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if !running && s.Phase == fanwatch.Retired || d.Retired {
		return fmt.Errorf("fan %s: %w", obs.Fan, activities.ErrNoFan)
	}
	if s.Phase != fanwatch.Active { // the scorer knows a fan, so it was one: of another database, or of a run that showed nothing
		s = fanwatch.FanStatus{Phase: fanwatch.Active}
	}
	if d.Revision >= s.Device.Revision && d.Fan == obs.Fan {
		s.Device = d
	}
	if s.Device.Fan != obs.Fan {
		return fmt.Errorf("fan %s: %w: nothing is known of it", obs.Fan, activities.ErrNoFan)
	}
	_, err = o.Temporal.SignalWithStartWorkflow(ctx, FanID(obs.Fan), SignalObserve, obs, fanOptions(obs.Fan, s.Phase), Fan, FanInput{Status: s})
	return err
}

// Fan gives one fan's status.
func (o Operator) Fan(ctx context.Context, fan string) (fanwatch.FanStatus, error) {
	var s fanwatch.FanStatus
	v, err := o.Temporal.QueryWorkflow(ctx, FanID(fan), "", QueryStatus)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return s, noFan(fan)
	}
	if err == nil {
		err = v.Get(&s)
	}
	if err != nil {
		return s, fmt.Errorf("fan %s: %w", fan, err)
	}
	if s.Phase == "" { // its first provisioning was refused
		return s, noFan(fan)
	}
	return s, nil
}

func noFan(fan string) error {
	return fmt.Errorf("fan %s: %w: provision it with fanwatch provision %s --csr FILE", fan, ErrUnknown, fan)
}

// Fans lists by name all fans that are not retired, and those that are and whose certificates could not be ended yet.
// It asks no worker.
func (o Operator) Fans(ctx context.Context) ([]fanwatch.FanStatus, error) {
	fans, err := list[fanwatch.FanStatus](ctx, o, `WorkflowType = "Fan" AND ExecutionStatus = "Running"`, MemoFan)
	fans = slices.DeleteFunc(fans, func(s fanwatch.FanStatus) bool { return s.Device.Fan == fanwatch.CanaryFan })
	slices.SortFunc(fans, func(a, b fanwatch.FanStatus) int { return strings.Compare(a.Device.Fan, b.Device.Fan) })
	return fans, err
}

// list reads a memo field of every workflow that the query finds.
func list[T any](ctx context.Context, o Operator, query, field string) ([]T, error) {
	found, err := o.executions(ctx, query, 0)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, w := range found {
		v, ok, err := memo[T](w, field)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, v)
		}
	}
	return all, nil
}

// memo reads one memo field; a workflow that has only just started has none yet.
func memo[T any](e *workflowpb.WorkflowExecutionInfo, field string) (v T, ok bool, err error) {
	var p *commonpb.Payload
	if p, ok = e.GetMemo().GetFields()[field]; !ok {
		return v, false, nil
	}
	if err := converter.GetDefaultDataConverter().FromPayload(p, &v); err != nil {
		return v, false, fmt.Errorf("memo of %s: %w", e.GetExecution().GetWorkflowId(), err)
	}
	return v, true, nil
}

// Settings say what Start keeps running.
type Settings struct {
	Stream        string
	ShardsEvery   time.Duration             // how often shards are listed; 0 = 30 s
	CommitEvery   time.Duration             // how often the landing log goes to the tables; 0 = 1 min
	CompactEvery  time.Duration             // how often small files are merged; 0 = 15 min
	MaintainEvery time.Duration             // how often what nobody needs is removed; 0 = 1 h
	CountEvery    time.Duration             // how often the whole lake is reconciled, which reads its identifying columns; 0 = 1 day
	Ingest        activities.DeliveryStream // whose objects are landed; without a prefix none are
	IngestEvery   time.Duration             // how often; 0 = 5 min
	CanaryEvery   time.Duration             // how often the canary's page must be sent; 0 = 1 h, negative = never
	Log           *slog.Logger              // where Start says what it could not renew; nil = nowhere
}

// Start makes sure that the stream's workflow, the lake's committer and the lake's schedules exist, with these settings. It may
// be called at every start of a worker.
func (o Operator) Start(ctx context.Context, s Settings) error {
	// The signal has a Stream that runs already start the shards that have ended since, and one of an earlier program
	// renew itself.
	_, err := o.Temporal.SignalWithStartWorkflow(ctx, StreamID(s.Stream), SignalShards, nil, client.StartWorkflowOptions{
		ID: StreamID(s.Stream), TaskQueue: QueueControl, StaticSummary: "stream " + s.Stream,
	}, Stream, StreamInput{Stream: s.Stream, Every: s.ShardsEvery})
	if err != nil {
		return fmt.Errorf("start stream %s: %w", s.Stream, err)
	}
	if err := errors.Join(o.renewAlerts(ctx), o.renew(ctx)); err != nil && s.Log != nil {
		s.Log.Warn("not every workflow of an earlier program was asked to renew itself; the next start asks again", "err", err)
	}
	// The signal changes the settings of a Committer that runs already.
	committer := CommitterInput{Stream: s.Stream, Every: cmp.Or(s.CommitEvery, time.Minute)}
	if _, err := o.Temporal.SignalWithStartWorkflow(ctx, CommitterID, SignalCommit, committer, client.StartWorkflowOptions{
		ID: CommitterID, TaskQueue: QueueControl, StaticSummary: "the only one that changes the lake's tables",
	}, Committer, committer); err != nil {
		return fmt.Errorf("start the committer: %w", err)
	}
	if err := o.unschedule(ctx, scheduleCommit); err != nil {
		return err
	}
	s.CompactEvery = cmp.Or(s.CompactEvery, 15*time.Minute)
	s.MaintainEvery = cmp.Or(s.MaintainEvery, time.Hour)
	s.CountEvery = cmp.Or(s.CountEvery, 24*time.Hour)
	return errors.Join(
		o.startWatch(ctx, s),
		o.schedule(ctx, ScheduleCount, s.CountEvery, &client.ScheduleWorkflowAction{ID: ScheduleCount, Workflow: Reconcile, Args: []any{s.Stream},
			TaskQueue: QueueControl, StaticSummary: "every acknowledged reading of " + s.Stream + " is in the lake once"}),
		o.schedule(ctx, ScheduleCompact, s.CompactEvery, &client.ScheduleWorkflowAction{ID: ScheduleCompact, Workflow: Compact,
			TaskQueue: QueueControl, StaticSummary: "merge small files of the table"}),
		o.schedule(ctx, ScheduleMaintain, s.MaintainEvery, &client.ScheduleWorkflowAction{ID: ScheduleMaintain, Workflow: Maintain, Args: []any{s.Stream},
			TaskQueue: QueueControl, StaticSummary: "remove what the lake of " + s.Stream + " no longer needs"}),
		o.scheduleIngest(ctx, s))
}

// renewers is how many workflows are asked to renew themselves at once, and renewing how long all of them may take.
const (
	renewers = 16
	renewing = 30 * time.Second
)

// renew asks the runs of Fan that began with an earlier program to go on as this one's. One that cannot be asked does
// not keep the others from it.
func (o Operator) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewing)
	defer cancel()
	fans, err := o.Fans(ctx)
	if err != nil {
		return err
	}
	var asking errgroup.Group
	asking.SetLimit(renewers)
	errs := make([]error, len(fans))
	for i, s := range fans {
		if s.V >= fanwatch.FanStatusVersion {
			continue
		}
		asking.Go(func() error {
			err := o.Temporal.SignalWorkflow(ctx, FanID(s.Device.Fan), "", SignalRenew, nil)
			var none *serviceerror.NotFound
			if err != nil && !errors.As(err, &none) { // it has ended meanwhile
				errs[i] = fmt.Errorf("renew fan %s: %w", s.Device.Fan, err)
			}
			return nil
		})
	}
	_ = asking.Wait() // the errors are in errs
	return errors.Join(errs...)
}

func (o Operator) scheduleIngest(ctx context.Context, s Settings) error {
	if s.Ingest.Prefix == "" {
		return o.unschedule(ctx, ScheduleIngest)
	}
	return o.schedule(ctx, ScheduleIngest, cmp.Or(s.IngestEvery, 5*time.Minute), &client.ScheduleWorkflowAction{ID: ScheduleIngest, Workflow: Ingest, Args: []any{s.Stream, s.Ingest},
		TaskQueue: QueueControl, StaticSummary: "land what the delivery stream has written to " + s.Ingest.Prefix})
}

// unschedule removes the schedule where there is one.
func (o Operator) unschedule(ctx context.Context, id string) error {
	var none *serviceerror.NotFound
	if err := o.Temporal.ScheduleClient().GetHandle(ctx, id).Delete(ctx); err != nil && !errors.As(err, &none) {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}

// schedule makes the schedule, or sets its interval and action when it exists. A run that was missed is not made up
// for: the next does its work.
func (o Operator) schedule(ctx context.Context, id string, every time.Duration, action *client.ScheduleWorkflowAction) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := o.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: id, Spec: spec, Action: action, Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: 10 * time.Second})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = o.Temporal.ScheduleClient().GetHandle(ctx, id).Update(ctx, client.ScheduleUpdateOptions{
			DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				in.Description.Schedule.Spec, in.Description.Schedule.Action = &spec, action
				return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
			}})
	}
	if err != nil {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}
