package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"fanwatch"
)

// delivery is a request that a receiver got.
type delivery struct {
	header http.Header
	path   string
	body   []byte
}

// receiver is an HTTPS server that keeps what it gets and answers by answer, or else with 202.
type receiver struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)

	mu  sync.Mutex
	got []delivery
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	s := &receiver{answer: answer}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.got = append(s.got, delivery{r.Header.Clone(), r.URL.Path, body})
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "ok")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *receiver) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery(nil), s.got...)
}

func (s *receiver) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

const secretPath = "/services/T0/B0/verysecrettoken"

// channels returns a channel of each sort that speaks HTTP, which leads to the base URL.
func channels(t *testing.T, base string, d Deps) map[string]Channel {
	t.Helper()
	t.Setenv("FW_URL", base+secretPath)
	t.Setenv("FW_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	t.Setenv("FW_KEY", "verysecretroutingkey")
	all := map[string]Channel{}
	for name, c := range map[string]Config{
		"webhook":   {Webhook: &Webhook{URL: "env:FW_URL", Secret: "env:FW_SECRET"}},
		"slack":     {Slack: &Slack{URL: "env:FW_URL"}},
		"teams":     {Teams: &Teams{URL: "env:FW_URL"}},
		"pagerduty": {PagerDuty: &PagerDuty{Key: "env:FW_KEY", URL: base}},
	} {
		c.Name = name
		channel, err := Open(c, d)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = channel
	}
	return all
}

// checkSecrets fails when an error or receipt shows a secret.
func checkSecrets(t *testing.T, name, text string) {
	t.Helper()
	for _, secret := range []string{"verysecret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows a secret: %s", name, text)
		}
	}
}

// TestTheSpecificationsVectorIsSigned: the example of the specification of Standard Webhooks.
func TestTheSpecificationsVectorIsSigned(t *testing.T) {
	key, err := signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(got)
	}
}

func TestAWebhookIsVerifiedByTheLibraryAndIsAsTheSchemaSays(t *testing.T) {
	s := newReceiver(t, nil)
	c := channels(t, s.URL, Deps{Roots: s.roots()})["webhook"]
	m := messages()["page"]
	m.Picture = []byte("png")
	receipt, err := c.Send(t.Context(), m)
	if err != nil || receipt.Detail != "ok" {
		t.Fatal(receipt, err)
	}
	got := s.deliveries()
	if len(got) != 1 || got[0].header.Get("Webhook-Id") != receipt.ID {
		t.Fatalf("%+v", got)
	}
	wh, err := webhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err == nil {
		err = wh.Verify(got[0].body, got[0].header)
	}
	if err != nil {
		t.Error(err)
	}
	valid(t, schema(t), got[0].body)
	var d Document
	if err := json.Unmarshal(got[0].body, &d); err != nil || string(d.Picture) != "png" || d.Key != m.Key {
		t.Errorf("%+v, %v", d, err)
	}
	m.Picture = make([]byte, 160<<10) // more than 200 KB of base64
	if _, err := c.Send(t.Context(), m); err != nil || len(s.deliveries()[1].body) > 100<<10 {
		t.Errorf("a picture that is too large: %v", err)
	}
}

// TestAReceiverThatHangsIsGivenUpAndAskedAgainUnderTheSameKey: it took the message and answered too late.
func TestAReceiverThatHangsIsGivenUpAndAskedAgainUnderTheSameKey(t *testing.T) {
	release := make(chan struct{})
	var mu sync.Mutex
	hang := true
	s := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		late := hang
		mu.Unlock()
		if late {
			<-release
		}
		w.WriteHeader(http.StatusAccepted)
	})
	defer close(release)
	for name, c := range channels(t, s.URL, Deps{Roots: s.roots(), Try: 200 * time.Millisecond}) {
		_, err := c.Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || f.Permanent() || !strings.Contains(f.Error(), "in time") {
			t.Errorf("%s: %v", name, err)
		}
		checkSecrets(t, name, fmt.Sprint(err))
	}
	mu.Lock()
	hang = false
	mu.Unlock()
	before := s.deliveries()
	for name, c := range channels(t, s.URL, Deps{Roots: s.roots()}) {
		if _, err := c.Send(t.Context(), messages()["page"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ids := map[string]int{}
	for _, d := range append(before, s.deliveries()[len(before):]...) {
		if id := d.header.Get("Webhook-Id"); id != "" {
			ids[id]++
		}
		var e pagerEvent
		if json.Unmarshal(d.body, &e) == nil && e.Dedup != "" {
			ids[e.Dedup]++
		}
	}
	if len(ids) != 2 || ids[stall().ID] != 2 {
		t.Errorf("tries have other keys: %v", ids)
	}
}

func TestWhatAReceiverRefusesSaysWhetherAnotherTryHelps(t *testing.T) {
	for _, c := range []struct {
		status    int
		header    string
		permanent bool
		after     time.Duration
	}{
		{400, "", true, 0}, {401, "", true, 0}, {404, "", true, 0}, {410, "", true, 0}, {408, "", false, 0},
		{429, "17", false, 17 * time.Second}, {429, "99999", false, maxRetryAfter}, {429, "soon", false, 0},
		{500, "", false, 0}, {503, "Tue, 01 Dec 2026 02:14:35 GMT", false, 30 * time.Second}, {301, "", true, 0},
		{307, "", true, 0},
	} {
		other := newReceiver(t, nil)
		s := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL)
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, "no\x1b[2J: ", r.URL.Path, " ", strings.Repeat("long ", 100))
		})
		now := func() time.Time { return night }
		for name, channel := range channels(t, s.URL, Deps{Roots: s.roots(), Now: now}) {
			_, err := channel.Send(t.Context(), messages()["page"])
			var f *Failure
			if !errors.As(err, &f) || f.Permanent() != c.permanent || f.RetryAfter() != c.after ||
				!strings.Contains(f.Error(), fmt.Sprint(c.status)) || fanwatch.OneLine(f.Error()) != f.Error() ||
				len(f.Error()) > 400 || !strings.Contains(f.Error(), "no") {
				t.Errorf("%s, %d: %v", name, c.status, err)
			}
			checkSecrets(t, name, fmt.Sprint(err))
		}
		if got := other.deliveries(); len(got) > 0 {
			t.Errorf("%d: the redirect was followed", c.status)
		}
	}
}

func TestAReceiverOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	s := newReceiver(t, nil)
	for name, c := range channels(t, s.URL, Deps{Roots: x509.NewCertPool()}) {
		_, err := c.Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || !f.Permanent() || !strings.Contains(f.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
		checkSecrets(t, name, fmt.Sprint(err))
	}
}

func TestAReceiverThatIsGoneIsTriedAgain(t *testing.T) {
	s := newReceiver(t, nil)
	s.Close()
	for name, c := range channels(t, s.URL, Deps{Roots: s.roots()}) {
		_, err := c.Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || f.Permanent() {
			t.Errorf("%s: %v", name, err)
		}
		checkSecrets(t, name, fmt.Sprint(err))
	}
}

func TestPagerDutyKeepsOneIncidentOfAnAlert(t *testing.T) {
	s := newReceiver(t, nil)
	c := channels(t, s.URL, Deps{Roots: s.roots()})["pagerduty"]
	for _, want := range []struct{ message, action, severity string }{
		{"page", "trigger", "critical"}, {"repeat", "trigger", "critical"}, {"acknowledged", "acknowledge", "critical"},
		{"lapsed", "trigger", "critical"}, {"over", "resolve", "critical"}} {
		receipt, err := c.Send(t.Context(), messages()[want.message])
		if err != nil {
			t.Fatal(err)
		}
		all := s.deliveries()
		var e pagerEvent
		if err := json.Unmarshal(all[len(all)-1].body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Action != want.action || e.Dedup != stall().ID || e.Key != "verysecretroutingkey" || receipt.ID != e.Dedup ||
			e.Payload.Severity != want.severity || e.Payload.Group != "Hall A" || all[0].path != "/v2/enqueue" {
			t.Errorf("%s: %+v %+v", want.message, e, e.Payload)
		}
	}
	if e := pagerMessage(messages()["test"], Render(messages()["test"], time.UTC)); e.Action != "trigger" ||
		e.Payload.Severity != "info" || strings.HasPrefix(e.Dedup, "alert/") {
		t.Errorf("a test: %+v", e)
	}
}

func TestSlackAndTeamsGetTheirShapes(t *testing.T) {
	s := newReceiver(t, nil)
	all := channels(t, s.URL, Deps{Roots: s.roots()})
	for _, name := range []string{"slack", "teams"} {
		if _, err := all[name].Send(t.Context(), messages()["page"]); err != nil {
			t.Fatal(err)
		}
	}
	got := s.deliveries()
	var sl slackDocument
	if err := json.Unmarshal(got[0].body, &sl); err != nil || len(sl.Blocks) != 3 || sl.Blocks[0].Type != "header" ||
		sl.Blocks[2].Elements[0].URL != links.Answer || sl.Blocks[2].Elements[0].Style != "primary" {
		t.Errorf("%v %s", err, got[0].body)
	}
	var te teamsDocument
	if err := json.Unmarshal(got[1].body, &te); err != nil || te.Type != "message" ||
		te.Attachments[0].Content.Version != "1.4" || te.Attachments[0].Content.Actions[0].URL != links.Answer {
		t.Errorf("%v %s", err, got[1].body)
	}
}

// topicsFake keeps what is published.
type topicsFake struct {
	topic, subject, key string
	bodies, attributes  map[string]string
	err                 error
}

func (f *topicsFake) PublishEach(_ context.Context, topic, subject string, bodies map[string]string, key string,
	attributes map[string]string) (string, error) {
	f.topic, f.subject, f.bodies, f.key, f.attributes = topic, subject, bodies, key, attributes
	return "id-1", f.err
}

func TestEachProtocolOfATopicGetsItsBody(t *testing.T) {
	f := &topicsFake{}
	c, err := Open(Config{Name: "x", SNS: &SNS{Topic: "on-call"}}, Deps{SNS: f})
	if err != nil {
		t.Fatal(err)
	}
	m := messages()["page"]
	receipt, err := c.Send(t.Context(), m)
	if err != nil || receipt.ID != "id-1" || f.topic != "on-call" || f.key != m.Key {
		t.Fatalf("%+v, %v, %+v", receipt, err, f)
	}
	if f.bodies["email"] != f.bodies["default"] || !strings.HasPrefix(f.bodies["email"], m.Alert.Why) ||
		len(f.bodies["sms"]) > 140 || strings.Contains(f.bodies["sms"], "\n") {
		t.Errorf("%q", f.bodies)
	}
	for _, protocol := range []string{"sqs", "http", "https", "lambda"} {
		valid(t, schema(t), []byte(f.bodies[protocol]))
	}
	want := map[string]string{"fan": "fan-07", "site": "Hall A", "kind": "stall", "severity": "critical", "state": "open",
		"step": "1", "alert": m.Alert.ID, "event": "page"}
	if fmt.Sprint(f.attributes) != fmt.Sprint(want) {
		t.Errorf("%v", f.attributes)
	}
}
