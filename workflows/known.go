package workflows

import (
	"context"
	"errors"

	"fanwatch"
)

// Known tells whether a fan of that name is provisioned, or was and is retired. It asks no worker.
func (o Operator) Known(ctx context.Context, fan string) (bool, error) {
	w, err := o.describe(ctx, FanID(fan))
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s, ok, err := memo[fanwatch.FanStatus](w, MemoFan)
	return ok && s.Phase != "" && s.Phase != fanwatch.PhaseProvisioning, err
}
