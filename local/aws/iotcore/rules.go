package iotcore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
	"unicode/utf8"
)

// Kinesis is where rule actions write: the AWS SDK pointed at whatever serves Kinesis.
type Kinesis interface {
	// Put writes one record and returns when the stream has it.
	Put(ctx context.Context, stream, partitionKey string, data []byte) error
}

// PutFunc is a Kinesis made of a function.
type PutFunc func(ctx context.Context, stream, partitionKey string, data []byte) error

// Put calls f.
func (f PutFunc) Put(ctx context.Context, stream, partitionKey string, data []byte) error {
	return f(ctx, stream, partitionKey, data)
}

// rule is a topic rule as it is kept: SQL and Kinesis actions.
type rule struct {
	Name        string          `json:"name"`
	SQL         string          `json:"sql"`
	Description string          `json:"description,omitempty"`
	Disabled    bool            `json:"disabled,omitempty"`
	SQLVersion  string          `json:"sql_version,omitempty"`
	Actions     []kinesisAction `json:"actions"`
	Error       *kinesisAction  `json:"error,omitempty"`
	Created     time.Time       `json:"created"`

	query *query
}

// kinesisAction writes to a stream. An absent partition key means a new UUID for each record, as the API
// documents no other default.
type kinesisAction struct {
	Stream       string `json:"streamName"`
	PartitionKey string `json:"partitionKey,omitempty"`
	Role         string `json:"roleArn"`

	key *template
}

// compile parses SQL and templates; its errors are those of the API.
func (u *rule) compile() error {
	q, err := parseQuery(u.SQL)
	if err != nil {
		return &apiError{Status: http.StatusBadRequest, Code: "SqlParseException", Message: err.Error()}
	}
	u.query = q
	if len(u.Actions) == 0 || len(u.Actions) > 10 {
		return invalid("a rule has 1 to 10 actions, not %d", len(u.Actions))
	}
	for i := range u.Actions {
		if err := u.Actions[i].compile(); err != nil {
			return err
		}
	}
	if u.Error != nil {
		return u.Error.compile()
	}
	return nil
}

func (a *kinesisAction) compile() error {
	if a.Stream == "" || a.Role == "" {
		return invalid("a kinesis action needs streamName and roleArn")
	}
	key := a.PartitionKey
	if key == "" {
		key = "${newuuid()}"
	}
	t, err := parseTemplate(key)
	if err != nil {
		return &apiError{Status: http.StatusBadRequest, Code: "SqlParseException", Message: "partitionKey: " + err.Error()}
	}
	a.key = t
	return nil
}

// engine runs rules over messages. Safe for concurrent use.
type engine struct {
	kinesis  Kinesis
	log      *slog.Logger
	attempts int           // per action
	pause    time.Duration // before the second attempt; doubled for each further one
	timeout  time.Duration // of all attempts of one action together
	newUUID  func() string
	lost     func(m *message, reason string) // a message that no rule action and no error action could take
}

// run puts the message through the rules, in order. A nil error means that each one has what it should have:
// the record is on the action's stream, or the error document on the error action's. An error means that
// Kinesis could not be written for now: the publish must not be acknowledged, and comes again.
// What fails for good (a payload that is not JSON, an undefined partition key) and has no error action, or
// one that fails for good as well, is dropped and reported through lost, as AWS drops it: sending it again
// would not help.
func (e *engine) run(ctx context.Context, m *message, rules []*rule) error {
	m.newUUID = e.newUUID
	m.read()
	for _, u := range rules {
		if err := e.apply(ctx, u, m); err != nil {
			return fmt.Errorf("rule %s: %w", u.Name, err)
		}
	}
	return nil
}

func (e *engine) apply(ctx context.Context, u *rule, m *message) error {
	out, problem := u.query.output(m)
	if problem == nil && !u.query.wants(m) {
		return nil
	}
	var failures []failure
	var transient error
	for i := range u.Actions {
		err := problem
		if err == nil {
			err = e.write(ctx, &u.Actions[i], m, out)
		}
		if err == nil {
			continue
		}
		if isTransient(err) {
			transient = err
		}
		failures = append(failures, failure{Action: "KinesisAction", Resource: u.Actions[i].Stream,
			Message: fmt.Sprintf("%v. Message arrived on: %s, Action: kinesis, Stream: %s", err, m.Published,
				u.Actions[i].Stream)})
	}
	if len(failures) == 0 {
		return nil
	}
	return e.fail(ctx, u, m, failures, transient)
}

// fail hands failures to the error action. transient is one of them that may pass, if there is one.
func (e *engine) fail(ctx context.Context, u *rule, m *message, failures []failure, transient error) error {
	e.log.Warn("rule action failed", "rule", u.Name, "client", m.ClientID, "topic", m.Published, "reason",
		failures[0].Message)
	err := transient
	if u.Error != nil {
		doc, merr := json.Marshal(errorDocument{
			Rule: u.Name, Topic: m.Published, Trace: e.newUUID(), ClientID: m.ClientID,
			Payload: base64.StdEncoding.EncodeToString(m.Payload), Failures: failures,
		})
		if merr != nil {
			return fmt.Errorf("error action: %w", merr)
		}
		aerr := e.write(ctx, u.Error, m, doc)
		if aerr == nil {
			return nil
		}
		if err == nil && isTransient(aerr) {
			err = aerr
		}
		if err != nil {
			return fmt.Errorf("%w; error action: %w", err, aerr)
		}
		e.lost(m, fmt.Sprintf("rule %s: %s; error action: %v", u.Name, failures[0].Message, aerr))
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w (the rule has no error action)", err)
	}
	e.lost(m, fmt.Sprintf("rule %s has no error action: %s", u.Name, failures[0].Message))
	return nil
}

// errorDocument is what an error action gets.
// https://docs.aws.amazon.com/iot/latest/developerguide/rule-error-handling.html
type errorDocument struct {
	Rule     string    `json:"ruleName"`
	Topic    string    `json:"topic"`
	Trace    string    `json:"cloudwatchTraceId"`
	ClientID string    `json:"clientId"`
	Payload  string    `json:"base64OriginalPayload"`
	Failures []failure `json:"failures"`
}

type failure struct {
	Action   string `json:"failedAction"`
	Resource string `json:"failedResource"`
	Message  string `json:"errorMessage"`
}

// transientError marks a failure that another attempt may mend.
type transientError struct{ err error }

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

func isTransient(err error) bool {
	var t *transientError
	return errors.As(err, &t)
}

// write puts data on the action's stream, trying again a few times within the time there is.
func (e *engine) write(ctx context.Context, a *kinesisAction, m *message, data []byte) error {
	key, err := a.key.expand(m)
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(key); n == 0 || n > 256 {
		return fmt.Errorf("partition key %q of template %q has %d characters, 1 to 256 are allowed", clip(key), a.key.source,
			n)
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	pause := e.pause
	for i := 1; ; i++ {
		err = e.kinesis.Put(ctx, a.Stream, key, data)
		if err == nil {
			return nil
		}
		if i >= e.attempts || ctx.Err() != nil {
			return &transientError{fmt.Errorf("put to stream %s, attempt %d of %d: %w", a.Stream, i, e.attempts, err)}
		}
		if !sleep(ctx, pause) {
			return &transientError{fmt.Errorf("put to stream %s: %w", a.Stream, err)}
		}
		pause *= 2
	}
}

// sleep waits for d and tells whether it did, rather than being called off.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// clip shortens what came from outside for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
