package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
)

// KeyAttribute is the message attribute that carries Message.Key.
const KeyAttribute = "fanwatch-key"

// maxSubjectChars is what is surely accepted: the API reference says "less than
// 100 characters" and "ASCII" for mail.
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
const maxSubjectChars = 99

// Message is one notification to all subscribers of a topic.
type Message struct {
	TopicARN string
	// Subject is made acceptable: one line of ASCII, cut after 99 characters.
	Subject string
	// Body is UTF-8, not empty, at most 256 KiB together with the attributes.
	Body string
	// Key is the idempotency key, empty for none. It travels as an attribute:
	// the local inbox shows a key once per recipient; SNS itself does not look
	// at it, so with AWS a repeated Publish is a second mail with the same key.
	Key string
	// Attributes become message attributes of type String, for filter
	// policies; empty values are left out because SNS refuses them.
	Attributes map[string]string
}

// SNS publishes notifications through Amazon SNS. Safe for concurrent use.
//
// An error that says so by a method Permanent() bool came from a request that
// will never succeed as it is (a topic that does not exist, a message too
// long, no permission): repeating it is useless. Find it with errors.As.
type SNS struct{ client *sns.Client }

// NewSNS uses the given configuration; a non-empty endpoint replaces the
// region's own.
func NewSNS(cfg aws.Config, endpoint string) *SNS {
	return &SNS{sns.NewFromConfig(cfg, func(o *sns.Options) {
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})}
}

// CreateTopic answers the ARN of the topic with this name (1 to 256 letters,
// digits, '-' and '_'), which it makes if it is missing.
func (s *SNS) CreateTopic(ctx context.Context, name string) (arn string, err error) {
	out, err := s.client.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
	if err != nil {
		return "", snsError(fmt.Sprintf("create topic %q", name), err)
	}
	return aws.ToString(out.TopicArn), nil
}

// SubscribeEmail subscribes a mail address to a topic. An address that is
// subscribed already is left alone, also while AWS waits for its owner's
// confirmation, so that no start brings another confirmation mail.
func (s *SNS) SubscribeEmail(ctx context.Context, arn, address string) error {
	task := fmt.Sprintf("subscribe %s to %s", address, arn)
	subscriptions, err := s.subscriptions(ctx, arn)
	if err != nil {
		return snsError(task, err)
	}
	if slices.ContainsFunc(subscriptions, func(sub types.Subscription) bool {
		return aws.ToString(sub.Protocol) == "email" && aws.ToString(sub.Endpoint) == address
	}) {
		return nil
	}
	return s.subscribe(ctx, arn, "email", address)
}

// SetHTTPEndpoint makes a URL the one HTTP endpoint of a topic: others are
// unsubscribed. SNS sends a new one a token, which it gives to Confirm, and a
// call while that has not happened has it sent again. confirmed tells whether
// the topic is delivered there.
func (s *SNS) SetHTTPEndpoint(ctx context.Context, arn, url string) (confirmed bool, err error) {
	task := fmt.Sprintf("subscribe %s to %s", url, arn)
	subscriptions, err := s.subscriptions(ctx, arn)
	if err != nil {
		return false, snsError(task, err)
	}
	for _, sub := range subscriptions {
		pending := !strings.HasPrefix(aws.ToString(sub.SubscriptionArn), "arn:")
		switch {
		case !strings.HasPrefix(aws.ToString(sub.Protocol), "http"), pending:
		case aws.ToString(sub.Endpoint) == url:
			return true, nil
		default:
			if _, err := s.client.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: sub.SubscriptionArn}); err != nil {
				return false, snsError(task, err)
			}
		}
	}
	protocol, _, _ := strings.Cut(url, ":")
	return false, s.subscribe(ctx, arn, protocol, url)
}

