package testsuite

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestReshardWhileItRuns splits both shards of the running system's stream and merges two of their children,
// while a fan is read whose alert is open: its models move on from parent to child, bit for bit.
func TestReshardWhileItRuns(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "2", "--no-faults")
	p := newPublisher(t, s, 1)
	p.publish(s, 100)
	p.rpm = 300
	p.publish(s, 20)
	alert := s.openAlert(p.fan, 30*time.Second)

	k := s.kinesis()
	name := aws.String(s.Stream)
	split := func(shard, at string) {
		if _, err := k.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: name, ShardToSplit: &shard,
			NewStartingHashKey: &at}); err != nil {
			t.Fatal(err)
		}
	}
	// 2^126 and 3*2^126: the middles of the halves that two shards have.
	split("shardId-000000000000", "85070591730234615865843651857942052864")
	s.active(k)
	p.publish(s, 50)
	split("shardId-000000000001", "255211775190703847597530955573826158592")
	s.active(k)
	p.publish(s, 50)
	if _, err := k.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: name,
		ShardToMerge:         aws.String("shardId-000000000003"),
		AdjacentShardToMerge: aws.String("shardId-000000000004")}); err != nil {
		t.Fatal(err)
	}
	s.active(k)
	p.publish(s, 50)

	s.landed(p)
	rows := landed(t, s.Dir)
	if len(rows) < 4 {
		t.Errorf("readings went through %d shards only", len(rows))
	}
	for seq, n := range p.count(rows) {
		if n != 1 {
			t.Errorf("reading %d was landed %d times", seq, n)
		}
	}
	replay(t, rows, map[string][]string{
		"shardId-000000000002": {"shardId-000000000000"}, "shardId-000000000003": {"shardId-000000000000"},
		"shardId-000000000004": {"shardId-000000000001"}, "shardId-000000000005": {"shardId-000000000001"},
		"shardId-000000000006": {"shardId-000000000003", "shardId-000000000004"},
	})
	s.reconciled(p.fan, int(p.acked))
	if a := s.openAlert(p.fan, 10*time.Second); a.ID != alert.ID {
		t.Errorf("another alert is open: %s, was %s", a.ID, alert.ID)
	}
}

// kinesis gives a client of the local Kinesis.
func (s *system) kinesis() *kinesis.Client {
	s.t.Helper()
	text, err := os.ReadFile(s.Keys)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := strings.Fields(string(text))
	return kinesis.New(kinesis.Options{Region: s.Region, BaseEndpoint: &s.AWS,
		Credentials: credentials.NewStaticCredentialsProvider(keys[0], keys[1], "")})
}

// active waits until the stream has done with its last change.
func (s *system) active(k *kinesis.Client) {
	s.t.Helper()
	s.until(20*time.Second, "the stream ACTIVE", func() (bool, string) {
		out, err := k.DescribeStreamSummary(s.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &s.Stream})
		if err != nil {
			return false, err.Error()
		}
		st := out.StreamDescriptionSummary.StreamStatus
		return st == types.StreamStatusActive, fmt.Sprint(st)
	})
}
