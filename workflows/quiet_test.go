package workflows

import (
	"log/slog"

	"go.temporal.io/sdk/log"
)

// quiet keeps the SDK's own lines out of the test output.
func quiet() log.Logger { return log.NewStructuredLogger(slog.New(slog.DiscardHandler)) }
