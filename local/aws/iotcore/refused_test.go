package iotcore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch"
	"fanwatch/local/aws/iotcore"
)

// logged is a log that tests read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRefusing is a rig whose refusals go to the stream "errors", and its log.
func newRefusing(t testing.TB, change ...func(*iotcore.Config)) (*rig, *logged) {
	l := &logged{}
	return newRig(t, append([]func(*iotcore.Config){func(c *iotcore.Config) {
		c.Refused, c.Log = "errors", slog.New(slog.NewTextHandler(l, nil))
	}}, change...)...), l
}

// listed waits for a refusal on the error stream whose reason has the text in it, as fanwatch refused would list it.
func (r *rig) listed(text string) fanwatch.Record {
	r.Helper()
	var found fanwatch.Record
	r.eventually("on the error stream: "+text, func() bool {
		for _, p := range r.streams.on("errors") {
			rec, err := fanwatch.DecodeRecord([]byte(p.data))
			r.must(err)
			if strings.Contains(rec.Refused, text) {
				found = rec
				return true
			}
		}
		return false
	})
	return found
}

// TestWhatTheBrokerRefusesIsListed: each refusal of a connection or a publish is on the error stream, with client,
// fan, reason and mend, and what was published.
func TestWhatTheBrokerRefusesIsListed(t *testing.T) {
	r, log := newRefusing(t)
	d := r.provision("fan-01", strings.Replace(open, "topic/*", "topic/mine/*", 1))
	if _, err := r.dial(d, "fan-02"); err == nil {
		t.Error("a wrong client ID was let in")
	}
	if rec := r.listed("iot:Connect on client/fan-02: connect under the fan's name"); rec.Client != "fan-02" ||
		rec.Fan != "fan-01" || rec.Arrived.IsZero() {
		t.Errorf("wrong client ID: %+v", rec)
	}
	if _, err := r.dial(device{}, "fan-01"); err == nil {
		t.Error("a client without certificate was let in")
	}
	rec := r.listed("didn't provide a certificate: use a certificate that fanwatch provision signed")
	if rec.Client != "" || rec.Fan != "" {
		t.Errorf("no certificate: %+v", rec)
	}
	if _, err := r.dial(newRig(t).provision("fan-01", open), "fan-01"); err == nil {
		t.Error("a foreign certificate was let in")
	}
	r.listed("unknown authority")

	r.refused(r.connect(d, "fan-01"), "theirs/x", `{"a":1}`)
	if rec := r.listed("iot:Publish on topic/theirs/x: publish to a topic"); rec.Client != "fan-01" ||
		rec.Fan != "fan-01" || string(rec.Payload) != `{"a":1}` {
		t.Errorf("topic: %+v", rec)
	}
	r.refused(r.connect(d, "fan-01"), "mine/big", strings.Repeat("x", 128<<10+1))
	rec = r.listed("on mine/big: the payload has 131073 bytes, at most 131072 are allowed: send fewer")
	if len(rec.Payload) != 4<<10 {
		t.Errorf("size: %d bytes are kept", len(rec.Payload))
	}
	c := r.connect(d, "fan-01")
	c.Publish("mine/x", 1, true, "kept")
	r.expectLost(c)
	r.listed("on mine/x: the local IoT Core keeps no retained messages")
	c = r.connect(d, "fan-01")
	c.Publish("mine/y", 2, false, "twice")
	r.expectLost(c)
	if rec := r.listed("on mine/y: QoS 2 is not supported"); string(rec.Payload) != "twice" {
		t.Errorf("QoS 2: %+v", rec)
	}

	_, err := r.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &d.certificateID,
		NewStatus: types.CertificateStatusInactive})
	r.must(err)
	if _, err := r.dial(d, "fan-01"); err == nil {
		t.Error("an INACTIVE certificate was let in")
	}
	r.listed("is INACTIVE: use a certificate")
	for _, line := range strings.Split(log.String(), "\n") {
		if strings.Contains(line, "refused") && !strings.Contains(line, "level=WARN") {
			t.Errorf("logged as %s", line)
		}
	}
}

// TestRefusalsAreFitForATerminal: what a client calls itself and its topics comes without control characters.
func TestRefusalsAreFitForATerminal(t *testing.T) {
	r, _ := newRefusing(t)
	d := r.provision("fan-01", strings.Replace(open, "client/${iot:Connection.Thing.ThingName}", "client/good", 1))
	if _, err := r.dial(d, "a\x1b[2Jb\r\nc"); err == nil {
		t.Error("it was let in")
	}
	if rec := r.listed("iot:Connect on client/a\ufffd[2Jb\ufffd\ufffdc"); rec.Client != "a\ufffd[2Jb\ufffd\ufffdc" {
		t.Errorf("%+q", rec.Client)
	}
}

