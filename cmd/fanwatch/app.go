package main

import (
	"cmp"
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

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"

	"fanwatch/operator"
)

// app is what all commands share.
type app struct {
	dir, address, namespace string
	json                    bool
	given                   func(flag string) bool // whether the command line names a global flag
}

// endpoints is the part of the local system's endpoints.json that this program reads; local writes it.
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
	MQTT      string `json:"mqtt"`
	CA        string `json:"ca"` // file of the MQTT endpoint's root certificate
}

// system is the fanwatch that a command works on.
type system struct {
	options client.Options
	name    string    // for people
	local   endpoints // of a local one; else empty
}

// system decides which one is meant. What the command line names wins over the environment, and the environment over
// the local system in the default directory: --temporal, then --dir, then TEMPORAL_ADDRESS, then ./.fanwatch, then what
// a configuration file of the Temporal CLI says. A local system has no TLS and no API key, so nothing of the
// environment is sent to it.
func (a *app) system() (s system, err error) {
	elsewhere := a.given("temporal") || !a.given("dir") && os.Getenv("TEMPORAL_ADDRESS") != ""
	if !elsewhere {
		if s.local, err = a.local(); err != nil {
			return s, err
		}
		s.options, s.name = client.Options{HostPort: s.local.Temporal, Namespace: s.local.Namespace}, "the local system in "+
			a.dir
	}
	if elsewhere || s.local.Temporal == "" && !a.given("dir") {
		if s.options, err = envconfig.LoadDefaultClientOptions(); err != nil {
			return s, fmt.Errorf("read Temporal's settings from the environment: %w", err)
		}
	}
	if a.given("temporal") {
		s.options.HostPort = a.address
		if local, err := a.local(); err == nil && (a.given("dir") || a.address == local.Temporal) {
			s.options.Namespace = cmp.Or(local.Namespace, s.options.Namespace)
		}
	}
	if a.given("namespace") {
		s.options.Namespace = a.namespace
	}
	if s.local.Temporal == "" && s.options.HostPort != "" {
		s.name = fmt.Sprintf("Temporal at %s, namespace %s", s.options.HostPort, cmp.Or(s.options.Namespace, "default"))
	}
	return s, nil
}

// operator connects to Temporal. The name says which system that is.
func (a *app) operator(ctx context.Context) (op operator.Client, name string, done func(), err error) {
	s, err := a.system()
	if err != nil {
		return op, "", nil, err
	}
	if s.options.HostPort == "" || s.options.HostPort == s.local.Temporal && gone(ctx, s.local.Temporal) {
		return op, "", nil, fmt.Errorf("nothing runs in %s: start the local system (go tool task up), or give --temporal",
			a.dir)
	}
	s.options.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := operator.Dial(ctx, s.options)
	if err != nil {
		return op, "", nil, fmt.Errorf("%w: is it running? (asked %s)", err, s.name)
	}
	return operator.Client{Temporal: c, Namespace: cmp.Or(s.options.Namespace, "default")}, s.name, c.Close, nil
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

// with runs do with a connected operator and half a minute of time. Its errors say which system was asked.
func (a *app) with(ctx context.Context, do func(context.Context, operator.Client) error) error {
	op, name, done, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := do(ctx, op); err != nil {
		return fmt.Errorf("%w (asked %s)", err, name)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
