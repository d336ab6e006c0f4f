package sns_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/sns"
)

func TestAKeyedMessageShowsOnce(t *testing.T) {
	s, client, _ := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	subscribe(t, client, topic, "email", "bob@example.com", nil)
	keyed := map[string]types.MessageAttributeValue{
		sns.KeyAttribute: str("alert/fan-07/step-1"), "severity": str("high"),
	}
	ids := map[string]bool{}
	for range 3 {
		out, err := client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Subject: aws.String("fan-07 stalls"),
			Message: aws.String("It turns at 300 RPM."), MessageAttributes: keyed})
		if err != nil {
			t.Fatal(err)
		}
		ids[*out.MessageId] = true
	}
	if len(ids) != 3 {
		t.Errorf("3 publishes gave %d message IDs", len(ids))
	}
	entries := s.Inbox(0, 10)
	if len(entries) != 2 {
		t.Fatalf("inbox holds %d entries, want one per recipient", len(entries))
	}
	for _, e := range entries {
		if e.Copies != 3 || e.Key != "alert/fan-07/step-1" || e.Subject != "fan-07 stalls" ||
			e.Body != "It turns at 300 RPM." || e.Attributes["severity"] != "high" || e.Topic != topic {
			t.Errorf("entry %+v", e)
		}
	}
	publish(t, client, topic, "without key", nil)
	publish(t, client, topic, "without key", nil)
	if got := len(s.Inbox(0, 100)); got != 6 {
		t.Errorf("%d entries, want 6: messages without a key are never merged", got)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s, client, web := start(t, sns.Config{Dir: dir})
	topic := createTopic(t, client, "alerts")
	arn := subscribe(t, client, topic, "email", "ann@example.com", map[string]string{"FilterPolicy": `{"kind":["stall"]}`})
	publish(t, client, topic, "one", map[string]types.MessageAttributeValue{"kind": str("stall"),
		sns.KeyAttribute: str("k")})
	before := s.Inbox(0, 10)
	web.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, client, _ = start(t, sns.Config{Dir: dir})
	if got := s.Inbox(0, 10); len(got) != 1 || got[0].Body != "one" || got[0].ID != before[0].ID {
		t.Fatalf("after the restart: %+v", got)
	}
	publish(t, client, topic, "dropped by the filter", nil)
	publish(t, client, topic, "one", map[string]types.MessageAttributeValue{"kind": str("stall"),
		sns.KeyAttribute: str("k")})
	publish(t, client, topic, "two", map[string]types.MessageAttributeValue{"kind": str("stall")})
	got := s.Inbox(0, 10)
	if len(got) != 2 || got[0].Body != "two" || got[1].Copies != 2 || got[0].ID <= got[1].ID {
		t.Fatalf("after more publishes: %+v", got)
	}
	if again := subscribe(t, client, topic, "email", "ann@example.com", nil); again != arn {
		t.Errorf("subscribing again made %s of %s", again, arn)
	}
}

