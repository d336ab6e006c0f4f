package notify

import (
	"time"

	"fanwatch"
)

// DocumentVersion is the version of Document that this program writes.
const DocumentVersion = 1

// Document is a message for programs: the body of a webhook, and SNS's for sqs, http, https and lambda. schema.json
// describes it.
type Document struct {
	V        int                 `json:"v"`
	Key      string              `json:"key"` // idempotency key: the same message has the same
	Event    fanwatch.Event      `json:"event"`
	At       time.Time           `json:"at,omitzero"`
	Subject  string              `json:"subject"`
	Text     string              `json:"text"`
	Severity fanwatch.Severity   `json:"severity,omitempty"`
	Alert    string              `json:"alert,omitempty"` // ID
	State    fanwatch.AlertState `json:"state,omitempty"`
	Fan      string              `json:"fan,omitempty"`
	Site     string              `json:"site,omitempty"`
	Kind     fanwatch.Kind       `json:"kind,omitempty"`
	Why      string              `json:"why,omitempty"`
	Since    time.Time           `json:"since,omitzero"`
	Until    time.Time           `json:"until,omitzero"`    // of EventOver
	Seconds  float64             `json:"seconds,omitempty"` // from Since to Until, or to At
	Value    float64             `json:"value,omitempty"`   // measured; with Expected, Low and High as Anomaly has them
	Expected float64             `json:"expected,omitempty"`
	Low      float64             `json:"low,omitempty"`
	High     float64             `json:"high,omitempty"`
	Score    float64             `json:"score,omitempty"`
	Step     int                 `json:"step,omitempty"`
	Steps    int                 `json:"steps,omitempty"`
	Repeat   int                 `json:"repeat,omitempty"`
	Round    int                 `json:"round,omitempty"`
	Told     []string            `json:"told,omitempty"`
	Next     []fanwatch.Next     `json:"next,omitempty"`
	By       string              `json:"by,omitempty"` // who acknowledged, or resolved it by hand
	Note     string              `json:"note,omitempty"`
	Links    fanwatch.Links      `json:"links,omitzero"`
	Troubled int                 `json:"troubled,omitempty"` // of an incident, like the three below
	Joined   int                 `json:"joined,omitempty"`
	Fans     int                 `json:"fans,omitempty"`
	Members  []fanwatch.Member   `json:"members,omitempty"`
	Picture  []byte              `json:"picture,omitempty"` // PNG, base64; a webhook has it alone
}

func (p page) document(r Rendered) Document {
	a := p.Alert
	d := Document{V: DocumentVersion, Key: p.Key, Event: p.Event, At: p.at.UTC(), Subject: r.Subject, Text: r.Text,
		Alert: a.ID, State: a.State, Fan: a.Fan, Site: a.Site, Kind: a.Kind, Why: a.Why, Since: a.Opened.UTC(),
		Value: a.Anomaly.Value, Expected: a.Anomaly.Expected, Low: a.Anomaly.Low, High: a.Anomaly.High,
		Score: a.Anomaly.Score, Step: p.Step, Steps: p.Steps, Repeat: p.Repeat, Round: a.Round, Told: p.Told, Next: p.Next,
		By: p.By, Note: a.Note, Links: p.Links, Troubled: a.Troubled, Joined: a.Joined, Fans: a.Fans, Members: a.Members}
	if a.Kind != "" {
		d.Severity = a.Weighed()
	}
	if d.By == "" {
		d.By = a.AckedBy
	}
	end := p.at
	if p.Event == fanwatch.EventOver {
		end = p.end()
		d.Until = end.UTC()
		if a.EndedBy != "" {
			d.By = a.EndedBy
		}
	}
	if !a.Opened.IsZero() {
		d.Seconds = max(0, end.Sub(a.Opened).Seconds())
	}
	return d
}
