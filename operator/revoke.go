package operator

import (
	"context"
	"fmt"
	"regexp"

	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// Revoke deactivates certificates of a fan without retiring it: all of the fan of that name, or the one of that ARN or
// ID. It returns the fan, which may be retired. The error wraps [ErrUnknown] when no fan has the certificate.
func (o Client) Revoke(ctx context.Context, what string) (fan string, out workflows.RevokeAnswer, err error) {
	fan, r := what, workflows.RevokeRequest{}
	if IsCertificate(what) {
		r.Certificate = activities.CertificateID(what)
		if fan, err = o.fanOfCertificate(ctx, r.Certificate); err != nil {
			return "", out, err
		}
	}
	s, running, err := o.newest(ctx, fan)
	if err == nil && !running && s.Phase == fanwatch.PhaseRetired {
		out, err = o.revokeRetired(ctx, s, r)
		return fan, out, err
	}
	err = o.update(ctx, workflows.FanID(fan), workflows.UpdateRevoke, &out, r)
	return fan, out, err
}

// revokeRetired deactivates certificates of a retired fan, which earlier programs left active. It starts the fan's
// workflow, which ends when they are inactive.
func (o Client) revokeRetired(ctx context.Context, s fanwatch.FanStatus,
	r workflows.RevokeRequest) (out workflows.RevokeAnswer, err error) {
	fan := s.Device.Fan
	handle, err := o.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: o.Temporal.NewWithStartWorkflowOperation(fanOptions(fan, s.Phase), workflows.Fan,
			workflows.FanInput{Status: s, Deactivate: true}),
		UpdateOptions: client.UpdateWorkflowOptions{UpdateName: workflows.UpdateRevoke,
			WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{r}},
	})
	if err == nil {
		err = handle.Get(ctx, &out)
	}
	if err != nil {
		return out, fmt.Errorf("revoke %s: %w", fan, userMessage(err))
	}
	return out, nil
}

var certificateID = regexp.MustCompile("^[0-9a-f]{64}$")

// IsCertificate reports whether text is the ARN of a certificate of AWS IoT Core or its ID, 64 hexadecimal digits.
func IsCertificate(text string) bool {
	return certificateID.MatchString(activities.CertificateID(text))
}

// fanOfCertificate returns the fan whose certificate has that ID.
func (o Client) fanOfCertificate(ctx context.Context, id string) (string, error) {
	fans, err := o.Fans(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range fans {
		if s.Certificate == id {
			return s.Device.Fan, nil
		}
	}
	return "", fmt.Errorf("certificate %s: %w: it speaks for no fan; the certificate that a fan had before ends "+
		"when it gets another", id, ErrUnknown)
}