func TestUnknownOperationsAreNamed(t *testing.T) {
	_, client, web := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	_, err := client.PublishBatch(t.Context(), &awssns.PublishBatchInput{TopicArn: &topic,
		PublishBatchRequestEntries: []types.PublishBatchRequestEntry{{Id: aws.String("a"), Message: aws.String("m")}}})
	wantCode(t, err, "NotImplemented", "PublishBatch")
	_, err = client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"),
		Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:q")})
	wantCode(t, err, "NotImplemented", "sqs")
	_, err = client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"),
		Endpoint:   aws.String("a@example.com"),
		Attributes: map[string]string{"FilterPolicyScope": "MessageBody"}})
	wantCode(t, err, "NotImplemented", "MessageBody")
	_, err = client.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("a.fifo")})
	wantCode(t, err, "NotImplemented", "FIFO")

	answer, err := http.PostForm(web.URL, url.Values{"Action": {"OpenThePodBayDoors"}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusNotImplemented ||
		!strings.Contains(string(body), "OpenThePodBayDoors") {
		t.Errorf("%s: %s", answer.Status, body)
	}
}

func TestMessageStructure(t *testing.T) {
	s, client, _ := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	subscribe(t, client, topic, "email-json", "bot@example.com", nil)
	_, err := client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, MessageStructure: aws.String("json"),
		Message: aws.String(`{"default":"short","email":"long","sms":7}`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Inbox(0, 10) {
		switch e.Protocol {
		case "email":
			if e.Body != "long" || e.Subject != "AWS Notification Message" {
				t.Errorf("email got %+v", e)
			}
		case "email-json":
			var n struct{ Type, Message, TopicArn, Signature string }
			if err := json.Unmarshal([]byte(e.Body), &n); err != nil || n.Message != "short" || n.Type != "Notification" ||
				n.TopicArn != topic || n.Signature == "" {
				t.Errorf("email-json got %s (%v)", e.Body, err)
			}
		}
	}
}

func TestInboxOverHTTP(t *testing.T) {
	_, client, web := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	for i := range 5 {
		publish(t, client, topic, fmt.Sprintf("<script>alert(%d)</script> & more", i),
			map[string]types.MessageAttributeValue{"html": str("<b>")})
	}
	var all inboxAnswer
	getJSON(t, web.URL+"/inbox.json", &all)
	if len(all.Entries) != 5 || all.More || all.Newest != all.Entries[0].ID ||
		!strings.Contains(all.Entries[0].Body, "alert(4)") {
		t.Fatalf("all: %+v", all)
	}
	var some inboxAnswer
	getJSON(t, fmt.Sprintf("%s/inbox.json?after=%d&limit=2", web.URL, all.Entries[3].ID), &some)
	if len(some.Entries) != 2 || !some.More || some.Entries[0].ID != all.Entries[0].ID {
		t.Errorf("some: %+v", some)
	}
	for _, bad := range []string{"?after=x", "?after=-1", "?limit=0", "?limit=ten"} {
		answer, err := http.Get(web.URL + "/inbox.json" + bad)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", bad, answer.Status)
		}
	}
	answer, err := http.Get(web.URL + "/inbox")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || strings.Contains(string(page), "<script") || strings.Contains(string(page), "<b>") ||
		!strings.Contains(string(page), "&lt;script&gt;alert(4)") {
		t.Errorf("page (%v): %s", err, page)
	}
}

func TestInboxForgetsTheOldest(t *testing.T) {
	s, client, _ := start(t, sns.Config{Keep: 3})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	for i := range 6 {
		publish(t, client, topic, fmt.Sprint(i), map[string]types.MessageAttributeValue{sns.KeyAttribute: str(fmt.Sprint(i))})
	}
	var bodies []string
	for _, e := range s.Inbox(0, 100) {
		bodies = append(bodies, e.Body)
	}
	if !slices.Equal(bodies, []string{"5", "4", "3"}) {
		t.Errorf("kept %v", bodies)
	}
}

func TestFaults(t *testing.T) {
	s, client, web := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	post := func(body string) int {
		answer, err := http.Post(web.URL+"/_faults", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	once := func(o *awssns.Options) { o.Retryer = aws.NopRetryer{} }
	send := func(body string) error {
		_, err := client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: &body}, once)
		return err
	}
	if code := post(`{"operation":"Publish","kind":"fail","count":2}`); code != http.StatusNoContent {
		t.Fatalf("POST /_faults: %d", code)
	}
	wantCode(t, send("a"), "InternalError", "")
	createTopic(t, client, "other") // another operation is not hit
	wantCode(t, send("a"), "InternalError", "")
	if err := send("a"); err != nil {
		t.Fatal(err)
	}
	for kind, arrives := range map[fault.Kind]bool{fault.Cut: false, fault.Lose: true} {
		if err := s.Faults().Inject(fault.Fault{Operation: "Publish", Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if err := send(string(kind)); err == nil {
			t.Errorf("%s: the call was answered", kind)
		}
		if got := s.Inbox(0, 1)[0].Body == string(kind); got != arrives {
			t.Errorf("%s: stored %v, want %v", kind, got, arrives)
		}
	}
	if code := post(`{"operation":"Publish","kind":"throttle","count":1}`); code != http.StatusNoContent {
		t.Fatal(code)
	}
	publish(t, client, topic, "the SDK repeats a throttled call", nil)
	for _, bad := range []string{`{"kind":"expired"}`, `{"kind":"fail","count":-1}`, `{"surprise":1}`, `[`} {
		if code := post(bad); code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, code)
		}
	}
}

func TestAForeignPageCannotPost(t *testing.T) {
	_, _, web := start(t, sns.Config{})
	for _, path := range []string{"/", "/_faults"} {
		r, _ := http.NewRequest(http.MethodPost, web.URL+path, strings.NewReader("Action=ListTopics"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://elsewhere.example")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	answer, err := http.Get(web.URL + "/?Action=CreateTopic&Name=x")
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("CreateTopic by a link: %s", answer.Status)
	}
}

func TestListsArePaged(t *testing.T) {
	_, client, _ := start(t, sns.Config{})
	for i := range 203 {
		createTopic(t, client, fmt.Sprintf("topic-%03d", i))
	}
	pages, seen := 0, map[string]bool{}
	for p := awssns.NewListTopicsPaginator(client, &awssns.ListTopicsInput{}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range out.Topics {
			seen[*topic.TopicArn] = true
		}
	}
	if pages != 3 || len(seen) != 203 {
		t.Errorf("%d topics on %d pages", len(seen), pages)
	}
}

type inboxAnswer struct {
	V       int
	Newest  uint64
	More    bool
	Entries []sns.Entry
}

// start runs a server on a free loopback port with a directory of its own.
func start(t testing.TB, cfg sns.Config) (*sns.Server, *awssns.Client, *httptest.Server) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := sns.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); s.Close() })
	return s, newClient(web.URL), web
}

func newClient(endpoint string) *awssns.Client {
	return awssns.New(awssns.Options{Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}

func createTopic(t testing.TB, c *awssns.Client, name string) string {
	t.Helper()
	out, err := c.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *out.TopicArn
}

func subscribe(t testing.TB, c *awssns.Client, topic, protocol, endpoint string, attributes map[string]string) string {
	t.Helper()
	out, err := c.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint,
		Attributes: attributes, ReturnSubscriptionArn: true})
	if err != nil {
		t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func publish(t testing.TB, c *awssns.Client, topic, body string,
	attributes map[string]types.MessageAttributeValue) string {
	t.Helper()
	out, err := c.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: &body,
		MessageAttributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

func str(v string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
}

func wantCode(t testing.TB, err error, code, inMessage string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), inMessage) {
		t.Errorf("got %v, want %s with %q", err, code, inMessage)
	}
}

func getJSON(t testing.TB, address string, into any) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until done or 20 s are over.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
