package activities

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
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/notify"
)

// outbox is a Publisher that keeps the last message.
type outbox struct {
	topic, subject, body, key string
	attributes                map[string]string
}

func (o *outbox) Publish(_ context.Context, topic, subject, body, key string, attributes map[string]string) error {
	*o = outbox{topic, subject, body, key, attributes}
	return nil
}

var opened = time.Date(2026, 12, 1, 2, 14, 5, 0, time.UTC)

func notification(to string) Notification {
	return Notification{Key: "alert/fan-07#0.1.0/" + to, To: to, Step: 1, Subject: "earlier subject", Body: "earlier body",
		Alert: fanwatch.Alert{V: 2, ID: "alert/fan-07/stall/1", Fan: "fan-07", Site: "Hall A", Kind: fanwatch.KindStall,
			Opened: opened, Why: "fan-07 stands still.", State: fanwatch.AlertOpen, Steps: 2}}
}

// TestANotificationOfAnEarlierProgramIsSentAsItStands: and its result is what that program reads, the time alone.
func TestANotificationOfAnEarlierProgramIsSentAsItStands(t *testing.T) {
	var o outbox
	n := Notifier{SNS: &o, Now: func() time.Time { return opened.Add(time.Second) }}
	d, err := n.Notify(t.Context(), notification("on-call"))
	if err != nil || o.topic != "on-call" || o.subject != "earlier subject" || o.body != "earlier body" ||
		o.attributes["site"] != "Hall A" || o.attributes["severity"] != "critical" {
		t.Fatalf("%v, %+v", err, o)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var at time.Time
	if err := json.Unmarshal(b, &at); err != nil || !at.Equal(opened.Add(time.Second)) {
		t.Errorf("an earlier program reads %s: %v", b, err)
	}
}

func TestADeliveryIsReadAsBothProgramsWriteIt(t *testing.T) {
	for text, want := range map[string]Delivery{
		`"2026-12-01T02:14:05Z"`:                               {At: opened},
		`{"at":"2026-12-01T02:14:05Z","id":"7","detail":"ok"}`: {opened, notify.Receipt{ID: "7", Detail: "ok"}},
	} {
		var d Delivery
		if err := json.Unmarshal([]byte(text), &d); err != nil || d != want {
			t.Errorf("%s: %+v, %v", text, d, err)
		}
		if b, err := json.Marshal(d); err != nil || string(b) != text {
			t.Errorf("%s is written as %s, %v", text, b, err)
		}
	}
}

func TestANotificationWithAnEventIsRendered(t *testing.T) {
	var o outbox
	n := Notifier{SNS: &o, Now: func() time.Time { return opened.Add(time.Minute) }}
	in := notification("on-call")
	in.Message = notify.Message{Event: fanwatch.EventPage, Steps: 2}
	if _, err := n.Notify(t.Context(), in); err != nil || o.subject != "[fanwatch] CRITICAL fan-07 (Hall A): stall" ||
		!strings.HasPrefix(o.body, "fan-07 stands still.\n") || o.key != in.Key || o.attributes["event"] != "page" {
		t.Errorf("%v, %+v", err, o)
	}
}

// hook is a webhook that answers with a status.
func hook(t *testing.T, status int, header http.Header, got *[]byte) (channels func(string) (notify.Config, bool),
	deps notify.Deps) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*got = b
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Setenv("FW_HOOK", s.URL+"/verysecret")
	t.Setenv("FW_HOOK_SECRET", strings.Repeat("s", 32))
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return func(name string) (notify.Config, bool) {
		return notify.Config{Name: name, Zone: "Europe/Berlin",
			Webhook: &notify.Webhook{URL: "env:FW_HOOK", Secret: "env:FW_HOOK_SECRET"}}, name == "hook"
	}, notify.Deps{Roots: roots}
}

