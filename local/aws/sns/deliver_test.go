package sns_test

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"fanwatch/local/aws/sns"
)

func TestHTTPSubscription(t *testing.T) {
	_, client, _ := start(t, sns.Config{})
	topic := createTopic(t, client, "alerts")
	hook := newReceiver(t)
	out, err := client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("http"),
		Endpoint: &hook.URL})
	if err != nil || *out.SubscriptionArn != "pending confirmation" {
		t.Fatalf("Subscribe: %v %v", out, err)
	}
	publish(t, client, topic, "too early", nil)

	eventually(t, "the confirmation message", func() bool { return hook.count() == 1 })
	asked := hook.get(0)
	if asked.header.Get("x-amz-sns-message-type") != "SubscriptionConfirmation" || asked.body["TopicArn"] != topic {
		t.Fatalf("confirmation: %+v", asked)
	}
	verify(t, asked.body, "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
	follow(t, asked.body["SubscribeURL"].(string))
	follow(t, asked.body["SubscribeURL"].(string)) // is idempotent

	_, err = client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic,
		Message: aws.String("line\n<two> & \"three\""), Subject: aws.String("stall"),
		MessageAttributes: map[string]types.MessageAttributeValue{"rpm": {DataType: aws.String("Number"),
			StringValue: aws.String("300")}}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notification", func() bool { return hook.count() == 2 })
	got := hook.get(1)
	h := got.header
	if h.Get("x-amz-sns-message-type") != "Notification" || h.Get("x-amz-sns-topic-arn") != topic ||
		h.Get("Content-Type") != "text/plain; charset=UTF-8" ||
		h.Get("x-amz-sns-message-id") != got.body["MessageId"] ||
		!strings.HasPrefix(h.Get("x-amz-sns-subscription-arn"), topic+":") {
		t.Errorf("headers %v", h)
	}
	if got.body["Message"] != "line\n<two> & \"three\"" || got.body["Subject"] != "stall" ||
		got.body["SignatureVersion"] != "2" {
		t.Errorf("body %v", got.body)
	}
	if a := fmt.Sprint(got.body["MessageAttributes"]); a != "map[rpm:map[Type:Number Value:300]]" {
		t.Errorf("attributes %s", a)
	}
	verify(t, got.body, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")

	follow(t, got.body["UnsubscribeURL"].(string))
	list, err := client.ListSubscriptionsByTopic(t.Context(), &awssns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil || len(list.Subscriptions) != 0 {
		t.Errorf("after the unsubscribe link: %v %v", list, err)
	}
}

func TestRawDeliveryAndHTTPS(t *testing.T) {
	hook := newReceiver(t)
	secure := httptest.NewTLSServer(hook.Config.Handler)
	t.Cleanup(secure.Close)
	_, client, _ := start(t, sns.Config{HTTP: secure.Client()})
	topic := createTopic(t, client, "alerts")
	arn := subscribe(t, client, topic, "https", secure.URL, map[string]string{"RawMessageDelivery": "true"})
	eventually(t, "the confirmation message", func() bool { return hook.count() == 1 })
	confirmed, err := client.ConfirmSubscription(t.Context(), &awssns.ConfirmSubscriptionInput{TopicArn: &topic,
		Token: aws.String(hook.get(0).body["Token"].(string))})
	if err != nil || *confirmed.SubscriptionArn != arn {
		t.Fatalf("ConfirmSubscription: %v %v", confirmed, err)
	}
	publish(t, client, topic, "just the text", nil)
	eventually(t, "the message", func() bool { return hook.count() == 2 })
	if got := hook.get(1); got.text != "just the text" || got.header.Get("x-amz-sns-rawdelivery") != "true" {
		t.Errorf("got %+v", got)
	}
}

func TestFailingEndpoints(t *testing.T) {
	_, client, _ := start(t, sns.Config{Retry: sns.Retry{First: time.Millisecond, Longest: 2 * time.Millisecond,
		Attempts: 5}})
	topic := createTopic(t, client, "alerts")
	hook, final := newReceiver(t), newReceiver(t)
	confirm(t, client, topic, hook)
	confirm(t, client, topic, final)
	hook.answer(503, 503, 429, 200) // is repeated until it is taken
	final.answer(410)               // is not repeated
	publish(t, client, topic, "first", nil)
	eventually(t, "three refusals and a success", func() bool { return hook.count() == 5 })
	hook.answer(500, 500, 500, 500, 500) // is given up
	publish(t, client, topic, "second", nil)
	eventually(t, "five refusals", func() bool { return hook.count() == 10 })
	publish(t, client, topic, "third", nil)
	eventually(t, "the third", func() bool { return hook.count() == 11 && final.count() == 4 })
	if hook.get(10).body["Message"] != "third" {
		t.Errorf("last: %v", hook.get(10).body["Message"])
	}
}

func TestQueueSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s, client, web := start(t, sns.Config{Dir: dir, Retry: sns.Retry{First: time.Hour}})
	topic := createTopic(t, client, "alerts")
	hook := newReceiver(t)
	arn := confirm(t, client, topic, hook)
	hook.answer(503)
	publish(t, client, topic, "held", nil)
	eventually(t, "the refusal", func() bool { return hook.count() == 2 })
	web.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, client, web = start(t, sns.Config{Dir: dir})
	eventually(t, "the delivery after the restart", func() bool { return hook.count() == 3 })
	if got := hook.get(2); got.body["Message"] != "held" || got.body["MessageId"] != hook.get(1).body["MessageId"] {
		t.Errorf("got %+v", got.body)
	}
	// Delivered is delivered: a third life is quiet. And a deleted
	// subscription takes its queue along.
	hook.answer(503)
	publish(t, client, topic, "nobody waits for it", nil)
	eventually(t, "the refusal", func() bool { return hook.count() >= 4 })
	if _, err := client.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: &arn}); err != nil {
		t.Fatal(err)
	}
	web.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	seen := hook.count()
	s, _, _ = start(t, sns.Config{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if hook.count() != seen {
		t.Errorf("%d more deliveries after the restart", hook.count()-seen)
	}
}

func TestMailRelay(t *testing.T) {
	relay := newRelay(t)
	s, client, _ := start(t, sns.Config{SMTP: sns.SMTP{Addr: relay.addr, From: "fanwatch@example.com"},
		Retry: sns.Retry{First: time.Millisecond}})
	topic := createTopic(t, client, "alerts")
	subscribe(t, client, topic, "email", "ann@example.com", nil)
	relay.refuse(451) // greylisting: repeated
	_, err := client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic,
		Subject: aws.String("L\u00fcfter 7 steht"),
		Message: aws.String("first\n.dot\nend"), MessageAttributes: map[string]types.MessageAttributeValue{
			sns.KeyAttribute: str("k")}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mail", func() bool { return len(relay.mails()) == 1 })
	got := relay.mails()[0]
	for _, want := range []string{"To: <ann@example.com>\r\n", "Subject: =?utf-8?q?L=C3=BCfter_7_steht?=\r\n",
		"\r\n\r\nfirst\r\n.dot\r\nend"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the mail:\n%s", want, got)
		}
	}
	publish(t, client, topic, "again", map[string]types.MessageAttributeValue{sns.KeyAttribute: str("k")})
	publish(t, client, topic, "another", nil)
	eventually(t, "the second mail", func() bool { return len(relay.mails()) == 2 })
	if !strings.Contains(relay.mails()[1], "another") {
		t.Error("the repeated key was mailed again")
	}
	if len(s.Inbox(0, 10)) != 2 {
		t.Errorf("inbox: %+v", s.Inbox(0, 10))
	}
}

