package workers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/answer"
	"fanwatch/cloud"
	"fanwatch/detect"
	"fanwatch/notify"
	"fanwatch/objstore"
)

// stream implements activities.Stream and activities.Recorder by Kinesis.
type stream struct {
	kinesis *cloud.Kinesis
	name    string // of the stream that Record writes to
	poll    time.Duration
}

func (s stream) Shards(ctx context.Context, name string) ([]activities.Shard, error) {
	shards, err := s.kinesis.Shards(ctx, name)
	if err != nil {
		return nil, err
	}
	out := make([]activities.Shard, len(shards))
	for i, sh := range shards {
		out[i] = activities.Shard{ID: sh.ID, Parents: sh.Parents, StartHash: sh.StartHash, EndHash: sh.EndHash,
			First: fanwatch.SequenceNumber(sh.First)}
	}
	return out, nil
}

// Created implements activities.Stream.
func (s stream) Created(ctx context.Context, name string) (time.Time, error) {
	at, err := s.kinesis.Created(ctx, name)
	var refusal smithy.APIError
	if errors.As(err, &refusal) && refusal.ErrorCode() == "AccessDeniedException" {
		return time.Time{}, nil // a role made for earlier programs lacks DescribeStreamSummary
	}
	return at.UTC(), unreadable(err)
}

func (s stream) Open(name, shard string, after fanwatch.SequenceNumber) activities.ShardReader {
	return shardReader{s.kinesis.Read(name, shard, string(after), cloud.ReadOptions{Poll: s.poll}), patience}
}

// Record implements activities.Recorder.
func (s stream) Record(ctx context.Context, partitionKey string, data []byte) error {
	_, _, err := s.kinesis.Put(ctx, s.name, partitionKey, data)
	return err
}

type shardReader struct {
	*cloud.Reader
	patience time.Duration
}

// patience is the time after which a read that Kinesis does not answer is returned as trouble.
const patience = 10 * time.Second

func (r shardReader) Next(ctx context.Context) (activities.Batch, error) {
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	b, err := r.Reader.Next(limited)
	switch {
	case err == nil:
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return activities.Batch{Trouble: fmt.Sprintf("Kinesis does not answer: %v", err)}, nil
	case errors.Is(err, cloud.ErrOtherStream):
		return activities.Batch{}, fmt.Errorf("%w: %w", activities.ErrOtherStream, err)
	default:
		return activities.Batch{}, unreadable(err)
	}
	out := activities.Batch{Behind: time.Duration(b.MillisBehindLatest) * time.Millisecond, Closed: b.Closed,
		Records: make([]detect.Input, len(b.Records))}
	for i, rec := range b.Records {
		seq, err := fanwatch.ParseSequenceNumber(rec.Sequence)
		if err != nil {
			return activities.Batch{}, err
		}
		out.Records[i] = detect.Input{Position: fanwatch.Position{Sequence: seq}, Arrived: rec.Arrived, Data: rec.Data}
	}
	return out, nil
}

// unreadable adds the mend to an error by which Kinesis refuses a call.
func unreadable(err error) error {
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.ErrorCode() {
	case "ResourceNotFoundException":
		return fmt.Errorf("%w: make the stream, or name the one that the rule writes to", err)
	case "AccessDeniedException":
		return fmt.Errorf("%w: allow the worker's role kinesis:DescribeStreamSummary, kinesis:ListShards, "+
			"kinesis:GetShardIterator and kinesis:GetRecords", err)
	case "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException":
		return fmt.Errorf("%w: let the worker's role use the stream's key", err)
	}
	return err
}

// registry implements activities.Registry by AWS IoT Core.
type registry struct{ *cloud.IoT }

func (r registry) CertificateFromCSR(ctx context.Context, csrPEM string) (activities.Certificate, error) {
	c, err := r.IoT.CertificateFromCSR(ctx, "", []byte(csrPEM))
	return activities.Certificate{ID: c.ID, ARN: c.ARN, PEM: c.PEM}, nonRetryable("the certificate signing request", err)
}

func (r registry) CreateThing(ctx context.Context, name string, attributes map[string]string) error {
	return nonRetryable("thing "+name, r.IoT.CreateThing(ctx, name, attributes))
}

func (r registry) PutPolicy(ctx context.Context, name, document string) error {
	return nonRetryable("policy "+name, r.IoT.PutPolicy(ctx, name, document))
}

