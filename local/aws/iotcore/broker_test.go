package iotcore_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch"
	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/iotcore"
)

const demo = `{"TIME": "2019-11-05 10:13:07","FANID": "ABC123456","FREQ": 60,"RPM": 1800}`

// TestReadingToStream is the path of a reading: MQTT over mutual TLS, rule, stream, PUBACK.
func TestReadingToStream(t *testing.T) {
	at := time.Now()
	r := newRig(t, func(c *iotcore.Config) { c.Now = func() time.Time { return at } })
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT *, timestamp() AS arrived, clientid() AS client, principal() AS cert FROM 'IoT_TOPIC/recieve'",
		"${FANID}")
	r.acknowledged(r.connect(d, "fan-01"), "IoT_TOPIC/recieve", demo)
	want := put{"readings", "ABC123456",
		`{"TIME":"2019-11-05 10:13:07","FANID":"ABC123456","FREQ":60,"RPM":1800,"arrived":` +
			strconv.FormatInt(at.UnixMilli(), 10) + `,"client":"fan-01","cert":"` + d.certificateID + `"}`}
	if got := r.streams.on("readings"); len(got) != 1 || got[0] != want {
		t.Errorf("the stream has %+v\nwant %+v", got, want)
	}
	if f := r.server.Refusals(); len(f) != 0 {
		t.Errorf("refusals: %+v", f)
	}
}

// TestBasicIngest: only the named rule runs, topic() is what follows its name, and subscribers get nothing.
func TestBasicIngest(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	r.rule("one", "SELECT v, topic() AS t, topic(2) AS second FROM 'batch/#'", "${topic(2)}")
	r.rule("two", "SELECT 'two' AS rule FROM '#'", "x")
	c := r.connect(d, "fan-01")
	got := make(chan string, 10)
	// The second filter because # leaves out topics that start with $.
	token := c.SubscribeMultiple(map[string]byte{"#": 1, "$aws/rules/#": 1},
		func(_ mqtt.Client, m mqtt.Message) { got <- m.Topic() })
	token.Wait()
	r.must(token.Error())
	r.acknowledged(c, "$aws/rules/one/batch/fan-01", `{"v":18446744073709551615}`)
	want := put{"readings", "fan-01", `{"v":18446744073709551615,"t":"batch/fan-01","second":"fan-01"}`}
	if p := r.streams.on("readings"); len(p) != 1 || p[0] != want {
		t.Fatalf("the stream has %+v\nwant %+v", p, want)
	}
	// An ordinary publish behind it: what arrives first shows that the ingested one was not delivered.
	r.acknowledged(c, "plain/topic", `{}`)
	select {
	case topic := <-got:
		if topic != "plain/topic" {
			t.Errorf("delivered %s", topic)
		}
	case <-time.After(patience):
		t.Error("an ordinary publish was not delivered")
	}
	if p := r.streams.on("readings"); len(p) != 2 || p[1].data != `{"rule":"two"}` {
		t.Errorf("the ordinary publish made %+v", p)
	}
	r.refused(c, "$aws/rules/three/x", `{}`)
	r.reason(iotcore.RefusedTopic, "no rule three")
}

