package conformance_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	localkinesis "fanwatch/local/aws/kinesis"
)

func TestKinesis(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		s, err := localkinesis.New(localkinesis.Config{Dir: t.TempDir()})
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
		kinesisCases(t, kinesis.New(kinesis.Options{Region: "us-east-1", BaseEndpoint: &web.URL,
			Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}))
	})
	t.Run("aws", func(t *testing.T) {
		if os.Getenv("FANWATCH_CONFORMANCE_AWS") != "1" {
			t.Skip("skipped: FANWATCH_CONFORMANCE_AWS is not 1, so the real AWS is left alone")
		}
		cfg, err := config.LoadDefaultConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		kinesisCases(t, kinesis.NewFromConfig(cfg))
	})
}

func kinesisCases(t *testing.T, c *kinesis.Client) {
	for name, run := range map[string]func(*testing.T, *kinesis.Client){
		"streams":         kinesisStreams,
		"put and read":    kinesisPutAndRead,
		"put records":     kinesisPutRecords,
		"iterators":       kinesisIterators,
		"split and merge": kinesisSplitAndMerge,
		"refusals":        kinesisRefusals,
		"unknown things":  kinesisUnknown,
	} {
		t.Run(name, func(t *testing.T) { run(t, c) })
	}
}

func kinesisStreams(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 3)
	out, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if err != nil {
		t.Fatal(err)
	}
	d := out.StreamDescriptionSummary
	if *d.OpenShardCount != 3 || *d.RetentionPeriodHours != 24 || !strings.HasSuffix(*d.StreamARN, ":stream/"+stream) ||
		d.StreamModeDetails.StreamMode != types.StreamModeProvisioned || d.StreamCreationTimestamp.IsZero() {
		t.Errorf("summary: %+v", d)
	}
	byARN, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamARN: d.StreamARN})
	if err != nil || *byARN.StreamDescriptionSummary.StreamName != stream {
		t.Errorf("by its ARN: %v", err)
	}
	_, err = c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(1)})
	kinesisWant(t, "creating it again", err, "ResourceInUseException")
	shards := kinesisShards(t, c, stream)
	if *shards[0].HashKeyRange.StartingHashKey != "0" ||
		*shards[2].HashKeyRange.EndingHashKey != "340282366920938463463374607431768211455" {
		t.Errorf("the ring goes from %s to %s", *shards[0].HashKeyRange.StartingHashKey,
			*shards[2].HashKeyRange.EndingHashKey)
	}
	for i, s := range shards {
		if *s.ShardId != fmt.Sprintf("shardId-%012d", i) || s.ParentShardId != nil ||
			len(*s.SequenceNumberRange.StartingSequenceNumber) != 56 || s.SequenceNumberRange.EndingSequenceNumber != nil {
			t.Errorf("shard %d: %s %+v", i, *s.ShardId, s.SequenceNumberRange)
		}
		if i > 0 && kinesisInt(t, *shards[i-1].HashKeyRange.EndingHashKey).Add(kinesisInt(t,
			*shards[i-1].HashKeyRange.EndingHashKey), big.NewInt(1)).String() != *s.HashKeyRange.StartingHashKey {
			t.Errorf("shard %d does not begin where shard %d ends", i, i-1)
		}
	}
	page, err := c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream, MaxResults: aws.Int32(2)})
	if err != nil || len(page.Shards) != 2 || page.NextToken == nil {
		t.Fatalf("the first page: %v", err)
	}
	page, err = c.ListShards(t.Context(), &kinesis.ListShardsInput{NextToken: page.NextToken, MaxResults: aws.Int32(2)})
	if err != nil || len(page.Shards) != 1 || page.NextToken != nil {
		t.Errorf("the second page: %v", err)
	}
	page, err = c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream,
		ExclusiveStartShardId: shards[0].ShardId})
	if err != nil || len(page.Shards) != 2 {
		t.Errorf("behind the first shard: %v", err)
	}
	found := false
	pages := kinesis.NewListStreamsPaginator(c, &kinesis.ListStreamsInput{Limit: aws.Int32(1)})
	for !found && pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = len(p.StreamNames) == 1 && p.StreamNames[0] == stream
	}
	if !found {
		t.Error("ListStreams does not have the stream")
	}
}

