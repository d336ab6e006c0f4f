package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// observationsPerRun is how many signals one run of a Fan takes before it continues as new. Temporal
// allows 10,000 and its own suggestion does not count signals.
const observationsPerRun = 2000

// FanInput is what a Fan starts with and what it hands to itself when it continues as new.
type FanInput struct {
	Status      fanwatch.FanStatus     `json:"status"`
	Certificate activities.Certificate `json:"certificate,omitzero"`
	CSRHash     string                 `json:"csr_hash,omitempty"` // of the CSR that the certificate answers
	PerRun      int                    `json:"per_run,omitempty"`  // signals per run; 0 = 2000
}

// Fan is one fan for as long as it exists: its provisioning and configuration, its current state, and
// the alert that is open, if any. It hears of changes of state alone, never of readings.
func Fan(ctx workflow.Context, in FanInput) error {
	f := &fan{FanInput: in, lock: workflow.NewMutex(ctx)}
	if f.PerRun == 0 {
		f.PerRun = observationsPerRun
	}
	if f.Status.Phase == "" {
		f.Status.V, f.Status.Phase, f.Status.Since = fanwatch.FanStatusVersion, fanwatch.Provisioning, workflow.Now(ctx)
	}
	if err := f.listen(ctx); err != nil {
		return err
	}
	f.show(ctx)
	if err := f.watch(ctx); err != nil {
		return err
	}
	if f.ended() {
		return nil
	}
	return workflow.NewContinueAsNewError(ctx, Fan, f.FanInput)
}

type fan struct {
	FanInput
	lock  workflow.Mutex // one update or observation at a time
	heard int            // signals of this run
}

// ended tells whether the fan is retired, or was never one: what it was to be provisioned with was refused.
func (f *fan) ended() bool { return f.Status.Phase == fanwatch.Retired || f.Status.Phase == "" }

