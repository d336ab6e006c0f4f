package iotcore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/edge"
	"fanwatch/local/aws/iotcore"
)

// recorded is a registry that only keeps the policies that provisioning makes.
type recorded struct {
	activities.Registry
	documents []string
}

func (r *recorded) PutPolicy(_ context.Context, _, document string) error {
	r.documents = append(r.documents, document)
	return nil
}

func (*recorded) Policies(context.Context, string) (names []string, _ error)    { return nil, nil }
func (*recorded) AttachPolicy(context.Context, string, string) error            { return nil }
func (*recorded) AttachCertificate(context.Context, string, string) error       { return nil }
func (*recorded) Certificates(context.Context, string) (arns []string, _ error) { return nil, nil }

// provisioned gives the policy that a fan's certificate gets.
func provisioned(t testing.TB) string {
	t.Helper()
	r := &recorded{}
	p := &activities.Provisioner{Registry: r, Topics: activities.PolicyTopics{ARN: arnPrefix[:len(arnPrefix)-1],
		Rule: "fanwatch_readings", Legacy: "IoT_TOPIC/recieve"}}
	if err := p.Authorise(t.Context(), fanwatch.Device{V: 1, Fan: "fan-01"},
		activities.Certificate{ARN: "arn"}); err != nil {
		t.Fatal(err)
	}
	if len(r.documents) != 1 {
		t.Fatalf("policies %v", r.documents)
	}
	return r.documents[0]
}

// run starts a fan's publisher with the spool in dir until the returned function is called.
func (r *rig) run(d device, dir string, change ...func(*edge.Config)) (node *edge.Node, stop func()) {
	r.Helper()
	root, err := os.ReadFile(r.server.CAFile())
	r.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	clock := edge.System()
	sim, err := edge.NewSim(edge.SimConfig{}, clock.Boot())
	r.must(err)
	c := edge.Config{Fan: "fan-01", Source: sim, Clock: clock, Dir: dir, Broker: r.server.MQTTAddr(),
		Shadow: activities.Shadow,
		TLS:    &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{d.pair}}, Interval: 100 * time.Millisecond,
		FlushEvery: time.Hour, Batch: 500}
	for _, f := range change {
		f(&c)
	}
	node, err = edge.New(c)
	r.must(err)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	return node, func() {
		cancel()
		r.must(<-done)
	}
}

// TestPublisherFollowsItsShadow is the whole way of a setting: an operator's update, the delta to the device,
// the device's report; a bad one is refused there with its reason and goes round in no circle.
func TestPublisherFollowsItsShadow(t *testing.T) {
	r := newRig(t)
	r.rule("fanwatch_readings", "SELECT *, timestamp() AS arrived, clientid() AS client FROM 'unused'", "${fan}")
	d, dir := r.provision("fan-01", provisioned(t)), t.TempDir()
	s := newShadows(r, r.server.RESTAddr())
	state := func(part string) map[string]any {
		doc, err := s.get()
		if err != nil {
			return nil
		}
		section, _ := doc["state"].(map[string]any)
		found, _ := section[part].(map[string]any)
		return found
	}
	node, stop := r.run(d, dir)
	r.eventually("the first report", func() bool { return state("reported")["interval"] == "100ms" })

	_, err := s.update(`{"state":{"desired":{"jump":0.5,"live":true}}}`)
	r.must(err)
	r.eventually("the report of what was accepted", func() bool {
		return state("reported")["live"] == true && state("delta") == nil
	})
	before := len(r.streams.on("readings"))
	r.eventually("readings that are published at once", func() bool { return len(r.streams.on("readings")) > before+5 })

	_, err = s.update(`{"state":{"desired":{"interval":"1ms"}}}`)
	r.must(err)
	r.eventually("the reason of the refusal", func() bool {
		return state("reported")["error"] == "interval 1ms is under 100ms" && state("reported")["interval"] == "100ms"
	})
	doc, err := s.get()
	r.must(err)
	before = len(r.streams.on("readings"))
	r.eventually("more readings", func() bool { return len(r.streams.on("readings")) > before+5 }) // live mode goes on
	again, err := s.get()
	r.must(err)
	if again["version"] != doc["version"] {
		t.Errorf("the shadow goes round in a circle: version %v, then %v", doc["version"], again["version"])
	}
	if st := node.Status(); st.Connects != 1 {
		t.Errorf("%+v", st)
	}
	stop()

	// What was changed meanwhile holds from the next connect on.
	_, err = s.update(`{"state":{"desired":{"interval":null,"live":false,"batch":7}}}`)
	r.must(err)
	_, stop = r.run(d, dir)
	r.eventually("what was changed meanwhile", func() bool {
		return state("reported")["batch"] == 7.0 && state("reported")["live"] == false && state("reported")["error"] == nil &&
			state("delta") == nil
	})
	stop()
	var seqs []uint64
	for _, p := range r.streams.on("readings") {
		var b fanwatch.Batch
		r.must(json.Unmarshal([]byte(p.data), &b))
		for _, reading := range b.Readings {
			if n := len(seqs); n > 0 && reading.Seq != seqs[n-1]+1 && reading.Seq != 1 {
				t.Errorf("reading %d after %d", reading.Seq, seqs[n-1])
			}
			seqs = append(seqs, reading.Seq)
		}
	}
	if refused := r.server.RefusalCounts(); len(refused) != 0 {
		t.Errorf("the fan's policy does not allow what its publisher does: %+v", r.server.Refusals())
	}
}

