package dashboard

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanwatch"
	links "fanwatch/answer"
	"fanwatch/operator"
)

const (
	maxHook     = 256 << 10               // bytes of a request
	slackWithin = 5 * time.Minute         // between a request's time and ours, as Slack has it
	slackWaits  = 2500 * time.Millisecond // Slack gives up after 3 s
	hookOldest  = 49 * time.Hour          // PagerDuty tries a delivery again for 48 h
)

// read returns the bytes of a signed request, or answers why it is refused. sign returns the signature that the secret
// gives the bytes; one of those in the header, which commas separate and of which each begins with scheme and =, must be
// it.
func (s *Answers) read(w http.ResponseWriter, r *http.Request, service, secret, header, scheme string,
	sign func(body []byte) string) (body []byte, ok bool) {
	if secret == "" {
		fail(w, http.StatusNotFound, "answers of "+service+" are not taken here: give its signing secret")
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("send at most %d KiB, whole", maxHook>>10))
		return nil, false
	}
	key, err := links.ReadSecret(secret)
	if err != nil {
		s.cfg.Log.Error("answer: no signing secret", "service", service, "err", err)
		fail(w, http.StatusInternalServerError, "the signing secret cannot be read here")
		return nil, false
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(sign(body)))
	want := hex.EncodeToString(h.Sum(nil))
	for given := range strings.SplitSeq(r.Header.Get(header), ",") {
		version, sum, _ := strings.Cut(strings.TrimSpace(given), "=")
		if version == scheme && hmac.Equal([]byte(sum), []byte(want)) {
			return body, true
		}
	}
	s.cfg.Log.Warn("answer: a request with a wrong signature", "service", service, "remote", r.RemoteAddr)
	fail(w, http.StatusUnauthorized, "the signature is wrong: compare the signing secret with that of "+service)
	return nil, false
}

// take tells the alert, and answers the service. What another try would not change is answered by 200 and logged, so
// that the service does not try for ever.
func (s *Answers) take(ctx context.Context, w http.ResponseWriter, alertID string, a fanwatch.Answer) {
	pass := func(why string, err error) {
		s.cfg.Log.Warn("answer: passed over", "from", a.From, "alert", alertID, "action", a.Action, "why", why, "err", err)
		answerHook(w, why)
	}
	if !strings.HasPrefix(alertID, "alert/") || !plain(alertID, 300) {
		pass("it names no alert of fanwatch", nil)
		return
	}
	if err := checkAnswer(a, s.cfg.Now()); err != nil {
		pass("it cannot be kept", err)
		return
	}
	switch _, err := s.cfg.Operator.AnswerAlert(ctx, alertID, a); {
	case errors.Is(err, operator.ErrUnknown):
		pass("the alert is unknown", err)
	case errors.Is(err, operator.ErrEnded):
		pass("the alert is over", err)
	case errors.Is(err, operator.ErrUsed):
		pass("it was taken before", err)
	case err != nil:
		s.cfg.Log.Error("answer: not taken", "from", a.From, "alert", alertID, "action", a.Action, "err", err)
		fail(w, http.StatusBadGateway, "fanwatch does not answer at the moment: try again")
	default:
		s.cfg.Log.Info("answer: an alert was answered", "from", a.From, "alert", alertID, "by", a.By, "action", a.Action)
		answerHook(w, "")
	}
}

// answerHook says that a request needs no second try, and why it came to nothing, if it did.
func answerHook(w http.ResponseWriter, why string) {
	answer(w, http.StatusOK, struct {
		Passed string `json:"passed,omitempty"`
	}{why})
}

// pagerDutyEvent is what a webhook subscription (V3) sends.
type pagerDutyEvent struct {
	Event struct {
		ID       string             `json:"id"`
		Type     string             `json:"event_type"`
		Occurred time.Time          `json:"occurred_at"`
		Agent    pagerDutyReference `json:"agent"`
		Data     struct {
			ID       string             `json:"id"`
			Key      string             `json:"incident_key"` // the dedup key
			Content  string             `json:"content"`      // of a note
			Incident pagerDutyReference `json:"incident"`     // of a note
			Reason   struct {
				Type string `json:"type"`
			} `json:"resolve_reason"`
		} `json:"data"`
	} `json:"event"`
}

type pagerDutyReference struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Summary string `json:"summary"`
}

