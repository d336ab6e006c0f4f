// Package conformance_test runs the same cases against the local servers and,
// with FANWATCH_CONFORMANCE_AWS=1, against the real AWS account and region of
// the environment.
package conformance_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	local "fanwatch/local/aws/sns"
)

// snsAddress belongs to the mailbox simulator of Amazon SES, which takes any
// mail: no person is written to when these cases run against AWS.
const snsAddress = "success+fanwatch@simulator.amazonses.com"

func TestSNS(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		s, err := local.New(local.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(s)
		t.Cleanup(func() { web.Close(); s.Close() })
		client := sns.New(sns.Options{Region: "us-east-1", BaseEndpoint: &web.URL,
			Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
		snsCases(t, client)
		t.Run("deliver what the filter policy lets through", func(t *testing.T) { snsDelivery(t, client, s) })
	})
	t.Run("aws", func(t *testing.T) {
		if os.Getenv("FANWATCH_CONFORMANCE_AWS") != "1" {
			t.Skip("skipped: FANWATCH_CONFORMANCE_AWS is not 1, so the real AWS is left alone")
		}
		cfg, err := config.LoadDefaultConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		snsCases(t, sns.NewFromConfig(cfg))
		t.Run("deliver what the filter policy lets through", func(t *testing.T) {
			t.Skip("skipped: on AWS a person would have to confirm the subscription from a mailbox")
		})
	})
}

func snsCases(t *testing.T, client *sns.Client) {
	for name, run := range map[string]func(*testing.T, *sns.Client){
		"topics":                 snsTopics,
		"email subscription":     snsEmail,
		"subscription refusals":  snsSubscribeRefusals,
		"publish":                snsPublish,
		"publish refusals":       snsPublishRefusals,
		"filter policy refusals": snsFilterRefusals,
		"unknown things":         snsUnknown,
	} {
		t.Run(name, func(t *testing.T) { run(t, client) })
	}
}

func snsTopics(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	name := topic[strings.LastIndex(topic, ":")+1:]
	again, err := c.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
	if err != nil || *again.TopicArn != topic {
		t.Errorf("creating it again: %v %v", again, err)
	}
	attributes, err := c.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &topic})
	if err != nil {
		t.Fatal(err)
	}
	account := strings.Split(topic, ":")[4]
	for k, want := range map[string]string{"TopicArn": topic, "Owner": account, "DisplayName": "",
		"SubscriptionsConfirmed": "0", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0"} {
		if got := attributes.Attributes[k]; got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	var found bool
	for pages := sns.NewListTopicsPaginator(c, &sns.ListTopicsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = found || slices.ContainsFunc(page.Topics, func(x types.Topic) bool { return *x.TopicArn == topic })
	}
	if !found {
		t.Error("the topic is not listed")
	}
	for range 2 { // DeleteTopic is idempotent
		if _, err := c.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "with space", "dot.ted", strings.Repeat("x", 257)} {
		_, err := c.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &bad})
		snsWant(t, err, "InvalidParameter", "Topic Name")
	}
}

func snsEmail(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	policy := `{"severity":["high"]}`
	in := &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"), Endpoint: aws.String(snsAddress),
		Attributes: map[string]string{"FilterPolicy": policy}, ReturnSubscriptionArn: true}
	out, err := c.Subscribe(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*out.SubscriptionArn, topic+":") {
		t.Fatalf("ARN %s", *out.SubscriptionArn)
	}
	again, err := c.Subscribe(t.Context(), in)
	if err != nil || *again.SubscriptionArn != *out.SubscriptionArn {
		t.Errorf("subscribing again: %v %v", again, err)
	}
	list, err := c.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].Endpoint != snsAddress ||
		*list.Subscriptions[0].Protocol != "email" {
		t.Errorf("list: %v %v", list, err)
	}
	attributes, err := c.GetSubscriptionAttributes(t.Context(),
		&sns.GetSubscriptionAttributesInput{SubscriptionArn: out.SubscriptionArn})
	if err != nil || attributes.Attributes["FilterPolicy"] != policy || attributes.Attributes["Endpoint"] != snsAddress ||
		attributes.Attributes["RawMessageDelivery"] != "false" ||
		attributes.Attributes["FilterPolicyScope"] != "MessageAttributes" {
		t.Errorf("attributes: %v %v", attributes, err)
	}
}

