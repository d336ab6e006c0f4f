package testsuite

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

// perGateway is the number of fans of one gateway, which publishes for each once a second: AWS IoT Core takes 100
// messages a second from one connection.
const perGateway = 90

// storm is a hall whose fans are published by gateways in the legacy format.
type storm struct {
	*system
	operator.Client
	fans     []string
	gateways []mqtt.Client
}

// stormFigures are what a storm costs.
type stormFigures struct {
	pages   int           // notifications until the incident was acknowledged
	first   time.Duration // from the first stall's publish to the first page
	all     time.Duration // to the moment in which every fan's alert was open
	largest int64         // events of the largest workflow of fan, alert or incident
	of      string        // its ID
}

// newStorm provisions n fans of one hall, all of which turn.
func newStorm(t testing.TB, n int) *storm {
	s := &storm{system: start(t, t.TempDir(), nil, "--fans", "0", "--no-faults")}
	s.Client = operator.Client{Temporal: s.temporal(), Namespace: s.Namespace}
	silence, limit, site := fanwatch.Duration(-time.Second), 900.0, "Hall A, rack 3"
	pairs := make([]tls.Certificate, n)
	var provisioning errgroup.Group
	provisioning.SetLimit(8)
	for i := range n {
		s.fans = append(s.fans, fmt.Sprintf("storm-%04d", i))
		clients := []string{fmt.Sprintf("gateway %d", i/perGateway)}
		provisioning.Go(func() error {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject: pkix.Name{CommonName: s.fans[i]}}, key)
			if err != nil {
				return err
			}
			answer, err := s.Enroll(t.Context(), s.fans[i], fanwatch.DeviceChange{Site: &site, Clients: &clients,
				MinRPM: &limit, Silence: &silence},
				string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})))
			if err != nil {
				return err
			}
			block, _ := pem.Decode([]byte(answer.Certificate))
			pairs[i] = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
			return nil
		})
	}
	if err := provisioning.Wait(); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for i := 0; i < n; i += perGateway {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + s.MQTT).SetAutoReconnect(false).
			SetClientID(fmt.Sprintf("gateway %d", i/perGateway)).SetTLSConfig(&tls.Config{RootCAs: roots,
			MinVersion: tls.VersionTLS12, Certificates: pairs[i : i+1]}))
		if token := c.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		s.gateways = append(s.gateways, c)
	}
	s.publish(3, 1800)
	return s
}

