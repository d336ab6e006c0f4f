package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/failpoint"
)

// Publisher sends one message to a topic, by name or ARN. key is the message's idempotency key: a
// subscriber that has seen it shows the message once.
type Publisher interface {
	Publish(ctx context.Context, topic, subject, body, key string, attributes map[string]string) error
}

// Notifier tells people.
type Notifier struct {
	SNS      Publisher
	Policies map[string]fanwatch.Policy // by name
	Now      fanwatch.Clock
}

// Notification is one message to one topic.
type Notification struct {
	Key     string         `json:"key"`
	To      string         `json:"to"`
	Step    int            `json:"step"`
	Alert   fanwatch.Alert `json:"alert"`
	Subject string         `json:"subject"`
	Body    string         `json:"body"`
}

// Policy gives the escalation policy of that name, "" meaning default. A policy that does not exist
// must not keep an alert from anybody: the default one is taken, and where there is none either, the
// error is final.
func (n *Notifier) Policy(_ context.Context, name string) (fanwatch.Policy, error) {
	for _, name := range []string{name, "default"} {
		if p, ok := n.Policies[name]; ok {
			return p, nil
		}
	}
	return fanwatch.Policy{}, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("there is no escalation policy %q nor one named default: give the worker a policy file", name), "NoPolicy", nil)
}

// Notify sends the notification. It may be sent twice after a crash; its key makes that visible.
func (n *Notifier) Notify(ctx context.Context, m Notification) (time.Time, error) {
	failpoint.Hit(failpoint.NotifyBefore)
	attributes := map[string]string{"fan": m.Alert.Fan, "kind": string(m.Alert.Kind), "step": fmt.Sprint(m.Step)}
	if err := n.SNS.Publish(ctx, m.To, m.Subject, m.Body, m.Key, attributes); err != nil {
		return time.Time{}, fmt.Errorf("tell %s of %s: %w", m.To, m.Alert.ID, err)
	}
	failpoint.Hit(failpoint.NotifyAfter)
	return n.Now().UTC(), nil
}
