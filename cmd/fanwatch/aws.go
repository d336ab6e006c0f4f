package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/pflag"

	"fanwatch/cloud"
	"fanwatch/cloud/awscatalog"
	"fanwatch/workers"
)

// awsOptions are the flags of the commands that work with AWS themselves, not only with Temporal.
type awsOptions struct {
	region, caBundle, stream, bucket string
	catalog                          awscatalog.Settings
}

func (o *awsOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.region, "region", "", "AWS region; empty: the SDK's default chain")
	f.StringVar(&o.caBundle, "ca-bundle", "", "PEM file of certificates to trust beside the system's")
	f.StringVar(&o.stream, "stream", "fanwatch", "Kinesis stream of readings")
	f.StringVar(&o.bucket, "bucket", "", "S3 bucket of landing log and tables")
	f.StringVar(&o.catalog.Kind, "catalog", "glue", "Iceberg catalog of the tables: glue, rest, or sqlite (a file "+
		"of this machine, for one lake worker)")
	f.StringVar(&o.catalog.URI, "catalog-uri", "", "with --catalog rest: the catalog's address, such as "+
		"https://s3tables.eu-central-1.amazonaws.com/iceberg; with --catalog sqlite: its file")
	f.StringVar(&o.catalog.Warehouse, "warehouse", "", "with --catalog rest: the catalog's warehouse; for S3 "+
		"Tables the ARN of the table bucket")
	f.StringVar(&o.catalog.SigningService, "sign", "", "with --catalog rest: AWS service for which requests are "+
		"signed (s3tables or glue); empty: not signed")
}

// config returns AWS as the flags say it.
func (o *awsOptions) config(ctx context.Context) (c workers.Config, err error) {
	if (o.catalog.Kind == "rest" || o.catalog.Kind == "sqlite") && o.catalog.URI == "" {
		return c, fmt.Errorf("--catalog %s: say where it is with --catalog-uri (%w)", o.catalog.Kind, errUsage)
	}
	tables := workers.Catalog{Open: func(ctx context.Context, cfg aws.Config) (catalog.Catalog, error) {
		return awscatalog.Open(ctx, cfg, o.catalog)
	}}
	if o.catalog.Kind == "sqlite" {
		tables = workers.Catalog{SQLite: o.catalog.URI}
	}
	cfg, err := cloud.Config(ctx, cloud.Settings{Region: o.region, CABundle: o.caBundle})
	return workers.Config{AWS: cfg, Stream: o.stream, Bucket: o.bucket, Catalog: tables}, err
}

// lakeConfig returns the lake that a command is to read: the one in the bucket of the flags, or the local one.
func (a *app) lakeConfig(ctx context.Context, o awsOptions) (workers.Config, error) {
	if o.bucket != "" {
		return o.config(ctx)
	}
	return a.localConfig(ctx)
}

// localConfig returns the local system's AWS.
func (a *app) localConfig(ctx context.Context) (c workers.Config, err error) {
	e, err := a.local()
	if err != nil {
		return c, err
	}
	if e.S3 == "" || gone(ctx, strings.TrimPrefix(e.S3, "http://")) {
		return c, fmt.Errorf("nothing runs in %s: start the local system (go tool task up), or name the S3 bucket of "+
			"a real one with --bucket", a.dir)
	}
	text, err := os.ReadFile(e.Keys)
	if err != nil {
		return c, fmt.Errorf("keys of the local AWS: %w", err)
	}
	keys := strings.Fields(string(text))
	if len(keys) != 2 {
		return c, errors.New("keys of the local AWS: " + e.Keys + " does not hold two lines")
	}
	cfg, err := cloud.Config(ctx, cloud.Settings{Region: e.Region, Local: true, AccessKey: keys[0], SecretKey: keys[1],
		Endpoints: []string{e.S3, cmp.Or(e.AWS, e.S3)}})
	return workers.Config{AWS: cfg, Stream: e.Stream, Bucket: e.Bucket, Endpoints: workers.Endpoints{S3: e.S3, SNS: e.AWS},
		Catalog: workers.Catalog{SQLite: e.Catalog}}, err
}
