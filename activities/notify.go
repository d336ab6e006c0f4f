package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/notify"
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
	Planner  Planner // nil: Policies alone say who is told
	// Maintain returns until when a maintenance keeps the alert from notifying, and why; the zero time where none does.
	// nil: there is none.
	Maintain func(ctx context.Context, a fanwatch.Alert, at time.Time) (until time.Time, why string, err error)
	// Group returns the ID of the incident that notifies in the alert's place; "" = none. nil: there are no incidents.
	Group func(ctx context.Context, a fanwatch.Alert, p fanwatch.Policy) (incident string, err error)
	Log   *slog.Logger // nil = slog.Default()
	// Channels returns the channel of that name; ok is false for the name or ARN of a topic. nil: all are topics.
	Channels func(name string) (c notify.Config, ok bool)
	Deps     notify.Deps // of the channels; without SNS a topic gets its text alone
	// History returns the readings of the alert's fan of from <= time <= to, oldest first, for a picture; nil: there are
	// no pictures.
	History func(ctx context.Context, a fanwatch.Alert, from, to time.Time) ([]notify.Sample, error)
	// AnswerLink returns a signed link by which the reader of a channel answers the alert, "" when none can be made;
	// copies of one message, which have the same key, share its one use. nil: there are no such links.
	AnswerLink func(alertID, to, key string) string
	Now        fanwatch.Clock
}

