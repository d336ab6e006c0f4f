package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

const anything = mock.Anything

// registry is an AWS IoT Core of a map: what a fan's workflow asked for, by thing.
type registry struct {
	labels       []fanwatch.Label // on the stream
	unsaid       int              // records that the stream does not take
	things       map[string]bool
	certificates int
	attached     map[string][]string // thing -> ARNs
	policies     map[string]string
	has          map[string][]string // ARN -> names of policies
	inactive     []string
	away         bool // Deactivate does not work
	announced    []fanwatch.Device
	fail         error
	refuse       error // to sign
	forbid       error // to make a policy
}

func newRegistry() *registry {
	return &registry{things: map[string]bool{}, attached: map[string][]string{}, policies: map[string]string{},
		has: map[string][]string{}}
}

func (r *registry) CreateThing(_ context.Context, name string, _ map[string]string) error {
	r.things[name] = true
	return r.fail
}

func (r *registry) CertificateFromCSR(_ context.Context, csr string) (activities.Certificate, error) {
	if r.refuse != nil {
		return activities.Certificate{}, r.refuse
	}
	r.certificates++
	return activities.Certificate{ID: csr, ARN: "arn:cert/" + csr, PEM: "signed " + csr}, nil
}

func (r *registry) PutPolicy(_ context.Context, name, document string) error {
	if r.forbid != nil {
		return r.forbid
	}
	if old, ok := r.policies[name]; ok && old != document {
		return fmt.Errorf("policy %s says something else", name)
	}
	r.policies[name] = document
	return nil
}

func (r *registry) AttachPolicy(_ context.Context, policy, arn string) error {
	if len(r.has[arn]) == 10 {
		return errors.New("LimitExceeded: 10 policies")
	}
	r.has[arn] = append(r.has[arn], policy)
	return nil
}

func (r *registry) Policies(_ context.Context, arn string) ([]string, error) {
	return slices.Clone(r.has[arn]), nil
}

func (r *registry) DetachPolicy(_ context.Context, policy, arn string) error {
	r.has[arn] = slices.DeleteFunc(r.has[arn], func(p string) bool { return p == policy })
	return nil
}

func (r *registry) AttachCertificate(_ context.Context, thing, arn string) error {
	for _, a := range r.attached[thing] {
		if a == arn {
			return nil
		}
	}
	r.attached[thing] = append(r.attached[thing], arn)
	return nil
}

func (r *registry) Certificates(_ context.Context, thing string) ([]string, error) {
	return slices.Clone(r.attached[thing]), nil
}

func (r *registry) Deactivate(_ context.Context, arn string) error {
	if r.away {
		return errors.New("IoT Core does not answer")
	}
	r.inactive = append(r.inactive, arn)
	return nil
}

func (r *registry) Record(_ context.Context, _ string, data []byte) error {
	rec, err := fanwatch.DecodeRecord(data)
	if err != nil {
		return err
	}
	switch {
	case r.unsaid > 0:
		r.unsaid--
		return temporal.NewNonRetryableApplicationError("the stream is away", "Away", nil)
	case rec.Label != nil:
		r.labels = append(r.labels, *rec.Label)
	default:
		r.announced = append(r.announced, *rec.Device)
	}
	return nil
}

type fanRun struct {
	*testsuite.TestWorkflowEnvironment
	reg    *registry
	alerts []fanwatch.Alert // that were opened
	told   []string         // what the alerts heard: "signal kind why"
}

func newFanRun(t *testing.T) *fanRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	env.SetStartTime(opened)
	r := &fanRun{TestWorkflowEnvironment: env, reg: newRegistry()}
	env.RegisterWorkflow(Fan)
	env.RegisterActivity(&activities.Provisioner{Registry: r.reg, Stream: r.reg,
		Topics:   activities.PolicyTopics{ARN: "arn:aws:iot:x:y", Rule: "r", Legacy: "l"},
		Policies: func() map[string]fanwatch.Policy { return map[string]fanwatch.Policy{"default": {}, "night": {}} }})
	env.RegisterWorkflowWithOptions(r.alert, workflow.RegisterOptions{Name: "Alert"})
	return r
}

// alert ends at the first recovery, or after an hour: the test's environment waits for the children.
func (r *fanRun) alert(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
	a := in.Alert
	r.alerts = append(r.alerts, a)
	timer := workflow.NewTimer(ctx, time.Hour)
	for over := false; !over; {
		hear := func(name string) func(workflow.ReceiveChannel, bool) {
			return func(c workflow.ReceiveChannel, _ bool) {
				var o fanwatch.Observation
				c.Receive(ctx, &o)
				r.told = append(r.told, fmt.Sprintf("%s %s %s", name, o.Anomaly.Kind, o.Anomaly.Why))
				over = o.Anomaly.Kind == fanwatch.KindNone || name == SignalResolve
			}
		}
		late := false
		workflow.NewSelector(ctx).AddReceive(workflow.GetSignalChannel(ctx, SignalResolve), hear(SignalResolve)).
			AddReceive(workflow.GetSignalChannel(ctx, SignalObserve), hear(SignalObserve)).
			AddFuture(timer, func(workflow.Future) { late = true }).Select(ctx)
		if late {
			return a, nil
		}
	}
	a.State = fanwatch.AlertResolved
	_ = workflow.SignalExternalWorkflow(ctx, FanID(a.Fan), "", SignalAlertOver, a).Get(ctx, nil) // the fan may be retired
	return a, nil
}

