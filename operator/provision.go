package operator

import (
	"context"
	"errors"
	"fmt"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/workflows"
)

// Provision starts the fan's workflow if there is none, and has the device's CSR signed. d replaces the fan's device.
func (o Client) Provision(ctx context.Context, d fanwatch.Device, csrPEM string) (workflows.ProvisionAnswer, error) {
	return o.provision(ctx, workflows.ProvisionRequest{Device: d, CSR: csrPEM})
}

// Enroll is [Client.Provision] with a change: an existing fan keeps what c does not name, a new one has the defaults.
func (o Client) Enroll(ctx context.Context, fan string, c fanwatch.DeviceChange,
	csrPEM string) (workflows.ProvisionAnswer, error) {
	return o.provision(ctx, workflows.ProvisionRequest{Device: c.Apply(fanwatch.Device{Fan: fan}), CSR: csrPEM,
		Change: &c})
}

func (o Client) provision(ctx context.Context, r workflows.ProvisionRequest) (answer workflows.ProvisionAnswer,
	err error) {
	fan := r.Device.Fan
	r.Device.V = fanwatch.DeviceVersion
	if err := r.Device.CheckNew(); err != nil {
		return answer, err
	}
	if err := CheckCSR(r.CSR, fan, r.Device.Clients...); err != nil {
		return answer, fmt.Errorf("provision %s: certificate signing request: %w: make one with fanwatch-edge enroll "+
			"--fan %s", fan, err, fan)
	}
	if err := o.checkClients(ctx, fan, r.Device.Clients); err != nil {
		return answer, fmt.Errorf("provision %s: %w", fan, err)
	}
	s, _, err := o.newest(ctx, fan)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return answer, fmt.Errorf("provision %s: %w", fan, err)
	}
	// Of a fan that is not active only the revision counts, which the scorers know.
	if s.Phase != fanwatch.PhaseActive {
		s = fanwatch.FanStatus{Device: fanwatch.Device{V: fanwatch.DeviceVersion, Fan: fan, Revision: s.Device.Revision}}
	}
	start := o.Temporal.NewWithStartWorkflowOperation(fanOptions(fan, fanwatch.PhaseProvisioning), workflows.Fan,
		workflows.FanInput{Status: s})
	handle, err := o.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{UpdateName: workflows.UpdateProvision,
			WaitForStage: client.WorkflowUpdateStageCompleted,
			Args:         []any{r}},
	})
	if err == nil {
		err = handle.Get(ctx, &answer)
	}
	if err != nil {
		return answer, fmt.Errorf("provision %s: %w", fan, userMessage(err))
	}
	return answer, nil
}

// fanOptions returns the options of every start of a Fan. One that runs is left running.
func fanOptions(fan string, p fanwatch.Phase) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       workflows.FanID(fan),
		TaskQueue:                workflows.QueueControl,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "fan " + fan,
		StaticDetails: "Owns the fan's certificate, configuration, state and open alert. Ends when the fan " +
			"is retired.",
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.SearchFan.ValueSet(fan),
			workflows.SearchState.ValueSet(string(p))),
	}
}

// checkClients refuses client IDs that are names of other fans, for which the fan's certificate could then publish.
func (o Client) checkClients(ctx context.Context, fan string, clients []string) error {
	for _, c := range clients {
		if c == fan || fanwatch.CheckFan(c) != nil {
			continue
		}
		switch _, running, err := o.newest(ctx, c); {
		case err != nil && !errors.Is(err, ErrUnknown):
			return err
		case running:
			return fmt.Errorf("client ID %s is the name of another fan, whose readings it could forge: give the "+
				"publisher a name of its own", c)
		}
	}
	return nil
}
