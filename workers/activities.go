package workers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/answer"
	"fanwatch/cloud"
	"fanwatch/notify"
)

// Activities are all activities of a worker but those on the lake, with the AWS clients that they use.
type Activities struct {
	Provisioner *activities.Provisioner
	Notifier    *activities.Notifier
	Grouper     *activities.Grouper
	Digester    *activities.Digester
	Maintainer  *activities.Maintainer
	// Maintenances answers which maintenance an alert is under.
	Maintenances *activities.Maintenances
	Scorer       *activities.Scorer
	Watcher      *activities.Watcher
	Canary       *activities.Canary

	Kinesis *cloud.Kinesis
	IoT     *cloud.IoT
	SNS     *cloud.SNS
	S3      *cloud.S3
}

// ControlPlane is what the activities need of the workflows, implemented by operator.Client.
type ControlPlane interface {
	activities.Observer
	activities.Inspector
	activities.Statuses
	activities.AlertLister
	activities.MaintenanceControl
	activities.MaintenanceLister
	activities.Incidents
}

// NewActivities returns the activities on AWS, or on the local servers of c.Endpoints. The error is for a heartbeat URL
// that is not valid, or an AWS configuration without region.
func NewActivities(c Config, fans ControlPlane, log *slog.Logger) (*Activities, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := activities.CheckHeartbeatURL(c.HeartbeatURL); err != nil {
		return nil, err
	}
	kinesis, err := cloud.NewKinesis(c.AWS, c.Endpoints.Kinesis)
	if err != nil {
		return nil, err
	}
	a := &Activities{Kinesis: kinesis, IoT: cloud.NewIoT(c.AWS, c.Endpoints.IoT),
		SNS: cloud.NewSNS(c.AWS, c.Endpoints.SNS), S3: cloud.NewS3(c.AWS, c.Endpoints.S3, c.Bucket)}
	s := stream{kinesis: kinesis, name: c.Stream, poll: c.Poll}
	a.Provisioner = &activities.Provisioner{Registry: registry{a.IoT}, Stream: s, Topics: activities.PolicyTopics{
		ARN: fmt.Sprintf("arn:aws:iot:%s:%s", c.AWS.Region, c.Account), Rule: RuleReadings, Legacy: TopicLegacy},
		Policies: c.Policies}
	t := newTopics(c)
	a.Notifier = &activities.Notifier{SNS: t, Checker: t, Policies: c.Policies, Planner: c.Planner,
		Channels: c.Channels, Log: log,
		Deps: notify.Deps{SNS: t, Roots: c.Roots, Now: c.Now}, Now: c.Now}
	if c.AnswerURL != "" && c.AnswerKeys != nil {
		a.Notifier.AnswerLink = func(alertID, to, key string) string {
			link, err := c.AnswerKeys.Link(c.AnswerURL, answer.Claim{Alert: alertID, To: to, Key: key})
			if err != nil { // the message goes without it
				log.Error("no link to answer an alert", "alert", alertID, "err", err)
			}
			return link
		}
	}
	a.Grouper = &activities.Grouper{System: fans, Now: c.Now}
	a.Notifier.Group = a.Grouper.Group
	a.Digester = &activities.Digester{Policies: c.Policies, Planner: c.Planner, Alerts: fans}
	a.Maintainer = &activities.Maintainer{Fans: fans, Stream: s, Resolve: c.Policies.Of}
	if c.Planner != nil {
		a.Maintainer.Resolve = c.Planner.Resolve
	}
	a.Maintenances = &activities.Maintenances{List: fans, Now: c.Now}
	a.Notifier.Maintain = a.Maintenances.Under
	a.Scorer = &activities.Scorer{Stream: s, Store: a.S3, Fans: fans, Config: c.Score, Now: c.Now, Log: log}
	a.Watcher = &activities.Watcher{System: fans, HeartbeatURL: c.HeartbeatURL, HTTP: &http.Client{}, Config: c.Watch,
		Now: c.Now, Log: log}
	a.Watcher.Topics = func(ctx context.Context) ([]activities.Finding, error) {
		trouble, err := a.Notifier.Topics(ctx)
		var found []activities.Finding
		for _, t := range trouble {
			found = append(found, activities.Finding{Part: activities.PartPaging,
				Why: fmt.Sprintf("Topic %s of the policies: %s.", t.Topic, strings.TrimRight(t.Why, "."))})
		}
		return found, err
	}
	a.Canary = &activities.Canary{IoT: cloud.NewIoTData(c.AWS, c.Endpoints.IoT, a.IoT), Stream: s, System: fans,
		Rule: RuleReadings, Now: c.Now, AwaitsAck: c.CanaryURL != "",
		Topic: func(ctx context.Context) error { return a.canaryTopic(ctx, c.CanaryURL) }}
	return a, nil
}

// confirmWithin is the time within which the canary's endpoint must be confirmed.
const confirmWithin = 30 * time.Second

// canaryTopic makes the canary's topic and, with a URL, its HTTP endpoint, unless they exist.
func (a *Activities) canaryTopic(ctx context.Context, url string) error {
	arn, err := a.SNS.CreateTopic(ctx, fanwatch.CanaryTopic)
	if err != nil || url == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	for {
		confirmed, err := a.SNS.SetHTTPEndpoint(ctx, arn, url)
		if err != nil || confirmed {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("SNS does not deliver to %s: it must lead to /canary of fanwatch worker --listen", url)
		case <-time.After(3 * time.Second):
		}
	}
}