func (r *fanRun) at(d time.Duration, do func()) { r.RegisterDelayedCallback(do, d) }

func (r *fanRun) update(t *testing.T, name string, got func(any, error), args ...any) {
	r.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {}, OnReject: func(err error) { got(nil, err) }, OnComplete: got}, args...)
}

func (r *fanRun) retireAt(t *testing.T, d time.Duration) {
	r.at(d, func() { r.update(t, UpdateRetire, func(any, error) {}) })
}

// observationOf is observation of one family, as a scorer since the families sends it.
func observationOf(n int, family fanwatch.Family, kind fanwatch.Kind) fanwatch.Observation {
	o := observation(n, kind)
	o.Family = family
	return o
}

func observation(n int, kind fanwatch.Kind) fanwatch.Observation {
	return fanwatch.Observation{V: 1, Fan: "fan-07", Position: fanwatch.Position{Shard: "s",
		Sequence: fanwatch.SequenceNumber(fmt.Sprint(100 + n))},
		Time: opened.Add(time.Duration(n) * time.Second), Anomaly: fanwatch.Anomaly{Kind: kind, Why: "because"}}
}

func (r *fanRun) observe(n int, kind fanwatch.Kind) {
	r.SignalWorkflow(SignalObserve, observation(n, kind))
}

func (r *fanRun) execute(t *testing.T, in FanInput) {
	t.Helper()
	if in.Status.Device.Fan == "" {
		in.Status.Device = fanwatch.Device{V: 1, Fan: "fan-07"}
	}
	r.SetStartWorkflowOptions(startOptions(FanID("fan-07")))
	r.ExecuteWorkflow(Fan, in)
}

