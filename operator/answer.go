package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/workflows"
)

// AnswerAlert tells an alert what a person does about it, and returns it. The error wraps [ErrUnknown], [ErrEnded] or,
// for a token that the alert took before, [ErrUsed].
func (o Client) AnswerAlert(ctx context.Context, alertID string, a fanwatch.Answer) (fanwatch.Alert, error) {
	var alert fanwatch.Alert
	if !strings.HasPrefix(alertID, "alert/") {
		return alert, fmt.Errorf("alert %.120q: %w: an alert's ID begins with alert/ (see fanwatch alerts)", alertID,
			ErrUnknown)
	}
	return alert, o.update(ctx, alertID, workflows.UpdateAnswer, &alert, a)
}

// used reports whether err says that an alert took the token before.
func used(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == workflows.TypeUsed
}
