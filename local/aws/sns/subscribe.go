package sns

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// confirmationLife is how long a confirmation token is valid (as on AWS).
const confirmationLife = 48 * time.Hour

func (s *Server) subscribe(p params, r *http.Request) (any, error) {
	t, err := s.topic(p)
	if err != nil {
		return nil, err
	}
	if err := p.required("Protocol"); err != nil {
		return nil, err
	}
	sub := subscription{Topic: t.ARN, Protocol: p.get("Protocol"), Endpoint: p.get("Endpoint"), Base: baseURL(r)}
	if err := checkEndpoint(sub.Protocol, sub.Endpoint); err != nil {
		return nil, err
	}
	attributes := p.attributes()
	for name, value := range attributes {
		if err := sub.set(name, value); errors.Is(err, errUnknownAttribute) {
			return nil, invalid("Attributes Reason: Unknown attribute %s", name)
		} else if err != nil {
			return nil, asInvalid(err, "Attributes Reason: ")
		}
	}
	if old, exists := s.topics.find(sub.Topic, sub.Protocol, sub.Endpoint); exists {
		if len(attributes) > 0 && (sub.Filter != old.Filter || sub.Raw != old.Raw) {
			return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
		}
		old.Base = sub.Base
		sub = old
	}
	if sub, err = s.store(sub); err != nil {
		return nil, err
	}
	type result struct{ SubscriptionArn string }
	if !sub.Confirmed && p.get("ReturnSubscriptionArn") != "true" {
		return result{"pending confirmation"}, nil
	}
	return result{sub.ARN}, nil
}

// store keeps a new or repeated subscription and, while it is pending, queues
// the message that asks its endpoint for confirmation.
func (s *Server) store(sub subscription) (subscription, error) {
	if sub.ARN == "" {
		id, err := s.newID()
		if err != nil {
			return sub, err
		}
		sub.ARN = sub.Topic + ":" + id
		sub.Confirmed = strings.HasPrefix(sub.Protocol, "email")
	}
	if !sub.Confirmed && !s.cfg.Now().Before(sub.Expires) {
		token := make([]byte, 32)
		if _, err := io.ReadFull(s.cfg.Rand, token); err != nil {
			return sub, fmt.Errorf("sns: confirmation token: %w", err)
		}
		sub.Token, sub.Expires = hex.EncodeToString(token), s.cfg.Now().UTC().Add(confirmationLife)
	}
	err := s.topics.update(func(_ map[string]topic, subs map[string]subscription) { subs[sub.ARN] = sub })
	if err != nil || sub.Confirmed {
		return sub, err
	}
	d, err := s.confirmation(sub)
	if err != nil {
		return sub, err
	}
	return sub, s.commit(record{Deliveries: []delivery{d}})
}

func checkEndpoint(protocol, endpoint string) error {
	switch protocol {
	case "email", "email-json":
		a, err := mail.ParseAddress(endpoint)
		if err != nil || a.Address != endpoint {
			return invalid("Email address")
		}
	case "http", "https":
		if !strings.HasPrefix(endpoint, protocol+"://") {
			return invalid("Endpoint must match the specified protocol")
		}
		if u, err := url.Parse(endpoint); err != nil || u.Hostname() == "" {
			return invalid("Endpoint")
		}
	case "sms", "sqs", "lambda", "application", "firehose":
		return notImplemented("the protocol %q", protocol)
	default:
		return invalid("Amazon SNS does not support this protocol string: %s", protocol)
	}
	return nil
}

// baseURL is the address under which the caller reached this server.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Server) confirmSubscription(p params) (any, error) {
	t, err := s.topic(p)
	if err != nil {
		return nil, err
	}
	if err := p.required("Token"); err != nil {
		return nil, err
	}
	token := p.get("Token")
	if b, err := hex.DecodeString(token); err != nil || len(b) != 32 {
		return nil, &apiError{http.StatusBadRequest, "InvalidParameter", "Invalid token"}
	}
	for _, sub := range s.topics.of(t.ARN) {
		if sub.Token != token || !sub.Confirmed && !s.cfg.Now().Before(sub.Expires) {
			continue
		}
		if !sub.Confirmed {
			sub.Confirmed, sub.Guarded = true, p.get("AuthenticateOnUnsubscribe") == "true"
			err = s.topics.update(func(_ map[string]topic, subs map[string]subscription) { subs[sub.ARN] = sub })
		}
		return struct{ SubscriptionArn string }{sub.ARN}, err
	}
	return nil, invalid("Token")
}

