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

// observationsPerRun is the number of signals after which a Fan continues as new. Temporal allows 10,000, and its
// suggestion to continue as new does not count signals.
const observationsPerRun = 2000

// changeFan2 marks the runs of Fan that take the newest of the observations that wait, signal recovery to the open
// alert like any other change, and keep updates and observations apart. The code of earlier runs is in fanrun1.go.
const changeFan2 = "fan-2"

// changeFan3 marks the runs of Fan that keep a state and an alert for each family of trouble. A run without it keeps
// all under the family "", until it continues as new or an observation of a family comes.
const changeFan3 = "fan-3"

// changeFan5 marks the runs of Fan that write only the search attributes that changed. Version 1 writes SearchFan and
// SearchState alone, version 2 SearchSite too, and all of an alert that it opens.
const changeFan5 = "fan-5"

// changeByHand marks that an alert which a person resolved by hand is opened again not at once, but see resolvedFor.
const changeByHand = "fan-by-hand"

// resolvedFor is the time after which an alert is opened again that a person resolved by hand while the family's
// trouble goes on. The next observation of trouble opens it before.
const resolvedFor = time.Minute

// FanInput is the input of [Fan], which also carries its state when it continues as new.
type FanInput struct {
	Status      fanwatch.FanStatus     `json:"status"`
	Certificate activities.Certificate `json:"certificate,omitzero"`
	CSRHash     string                 `json:"csr_hash,omitempty"`   // SHA-256 of the CSR of Certificate, hexadecimal
	PerRun      int                    `json:"per_run,omitempty"`    // signals per run; 0 = 2000
	Deactivate  bool                   `json:"deactivate,omitempty"` // the fan is retired; its certificates may be active
	Labels      []fanwatch.Label       `json:"labels,omitempty"`     // to be announced, oldest first
}

// Fan is the workflow of one fan, from its provisioning to its retirement: it owns the device, the certificate, the
// current states and the open alerts, one for each family of trouble. It takes changes of state, never readings. It
// ends when the fan is retired; a signal to renew itself, and a cancellation, make it continue as new, because without
// it no alert would open.
func Fan(ctx workflow.Context, in FanInput) error {
	f := &fan{FanInput: in, lock: workflow.NewMutex(ctx),
		observations: workflow.GetSignalChannel(ctx, SignalObserve),
		overs:        workflow.GetSignalChannel(ctx, SignalAlertOver),
		renew:        workflow.GetSignalChannel(ctx, SignalRenew),
		labels:       workflow.GetSignalChannel(ctx, SignalLabel),
		pending:      map[fanwatch.Family]bool{}, again: map[fanwatch.Family]bool{},
		resolved: map[fanwatch.Family]time.Time{}}
	if f.PerRun == 0 {
		f.PerRun = observationsPerRun
	}
	f.old = workflow.GetVersion(ctx, changeFan2, workflow.DefaultVersion, 1) == workflow.DefaultVersion
	f.single = workflow.GetVersion(ctx, changeFan3, workflow.DefaultVersion, 1) == workflow.DefaultVersion
	version := workflow.GetVersion(ctx, changeFan5, workflow.DefaultVersion, searchVersion(ctx, 1))
	f.lean, f.searched = version != workflow.DefaultVersion, version > 1
	if f.Status.Phase == "" {
		f.Status.V, f.Status.Phase, f.Status.Since = 1, fanwatch.PhaseProvisioning, workflow.Now(ctx)
	}
	if !f.old {
		f.Status.V = 2
		if !f.single {
			f.Status.V = fanwatch.FanStatusVersion
		}
		if f.Certificate.ID != "" {
			f.Status.Certificate = f.Certificate.ID
		}
	}
	f.load()
	if err := f.listen(ctx); err != nil {
		return err
	}
	f.show(ctx)
	inner, _ := workflow.NewDisconnectedContext(ctx)
	cancelled := func() bool { return ctx.Err() != nil }
	watch := f.watch
	if f.old {
		watch = f.watchRun1
	}
	if err := watch(inner, cancelled); err != nil {
		return err
	}
	if f.ended() {
		return nil
	}
	f.takeLabels(inner)
	return workflow.NewContinueAsNewError(inner, Fan, f.FanInput)
}