func kinesisPutAndRead(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 2)
	shards := kinesisShards(t, c, stream)
	began := time.Now().Add(-time.Minute) // clocks differ
	var previous *string
	for i := range 10 {
		out, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("abc"),
			Data: fmt.Append(nil, i), SequenceNumberForOrdering: previous})
		if err != nil {
			t.Fatal(err)
		}
		// MD5 ("abc") begins with 9 (RFC 1321, A.5), so the second half of the ring has it.
		if *out.ShardId != *shards[1].ShardId || len(*out.SequenceNumber) != 56 ||
			(previous != nil && *out.SequenceNumber <= *previous) {
			t.Errorf("record %d: %s %s", i, *out.ShardId, *out.SequenceNumber)
		}
		previous = out.SequenceNumber
	}
	records := kinesisRead(t, c, kinesisIterator(t, c, stream, *shards[1].ShardId, types.ShardIteratorTypeTrimHorizon, "",
		nil), 10)
	for i, r := range records {
		if string(r.Data) != fmt.Sprint(i) || *r.PartitionKey != "abc" || r.ApproximateArrivalTimestamp.Before(began) {
			t.Errorf("record %d: %s %s %s", i, *r.SequenceNumber, *r.PartitionKey, r.Data)
		}
	}
	if *records[9].SequenceNumber != *previous {
		t.Errorf("the last is %s, PutRecord said %s", *records[9].SequenceNumber, *previous)
	}
	// The other shard has none of them; an explicit hash key goes before the partition key.
	_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("abc"),
		ExplicitHashKey: aws.String("0"), Data: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	records = kinesisRead(t, c, kinesisIterator(t, c, stream, *shards[0].ShardId, types.ShardIteratorTypeTrimHorizon, "",
		nil), 1)
	if len(records) != 1 || len(records[0].Data) != 0 {
		t.Errorf("the first shard has %d records", len(records))
	}
	out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: kinesisIterator(t, c, stream,
		*shards[1].ShardId, types.ShardIteratorTypeTrimHorizon, "", nil), Limit: aws.Int32(4)})
	if err != nil || len(out.Records) > 4 || out.NextShardIterator == nil || out.ChildShards != nil {
		t.Errorf("with a limit of 4: %v", err)
	}
}

func kinesisPutRecords(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 2)
	shards := kinesisShards(t, c, stream)
	var entries []types.PutRecordsRequestEntry
	for i := range 500 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("fan-", i%7)),
			Data: fmt.Append(nil, i)})
	}
	out, err := c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: entries})
	if err != nil || len(out.Records) != 500 || *out.FailedRecordCount != 0 {
		t.Fatalf("PutRecords: %v", err)
	}
	count := make(map[string]int)
	sent := make(map[string]string)
	for i, r := range out.Records {
		count[*r.ShardId]++
		sent[*r.SequenceNumber] = string(entries[i].Data)
	}
	for _, s := range shards {
		if count[*s.ShardId] == 0 {
			t.Errorf("%s got nothing of 7 keys", *s.ShardId)
			continue
		}
		records := kinesisRead(t, c, kinesisIterator(t, c, stream, *s.ShardId, types.ShardIteratorTypeTrimHorizon, "", nil),
			count[*s.ShardId])
		for _, r := range records {
			if sent[*r.SequenceNumber] != string(r.Data) {
				t.Errorf("%s is %s, sent %s", *r.SequenceNumber, r.Data, sent[*r.SequenceNumber])
			}
		}
	}
}

