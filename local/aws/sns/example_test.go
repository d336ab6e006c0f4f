package sns_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"fanwatch/local/aws/sns"
)

// A test of a program that notifies by SNS: the program's own client speaks to the server, and the test reads what the
// subscriber got. A notification that is sent again under its key arrives once.
func Example() {
	dir, err := os.MkdirTemp("", "sns")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := sns.New(sns.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()

	client := awssns.New(awssns.Options{Region: "us-east-1", BaseEndpoint: &web.URL,
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
	ctx := context.Background()
	topic, err := client.CreateTopic(ctx, &awssns.CreateTopicInput{Name: aws.String("on-call")})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: topic.TopicArn,
		Protocol: aws.String("email"), Endpoint: aws.String("ann@example.com")})
	fmt.Println("subscribe:", err)

	key := types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("alert/fan-07/1")}
	for range 2 {
		_, err = client.Publish(ctx, &awssns.PublishInput{TopicArn: topic.TopicArn,
			Subject: aws.String("fan-07 stalls"), Message: aws.String("It does not turn."),
			MessageAttributes: map[string]types.MessageAttributeValue{sns.KeyAttribute: key}})
		fmt.Println("publish:", err)
	}
	for _, e := range server.Inbox(0, 10) {
		fmt.Printf("%s: %s, %d copies\n", e.To, e.Subject, e.Copies)
	}

	// Output:
	// subscribe: <nil>
	// publish: <nil>
	// publish: <nil>
	// ann@example.com: fan-07 stalls, 2 copies
}