// TestErrorAction: what cannot become a record goes to the error stream in AWS's words, and is acknowledged.
func TestErrorAction(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT * FROM 'IoT_TOPIC/recieve'", "${FANID}")
	c := r.connect(d, "fan-01")
	for i, x := range []struct{ payload, message string }{
		{`{"FANID":"A","RPM": NaN}`, "not JSON"},
		{`{"RPM":1}`, "FANID is undefined"},
		{`{"FANID":"` + strings.Repeat("x", 300) + `"}`, "300 characters"},
	} {
		r.acknowledged(c, "IoT_TOPIC/recieve", x.payload)
		p := r.streams.on("errors")
		if len(p) != i+1 {
			t.Fatalf("%d error documents, want %d", len(p), i+1)
		}
		var doc struct {
			RuleName, Topic, CloudwatchTraceID, ClientID, Base64OriginalPayload string

			Failures []struct{ FailedAction, FailedResource, ErrorMessage string }
		}
		r.must(json.Unmarshal([]byte(p[i].data), &doc))
		payload, err := base64.StdEncoding.DecodeString(doc.Base64OriginalPayload)
		r.must(err)
		if doc.RuleName != "demo" || doc.Topic != "IoT_TOPIC/recieve" || doc.ClientID != "fan-01" ||
			doc.CloudwatchTraceID == "" || string(payload) != x.payload {
			t.Errorf("error document %s", p[i].data)
		}
		if f := doc.Failures; len(f) != 1 || f[0].FailedAction != "KinesisAction" || f[0].FailedResource != "readings" ||
			!strings.Contains(f[0].ErrorMessage, x.message) {
			t.Errorf("failures %+v, want one saying %q", f, x.message)
		}
	}
	r.streams.setDown("readings")
	r.acknowledged(c, "IoT_TOPIC/recieve", demo)
	if p := r.streams.on("errors"); len(p) != 4 || !strings.Contains(p[3].data, "connection refused") {
		t.Errorf("with the stream down: %+v", p)
	}
	if n := len(r.streams.on("readings")); n != 0 {
		t.Errorf("%d records on the stream", n)
	}
}

