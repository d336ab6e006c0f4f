package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"fanwatch"
	"fanwatch/operator"
)

const (
	maxAnswered   = 500 // alerts of one request
	answersAtOnce = 8
)

// unanswered is an alert that did not take an answer.
type unanswered struct {
	ID  string `json:"id"`
	Why string `json:"why"`

	status int
}

// answerAlerts takes {"ids": [...], "answer": {...}} as JSON: what a person does about one alert or several. Of one the
// status says what came of it; of several, 200 means that at least one took the answer, and failed lists the others.
func (s *Server) answerAlerts(w http.ResponseWriter, r *http.Request) {
	var in struct {
		IDs    []string        `json:"ids"`
		Answer fanwatch.Answer `json:"answer"`
	}
	if !sent(w, r, &in, `{"ids": [...], "answer": {"action": ..., "by": ...}}`) {
		return
	}
	if len(in.IDs) == 0 || len(in.IDs) > maxAnswered {
		fail(w, http.StatusBadRequest, fmt.Sprintf("ids must be 1 to %d IDs of alerts, as /api/alerts gives them", maxAnswered))
		return
	}
	for _, id := range in.IDs {
		if id == "" || !plain(id, 300) {
			fail(w, http.StatusBadRequest, "ids must be IDs of alerts, as /api/alerts gives them")
			return
		}
	}
	// Token and time are not the browser's to give.
	a := fanwatch.Answer{V: fanwatch.AnswerVersion, Action: in.Answer.Action, By: strings.TrimSpace(in.Answer.By),
		From: "dashboard", To: strings.TrimSpace(in.Answer.To), Until: in.Answer.Until.UTC(),
		Note: strings.TrimSpace(in.Answer.Note), Verdict: in.Answer.Verdict}
	if err := checkAnswer(a, s.cfg.Now()); err != nil {
		fail(w, http.StatusBadRequest, oneLine(err))
		return
	}
	failed := s.answerEach(r.Context(), in.IDs, a)
	if len(failed) == len(in.IDs) {
		fail(w, failed[0].status, failed[0].Why)
		return
	}
	answer(w, http.StatusOK, struct {
		Failed []unanswered `json:"failed,omitempty"`
	}{failed})
}

// answerEach tells each alert, a few at a time, and returns those that did not take the answer, in their order.
func (s *Server) answerEach(ctx context.Context, ids []string, a fanwatch.Answer) []unanswered {
	all := make([]unanswered, len(ids))
	var work sync.WaitGroup
	slots := make(chan struct{}, answersAtOnce)
	for i, id := range ids {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			all[i] = s.answerOne(ctx, id, a)
		})
	}
	work.Wait()
	var failed []unanswered
	for _, f := range all {
		if f.status != 0 {
			failed = append(failed, f)
		}
	}
	return failed
}

func (s *Server) answerOne(ctx context.Context, id string, a fanwatch.Answer) unanswered {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	_, err := s.cfg.Operator.AnswerAlert(ctx, id, a)
	f := unanswered{ID: id}
	switch {
	case err == nil:
		s.cfg.Log.Info("dashboard: alert answered", "alert", id, "by", a.By, "action", a.Action)
		return f
	case errors.Is(err, operator.ErrUnknown):
		f.status = http.StatusNotFound
	case errors.Is(err, operator.ErrEnded), errors.Is(err, operator.ErrUsed):
		f.status = http.StatusConflict
	default:
		s.cfg.Log.Warn("dashboard: answering an alert failed", "alert", id, "action", a.Action, "err", err)
		f.status = http.StatusBadGateway
	}
	f.Why = oneLine(err)
	return f
}
