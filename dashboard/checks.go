package dashboard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/health"
)

// readyChecks is how many of checks, from the first on, /readyz makes: those without which the page shows old news. The
// others are of the system that it shows, and no other instance of the page would do better.
const readyChecks = 2

// checks are what /healthz looks at.
func (s *Server) checks() []health.Check {
	return []health.Check{
		{Name: "temporal", Do: s.checkOperator},
		{Name: "landing-log", Do: func(context.Context) error {
			if why := s.log.trouble(); why != "" {
				return errors.New(why)
			}
			return nil
		}},
		{Name: "scorers", Do: s.checkScorers},
		{Name: "pipeline", Do: func(ctx context.Context) error {
			if err := s.checkOperator(ctx); err != nil {
				return fmt.Errorf("whether an alert of the pipeline is open is not known: %w", err)
			}
			return s.board.pipelineTrouble()
		}},
	}
}

// checkOperator asks for fans and alerts, unless that was done within the last second.
func (s *Server) checkOperator(ctx context.Context) error {
	select {
	case <-s.poller.fresh():
	case <-ctx.Done():
		return errors.New("the operator of fans and alerts does not answer: is Temporal running?")
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	switch {
	case s.board.trouble != "":
		return errors.New(s.board.trouble)
	case s.board.asked.IsZero():
		return errors.New("fans and alerts have not been asked for yet")
	}
	return nil
}

func (s *Server) checkScorers(ctx context.Context) error {
	j, err := s.cfg.Operator.Judged(ctx, s.cfg.Now(), nil)
	switch {
	case err != nil:
		return fmt.Errorf("the scorers cannot be asked: %w", err)
	case len(j.Unread) > 0:
		return errors.New(strings.Join(j.Unread, "; "))
	}
	return nil
}

// setPipeline takes the open alerts, of which it keeps those of the pipeline.
func (b *board) setPipeline(open []fanwatch.Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pipeline = b.pipeline[:0]
	for _, a := range open {
		if a.Kind == fanwatch.KindPipeline {
			b.pipeline = append(b.pipeline, fmt.Sprintf("%s (alert %s, since %s)", a.Why, a.ID,
				a.Opened.UTC().Format(time.RFC3339)))
		}
	}
}

// pipelineTrouble is an error while alerts of kind pipeline are open.
func (b *board) pipelineTrouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pipeline) == 0 {
		return nil
	}
	return errors.New(strings.Join(b.pipeline, "; "))
}