// TestNoAcknowledgementWithoutKinesis: with both streams down there is no PUBACK, QoS 0 or 1, and sent again it
// arrives.
func TestNoAcknowledgementWithoutKinesis(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT * FROM 'IoT_TOPIC/recieve'", "${FANID}")
	r.streams.setDown("readings", "errors")
	c := r.connect(d, "fan-01")
	acked := pubacks(r, "fan-02")
	r.refused(c, "IoT_TOPIC/recieve", demo)
	r.reason(iotcore.RefusedAction, "attempt 3 of 3: connection refused")
	if acked(demo) {
		t.Error("a PUBACK came while Kinesis was down")
	}
	r.streams.setDown()
	r.acknowledged(r.connect(d, "fan-01"), "IoT_TOPIC/recieve", demo)
	if n := len(r.streams.on("readings")); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// pubacks gives a function that publishes as a new thing over a raw connection and tells whether a PUBACK came before
// the broker closed it: paho cannot tell a lost connection from a PUBACK.
func pubacks(r *rig, thing string) func(payload string) bool {
	return pubacksOn(r, thing, "IoT_TOPIC/recieve")
}

func pubacksOn(r *rig, thing, topic string) func(payload string) bool {
	d := r.provision(thing, open)
	return func(payload string) bool {
		conn := r.raw(d)
		defer conn.Close()
		conn.connect(thing)
		conn.publish(topic, payload, 7)
		first, rest := conn.answer()
		return len(rest) > 0 || first == 0x40
	}
}

// TestFaultLosePuback: the record is written, the PUBACK is not sent, as often as asked.
func TestFaultLosePuback(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT * FROM 'IoT_TOPIC/recieve'", "${FANID}")
	r.inject(fault.Fault{Kind: fault.Lose, Count: 2},
		fault.Fault{Kind: fault.Delay, Delay: fanwatch.Duration(time.Millisecond), Count: 3})
	acked := pubacks(r, "fan-02")
	for range 2 {
		if acked(demo) {
			t.Error("a PUBACK came")
		}
	}
	if !acked(demo) {
		t.Error("no PUBACK after the fault was used up")
	}
	if n := len(r.streams.on("readings")); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	r.inject(fault.Fault{Kind: fault.Fail, Operation: "Connect"})
	if _, err := r.dial(d, "fan-01"); err == nil {
		t.Error("a connect was not refused")
	}
	r.connect(d, "fan-01")
}

// TestFaultLoseOfTheRESTAPI: the record is written and the answer is not sent; the SDK sends it again.
func TestFaultLoseOfTheRESTAPI(t *testing.T) {
	r := newRig(t)
	r.rule("demo", "SELECT * FROM 'IoT_TOPIC/recieve'", "${FANID}")
	r.inject(fault.Fault{Kind: fault.Lose})
	data := newDataClient(r.server.RESTAddr())
	_, err := data.Publish(t.Context(), &iotdataplane.PublishInput{Topic: aws.String("IoT_TOPIC/recieve"),
		Payload: []byte(demo)})
	r.must(err)
	if n := len(r.streams.on("readings")); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// TestLostWithoutErrorAction: poison for which there is nowhere to go is dropped with a reason, not sent for ever.
func TestLostWithoutErrorAction(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	p := rulePayload("SELECT * FROM 'a'", "${fan}")
	p.ErrorAction = nil
	_, err := r.iot.CreateTopicRule(t.Context(), &iot.CreateTopicRuleInput{RuleName: aws.String("bare"),
		TopicRulePayload: p})
	r.must(err)
	c := r.connect(d, "fan-01")
	r.acknowledged(c, "a", "no json")
	r.reason(iotcore.RefusedLost, "no error action")
	r.streams.setDown("readings")
	r.refused(c, "a", `{"fan":"x"}`)
	r.reason(iotcore.RefusedAction, "no error action")
}

func TestConnectRefusals(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	for _, x := range []struct{ clientID, reason string }{
		{"fan-02", "no policy of certificate"}, // no thing of that name is attached: the variable is not resolved
		{strings.Repeat("x", 129), "129 bytes"},
	} {
		if _, err := r.dial(d, x.clientID); err == nil {
			t.Errorf("client ID %.20s was let in", x.clientID)
		}
		r.reason(iotcore.RefusedConnect, x.reason)
	}
	foreign := newRig(t).provision("fan-01", open) // the same names, another authority
	if _, err := r.dial(foreign, "fan-01"); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	r.reason(iotcore.RefusedTLS, "unknown authority")
	if _, err := r.dial(device{}, "fan-01"); err == nil {
		t.Error("a client without a certificate was let in")
	}
	r.reason(iotcore.RefusedTLS, "didn't provide a certificate")
	r.connect(d, "fan-01") // and nothing else has stopped
}

// TestDeactivatedCertificate: its open connection ends, new ones are refused, until it is ACTIVE again.
func TestDeactivatedCertificate(t *testing.T) {
	r := newRig(t)
	d, other := r.provision("fan-01", open), r.provision("fan-02", open)
	c, bystander := r.connect(d, "fan-01"), r.connect(other, "fan-02")
	set := func(status types.CertificateStatus) {
		_, err := r.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &d.certificateID,
			NewStatus: status})
		r.must(err)
	}
	set(types.CertificateStatusInactive)
	r.expectLost(c)
	r.reason(iotcore.RefusedCertificate, "INACTIVE")
	if _, err := r.dial(d, "fan-01"); err == nil {
		t.Error("an INACTIVE certificate was let in")
	}
	r.reason(iotcore.RefusedTLS, "is INACTIVE")
	set(types.CertificateStatusActive)
	c = r.connect(d, "fan-01")
	set(types.CertificateStatusRevoked)
	r.expectLost(c)
	if _, err := r.dial(d, "fan-01"); err == nil {
		t.Error("a REVOKED certificate was let in")
	}
	r.acknowledged(bystander, "any/topic", "x")
}