// publish publishes so many readings of every fan, one a second.
func (s *storm) publish(rounds int, rpm float64) {
	s.t.Helper()
	var all errgroup.Group
	for g, fans := range slices.Collect(slices.Chunk(s.fans, perGateway)) {
		all.Go(func() error {
			for range rounds {
				next := time.Now().Add(time.Second)
				var tokens []mqtt.Token
				for _, fan := range fans {
					tokens = append(tokens, s.gateways[g].Publish("IoT_TOPIC/recieve", 1, false,
						fmt.Sprintf(`{"TIME": %q,"FANID": %q,"FREQ": %g,"RPM": %g}`,
							time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), fan, rpm/30, rpm)))
					time.Sleep(5 * time.Millisecond)
				}
				for _, token := range tokens {
					if !token.WaitTimeout(20*time.Second) || token.Error() != nil {
						return fmt.Errorf("no PUBACK of gateway %d: %w", g, token.Error())
					}
				}
				time.Sleep(time.Until(next))
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// stops has all fans stop within a second, and returns when each has an alert that is part of one incident.
func (s *storm) stops() (f stormFigures, incident fanwatch.Alert) {
	s.t.Helper()
	began := time.Now()
	s.publish(1, 0)
	var alerts []fanwatch.Alert
	s.until(3*time.Minute, "an alert of every fan, as part of one incident", func() (bool, string) {
		var err error
		if alerts, err = s.Alerts(s.t.Context(), false); err != nil {
			return false, err.Error()
		}
		open, members := 0, 0
		for _, a := range alerts {
			switch {
			case a.Kind == fanwatch.KindIncident:
				incident = a
			case a.Kind == fanwatch.KindStall:
				open++
				if a.Incident == workflows.IncidentID("Hall-A") {
					members++
				}
			}
		}
		if open == len(s.fans) && f.all == 0 {
			f.all = time.Since(began)
		}
		if incident.Notices > 0 && incident.State == fanwatch.AlertOpen {
			if _, err := s.Acknowledge(s.t.Context(), incident.ID, fanwatch.Acknowledgement{By: "ada"}); err != nil {
				return false, err.Error()
			}
		}
		return members == len(s.fans) && incident.Troubled == len(s.fans), fmt.Sprintf("%d alerts, %d part of %s: %s",
			open, members, incident.ID, incident.Why)
	})
	f.first = time.Hour
	for _, a := range alerts {
		f.pages += a.Notices
		if len(a.Sent) > 0 {
			f.first = min(f.first, a.Sent[0].At.Sub(began))
		}
	}
	return f, incident
}

// ends has all fans turn again, and returns when no alert is open and the incident has ended.
func (s *storm) ends(f *stormFigures) {
	s.t.Helper()
	s.publish(10, 1800)
	s.until(5*time.Minute, "no open alert", func() (bool, string) {
		open, err := s.Alerts(s.t.Context(), false)
		if err != nil || len(open) > 0 {
			return false, fmt.Sprintf("%d open, %v", len(open), err)
		}
		runs, err := s.Running(s.t.Context(), workflows.IncidentID("Hall-A"))
		return err == nil && !runs, fmt.Sprint(runs, err)
	})
	over, err := s.Alerts(s.t.Context(), true)
	if err != nil {
		s.t.Fatal(err)
	}
	ids := []string{workflows.IncidentID("Hall-A")}
	for _, a := range over {
		ids = append(ids, a.ID)
	}
	for _, fan := range s.fans {
		ids = append(ids, workflows.FanID(fan))
	}
	var mu sync.Mutex
	var looks errgroup.Group
	looks.SetLimit(8)
	for _, id := range ids {
		looks.Go(func() error {
			n, err := s.events(s.t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			if n > f.largest {
				f.largest, f.of = n, id
			}
			return err
		})
	}
	if err := looks.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// events returns the number of events of a workflow's newest run.
func (s *storm) events(ctx context.Context, id string) (int64, error) {
	d, err := s.Temporal.DescribeWorkflowExecution(ctx, id, "")
	return d.GetWorkflowExecutionInfo().GetHistoryLength(), err
}

// TestAHallThatStopsIsOneIncident has 200 fans of a hall stop within a second, 1,000 with FANWATCH_LONG=1.
func TestAHallThatStopsIsOneIncident(t *testing.T) {
	n := 200
	if os.Getenv("FANWATCH_LONG") != "" {
		n = 1000
	}
	s := newStorm(t, n)
	f, incident := s.stops()
	if want := fmt.Sprintf("%d of %d fans in Hall A, rack 3 fail at once: %d stall.", n, n, n); incident.Why != want {
		t.Errorf("the incident says %q, want %q", incident.Why, want)
	}
	if f.pages > 5 {
		t.Errorf("%d pages", f.pages)
	}
	s.ends(&f)
	if f.largest > 5000 {
		t.Errorf("%s has %d events", f.of, f.largest)
	}
	over, err := s.Alert(t.Context(), incident.ID)
	if err != nil || over.State != fanwatch.AlertResolved || over.Troubled != 0 || over.Joined != n ||
		!strings.Contains(over.AckedBy, "ada") {
		t.Errorf("%+v, %v", over, err)
	}
	t.Logf("%d fans: %d pages, the first after %s, all alerts after %s; %s has %d events", n, f.pages,
		f.first.Round(time.Millisecond), f.all.Round(time.Millisecond), f.of, f.largest)
}