type fan struct {
	FanInput
	observations, overs, renew, labels workflow.ReceiveChannel

	lock        workflow.Mutex // held by one update at a time, and in old runs by one observation
	old         bool           // this run began before changeFan2
	single      bool           // this run keeps one state, under the family ""
	lean        bool           // this run writes only the search attributes that changed
	searched    bool           // this run writes all search attributes
	signalCount int            // signals of this run
	asked       int            // signals of this run that asked it to renew itself
	renewed     bool           // the run continues as new as soon as nothing waits
	changed     bool           // what show shows has changed
	poke        bool           // an update, or an announcement, has left something to do for watch
	announcing  bool           // a label is being announced
	announceAt  time.Time      // when the next try is due

	pending map[fanwatch.Family]bool // the family's newest observation is to be signalled to its open alert
	again   map[fanwatch.Family]bool // the family's trouble had an alert, which is over

	resolved map[fanwatch.Family]time.Time // until then no alert replaces the family's, which was resolved by hand
}

// ended reports whether the fan is retired, with its alert and its certificates ended, or its first provisioning was
// refused.
func (f *fan) ended() bool {
	if f.old {
		return f.Status.Phase == fanwatch.PhaseRetired || f.Status.Phase == ""
	}
	return f.Status.Phase == "" || f.Status.Phase == fanwatch.PhaseRetired && !f.alerted() && !f.Deactivate
}

// listen installs the handlers of queries and updates.
func (f *fan) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.FanStatus, error) {
		return f.Status,
			nil
	},
		workflow.QueryHandlerOptions{Description: "The fan: its device, phase, state and open alert."}); err != nil {
		return err
	}
	return errors.Join(
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateProvision, f.provision, workflow.UpdateHandlerOptions{
			Description: "Sign a device's CSR and make the fan active.",
			Validator: func(_ workflow.Context, r ProvisionRequest) error {
				if r.CSR == "" {
					return errors.New("the request has no CSR: make one with fanwatch-edge enroll")
				}
				if r.Device.Fan != f.Status.Device.Fan && f.Status.Device.Fan != "" {
					return f.otherFan(r.Device.Fan)
				}
				return f.check(f.wanted(r))
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateConfigure, f.configure, workflow.UpdateHandlerOptions{
			Description: "Set the fan's limits, clients, zone, silence and policy, all of them.",
			Validator:   func(_ workflow.Context, d fanwatch.Device) error { return f.check(d) }}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateChange, f.change, workflow.UpdateHandlerOptions{
			Description: "Change what is named of the fan's limits, clients, zone, silence, policy and site.",
			Validator:   func(_ workflow.Context, c fanwatch.DeviceChange) error { return f.check(c.Apply(f.Status.Device)) }}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateLabel, f.labelled, workflow.UpdateHandlerOptions{
			Description: "Say of an alert that is over that its trouble is normal, or was a fault.",
			Validator:   func(_ workflow.Context, l fanwatch.Label) error { return f.checkLabel(l) }}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateSuggestion, f.answer, workflow.UpdateHandlerOptions{
			Description: "Configure what the fan's readings suggest, or dismiss it for 30 days.",
			Validator:   func(_ workflow.Context, a fanwatch.SuggestionAnswer) error { return f.checkAnswer(a) }}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateRevoke, f.revoke, workflow.UpdateHandlerOptions{
			Description: "Make certificates of the fan inactive; the fan stays."}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateRetire, f.retire, workflow.UpdateHandlerOptions{
			Description: "Refuse the fan's readings from now on, end its alert and its certificates, and end this workflow."}),
	)
}

// check returns an error when the device is not valid, or not of this fan.
func (f *fan) check(d fanwatch.Device) error {
	d.V = fanwatch.DeviceVersion
	if f.Status.Device.Fan != "" && d.Fan != f.Status.Device.Fan {
		return f.otherFan(d.Fan)
	}
	return d.CheckNew()
}