func kinesisIterators(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 2)
	shard := *kinesisShards(t, c, stream)[0].ShardId
	latest := kinesisIterator(t, c, stream, shard, types.ShardIteratorTypeLatest, "", nil)
	var sequences []string
	for i := range 4 {
		out, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"),
			ExplicitHashKey: aws.String("1"), Data: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		sequences = append(sequences, *out.SequenceNumber)
		time.Sleep(20 * time.Millisecond) // arrival times differ: they have milliseconds
	}
	all := kinesisRead(t, c, latest, 4)
	at := func(n int) *time.Time { return all[n].ApproximateArrivalTimestamp }
	for _, i := range []struct {
		kind     types.ShardIteratorType
		sequence string
		time     *time.Time
		first    int
	}{
		{types.ShardIteratorTypeTrimHorizon, "", nil, 0},
		{types.ShardIteratorTypeAtSequenceNumber, sequences[2], nil, 2},
		{types.ShardIteratorTypeAfterSequenceNumber, sequences[2], nil, 3},
		{types.ShardIteratorTypeAtTimestamp, "", at(1), 1},
		{types.ShardIteratorTypeAtTimestamp, "", aws.Time(at(0).Add(-time.Hour)), 0},
	} {
		it := kinesisIterator(t, c, stream, shard, i.kind, i.sequence, i.time)
		if got := kinesisRead(t, c, it, 4-i.first); len(got) != 4-i.first || *got[0].SequenceNumber != sequences[i.first] {
			t.Errorf("%s %s %v: %d records", i.kind, i.sequence, i.time, len(got))
		}
	}
	get := func(kind types.ShardIteratorType, sequence *string, at *time.Time) error {
		_, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard,
			ShardIteratorType: kind, StartingSequenceNumber: sequence, Timestamp: at})
		return err
	}
	kinesisWant(t, "AT_SEQUENCE_NUMBER without one", get(types.ShardIteratorTypeAtSequenceNumber, nil, nil),
		"InvalidArgumentException")
	kinesisWant(t, "LATEST with a number", get(types.ShardIteratorTypeLatest, &sequences[0], nil),
		"InvalidArgumentException")
	kinesisWant(t, "a number of no stream", get(types.ShardIteratorTypeAtSequenceNumber, aws.String("0"), nil),
		"InvalidArgumentException")
	kinesisWant(t, "a time ahead", get(types.ShardIteratorTypeAtTimestamp, nil, aws.Time(time.Now().Add(24*time.Hour))),
		"InvalidArgumentException")
	kinesisWant(t, "no such type", get("FIRST", nil, nil), "ValidationException")
	other := "shardId-000000000001"
	_, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &other,
		ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &sequences[0]})
	kinesisWant(t, "a number of another shard", err, "InvalidArgumentException")
}