// unsubscribe is idempotent; by link it is refused to those who confirmed with
// AuthenticateOnUnsubscribe.
func (s *Server) unsubscribe(p params, r *http.Request) error {
	if err := p.required("SubscriptionArn"); err != nil {
		return err
	}
	arn := p.get("SubscriptionArn")
	if err := checkARN("SubscriptionArn", arn); err != nil {
		return err
	}
	sub, exists := s.topics.subscriptions[arn]
	if !exists {
		return nil
	}
	if sub.Guarded && r.Method == http.MethodGet {
		return &apiError{http.StatusForbidden, "AuthorizationError", "this subscription was confirmed with " +
			"AuthenticateOnUnsubscribe: call Unsubscribe through the API"}
	}
	return s.topics.update(func(topics map[string]topic, subs map[string]subscription) {
		delete(subs, arn)
		t := topics[sub.Topic]
		t.Removed++
		topics[sub.Topic] = t
	})
}

func (s *Server) listSubscriptionsByTopic(p params) (any, error) {
	t, err := s.topic(p)
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, sub := range s.topics.of(t.ARN) {
		arns = append(arns, sub.ARN)
	}
	arns, next, err := page(arns, p)
	if err != nil {
		return nil, err
	}
	type member struct{ TopicArn, Protocol, SubscriptionArn, Owner, Endpoint string }
	list := make([]member, 0, len(arns))
	for _, arn := range arns {
		sub := s.topics.subscriptions[arn]
		if !sub.Confirmed {
			arn = "PendingConfirmation"
		}
		list = append(list, member{sub.Topic, sub.Protocol, arn, s.cfg.Account, sub.endpoint()})
	}
	return struct {
		Subscriptions []member `xml:"Subscriptions>member"`
		NextToken     string   `xml:",omitempty"`
	}{list, next}, nil
}

func (s *Server) getSubscriptionAttributes(p params) (any, error) {
	sub, err := s.subscription(p)
	if err != nil {
		return nil, err
	}
	m := map[string]string{
		"SubscriptionArn": sub.ARN, "TopicArn": sub.Topic, "Owner": s.cfg.Account, "Protocol": sub.Protocol,
		"Endpoint": sub.endpoint(), "PendingConfirmation": strconv.FormatBool(!sub.Confirmed),
		"ConfirmationWasAuthenticated": strconv.FormatBool(sub.Guarded),
		"RawMessageDelivery":           strconv.FormatBool(sub.Raw),
	}
	if sub.Filter != "" {
		m["FilterPolicy"], m["FilterPolicyScope"] = sub.Filter, "MessageAttributes"
	}
	return attributesResult{entriesOf(m)}, nil
}

func (s *Server) setSubscriptionAttributes(p params) error {
	sub, err := s.subscription(p)
	if err != nil {
		return err
	}
	if err := p.required("AttributeName"); err != nil {
		return err
	}
	if err := sub.set(p.get("AttributeName"), p.get("AttributeValue")); errors.Is(err, errUnknownAttribute) {
		return invalid("AttributeName")
	} else if err != nil {
		return asInvalid(err, "")
	}
	return s.topics.update(func(_ map[string]topic, subs map[string]subscription) { subs[sub.ARN] = sub })
}

func (s *Server) subscription(p params) (subscription, error) {
	if err := p.required("SubscriptionArn"); err != nil {
		return subscription{}, err
	}
	arn := p.get("SubscriptionArn")
	if err := checkARN("SubscriptionArn", arn); err != nil {
		return subscription{}, err
	}
	sub, exists := s.topics.subscriptions[arn]
	if !exists {
		return sub, notFound("Subscription")
	}
	return sub, nil
}

var errUnknownAttribute = errors.New("unknown attribute")

// set changes one attribute; errors read as AWS puts them behind its prefix.
func (sub *subscription) set(name, value string) error {
	switch name {
	case "FilterPolicy":
		if value == "" {
			value = "{}"
		}
		f, err := parseFilter(value)
		if err != nil {
			return fmt.Errorf("FilterPolicy: %w", err)
		}
		sub.Filter, sub.policy = value, f
		if len(f) == 0 { // {} removes the policy
			sub.Filter = ""
		}
	case "FilterPolicyScope":
		switch value {
		case "MessageAttributes":
		case "MessageBody":
			return notImplemented("FilterPolicyScope MessageBody: put what you filter on into message attributes")
		default:
			return fmt.Errorf("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", value)
		}
	case "RawMessageDelivery":
		raw, err := strconv.ParseBool(value)
		if lower := strings.ToLower(value); err != nil || lower != "true" && lower != "false" {
			return fmt.Errorf("RawMessageDelivery: Invalid value [%s]. Must be true or false.", value)
		}
		if raw && !strings.HasPrefix(sub.Protocol, "http") {
			return fmt.Errorf("Delivery protocol [%s] does not support raw message delivery.", sub.Protocol)
		}
		sub.Raw = raw
	case "DeliveryPolicy", "RedrivePolicy", "SubscriptionRoleArn", "ReplayPolicy":
		return notImplemented("the subscription attribute %q", name)
	default:
		return errUnknownAttribute
	}
	return nil
}

// endpoint is what listings show: a password in a URL is masked.
func (sub subscription) endpoint() string {
	if u, err := url.Parse(sub.Endpoint); err == nil && u.User != nil {
		return u.Redacted()
	}
	return sub.Endpoint
}