func (f *fan) otherFan(name string) error {
	return fmt.Errorf("this is fan %s, not %.120q", f.Status.Device.Fan, name)
}

// watch takes signals until the run is to end. One coroutine receives and acts, because a signal that another had taken
// would be lost at the end of the run. It waits for no update.
func (f *fan) watch(ctx workflow.Context, cancelled func() bool) error {
	waiting := func() bool {
		return f.observations.Len() > 0 || f.overs.Len() > 0 || f.renew.Len() > 0 || !f.single && f.labels.Len() > 0
	}
	finished := func() bool {
		return workflow.AllHandlersFinished(ctx) && !f.announcing && (f.renewed || f.ended() || cancelled() ||
			f.signalCount >= f.PerRun || workflow.GetInfo(ctx).GetContinueAsNewSuggested())
	}
	for {
		f.receive(ctx)
		retry := f.act(ctx)
		if waiting() {
			continue
		}
		if finished() {
			return nil
		}
		awake := func() bool { return waiting() || f.poke || finished() }
		var err error
		if retry > 0 {
			_, err = workflow.AwaitWithTimeout(ctx, retry, awake)
		} else {
			err = workflow.Await(ctx, awake)
		}
		if err != nil {
			return err
		}
		f.poke = false
	}
}

// receive takes every signal that waits. Of the observations of a family only the newest counts, so that after an
// outage of the workers its alert tells the current state.
func (f *fan) receive(ctx workflow.Context) {
	if !f.single {
		f.takeLabels(ctx)
	}
	for {
		var o fanwatch.Observation
		var a fanwatch.Alert
		switch {
		case f.renew.ReceiveAsync(nil):
			f.renewed = true
		case f.overs.ReceiveAsync(&a):
			f.signalCount++
			f.over(a.ID)
			f.resolvedByHand(ctx, a)
		case f.observations.ReceiveAsync(&o):
			f.signalCount++
			if f.single && o.Family != "" && workflow.GetVersion(ctx, changeFan3+"-family", workflow.DefaultVersion,
				1) != workflow.DefaultVersion {
				f.single, f.Status.V = false, fanwatch.FanStatusVersion
				f.divide()
			}
			f.changed = f.observed(ctx, o) || f.changed
		default:
			return
		}
	}
}

// act brings the alerts, the certificates of a retired fan and what is shown in line with the fan's state. It logs what
// fails, and returns the time after which to retry it, 0 = not.
func (f *fan) act(ctx workflow.Context) (retry time.Duration) {
	log := workflow.GetLogger(ctx)
	if !f.single {
		retry = f.announceLabels(ctx)
	}
	if again := f.reopenAfter(ctx); again > 0 && (retry == 0 || again < retry) {
		retry = again
	}
	if err := f.updateAlerts(ctx); err != nil {
		log.Error("an alert of the fan is out of step, tried again in 30 s", "fan", f.Status.Device.Fan, "err", err)
		retry = 30 * time.Second
	}
	// While the lock is held, an update is under way, which sets poke when it leaves something to do.
	if f.Status.Phase == fanwatch.PhaseRetired && f.Deactivate && f.lock.TryLock(ctx) {
		if _, err := f.deactivate(ctx, ""); err != nil {
			log.Error("certificates of a retired fan are active still, tried again in 1 min", "fan", f.Status.Device.Fan, "err",
				err)
			retry = time.Minute
		} else {
			f.Deactivate, f.changed = false, true
		}
		f.lock.Unlock()
	}
	if f.changed {
		f.changed = false
		f.show(ctx)
	}
	return retry
}