// TestATakeoverIsNamed: in the log with both addresses, in the list, and to an MQTT 5 client by its code; a client of
// 3.1.1, where a server has no DISCONNECT, gets the end of the connection alone.
func TestATakeoverIsNamed(t *testing.T) {
	r, log := newRefusing(t)
	d := r.provision("twin", open)
	older := r.raw(d)
	defer older.Close()
	older.connect("twin")
	newer := r.raw(d)
	defer newer.Close()
	newer.connect5("twin")
	if rest, err := io.ReadAll(older); err != nil || len(rest) != 0 {
		t.Errorf("the connection of MQTT 3.1.1 ended with % x, %v", rest, err)
	}
	rec := r.listed("client twin was taken over by another connection; the earlier one was closed: two devices use " +
		"one client ID")
	if rec.Client != "twin" || rec.Fan != "twin" {
		t.Errorf("%+v", rec)
	}
	want := fmt.Sprintf("the new one is from %s, the earlier one was from %s", newer.LocalAddr(), older.LocalAddr())
	if !strings.Contains(log.String(), want) {
		t.Errorf("logged %s\nwant %s", log, want)
	}
	r.acknowledged(r.connect(d, "twin"), "x", "y") // once more
	head := make([]byte, 3)
	if _, err := io.ReadFull(newer, head); err != nil || head[0] != 0xe0 || head[2] != 0x8e {
		t.Errorf("the connection of MQTT 5 ended with % x, %v", head, err)
	}
	r.eventually("two takeovers", func() bool { return r.server.RefusalCounts()[iotcore.RefusedTakeover] == 2 })
	if n := r.server.RefusalCounts(); len(n) != 1 {
		t.Errorf("refusals %+v", r.server.Refusals())
	}
}

// TestManyTakeoversAtOnce: of connections that come at the same time with one client ID one stays, and it is served.
func TestManyTakeoversAtOnce(t *testing.T) {
	r, _ := newRefusing(t)
	d := r.provision("twin", open)
	const n = 12
	clients := make([]*client, n)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i], _ = r.dial(d, "twin") })
	}
	wg.Wait()
	var left []*client
	r.eventually("one connection left", func() bool {
		left = nil
		for _, c := range clients {
			if c.IsConnectionOpen() {
				left = append(left, c)
			}
		}
		return len(left) == 1
	})
	got := make(chan bool, 1)
	token := left[0].Subscribe("x", 1, func(mqtt.Client, mqtt.Message) { got <- true })
	token.Wait()
	r.must(token.Error())
	r.acknowledged(left[0], "x", "y")
	select {
	case <-got:
	case <-time.After(patience):
		t.Error("the connection that is left gets nothing")
	}
	r.eventually("the takeovers", func() bool { return r.server.RefusalCounts()[iotcore.RefusedTakeover] == n-1 })
}

// TestAnOlderClientIsRefusedWithItsOwnCodes: MQTT 3.1.1 knows 0 to 5. A bridge that announces itself by the bridge bit
// gets 1, for which it tries again without.
func TestAnOlderClientIsRefusedWithItsOwnCodes(t *testing.T) {
	r, log := newRefusing(t)
	d := r.provision("fan-01", open)
	will := append(append(text("fan-01"), text("a/b")...), text("gone")...)
	for _, x := range []struct {
		name           string
		version, flags byte
		payload        []byte
		code           int // -1: the connection ends without CONNACK
		reason         string
	}{
		{"bridge bit", 0x84, 0x02, text("fan-01"), 1, "the bridge bit"},
		{"bridge bit of 3.1", 0x83, 0x02, text("fan-01"), 1, "the bridge bit"},
		{"version 6", 6, 0x02, text("fan-01"), 1, "protocol version 6: use MQTT 3.1.1 or 5"},
		{"no client ID, kept session", 4, 0x00, text(""), 2, "without client ID"},
		{"retained will", 4, 0x02 | 0x04 | 0x20, will, 5, "retained will"},
		{"will of QoS 2", 4, 0x02 | 0x04 | 0x10, will, 5, "will of QoS 2"},
		{"another's client ID", 4, 0x02, text("fan-02"), 5, "client/fan-02"},
		{"NUL in the client ID", 4, 0x02, text("a\x00b"), -1, "cannot be read (client identifier not valid)"},
		{"not UTF-8", 4, 0x02, text("a\xff"), -1, "cannot be read (client identifier not valid)"},
		{"cut short", 4, 0x02, []byte{0, 9, 'a'}, -1, "cannot be read"},
	} {
		conn := r.raw(d)
		conn.send(0x10, append(append(text("MQTT"), x.version, x.flags, 0, 60), x.payload...))
		got, err := io.ReadAll(conn)
		conn.Close()
		want := []byte(nil)
		if x.code >= 0 {
			want = []byte{0x20, 2, 0, byte(x.code)}
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: answered % x (%v), want % x", x.name, got, err, want)
		}
		r.listed(x.reason)
		if !strings.Contains(log.String(), x.reason) {
			t.Errorf("%s: not in the log: %s", x.name, log)
		}
	}
	conn := r.raw(d)
	conn.send(0x30, text("no CONNECT"))
	if got, _ := io.ReadAll(conn); len(got) != 0 {
		t.Errorf("a PUBLISH instead of a CONNECT was answered % x", got)
	}
	r.listed("first packet must be connect")
}

