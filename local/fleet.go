package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/edge"
	"fanwatch/internal/durable"
	"fanwatch/operator"
)

// fleet runs the simulated fans: the edge's own code with another source of pulses, each with its own key,
// certificate, spool and connection.
type fleet struct {
	dir    string
	broker string
	caFile string
	seed   uint64
	log    *slog.Logger

	nodes []*edge.Node
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// FleetFan is one simulated fan.
type FleetFan struct {
	Name   string
	RPM    float64 // its speed while it has no fault
	Site   string
	Faults []edge.Fault // when it fails and how, from its start; none = never
}

// fleetOf makes the plan: which fan fails when, counted from the start. The first fails within 30 s by a
// hard rule; the forest's faults come after its warm-up.
func fleetOf(n int, faults bool) []FleetFan {
	at := func(from, to time.Duration, kind edge.FaultKind, severity float64) edge.Fault {
		return edge.Fault{Kind: kind, From: fanwatch.Duration(from), To: fanwatch.Duration(to), Severity: severity}
	}
	plan := map[int][]edge.Fault{
		7:  {at(20*time.Second, 140*time.Second, edge.FaultStall, 0)},
		3:  {at(2*time.Minute, 4*time.Minute, edge.FaultDrag, 0.6)},
		12: {at(5*time.Minute, 8*time.Minute, edge.FaultBearing, 0.3)},
		16: {at(9*time.Minute, 11*time.Minute, edge.FaultTacho, 0)},
	}
	fans := make([]FleetFan, n)
	for i := range fans {
		fans[i] = FleetFan{Name: fmt.Sprintf("fan-%02d", i+1), RPM: 1200 + 150*float64(i%8),
			Site: fmt.Sprintf("Hall %c, rack %d", 'A'+i/8%26, 1+i%8)}
		if faults {
			fans[i].Faults = plan[i+1]
		}
	}
	return fans
}

// start provisions the fans that have no certificate yet and sets all of them turning.
func (f *fleet) start(ctx context.Context, fans []FleetFan, op operator.Client) error {
	provisioning, provisioned := errgroup.WithContext(ctx)
	provisioning.SetLimit(4)
	for _, fan := range fans {
		provisioning.Go(func() error { return f.provision(provisioned, fan, op) })
	}
	if err := provisioning.Wait(); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	for i, fan := range fans {
		if err := f.run(running, i, fan); err != nil {
			stop()
			return err
		}
	}
	return nil
}

func (f *fleet) path(fan string, name ...string) string {
	return filepath.Join(append([]string{f.dir, fan}, name...)...)
}

// provision makes the fan's key, has its CSR signed through its workflow, and keeps the certificate.
func (f *fleet) provision(ctx context.Context, fan FleetFan, op operator.Client) error {
	cert := f.path(fan.Name, "cert.pem")
	if _, err := os.Stat(cert); err == nil {
		return nil
	}
	if err := durable.MkdirAll(f.path(fan.Name), 0o700); err != nil {
		return fmt.Errorf("provision %s: %w", fan.Name, err)
	}
	csr, err := f.csr(fan.Name)
	if err != nil {
		return fmt.Errorf("provision %s: %w", fan.Name, err)
	}
	answer, err := op.Provision(ctx, fanwatch.Device{Fan: fan.Name, Site: fan.Site,
		Limits: fanwatch.Limits{MinRPM: fan.RPM / 2, MaxRPM: fan.RPM * 1.5}}, csr)
	if err != nil {
		return err
	}
	return durable.WriteFile(cert, []byte(answer.Certificate), 0o600)
}

// csr returns the fan's CSR, the same after every crash: the workflow answers the same CSR with the same
// certificate.
func (f *fleet) csr(fan string) (string, error) {
	file := f.path(fan, "csr.pem")
	if b, err := os.ReadFile(file); err == nil {
		return string(b), nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	key, err := edge.NewKey(f.path(fan, "key.pem"))
	if err != nil {
		return "", err
	}
	csr, err := edge.CSR(key, fan)
	if err != nil {
		return "", err
	}
	return string(csr), durable.WriteFile(file, csr, 0o600)
}

func (f *fleet) run(ctx context.Context, i int, fan FleetFan) error {
	clock := edge.System()
	sim, err := edge.NewSim(edge.SimConfig{Seed: f.seed + uint64(i), RPM: fan.RPM, Faults: fan.Faults}, clock.Boot())
	if err != nil {
		return err
	}
	if err := edge.AppendTruth(filepath.Join(f.dir, "truth.jsonl"), sim.Truth(fan.Name, time.Now())); err != nil {
		return err
	}
	tls, err := edge.TLSConfig(f.caFile, f.path(fan.Name, "cert.pem"), f.path(fan.Name, "key.pem"), time.Now)
	if err != nil {
		return err
	}
	node, err := edge.New(edge.Config{Fan: fan.Name, Source: sim, Clock: clock, Dir: f.path(fan.Name, "spool"),
		Broker: f.broker, TLS: tls,
		Shadow: activities.Shadow, FlushEvery: time.Second, BackoffMax: 5 * time.Second, Log: f.log})
	if err != nil {
		return err
	}
	f.nodes = append(f.nodes, node)
	f.done.Go(func() {
		if err := node.Run(ctx); err != nil {
			f.log.Error("the simulated fan gave up", "fan", fan.Name, "err", err)
		}
	})
	return nil
}

// close stops the fans; what they could not publish stays in their spools.
func (f *fleet) close() {
	if f.stop != nil {
		f.stop()
		f.done.Wait()
	}
}

// firstFault says which fan fails first and when, for the banner.
func firstFault(fans []FleetFan) (name string, kind edge.FaultKind, in time.Duration) {
	for _, f := range fans {
		for _, x := range f.Faults {
			if from := time.Duration(x.From); name == "" || from < in {
				name, kind, in = f.Name, x.Kind, from
			}
		}
	}
	return name, kind, in
}
