package iotcore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/deploy/local/iotcore"
	"fanwatch/edge"
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
	p := &activities.Provisioner{Registry: r, Topics: activities.PolicyTopics{ARN: arnPrefix[:len(arnPrefix)-1], Rule: "fanwatch_readings", Legacy: "IoT_TOPIC/recieve"}}
	if err := p.Authorise(t.Context(), fanwatch.Device{V: 1, Fan: "fan-01"}, activities.Certificate{ARN: "arn"}); err != nil {
		t.Fatal(err)
	}
	if len(r.documents) != 1 {
		t.Fatalf("policies %v", r.documents)
	}
	return r.documents[0]
}

// run starts a fan's publisher with the spool in dir until the returned function is called.
func (r *rig) run(d device, dir string) (node *edge.Node, stop func()) {
	r.Helper()
	root, err := os.ReadFile(r.server.CAFile())
	r.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	clock := edge.System()
	sim, err := edge.NewSim(edge.SimConfig{}, clock.Boot())
	r.must(err)
	node, err = edge.New(edge.Config{Fan: "fan-01", Source: sim, Clock: clock, Dir: dir, Broker: r.server.MQTTAddr(), Shadow: activities.Shadow,
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{d.pair}}, Interval: 100 * time.Millisecond, FlushEvery: time.Hour, Batch: 500})
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
	r.eventually("the report of what was accepted", func() bool { return state("reported")["live"] == true && state("delta") == nil })
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
		return state("reported")["batch"] == 7.0 && state("reported")["live"] == false && state("reported")["error"] == nil && state("delta") == nil
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

// TestPublisherWithoutShadowTopics: a fan with the policy of before has its readings published all the same,
// on one connection.
func TestPublisherWithoutShadowTopics(t *testing.T) {
	r := newRig(t)
	r.rule("fanwatch_readings", "SELECT * FROM 'unused'", "${fan}")
	const before = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"` + arnPrefix + `client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":"iot:Publish","Resource":"` + arnPrefix + `topic/$aws/rules/fanwatch_readings/${iot:Connection.Thing.ThingName}"}]}`
	node, stop := r.run(r.provision("fan-01", before), t.TempDir())
	r.reason(iotcore.RefusedSubscribe, "iot:Subscribe")
	r.eventually("readings", func() bool { return node.Status().Acked > 0 })
	stop()
	if st := node.Status(); st.Connects != 1 || st.Spooled != 0 {
		t.Errorf("%+v", st)
	}
}
