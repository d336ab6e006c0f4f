package iotcore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"

	"fanwatch/local/aws/iotcore"
)

// A test of a topic rule: what is published to its topic arrives on the stream as the rule's SQL makes it.
func Example() {
	dir, err := os.MkdirTemp("", "iotcore")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := iotcore.New(iotcore.Config{Dir: dir, MQTTAddr: "127.0.0.1:0",
		Kinesis: iotcore.PutFunc(func(_ context.Context, stream, key string, data []byte) error {
			fmt.Printf("%s, key %s: %s\n", stream, key, data)
			return nil
		})})
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	endpoint, ctx := aws.String("http://"+server.RESTAddr()), context.Background()
	keys := credentials.NewStaticCredentialsProvider("any", "any", "")
	control := iot.New(iot.Options{Region: "us-east-1", BaseEndpoint: endpoint, Credentials: keys})
	_, err = control.CreateTopicRule(ctx, &iot.CreateTopicRuleInput{RuleName: aws.String("readings"),
		TopicRulePayload: &types.TopicRulePayload{
			Sql:              aws.String("SELECT fan, rpm, topic(2) AS site FROM 'rpm/+'"),
			AwsIotSqlVersion: aws.String("2016-03-23"),
			Actions: []types.Action{{Kinesis: &types.KinesisAction{StreamName: aws.String("readings"),
				PartitionKey: aws.String("${fan}"), RoleArn: aws.String("arn:aws:iam::000000000000:role/any")}}},
		}})
	fmt.Println("rule:", err)

	data := iotdataplane.New(iotdataplane.Options{Region: "us-east-1", BaseEndpoint: endpoint, Credentials: keys})
	_, err = data.Publish(ctx, &iotdataplane.PublishInput{Topic: aws.String("rpm/hall-a"),
		Payload: []byte(`{"fan":"fan-01","rpm":1200,"volts":12}`)})
	fmt.Println("publish:", err)

	// Output:
	// rule: <nil>
	// readings, key fan-01: {"fan":"fan-01","rpm":1200,"site":"hall-a"}
	// publish: <nil>
}