// TestWhatIsTakenOutOfTheShadowIsGoneAtOnce: without a delta, which there is none of, and on the same connection, the
// configuration holds again.
func TestWhatIsTakenOutOfTheShadowIsGoneAtOnce(t *testing.T) {
	r := newRig(t)
	r.rule("fanwatch_readings", "SELECT *, timestamp() AS arrived, clientid() AS client FROM 'unused'", "${fan}")
	s := newShadows(r, r.server.RESTAddr())
	node, stop := r.run(r.provision("fan-01", provisioned(t)), t.TempDir())
	defer stop()
	reports := func(what string, live bool, batch float64) {
		t.Helper()
		r.eventually(what, func() bool {
			doc, err := s.get()
			if err != nil {
				return false
			}
			state, _ := doc["state"].(map[string]any)
			reported, _ := state["reported"].(map[string]any)
			return reported["live"] == live && reported["batch"] == batch && reported["error"] == nil
		})
	}
	set := func(state string) {
		t.Helper()
		_, err := s.update(`{"state":` + state + `}`)
		r.must(err)
	}
	reports("the first report", false, 500)
	set(`{"desired":{"live":true,"batch":7}}`)
	reports("what is desired", true, 7)
	set(`{"desired":{"live":null}}`)
	reports("one taken out", false, 7)
	set(`{"desired":{"live":true}}`)
	reports("put back", true, 7)
	set(`{"desired":null}`)
	reports("all taken out", false, 500)
	set(`{"desired":{"live":true}}`)
	reports("put back", true, 500)
	r.must(s.remove())
	reports("the shadow deleted", false, 500)
	before := len(r.streams.on("readings"))
	r.eventually("five readings more", func() bool { return node.Status().Spooled > 5 })
	if n := len(r.streams.on("readings")); n > before+1 {
		t.Errorf("readings go on one by one: %d", n-before)
	}
	doc, err := s.get()
	r.must(err)
	if version := doc["version"].(float64); version > 20 || node.Status().Connects != 1 {
		t.Errorf("the shadow goes round in a circle: version %v; %+v", version, node.Status())
	}
}

