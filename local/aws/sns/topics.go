package sns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"fanwatch/internal/durable"
)

// registryVersion is the format of topics.json.
const registryVersion = 1

// topic is what CreateTopic made. Removed counts deleted subscriptions.
type topic struct {
	ARN         string    `json:"arn"`
	DisplayName string    `json:"display_name,omitempty"`
	Created     time.Time `json:"created"`
	Removed     int       `json:"removed,omitempty"`
}

// subscription is one endpoint of a topic. Token is what confirms it, until
// Expires; an email subscription is born confirmed and has none.
type subscription struct {
	ARN       string    `json:"arn"`
	Topic     string    `json:"topic"`
	Protocol  string    `json:"protocol"`
	Endpoint  string    `json:"endpoint"`
	Base      string    `json:"base"` // of the links in its messages
	Confirmed bool      `json:"confirmed"`
	Guarded   bool      `json:"guarded,omitempty"` // AuthenticateOnUnsubscribe
	Token     string    `json:"token,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	Filter    string    `json:"filter,omitempty"` // as given; parsed below
	Raw       bool      `json:"raw,omitempty"`

	policy filter
}

// registry holds topics and subscriptions by ARN and writes every change to
// its file before it answers. The server's mutex guards it.
type registry struct {
	path          string
	topics        map[string]topic
	subscriptions map[string]subscription
}

type registryFile struct {
	V             int            `json:"v"`
	Topics        []topic        `json:"topics"`
	Subscriptions []subscription `json:"subscriptions"`
}

func openRegistry(path string) (registry, error) {
	r := registry{path: path, topics: map[string]topic{}, subscriptions: map[string]subscription{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("topics: %w", err)
	}
	var file registryFile
	if err := json.Unmarshal(data, &file); err != nil {
		return r, fmt.Errorf("topics: %s is damaged (%w): remove it and subscribe again", path, err)
	}
	if file.V != registryVersion {
		return r, fmt.Errorf("topics: %s has format %d, this fanwatch knows %d: use the one that wrote it", path, file.V,
			registryVersion)
	}
	for _, t := range file.Topics {
		r.topics[t.ARN] = t
	}
	for _, sub := range file.Subscriptions {
		if sub.Filter != "" {
			if sub.policy, err = parseFilter(sub.Filter); err != nil {
				return r, fmt.Errorf("topics: %s: filter policy of %s: %w", path, sub.ARN, err)
			}
		}
		r.subscriptions[sub.ARN] = sub
	}
	return r, nil
}

// update lets change edit copies, writes them to disk, and only then keeps them.
func (r *registry) update(change func(topics map[string]topic, subscriptions map[string]subscription)) error {
	topics, subscriptions := maps.Clone(r.topics), maps.Clone(r.subscriptions)
	change(topics, subscriptions)
	data, err := json.MarshalIndent(registryFile{
		V: registryVersion, Topics: byARN(topics), Subscriptions: byARN(subscriptions),
	}, "", "  ")
	if err == nil {
		err = durable.WriteFile(r.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	r.topics, r.subscriptions = topics, subscriptions
	return nil
}

// of answers a topic's subscriptions, ordered by ARN.
func (r *registry) of(topicARN string) []subscription {
	return slices.DeleteFunc(byARN(r.subscriptions), func(s subscription) bool { return s.Topic != topicARN })
}

func (r *registry) find(topicARN, protocol, endpoint string) (subscription, bool) {
	for _, s := range r.subscriptions {
		if s.Topic == topicARN && s.Protocol == protocol && s.Endpoint == endpoint {
			return s, true
		}
	}
	return subscription{}, false
}

func byARN[T any](m map[string]T) []T {
	list := make([]T, 0, len(m))
	for _, arn := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[arn])
	}
	return list
}

// checkARN answers as AWS does to a malformed ARN in the named parameter.
func checkARN(name, arn string) error {
	if n := len(strings.Split(arn, ":")); n < 6 {
		return invalid("%s Reason: An ARN must have at least 6 elements, not %d", name, n)
	}
	return nil
}
