package edge

import (
	"context"
	"crypto/tls"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPort443SpeaksALPN: AWS IoT Core takes MQTT with a client certificate on port 443 only with this ALPN name,
// and finds the account by the server's name (SNI).
func TestPort443SpeaksALPN(t *testing.T) {
	a := newAuthority(t, "fan-01")
	b := newBroker(t, a)
	for _, c := range []struct {
		broker string
		alpn   []string
	}{
		{"localhost:443", []string{"x-amzn-mqtt-ca"}},
		{"localhost:8883", nil},
	} {
		conf := clientTLS(Config{Broker: c.broker, TLS: a.client(t)})
		var hello *tls.ClientHelloInfo
		server := b.conf.Clone()
		server.NextProtos = []string{"x-amzn-mqtt-ca", "mqtt"}
		server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { hello = h; return nil, nil }
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(far, server).HandshakeContext(t.Context()) }()
		client := tls.Client(near, conf)
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if hello.ServerName != "localhost" || !slices.Equal(hello.SupportedProtos, c.alpn) ||
			slices.Min(hello.SupportedVersions) < tls.VersionTLS12 {
			t.Errorf("%s: SNI %q, ALPN %v, versions %x", c.broker, hello.ServerName, hello.SupportedProtos,
				hello.SupportedVersions)
		}
		near.Close()
	}
}

func TestConnectTriesAsFarAsTheCONNACK(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	if err := Connect(t.Context(), c); err != nil {
		t.Error(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c = Config{Fan: "fan-01", Broker: silent.Addr().String(), ConnectTimeout: 50 * time.Millisecond}
	if err := Connect(context.Background(), c); err == nil || !strings.Contains(err.Error(), silent.Addr().String()+
		" as fan-01") {
		t.Errorf("of a broker that says nothing: %v", err)
	}
	if err := Connect(t.Context(), Config{Fan: "fan-01", Broker: "iot.example.com:8883"}); err == nil ||
		!strings.Contains(err.Error(), "needs TLS") {
		t.Errorf("without TLS: %v", err)
	}
}

// TestReadingsOfAWrongClockAreDatedOnceItIsRight: with the clock set since, a reading of this boot gets its true
// time and is flagged no longer; one of an earlier boot stays flagged, because it is not known how long the
// machine was off.
func TestReadingsOfAWrongClockAreDatedOnceItIsRight(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	c.Clock = Clock{Wall: func() time.Time { return now }, Boot: func() time.Duration { return 100 * time.Second }}
	c.Synchronised = func() bool { return true }
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 1})
	s.boot = "before"
	r := record(1)
	r.Unsynch, r.Boot, r.Time = true, 90*time.Second, time.Unix(90, 0)
	s.Append(r)
	s.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 2})
	s.Append(r)
	_, stop := publish(c, s)
	until(t, "both readings", func() bool { return s.Stats().Acked == 2 })
	stop()
	if early := b.batches[0].Readings[0]; !early.Unsynch || early.Age != (100*time.Second).Microseconds() {
		t.Errorf("of the boot before: %+v", early)
	}
	if got := b.batches[1].Readings[0]; got.Unsynch || got.T != now.Add(-10*time.Second).UnixMicro() {
		t.Errorf("of this boot: %+v, want %s", got, now.Add(-10*time.Second))
	}
}

// TestReferenceIsWhenTheProgramWasMade: a clock of 1970 must not make every certificate one of the future, nor a
// program of 2030 believe a clock of 2026.
func TestReferenceIsWhenTheProgramWasMade(t *testing.T) {
	source := madeAt(nil)
	for stamp, want := range map[string]time.Time{
		"2030-01-02T03:04:05Z": time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		"1999-01-01T00:00:00Z": source,
		"nonsense":             source,
	} {
		if got := madeAt([]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: stamp}}); !got.Equal(
			want) {
			t.Errorf("stamped %s: %s, want %s", stamp, got, want)
		}
	}
	if got := BuildTime(); got.Before(source) {
		t.Errorf("this program was made at %s", got)
	}
}
