package dashboard

import (
	"context"
	"fmt"
	"time"

	"fanwatch"
	"fanwatch/operator"
)

// Operator is what the dashboard asks of the running system. Its methods may be called concurrently;
// each call ends within 10 s or its context does.
type Operator interface {
	Answerer
	// Fans returns every fan that is not retired as its workflow shows it, in any order.
	Fans(ctx context.Context) ([]fanwatch.FanStatus, error)
	// Fan returns one fan, also one that is retired. An error that wraps operator.ErrUnknown says that no workflow
	// knows it.
	Fan(ctx context.Context, fan string) (fanwatch.FanStatus, error)
	// Alerts returns the alerts that are open or acknowledged, and with ended the resolved ones too.
	Alerts(ctx context.Context, ended bool) ([]fanwatch.Alert, error)
	// Judged says when fans were judged last, as the scorers' heartbeats have it. now is the clock of the times in it,
	// fans what Fans gave last, which may be nothing.
	Judged(ctx context.Context, now time.Time, fans []fanwatch.FanStatus) (Judged, error)
	// Acknowledge says that a person has taken an alert on, and answers the alert. Errors that wrap
	// operator.ErrUnknown or operator.ErrEnded are told to the browser as such; every other one as the system's failure.
	Acknowledge(ctx context.Context, alertID string, k fanwatch.Acknowledgement) (fanwatch.Alert, error)
	// Answer tells a fan what a person says to what its readings suggest, and answers its device. An error that wraps
	// operator.ErrUnknown says that there is no such fan or that it suggests no such thing.
	Answer(ctx context.Context, fan string, a fanwatch.SuggestionAnswer) (fanwatch.Device, error)
}

// Judged is what the scorers say of all fans.
type Judged struct {
	Of     func(fanwatch.Device) operator.Judgement
	Unread []string // a sentence for each shard that is not read
}

// Client is the Operator that asks Temporal.
type Client struct{ operator.Client }

// Judged implements Operator.
func (c Client) Judged(ctx context.Context, now time.Time, fans []fanwatch.FanStatus) (Judged, error) {
	j, err := c.Client.Judged(ctx, now)
	j.Expect(fans)
	out := Judged{Of: j.Of}
	for _, s := range j.Shards {
		if !s.Read {
			out.Unread = append(out.Unread, fmt.Sprintf("shard %s is not read: %s", s.Shard, s.Why))
		}
	}
	return out, err
}