// listen installs what people and programs may ask at any time.
func (f *fan) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.FanStatus, error) { return f.Status, nil },
		workflow.QueryHandlerOptions{Description: "The fan: its device, phase, state and open alert."}); err != nil {
		return err
	}
	return errors.Join(
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateProvision, f.provision, workflow.UpdateHandlerOptions{
			Description: "Sign a device's CSR and make the fan active.",
			Validator: func(_ workflow.Context, r ProvisionRequest) error {
				r.Device.V = fanwatch.DeviceVersion
				if r.CSR == "" {
					return errors.New("the request has no CSR: make one with fanwatch-edge enroll")
				}
				return r.Device.Check()
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateConfigure, f.configure, workflow.UpdateHandlerOptions{
			Description: "Change the fan's limits, clients, zone, silence or policy.",
			Validator: func(_ workflow.Context, d fanwatch.Device) error {
				d.V = fanwatch.DeviceVersion
				return d.Check()
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateRetire, f.retire, workflow.UpdateHandlerOptions{
			Description: "Refuse the fan's readings from now on and end this workflow."}),
	)
}

// watch takes signals until the run is full or the fan is retired. Receiving and draining stand in this
// one coroutine: a signal that another one had taken would be lost at the end of the run.
func (f *fan) watch(ctx workflow.Context) error {
	observations := workflow.GetSignalChannel(ctx, SignalObserve)
	over := workflow.GetSignalChannel(ctx, SignalAlertOver)
	full := func() bool {
		return f.heard >= f.PerRun || workflow.GetInfo(ctx).GetContinueAsNewSuggested() || f.ended()
	}
	for {
		var o fanwatch.Observation
		var a fanwatch.Alert
		switch {
		case observations.ReceiveAsync(&o):
			f.heard++
			if err := f.locked(ctx, func() error { return f.observe(ctx, o) }); err != nil {
				return err
			}
		case over.ReceiveAsync(&a):
			f.heard++
			if err := f.locked(ctx, func() error { return f.over(ctx, a) }); err != nil {
				return err
			}
		case full() && workflow.AllHandlersFinished(ctx):
			return nil
		default:
			if err := workflow.Await(ctx, func() bool {
				return observations.Len() > 0 || over.Len() > 0 || (full() && workflow.AllHandlersFinished(ctx))
			}); err != nil {
				return err
			}
		}
	}
}

func (f *fan) locked(ctx workflow.Context, do func() error) error {
	if err := f.lock.Lock(ctx); err != nil {
		return err
	}
	defer f.lock.Unlock()
	return do()
}

// provision signs the CSR and makes the fan active. Asked again with the same CSR it answers the same
// certificate; with another one the fan gets a new certificate and the old one ends. What is refused for good
// leaves the fan as it was, and a fan that was none is none.
func (f *fan) provision(ctx workflow.Context, r ProvisionRequest) (answer ProvisionAnswer, err error) {
	err = f.locked(ctx, func() error {
		before := f.FanInput
		if err := f.certify(ctx, r); err != nil {
			// No version guards this: no activity refused for good before, so no history has it otherwise.
			if refused(err) {
				f.FanInput = before
				if f.Status.Phase == fanwatch.Provisioning && f.CSRHash == "" {
					f.Status.Phase = "" // watch ends, unless the next who provisions is better off
				}
			}
			return err
		}
		answer.Certificate = f.Certificate.PEM
		return nil
	})
	return answer, err
}

func (f *fan) certify(ctx workflow.Context, r ProvisionRequest) error {
	sum := sha256.Sum256([]byte(r.CSR))
	hash := hex.EncodeToString(sum[:])
	d := f.next(r.Device)
	if err := createThing(ctx, d); err != nil {
		return err
	}
	if f.CSRHash != hash {
		c, err := createCertificate(ctx, r.CSR)
		if err != nil {
			return err
		}
		f.Certificate, f.CSRHash = c, hash
	}
	if err := authorise(ctx, d, f.Certificate); err != nil {
		return err
	}
	if err := announce(ctx, d); err != nil {
		return err
	}
	f.Status.Device = d
	if f.Status.Phase != fanwatch.Active {
		f.Status.Phase, f.Status.Since = fanwatch.Active, workflow.Now(ctx)
	}
	f.show(ctx)
	return nil
}

// refused tells whether an activity's error would be the same however often it is tried.
func refused(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

// next gives d with the fan's name and the revision after the newest.
func (f *fan) next(d fanwatch.Device) fanwatch.Device {
	d.V, d.Revision = fanwatch.DeviceVersion, f.Status.Device.Revision+1
	return d
}

func (f *fan) configure(ctx workflow.Context, d fanwatch.Device) (fanwatch.Device, error) {
	err := f.locked(ctx, func() error {
		if f.Status.Phase != fanwatch.Active {
			return fmt.Errorf("fan %s is %s: provision it first", d.Fan, f.Status.Phase)
		}
		if d.Fan != f.Status.Device.Fan {
			return fmt.Errorf("this is fan %s, not %s", f.Status.Device.Fan, d.Fan)
		}
		d = f.next(d)
		if err := authorise(ctx, d, f.Certificate); err != nil {
			return err
		}
		if err := announce(ctx, d); err != nil {
			return err
		}
		f.Status.Device = d
		f.show(ctx)
		return nil
	})
	return d, err
}

func (f *fan) retire(ctx workflow.Context) error {
	return f.locked(ctx, func() error {
		d := f.next(f.Status.Device)
		d.Retired = true
		if err := announce(ctx, d); err != nil {
			return err
		}
		f.Status.Device, f.Status.Phase, f.Status.Since = d, fanwatch.Retired, workflow.Now(ctx)
		f.show(ctx)
		return nil
	})
}

// observe takes one change of state. What was heard before is ignored: the scorer tells again after a
// crash, and a late zombie may tell old news.
func (f *fan) observe(ctx workflow.Context, o fanwatch.Observation) error {
	if o.V != fanwatch.ObservationVersion || !o.After(f.Status.Last) {
		return nil
	}
	before := f.Status.Last.Anomaly.Kind
	f.Status.Last = o
	if o.Anomaly.Kind != before {
		f.Status.Since = o.Time
	}
	var err error
	switch {
	case o.Anomaly.Kind != fanwatch.Well && f.Status.Alert == "":
		err = f.open(ctx, o)
	case o.Anomaly.Kind != fanwatch.Well:
		err = f.tell(ctx, SignalObserve, o)
	case f.Status.Alert != "":
		err = f.tell(ctx, SignalResolve, o)
	}
	f.show(ctx)
	return err
}

// open starts the alert. It outlives this run: its parent's end, also by continuing as new, leaves it
// alone. Its ID holds the time of the reading, so that the same trouble cannot open twice.
func (f *fan) open(ctx workflow.Context, o fanwatch.Observation) error {
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(o.Fan, o.Anomaly.Kind, o.Time), Fan: o.Fan, Site: f.Status.Device.Site,
		Kind: o.Anomaly.Kind, Opened: o.Time, Why: o.Anomaly.Why, Position: o.Position, State: fanwatch.Open}
	if o.Anomaly.Kind == fanwatch.Silent {
		a.Opened = workflow.Now(ctx).UTC()
		a.ID = AlertID(o.Fan, o.Anomaly.Kind, a.Opened)
	}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            a.ID,
		TaskQueue:             QueueControl,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(SearchFan.ValueSet(o.Fan), SearchState.ValueSet(string(fanwatch.Open))),
		StaticSummary:         o.Anomaly.Why,
	}), Alert, AlertInput{Alert: a, Policy: f.Status.Device.Policy})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil // this trouble was opened before and is over
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", a.ID, err)
	}
	f.Status.Alert = a.ID
	f.Status.Alerts++
	return nil
}

