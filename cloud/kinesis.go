package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Kinesis is a client of Kinesis data streams. Safe for concurrent use.
//
// Its methods retry while Kinesis is throttled or out of reach, until the caller's context ends: every call needs a
// context that does. A put whose answer is lost is repeated, so a record can be on the stream twice.
type Kinesis struct {
	client *kinesis.Client
}

const (
	writeWait  = 50 * time.Millisecond  // first wait before a write is retried; it doubles up to maxWait
	readWait   = 200 * time.Millisecond // first wait before a read is retried; it doubles up to maxWait
	maxWait    = 5 * time.Second
	maxAttempt = 20 * time.Second // bound of one HTTP exchange
)

// NewKinesis returns a client of cfg's region, or of the server at endpoint when that is not empty. The error is for a
// configuration without region.
func NewKinesis(cfg aws.Config, endpoint string) (*Kinesis, error) {
	if cfg.Region == "" {
		return nil, errors.New("cloud: kinesis: the configuration has no region")
	}
	client := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		o.Retryer = aws.NopRetryer{}
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return &Kinesis{client: client}, nil
}

// CreateStream makes a stream with the given number of shards and waits until it is ACTIVE. An existing stream stays as
// it is.
func (k *Kinesis) CreateStream(ctx context.Context, stream string, shards int) error {
	for {
		err := try(ctx, readWait, func(ctx context.Context) error {
			_, err := k.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &stream,
				ShardCount: aws.Int32(int32(shards))})
			return err
		})
		var exists *types.ResourceInUseException
		if err != nil && !errors.As(err, &exists) {
			return fmt.Errorf("cloud: creating stream %s: %w", stream, err)
		}
		err = k.waitActive(ctx, stream)
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			return err
		}
		if err := wait(ctx, readWait); err != nil { // the stream was being deleted; the name is free now
			return fmt.Errorf("cloud: creating stream %s again: %w", stream, err)
		}
	}
}

func (k *Kinesis) waitActive(ctx context.Context, stream string) error {
	for {
		var out *kinesis.DescribeStreamSummaryOutput
		err := try(ctx, readWait, func(ctx context.Context) (err error) {
			out, err = k.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
			return err
		})
		if err != nil {
			return fmt.Errorf("cloud: describing stream %s: %w", stream, err)
		}
		if out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			return nil
		}
		if err := wait(ctx, readWait); err != nil {
			return fmt.Errorf("cloud: waiting for stream %s, which is %s: %w", stream, out.StreamDescriptionSummary.StreamStatus,
				err)
		}
	}
}

// Created returns the creation time of the stream, which differs from that of a deleted stream of the same name.
func (k *Kinesis) Created(ctx context.Context, stream string) (time.Time, error) {
	var out *kinesis.DescribeStreamSummaryOutput
	err := try(ctx, readWait, func(ctx context.Context) (err error) {
		out, err = k.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("cloud: describing stream %s: %w", stream, err)
	}
	return aws.ToTime(out.StreamDescriptionSummary.StreamCreationTimestamp), nil
}

// Shard is one shard of a stream. Hash keys and sequence numbers are decimal integers.
type Shard struct {
	ID                 string
	Parents            []string // none, one (after a split) or two (after a merge); they may have expired
	StartHash, EndHash string   // range of hash keys, both inclusive
	Closed             bool     // the shard was split or merged and gets no new records
	First              string   // lower bound of the sequence numbers
	Last               string   // upper bound of the sequence numbers; "" while the shard is open
}

// Shards returns the stream's shards, also closed ones whose records can still be read, in the order of their IDs.
func (k *Kinesis) Shards(ctx context.Context, stream string) ([]Shard, error) {
	var all []Shard
	in := &kinesis.ListShardsInput{StreamName: &stream}
	for {
		var out *kinesis.ListShardsOutput
		err := try(ctx, readWait, func(ctx context.Context) (err error) {
			out, err = k.client.ListShards(ctx, in)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cloud: listing the shards of %s: %w", stream, err)
		}
		for _, s := range out.Shards {
			all = append(all, shardOf(s))
		}
		if out.NextToken == nil {
			return all, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

func shardOf(s types.Shard) Shard {
	out := Shard{ID: aws.ToString(s.ShardId)}
	for _, p := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if p != nil {
			out.Parents = append(out.Parents, *p)
		}
	}
	if r := s.HashKeyRange; r != nil {
		out.StartHash, out.EndHash = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
	}
	if r := s.SequenceNumberRange; r != nil {
		out.First, out.Last = aws.ToString(r.StartingSequenceNumber), aws.ToString(r.EndingSequenceNumber)
		out.Closed = r.EndingSequenceNumber != nil
	}
	return out
}

// Put writes one record and returns its shard and sequence number. It retries until ctx ends.
func (k *Kinesis) Put(ctx context.Context, stream, partitionKey string, data []byte) (shard, sequence string,
	err error) {
	if data == nil {
		data = []byte{}
	}
	var out *kinesis.PutRecordOutput
	err = try(ctx, writeWait, func(ctx context.Context) (err error) {
		out, err = k.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &partitionKey,
			Data: data})
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("cloud: putting a record of %d bytes on %s: %w", len(data), stream, err)
	}
	return aws.ToString(out.ShardId), aws.ToString(out.SequenceNumber), nil
}

// try calls f, each time with a context of its own, until it succeeds, returns an error that does not pass, or ctx
// ends. The error wraps the last one of f. The wait between two calls begins at pause and doubles.
func try(ctx context.Context, pause time.Duration, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := attemptOnce(ctx, f)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		if wait(ctx, pause) != nil {
			return fmt.Errorf("%w (gave up after %d attempts: %w)", err, attempt, ctx.Err())
		}
		pause = min(2*pause, maxWait)
	}
}

func attemptOnce(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	return f(ctx)
}

// passes reports whether an error is worth another attempt: throttling, a server error, a broken connection.
func passes(err error) bool {
	if errors.Is(err, ErrNotLocal) {
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || // of the attempt; try checks the caller's before
		retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary
}

// wait waits for d, or until ctx ends, whose error it returns then.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