// Notification is one message to one channel or topic.
type Notification struct {
	Key   string         `json:"key"`
	To    string         `json:"to"`    // name of a channel, or name or ARN of a topic
	Step  int            `json:"step"`  // from 1
	Alert fanwatch.Alert `json:"alert"` // without Sent and Failed
	// Subject and Body are sent as they are when Message has no Event, as of an earlier program.
	Subject string `json:"subject"`
	Body    string `json:"body"`
	// Message is rendered for the channel. Its Key, Step and Alert are those above; they may be left out.
	Message notify.Message `json:"message,omitzero"`
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

// Delivery is the result of [Notifier.Notify]. Without ID and Detail its JSON is the time alone, as of an earlier
// program.
type Delivery struct {
	At time.Time // when the channel took it
	notify.Receipt
}

type deliveryJSON struct {
	At     time.Time `json:"at"`
	ID     string    `json:"id,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// MarshalJSON writes an object, or the time alone.
func (d Delivery) MarshalJSON() ([]byte, error) {
	if d.Receipt == (notify.Receipt{}) {
		return json.Marshal(d.At)
	}
	return json.Marshal(deliveryJSON{d.At, d.ID, d.Detail})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Delivery) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*d = Delivery{}
		return json.Unmarshal(b, &d.At)
	}
	var j deliveryJSON
	err := json.Unmarshal(b, &j)
	*d = Delivery{j.At, notify.Receipt{ID: j.ID, Detail: j.Detail}}
	return err
}

// Notify sends the notification and returns when and how the channel took it. After a crash it may be sent twice, with
// the same key. The error is non-retryable when the channel will never take it.
func (n *Notifier) Notify(ctx context.Context, in Notification) (Delivery, error) {
	failpoint.Hit(failpoint.NotifyBefore)
	m := in.message(n.Now().UTC())
	if m.Event != "" && m.Event != fanwatch.EventOver && in.Alert.ID != "" && m.Links.Answer == "" && n.AnswerLink != nil {
		m.Links.Answer = n.AnswerLink(in.Alert.ID, in.To, in.Key)
	}
	receipt, err := n.send(ctx, in.To, m)
	if err != nil {
		return Delivery{}, sendError(in, err)
	}
	failpoint.Hit(failpoint.NotifyAfter)
	d := Delivery{At: n.Now().UTC()}
	if m.Event != "" { // an earlier program reads the time alone
		d.Receipt = receipt
	}
	return d, nil
}

// message returns the message to render. Without an Event it is the Subject and Body.
func (in Notification) message(now time.Time) notify.Message {
	m := in.Message
	m.V, m.Key, m.Alert, m.Step = notify.MessageVersion, in.Key, in.Alert, in.Step
	if m.Event == "" {
		m.Subject, m.Body = in.Subject, in.Body
	}
	if m.At.IsZero() {
		m.At = now
	}
	return m
}

func (n *Notifier) send(ctx context.Context, to string, m notify.Message) (notify.Receipt, error) {
	var config notify.Config
	found := false
	if n.Channels != nil {
		config, found = n.Channels(to)
	}
	if !found {
		return n.publish(ctx, to, m, config)
	}
	deps := n.Deps
	deps.SNS = n.topics()
	channel, err := notify.Open(config, deps)
	if err != nil {
		return notify.Receipt{}, err
	}
	if config.Pictured() {
		if zone, err := config.Location(deps.Zone); err == nil {
			m.Picture = n.picture(ctx, m, zone)
		}
	}
	return channel.Send(ctx, m)
}

// publish sends the message to a topic: with a body for each protocol, or as the text of an earlier program. c has the
// zone of its readers.
func (n *Notifier) publish(ctx context.Context, topic string, m notify.Message, c notify.Config) (notify.Receipt,
	error) {
	if m.Event == "" {
		return notify.Receipt{}, n.SNS.Publish(ctx, topic, m.Subject, m.Body, m.Key, notify.Attributes(m))
	}
	zone, err := c.Location(n.Deps.Zone)
	if err != nil {
		return notify.Receipt{}, err
	}
	return notify.Publish(ctx, n.topics(), topic, m, zone)
}

func (n *Notifier) topics() notify.Topics {
	if n.Deps.SNS != nil {
		return n.Deps.SNS
	}
	return textTopics{n.SNS}
}

// textTopics implements notify.Topics by a Publisher, with one body for all protocols.
type textTopics struct{ Publisher }

func (t textTopics) PublishEach(ctx context.Context, topic, subject string, bodies map[string]string, key string,
	attributes map[string]string) (id string, err error) {
	return "", t.Publish(ctx, topic, subject, bodies["default"], key, attributes)
}

// sendError returns the error as Temporal reads it: whether another try is worthwhile, and when.
func sendError(in Notification, err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app // not wrapped: Temporal looks at the outermost error alone
	}
	options := temporal.ApplicationErrorOptions{Cause: err}
	var f *notify.Failure
	if errors.As(err, &f) {
		options.NonRetryable, options.NextRetryDelay = f.Permanent(), f.RetryAfter()
	}
	if !options.NonRetryable && options.NextRetryDelay == 0 {
		return fmt.Errorf("tell %s of %s: %w", in.To, cmp.Or(in.Alert.ID, in.Key), err)
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), "Refused", options)
}

const (
	pictureFor  = 3 * time.Second // a page waits no longer for its picture
	pictureSpan = time.Hour
)

// pictures bounds how many pictures are drawn at once: a storm of alerts must not keep the worker from sending.
var pictures = make(chan struct{}, 2)

// picture draws the last hour of the alert's fan. It returns nil when that takes too long, or there is nothing to draw.
func (n *Notifier) picture(ctx context.Context, m notify.Message, zone *time.Location) []byte {
	switch m.Event {
	case fanwatch.EventPage, fanwatch.EventRepeat, fanwatch.EventFlapping, fanwatch.EventLapsed, fanwatch.EventOver:
	default:
		return nil
	}
	if n.History == nil || m.Alert.Fan == "" || m.Alert.Kind == fanwatch.KindIncident {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pictureFor)
	defer cancel()
	select {
	case pictures <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	drawn := make(chan []byte, 1)
	go func() {
		defer func() { <-pictures }()
		to := m.At
		samples, err := n.History(ctx, m.Alert, to.Add(-pictureSpan), to)
		if err != nil || ctx.Err() != nil {
			drawn <- nil
			return
		}
		png, err := notify.Draw(m.Alert, samples, to.Add(-pictureSpan), to, zone)
		if err != nil {
			png = nil
		}
		drawn <- png
	}()
	select {
	case png := <-drawn:
		return png
	case <-ctx.Done():
		return nil
	}
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
	named := n.named()
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