func snsSubscribeRefusals(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	for _, bad := range []struct{ protocol, endpoint, want string }{
		{"carrier-pigeon", "x", "does not support this protocol string"},
		{"email", "not an address", "Email address"},
		{"http", "https://localhost/", "must match the specified protocol"},
		{"https", "ftp://localhost/", "must match the specified protocol"},
	} {
		_, err := c.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: &bad.protocol,
			Endpoint: &bad.endpoint})
		snsWant(t, err, "InvalidParameter", bad.want)
	}
	for name, value := range map[string]string{"RawMessageDelivery": "perhaps", "FilterPolicyScope": "Everything",
		"Surprise": "x"} {
		_, err := c.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"),
			Endpoint:   aws.String(snsAddress),
			Attributes: map[string]string{name: value}})
		snsWant(t, err, "InvalidParameter", "")
	}
}

func snsPublish(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	ids := map[string]bool{}
	for _, in := range []*sns.PublishInput{
		{TopicArn: &topic, Message: aws.String("plain")},
		{TargetArn: &topic, Message: aws.String("by target")},
		{TopicArn: &topic, Message: aws.String("caf\u00e9 <&> \u2028 \"quoted\""), Subject: aws.String("subject")},
		{TopicArn: &topic, Message: aws.String(`{"default":"d","email":"e","x":{}}`), MessageStructure: aws.String("json")},
		{TopicArn: &topic, Message: aws.String(strings.Repeat("m", 256<<10))},
		{TopicArn: &topic, Message: aws.String("with attributes"), MessageAttributes: map[string]types.MessageAttributeValue{
			"s": {DataType: aws.String("String"), StringValue: aws.String("v")}, "n": {DataType: aws.String("Number"),
				StringValue: aws.String("-1.5e3")},
			"a": {DataType: aws.String("String.Array"), StringValue: aws.String(`["x",1,true,null]`)},
			"b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1}}}},
	} {
		out, err := c.Publish(t.Context(), in)
		if err != nil {
			t.Errorf("%.40s: %v", *in.Message, err)
			continue
		}
		ids[*out.MessageId] = true
	}
	if len(ids) != 6 {
		t.Errorf("%d distinct message IDs of 6", len(ids))
	}
}

func snsPublishRefusals(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	attribute := func(name, kind, value string) map[string]types.MessageAttributeValue {
		return map[string]types.MessageAttributeValue{name: {DataType: &kind, StringValue: &value}}
	}
	for _, bad := range []struct {
		in         sns.PublishInput
		code, want string
	}{
		{sns.PublishInput{Message: aws.String("")}, "InvalidParameter", "Empty message"},
		{sns.PublishInput{Message: aws.String(strings.Repeat("m", 256<<10+1))}, "InvalidParameter", "Message too long"},
		{sns.PublishInput{Message: aws.String("m"), Subject: aws.String("")}, "InvalidParameter", "Subject"},
		{sns.PublishInput{Message: aws.String("m"), Subject: aws.String("two\nlines")}, "InvalidParameter", "Subject"},
		{sns.PublishInput{Message: aws.String("m"), Subject: aws.String(strings.Repeat("s", 101))}, "InvalidParameter",
			"Subject"},
		{sns.PublishInput{Message: aws.String("{"), MessageStructure: aws.String("json")}, "InvalidParameter",
			"failed to parse"},
		{sns.PublishInput{Message: aws.String(`{"email":"e"}`), MessageStructure: aws.String("json")}, "InvalidParameter",
			"No default entry"},
		{sns.PublishInput{Message: aws.String(`{"default":1}`), MessageStructure: aws.String("json")}, "InvalidParameter",
			"No default entry"},
		{sns.PublishInput{Message: aws.String("m"), MessageAttributes: attribute("k", "Text", "v")}, "ParameterValueInvalid",
			"invalid message attribute type"},
		{sns.PublishInput{Message: aws.String("m"), MessageAttributes: attribute("k", "String", "")}, "ParameterValueInvalid",
			"non-empty message attribute value"},
		{sns.PublishInput{Message: aws.String("m"), MessageAttributes: attribute("k", "Number", "many")},
			"ParameterValueInvalid", ""},
		{sns.PublishInput{Message: aws.String("m"), MessageAttributes: attribute("a b", "String", "v")},
			"ParameterValueInvalid", ""},
	} {
		bad.in.TopicArn = &topic
		_, err := c.Publish(t.Context(), &bad.in)
		snsWant(t, err, bad.code, bad.want)
	}
}

func snsFilterRefusals(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	for policy, want := range map[string]string{
		`{bad`:                            "failed to parse JSON",
		`{"k":"v"}`:                       "must be an object or an array",
		`{"k":[["v"]]}`:                   "Match value must be String, number, true, false, or null",
		`{"k":[{"wrong":true}]}`:          "Unrecognized match type wrong",
		`{"k":[{"exists":"no"}]}`:         "exists match pattern must be either true or false",
		`{"k":[{"numeric":[">",3,"<"]}]}`: "Value of < must be numeric",
		`{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}`: "can not have more than 5 keys",
	} {
		_, err := c.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"),
			Endpoint:   aws.String(snsAddress),
			Attributes: map[string]string{"FilterPolicy": policy}})
		snsWant(t, err, "InvalidParameter", want)
	}
}

