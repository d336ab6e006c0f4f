package workers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/detect"
	"fanwatch/objstore"
)

// stream is Kinesis as the activities see it.
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
		return time.Time{}, nil // a role of before DescribeStreamSummary was asked for
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

// patience is how long a read may take, or wait for a Kinesis that is out of reach, before the scorer hears of it.
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

// unreadable adds the mend to what Kinesis refuses.
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

// registry is AWS IoT Core as the activities see it.
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

// nonRetryable keeps Temporal from trying again what AWS IoT Core refuses for what it is: an operator waits for the
// answer, and while it is tried the fan takes no other change.
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

// topics is SNS as the activities see it: a topic's name becomes an ARN of the account and region.
type topics struct {
	sns    *cloud.SNS
	prefix string // arn:aws:sns:REGION:ACCOUNT:
}

func (t topics) Publish(ctx context.Context, topic, subject, body, key string, attributes map[string]string) error {
	_, err := t.sns.Publish(ctx, cloud.Message{TopicARN: t.arn(topic), Subject: subject, Body: body, Key: key,
		Attributes: attributes})
	var final interface{ Permanent() bool }
	if errors.As(err, &final) && final.Permanent() {
		return temporal.NewNonRetryableApplicationError(refusal(err), "Refused", err) // the alert goes on by its next step
	}
	return err
}

// refusal returns what SNS says of a request that it refuses, without the numbers of the SDK.
func refusal(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err.Error()
	}
	return fmt.Sprintf("SNS refuses it: %s: %s", api.ErrorCode(), api.ErrorMessage())
}

// Config says which AWS, stream, bucket and topics the activities work with.
type Config struct {
	AWS       aws.Config
	Account   string    // AWS account, for ARNs
	Endpoints Endpoints // empty: AWS
	Stream    string
	Bucket    string
	Catalog   Catalog       // of the Iceberg table
	Poll      time.Duration // between reads of a shard that found nothing; 0 = 1 s
	Score     activities.ScoreConfig
	Watch     activities.WatchConfig
	// HeartbeatURL is called each minute while all is well, so that an outside service notices what nothing inside can;
	// "" = none.
	HeartbeatURL string
	// CanaryURL is where SNS delivers the canary's pages to CanaryPages; "" = they count as come back when SNS has
	// taken them.
	CanaryURL string
	Policies  activities.Policies
	Now       fanwatch.Clock // nil = time.Now
}

// Open returns a bucket of the account, or of the local S3.
func (c Config) Open(bucket string) objstore.Store { return cloud.NewS3(c.AWS, c.Endpoints.S3, bucket) }

// Endpoints are base URLs of local servers; an empty one means AWS.
type Endpoints struct {
	Kinesis, IoT, SNS, S3 string
}

// Names of the topic rules and of the demo's topic, which AWS and devices share.
const (
	RuleReadings = "fanwatch_readings"
	RuleLegacy   = "fanwatch_legacy"
	TopicLegacy  = "IoT_TOPIC/recieve" // RuleLegacy's topic, with the spelling of the legacy publishers
)
