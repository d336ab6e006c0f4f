package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"fanwatch/local/servers/child"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// clusterName is what single-node servers are called in Temporal's own tools; it is written into the database.
const clusterName = "active"

// portSet holds the loopback ports of one process. The membership protocol needs none: see newServer.
type portSet struct{ frontend, history, matching, worker, ui int }

// claimPorts settles every port. The named ones may be taken, which is an error; the internal ones are any free ones.
func claimPorts(ctx context.Context, o options) (p portSet, err error) {
	if p.frontend, err = child.Claim(ctx, "port", o.port); err != nil {
		return p, err
	}
	if o.uiPort != 0 {
		if p.ui, err = child.Claim(ctx, "ui-port", max(o.uiPort, 0)); err != nil {
			return p, err
		}
	}
	for _, internal := range []*int{&p.history, &p.matching, &p.worker} {
		if *internal, err = child.Claim(ctx, "port", 0); err != nil {
			return p, err
		}
	}
	return p, nil
}

// newServer sets up the four services. Their addresses are given statically: the gossip that finds them otherwise would
// cost ports and start-up time, and would meet the remains of a killed predecessor in the database.
func newServer(db *config.SQL, p portSet, logger log.Logger) (temporal.Server, error) {
	services := map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, port := range map[primitives.ServiceName]int{
		primitives.FrontendService: p.frontend,
		primitives.HistoryService:  p.history,
		primitives.MatchingService: p.matching,
		primitives.WorkerService:   p.worker,
	} {
		services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: "127.0.0.1"}}
		hosts[name] = static.SingleLocalHost(child.Addr(port))
	}
	const store = "sqlite"
	cfg := &config.Config{
		Services: services,
		Persistence: config.Persistence{
			DefaultStore:     store,
			VisibilityStore:  store,
			NumHistoryShards: 1, // fixed in the database for ever; more gain nothing behind one SQLite connection
			DataStores:       map[string]config.DataStore{store: {SQL: db}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: child.Addr(p.frontend)},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		PublicClient:        config.PublicClient{HostPort: child.Addr(p.frontend)},
		// Nothing joins, but the server allows itself twice this for its start, 15 s otherwise: on a machine
		// that is busy with something else that is not enough, and the whole system would not come up.
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second}},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
	return temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return authorization.NewNoopClaimMapper()
		}),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			// One process matches all tasks: spreading a task queue over four partitions only adds hops.
			dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
			dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		}),
	)
}

// newLogger logs JSON lines to standard error from level on, which the caller may change later. Stack traces are left
// out: the server attaches 10 kB of them to errors as ordinary as a cancelled poll.
func newLogger(level zap.AtomicLevel) (log.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.Level = level
	cfg.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	cfg.DisableCaller, cfg.DisableStacktrace = true, true
	zl, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return log.NewZapLogger(zl), nil
}

// startUI starts the Web UI and waits until it answers.
func startUI(ctx context.Context, p portSet, namespace string) (*uiserver.Server, error) {
	ui := uiserver.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: child.Addr(p.frontend),
		Host:                "127.0.0.1",
		Port:                p.ui,
		EnableUI:            true,
		DefaultNamespace:    namespace,
		DisableNewsFetch:    true, // nothing here leaves the machine
		HideLogs:            true,
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP on loopback
	}))
	go ui.Start() //nolint:errcheck // it ends the process itself when its port is lost

	url := fmt.Sprintf("http://%s/healthz", child.Addr(p.ui))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := (&http.Client{Timeout: time.Second}).Do(req)
		if err == nil {
			resp.Body.Close()
			return ui, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("the Web UI does not answer on %s: %w", child.Addr(p.ui), err)
		}
	}
}

// sqlConfig is the connection to the database file. Every user of one file in this process shares one connection
// (MaxConns 1, keyed by these very settings): SQLite has one writer anyway, and a second connection only meets locks.
func sqlConfig(file string) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: escape(file),
		MaxConns:     1,
		MaxIdleConns: 1,
		ConnectAttributes: map[string]string{
			"mode":         "rw",
			"busy_timeout": "2000", // ms; a killed predecessor may still be letting go of the file
			"journal_mode": "wal",
			"locking_mode": "exclusive", // a second server on the same file would corrupt what this one caches
			"synchronous":  "2",         // FULL: what was acknowledged survives a power cut
		},
	}
}