func TestProvisionTwiceGivesOneCertificateAndRotationEndsTheOld(t *testing.T) {
	r := newFanRun(t)
	var answers []string
	provision := func(csr string, clients ...string) func() {
		return func() {
			r.update(t, UpdateProvision, func(v any, err error) {
				if err != nil {
					t.Error(err)
					return
				}
				answers = append(answers, v.(ProvisionAnswer).Certificate)
			}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07", Clients: clients}, CSR: csr})
		}
	}
	r.at(time.Second, provision("one"))
	r.at(2*time.Second, provision("one", "new_Client"))
	r.at(3*time.Second, provision("two", "new_Client", "newer_Client"))
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(answers) != "[signed one signed one signed two]" || r.reg.certificates != 2 {
		t.Errorf("answers %v of %d certificates", answers, r.reg.certificates)
	}
	if fmt.Sprint(r.reg.inactive) != "[arn:cert/one arn:cert/one arn:cert/two]" {
		t.Errorf("inactive: %v, want the first certificate, and both when the fan is retired", r.reg.inactive)
	}
	revisions := ""
	for _, d := range r.reg.announced {
		revisions += fmt.Sprintf("%d:%v ", d.Revision, d.Retired)
	}
	if revisions != "1780000001:false 1780000002:false 1780000003:false 1780000060:true " { // the time
		t.Errorf("announced %s", revisions)
	}
	if len(r.reg.policies) != 3 { // of all devices, of one client ID, of two
		t.Errorf("policies %v", r.reg.policies)
	}
}

func TestProvisionRefusesBadDevices(t *testing.T) {
	r := newFanRun(t)
	var errs []error
	for _, req := range []ProvisionRequest{{Device: fanwatch.Device{Fan: "a/b"}, CSR: "x"},
		{Device: fanwatch.Device{Fan: "fan-07"}}, {Device: fanwatch.Device{Fan: "fan-07", Zone: "Mars"}, CSR: "x"}} {
		r.at(time.Second, func() {
			r.update(t, UpdateProvision, func(_ any, err error) { errs = append(errs, err) }, req)
		})
	}
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if len(errs) != 3 || errs[0] == nil || errs[1] == nil || errs[2] == nil || r.reg.certificates != 0 {
		t.Errorf("%v", errs)
	}
}

// TestARefusedCSRLeavesTheFanAsItWas guards against a fan that stays in provisioning for ever, and against a
// refusal that is tried again while everybody else waits.
func TestARefusedCSRLeavesTheFanAsItWas(t *testing.T) {
	refusal := temporal.NewNonRetryableApplicationError("an RSA key of 1024 bits", "Refused", nil)
	for _, provisioned := range []bool{false, true} {
		r := newFanRun(t)
		if provisioned {
			r.at(time.Second, func() {
				r.update(t, UpdateProvision, func(_ any, err error) {
					if err != nil {
						t.Error(err)
					}
				}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07", Site: "Hall A"}, CSR: "one"})
			})
			r.retireAt(t, time.Hour)
		}
		var answer error
		var took time.Duration
		r.at(time.Minute, func() {
			r.reg.refuse = refusal
			r.update(t, UpdateProvision, func(_ any, err error) { answer, took = err, r.Now().Sub(opened)-time.Minute },
				ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07"}, CSR: "two"})
		})
		var s fanwatch.FanStatus
		look := func() {
			if v, err := r.QueryWorkflow(QueryStatus); err != nil || v.Get(&s) != nil {
				t.Error(err)
			}
		}
		r.at(2*time.Minute, look)
		r.execute(t, FanInput{})
		if err := r.GetWorkflowError(); err != nil {
			t.Fatal(err) // continued as new: it would wait for ever
		}
		if messageOf(answer) != "an RSA key of 1024 bits" || took > time.Second {
			t.Errorf("answered %v after %s", answer, took)
		}
		if !provisioned {
			if look(); s.Phase != "" || r.Now().Sub(opened) > 2*time.Minute {
				t.Errorf("a fan that never was: %+v", s)
			}
		} else if s.Phase != fanwatch.PhaseActive || s.Device.Site != "Hall A" || s.Device.Revision != int(opened.Unix())+1 {
			t.Errorf("a fan that was: %+v", s)
		}
	}
}

// TestAPolicyThatDoesNotExistIsRefused guards against a misspelt name that wakes the wrong people.
func TestAPolicyThatDoesNotExistIsRefused(t *testing.T) {
	r := newFanRun(t)
	var said []string
	answer := func(_ any, err error) {
		said = append(said, messageOf(err))
	}
	device := func(policy string) fanwatch.Device { return fanwatch.Device{Fan: "fan-07", Policy: policy} }
	r.at(1*time.Second, func() {
		r.update(t, UpdateProvision, answer, ProvisionRequest{Device: device("night"), CSR: "one"})
	})
	r.at(2*time.Second, func() {
		r.update(t, UpdateProvision, answer, ProvisionRequest{Device: device("nihgt"), CSR: "two"})
	})
	r.at(3*time.Second, func() { r.update(t, UpdateConfigure, answer, device("nihgt")) })
	r.at(4*time.Second, func() { r.update(t, UpdateConfigure, answer, device("")) })
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	const no = `device fan-07: there is no escalation policy "nihgt": use one of default, night, or add it to the ` +
		`workers' policy file`
	if want := []string{"<nil>", no, no, "<nil>"}; !slices.Equal(said, want) {
		t.Errorf("answers %q", said)
	}
	if r.reg.certificates != 1 || len(r.reg.announced) != 3 {
		t.Errorf("%d certificates, announced %+v", r.reg.certificates, r.reg.announced)
	}
}

func TestTroubleOpensOneAlertAndOldNewsNone(t *testing.T) {
	r := newFanRun(t)
	r.at(1*time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(2*time.Second, func() { r.observe(1, fanwatch.KindStall) })     // told twice
	r.at(3*time.Second, func() { r.observe(2, fanwatch.KindSpeed) })     // same alert
	r.at(4*time.Second, func() { r.observe(3, fanwatch.KindNone) })      // ends it
	r.at(5*time.Second, func() { r.observe(1, fanwatch.KindStall) })     // a zombie's old news
	r.at(6*time.Second, func() { r.observe(9, fanwatch.KindOverspeed) }) // the next trouble
	r.at(7*time.Second, func() { r.observe(10, fanwatch.KindNone) })
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if len(r.alerts) != 2 || r.alerts[0].Kind != fanwatch.KindStall || r.alerts[1].Kind != fanwatch.KindOverspeed {
		t.Errorf("alerts %+v", r.alerts)
	}
	v, err := r.QueryWorkflow(QueryStatus)
	var s fanwatch.FanStatus
	if err != nil || v.Get(&s) != nil || s.Alert != "" || s.Alerts != 2 || s.Phase != fanwatch.PhaseRetired {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestFanContinuesAsNewUnderAnOpenAlertWithoutLosingSignals(t *testing.T) {
	r := newFanRun(t)
	r.at(time.Second, func() {
		for n := 1; n <= 7; n++ {
			kind := fanwatch.KindSpeed
			if n%2 == 0 {
				kind = fanwatch.KindStall
			}
			r.observe(n, kind)
		}
	})
	r.execute(t, FanInput{PerRun: 5})
	var next *workflow.ContinueAsNewError
	if err := r.GetWorkflowError(); !asContinue(err, &next) {
		t.Fatalf("error %v, want continue as new", err)
	}
	var in FanInput
	if err := decode(next, &in); err != nil {
		t.Fatal(err)
	}
	if in.Status.Last.Position.Sequence != "107" || in.Status.Alert == "" || in.Status.Alerts != 1 {
		t.Errorf("carried over: %+v", in.Status)
	}
}
