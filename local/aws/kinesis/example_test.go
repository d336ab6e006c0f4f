package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/kinesis"
)

// A test of a program that writes to Kinesis: the program's own client speaks to the server, and the test sees what it
// does when a shard takes no more.
func Example() {
	dir, err := os.MkdirTemp("", "kinesis")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := kinesis.New(kinesis.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()

	client := api.New(api.Options{Region: "us-east-1", BaseEndpoint: &web.URL,
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""), Retryer: aws.NopRetryer{}})
	ctx := context.Background()
	_, err = client.CreateStream(ctx, &api.CreateStreamInput{StreamName: aws.String("fans"), ShardCount: aws.Int32(1)})
	fmt.Println("create:", err)

	err = server.Faults().Inject(fault.Fault{Kind: fault.Throttle, Operation: "PutRecord"})
	fmt.Println("inject:", err)
	put := &api.PutRecordInput{StreamName: aws.String("fans"), PartitionKey: aws.String("fan-01"), Data: []byte("{}")}
	_, err = client.PutRecord(ctx, put)
	var refused smithy.APIError
	if errors.As(err, &refused) {
		fmt.Println("put:", refused.ErrorCode())
	}
	out, err := client.PutRecord(ctx, put)
	fmt.Println("put again:", *out.ShardId, err)

	// Output:
	// create: <nil>
	// inject: <nil>
	// put: ProvisionedThroughputExceededException
	// put again: shardId-000000000000 <nil>
}