// updateAlerts opens an alert for each family in trouble that has none, signals pending observations to the open ones,
// and ends those of a retired fan.
func (f *fan) updateAlerts(ctx workflow.Context) error {
	var errs []error
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		if err := f.updateAlert(ctx, family); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (f *fan) updateAlert(ctx workflow.Context, family fanwatch.Family) error {
	s, retired := f.Status.Families[family], f.Status.Phase == fanwatch.PhaseRetired
	switch {
	case s.Alert != "" && retired:
		end := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.Status.Device.Fan, Family: family,
			Position: s.Last.Position, Time: workflow.Now(ctx).UTC(),
			Anomaly: fanwatch.Anomaly{Why: fmt.Sprintf("%s was retired.", f.Status.Device.Fan)}}
		if _, err := f.signal(ctx, s.Alert, SignalResolve, end); err != nil {
			return err
		}
		f.setAlert(family, "")
	case s.Alert != "" && f.pending[family]:
		runs, err := f.signal(ctx, s.Alert, SignalObserve, s.Last)
		if err != nil {
			return err
		}
		if !runs { // it was ended from outside
			f.over(s.Alert)
		}
	}
	delete(f.pending, family)
	s = f.Status.Families[family]
	if s.Last.Anomaly.Kind == fanwatch.KindNone {
		delete(f.again, family)
	} else if s.Alert == "" && !retired && !workflow.Now(ctx).Before(f.resolved[family]) {
		return f.open(ctx, family)
	}
	return nil
}

// open starts the alert of a family. Its ID holds the time of the reading, so that the same trouble does not open
// twice. A running alert of that ID, whose Fan was ended from outside, is taken over.
func (f *fan) open(ctx workflow.Context, family fanwatch.Family) error {
	o := f.Status.Families[family].Last
	at := o.Time
	if o.Anomaly.Kind == fanwatch.KindSilent || f.again[family] {
		at = workflow.Now(ctx).UTC()
	}
	id, started, err := f.start(ctx, o, at)
	if err == nil && !started {
		var runs bool
		if runs, err = f.signal(ctx, id, SignalObserve, o); err == nil && !runs {
			id, started, err = f.start(ctx, o, workflow.Now(ctx).UTC())
			if err == nil && !started {
				err = fmt.Errorf("open %s: there was one of that ID", id)
			}
		}
	}
	if err != nil {
		return err
	}
	f.setAlert(family, id)
	delete(f.again, family)
	if started {
		f.Status.Alerts++
	}
	return nil
}

// start starts the workflow of an alert that opens at the given time; started is false when there was one of its
// ID. The alert outlives this run.
func (f *fan) start(ctx workflow.Context, o fanwatch.Observation, at time.Time) (id string, started bool, err error) {
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(o.Fan, o.Anomaly.Kind, at), Fan: o.Fan,
		Site: f.Status.Device.Site, Kind: o.Anomaly.Kind, Severity: o.Anomaly.Weighed(), Anomaly: o.Anomaly,
		Policy: f.Status.Device.Policy, Opened: at, Why: o.Anomaly.Why, Position: o.Position, State: fanwatch.AlertOpen}
	a.Anomaly.Why = ""
	a.Tags, a.Model = f.Status.Device.Tags, f.Status.Device.Model
	attributes := []temporal.SearchAttributeUpdate{SearchFan.ValueSet(o.Fan),
		SearchState.ValueSet(string(fanwatch.AlertOpen))}
	if f.searched {
		attributes = append(attributes, SearchSeverity.ValueSet(string(a.Severity)), SearchKind.ValueSet(string(a.Kind)))
		if a.Site != "" {
			attributes = append(attributes, SearchSite.ValueSet(a.Site))
		}
	}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            a.ID,
		TaskQueue:             QueueControl,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		StaticSummary:         o.Anomaly.Why,
	}), Alert, AlertInput{Alert: a, Policy: f.Status.Device.Policy})
	err = child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return a.ID, false, nil
	}
	if err != nil {
		return a.ID, false, fmt.Errorf("open %s: %w", a.ID, err)
	}
	return a.ID, true, nil
}

// signal signals an alert; runs is false when no alert of that ID runs.
func (f *fan) signal(ctx workflow.Context, alert, signal string, o fanwatch.Observation) (runs bool, err error) {
	err = workflow.SignalExternalWorkflow(ctx, alert, "", signal, o).Get(ctx, nil)
	var gone *serviceerror.NotFound
	var unknown *temporal.UnknownExternalWorkflowExecutionError
	if errors.As(err, &gone) || errors.As(err, &unknown) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("signal %s to %s: %w", signal, alert, err)
	}
	return true, nil
}