// TestWhoeverJustHangsUpIsNotListed: a look at the port is no refusal.
func TestWhoeverJustHangsUpIsNotListed(t *testing.T) {
	r, _ := newRefusing(t)
	d := r.provision("fan-01", open)
	bare, err := net.Dial("tcp", r.server.MQTTAddr())
	r.must(err)
	bare.Close()
	r.raw(d).Close()
	half := r.raw(d)
	half.Write([]byte{0x10, 20, 0})
	half.Close()
	r.acknowledged(r.connect(d, "fan-01"), "x", "y")
	if f := r.server.Refusals(); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// TestAConnackOfMQTT5SaysWhatIsNotToBeHad: what a client would otherwise send again and again.
func TestAConnackOfMQTT5SaysWhatIsNotToBeHad(t *testing.T) {
	r, _ := newRefusing(t)
	conn := r.raw(r.provision("fan-01", open))
	defer conn.Close()
	conn.send(0x10, append(append(text("MQTT"), 5, 0x02, 0x0e, 0x10, 0), text("fan-01")...)) // keep-alive 3600
	head := make([]byte, 2)
	_, err := io.ReadFull(conn, head)
	r.must(err)
	body := make([]byte, head[1])
	_, err = io.ReadFull(conn, body)
	r.must(err)
	for what, want := range map[string][]byte{
		"Retain Available 0":          {0x25, 0},
		"Maximum Packet Size 147,456": {0x27, 0, 2, 0x40, 0},
		"Topic Alias Maximum 8":       {0x22, 0, 8},
		"Server Keep Alive 1200":      {0x13, 0x04, 0xb0},
		"Maximum QoS 1":               {0x24, 1},
	} {
		if !bytes.Contains(body[3:], want) {
			t.Errorf("no %s in % x", what, body)
		}
	}
}

// TestAHangingStreamHoldsUpNoConnection: refusals wait beside the connections, and what did not fit is said
// afterwards.
func TestAHangingStreamHoldsUpNoConnection(t *testing.T) {
	inner, release := &streams{}, make(chan struct{})
	r, log := newRefusing(t, func(c *iotcore.Config) {
		c.ActionTimeout = 100 * time.Millisecond
		c.Kinesis = iotcore.PutFunc(func(ctx context.Context, stream, key string, data []byte) error {
			if stream == "errors" {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return inner.Put(ctx, stream, key, data)
		})
	})
	r.streams = inner
	d := r.provision("fan-01", strings.Replace(open, "topicfilter/*", "topicfilter/mine/*", 1))
	r.rule("all", "SELECT * FROM 'mine/#'", "k")
	c := r.connect(d, "fan-01")
	// 30 certificates with 20 different reasons each are more than the queue holds.
	for i := range 30 {
		name, policy := fmt.Sprintf("other-%02d", i), strings.Replace(open, "topicfilter/*", "topicfilter/mine/*", 1)
		other := r.connect(r.provision(name, policy), name)
		for j := range 20 {
			other.Subscribe(fmt.Sprintf("theirs/%d", j), 1, nil).Wait()
		}
	}
	r.acknowledged(c, "mine/x", `{"n":1}`)
	if n := len(inner.on("errors")); n != 0 {
		t.Fatalf("%d documents though the stream hangs", n)
	}
	close(release)
	r.listed("refusals of the broker are not listed, because the stream did not take them in time")
	if n := len(inner.on("errors")); n > 300 {
		t.Errorf("%d documents: the queue has no bound", n)
	}
	if !strings.Contains(log.String(), "theirs/19") {
		t.Error("the log lacks refusals, too")
	}
}

// TestClosingTellsWhatWasHeldBack: the counts of the last minute are not lost with the process.
func TestClosingTellsWhatWasHeldBack(t *testing.T) {
	r, _ := newRefusing(t)
	d := r.provision("fan-01", open)
	for range 5 {
		_, _ = r.dial(d, "fan-02")
	}
	r.eventually("five refusals", func() bool { return r.server.RefusalCounts()[iotcore.RefusedConnect] == 5 })
	r.listed("client/fan-02")
	if n := len(r.streams.on("errors")); n != 1 {
		t.Errorf("%d documents before the minute is over", n)
	}
	r.must(r.server.Close())
	r.listed("(and 3 more in the last minute)")
	if n := len(r.streams.on("errors")); n != 2 {
		t.Errorf("%d documents", n)
	}
}

// TestMosquittoBridge: a bridge with mosquitto's defaults, as in AWS's own example, is refused once for its bridge bit
// and comes back without.
func TestMosquittoBridge(t *testing.T) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		t.Skip("mosquitto is not on the PATH (Debian: mosquitto)")
	}
	pub, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("mosquitto_pub is not on the PATH (Debian: mosquitto-clients)")
	}
	r, _ := newRefusing(t)
	d := r.provision("fan-demo", strings.Replace(open, "client/${iot:Connection.Thing.ThingName}", "client/new_Client", 1))
	r.rule("demo", "SELECT *, clientid() AS client FROM 'IoT_TOPIC/recieve'", "${FANID}")
	cert, key := d.files(t)
	self, err := user.Current() // mosquitto would become another, which cannot read the key
	r.must(err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	conf := filepath.Join(t.TempDir(), "bridge.conf")
	r.must(os.WriteFile(conf, []byte(strings.Join([]string{
		"listener " + port + " 127.0.0.1", "user " + self.Username, "allow_anonymous true",
		"connection awsiot", "address " + r.server.MQTTAddr(), "clientid new_Client",
		"topic IoT_TOPIC/recieve out 1", "bridge_protocol_version mqttv311", "bridge_insecure false",
		"bridge_cafile " + r.server.CAFile(), "bridge_certfile " + cert, "bridge_keyfile " + key,
		"cleansession true", "start_type automatic", "restart_timeout 1", "notifications false", "",
	}, "\n")), 0o600))
	ctx, stop := context.WithCancel(t.Context())
	broker := exec.CommandContext(ctx, program, "-c", conf)
	r.must(broker.Start())
	defer func() {
		stop()
		_ = broker.Wait() // killed
	}()
	r.listed("the bridge bit")
	r.eventually("the bridge's publish on the stream", func() bool {
		send := exec.CommandContext(ctx, pub, "-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "IoT_TOPIC/recieve", "-m", demo)
		_ = send.Run() // it fails until the bridge is there
		return len(r.streams.on("readings")) > 0
	})
	var doc struct{ Client string }
	r.must(json.Unmarshal([]byte(r.streams.on("readings")[0].data), &doc))
	if doc.Client != "new_Client" {
		t.Errorf("%+v", r.streams.on("readings"))
	}
}

// TestARefusalIsAnErrorDocumentOfNoRule: the form that AWS's own error actions have, so that one reader reads both.
func TestARefusalIsAnErrorDocumentOfNoRule(t *testing.T) {
	r, _ := newRefusing(t)
	d := r.provision("fan-01", strings.Replace(open, "topic/*", "topic/mine/*", 1))
	r.refused(r.connect(d, "fan-01"), "theirs", "x")
	r.listed("topic/theirs")
	p := r.streams.on("errors")[0]
	var doc map[string]any
	r.must(json.Unmarshal([]byte(p.data), &doc))
	payload, err := base64.StdEncoding.DecodeString(fmt.Sprint(doc["base64OriginalPayload"]))
	r.must(err)
	if p.key != "fan-01" || doc["ruleName"] != "" || doc["topic"] != "theirs" || doc["clientId"] != "fan-01" ||
		doc["fan"] != "fan-01" || string(payload) != "x" || doc["client"] != nil {
		t.Errorf("key %s: %s", p.key, p.data)
	}
}
