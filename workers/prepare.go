package workers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fanwatch/cloud"
)

// ResourceOptions sets what Prepare makes.
type ResourceOptions struct {
	Shards int    // number of shards of the stream
	Role   string // ARN of the role by which IoT rules write to the stream; "" = role/fanwatch-rules of the account
	Email  string // address that is subscribed to each topic, with %s for the topic's name; "" = none
}

// Prepare makes the bucket, the stream, the topic rules and the topics of the policies, unless they exist. Running it
// again changes nothing but the rules, which it replaces.
func (a *Activities) Prepare(ctx context.Context, c Config, o ResourceOptions) error {
	role := o.Role
	if role == "" {
		role = fmt.Sprintf("arn:aws:iam::%s:role/fanwatch-rules", c.Account)
	}
	const fields = "SELECT *, timestamp() AS arrived, clientid() AS client FROM "
	rule := func(name, topic, key string) error {
		return a.IoT.PutRule(ctx, cloud.Rule{Name: name, SQL: fields + "'" + topic + "'", Stream: c.Stream,
			PartitionKey: key, RoleARN: role, ErrorStream: c.Stream})
	}
	err := errors.Join(
		a.S3.CreateBucket(ctx),
		a.Kinesis.CreateStream(ctx, c.Stream, o.Shards))
	if err != nil {
		return err
	}
	err = errors.Join(
		rule(RuleReadings, "+", "${fan}"), // Basic Ingest: the topic behind $aws/rules/NAME/ is the fan
		rule(RuleLegacy, TopicLegacy, "${FANID}"))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.named())) {
		if strings.HasPrefix(name, "arn:") {
			continue
		}
		arn, err := a.SNS.CreateTopic(ctx, name)
		if err == nil && o.Email != "" {
			err = a.SNS.SubscribeEmail(ctx, arn, fmt.Sprintf(o.Email, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
