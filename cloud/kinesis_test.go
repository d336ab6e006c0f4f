package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	api "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/kinesis"
)

const kinesisHalf = "170141183460469231731687303715884105728" // 2^127

func localKinesis(t *testing.T, cfg kinesis.Config) (*kinesis.Server, *Kinesis) {
	t.Helper()
	cfg.Dir = t.TempDir()
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
	c, err := Config(t.Context(), Settings{Local: true, AccessKey: "local", SecretKey: "local",
		Endpoints: []string{web.URL}})
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKinesis(c, web.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// readShard reads until n records are there or the shard ends.
func readShard(t *testing.T, r *Reader, n int) (records []Record, last Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(records) < n || n < 0 {
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %d records: %v", len(records), err)
		}
		records, last = append(records, b.Records...), b
		if b.Closed {
			break
		}
	}
	return records, last
}

func faultKinesis(t *testing.T, s *kinesis.Server, f fault.Fault) {
	t.Helper()
	if err := s.Faults().Inject(f); err != nil {
		t.Fatal(err)
	}
}

func TestKinesisGivesUpWithTheContextAndAtOnceWhenItIsNoUse(t *testing.T) {
	s, k := localKinesis(t, kinesis.Config{})
	if err := k.CreateStream(t.Context(), "fans", 1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Put(t.Context(), "nowhere", "a", []byte("1")); !kinesisSays[*types.ResourceNotFoundException](err) {
		t.Errorf("no such stream: %v", err)
	}
	if _, err := k.Read("nowhere", "shardId-000000000000", "",
		ReadOptions{}).Next(t.Context()); !kinesisSays[*types.ResourceNotFoundException](err) {
		t.Errorf("reading no such stream: %v", err)
	}
	if _, err := k.Read("fans", "shardId-000000000000", "12",
		ReadOptions{}).Next(t.Context()); !kinesisSays[*types.InvalidArgumentException](err) {
		t.Errorf("reading behind a number of no shard: %v", err)
	}
	if _, _, err := k.Put(t.Context(), "fans", "", nil); err == nil {
		t.Error("an empty partition key was taken")
	}
	faultKinesis(t, s, fault.Fault{Kind: fault.Throttle, Operation: "PutRecord", Count: 1000})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := k.Put(ctx, "fans", "a", []byte("1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a shard that always throttles: %v", err)
	}
}

func kinesisSays[E smithy.APIError](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestKinesisCreateStreamIsIdempotentAndWaits(t *testing.T) {
	_, k := localKinesis(t, kinesis.Config{Settle: 300 * time.Millisecond})
	for range 2 {
		if err := k.CreateStream(t.Context(), "fans", 2); err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.Put(t.Context(), "fans", "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	shards, err := k.Shards(t.Context(), "fans")
	if err != nil || len(shards) != 2 || shards[1].StartHash != kinesisHalf || shards[0].Closed || shards[0].Last != "" ||
		shards[0].First == "" {
		t.Errorf("shards %+v, %v", shards, err)
	}
}

func TestKinesisReaderGoesOnWhateverHappens(t *testing.T) {
	s, k := localKinesis(t, kinesis.Config{})
	ctx := t.Context()
	if err := k.CreateStream(ctx, "fans", 1); err != nil {
		t.Fatal(err)
	}
	const shard = "shardId-000000000000"
	r := k.Read("fans", shard, "0", ReadOptions{Poll: minPoll, Limit: 3})
	var sequences []string
	for i := range 20 {
		_, seq, err := k.Put(ctx, "fans", "a", fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		sequences = append(sequences, seq)
	}
	var all []Record
	for _, kind := range []fault.Kind{fault.Expired, fault.Throttle, fault.Cut, fault.Lose, fault.Fail, fault.Expired} {
		faultKinesis(t, s, fault.Fault{Kind: kind, Operation: "GetRecords"})
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		all = append(all, b.Records...)
	}
	rest, last := readShard(t, r, 20-len(all))
	all = append(all, rest...)
	for i, rec := range all {
		if rec.Sequence != sequences[i] || string(rec.Data) != fmt.Sprint(i) || rec.PartitionKey != "a" ||
			time.Since(rec.Arrived) > time.Minute {
			t.Errorf("record %d: %+v", i, rec)
		}
	}
	if last.MillisBehindLatest != 0 || last.Closed {
		t.Errorf("the last batch: %+v", last)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	if got, _ := readShard(t, k.Read("fans", shard, sequences[14], ReadOptions{}), 5); len(got) != 5 ||
		got[0].Sequence != sequences[15] {
		t.Errorf("behind the 15th: %+v", got)
	}
}

// TestKinesisSaysThatAStreamWasMadeAnew: a number of the stream before is refused as that, and the creation time is
// another.
func TestKinesisSaysThatAStreamWasMadeAnew(t *testing.T) {
	now := time.Now()
	_, k := localKinesis(t, kinesis.Config{Now: func() time.Time { return now }})
	ctx := t.Context()
	var created [2]time.Time
	var sequence string
	for i := range 2 {
		if err := k.CreateStream(ctx, "fans", 1); err != nil {
			t.Fatal(err)
		}
		var err error
		if created[i], err = k.Created(ctx, "fans"); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			break
		}
		if _, sequence, err = k.Put(ctx, "fans", "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := k.client.DeleteStream(ctx, &api.DeleteStreamInput{StreamName: aws.String("fans")}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	if !created[1].After(created[0]) {
		t.Errorf("created at %v", created)
	}
	shards, err := k.Shards(ctx, "fans")
	if err != nil || shards[0].First <= sequence {
		t.Errorf("%+v, %v: a number of before is %s", shards, err, sequence)
	}
	if _, err := k.Read("fans", shards[0].ID, sequence, ReadOptions{}).Next(ctx); !errors.Is(err, ErrOtherStream) {
		t.Errorf("behind a number of before: %v, want ErrOtherStream", err)
	}
}

// slow lets so many bytes a second through.
type slow struct {
	http.ResponseWriter
	rate int
}

func (s slow) Write(b []byte) (n int, err error) {
	for part := range slices.Chunk(b, 4096) {
		time.Sleep(time.Second * time.Duration(len(part)) / time.Duration(s.rate))
		m, err := s.ResponseWriter.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// TestKinesisReaderGetsThroughASlowLink: an answer that does not come to its end in time is asked for in smaller
// parts.
func TestKinesisReaderGetsThroughASlowLink(t *testing.T) {
	s, k := localKinesis(t, kinesis.Config{})
	if err := k.CreateStream(t.Context(), "fans", 1); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, _, err := k.Put(t.Context(), "fans", "a", make([]byte, 50_000)); err != nil {
			t.Fatal(err)
		}
	}
	link := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		s.ServeHTTP(slow{w, 1 << 20}, r)
	}))
	defer link.Close()
	c, err := Config(t.Context(), Settings{Local: true, AccessKey: "local", SecretKey: "local",
		Endpoints: []string{link.URL}})
	if err != nil {
		t.Fatal(err)
	}
	far, err := NewKinesis(c, link.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := far.Read("fans", "shardId-000000000000", "0", ReadOptions{Poll: minPoll, Limit: 100})
	read := 0
	for end := time.Now().Add(30 * time.Second); read < 20 && time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond) // whole, it takes 1.3 s
		b, err := r.Next(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		read += len(b.Records)
	}
	if read != 20 {
		t.Errorf("%d records read, want 20", read)
	}
}

func TestKinesisReaderFollowsASplitAndAMerge(t *testing.T) {
	_, k := localKinesis(t, kinesis.Config{})
	ctx := t.Context()
	if err := k.CreateStream(ctx, "fans", 1); err != nil {
		t.Fatal(err)
	}
	const parent = "shardId-000000000000"
	write := func(n int) {
		t.Helper()
		for i := range 16 {
			if _, _, err := k.Put(ctx, "fans", fmt.Sprint("fan-", i), fmt.Append(nil, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0)
	if _, err := k.client.SplitShard(ctx, &api.SplitShardInput{StreamName: aws.String("fans"),
		ShardToSplit: aws.String(parent), NewStartingHashKey: aws.String(kinesisHalf)}); err != nil {
		t.Fatal(err)
	}
	write(1)
	r := k.Read("fans", parent, "", ReadOptions{Poll: minPoll})
	before, end := readShard(t, r, -1)
	if len(before) != 16 || !end.Closed || strings.Join(end.Children, " ") != "shardId-000000000001 shardId-000000000002" {
		t.Errorf("the parent gave %d records and %+v", len(before), end)
	}
	if _, err := r.Next(ctx); err != io.EOF {
		t.Errorf("behind the end: %v", err)
	}
	// A reader that had already read all of it learns of the end as well.
	if b, err := k.Read("fans", parent, before[15].Sequence, ReadOptions{}).Next(ctx); err != nil || !b.Closed ||
		len(b.Children) != 2 {
		t.Errorf("from the last record on: %+v, %v", b, err)
	}
	if _, err := k.client.MergeShards(ctx, &api.MergeShardsInput{StreamName: aws.String("fans"),
		ShardToMerge: &end.Children[0], AdjacentShardToMerge: &end.Children[1]}); err != nil {
		t.Fatal(err)
	}
	write(2)
	children := 0
	for _, c := range end.Children {
		records, end := readShard(t, k.Read("fans", c, "", ReadOptions{Poll: minPoll}), -1)
		if children += len(records); strings.Join(end.Children, " ") != "shardId-000000000003" || len(records) == 0 {
			t.Errorf("%s gave %d records and %+v", c, len(records), end)
		}
		if len(records[0].Sequence) != 56 || records[0].Sequence <= before[15].Sequence {
			t.Errorf("%s of a child is not above its parent's %s", records[0].Sequence, before[15].Sequence)
		}
	}
	last, _ := readShard(t, k.Read("fans", "shardId-000000000003", "", ReadOptions{Poll: minPoll}), 16)
	if children != 16 || len(last) != 16 {
		t.Errorf("%d records in the children, %d in the merged shard, want 16 each", children, len(last))
	}
	shards, err := k.Shards(ctx, "fans")
	if err != nil || len(shards) != 4 {
		t.Fatalf("shards: %+v, %v", shards, err)
	}
	if got := fmt.Sprint(shards[1].Parents, shards[3].Parents, shards[0].Closed, shards[3].Closed, shards[0].Last != "",
		shards[2].StartHash == kinesisHalf); got !=
		"[shardId-000000000000] [shardId-000000000001 shardId-000000000002] true false true true" {
		t.Error(got)
	}
}