func TestPublishRefusals(t *testing.T) {
	r := newRig(t)
	narrow := strings.Replace(open, "topic/*", "topic/mine/*", 1)
	d := r.provision("fan-01", narrow)
	for _, x := range []struct{ topic, payload, kind, reason string }{
		{"other", "x", iotcore.RefusedPublish, "iot:Publish on topic/other"},
		{"mine/big", strings.Repeat("x", 200<<10), iotcore.RefusedSize, "131072"},
		{"mine/bigger-by-one", strings.Repeat("x", 128<<10+1), iotcore.RefusedSize, "131073"},
		{"$aws/things/fan-01/jobs/get", "{}", iotcore.RefusedTopic, "get, update and delete"},
		{"$aws/other", "{}", iotcore.RefusedTopic, "reserved"},
		{"$SYS/x", "{}", iotcore.RefusedTopic, "$SYS"},
		{"mine/b/c/d/e/f/g/h/i", "{}", iotcore.RefusedTopic, "slashes"},
		{"mine/" + strings.Repeat("x", 300), "{}", iotcore.RefusedTopic, "bytes"},
	} {
		t.Run(x.topic[:min(len(x.topic), 20)], func(t *testing.T) {
			r := &rig{TB: t, server: r.server, iot: r.iot, streams: r.streams}
			r.refused(r.connect(d, "fan-01"), x.topic, x.payload)
			r.reason(x.kind, x.reason)
		})
	}
	c := r.connect(d, "fan-01")
	r.acknowledged(c, "mine/most", strings.Repeat("x", 128<<10))
	c.Publish("mine/x", 2, false, "x")
	r.expectLost(c)
	r.reason(iotcore.RefusedProtocol, "QoS 2")
	c = r.connect(d, "fan-01")
	c.Publish("mine/x", 1, true, "x")
	r.expectLost(c)
	r.reason(iotcore.RefusedProtocol, "retain")
}

// TestSubscribe: filters are judged by iot:Subscribe, deliveries by iot:Receive.
func TestSubscribe(t *testing.T) {
	r := newRig(t)
	policy := strings.Replace(open, `"iot:Publish","iot:Receive"`, `"iot:Publish"`, 1)
	policy = strings.Replace(policy, "topicfilter/*", "topicfilter/a/*", 1)
	policy = strings.Replace(policy, `]}`,
		`,{"Effect":"Allow","Action":"iot:Receive","Resource":"`+arnPrefix+`topic/a/heard"}]}`, 1)
	c := r.connect(r.provision("fan-01", policy), "fan-01")
	got := make(chan string, 10)
	listen := func(_ mqtt.Client, m mqtt.Message) { got <- m.Topic() }
	token := c.Subscribe("a/+", 1, listen)
	token.Wait()
	r.must(token.Error())
	token = c.Subscribe("b", 1, listen)
	token.Wait()
	if code := token.(*mqtt.SubscribeToken).Result()["b"]; code != 0x80 {
		t.Errorf("SUBACK %#x for a filter that is not allowed", code)
	}
	r.reason(iotcore.RefusedSubscribe, "topicfilter/b")
	r.acknowledged(c, "a/unheard", "x")
	r.acknowledged(c, "a/heard", "x")
	select {
	case topic := <-got:
		if topic != "a/heard" {
			t.Errorf("delivered %s", topic)
		}
	case <-time.After(patience):
		t.Fatal("nothing was delivered")
	}
	r.reason(iotcore.RefusedReceive, "topic/a/unheard")

	_, err := newDataClient(r.server.RESTAddr()).
		Publish(t.Context(), &iotdataplane.PublishInput{Topic: aws.String("a/heard"), Qos: 1, Payload: []byte("from REST")})
	r.must(err)
	select {
	case <-got:
	case <-time.After(patience):
		t.Error("a publish through the data plane was not delivered")
	}
}

// TestTakeover: a second client of the same ID ends the first one's connection.
func TestTakeover(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", open)
	first := r.connect(d, "fan-01")
	second := r.connect(d, "fan-01")
	r.expectLost(first)
	r.acknowledged(second, "x", "y")
}

// TestPublishRate: publishes over the limit are discarded without PUBACK, the connection stays.
func TestPublishRate(t *testing.T) {
	at := time.Now() // and it stands still
	r := newRig(t, func(c *iotcore.Config) { c.PublishRate, c.Now = 5, func() time.Time { return at } })
	d := r.provision("fan-01", open)
	r.rule("all", "SELECT * FROM '#'", "k")
	c := r.connect(d, "fan-01")
	for i := range 8 {
		c.Publish("x", 1, false, fmt.Sprintf(`{"n":%d}`, i))
	}
	r.reason(iotcore.RefusedRate, "more than 5 publishes a second")
	r.eventually("three discarded", func() bool { return r.server.RefusalCounts()[iotcore.RefusedRate] == 3 })
	if n := len(r.streams.on("readings")); n != 5 {
		t.Errorf("%d records, want 5", n)
	}
	if !c.IsConnectionOpen() {
		t.Error("the connection was closed")
	}
}

