package kinesis_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"fanwatch/local/aws/kinesis"
)

// The figures hold the SDK's own work, the loopback connection and the server.

func benchServer(b *testing.B, cfg kinesis.Config) *api.Client {
	cfg.Dir = b.TempDir()
	s, err := kinesis.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	web := httptest.NewServer(s)
	b.Cleanup(func() { web.Close(); _ = s.Close() })
	c := api.New(api.Options{Region: "us-east-1", BaseEndpoint: &web.URL,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", "")})
	if _, err := c.CreateStream(b.Context(), &api.CreateStreamInput{StreamName: aws.String("fans"),
		ShardCount: aws.Int32(2)}); err != nil {
		b.Fatal(err)
	}
	return c
}

// benchRecords are records of 400 bytes, about a batch of ten readings, of 20 fans.
func benchRecords(n int) (all []types.PutRecordsRequestEntry) {
	for i := range n {
		all = append(all, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprintf("fan-%02d", i%20)),
			Data: make([]byte, 400)})
	}
	return all
}

func BenchmarkPutRecord(b *testing.B) {
	for name, every := range map[string]time.Duration{"timer": 0, "fsync": -1} {
		b.Run(name, func(b *testing.B) {
			c := benchServer(b, kinesis.Config{SyncEvery: every})
			for b.Loop() {
				if _, err := c.PutRecord(b.Context(), &api.PutRecordInput{StreamName: aws.String("fans"),
					PartitionKey: aws.String("k"), Data: make([]byte, 400)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPutRecords500(b *testing.B) {
	c, entries := benchServer(b, kinesis.Config{}), benchRecords(500)
	for b.Loop() {
		if _, err := c.PutRecords(b.Context(), &api.PutRecordsInput{StreamName: aws.String("fans"),
			Records: entries}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkGetRecords(b *testing.B) {
	c := benchServer(b, kinesis.Config{})
	for range 60 {
		if _, err := c.PutRecords(b.Context(), &api.PutRecordsInput{StreamName: aws.String("fans"),
			Records: benchRecords(500)}); err != nil {
			b.Fatal(err)
		}
	}
	for name, kind := range map[string]types.ShardIteratorType{"tip": types.ShardIteratorTypeLatest,
		"10000": types.ShardIteratorTypeTrimHorizon} {
		b.Run(name, func(b *testing.B) {
			it, err := c.GetShardIterator(b.Context(), &api.GetShardIteratorInput{StreamName: aws.String("fans"),
				ShardId: aws.String("shardId-000000000001"), ShardIteratorType: kind})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := c.GetRecords(b.Context(), &api.GetRecordsInput{ShardIterator: it.ShardIterator}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
