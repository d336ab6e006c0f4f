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

// Kinesis writes and reads data streams. Safe for concurrent use.
//
// Its own loops do the retrying, so that a throttled or unreachable Kinesis is waited for until the caller's
// context ends: give every call a context that does. A put whose answer was lost is made again, so a record
// can be on the stream twice.
type Kinesis struct {
	client *kinesis.Client
}

const (
	// The wait before another attempt doubles from one of the first two up to the third. Without jitter: a
	// stream has few writers and a shard has one reader.
	writeWait  = 50 * time.Millisecond
	readWait   = 200 * time.Millisecond
	maxWait    = 5 * time.Second
	maxAttempt = 20 * time.Second // one HTTP exchange, so that a server that hangs is tried again

	// Limits of PutRecords that every account has.
	putRecordsCount = 500
	putRecordsBytes = 5 << 20
)

// NewKinesis makes the adapter. A non-empty endpoint is used instead of AWS's.
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

// CreateStream makes a stream with so many shards and waits until it is ACTIVE. One that exists is left as it
// is, also when it has been resharded.
func (k *Kinesis) CreateStream(ctx context.Context, stream string, shards int) error {
	for {
		err := try(ctx, readWait, func(ctx context.Context) error {
			_, err := k.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(int32(shards))})
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
		if err := wait(ctx, readWait); err != nil { // it was being deleted: the name is free now
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
			return fmt.Errorf("cloud: waiting for stream %s, which is %s: %w", stream, out.StreamDescriptionSummary.StreamStatus, err)
		}
	}
}

// Created gives the time at which the stream was made, which tells it from one of the same name that was deleted.
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
	StartHash, EndHash string   // the range of hash keys, both inclusive
	Closed             bool     // split or merged: no new records
	First              string   // no record has a lower sequence number
	Last               string   // no record has a higher one; empty while the shard is open
}

// Shards lists the stream's shards, also closed ones whose records can still be read, in the order of their IDs.
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

// Put writes one record and tells where it went. When it returns nil the record is on the stream. It goes on
// trying until ctx ends.
func (k *Kinesis) Put(ctx context.Context, stream, partitionKey string, data []byte) (shard, sequence string, err error) {
	if data == nil {
		data = []byte{}
	}
	var out *kinesis.PutRecordOutput
	err = try(ctx, writeWait, func(ctx context.Context) (err error) {
		out, err = k.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &partitionKey, Data: data})
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("cloud: putting a record of %d bytes on %s: %w", len(data), stream, err)
	}
	return aws.ToString(out.ShardId), aws.ToString(out.SequenceNumber), nil
}

// Entry is a record to write.
type Entry struct {
	PartitionKey string // 1 to 256 characters; records of a key go to one shard
	Data         []byte // with the key at most 1 MiB
}

func (e Entry) size() int { return len(e.PartitionKey) + len(e.Data) }

// UnwrittenError says which entries of a PutBatch are not known to be on the stream.
type UnwrittenError struct {
	Entries []int // indexes, ascending
	Err     error
}

// Error gives the count and the cause.
func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("%d records not written: %v", len(e.Entries), e.Err)
}

// Unwrap gives the cause.
func (e *UnwrittenError) Unwrap() error { return e.Err }

// PutBatch writes all entries, in as many requests as it takes, one after another. Entries that fail are tried
// again alone and in their order until ctx ends; the request behind starts when none is left. So entries of a
// key keep their order unless Kinesis takes a later one of a request while it fails an earlier one. When not
// all could be written the error is an *UnwrittenError.
func (k *Kinesis) PutBatch(ctx context.Context, stream string, entries []Entry) error {
	for start := 0; start < len(entries); {
		end, size := start, 0
		for end < len(entries) && end-start < putRecordsCount && (end == start || size+entries[end].size() <= putRecordsBytes) {
			size += entries[end].size()
			end++
		}
		left, err := k.putRequest(ctx, stream, entries, start, end)
		if err != nil {
			for i := end; i < len(entries); i++ {
				left = append(left, i)
			}
			return fmt.Errorf("cloud: putting on %s: %w", stream, &UnwrittenError{left, err})
		}
		start = end
	}
	return nil
}

// putRequest writes the entries from start to end, giving the indexes of those that are left on an error.
func (k *Kinesis) putRequest(ctx context.Context, stream string, entries []Entry, start, end int) ([]int, error) {
	left := make([]int, 0, end-start)
	for i := start; i < end; i++ {
		left = append(left, i)
	}
	err := try(ctx, writeWait, func(ctx context.Context) error {
		in := &kinesis.PutRecordsInput{StreamName: &stream}
		for _, i := range left {
			data := entries[i].Data
			if data == nil {
				data = []byte{}
			}
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &entries[i].PartitionKey, Data: data})
		}
		out, err := k.client.PutRecords(ctx, in)
		if err != nil {
			return err
		}
		if len(out.Records) != len(left) {
			return fmt.Errorf("PutRecords answered %d results for %d records", len(out.Records), len(left))
		}
		failed := left[:0]
		var first types.PutRecordsResultEntry
		for n, r := range out.Records {
			if r.ErrorCode != nil {
				if len(failed) == 0 {
					first = r
				}
				failed = append(failed, left[n])
			}
		}
		if left = failed; len(left) > 0 {
			return &recordsFailed{len(left), aws.ToString(first.ErrorCode), aws.ToString(first.ErrorMessage)}
		}
		return nil
	})
	return left, err
}

// recordsFailed is what PutRecords says of single records: throttled, or an internal failure. Both pass.
type recordsFailed struct {
	count         int
	code, message string
}

func (e *recordsFailed) Error() string {
	return fmt.Sprintf("%d records failed, the first with %s: %s", e.count, e.code, e.message)
}

// RetryableError makes the SDK's rules count it among the errors that pass.
func (e *recordsFailed) RetryableError() bool { return true }

// try calls f, each time with a context of its own, until it succeeds, fails in a way that will not pass, or
// ctx ends; then the error is the last one of f. The first pause doubles from one attempt to the next.
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

// passes tells whether an error is worth another attempt: throttling, a server error, a broken connection.
func passes(err error) bool {
	if errors.Is(err, ErrNotLocal) {
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || // the attempt's own: the caller looks at its context first
		retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary
}

// wait sleeps for d or until ctx ends, whose error it then gives.
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
