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

// CanaryPages is the HTTP endpoint to which SNS delivers the canary's pages. It confirms its subscription and
// acknowledges the alerts of the pages, for which the canary waits. It needs no secret: a forged page acknowledges an
// alert of the canary at most. Safe for concurrent use.
// https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
type CanaryPages struct {
	Acknowledge func(ctx context.Context, alertID string, k fanwatch.Acknowledgement) (fanwatch.Alert, error)
	Confirm     func(ctx context.Context, topicARN, token string) error
}

const (
	canaryTakes = 10 * time.Second // bound of one delivery
	maxDelivery = 64 << 10         // bytes of one delivery
)

// ServeHTTP takes one delivery of SNS. Status 503 has SNS deliver it again.
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
