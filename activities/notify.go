package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/failpoint"
)

// Publisher sends one message to a topic, by name or ARN. key is the message's idempotency key, by which a subscriber
// recognises copies. A non-retryable ApplicationError says that the topic will never take the message.
type Publisher interface {
	Publish(ctx context.Context, topic, subject, body, key string, attributes map[string]string) error
}

// TopicChecker checks one topic, by name or ARN. It returns why messages to the topic reach no subscriber, "" if they
// do, and an error when that cannot be found out.
type TopicChecker interface {
	CheckTopic(ctx context.Context, topic string) (why string, err error)
}

// Policies returns the current escalation policies by name. It must be safe for concurrent use; the map must not be
// changed.
type Policies func() map[string]fanwatch.Policy

// Notifier sends notifications of alerts.
type Notifier struct {
	SNS      Publisher
	Checker  TopicChecker // nil: topics are not checked
	Policies Policies
	Now      fanwatch.Clock
}

// Notification is one message to one topic.
type Notification struct {
	Key     string         `json:"key"`
	To      string         `json:"to"`
	Step    int            `json:"step"`  // from 1
	Alert   fanwatch.Alert `json:"alert"` // without Sent and Failed
	Subject string         `json:"subject"`
	Body    string         `json:"body"`
}

// Policy returns the escalation policy of that name, or the one named default when name is "" or not known. The error
// is non-retryable when there is no default either. The canary's policy is built in.
func (n *Notifier) Policy(_ context.Context, name string) (fanwatch.Policy, error) {
	if name == fanwatch.CanaryPolicy {
		return fanwatch.Policy{V: fanwatch.PolicyVersion, Name: name, Hold: -1,
			Steps: []fanwatch.Step{{Notify: []string{fanwatch.CanaryTopic}}}}, nil
	}
	policies := n.Policies()
	for _, name := range []string{name, "default"} {
		if p, ok := policies[name]; ok {
			return p, nil
		}
	}
	return fanwatch.Policy{}, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("there is no escalation policy %q nor one named default: give the worker a policy file", name),
		"NoPolicy", nil)
}

// Notify sends the notification and returns the time at which the topic took it. After a crash it may be sent twice,
// with the same key.
func (n *Notifier) Notify(ctx context.Context, m Notification) (time.Time, error) {
	failpoint.Hit(failpoint.NotifyBefore)
	attributes := map[string]string{"fan": m.Alert.Fan, "kind": string(m.Alert.Kind), "step": fmt.Sprint(m.Step),
		"state": string(m.Alert.State), "alert": m.Alert.ID, "severity": string(m.Alert.Weighed())}
	maps.DeleteFunc(attributes, func(_, value string) bool { return value == "" }) // SNS takes no empty one
	err := n.SNS.Publish(ctx, m.To, m.Subject, m.Body, m.Key, attributes)
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &app):
		return time.Time{}, app // not wrapped: Temporal looks at the outermost error alone
	case err != nil:
		return time.Time{}, fmt.Errorf("tell %s of %s: %w", m.To, m.Alert.ID, err)
	}
	failpoint.Hit(failpoint.NotifyAfter)
	return n.Now().UTC(), nil
}

// TopicTrouble is a topic whose messages reach no subscriber, or may not.
type TopicTrouble struct {
	Topic    string   `json:"topic"`             // as the policies name it
	Policies []string `json:"policies"`          // names of the policies that name it, sorted
	Why      string   `json:"why"`               // one sentence
	Unknown  bool     `json:"unknown,omitempty"` // the check failed
}

const checkTopicFor = 10 * time.Second // bound of the check of one topic

// Topics checks every topic that the policies name, eight at once, and returns those in trouble, sorted by name. The
// error is ctx's.
func (n *Notifier) Topics(ctx context.Context) ([]TopicTrouble, error) {
	named := NamedTopics(n.Policies())
	trouble := make([]*TopicTrouble, len(named))
	var checks sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, topic := range slices.Sorted(maps.Keys(named)) {
		checks.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			trouble[i] = n.checkTopic(ctx, topic, named[topic])
		})
	}
	checks.Wait()
	found := []TopicTrouble{}
	for _, t := range trouble {
		if t != nil {
			found = append(found, *t)
		}
	}
	return found, ctx.Err()
}

func (n *Notifier) checkTopic(ctx context.Context, topic string, policies []string) *TopicTrouble {
	if n.Checker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTopicFor)
	defer cancel()
	why, err := n.Checker.CheckTopic(ctx, topic)
	switch {
	case err != nil:
		return &TopicTrouble{Topic: topic, Policies: policies, Why: "it could not be checked: " + err.Error(), Unknown: true}
	case why != "":
		return &TopicTrouble{Topic: topic, Policies: policies, Why: why}
	}
	return nil
}

// NamedTopics returns the topics of all steps and mornings, each with the sorted names of the policies that name it.
func NamedTopics(policies map[string]fanwatch.Policy) map[string][]string {
	named := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		p := policies[name]
		var topics []string
		for _, s := range p.Steps {
			topics = append(topics, s.Notify...)
		}
		if p.Info != nil {
			topics = append(topics, p.Info.Notify...)
		}
		for _, topic := range topics {
			if !slices.Contains(named[topic], name) {
				named[topic] = append(named[topic], name)
			}
		}
	}
	return named
}
