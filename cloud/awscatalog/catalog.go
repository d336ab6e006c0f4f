// Package awscatalog opens the Iceberg catalogs of AWS: Glue, and those behind the REST protocol, such as Amazon S3
// Tables.
//
// It is a package of its own because Glue's client is a tenth of a program that links it, and the local system
// needs none.
package awscatalog

import (
	"context"
	"fmt"
	"net/url"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/catalog/glue"
	"github.com/apache/iceberg-go/catalog/rest"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
)

// Settings say which Iceberg catalog holds the tables. lake.OpenSQLite opens the local one.
type Settings struct {
	// Kind is "glue" (AWS Glue Data Catalog) or "rest" (the Iceberg REST protocol, which Amazon S3 Tables
	// speaks as well).
	Kind string
	// URI of the REST catalog, such as https://s3tables.eu-central-1.amazonaws.com/iceberg.
	URI string
	// Warehouse in the REST catalog; for S3 Tables the ARN of the table bucket.
	Warehouse string
	// SigningService makes requests to the REST catalog signed by AWS Signature V4 for this service
	// ("s3tables" or "glue"). Empty: not signed.
	SigningService string
}

// Open opens a catalog of AWS or behind the REST protocol. Neither has been shown to work here: the
// tests have no such server. What stands on a catalog is tested with the local one.
func Open(ctx context.Context, cfg aws.Config, s Settings) (catalog.Catalog, error) {
	switch s.Kind {
	case "glue":
		cat, err := glue.NewCatalog(glue.WithAwsConfig(cfg),
			glue.WithAwsProperties(glue.AwsProperties{icebergio.S3Region: cfg.Region}))
		if err != nil {
			return nil, fmt.Errorf("Glue catalog: %w", err)
		}
		return cat, nil
	case "rest":
		options := []rest.Option{rest.WithAwsConfig(cfg), rest.WithWarehouseLocation(s.Warehouse)}
		if s.SigningService != "" {
			options = append(options, rest.WithSigV4RegionSvc(cfg.Region, s.SigningService))
		}
		cat, err := rest.NewCatalog(ctx, "fanwatch", s.URI, options...)
		if err != nil {
			return nil, fmt.Errorf("REST catalog %s: %w", withoutPassword(s.URI), err)
		}
		return cat, nil
	}
	return nil, fmt.Errorf("catalog kind %.40q is none of glue, rest", s.Kind)
}

func withoutPassword(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "(unreadable)"
	}
	return u.Redacted()
}