func kinesisSplitAndMerge(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 1)
	parent := *kinesisShards(t, c, stream)[0].ShardId
	put := func() {
		t.Helper()
		for _, hash := range []string{"5", "170141183460469231731687303715884105729"} { // one in each half
			if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"),
				ExplicitHashKey: &hash, Data: []byte(hash)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	const middle = "170141183460469231731687303715884105728"
	split := &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: &parent, NewStartingHashKey: aws.String("0")}
	_, err := c.SplitShard(t.Context(), split)
	kinesisWant(t, "a split at the start of the range", err, "InvalidArgumentException")
	split.NewStartingHashKey = aws.String(middle)
	if _, err := c.SplitShard(t.Context(), split); err != nil {
		t.Fatal(err)
	}
	kinesisActive(t, c, stream)
	_, err = c.SplitShard(t.Context(), split)
	kinesisWant(t, "a split of a closed shard", err, "InvalidArgumentException")
	put()
	shards := kinesisShards(t, c, stream)
	if len(shards) != 3 || shards[0].SequenceNumberRange.EndingSequenceNumber == nil ||
		*shards[1].ParentShardId != parent || *shards[2].HashKeyRange.StartingHashKey != middle {
		t.Fatalf("after the split there are %d shards: %+v", len(shards), shards)
	}
	children := kinesisEnd(t, c, stream, parent, 2)
	if len(children) != 2 || *children[0].ShardId != *shards[1].ShardId || children[0].ParentShards[0] != parent ||
		*children[1].HashKeyRange.StartingHashKey != middle {
		t.Errorf("the parent's children: %+v", children)
	}
	// All of a child's numbers are above all of its parent's.
	if end := *shards[0].SequenceNumberRange.EndingSequenceNumber; kinesisInt(t,
		*shards[1].SequenceNumberRange.StartingSequenceNumber).Cmp(kinesisInt(t, end)) <= 0 {
		t.Errorf("the child begins at %s, the parent ends at %s", *shards[1].SequenceNumberRange.StartingSequenceNumber, end)
	}
	merge := &kinesis.MergeShardsInput{StreamName: &stream, ShardToMerge: shards[1].ShardId,
		AdjacentShardToMerge: shards[1].ShardId}
	_, err = c.MergeShards(t.Context(), merge)
	kinesisWant(t, "a merge of a shard with itself", err, "InvalidArgumentException")
	merge.AdjacentShardToMerge = shards[2].ShardId
	if _, err := c.MergeShards(t.Context(), merge); err != nil {
		t.Fatal(err)
	}
	kinesisActive(t, c, stream)
	put()
	merged := kinesisShards(t, c, stream)[3]
	if *merged.ParentShardId != *shards[1].ShardId || *merged.AdjacentParentShardId != *shards[2].ShardId {
		t.Errorf("the merged shard: %+v", merged)
	}
	for _, s := range shards[1:] {
		if children := kinesisEnd(t, c, stream, *s.ShardId, 1); len(children) != 1 ||
			*children[0].ShardId != *merged.ShardId || len(children[0].ParentShards) != 2 {
			t.Errorf("the children of %s: %+v", *s.ShardId, children)
		}
	}
	if got := kinesisRead(t, c, kinesisIterator(t, c, stream, *merged.ShardId, types.ShardIteratorTypeTrimHorizon, "",
		nil), 2); len(got) != 2 {
		t.Errorf("the merged shard has %d records", len(got))
	}
}

func kinesisRefusals(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 1)
	put := func(key string, size int, hash *string) error {
		_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &key,
			Data: make([]byte, size), ExplicitHashKey: hash})
		return err
	}
	kinesisWant(t, "an empty partition key", put("", 1, nil), "ValidationException")
	kinesisWant(t, "a partition key of 257 characters", put(strings.Repeat("k", 257), 1, nil), "ValidationException")
	kinesisWant(t, "a hash key of 2^128", put("k", 1, aws.String("340282366920938463463374607431768211456")),
		"InvalidArgumentException")
	kinesisWant(t, "a hash key that is no number", put("k", 1, aws.String("x")), "ValidationException")
	kinesisWant(t, "data above 1 MiB", put("k", 1<<20+1, nil), "ValidationException", "InvalidArgumentException")
	if err := put(strings.Repeat("\u00e4", 256), 1, nil); err != nil {
		t.Errorf("a partition key of 256 characters in 512 bytes: %v", err)
	}
	entry := types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("d")}
	many := make([]types.PutRecordsRequestEntry, 501)
	for i := range many {
		many[i] = entry
	}
	_, err := c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: many})
	kinesisWant(t, "501 records", err, "ValidationException")
	_, err = c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream,
		Records: []types.PutRecordsRequestEntry{}})
	kinesisWant(t, "no records", err, "ValidationException")
	it := kinesisIterator(t, c, stream, "shardId-000000000000", types.ShardIteratorTypeLatest, "", nil)
	_, err = c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(10001)})
	kinesisWant(t, "a limit of 10001", err, "InvalidArgumentException", "ValidationException")
	_, err = c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: aws.String("rubbish")})
	kinesisWant(t, "an iterator of rubbish", err, "InvalidArgumentException")
	_, err = c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("a/b"),
		ShardCount: aws.Int32(1)})
	kinesisWant(t, "a name with a slash", err, "ValidationException")
	_, err = c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(stream + "x"),
		ShardCount: aws.Int32(0)})
	kinesisWant(t, "no shards", err, "ValidationException")
}

