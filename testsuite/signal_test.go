package testsuite

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

// signalAcknowledge sends what a person sends from the Temporal Web UI: the signal with a name as JSON text.
func (s *system) signalAcknowledge(a fanwatch.Alert) error {
	return s.temporal().SignalWorkflow(s.t.Context(), a.ID, "", workflows.SignalAcknowledge, "ada")
}

// temporal gives a client of the Temporal server.
func (s *system) temporal() client.Client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	c, err := operator.Dial(ctx, client.Options{HostPort: s.Temporal, Namespace: s.Namespace,
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}
