package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"

	"fanwatch/workflows"
)

// app is what all commands share.
type app struct {
	dir, address, namespace string
	json                    bool
}

// endpoints is the part of the local system's endpoints.json that this program reads; deploy/local writes it.
type endpoints struct {
	V         int    `json:"v"`
	Temporal  string `json:"temporal"`
	Namespace string `json:"namespace"`
	AWS       string `json:"aws"` // Kinesis, IoT and SNS
	S3        string `json:"s3"`
	Keys      string `json:"keys"`
	Region    string `json:"region"`
	Stream    string `json:"stream"`
	Bucket    string `json:"bucket"`
	Catalog   string `json:"catalog"`
}

// operator connects to Temporal: flags first, then the local system, then the environment.
func (a *app) operator(ctx context.Context) (op workflows.Operator, done func(), err error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return op, nil, fmt.Errorf("read Temporal's settings from the environment: %w", err)
	}
	local, err := a.local()
	if err != nil {
		return op, nil, err
	}
	if local.Temporal != "" && os.Getenv("TEMPORAL_ADDRESS") == "" {
		o.HostPort, o.Namespace = local.Temporal, local.Namespace
	}
	if a.address != "" {
		o.HostPort = a.address
	}
	if a.namespace != "" {
		o.Namespace = a.namespace
	}
	if o.HostPort == "" || o.HostPort == local.Temporal && gone(ctx, local.Temporal) {
		return op, nil, fmt.Errorf("nothing runs in %s: start the local system (go tool task up), or give --temporal", a.dir)
	}
	o.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := workflows.Dial(ctx, o)
	if err != nil {
		return op, nil, fmt.Errorf("%w: is it running?", err)
	}
	return workflows.Operator{Temporal: c, Namespace: o.Namespace}, c.Close, nil
}

// gone says that nothing listens at an address of endpoints.json: a local system that was killed could not remove
// that file. The process ID in it says less, since another process may have it by now. What does not answer in time
// may be there.
func gone(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = c.Close() // nothing was sent
		return false
	}
	var late net.Error
	return ctx.Err() == nil && !(errors.As(err, &late) && late.Timeout())
}

func (a *app) local() (e endpoints, err error) {
	b, err := os.ReadFile(filepath.Join(a.dir, "endpoints.json"))
	if errors.Is(err, os.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err == nil && e.V != 1 {
		err = fmt.Errorf("version %d is unknown", e.V)
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", filepath.Join(a.dir, "endpoints.json"), err)
	}
	return e, nil
}

// with runs do with a connected operator and half a minute of time.
func (a *app) with(ctx context.Context, do func(context.Context, workflows.Operator) error) error {
	op, done, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return do(ctx, op)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