// over takes the end of an alert. Trouble that began while the alert was ending opens the next.
func (f *fan) over(ctx workflow.Context, a fanwatch.Alert) error {
	if f.Status.Alert != a.ID {
		return nil
	}
	f.Status.Alert = ""
	var err error
	if f.Status.Last.Anomaly.Kind != fanwatch.Well {
		err = f.open(ctx, f.Status.Last)
	}
	f.show(ctx)
	return err
}

// tell signals the open alert. One that is no more, because a person terminated it, is forgotten, and
// trouble that goes on opens another.
func (f *fan) tell(ctx workflow.Context, signal string, o fanwatch.Observation) error {
	err := workflow.SignalExternalWorkflow(ctx, f.Status.Alert, "", signal, o).Get(ctx, nil)
	var gone *serviceerror.NotFound
	var unknown *temporal.UnknownExternalWorkflowExecutionError
	if errors.As(err, &gone) || errors.As(err, &unknown) {
		f.Status.Alert = ""
		if signal == SignalObserve {
			return f.open(ctx, o)
		}
		return nil
	}
	return err
}

// show makes the fan readable in lists, without a worker, and in the Temporal Web UI.
func (f *fan) show(ctx workflow.Context) {
	s := f.Status
	state := string(s.Last.Anomaly.Kind)
	if state == "" {
		state = "well"
	}
	if s.Phase != fanwatch.Active {
		state = string(s.Phase)
	}
	fan := s.Device.Fan
	if fan != "" {
		_ = workflow.UpsertTypedSearchAttributes(ctx, SearchFan.ValueSet(fan), SearchState.ValueSet(state)) // they were registered at start
	}
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoFan: s}) // s always encodes
	details := fmt.Sprintf("**%s** is **%s** since %s.", fan, state, s.Since.UTC().Format(time.DateTime))
	if s.Last.Anomaly.Why != "" {
		details += "\n\n" + s.Last.Anomaly.Why
	}
	if s.Alert != "" {
		details += "\n\nOpen alert: `" + s.Alert + "`"
	}
	workflow.SetCurrentDetails(ctx, details)
}
