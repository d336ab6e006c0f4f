// Command fanwatch-temporal is a Temporal server and its Web UI in one process, on loopback, with its state in one
// SQLite file. The local system starts it as a child process (see package child for how the two end); production uses a
// real Temporal cluster instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"fanwatch/local/servers/child"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.uber.org/zap"
)

// options are the command's flags. Ports are loopback ports, 0 for a free one; only the Web UI's 0 means none, and its
// free one is -1.
type options struct {
	db         string
	port       int
	uiPort     int
	namespace  string
	retention  time.Duration
	logLevel   string
	attributes attributes
}

func main() {
	o := options{attributes: attributes{}}
	flag.StringVar(&o.db, "db", "", "SQLite `file`, created if missing (required)")
	flag.IntVar(&o.port, "port", 7233, "gRPC `port` of the frontend, 0 for a free one")
	flag.IntVar(&o.uiPort, "ui-port", 0, "`port` of the Web UI, 0 for none, -1 for a free one")
	flag.StringVar(&o.namespace, "namespace", "fanwatch", "namespace, created if missing")
	flag.DurationVar(&o.retention, "retention", 72*time.Hour, "how long closed workflows are kept; settled when "+
		"the namespace is created, at least 1h")
	flag.StringVar(&o.logLevel, "log-level", "warn", "debug, info, warn or error, to standard error")
	flag.Var(o.attributes, "search-attribute", "custom search attribute `Name=Type`, repeatable; types: "+typeNames)
	flag.Parse()
	// The server asks its makers' site for newer versions otherwise.
	os.Setenv("TEMPORAL_VERSION_CHECK_DISABLED", "1")

	child.Main("fanwatch-temporal", func(ctx context.Context, ready func(any) error) error {
		return run(ctx, o, ready)
	})
}

// run serves until ctx ends.
func run(ctx context.Context, o options, ready func(any) error) error {
	level, err := o.check()
	if err != nil {
		return err
	}
	ports, err := claimPorts(ctx, o)
	if err != nil {
		return err
	}
	db := sqlConfig(o.db)
	if err := createDatabase(o.db); err != nil {
		return fmt.Errorf("create database %s: %w", o.db, err)
	}
	if err := createNamespace(db, o); err != nil {
		return fmt.Errorf("database %s: %w", o.db, err)
	}

	logger, err := newLogger(level)
	if err != nil {
		return err
	}
	server, err := newServer(db, ports, logger)
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer func() {
		level.SetLevel(zap.FatalLevel) // services that lose each other while they stop call it an error
		_ = server.Stop()              // the state is on disk already
	}()

	if err := settle(ctx, o, child.Addr(ports.frontend)); err != nil {
		return err
	}
	said := map[string]string{"addr": child.Addr(ports.frontend), "namespace": o.namespace}
	if o.uiPort != 0 {
		ui, err := startUI(ctx, ports, o.namespace)
		if err != nil {
			return err
		}
		defer ui.Stop()
		said["ui"] = child.Addr(ports.ui)
	}
	if err := ready(said); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// check refuses what cannot work and makes the path absolute.
func (o *options) check() (level zap.AtomicLevel, err error) {
	if o.db == "" {
		return level, errors.New("--db is missing: name the SQLite file to keep the state in")
	}
	if o.namespace == "" {
		return level, errors.New("--namespace is empty")
	}
	if o.retention < time.Hour {
		return level, fmt.Errorf("--retention %s is too short: closed workflows are kept for at least 1h", o.retention)
	}
	if level, err = zap.ParseAtomicLevel(o.logLevel); err != nil {
		return level, fmt.Errorf("--log-level %q is none of debug, info, warn, error", o.logLevel)
	}
	o.db, err = filepath.Abs(o.db)
	return level, err
}

// settle waits until the frontend answers for the namespace and registers the search attributes.
func settle(ctx context.Context, o options, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last error
	for ; ; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			return fmt.Errorf("the server did not answer in time: %w", last)
		}
		c, err := client.DialContext(ctx, client.Options{
			HostPort: addr, Namespace: o.namespace,
			Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		})
		if err != nil {
			last = err
			continue
		}
		defer c.Close()
		return o.attributes.register(ctx, c, o.namespace)
	}
}
