package testsuite

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"fanwatch"
	"fanwatch/workflows"
)

// signalAcknowledge sends what a person sends from the Temporal Web UI: the signal with a name as JSON text.
func (s *system) signalAcknowledge(a fanwatch.Alert) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := workflows.Dial(ctx, client.Options{HostPort: s.Temporal, Namespace: s.Namespace, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SignalWorkflow(ctx, a.ID, "", workflows.SignalAcknowledge, "ada")
}
