package workers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanwatch"
)

// TestOnlyTheCanarysPagesAreTaken: what SNS delivers of its topic confirms or acknowledges; anything else does nothing.
func TestOnlyTheCanarysPagesAreTaken(t *testing.T) {
	var did []string
	var fail error
	p := CanaryPages{
		Acknowledge: func(_ context.Context, id string, k fanwatch.Acknowledgement) (fanwatch.Alert, error) {
			did = append(did, "ack "+id+" "+k.By)
			return fanwatch.Alert{}, fail
		},
		Confirm: func(_ context.Context, arn, token string) error {
			did = append(did, "confirm "+arn+" "+token)
			return fail
		},
	}
	post := func(body string) int {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/canary", strings.NewReader(body)))
		return w.Code
	}
	const arn = "arn:aws:sns:us-east-1:000000000000:fanwatch-canary"
	page := func(topic, alert, state string) string {
		return fmt.Sprintf(`{"Type":"Notification","TopicArn":%q,"MessageAttributes":{
			"alert":{"Type":"String","Value":%q},"state":{"Type":"String","Value":%q}}}`, topic, alert, state)
	}
	const own = "alert/fanwatch-canary/stall/x"
	for _, body := range []string{"", "[]", `{"Type":"Notification"}`, page("arn:aws:sns:us-east-1:000000000000:on-call",
		own, "open"), strings.Repeat("x", maxDelivery+1)} {
		if code := post(body); code != http.StatusBadRequest {
			t.Errorf("%.60s: %d", body, code)
		}
	}
	for _, body := range []string{page(arn, "alert/fan-07/stall/x", "open"), page(arn, "alert/fanwatch-canary-2/stall/x",
		"open"), page(arn, own, "resolved")} {
		if code := post(body); code != http.StatusOK || len(did) > 0 {
			t.Errorf("%s: %d, did %q", body, code, did)
		}
	}
	post(`{"Type":"SubscriptionConfirmation","TopicArn":"` + arn + `","Token":"t"}`)
	post(page(arn, own, "open"))
	if want := "confirm " + arn + " t|ack " + own + " fanwatch-canary"; strings.Join(did, "|") != want {
		t.Errorf("did %q, want %q", did, want)
	}
	fail = errors.New("away")
	if code := post(page(arn, own, "open")); code != http.StatusServiceUnavailable {
		t.Errorf("while Temporal is away: %d, so SNS would not deliver again", code)
	}
	w := httptest.NewRecorder()
	if p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/canary", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}