// pagerDuty takes the events of a webhook subscription. The dedup key of an incident is its alert's ID.
func (s *Answers) pagerDuty(w http.ResponseWriter, r *http.Request) {
	body, ok := s.read(w, r, "PagerDuty", s.cfg.PagerDuty, "X-PagerDuty-Signature", "v1",
		func(body []byte) string { return string(body) })
	if !ok {
		return
	}
	var in pagerDutyEvent
	if err := json.Unmarshal(body, &in); err != nil || in.Event.ID == "" || len(in.Event.ID) > 100 {
		s.cfg.Log.Warn("answer: an event of PagerDuty that is none", "err", err)
		answerHook(w, "it is not an event")
		return
	}
	e := in.Event
	if e.Data.Key != "" {
		s.known.add(e.Data.ID, e.Data.Key)
	}
	a := fanwatch.Answer{V: fanwatch.AnswerVersion, From: "pagerduty", Token: "pagerduty/" + e.ID,
		By: fanwatch.Acknowledgement{By: cmp.Or(e.Agent.Summary, "PagerDuty")}.Legible().By}
	alertID := e.Data.Key
	switch e.Type {
	case "incident.acknowledged":
		a.Action = fanwatch.ActionAcknowledge
	case "incident.unacknowledged":
		a.Action = fanwatch.ActionUnacknowledge
	case "incident.resolved":
		a.Action, a.Note = fanwatch.ActionResolve, "resolved in PagerDuty"
		if e.Data.Reason.Type == "merge_resolve_reason" {
			a.Note = "merged into another incident in PagerDuty"
		}
	case "incident.annotated":
		a.Action, a.Note = fanwatch.ActionNote, fanwatch.Acknowledgement{Note: e.Data.Content}.Legible().Note
		alertID = s.known.of(e.Data.Incident.ID)
	default:
		answerHook(w, "nothing follows from "+fanwatch.Legible(e.Type, 60))
		return
	}
	// What fanwatch itself sends there comes back as an event of an integration.
	if e.Agent.Type != "user_reference" && a.Action != fanwatch.ActionUnacknowledge {
		answerHook(w, "no person did it")
		return
	}
	if age := s.cfg.Now().Sub(e.Occurred); age > hookOldest || age < -slackWithin {
		s.cfg.Log.Warn("answer: passed over", "from", a.From, "alert", alertID, "why", "its time is not now", "at", e.Occurred)
		answerHook(w, "it is too old, or ahead of time")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	s.take(ctx, w, alertID, a)
}

// slackInteraction is what an app's interactivity sends as the form field payload.
type slackInteraction struct {
	Type string `json:"type"`
	User struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
	} `json:"user"`
	Actions []struct {
		Value string `json:"value"` // ACTION ALERT
	} `json:"actions"`
}

// slack takes a press of a button whose value is an action, a space and an alert's ID.
func (s *Answers) slack(w http.ResponseWriter, r *http.Request) {
	stamp := r.Header.Get("X-Slack-Request-Timestamp")
	body, ok := s.read(w, r, "Slack", s.cfg.Slack, "X-Slack-Signature", "v0",
		func(body []byte) string { return "v0:" + stamp + ":" + string(body) })
	if !ok {
		return
	}
	now := s.cfg.Now()
	sent, err := strconv.ParseInt(stamp, 10, 64)
	if age := now.Sub(time.Unix(sent, 0)); err != nil || age > slackWithin || age < -slackWithin {
		s.cfg.Log.Warn("answer: a request of another time", "service", "Slack", "sent", fanwatch.Legible(stamp, 40))
		fail(w, http.StatusUnauthorized, "the request is older than 5 minutes, or ahead of time: set the clocks")
		return
	}
	form, err := url.ParseQuery(string(body))
	var in slackInteraction
	if err == nil {
		err = json.Unmarshal([]byte(form.Get("payload")), &in)
	}
	if err != nil || in.Type != "block_actions" || len(in.Actions) != 1 {
		s.cfg.Log.Warn("answer: an interaction of Slack that is no press of a button", "err", err)
		answerHook(w, "it is no press of a button")
		return
	}
	action, alertID, _ := strings.Cut(in.Actions[0].Value, " ")
	// A copy of the request has the same signature.
	sum := sha256.Sum256(append([]byte(stamp+":"), body...))
	a := fanwatch.Answer{V: fanwatch.AnswerVersion, Action: fanwatch.Action(action), From: "slack",
		By: fanwatch.Acknowledgement{By: cmp.Or(in.User.Name, in.User.Username, in.User.ID, "Slack")}.Legible().By,
		// Half of the hash is enough to tell requests apart.
		Token: "slack/" + hex.EncodeToString(sum[:16])}
	switch a.Action {
	case fanwatch.ActionSnooze:
		a.Until = now.Add(time.Hour).UTC()
	case fanwatch.ActionResolve:
		a.Note = "resolved in Slack"
	}
	ctx, cancel := context.WithTimeout(r.Context(), slackWaits)
	defer cancel()
	s.take(ctx, w, alertID, a)
}

// maxIncidentKeys is the number of PagerDuty's incidents whose keys are remembered.
const maxIncidentKeys = 2000

// incidentKeys remembers the dedup keys of PagerDuty's newest incidents: a note names its incident alone.
type incidentKeys struct {
	mu    sync.Mutex
	keys  map[string]string
	order []string // oldest first
}

func newIncidentKeys() *incidentKeys { return &incidentKeys{keys: map[string]string{}} }

func (k *incidentKeys) add(id, key string) {
	if len(id) > 100 || len(key) > 300 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.keys[id]; !known {
		k.order = append(k.order, id)
	}
	k.keys[id] = key
	if len(k.order) > maxIncidentKeys {
		delete(k.keys, k.order[0])
		k.order = k.order[1:]
	}
}

// of returns the key of an incident, "" where it is not known.
func (k *incidentKeys) of(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[id]
}
