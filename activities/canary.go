package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
)

// IoTPublisher publishes through AWS IoT Core's HTTPS data plane, where rules see the client ID "n/a".
type IoTPublisher interface {
	Publish(ctx context.Context, topic string, payload []byte) error
}

// Statuses returns the status of a fan and of an alert. An error that wraps [ErrNoFan] says that no workflow of the fan
// runs.
type Statuses interface {
	FanStatus(ctx context.Context, fan string) (fanwatch.FanStatus, error)
	Alert(ctx context.Context, id string) (fanwatch.Alert, error)
}

// Canary tests the path from reading to page: a simulated fan stops, and its page must be sent.
type Canary struct {
	IoT       IoTPublisher
	Stream    Recorder // for the canary's device
	System    Statuses
	Topic     func(ctx context.Context) error // makes the topic fanwatch.CanaryTopic where it does not exist
	AwaitsAck bool                            // the page is delivered to fanwatch itself, which acknowledges the alert
	Rule      string                          // topic rule of the batch envelope
	Within    time.Duration                   // bound of each stage; 0 = 90 s
	Poll      time.Duration                   // time between two looks at a status; 0 = 1 s
	Now       fanwatch.Clock
}

// canaryClient is the value of a rule's clientid() for a message that was not sent over MQTT (AWS IoT developer guide,
// "SQL reference: functions").
const canaryClient = "n/a"

// canaryDevice is the canary's device. It is never silent, because it reports once an hour.
var canaryDevice = fanwatch.Device{V: fanwatch.DeviceVersion, Revision: 1, Fan: fanwatch.CanaryFan,
	Clients: []string{canaryClient},
	Silence: fanwatch.Duration(-time.Second), Policy: fanwatch.CanaryPolicy, Limits: fanwatch.Limits{MinRPM: 100}}

// Fly stops the canary, waits for its page and starts it again. It returns the time from stop to page. The error names
// the part of the path at which the page was lost. Running it again begins with a canary that is normal.
func (c *Canary) Fly(ctx context.Context) (took time.Duration, err error) {
	defer heartbeats(ctx)()
	p := &canaryFlight{Canary: c, run: rand.Uint64()>>1 | 1}
	if err := c.Topic(ctx); err != nil {
		return 0, fmt.Errorf("the topic %s cannot be made: %w", fanwatch.CanaryTopic, err)
	}
	data, err := fanwatch.EncodeDevice(canaryDevice)
	if err == nil {
		err = c.Stream.Record(ctx, fanwatch.CanaryFan, data)
	}
	if err != nil {
		return 0, fmt.Errorf("the stream does not take the canary's device: %w", err)
	}
	if err := p.recover(ctx); err != nil {
		return 0, err
	}
	began := c.Now()
	id, err := p.stop(ctx)
	if err != nil {
		return 0, err
	}
	if err := p.paged(ctx, id); err != nil {
		return 0, err
	}
	took = c.Now().Sub(began)
	return took, p.recover(ctx)
}

// canaryFlight is one call of Fly, under a run of its own.
type canaryFlight struct {
	*Canary
	run, seq uint64
}

func (p *canaryFlight) publish(ctx context.Context, n int, rpm float64, state fanwatch.State) error {
	readings := make([]fanwatch.Reading, n)
	for i := range readings {
		p.seq++
		readings[i] = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fanwatch.CanaryFan, Run: p.run, Seq: p.seq},
			Time: p.Now().UTC().Truncate(time.Microsecond), RPM: rpm, Hz: rpm / 30, State: state}
	}
	data, err := json.Marshal(fanwatch.NewBatch(readings, p.seq-uint64(n), 0, p.Now()))
	if err != nil {
		return err
	}
	if err := p.IoT.Publish(ctx, "$aws/rules/"+p.Rule+"/"+fanwatch.CanaryFan, data); err != nil {
		return fmt.Errorf("IoT Core does not take the canary's reading: %w", err)
	}
	return nil
}

// recover publishes readings of a turning fan and waits until the canary is normal and has no open alert.
func (p *canaryFlight) recover(ctx context.Context) error {
	const readings = 10 // more than trouble needs to end
	if err := p.publish(ctx, readings, 1000, fanwatch.StateRunning); err != nil {
		return err
	}
	return p.until(ctx, func() (bool, string, error) {
		s, err := p.System.FanStatus(ctx, fanwatch.CanaryFan)
		switch {
		case errors.Is(err, ErrNoFan):
			return false, "the canary's reading was not judged: see rule, stream and scorer", nil
		case err != nil:
			return false, "", err
		case s.Last.Anomaly.Kind != fanwatch.KindNone:
			return false, "the canary turns, but its workflow was not told: see rule, stream and scorer", nil
		case s.Alert != "":
			return false, "the canary's alert " + s.Alert + " does not end", nil
		}
		return true, "", nil
	})
}

// stop publishes a stalled reading and returns the ID of the alert that follows.
func (p *canaryFlight) stop(ctx context.Context) (alert string, err error) {
	if err := p.publish(ctx, 1, 0, fanwatch.StateStalled); err != nil {
		return "", err
	}
	err = p.until(ctx, func() (bool, string, error) {
		s, err := p.System.FanStatus(ctx, fanwatch.CanaryFan)
		alert = s.Alert
		switch {
		case err != nil:
			return false, "", err
		case s.Last.Anomaly.Kind != fanwatch.KindStall:
			return false, "the canary stands still, but its workflow was not told: see rule, stream and scorer", nil
		case alert == "":
			return false, "the canary's workflow knows of its stall and opened no alert", nil
		}
		return true, "", nil
	})
	return alert, err
}

// paged waits until the alert's notification is sent and, with AwaitsAck, acknowledged.
func (p *canaryFlight) paged(ctx context.Context, alert string) error {
	return p.until(ctx, func() (bool, string, error) {
		a, err := p.System.Alert(ctx, alert)
		switch {
		case err != nil:
			return false, "", err
		case a.Notices == 0 && len(a.Failed) > 0:
			return false, "the page was not sent: " + a.Failed[0].Why, nil
		case a.Notices == 0:
			return false, "the alert " + alert + " has told no topic", nil
		case p.AwaitsAck && a.State == fanwatch.AlertOpen:
			return false, "SNS took the page and it did not come back: see the subscriptions of " + fanwatch.CanaryTopic, nil
		}
		return true, "", nil
	})
}

// until calls ok every Poll until it reports done, for Within at most; then the error is what ok calls missing.
func (p *canaryFlight) until(ctx context.Context, ok func() (done bool, missing string, err error)) error {
	within, poll := p.Within, p.Poll
	if within == 0 {
		within = 90 * time.Second
	}
	if poll == 0 {
		poll = time.Second
	}
	for end := p.Now().Add(within); ; {
		done, missing, err := ok()
		if done {
			return nil
		}
		if p.Now().After(end) {
			if err != nil {
				missing = err.Error()
			}
			return fmt.Errorf("after %s %s", within, strings.TrimSpace(missing))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			return errStopping
		case <-time.After(poll):
		}
	}
}
