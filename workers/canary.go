package workers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"fanwatch"
)

// CanaryPages takes the canary's pages where SNS delivers them, as the HTTP endpoint of a subscription, and
// acknowledges their alerts: a page that came back stops its own escalation, and that is what the canary waits for. It
// needs no secret: what is forged acknowledges an alert of the canary at most. Safe for concurrent use.
// https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
type CanaryPages struct {
	Acknowledge func(ctx context.Context, alertID string, k fanwatch.Acknowledgement) (fanwatch.Alert, error)
	Confirm     func(ctx context.Context, topicARN, token string) error
}

// canaryTakes is how long one delivery may take, and maxDelivery how large it may be, in bytes.
const (
	canaryTakes = 10 * time.Second
	maxDelivery = 64 << 10
)

func (p CanaryPages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "SNS delivers here, by POST", http.StatusMethodNotAllowed)
		return
	}
	var m struct {
		Type, TopicArn, Token string
		MessageAttributes     map[string]struct{ Value string }
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || !strings.HasSuffix(m.TopicArn, ":"+fanwatch.CanaryTopic) {
		http.Error(w, "this is no delivery of the topic "+fanwatch.CanaryTopic, http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), canaryTakes)
	defer cancel()
	alert := m.MessageAttributes["alert"].Value
	switch {
	case m.Type == "SubscriptionConfirmation":
		err = p.Confirm(ctx, m.TopicArn, m.Token)
	case m.Type == "Notification" && strings.HasPrefix(alert, "alert/"+fanwatch.CanaryFan+"/") &&
		m.MessageAttributes["state"].Value == string(fanwatch.AlertOpen):
		_, err = p.Acknowledge(ctx, alert, fanwatch.Acknowledgement{By: fanwatch.CanaryFan})
	}
	if err != nil {
		http.Error(w, "it cannot be taken now", http.StatusServiceUnavailable) // SNS delivers it again
	}
}