// TestWill: a will needs permission at connect, and runs rules when the connection breaks.
func TestWill(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", strings.Replace(open, "topic/*", "topic/gone/*", 1))
	r.rule("gone", "SELECT *, clientid() AS who FROM 'gone/+'", "k")
	c := mqtt.NewClient(r.options(d, "fan-01").SetWill("elsewhere", "{}", 1, false))
	if token := c.Connect(); token.Wait() && token.Error() == nil {
		t.Error("a will without permission was accepted")
	}
	r.reason(iotcore.RefusedConnect, "topic/elsewhere")
	raw := r.raw(d)
	raw.connectWithWill("fan-01", "gone/fan-01", `{"n":1}`)
	raw.Close()
	r.eventually("the will on the stream", func() bool {
		p := r.streams.on("readings")
		return len(p) == 1 && p[0].data == `{"n":1,"who":"fan-01"}`
	})
}

// TestTopicAlias: an MQTT 5 alias is no way round the policy, and rules see the topic that it stands for.
func TestTopicAlias(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", strings.Replace(open, "topic/*", "topic/mine/*", 1))
	r.rule("demo", "SELECT topic() AS t FROM 'mine/+'", "k")
	conn := r.raw(d)
	defer conn.Close()
	conn.connect5("fan-01")
	for id, topic := range []string{"mine/a", ""} {
		conn.publishAlias(topic, 1, "{}", byte(id+1))
		if first, rest := conn.answer(); first != 0x40 || rest[2] != byte(id+1) {
			t.Fatalf("answer %x % x", first, rest)
		}
	}
	if p := r.streams.on("readings"); len(p) != 2 || p[0].data != `{"t":"mine/a"}` || p[1] != p[0] {
		t.Errorf("the stream has %+v", p)
	}
	conn.publishAlias("other/a", 1, "{}", 3)
	if first, _ := conn.answer(); first == 0x40 {
		t.Error("another topic under a known alias was acknowledged")
	}
	r.reason(iotcore.RefusedPublish, "topic/other/a")
	conn = r.raw(d)
	defer conn.Close()
	conn.connect5("fan-01")
	conn.publishAlias("", 2, "{}", 1)
	if first, _ := conn.answer(); first == 0x40 {
		t.Error("an unknown alias was acknowledged")
	}
	r.reason(iotcore.RefusedTopic, "empty")
}

// TestMosquitto: a client that is none of ours, under a legacy client ID.
func TestMosquitto(t *testing.T) {
	program, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("mosquitto_pub is not on the PATH (Debian: mosquitto-clients)")
	}
	r := newRig(t)
	legacy := strings.Replace(open, "client/${iot:Connection.Thing.ThingName}", "client/new_Client", 1)
	d := r.provision("fan-demo", legacy)
	r.rule("demo", "SELECT *, clientid() AS client FROM 'IoT_TOPIC/recieve'", "${FANID}")
	cert, key := d.files(t)
	host, port, _ := strings.Cut(r.server.MQTTAddr(), ":")
	send := func(extra ...string) error {
		args := append([]string{"-h", host, "-p", port, "--cafile", r.server.CAFile(), "--cert", cert, "--key", key,
			"-q", "1"}, extra...)
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	r.must(send("-i", "new_Client", "-t", "IoT_TOPIC/recieve", "-m", demo))
	r.must(send("-i", "new_Client", "-t", "IoT_TOPIC/recieve", "-m", demo, "-V", "5"))
	want := `{"TIME":"2019-11-05 10:13:07","FANID":"ABC123456","FREQ":60,"RPM":1800,"client":"new_Client"}`
	if p := r.streams.on("readings"); len(p) != 2 || p[0].data != want || p[1] != p[0] {
		t.Errorf("the stream has %+v", p)
	}
	if err := send("-i", "somebody", "-t", "IoT_TOPIC/recieve", "-m", demo); err == nil {
		t.Error("another client ID was let in")
	}
}
