package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/aws/aws-sdk-go-v2/aws"

	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/lake"
)

// Catalog says which Iceberg catalog holds the tables: a SQLite file on this machine, or the one that Open opens.
type Catalog struct {
	SQLite string // path of the file; empty: Open
	// Open opens the catalog with the AWS configuration of the workers; see package awscatalog.
	Open func(context.Context, aws.Config) (catalog.Catalog, error)
}

// OpenTables opens the tables of c's bucket and makes those that are missing. The function that it returns closes the
// catalog.
func OpenTables(ctx context.Context, c Config) (*lake.Tables, func() error, error) {
	return openTables(ctx, c, lake.OpenTables)
}

// ReadTables opens the tables of c's bucket and changes nothing. The error wraps lake.ErrNoTable when there are none.
// The function that it returns closes the catalog.
func ReadTables(ctx context.Context, c Config) (*lake.Tables, func() error, error) {
	return openTables(ctx, c, lake.ReadTables)
}

func openTables(ctx context.Context, c Config, open func(context.Context, lake.TableConfig) (*lake.Tables,
	error)) (*lake.Tables, func() error, error) {
	files, err := cloud.IcebergFiles(ctx, c.AWS, c.Endpoints.S3)
	if err != nil {
		return nil, nil, err
	}
	cat, done, err := openCatalog(ctx, c, files)
	if err != nil {
		return nil, nil, err
	}
	t, err := open(ctx, lake.TableConfig{Catalog: cat, Store: cloud.NewS3(c.AWS, c.Endpoints.S3, c.Bucket),
		Location: "s3://" + c.Bucket})
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return t, done, nil
}

// Tables opens the lake's tables at their first use, and at each later one until it succeeds, so that a worker starts
// without the lake. Safe for concurrent use.
type Tables struct {
	read, change *handle
}

// LazyTables returns the tables of c's bucket, not yet opened.
func LazyTables(c Config) *Tables {
	return &Tables{
		read:   newHandle(func(ctx context.Context) (*lake.Tables, func() error, error) { return ReadTables(ctx, c) }),
		change: newHandle(func(ctx context.Context) (*lake.Tables, func() error, error) { return OpenTables(ctx, c) }),
	}
}

// Open implements the function Tables of activities.Lake.
func (t *Tables) Open(ctx context.Context, change bool) (activities.Table, error) {
	h := t.read
	if change {
		h = t.change
	}
	tables, err := h.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("the lake's tables cannot be opened: %w", err)
	}
	return tables, nil
}

// Query implements dashboard.History. Before the first commit there are no readings.
func (t *Tables) Query(ctx context.Context, fan string, from, to time.Time, points int) ([]lake.Point, error) {
	tables, err := t.read.get(ctx)
	if errors.Is(err, lake.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the lake's tables cannot be opened: %w", err)
	}
	parts, err := tables.Query(ctx, fan, from, to, points)
	if errors.Is(err, lake.ErrNoTable) {
		err = nil
	}
	return parts, err
}

// Close closes the catalogs that were opened.
func (t *Tables) Close() error { return errors.Join(t.read.close(), t.change.close()) }

// handle is one way to open the tables. The call that opens them holds the place in turn; others wait for it no longer
// than their context.
type handle struct {
	turn   chan struct{} // of capacity 1
	open   func(context.Context) (*lake.Tables, func() error, error)
	tables *lake.Tables
	done   func() error
}

func newHandle(open func(context.Context) (*lake.Tables, func() error, error)) *handle {
	return &handle{turn: make(chan struct{}, 1), open: open}
}

func (h *handle) get(ctx context.Context) (*lake.Tables, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("they are being opened: %w", ctx.Err())
	}
	if h.tables == nil {
		var err error
		if h.tables, h.done, err = h.open(ctx); err != nil {
			h.tables = nil
			return nil, err
		}
	}
	return h.tables, nil
}

func (h *handle) close() error {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if h.tables == nil {
		return nil
	}
	h.tables = nil
	return h.done()
}

func openCatalog(ctx context.Context, c Config, files iceberg.Properties) (catalog.Catalog, func() error, error) {
	if c.Catalog.SQLite != "" {
		return lake.OpenSQLite(c.Catalog.SQLite, files)
	}
	cat, err := c.Catalog.Open(ctx, c.AWS)
	return cat, func() error { return nil }, err
}