func TestAChannelOfThePolicyFileTakesTheMessage(t *testing.T) {
	var got []byte
	var o outbox
	n := Notifier{SNS: &o, Now: time.Now}
	n.Channels, n.Deps = hook(t, 202, nil, &got)
	in := notification("hook")
	in.Message.Event = fanwatch.EventPage
	d, err := n.Notify(t.Context(), in)
	if err != nil || d.ID == "" || d.Detail != "taken" || o.topic != "" || !strings.Contains(string(got), "03:14 CET") {
		t.Errorf("%+v, %v, %s", d, err, got)
	}
	if _, err := n.Notify(t.Context(), notification("on-call")); err != nil || o.topic != "on-call" {
		t.Errorf("a name that the file does not have is a topic's: %v, %+v", err, o)
	}
	if d, err := n.Notify(t.Context(), notification("hook")); err != nil || d.Receipt != (notify.Receipt{}) ||
		!strings.Contains(string(got), "earlier body") {
		t.Errorf("of an earlier program: %+v, %v, %s", d, err, got)
	}
}

// TestTemporalLearnsWhetherAndWhenToTryAgain looks at the outermost error, as Temporal does.
func TestTemporalLearnsWhetherAndWhenToTryAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		header http.Header
		final  bool
		after  time.Duration
	}{{404, nil, true, 0}, {429, http.Header{"Retry-After": {"17"}}, false, 17 * time.Second}, {500, nil, false, 0}} {
		var got []byte
		n := Notifier{Now: time.Now}
		n.Channels, n.Deps = hook(t, c.status, c.header, &got)
		in := notification("hook")
		in.Message.Event = fanwatch.EventPage
		_, err := n.Notify(t.Context(), in)
		app, ok := err.(*temporal.ApplicationError)
		if err == nil || ok != (c.final || c.after > 0) || ok && (app.NonRetryable() != c.final ||
			app.NextRetryDelay() != c.after) || strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), "verysecret") {
			t.Errorf("%d: %T %v", c.status, err, err)
		}
	}
}

func TestAPageCarriesThePictureOfTheLastHour(t *testing.T) {
	var got []byte
	n := Notifier{Now: func() time.Time { return opened.Add(time.Minute) }}
	n.Channels, n.Deps = hook(t, 202, nil, &got)
	n.History = func(_ context.Context, a fanwatch.Alert, from, to time.Time) ([]notify.Sample, error) {
		if a.Fan != "fan-07" || to.Sub(from) != time.Hour || !to.Equal(opened.Add(time.Minute)) {
			t.Errorf("%s from %s to %s", a.Fan, from, to)
		}
		return []notify.Sample{{At: from.Add(time.Minute), RPM: 2900}, {At: to, RPM: 0}}, nil
	}
	in := notification("hook")
	in.Message.Event = fanwatch.EventPage
	var d notify.Document
	if _, err := n.Notify(t.Context(), in); err != nil || json.Unmarshal(got, &d) != nil ||
		!strings.HasPrefix(string(d.Picture), "\x89PNG") {
		t.Errorf("%v: %d bytes of picture", err, len(d.Picture))
	}
}

// TestAPageWaitsNotLongForItsPicture: the readings do not come, and the call does not heed its context.
func TestAPageWaitsNotLongForItsPicture(t *testing.T) {
	var got []byte
	n := Notifier{Now: time.Now}
	n.Channels, n.Deps = hook(t, 202, nil, &got)
	release := make(chan struct{})
	n.History = func(context.Context, fanwatch.Alert, time.Time, time.Time) ([]notify.Sample, error) {
		<-release
		return nil, nil
	}
	in := notification("hook")
	in.Message.Event = fanwatch.EventPage
	if _, err := n.Notify(t.Context(), in); err != nil || len(got) == 0 || strings.Contains(string(got), `"picture"`) {
		t.Errorf("%v, %s", err, got)
	}
	close(release)
	n.History = func(context.Context, fanwatch.Alert, time.Time, time.Time) ([]notify.Sample, error) {
		return nil, errors.New("no lake")
	}
	if _, err := n.Notify(t.Context(), in); err != nil || strings.Contains(string(got), `"picture"`) {
		t.Errorf("without a lake: %v, %s", err, got)
	}
}