func kinesisUnknown(t *testing.T, c *kinesis.Client) {
	stream := kinesisStream(t, c, 1)
	no, shard := aws.String(stream+"-no"), aws.String("shardId-000000000007")
	missing := func(what string, err error) { t.Helper(); kinesisWant(t, what, err, "ResourceNotFoundException") }
	_, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: no})
	missing("DescribeStreamSummary", err)
	_, err = c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: no})
	missing("ListShards", err)
	_, err = c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: no, PartitionKey: aws.String("k"),
		Data: []byte("d")})
	missing("PutRecord", err)
	_, err = c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: shard,
		ShardIteratorType: types.ShardIteratorTypeLatest})
	missing("GetShardIterator of a shard", err)
	_, err = c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: shard,
		NewStartingHashKey: aws.String("7")})
	missing("SplitShard of a shard", err)
	_, err = c.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: no, ShardToMerge: shard,
		AdjacentShardToMerge: shard})
	missing("MergeShards", err)
	_, err = c.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: no})
	missing("DeleteStream", err)
}

// kinesisStream makes a stream for one test and deletes it behind it.
func kinesisStream(t *testing.T, c *kinesis.Client, shards int32) string {
	t.Helper()
	stream := "fanwatch-conformance-" + strings.ToLower(rand.Text()[:10])
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream,
		ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the test's own context has ended
		if _, err := c.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &stream}); err != nil {
			t.Errorf("deleting %s: %v; delete it by hand, it costs money", stream, err)
		}
	})
	kinesisActive(t, c, stream)
	return stream
}

func kinesisActive(t *testing.T, c *kinesis.Client, stream string) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		out, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
		if err != nil {
			t.Fatal(err)
		}
		if out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			return
		}
	}
	t.Fatalf("%s does not become ACTIVE", stream)
}

func kinesisShards(t *testing.T, c *kinesis.Client, stream string) []types.Shard {
	t.Helper()
	out, err := c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		t.Fatal(err)
	}
	return out.Shards
}

func kinesisIterator(t *testing.T, c *kinesis.Client, stream, shard string, kind types.ShardIteratorType,
	sequence string, at *time.Time) *string {
	t.Helper()
	in := &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard, ShardIteratorType: kind, Timestamp: at}
	if sequence != "" {
		in.StartingSequenceNumber = &sequence
	}
	out, err := c.GetShardIterator(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.ShardIterator
}

// kinesisRead reads n records; on AWS a read may well give none though there are some.
func kinesisRead(t *testing.T, c *kinesis.Client, it *string, n int) (all []types.Record) {
	t.Helper()
	for end := time.Now().Add(time.Minute); len(all) < n && it != nil; time.Sleep(250 * time.Millisecond) {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		if all, it = append(all, out.Records...), out.NextShardIterator; time.Now().After(end) || len(all) >= n {
			break
		}
	}
	if len(all) != n {
		t.Fatalf("%d records, want %d", len(all), n)
	}
	return all
}

// kinesisEnd reads a closed shard of n records to its end and gives its children.
func kinesisEnd(t *testing.T, c *kinesis.Client, stream, shard string, n int) []types.ChildShard {
	t.Helper()
	it := kinesisIterator(t, c, stream, shard, types.ShardIteratorTypeTrimHorizon, "", nil)
	got := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		got += len(out.Records)
		if it = out.NextShardIterator; it == nil {
			if got != n {
				t.Errorf("%s had %d records, want %d", shard, got, n)
			}
			return out.ChildShards
		}
	}
	t.Fatalf("%s does not end", shard)
	return nil
}

func kinesisInt(t *testing.T, decimal string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok {
		t.Fatalf("%q is not a number", decimal)
	}
	return n
}

// kinesisWant checks that the error has one of the types.
func kinesisWant(t *testing.T, what string, err error, codes ...string) {
	t.Helper()
	var got smithy.APIError
	if errors.As(err, &got) {
		for _, code := range codes {
			if got.ErrorCode() == code {
				return
			}
		}
	}
	t.Errorf("%s: got %v, want %s", what, err, strings.Join(codes, " or "))
}
