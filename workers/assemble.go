package workers

import (
	"fmt"
	"log/slog"
	"time"

	"fanwatch/activities"
	"fanwatch/cloud"
)

// Activities are all activities of a worker, joined to AWS.
type Activities struct {
	Provisioner *activities.Provisioner
	Notifier    *activities.Notifier
	Scorer      *activities.Scorer

	Kinesis *cloud.Kinesis
	IoT     *cloud.IoT
	SNS     *cloud.SNS
	S3      *cloud.S3
}

// Assemble joins the activities to AWS, or to the local servers that speak as it does. fans tells the
// fans' workflows of changes; workflows.Operator is the one.
func Assemble(c Config, fans activities.Observer, log *slog.Logger) (*Activities, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	kinesis, err := cloud.NewKinesis(c.AWS, c.Endpoints.Kinesis)
	if err != nil {
		return nil, err
	}
	a := &Activities{Kinesis: kinesis, IoT: cloud.NewIoT(c.AWS, c.Endpoints.IoT), SNS: cloud.NewSNS(c.AWS, c.Endpoints.SNS),
		S3: cloud.NewS3(c.AWS, c.Endpoints.S3, c.Bucket)}
	s := stream{kinesis: kinesis, name: c.Stream, poll: c.Poll}
	a.Provisioner = &activities.Provisioner{Registry: registry{a.IoT}, Stream: s, Topics: activities.PolicyTopics{
		ARN: fmt.Sprintf("arn:aws:iot:%s:%s", c.AWS.Region, c.Account), Rule: RuleReadings, Legacy: TopicLegacy},
		Policies: c.Policies}
	t := newTopics(c)
	a.Notifier = &activities.Notifier{SNS: t, Checker: t, Policies: c.Policies, Now: c.Now}
	a.Scorer = &activities.Scorer{Stream: s, Store: a.S3, Fans: fans, Config: c.Score, Now: c.Now, Log: log}
	return a, nil
}
