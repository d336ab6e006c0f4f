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

// Publisher sends one message to a topic, by name or ARN. key is the message's idempotency key: a
// subscriber that has seen it shows the message once. An error that is a non-retryable ApplicationError says that the
// topic refuses the message for good.
type Publisher interface {
	Publish(ctx context.Context, topic, subject, body, key string, attributes map[string]string) error
}

// TopicChecker looks at one topic, by name or ARN. why says what keeps messages to it from people, "" if nothing
// does; an error that it could not be found out.
type TopicChecker interface {
	CheckTopic(ctx context.Context, topic string) (why string, err error)
}

// Policies returns the escalation policies as they are now, by name. It is called often and from several goroutines;
// the map is not changed by either side.
type Policies func() map[string]fanwatch.Policy

// Notifier tells people.
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
	Step    int            `json:"step"`
	Alert   fanwatch.Alert `json:"alert"` // without Sent and Failed
	Subject string         `json:"subject"`
	Body    string         `json:"body"`
}

// Policy returns the escalation policy of that name, "" meaning default. A policy that does not exist
// must not keep an alert from people: the default one is taken, and where there is none either, the
// error is final. The canary's policy is built in.
func (n *Notifier) Policy(_ context.Context, name string) (fanwatch.Policy, error) {
	if name == fanwatch.CanaryPolicy { // not one of the file's: the canary's page goes to its own topic alone
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

// Notify sends the notification. It may be sent twice after a crash; its key makes that visible.
func (n *Notifier) Notify(ctx context.Context, m Notification) (time.Time, error) {
	failpoint.Hit(failpoint.NotifyBefore)
	attributes := map[string]string{"fan": m.Alert.Fan, "kind": string(m.Alert.Kind), "step": fmt.Sprint(m.Step),
		"state": string(m.Alert.State), "alert": m.Alert.ID}
	err := n.SNS.Publish(ctx, m.To, m.Subject, m.Body, m.Key, attributes)
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &app):
		return time.Time{}, app // wrapped, it would be tried again: Temporal looks at the outermost error alone
	case err != nil:
		return time.Time{}, fmt.Errorf("tell %s of %s: %w", m.To, m.Alert.ID, err)
	}
	failpoint.Hit(failpoint.NotifyAfter)
	return n.Now().UTC(), nil
}

// TopicTrouble is a topic that messages do not get through, or may not.
type TopicTrouble struct {
	Topic    string   `json:"topic"`             // as the policies name it
	Policies []string `json:"policies"`          // that name it, sorted
	Why      string   `json:"why"`               // one sentence
	Unknown  bool     `json:"unknown,omitempty"` // it could not be found out
}

// checkTopicFor is how long one topic may take to be checked.
const checkTopicFor = 10 * time.Second

// Topics checks every topic that the policies name, side by side, and gives those in trouble by name. The error is
// ctx's.
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

// NamedTopics returns the topics of all steps, each with the sorted names of the policies that tell it.
func NamedTopics(policies map[string]fanwatch.Policy) map[string][]string {
	named := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		for _, s := range policies[name].Steps {
			for _, topic := range s.Notify {
				if !slices.Contains(named[topic], name) {
					named[topic] = append(named[topic], name)
				}
			}
		}
	}
	return named
}