// locked calls do with the lock held. A cancellation of the workflow does not cancel it.
func (f *fan) locked(ctx workflow.Context, do func(workflow.Context) error) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := f.lock.Lock(ctx); err != nil {
		return err
	}
	defer f.lock.Unlock()
	return do(ctx)
}

// provision has the CSR signed and makes the fan active. With the same CSR it returns the same certificate; with
// another one the fan gets a new certificate and the old one ends. A non-retryable error leaves the fan as it was.
func (f *fan) provision(ctx workflow.Context, r ProvisionRequest) (answer ProvisionAnswer, err error) {
	err = f.locked(ctx, func(ctx workflow.Context) error {
		certificate, hash := f.Certificate, f.CSRHash
		if err := f.certify(ctx, r); err != nil {
			// Without workflow.GetVersion: no recorded history has a non-retryable error here.
			if refused(err) {
				f.Certificate, f.CSRHash = certificate, hash
				if f.Status.Phase == fanwatch.PhaseProvisioning && f.CSRHash == "" {
					f.Status.Phase = "" // ends watch, unless another request succeeds before
				}
			}
			return err
		}
		answer.Certificate = f.Certificate.PEM
		return nil
	})
	return answer, err
}

// wanted returns the device that a request asks for; with Change, the fan's device with the change applied.
func (f *fan) wanted(r ProvisionRequest) fanwatch.Device {
	if r.Change == nil {
		return r.Device
	}
	if f.Status.Phase == fanwatch.PhaseActive {
		return r.Change.Apply(f.Status.Device)
	}
	return r.Change.Apply(fanwatch.Device{Fan: r.Device.Fan})
}

func (f *fan) certify(ctx workflow.Context, r ProvisionRequest) error {
	sum := sha256.Sum256([]byte(r.CSR))
	hash := hex.EncodeToString(sum[:])
	d := f.next(ctx, f.wanted(r))
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
	f.Status.Device, f.Status.Certificate, f.Deactivate = d, f.Certificate.ID, false
	if f.Status.Phase != fanwatch.PhaseActive {
		f.enter(ctx, fanwatch.PhaseActive)
	}
	f.show(ctx)
	return nil
}

