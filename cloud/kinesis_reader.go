package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// ReadOptions set the pace of a Reader.
type ReadOptions struct {
	// Poll is the wait after a read that finds nothing new; at least 200 ms, 0 = 1 s, which leaves four of a shard's five
	// reads per second to others. While there is more to read the wait is 200 ms.
	Poll time.Duration
	// Limit is the largest number of records of a Batch; at most 10,000, 0 = 10,000. A Batch also ends at 10 MiB.
	Limit int
}

// quick is the time of a read after which the next one asks for more records.
const quick = time.Second

// ErrOtherStream says that a sequence number is not of the stream: it was deleted and made again.
var ErrOtherStream = errors.New("the sequence number did not come from this stream")

// minPoll keeps a single reader within the five GetRecords per second that a shard allows.
const minPoll = 200 * time.Millisecond

// Reader reads one shard in order. Not safe for concurrent use.
type Reader struct {
	kinesis       *Kinesis
	stream, shard string
	after         string  // sequence number of the last record returned; "" = none
	iterator      *string // nil: to be fetched
	options       ReadOptions
	limit         int       // records of the next read; below options.Limit after slow reads
	next          time.Time // earliest time of the next read
	done          bool
}

// Batch is the result of one read. It may be empty.
type Batch struct {
	Records            []Record
	MillisBehindLatest int64    // distance to the shard's newest record by arrival; 0 = none is left
	Closed             bool     // the shard was split or merged and these are its last records
	Children           []string // shards that follow it, with Closed
}

// Record is one record of a shard.
type Record struct {
	Sequence     string // decimal; grows strictly within the shard
	PartitionKey string
	Arrived      time.Time // by the clock of Kinesis, in milliseconds
	Data         []byte
}

// Read returns a reader of the records behind the sequence number after, or of all that the shard has when after is ""
// or "0". It sends nothing; [Reader.Next] does.
func (k *Kinesis) Read(stream, shard, after string, options ReadOptions) *Reader {
	if after == "0" {
		after = ""
	}
	if options.Poll == 0 {
		options.Poll = time.Second
	}
	options.Poll = max(options.Poll, minPoll)
	if options.Limit <= 0 || options.Limit > 10000 {
		options.Limit = 10000
	}
	return &Reader{kinesis: k, stream: stream, shard: shard, after: after, options: options, limit: options.Limit}
}

// Next waits for the reader's pace and reads once. It retries while Kinesis is throttled or out of reach, until ctx
// ends, and renews an expired iterator. After a read that times out it asks for a quarter of the records, after a
// quick one for twice as many. After an error it may be called again and continues at the same place. The error is
// io.EOF behind a Closed batch, and wraps [ErrOtherStream] when after is of a stream that was deleted.
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	if r.done {
		return Batch{}, io.EOF
	}
	if err := wait(ctx, time.Until(r.next)); err != nil {
		return Batch{}, err
	}
	out, err := r.records(ctx)
	now := time.Now()
	r.next = now.Add(r.options.Poll)
	if err != nil {
		return Batch{}, fmt.Errorf("cloud: reading %s of %s: %w", r.shard, r.stream, err)
	}
	b := Batch{MillisBehindLatest: aws.ToInt64(out.MillisBehindLatest), Records: make([]Record, len(out.Records))}
	for i, rec := range out.Records {
		b.Records[i] = Record{Sequence: aws.ToString(rec.SequenceNumber), PartitionKey: aws.ToString(rec.PartitionKey),
			Arrived: aws.ToTime(rec.ApproximateArrivalTimestamp), Data: rec.Data}
		r.after = b.Records[i].Sequence
	}
	if b.MillisBehindLatest > 0 {
		r.next = now.Add(minPoll)
	}
	if r.iterator = out.NextShardIterator; r.iterator == nil {
		b.Closed, r.done = true, true
		for _, c := range out.ChildShards {
			b.Children = append(b.Children, aws.ToString(c.ShardId))
		}
	}
	return b, nil
}

// records reads once, and gets an iterator first when there is none or it has expired.
func (r *Reader) records(ctx context.Context) (out *kinesis.GetRecordsOutput, err error) {
	for {
		if r.iterator == nil {
			if err := r.seek(ctx); err != nil {
				return nil, err
			}
		}
		err := try(ctx, readWait, func(ctx context.Context) (err error) {
			begun := time.Now()
			in := &kinesis.GetRecordsInput{ShardIterator: r.iterator, Limit: aws.Int32(int32(r.limit))}
			out, err = r.kinesis.client.GetRecords(ctx, in)
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				r.limit = max(r.limit/4, 1)
			case err == nil && time.Since(begun) < quick:
				r.limit = min(2*r.limit, r.options.Limit)
			}
			return err
		})
		var expired *types.ExpiredIteratorException
		if !errors.As(err, &expired) {
			return out, err
		}
		r.iterator = nil
		if err := wait(ctx, minPoll); err != nil {
			return nil, err
		}
	}
}

// seek gets an iterator behind the last record returned.
func (r *Reader) seek(ctx context.Context) error {
	in := &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: &r.shard,
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
	if r.after != "" {
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &r.after
	}
	err := try(ctx, readWait, func(ctx context.Context) error {
		out, err := r.kinesis.client.GetShardIterator(ctx, in)
		if err == nil {
			r.iterator = out.ShardIterator
		}
		return err
	})
	var invalid *types.InvalidArgumentException
	if r.after != "" && errors.As(err, &invalid) {
		return fmt.Errorf("%w: %w", ErrOtherStream, err)
	}
	return err
}
