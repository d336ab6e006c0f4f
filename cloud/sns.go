package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// maxSubjectChars is the length of a subject, for which the API reference has "less than 100 characters" and "ASCII".
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
const maxSubjectChars = 99

// Message is one notification to all subscribers of a topic.
type Message struct {
	TopicARN string
	// Subject is sent as one line of ASCII, cut after 99 characters.
	Subject string
	// Body is UTF-8, not empty, at most 256 KiB together with the attributes.
	Body string
	// Bodies are those of single protocols, by SNS's names, in place of Body; nil = Body goes to all.
	Bodies map[string]string
	// Key is the idempotency key, sent as the attribute KeyAttribute; "" = none. The local inbox shows a key once per
	// recipient. SNS does not read it: a repeated Publish is a second mail with the same key.
	Key string
	// Attributes are sent as message attributes of type String, for filter policies. Empty values, which SNS refuses,
	// are left out.
	Attributes map[string]string
}

// SNS is a client of Amazon SNS. Safe for concurrent use.
//
// An error that has a method Permanent() bool which returns true is of a request that will never succeed (a topic that
// does not exist, a message too long, no permission). Find it with errors.As.
type SNS struct{ client *sns.Client }

// NewSNS returns a client of cfg's region, or of the server at endpoint when that is not empty.
func NewSNS(cfg aws.Config, endpoint string) *SNS {
	return &SNS{sns.NewFromConfig(cfg, func(o *sns.Options) {
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})}
}

// CreateTopic returns the ARN of the topic of that name (1 to 256 letters, digits, '-' and '_'), which it makes if it
// does not exist.
func (s *SNS) CreateTopic(ctx context.Context, name string) (arn string, err error) {
	out, err := s.client.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
	if err != nil {
		return "", snsError(fmt.Sprintf("create topic %q", name), err)
	}
	return aws.ToString(out.TopicArn), nil
}

// SubscribeEmail subscribes a mail address to a topic, unless it is subscribed or its confirmation is pending, so that
// repeating it sends no further confirmation mail.
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

// SetHTTPEndpoint makes a URL the only HTTP endpoint of a topic: it unsubscribes others. SNS sends a token to a new
// endpoint, for [SNS.Confirm], and sends it again at each call until confirmed is true.
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

// Confirm confirms a subscription by the token that SNS has sent to its endpoint.
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

// Subscriptions returns the numbers of a topic's confirmed and pending subscriptions.
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

// Publish sends a message and returns its ID at SNS. The SDK repeats a request whose answer is lost, so that a message
// may be sent twice, with the same Key.
func (s *SNS) Publish(ctx context.Context, m Message) (id string, err error) {
	in := &sns.PublishInput{TopicArn: &m.TopicARN, Message: &m.Body,
		MessageAttributes: map[string]types.MessageAttributeValue{}}
	if subject := cleanSubject(m.Subject); subject != "" {
		in.Subject = &subject
	}
	if m.Bodies != nil {
		bodies := maps.Clone(m.Bodies)
		bodies["default"] = m.Body
		each, err := json.Marshal(bodies)
		if err != nil {
			return "", fmt.Errorf("sns: publish to %s: %w", m.TopicARN, err)
		}
		in.Message, in.MessageStructure = aws.String(string(each)), aws.String("json")
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

// snsRefusal is an error of a request that will never succeed.
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

// cleanSubject returns the subject as one line of ASCII that does not start with a space, of at most maxSubjectChars; a
// longer one ends in "...".
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
