package cloud

import (
	"context"
	"fmt"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/catalog/glue"
	"github.com/apache/iceberg-go/catalog/rest"
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

// CatalogSettings select the Iceberg catalog of the tables. lake.OpenSQLite opens the local one.
type CatalogSettings struct {
	// Kind is "glue" (AWS Glue Data Catalog) or "rest" (the Iceberg REST protocol, also of Amazon S3 Tables).
	Kind string
	// URI is the URI of the REST catalog, such as https://s3tables.eu-central-1.amazonaws.com/iceberg.
	URI string
	// Warehouse is the warehouse in the REST catalog; with S3 Tables the ARN of the table bucket.
	Warehouse string
	// SigningService is the service for which requests to the REST catalog are signed by AWS Signature V4, "s3tables" or
	// "glue"; "" = they are not signed.
	SigningService string
}

// OpenCatalog opens a Glue or REST catalog. No test covers either, because there is no such server; the code above a
// catalog is tested with the local one.
func OpenCatalog(ctx context.Context, cfg aws.Config, s CatalogSettings) (catalog.Catalog, error) {
	switch s.Kind {
	case "glue":
		cat, err := glue.NewCatalog(glue.WithAwsConfig(cfg),
			glue.WithAwsProperties(glue.AwsProperties{icebergio.S3Region: cfg.Region}))
		if err != nil {
			return nil, fmt.Errorf("cloud: Glue catalog: %w", err)
		}
		return cat, nil
	case "rest":
		options := []rest.Option{rest.WithAwsConfig(cfg), rest.WithWarehouseLocation(s.Warehouse)}
		if s.SigningService != "" {
			options = append(options, rest.WithSigV4RegionSvc(cfg.Region, s.SigningService))
		}
		cat, err := rest.NewCatalog(ctx, "fanwatch", s.URI, options...)
		if err != nil {
			return nil, fmt.Errorf("cloud: REST catalog %s: %w", redacted(s.URI), err)
		}
		return cat, nil
	}
	return nil, fmt.Errorf("cloud: catalog kind %.40q is none of glue, rest", s.Kind)
}
