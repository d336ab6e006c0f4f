package kinesis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/kinesis"
)

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func start(t *testing.T, cfg kinesis.Config) (*kinesis.Server, *api.Client) {
	t.Helper()
	s, err := kinesis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, client(t, web.URL)
}

// ownBody sends a copy of each request's body. The SDK closes the one it made as soon as an answer begins;
// where the transport is then still on its way out of writing it, it takes the end for an error and closes
// the connection under a long answer (aws-sdk-go-v2 issue 2737). The SDK's retries hide that, a client that
// tries once has none.
type ownBody struct{ *http.Transport }

func (t ownBody) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return t.Transport.RoundTrip(r)
}

// client makes a client that tries once, so that a test sees every error.
func client(t *testing.T, url string) *api.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return api.New(api.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: ownBody{transport}},
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", "")})
}

func create(t *testing.T, c *api.Client, stream string, shards int32) {
	t.Helper()
	_, err := c.CreateStream(t.Context(), &api.CreateStreamInput{StreamName: &stream, ShardCount: &shards})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
}

func putOnce(ctx context.Context, c *api.Client, stream, key, data string) (*api.PutRecordOutput, error) {
	return c.PutRecord(ctx, &api.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: []byte(data)})
}

func iteratorAt(t *testing.T, c *api.Client, stream, shard string) *string {
	t.Helper()
	out, err := c.GetShardIterator(t.Context(), &api.GetShardIteratorInput{StreamName: &stream, ShardId: &shard,
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	return out.ShardIterator
}

// drain reads a shard from its horizon to its tip.
func drain(t *testing.T, c *api.Client, stream, shard string) (all []types.Record) {
	t.Helper()
	it := iteratorAt(t, c, stream, shard)
	for it != nil {
		out, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out.Records...)
		if it = out.NextShardIterator; *out.MillisBehindLatest == 0 {
			break
		}
	}
	return all
}

// wantCode checks the type of an API error.
func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var got smithy.APIError
	if !errors.As(err, &got) || got.ErrorCode() != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

const shard0 = "shardId-000000000000"

func TestRetentionIteratorAgeAndTimestamps(t *testing.T) {
	now := newClock()
	cfg := kinesis.Config{Dir: t.TempDir(), Now: now.now, SegmentSize: 200, Retention: 2 * time.Hour}
	s, c := start(t, cfg)
	create(t, c, "fans", 1)
	for i := range 4 {
		if _, err := putOnce(t.Context(), c, "fans", "k", fmt.Sprintf("%d%s", i, strings.Repeat(".", 200))); err != nil {
			t.Fatal(err)
		}
		now.forward(time.Hour - time.Minute)
	}
	old := iteratorAt(t, c, "fans", shard0)
	at, err := c.GetShardIterator(t.Context(), &api.GetShardIteratorInput{StreamName: aws.String("fans"),
		ShardId:           aws.String(shard0),
		ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(now.now().Add(-2 * time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: at.ShardIterator, Limit: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	// They arrived at minute 0, 59, 118 and 177; it is minute 236 now.
	if len(out.Records) != 1 || out.Records[0].Data[0] != '2' {
		t.Fatalf("AT_TIMESTAMP of minute 116 gave %d records: %v", len(out.Records), out.Records)
	}
	if got, want := *out.MillisBehindLatest,
		now.now().Sub(*out.Records[0].ApproximateArrivalTimestamp).Milliseconds(); got != want {
		t.Errorf("behind by %d ms, want %d", got, want)
	}
	_, err = c.GetShardIterator(t.Context(), &api.GetShardIteratorInput{StreamName: aws.String("fans"),
		ShardId:           aws.String(shard0),
		ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(now.now().Add(time.Hour))})
	wantCode(t, "a time ahead", err, "InvalidArgumentException")

	now.forward(5*time.Minute + time.Second)
	_, err = c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: old})
	wantCode(t, "an old iterator", err, "ExpiredIteratorException")

	if err := s.Close(); err != nil { // the start trims
		t.Fatal(err)
	}
	_, c = start(t, cfg)
	left := drain(t, c, "fans", shard0)
	if len(left) != 1 || left[0].Data[0] != '3' {
		t.Errorf("%d records are left of 4 with a retention of 2 hours", len(left))
	}
}

func TestARestartKeepsStreamsShardsAndIterators(t *testing.T) {
	now := newClock()
	cfg := kinesis.Config{Dir: t.TempDir(), Now: now.now}
	s, c := start(t, cfg)
	for _, name := range []string{"one", "two", "gone"} {
		create(t, c, name, 2)
	}
	_, err := c.SplitShard(t.Context(), &api.SplitShardInput{StreamName: aws.String("two"),
		ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String("1000")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteStream(t.Context(), &api.DeleteStreamInput{StreamName: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	first, err := c.PutRecord(t.Context(), &api.PutRecordInput{StreamName: aws.String("two"),
		PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("5"), Data: []byte("before")})
	if err != nil {
		t.Fatal(err)
	}
	it := iteratorAt(t, c, "two", *first.ShardId)
	before, err := c.ListShards(t.Context(), &api.ListShardsInput{StreamName: aws.String("two")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.ListStreams(t.Context(), &api.ListStreamsInput{})
	wantCode(t, "a closed server", err, "ServiceUnavailableException")

	now.forward(-time.Hour) // a clock that was set back must not make numbers go back
	_, c = start(t, cfg)
	second, err := c.PutRecord(t.Context(), &api.PutRecordInput{StreamName: aws.String("two"),
		PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("5"), Data: []byte("after")})
	if err != nil {
		t.Fatal(err)
	}
	if *second.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("%s comes behind %s", *second.SequenceNumber, *first.SequenceNumber)
	}
	out, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: it})
	if err != nil || len(out.Records) != 2 || string(out.Records[0].Data)+string(out.Records[1].Data) != "beforeafter" {
		t.Errorf("an iterator from before the restart: %v, %v", out, err)
	}
	after, err := c.ListShards(t.Context(), &api.ListShardsInput{StreamName: aws.String("two")})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(len(before.Shards), *before.Shards[3].HashKeyRange.EndingHashKey,
		*before.Shards[0].SequenceNumberRange.EndingSequenceNumber) !=
		fmt.Sprint(len(after.Shards), *after.Shards[3].HashKeyRange.EndingHashKey,
			*after.Shards[0].SequenceNumberRange.EndingSequenceNumber) {
		t.Errorf("the shards changed over the restart")
	}
	names, err := c.ListStreams(t.Context(), &api.ListStreamsInput{})
	if err != nil || strings.Join(names.StreamNames, " ") != "one two" {
		t.Errorf("streams: %v, %v", names, err)
	}
}

func TestLimits(t *testing.T) {
	now := newClock()
	_, c := start(t, kinesis.Config{Dir: t.TempDir(), Now: now.now, Limits: kinesis.Limits{WriteBytes: 1 << 20,
		WriteRecords: 1000, ReadCalls: 5}, MaxShards: 2})
	create(t, c, "fans", 1)
	big := strings.Repeat("x", 600<<10)
	if _, err := putOnce(t.Context(), c, "fans", "k", big); err != nil {
		t.Fatal(err)
	}
	_, err := putOnce(t.Context(), c, "fans", "k", big)
	wantCode(t, "more than 1 MiB in a second", err, "ProvisionedThroughputExceededException")
	now.forward(time.Second)
	if _, err := putOnce(t.Context(), c, "fans", "k", big); err != nil {
		t.Errorf("a second later: %v", err)
	}
	now.forward(time.Second)
	var entries []types.PutRecordsRequestEntry
	for range 500 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("d")})
	}
	failed := int32(0)
	for range 3 {
		out, err := c.PutRecords(t.Context(), &api.PutRecordsInput{StreamName: aws.String("fans"), Records: entries})
		if err != nil {
			t.Fatal(err)
		}
		failed += *out.FailedRecordCount
	}
	if failed != 500 {
		t.Errorf("%d of 1500 records in a second failed, want 500", failed)
	}
	it := iteratorAt(t, c, "fans", shard0)
	for range 5 {
		if _, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: it})
	wantCode(t, "a sixth read in a second", err, "ProvisionedThroughputExceededException")
	_, err = c.CreateStream(t.Context(), &api.CreateStreamInput{StreamName: aws.String("more"), ShardCount: aws.Int32(2)})
	wantCode(t, "too many shards", err, "LimitExceededException")
}

func TestGetRecordsStopsAt10MiB(t *testing.T) {
	_, c := start(t, kinesis.Config{Dir: t.TempDir()})
	create(t, c, "fans", 1)
	for range 12 {
		if _, err := putOnce(t.Context(), c, "fans", "k", strings.Repeat("x", 1<<20-1)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: iteratorAt(t, c, "fans", shard0)})
	if err != nil || len(out.Records) != 10 {
		t.Fatalf("%d records, %v", len(out.Records), err)
	}
	out, err = c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: out.NextShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Records) != 2 || *out.MillisBehindLatest != 0 {
		t.Errorf("then %d records, %d ms behind", len(out.Records), *out.MillisBehindLatest)
	}
}

func TestStatusWhileSettling(t *testing.T) {
	now := newClock()
	_, c := start(t, kinesis.Config{Dir: t.TempDir(), Now: now.now, Settle: time.Second})
	create(t, c, "fans", 1)
	status := func() types.StreamStatus {
		out, err := c.DescribeStreamSummary(t.Context(), &api.DescribeStreamSummaryInput{StreamName: aws.String("fans")})
		if err != nil {
			t.Fatal(err)
		}
		return out.StreamDescriptionSummary.StreamStatus
	}
	if got := status(); got != "CREATING" {
		t.Errorf("at first it is %s", got)
	}
	_, err := putOnce(t.Context(), c, "fans", "k", "d")
	wantCode(t, "a put while CREATING", err, "ResourceNotFoundException")
	now.forward(time.Second)
	split := &api.SplitShardInput{StreamName: aws.String("fans"), ShardToSplit: aws.String(shard0),
		NewStartingHashKey: aws.String("1000")}
	if _, err := c.SplitShard(t.Context(), split); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != "UPDATING" {
		t.Errorf("after a split it is %s", got)
	}
	split.ShardToSplit = aws.String("shardId-000000000002")
	_, err = c.SplitShard(t.Context(), split)
	wantCode(t, "a split while UPDATING", err, "ResourceInUseException")
	if _, err = putOnce(t.Context(), c, "fans", "k", "d"); err != nil {
		t.Errorf("a put while UPDATING: %v", err)
	}
}

func TestAnExpiredShardIsNotListed(t *testing.T) {
	now := newClock()
	_, c := start(t, kinesis.Config{Dir: t.TempDir(), Now: now.now})
	create(t, c, "fans", 1)
	split := &api.SplitShardInput{StreamName: aws.String("fans"), ShardToSplit: aws.String(shard0),
		NewStartingHashKey: aws.String("1000")}
	if _, err := c.SplitShard(t.Context(), split); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{3, 2} {
		out, err := c.ListShards(t.Context(), &api.ListShardsInput{StreamName: aws.String("fans")})
		if err != nil || len(out.Shards) != want {
			t.Errorf("%d shards, want %d: %v", len(out.Shards), want, err)
		}
		now.forward(24*time.Hour + time.Second)
	}
}

func TestFaults(t *testing.T) {
	s, c := start(t, kinesis.Config{Dir: t.TempDir()})
	create(t, c, "fans", 1)
	set := func(f fault.Fault) {
		t.Helper()
		if err := s.Faults().Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	put := func() error { _, err := putOnce(t.Context(), c, "fans", "k", "d"); return err }
	set(fault.Fault{Kind: fault.Throttle, Operation: "PutRecord", Count: 2})
	wantCode(t, "throttle", put(), "ProvisionedThroughputExceededException")
	wantCode(t, "throttle", put(), "ProvisionedThroughputExceededException")
	if err := put(); err != nil {
		t.Errorf("the third call: %v", err)
	}
	set(fault.Fault{Kind: fault.Fail})
	wantCode(t, "internal", put(), "InternalFailureException")
	set(fault.Fault{Kind: fault.Expired, Operation: "GetRecords"})
	_, err := c.GetRecords(t.Context(), &api.GetRecordsInput{ShardIterator: iteratorAt(t, c, "fans", shard0)})
	wantCode(t, "expired", err, "ExpiredIteratorException")

	set(fault.Fault{Kind: fault.Cut, Operation: "PutRecord"})
	set(fault.Fault{Kind: fault.Lose, Operation: "PutRecord"})
	before := len(drain(t, c, "fans", shard0))
	var answered smithy.APIError
	if err := put(); err == nil || errors.As(err, &answered) {
		t.Errorf("a cut connection gave %v", err)
	}
	if got := len(drain(t, c, "fans", shard0)); got != before {
		t.Errorf("a call cut before it wrote %d records", got-before)
	}
	s.Faults().Clear()
	set(fault.Fault{Kind: fault.Lose, Operation: "PutRecord"})
	if err := put(); err == nil || errors.As(err, &answered) {
		t.Errorf("a connection cut after gave %v", err)
	}
	if got := len(drain(t, c, "fans", shard0)); got != before+1 {
		t.Errorf("a call cut after wrote %d records, want 1", got-before)
	}

	set(fault.Fault{Kind: fault.Partial, Every: 3})
	var entries []types.PutRecordsRequestEntry
	for range 7 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("d")})
	}
	out, err := c.PutRecords(t.Context(), &api.PutRecordsInput{StreamName: aws.String("fans"), Records: entries})
	if err != nil || *out.FailedRecordCount != 3 {
		t.Fatalf("partial: %v, %v", out, err)
	}
	for i, r := range out.Records {
		if (i%3 == 0) != (r.ErrorCode != nil) || (r.ErrorCode == nil) != (r.SequenceNumber != nil) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if err := s.Faults().Inject(fault.Fault{Kind: "fire"}); err == nil {
		t.Error("a fault of no known kind was set")
	}
}

// Writers and readers at once, with every answer waiting for fsync; the race detector watches.
func TestConcurrentWritersWithGroupCommit(t *testing.T) {
	_, c := start(t, kinesis.Config{Dir: t.TempDir(), SyncEvery: -1, SegmentSize: 4 << 10})
	create(t, c, "fans", 1)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for n := range 20 {
				if _, err := putOnce(t.Context(), c, "fans", "k", fmt.Sprint(w, " ", n)); err != nil {
					t.Error(err)
				}
				if n%5 == 0 {
					in := &api.GetRecordsInput{ShardIterator: iteratorAt(t, c, "fans", shard0)}
					if _, err := c.GetRecords(t.Context(), in); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	next := make(map[string]int)
	for _, r := range drain(t, c, "fans", shard0) {
		w, n, _ := strings.Cut(string(r.Data), " ")
		if n != fmt.Sprint(next[w]) {
			t.Errorf("writer %s: record %s, want %d", w, n, next[w])
		}
		next[w]++
	}
	if len(next) != 8 || next["0"] != 20 {
		t.Errorf("records by writer: %v", next)
	}
}
