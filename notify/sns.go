package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// topic is an SNS topic.
type topic struct {
	opened
	SNS
}

// Send implements Channel.
func (t topic) Send(ctx context.Context, m Message) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Try)
	defer cancel()
	return Publish(ctx, t.Deps.SNS, t.Topic, m, t.zone)
}

// Publish renders the message and sends it to an SNS topic, by name or ARN: to mail as text, to sms as one line, and to
// sqs, http, https and lambda as a [Document].
func Publish(ctx context.Context, topics Topics, topic string, m Message, zone *time.Location) (Receipt, error) {
	r := Render(m, zone)
	document, err := json.Marshal(r.Document)
	if err != nil {
		return Receipt{}, &Failure{text: "SNS: the message has no JSON: " + err.Error(), permanent: true}
	}
	bodies := map[string]string{"default": r.Text, "email": r.Text, "sms": r.Line}
	for _, protocol := range []string{"email-json", "sqs", "http", "https", "lambda", "firehose"} {
		bodies[protocol] = string(document)
	}
	id, err := topics.PublishEach(ctx, topic, r.Subject, bodies, m.Key, Attributes(m))
	if err != nil {
		return Receipt{}, err // SNS's own errors say whether they are permanent
	}
	return Receipt{ID: id, Detail: "SNS took it"}, nil
}

// Attributes returns what SNS's filter policies may ask of a message. Those without a value, which SNS refuses, are left
// out.
func Attributes(m Message) map[string]string {
	a := m.Alert
	all := map[string]string{"fan": a.Fan, "site": a.Site, "kind": string(a.Kind), "step": fmt.Sprint(m.Step),
		"state": string(a.State), "alert": a.ID, "severity": string(a.Weighed()), "event": string(m.Event)}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}