// TestPublisherWithoutShadowTopics: a fan whose policy allows no shadow topics has its readings published all the same,
// on one connection.
func TestPublisherWithoutShadowTopics(t *testing.T) {
	r := newRig(t)
	r.rule("fanwatch_readings", "SELECT * FROM 'unused'", "${fan}")
	const before = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"` + arnPrefix + `client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":"iot:Publish",
  "Resource":"` + arnPrefix + `topic/$aws/rules/fanwatch_readings/${iot:Connection.Thing.ThingName}"}]}`
	node, stop := r.run(r.provision("fan-01", before), t.TempDir())
	r.reason(iotcore.RefusedSubscribe, "iot:Subscribe")
	r.eventually("readings", func() bool { return node.Status().Acked > 0 })
	stop()
	if st := node.Status(); st.Connects != 1 || st.Spooled != 0 {
		t.Errorf("%+v", st)
	}
}

// TestTwoPublishersOfOneFan: two real publishers with one certificate (a copied card) do not take the connection from
// each other all the time, both say so by name, and the readings of both arrive, each run whole.
func TestTwoPublishersOfOneFan(t *testing.T) {
	r, broker := newRefusing(t)
	r.rule("fanwatch_readings", "SELECT *, timestamp() AS arrived, clientid() AS client FROM 'unused'", "${fan}")
	d := r.provision("fan-01", provisioned(t))
	var logs [2]logged
	quick := func(i int) func(*edge.Config) {
		return func(c *edge.Config) { // a tenth of a second is a minute
			c.FlushEvery, c.Settled = 20*time.Millisecond, 100*time.Millisecond
			c.BackoffMin, c.BackoffMax = 5*time.Millisecond, 100*time.Millisecond
			c.Log = slog.New(slog.NewTextHandler(&logs[i], nil))
		}
	}
	dirs := [2]string{t.TempDir(), t.TempDir()}
	first, stopFirst := r.run(d, dirs[0], quick(0))
	second, stopSecond := r.run(d, dirs[1], quick(1))
	for i := range logs {
		r.eventually("the publisher that says there is another", func() bool {
			return strings.Contains(logs[i].String(), "fan=fan-01") &&
				strings.Contains(logs[i].String(), "another publisher is connected as fan-01, it seems")
		})
	}
	before, began := r.server.RefusalCounts()[iotcore.RefusedTakeover], time.Now()
	r.eventually("both that deliver in turn", func() bool {
		return time.Since(began) > 3*time.Second && first.Status().Acked > 20 && second.Status().Acked > 20
	})
	// 193 in 3 s when an acknowledged message alone set the pauses back.
	if n := r.server.RefusalCounts()[iotcore.RefusedTakeover] - before; float64(n) > 13*time.Since(began).Seconds() {
		t.Errorf("%d takeovers in %s", n, time.Since(began))
	} else {
		t.Logf("%d takeovers in %s", n, time.Since(began))
	}
	stopFirst()
	stopSecond()
	if !strings.Contains(broker.String(), "client fan-01 was taken over by another connection") {
		t.Errorf("the broker logged %s", broker)
	}
	made := map[string]uint64{}
	for i, node := range []*edge.Node{first, second} {
		st := node.Status()
		made[fanwatch.FormatRun(st.Run)] = st.Acked + uint64(st.Spooled)
		if st.Dropped != 0 {
			t.Errorf("%+v", st)
		}
		again, stop := r.run(d, dirs[i], quick(i)) // alone, to deliver what is left
		r.eventually("an empty spool", func() bool { return again.Status().Acked > st.Acked+uint64(st.Spooled) })
		stop()
	}
	came := map[string]map[uint64]bool{}
	for _, p := range r.streams.on("readings") {
		var b fanwatch.Batch
		r.must(json.Unmarshal([]byte(p.data), &b))
		if came[b.Run] == nil {
			came[b.Run] = map[uint64]bool{}
		}
		for _, reading := range b.Readings {
			came[b.Run][reading.Seq] = true
		}
	}
	for run, n := range made {
		for seq := uint64(1); seq <= n; seq++ {
			if !came[run][seq] {
				t.Errorf("run %s: reading %d of %d is lost", run, seq, n)
			}
		}
	}
}

// TestAPublisherSaysWhyTheBrokerDoesNotTakeIt: an INACTIVE certificate cuts the connection and then says so; a policy
// and a certificate of another authority say something else.
func TestAPublisherSaysWhyTheBrokerDoesNotTakeIt(t *testing.T) {
	r, _ := newRefusing(t)
	r.rule("fanwatch_readings", "SELECT * FROM 'unused'", "${fan}")
	d := r.provision("fan-01", provisioned(t))
	quick := func(c *edge.Config) {
		c.FlushEvery, c.BackoffMin, c.BackoffMax = 20*time.Millisecond, 5*time.Millisecond, 50*time.Millisecond
	}
	node, stop := r.run(d, t.TempDir(), quick)
	says := func(node *edge.Node, text string) {
		t.Helper()
		r.eventually(text, func() bool { return strings.Contains(node.Status().LastError, text) })
	}
	r.eventually("readings", func() bool { return node.Status().Acked > 0 })
	_, err := r.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &d.certificateID,
		NewStatus: types.CertificateStatusInactive})
	r.must(err)
	says(node, "as fan-01: the broker refuses this client")
	says(node, "see that the certificate is ACTIVE and that its policy allows this client ID")
	if rec := r.listed("is INACTIVE now: connection closed: make it ACTIVE again"); rec.Client != "fan-01" ||
		rec.Fan != "fan-01" {
		t.Errorf("%+v", rec)
	}
	before := node.Status().Acked
	r.eventually("readings that wait", func() bool { return node.Status().Spooled > 5 })
	if st := node.Status(); st.Acked != before || st.Connected {
		t.Errorf("%+v", st)
	}
	_, err = r.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &d.certificateID,
		NewStatus: types.CertificateStatusActive})
	r.must(err)
	r.eventually("what has waited", func() bool { return node.Status().Acked > before && node.Status().Spooled < 5 })
	stop()

	strange, stop := r.run(newRig(t).provision("fan-01", open), t.TempDir(), quick)
	says(strange, "the broker does not take this device's certificate")
	stop()
}