// Confirm confirms a subscription by the token that SNS sent to its endpoint.
func (s *SNS) Confirm(ctx context.Context, arn, token string) error {
	_, err := s.client.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: &arn, Token: &token})
	if err != nil {
		return snsError("confirm a subscription of "+arn, err)
	}
	return nil
}

func (s *SNS) subscriptions(ctx context.Context, arn string) (all []types.Subscription, err error) {
	pages := sns.NewListSubscriptionsByTopicPaginator(s.client, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Subscriptions...)
	}
	return all, nil
}

func (s *SNS) subscribe(ctx context.Context, arn, protocol, endpoint string) error {
	_, err := s.client.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &arn, Protocol: &protocol, Endpoint: &endpoint})
	if err != nil {
		return snsError(fmt.Sprintf("subscribe %s to %s", endpoint, arn), err)
	}
	return nil
}

// Subscriptions counts a topic's subscriptions: those that are confirmed and those whose owner has not answered yet.
func (s *SNS) Subscriptions(ctx context.Context, arn string) (confirmed, pending int, err error) {
	out, err := s.client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return 0, 0, snsError("look at "+arn, err)
	}
	confirmed, err = strconv.Atoi(out.Attributes["SubscriptionsConfirmed"])
	if err == nil {
		pending, err = strconv.Atoi(out.Attributes["SubscriptionsPending"])
	}
	if err != nil {
		return 0, 0, fmt.Errorf("sns: look at %s: number of subscriptions: %w", arn, err)
	}
	return confirmed, pending, nil
}

// Publish sends a message and answers the ID that SNS gave it. It is at least
// once: a lost answer is repeated by the SDK, and Key tells the copies apart.
func (s *SNS) Publish(ctx context.Context, m Message) (id string, err error) {
	in := &sns.PublishInput{TopicArn: &m.TopicARN, Message: &m.Body,
		MessageAttributes: map[string]types.MessageAttributeValue{}}
	if subject := cleanSubject(m.Subject); subject != "" {
		in.Subject = &subject
	}
	for name, value := range m.Attributes {
		if value != "" {
			in.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	if m.Key != "" {
		in.MessageAttributes[KeyAttribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &m.Key}
	}
	out, err := s.client.Publish(ctx, in)
	if err != nil {
		return "", snsError("publish to "+m.TopicARN, err)
	}
	return aws.ToString(out.MessageId), nil
}

// snsRefusal is an error of the request itself, not of the moment.
type snsRefusal struct{ error }

func (e *snsRefusal) Unwrap() error   { return e.error }
func (e *snsRefusal) Permanent() bool { return true }

func snsError(task string, err error) error {
	err = fmt.Errorf("sns: %s: %w", task, err)
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "NotFound", "InvalidParameter", "ParameterValueInvalid", "ValidationError", "AuthorizationError",
		"EndpointDisabled", "NotImplemented", "InvalidSecurity", "AccessDenied", "AccessDeniedException",
		"KMSDisabled", "KMSNotFound", "KMSAccessDenied", "KMSInvalidState", "KMSOptInRequired":
		return &snsRefusal{err}
	}
	return err
}

// cleanSubject makes one line of ASCII that does not start with a space, at
// most maxSubjectChars long; a longer one ends in "...".
func cleanSubject(subject string) string {
	ascii := strings.NewReplacer("\u2013", "-", "\u2014", "-", "\u2018", "'", "\u2019", "'", "\u201c", `"`, "\u201d", `"`,
		"\u2026", "...", "\u00b0", " deg", "\u00d7", "x", "\u00b7", "-", "\u2192", "->", "\u2264", "<=", "\u2265", ">=",
		"\u00b1", "+-").Replace(subject)
	ascii = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case r > unicode.MaxASCII:
			return '?'
		}
		return r
	}, ascii)
	ascii = strings.Join(strings.Fields(ascii), " ")
	if len(ascii) > maxSubjectChars {
		ascii = strings.TrimRight(ascii[:maxSubjectChars-3], " ") + "..."
	}
	return ascii
}