func snsUnknown(t *testing.T, c *sns.Client) {
	topic := snsTopic(t, c)
	gone := topic + "-gone"
	_, err := c.Publish(t.Context(), &sns.PublishInput{TopicArn: &gone, Message: aws.String("m")})
	snsWant(t, err, "NotFound", "Topic does not exist")
	_, err = c.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &gone})
	snsWant(t, err, "NotFound", "Topic does not exist")
	_, err = c.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: aws.String("topic")})
	snsWant(t, err, "InvalidParameter", "An ARN must have at least 6 elements, not 1")
	_, err = c.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &gone})
	snsWant(t, err, "NotFound", "Topic does not exist")
	subscription := topic + ":00000000-0000-4000-8000-000000000000"
	_, err = c.SetSubscriptionAttributes(t.Context(), &sns.SetSubscriptionAttributesInput{SubscriptionArn: &subscription,
		AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true")})
	snsWant(t, err, "NotFound", "Subscription does not exist")
	if _, err := c.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: &subscription}); err != nil {
		t.Errorf("Unsubscribe is idempotent, but: %v", err)
	}
	_, err = c.ConfirmSubscription(t.Context(), &sns.ConfirmSubscriptionInput{TopicArn: &topic,
		Token: aws.String("no-token")})
	snsWant(t, err, "InvalidParameter", "")
}

func snsDelivery(t *testing.T, c *sns.Client, s *local.Server) {
	topic := snsTopic(t, c)
	out, err := c.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"),
		Endpoint:   aws.String(snsAddress),
		Attributes: map[string]string{"FilterPolicy": `{"rpm":[{"numeric":["<",500]}],"kind":[{"anything-but":"test"}]}`}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(body, rpm, kind string) {
		t.Helper()
		_, err := c.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: &body,
			MessageAttributes: map[string]types.MessageAttributeValue{
				"rpm": {DataType: aws.String("Number"), StringValue: &rpm}, "kind": {DataType: aws.String("String"),
					StringValue: &kind}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("slow", "300", "stall")
	publish("fast", "1800", "stall")
	publish("trial", "300", "test")
	_, err = c.SetSubscriptionAttributes(t.Context(), &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: out.SubscriptionArn,
		AttributeName:   aws.String("FilterPolicy"), AttributeValue: aws.String("{}")})
	if err != nil {
		t.Fatal(err)
	}
	publish("everything", "1800", "test")
	var bodies []string
	for _, e := range s.Inbox(0, 10) {
		bodies = append(bodies, e.Body)
	}
	if !slices.Equal(bodies, []string{"everything", "slow"}) {
		t.Errorf("delivered %v", bodies)
	}
}

// snsTopic makes a topic with a name of its own and removes it afterwards.
func snsTopic(t *testing.T, c *sns.Client) string {
	t.Helper()
	out, err := c.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("fanwatch-conformance-" + rand.Text())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context is over by now.
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: out.TopicArn}); err != nil {
			t.Error(err)
		}
	})
	return *out.TopicArn
}

func snsWant(t *testing.T, err error, code, inMessage string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), inMessage) {
		t.Errorf("got %v, want %s with %q", err, code, inMessage)
	}
}
