package cloud

import (
	"context"
	"fmt"

	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"
	// how Iceberg reaches s3:// paths; never io/gocloud, which brings Azure and Google too
	_ "github.com/apache/iceberg-go/io/gocloud/s3"
	"github.com/aws/aws-sdk-go-v2/aws"
)

// IcebergFiles returns the properties by which an Iceberg catalog reaches the table's files in S3: of cfg's
// region, or of the server at endpoint when that is not empty. Then the keys are handed over as they are
// now, so they must not expire; without an endpoint Iceberg finds keys as the SDK does.
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
