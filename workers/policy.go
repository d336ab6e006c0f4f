package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/notify"
	"fanwatch/policy"
)

// PolicyFile is a file of escalation policies that may change while workers run. Safe for concurrent use.
type PolicyFile struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	file *policy.File // the last valid one
	seen fileState    // of the file when it was last read, valid or not
}

// fileState is compared to find out whether a file has changed.
type fileState struct {
	modified time.Time
	size     int64
	failed   string // why it could not be read
}

// OpenPolicies reads the file. A file that cannot be read, or is not valid, is an error here, but not later; see
// [PolicyFile.Current].
func OpenPolicies(path string, log *slog.Logger) (*PolicyFile, error) {
	f := &PolicyFile{path: path, log: log}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Current returns the file as it is now. While it cannot be read or is not valid, which is logged once for each change,
// it returns the last valid one.
func (f *PolicyFile) Current() *policy.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch changed, err := f.read(); {
	case changed && err != nil:
		f.log.Error("the escalation policies were changed and are not good: the last good ones stay", "err", err)
	case changed:
		f.log.Info("escalation policies read anew", "file", f.path)
	}
	return f.file
}

// Policies implements activities.Policies by the rotations as they are now.
func (f *PolicyFile) Policies() map[string]fanwatch.Policy { return f.Current().Policies(time.Now()) }

// Resolve implements activities.Planner.
func (f *PolicyFile) Resolve(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error) {
	return f.Current().Resolve(a, at)
}

// Topics implements activities.Planner.
func (f *PolicyFile) Topics() map[string][]string { return f.Current().Topics() }

// Channel returns the channel of that name; ok is false for the name or ARN of an SNS topic.
func (f *PolicyFile) Channel(name string) (c notify.Config, ok bool) {
	return f.Current().Channel(name)
}

// named returns the SNS topics that the policies notify, each with the names of the policies that do.
func (c Config) named() map[string][]string {
	if c.Planner != nil {
		return c.Planner.Topics()
	}
	return activities.NamedTopics(c.Policies())
}

// read reads the file if it has changed since the last time.
func (f *PolicyFile) read() (changed bool, err error) {
	now := fileState{}
	info, err := os.Stat(f.path)
	if err == nil {
		now.modified, now.size = info.ModTime(), info.Size()
	} else {
		now.failed = err.Error()
	}
	if now == f.seen {
		return false, nil
	}
	f.seen = now
	if err != nil {
		return true, fmt.Errorf("escalation policies: %w", err)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		f.seen.failed = err.Error() // differs from every fileState of a stat, so that the next call reads again
		return true, fmt.Errorf("escalation policies: %w", err)
	}
	file, err := policy.Parse(f.path, text)
	if err != nil {
		return true, err // it names the file
	}
	f.file = file
	return true, nil
}

// CheckTopic implements activities.TopicChecker: the topic exists and has a confirmed subscription.
func (t topics) CheckTopic(ctx context.Context, topic string) (why string, err error) {
	confirmed, pending, err := t.sns.Subscriptions(ctx, t.arn(topic))
	var final interface{ Permanent() bool }
	switch {
	case errors.As(err, &final) && final.Permanent():
		return refusal(err), nil
	case err != nil:
		return "", err
	case confirmed == 0 && pending > 0:
		return fmt.Sprintf("none of its %d subscriptions is confirmed: follow the link in the mail that AWS sent", pending),
			nil
	case confirmed == 0:
		return "it has no subscription: a message to it reaches nobody", nil
	}
	return "", nil
}

// arn returns the topic's ARN; a name is a topic of the workers' account and region.
func (t topics) arn(topic string) string {
	if strings.HasPrefix(topic, "arn:") {
		return topic
	}
	return t.prefix + topic
}

// CheckTopics checks every topic of c's policies, as Notifier.Topics does. It uses c's AWS, Endpoints.SNS, Account,
// Policies and Planner.
func CheckTopics(ctx context.Context, c Config) ([]activities.TopicTrouble, error) {
	n := activities.Notifier{Checker: newTopics(c), Policies: c.Policies, Planner: c.Planner}
	return n.Topics(ctx)
}

// NewTopics returns the SNS topics of c's AWS, Endpoints.SNS and Account.
func NewTopics(c Config) notify.Topics { return newTopics(c) }

func newTopics(c Config) topics {
	return topics{cloud.NewSNS(c.AWS, c.Endpoints.SNS), fmt.Sprintf("arn:aws:sns:%s:%s:", c.AWS.Region, c.Account)}
}

// LogTopics logs an error for each topic of the policies that is in trouble. Workers start all the same, because the
// other topics work.
func (a *Activities) LogTopics(ctx context.Context, log *slog.Logger) {
	trouble, err := a.Notifier.Topics(ctx)
	for _, t := range trouble {
		log.Error("a topic of the escalation policies", "topic", t.Topic, "policies", strings.Join(t.Policies, ", "), "err",
			t.Why)
	}
	if err != nil {
		log.Error("the topics of the escalation policies were not all checked", "err", err)
	}
}
