package cloud

import (
	"context"
	"fmt"

	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"
	// registers the s3 scheme; io/gocloud would link Azure and Google, too
	_ "github.com/apache/iceberg-go/io/gocloud/s3"
	"github.com/aws/aws-sdk-go-v2/aws"
)

// IcebergFiles returns the properties by which an Iceberg catalog reaches the table's files in S3: in cfg's region or,
// when endpoint is not empty, at that server. With an endpoint the properties hold the current keys, which must not
// expire; without one Iceberg finds keys as the SDK does.
func IcebergFiles(ctx context.Context, cfg aws.Config, endpoint string) (iceberg.Properties, error) {
	props := iceberg.Properties{icebergio.S3Region: cfg.Region}
	if endpoint == "" {
		return props, nil
	}
	if cfg.Credentials == nil {
		return nil, fmt.Errorf("cloud: Iceberg's files at %s: the configuration has no keys", redacted(endpoint))
	}
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("cloud: Iceberg's files at %s: %w", redacted(endpoint), err)
	}
	props[icebergio.S3EndpointURL] = endpoint
	props[icebergio.S3AccessKeyID] = keys.AccessKeyID
	props[icebergio.S3SecretAccessKey] = keys.SecretAccessKey
	if keys.SessionToken != "" {
		props[icebergio.S3SessionToken] = keys.SessionToken
	}
	return props, nil
}