// refused reports whether an activity's error is non-retryable.
func refused(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

// next returns d with a revision above the fan's. It is at least the Unix time, because scorers ignore a revision below
// the one they know, and a workflow after the fan's retirement or with a new Temporal database does not know that one.
func (f *fan) next(ctx workflow.Context, d fanwatch.Device) fanwatch.Device {
	d.V, d.Revision = fanwatch.DeviceVersion, f.Status.Device.Revision+1
	if !f.old {
		d.Revision = max(d.Revision, int(workflow.Now(ctx).Unix()))
	}
	return d
}

func (f *fan) configure(ctx workflow.Context, d fanwatch.Device) (fanwatch.Device, error) {
	err := f.locked(ctx, func(ctx workflow.Context) (err error) {
		d, err = f.set(ctx, d)
		return err
	})
	return d, err
}

// change changes the fan's device by what an operator names.
func (f *fan) change(ctx workflow.Context, c fanwatch.DeviceChange) (d fanwatch.Device, err error) {
	err = f.locked(ctx, func(ctx workflow.Context) (err error) {
		d, err = f.set(ctx, c.Apply(f.Status.Device))
		return err
	})
	return d, err
}

func (f *fan) set(ctx workflow.Context, d fanwatch.Device) (fanwatch.Device, error) {
	if f.Status.Phase != fanwatch.PhaseActive {
		return d, fmt.Errorf("fan %s is %s: provision it first", d.Fan, f.Status.Phase)
	}
	if d.Fan != f.Status.Device.Fan {
		return d, f.otherFan(d.Fan)
	}
	d = f.next(ctx, d)
	if err := authorise(ctx, d, f.Certificate); err != nil {
		return d, err
	}
	if err := announce(ctx, d); err != nil {
		return d, err
	}
	f.Status.Device = d
	f.show(ctx)
	return d, nil
}

// revoke deactivates certificates. After that the same CSR is signed anew.
func (f *fan) revoke(ctx workflow.Context, r RevokeRequest) (answer RevokeAnswer, err error) {
	err = f.locked(ctx, func(ctx workflow.Context) (err error) {
		answer.Certificates, err = f.deactivate(ctx, r.Certificate)
		f.show(ctx)
		return err
	})
	return answer, err
}

// deactivate deactivates the certificate, or with "" all of the fan, and returns their ARNs.
func (f *fan) deactivate(ctx workflow.Context, certificate string) ([]string, error) {
	arns, err := deactivate(ctx, f.Status.Device.Fan, certificate)
	if err != nil {
		return nil, err
	}
	for _, arn := range arns {
		if arn == f.Certificate.ARN {
			f.Certificate, f.CSRHash = activities.Certificate{}, ""
		}
		if f.Status.Certificate != "" && activities.CertificateID(arn) == f.Status.Certificate {
			f.Status.Certificate = ""
		}
	}
	return arns, nil
}

// retire announces the fan as retired, then ends its alert and its certificates. When AWS IoT Core does not answer,
// watch retries the certificates without limit.
func (f *fan) retire(ctx workflow.Context) (answer RetireAnswer, err error) {
	if f.old {
		return answer, f.retireRun1(ctx)
	}
	err = f.locked(ctx, func(ctx workflow.Context) error {
		d := f.next(ctx, f.Status.Device)
		d.Retired = true
		if err := announce(ctx, d); err != nil {
			return err
		}
		answer.Alert, answer.Alerts = f.Status.Alert, f.Status.OpenAlerts()
		f.Status.Device = d
		f.forget() // for a fan that is provisioned again
		f.enter(ctx, fanwatch.PhaseRetired)
		f.Deactivate, f.poke, f.changed = true, true, true
		if _, err := workflow.AwaitWithTimeout(ctx, 5*time.Second, func() bool { return !f.alerted() }); err != nil {
			return err
		}
		arns, err := f.deactivate(ctx, "")
		if err != nil {
			answer.Pending = errorText(err)
			f.poke = true
			return nil
		}
		f.Deactivate, f.changed, answer.Certificates = false, true, arns
		f.poke = true
		return nil
	})
	return answer, err
}

// errorText returns the text of an activity's error without Temporal's names and numbers.
func errorText(err error) string {
	var app *temporal.ApplicationError
	var late *temporal.TimeoutError
	switch {
	case errors.As(err, &app):
		return app.Message()
	case errors.As(err, &late):
		return "no answer in time: does a worker run?"
	}
	return err.Error()
}

// show writes the fan to search attributes and memo, which lists read without a worker, and to the details of the
// Temporal Web UI.
func (f *fan) show(ctx workflow.Context) {
	f.summarise()
	s := f.Status
	state, found := string(s.Last.Anomaly.Kind), string(s.Last.Anomaly.Kind)
	if state == "" {
		state, found = "normal", searchNormal
	}
	if s.Phase != fanwatch.PhaseActive {
		state, found = string(s.Phase), string(s.Phase)
	}
	fan := s.Device.Fan
	switch {
	case fan == "":
	case f.searched:
		index(ctx, searched{SearchFan, fan}, searched{SearchState, found}, searched{SearchSite, s.Device.Site})
	case f.lean:
		index(ctx, searched{SearchFan, fan}, searched{SearchState, found})
	default:
		// never fails: the attributes were registered at start
		_ = workflow.UpsertTypedSearchAttributes(ctx, SearchFan.ValueSet(fan), SearchState.ValueSet(found))
	}
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoFan: s}) // never fails: a FanStatus encodes
	details := fmt.Sprintf("**%s** is **%s** since %s.", fan, state, s.Since.UTC().Format(time.DateTime))
	for _, t := range s.Troubles() {
		details += "\n\n" + t.Last.Anomaly.Why
	}
	for _, alert := range s.OpenAlerts() {
		details += "\n\nOpen alert: `" + alert + "`"
	}
	if f.Deactivate {
		details += "\n\nIts certificates may be active still: AWS IoT Core is asked until they are not."
	}
	workflow.SetCurrentDetails(ctx, details)
}