// receiver is an HTTP endpoint that remembers what it got.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	got     []received
	answers []int
	always  int // once answers are used up; 0 is 200
}

type received struct {
	code   int // what was answered
	header http.Header
	text   string
	body   map[string]any
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, _ := io.ReadAll(req.Body)
		one := received{header: req.Header, text: string(text)}
		json.Unmarshal(text, &one.body)
		r.mu.Lock()
		defer r.mu.Unlock()
		one.code = cmp.Or(r.always, http.StatusOK)
		if len(r.answers) > 0 {
			one.code, r.answers = r.answers[0], r.answers[1:]
		}
		r.got = append(r.got, one)
		w.WriteHeader(one.code)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(codes ...int) { r.mu.Lock(); r.answers = codes; r.mu.Unlock() }
func (r *receiver) count() int          { r.mu.Lock(); defer r.mu.Unlock(); return len(r.got) }
func (r *receiver) get(i int) received  { r.mu.Lock(); defer r.mu.Unlock(); return r.got[i] }

func (r *receiver) answerAlways(code int) { r.mu.Lock(); r.always = code; r.mu.Unlock() }

// messages are the texts of the notifications that got this answer.
func (r *receiver) messages(code int) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := map[string]bool{}
	for _, one := range r.got {
		if text, ok := one.body["Message"].(string); ok && one.code == code {
			m[text] = true
		}
	}
	return m
}

// confirm subscribes a receiver and follows the link that it gets.
func confirm(t *testing.T, client *awssns.Client, topic string, r *receiver) string {
	t.Helper()
	before := r.count()
	arn := subscribe(t, client, topic, "http", r.URL, nil)
	eventually(t, "the confirmation message", func() bool { return r.count() == before+1 })
	follow(t, r.get(before).body["SubscribeURL"].(string))
	return arn
}

func follow(t *testing.T, link string) {
	t.Helper()
	answer, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", link, answer.Status, body)
	}
}

// verify checks a message as the AWS guide tells receivers to.
func verify(t *testing.T, body map[string]any, names ...string) {
	t.Helper()
	answer, err := http.Get(body["SigningCertURL"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no certificate: %s", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var signed strings.Builder
	for _, name := range names {
		fmt.Fprintf(&signed, "%s\n%s\n", name, body[name])
	}
	sum := sha256.Sum256([]byte(signed.String()))
	signature, err := base64.StdEncoding.DecodeString(body["Signature"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(certificate.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], signature); err != nil {
		t.Errorf("signature of %v: %v", body["Type"], err)
	}
}
