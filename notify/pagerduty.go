package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"fanwatch"
)

// pager is an integration of PagerDuty's Events API v2.
// https://developer.pagerduty.com/docs/send-alert-event
type pager struct {
	opened
	PagerDuty
}

type pagerLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type pagerPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp time.Time      `json:"timestamp,omitzero"`
	Component string         `json:"component,omitempty"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Custom    map[string]any `json:"custom_details,omitempty"`
}

type pagerEvent struct {
	Key     string        `json:"routing_key"`
	Action  string        `json:"event_action"`
	Dedup   string        `json:"dedup_key"`
	Payload *pagerPayload `json:"payload,omitempty"`
	Client  string        `json:"client,omitempty"`
	URL     string        `json:"client_url,omitempty"`
	Links   []pagerLink   `json:"links,omitempty"`
}

const maxDedup = 255 // bytes of a dedup key

// Send implements Channel. Messages of one alert have one dedup key, so that PagerDuty keeps one incident of it: a page,
// a repeat and a lapse trigger, an acknowledgement acknowledges, the end resolves. A copy changes nothing there. A
// trigger does not take back an acknowledgement that was made at PagerDuty.
func (p pager) Send(ctx context.Context, m Message) (Receipt, error) {
	const channel = "pagerduty"
	key, err := p.Key.Read()
	if err != nil {
		return Receipt{}, unreadable(channel, err)
	}
	e := pagerMessage(m, Render(m, p.zone))
	e.Key = key
	body, err := json.Marshal(e)
	if err != nil {
		return Receipt{}, &Failure{text: channel + ": the message has no JSON: " + err.Error(), permanent: true}
	}
	base := cmp.Or(p.URL, "https://events.pagerduty.com")
	answer, err := p.post(ctx, channel, strings.TrimRight(base, "/")+"/v2/enqueue", body, http.Header{}, key)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: e.Dedup, Detail: status(answer)}, nil
}

func pagerMessage(m Message, r Rendered) pagerEvent {
	a := m.Alert
	e := pagerEvent{Action: "trigger", Dedup: cmp.Or(a.ID, m.Key), Client: "fanwatch", URL: safe(m.Links).Dashboard}
	if m.Event == fanwatch.EventTest || len(e.Dedup) > maxDedup {
		e.Dedup = messageID(cmp.Or(a.ID, m.Key))
	}
	switch m.Event {
	case fanwatch.EventAcknowledged:
		e.Action = "acknowledge"
	case fanwatch.EventOver:
		e.Action = "resolve"
	}
	d := r.Document
	e.Payload = &pagerPayload{Summary: shorten(r.Subject, 1000), Source: cmp.Or(name(a.Fan), "fanwatch"),
		Severity: pagerSeverity(d.Severity), Timestamp: d.Since, Component: name(a.Fan), Group: name(a.Site),
		Class: string(a.Kind), Custom: map[string]any{"text": shorten(r.Text, 8000), "alert": a.ID, "event": m.Event,
			"key": m.Key, "step": m.Step, "steps": m.Steps, "told": m.Told}}
	if m.Event == fanwatch.EventTest {
		e.Payload.Severity = "info"
	}
	for _, l := range (page{Message: m}).buttons() {
		e.Links = append(e.Links, pagerLink{l.Value, l.Name})
	}
	return e
}

// pagerSeverity returns PagerDuty's name of a severity.
func pagerSeverity(s fanwatch.Severity) string {
	switch s {
	case fanwatch.SeverityCritical:
		return "critical"
	case fanwatch.SeverityInfo:
		return "info"
	}
	return "warning"
}