// nonRetryable returns a non-retryable error when AWS IoT Core refuses the request itself, else err. A retry would keep
// an operator waiting, and the fan from taking other changes.
func nonRetryable(what string, err error) error {
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.ErrorCode() {
	case "InvalidRequestException", "MalformedPolicyException":
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("AWS IoT Core refuses %s: %s", what,
			refusal.ErrorMessage()), "Refused", err)
	}
	return err
}

func (r registry) Deactivate(ctx context.Context, certificateARN string) error {
	_, id, ok := strings.Cut(certificateARN, ":cert/")
	if !ok {
		return fmt.Errorf("%q is not the ARN of a certificate", certificateARN)
	}
	return r.IoT.Deactivate(ctx, id)
}

// topics implements activities.Publisher, activities.TopicChecker and notify.Topics by SNS.
type topics struct {
	sns    *cloud.SNS
	prefix string // arn:aws:sns:REGION:ACCOUNT:
}

func (t topics) Publish(ctx context.Context, topic, subject, body, key string, attributes map[string]string) error {
	_, err := t.publish(ctx, cloud.Message{TopicARN: t.arn(topic), Subject: subject, Body: body, Key: key,
		Attributes: attributes})
	return err
}

// PublishEach implements notify.Topics.
func (t topics) PublishEach(ctx context.Context, topic, subject string, bodies map[string]string, key string,
	attributes map[string]string) (id string, err error) {
	return t.publish(ctx, cloud.Message{TopicARN: t.arn(topic), Subject: subject, Body: bodies["default"],
		Bodies: bodies, Key: key, Attributes: attributes})
}

func (t topics) publish(ctx context.Context, m cloud.Message) (id string, err error) {
	id, err = t.sns.Publish(ctx, m)
	var final interface{ Permanent() bool }
	if errors.As(err, &final) && final.Permanent() {
		return "", temporal.NewNonRetryableApplicationError(refusal(err), "Refused", err)
	}
	return id, err
}

// refusal returns the text of an error by which SNS refuses a request, without the SDK's request ID and status.
func refusal(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err.Error()
	}
	return fmt.Sprintf("SNS refuses it: %s: %s", api.ErrorCode(), api.ErrorMessage())
}

// Config sets the AWS resources that the activities use.
type Config struct {
	AWS       aws.Config
	Account   string        // AWS account, for ARNs
	Endpoints Endpoints     // of the local servers; empty = AWS
	Stream    string        // name of the Kinesis stream
	Bucket    string        // of the lake
	Catalog   Catalog       // Iceberg catalog of the tables
	Poll      time.Duration // time between two reads of a shard that find nothing; 0 = 1 s
	Score     activities.ScoreConfig
	Watch     activities.WatchConfig
	// HeartbeatURL is called each minute while no part fails, so that an outside service notices when the calls end;
	// "" = none.
	HeartbeatURL string
	// CanaryURL is the URL of CanaryPages, to which SNS delivers the canary's pages; "" = a page counts as delivered
	// when SNS has taken it.
	CanaryURL string
	Policies  activities.Policies
	Planner   activities.Planner // nil = Policies alone say who is told
	// Channels returns the channel of that name in the policy file, with Zone set; nil = every name is a topic's.
	Channels func(name string) (c notify.Config, ok bool)
	// AnswerURL is the base of the signed links by which readers of messages answer alerts, AnswerKeys sign them; without
	// one of the two messages have no such links.
	AnswerURL  string
	AnswerKeys *answer.Keys
	Roots      *x509.CertPool // authorities of the channels' servers; nil = the system's
	Now        fanwatch.Clock // nil = time.Now
}

// Open returns a bucket of the AWS account, or of the local S3.
func (c Config) Open(bucket string) objstore.Store { return cloud.NewS3(c.AWS, c.Endpoints.S3, bucket) }

// Endpoints are base URLs of local servers; "" = AWS.
type Endpoints struct {
	Kinesis, IoT, SNS, S3 string
}

const (
	// RuleReadings is the name of the topic rule of the batch envelope.
	RuleReadings = "fanwatch_readings"
	// RuleLegacy is the name of the topic rule of the legacy format.
	RuleLegacy = "fanwatch_legacy"
	// TopicLegacy is the topic of RuleLegacy, with the spelling of the legacy publishers.
	TopicLegacy = "IoT_TOPIC/recieve"
)
