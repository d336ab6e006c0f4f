package workers

import (
	"context"
	"errors"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"

	"fanwatch/cloud"
	"fanwatch/lake"
)

// Catalog says which Iceberg catalog holds the table: a SQLite file on this machine, or one of AWS.
type Catalog struct {
	SQLite string // path of the file; empty: AWS holds it
	AWS    cloud.CatalogSettings
}

// OpenTables opens the tables of c's bucket, creating those that are missing. The function it gives closes the
// catalog.
func OpenTables(ctx context.Context, c Config) (*lake.Tables, func() error, error) {
	files, err := cloud.IcebergFiles(ctx, c.AWS, c.Endpoints.S3)
	if err != nil {
		return nil, nil, err
	}
	cat, done, err := openCatalog(ctx, c, files)
	if err != nil {
		return nil, nil, err
	}
	t, err := lake.OpenTables(ctx, lake.TableConfig{Catalog: cat, Store: cloud.NewS3(c.AWS, c.Endpoints.S3, c.Bucket), Location: "s3://" + c.Bucket})
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return t, done, nil
}

func openCatalog(ctx context.Context, c Config, files iceberg.Properties) (catalog.Catalog, func() error, error) {
	if c.Catalog.SQLite != "" {
		return lake.OpenSQLite(c.Catalog.SQLite, files)
	}
	cat, err := cloud.OpenCatalog(ctx, c.AWS, c.Catalog.AWS)
	return cat, func() error { return nil }, err
}
