package edge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

// quick is a configuration for tests: small pauses, no pacing to speak of.
func quick(b *broker, t testing.TB) Config {
	c := Config{Fan: "fan-01", Broker: b.addr, TLS: b.a.client(t), FlushEvery: 10 * time.Millisecond, Rate: 5000,
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond, AckTimeout: 300 * time.Millisecond,
		ConnectTimeout: 5 * time.Second}
	c.fill()
	return c
}

// publish runs a publisher on s until the returned function is called.
func publish(c Config, s *Spool) (p *publisher, stop func()) {
	p = newPublisher(c, s, s.c.Run)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.run(ctx) })
	return p, func() { cancel(); wg.Wait() }
}

// TestTorture kills and restarts broker and publisher in random order and loses PUBACKs while readings
// are made: none is lost, none reordered, after repetitions are removed by (run, seq).
func TestTorture(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := newBroker(t, newAuthority(t, "fan-01"))
		lossy := rand.New(rand.NewPCG(seed, 1))
		b.judge(func() verdict {
			switch lossy.IntN(60) {
			case 0:
				return hangUp
			case 1:
				return keepQuiet
			}
			return acknowledge
		})
		c, dir := quick(b, t), t.TempDir()
		c.Drain = -1
		var want []fanwatch.ReadingID
		for run := uint64(1); run <= 5; run++ {
			s := open(t, SpoolConfig{Dir: dir, Run: run, SegmentBytes: 5000})
			_, stop := publish(c, s)
			for seq := uint64(1); seq <= 300; seq++ {
				s.Append(record(seq))
				want = append(want, fanwatch.ReadingID{Fan: "fan-01", Run: run, Seq: seq})
				switch rng.IntN(100) {
				case 0:
					b.kill()
					b.start(t)
				case 1, 2:
					time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
				}
			}
			// As a kill leaves it: nothing is drained, synced or closed in order.
			s.mu.Lock()
			s.closed = true
			s.release()
			s.mu.Unlock()
			stop()
		}
		b.judge(nil)
		s := open(t, SpoolConfig{Dir: dir, Run: 6})
		_, stop := publish(c, s)
		until(t, "the spool to drain", func() bool { return s.Stats().Spooled == 0 })
		stop()
		got, again := b.got()
		if !reflect.DeepEqual(got, want) {
			lost := 0
			for _, id := range want {
				if !slices.Contains(got, id) {
					lost++
				}
			}
			t.Errorf("seed %d: %d readings published, %d arrived, %d lost, or out of order", seed, len(want), len(got), lost)
		}
		if st := s.Stats(); st.Dropped != 0 || st.Acked != uint64(len(want)) {
			t.Errorf("seed %d: counted %+v", seed, st)
		}
		t.Logf("seed %d: %d readings, %d came again", seed, len(got), again)
		checkCounts(t, b)
	}
}

// checkCounts holds what the batches say was acknowledged against what came before them.
func checkCounts(t *testing.T, b *broker) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	highest := map[string]uint64{}
	for _, batch := range b.batches {
		if batch.Acked > highest[batch.Run] || batch.Dropped != 0 || batch.Acked >= batch.Readings[0].Seq {
			t.Errorf("run %s from %d: says %d acknowledged and %d dropped, %d have come", batch.Run, batch.Readings[0].Seq,
				batch.Acked, batch.Dropped, highest[batch.Run])
		}
		for _, r := range batch.Readings {
			highest[batch.Run] = max(highest[batch.Run], r.Seq)
		}
		if len(batch.Readings) > 10 {
			t.Errorf("batch of %d", len(batch.Readings))
		}
	}
}

// TestRunPublishesASimulatedFan is the whole edge: simulated fan, tacho, spool, TLS, broker.
func TestRunPublishesASimulatedFan(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	sim, err := NewSim(SimConfig{Faults: []Fault{{FaultStall, fanwatch.Duration(time.Second), seconds(60), 1}}},
		System().Boot())
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	c.Source, c.Dir, c.Interval, c.FlushEvery, c.Log = sim, t.TempDir(), 100*time.Millisecond, time.Hour,
		slog.New(slog.NewTextHandler(&logged, nil))
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var stalled fanwatch.WireReading
	until(t, "the stall, which is published at once", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, batch := range b.batches {
			for _, r := range batch.Readings {
				if r.State == fanwatch.StateStalled {
					stalled = r
					return true
				}
			}
		}
		return false
	})
	until(t, "acknowledgements", func() bool { return n.Status().Acked > 0 })
	if st := n.Status(); !st.Connected || st.Fan != "fan-01" || st.Run == 0 || st.Connects != 1 {
		t.Errorf("status %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	st := n.Status()
	got, again := b.got()
	if st.Spooled != 0 || uint64(len(got)) != st.Acked || again != 0 || !reflect.DeepEqual(seqs(got), span(1, st.Acked)) {
		t.Errorf("at the end %+v, %d arrived, %d again", st, len(got), again)
	}
	if stalled.RPM != 0 || !b.topics["$aws/rules/fanwatch_readings/fan-01"] {
		t.Errorf("stalled %+v, topics %v", stalled, b.topics)
	}
	if !strings.Contains(logged.String(), "msg=connected") {
		t.Errorf("log: %s", logged.String())
	}
}

func TestClockOf1970ConnectsAndIsDatedByAge(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	wrong := func() time.Time { return time.Unix(1000, 0) }
	var err error
	if c.TLS, err = TLSConfig(b.a.caFile, b.a.certFile, b.a.keyFile, wrong); err != nil {
		t.Fatal(err)
	}
	boot := 500 * time.Second
	c.Clock.Wall, c.Clock.Boot = wrong, func() time.Duration { return boot }
	c.Synchronised = func() bool { return false }
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 1})
	s.boot = "before" // readings of another boot
	r := record(1)
	r.Unsynch, r.Boot = true, 700*time.Second
	s.Append(r)
	s.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 2})
	r.Boot = 488 * time.Second
	s.Append(r)
	_, stop := publish(c, s)
	until(t, "both readings", func() bool { return s.Stats().Acked == 2 })
	stop()
	for i, age := range []time.Duration{500 * time.Second, 12 * time.Second} {
		if got := b.batches[i].Readings[0]; !got.Unsynch || got.Age != age.Microseconds() {
			t.Errorf("reading %d: %+v, want an age of %s", i, got, age)
		}
	}
}

func TestPublisherSaysWhyItCannotConnect(t *testing.T) {
	a := newAuthority(t, "fan-01")
	b := newBroker(t, a)
	other := newBroker(t, newAuthority(t, "fan-01"))
	hangs := newBroker(t, a) // up instead of answering a CONNECT, as AWS IoT does
	hangs.mu.Lock()
	hangs.noConnect = true
	hangs.mu.Unlock()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	free.Close()
	for name, c := range map[string]struct {
		change func(*Config)
		reason string
	}{
		"nobody listens": {func(c *Config) { c.Broker = closed }, "refused: nothing listens there"},
		"unknown CA":     {func(c *Config) { c.Broker = other.addr }, "set ca to the broker's root certificate"},
		"another name": {func(c *Config) { c.TLS.ServerName = "iot.example.com" },
			"iot.example.com: write broker as the endpoint is called"},
		"no certificate": {func(c *Config) { c.TLS.Certificates = nil },
			"the broker does not take this device's certificate"},
		"expired certificate": {func(c *Config) {
			c.TLS.Certificates = slices.Clone(c.TLS.Certificates)
			c.TLS.Certificates[0].Leaf = &x509.Certificate{NotAfter: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
			c.Broker = closed
		}, "this device has expired on 2026-01-02: "},
		"wrong clock": {func(c *Config) {
			c.TLS.Time = func() time.Time { return time.Now().AddDate(5, 0, 0) }
			c.Synchronised = func() bool { return false }
		}, "the clock of this machine is not synchronised and says 20"},
		"not the broker's certificate in time": {func(c *Config) {
			c.TLS.Time = func() time.Time {
				return time.Now().AddDate(
					5, 0, 0)
			}
		}, "the broker's certificate is not valid"},
		"not allowed": {func(c *Config) { c.Broker = hangs.addr },
			"as fan-01: the broker refuses this client"},
		"plain instead TLS": {func(c *Config) { c.TLS = nil; c.ConnectTimeout = 200 * time.Millisecond },
			"mqtt"},
		"older TLS than 1.2": {func(c *Config) { c.TLS.MaxVersion = tls.VersionTLS11 }, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := quick(b, t)
			c.change(&conf)
			s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 1})
			s.Append(record(1))
			p, stop := publish(conf, s)
			until(t, "the reason", func() bool { return strings.Contains(p.status().LastError, c.reason) })
			stop()
			if st := s.Stats(); st.Spooled != 1 || p.status().Connected {
				t.Errorf("%+v", st)
			}
		})
	}
	if got, _ := b.got(); len(got) != 0 {
		t.Errorf("arrived all the same: %v", got)
	}
}

// TestABatchSaysWhatWaitsBehindIt: while a spool drains, its readings are old for that reason.
func TestABatchSaysWhatWaitsBehindIt(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 1})
	fill(s, 1, 25)
	_, stop := publish(quick(b, t), s)
	until(t, "the readings", func() bool { return s.Stats().Acked == 25 })
	stop()
	var backlog []uint64
	for _, batch := range b.batches {
		backlog = append(backlog, batch.Backlog)
	}
	if !slices.Equal(backlog, []uint64{15, 5, 0}) {
		t.Errorf("backlog %v", backlog)
	}
}

func TestConfigIsChecked(t *testing.T) {
	sim, _ := NewSim(SimConfig{}, 0)
	good := Config{Fan: "fan-01", Broker: "127.0.0.1:1883", Source: sim, Dir: t.TempDir()}
	for name, change := range map[string]func(*Config){
		"fan name":        func(c *Config) { c.Fan = "a/b" },
		"host:port":       func(c *Config) { c.Broker = "nowhere" },
		"needs TLS":       func(c *Config) { c.Broker = "iot.example.com:8883" },
		"no source":       func(c *Config) { c.Source = nil },
		"no directory":    func(c *Config) { c.Dir = "" },
		"interval":        func(c *Config) { c.Interval = 1 },
		"batch":           func(c *Config) { c.Batch = 1000 },
		"window":          func(c *Config) { c.Window = -1 },
		"rate":            func(c *Config) { c.Rate = -1 },
		"longest":         func(c *Config) { c.BackoffMax = 1 },
		"not a directory": func(c *Config) { c.Dir = "/dev/null/spool" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	var wg sync.WaitGroup
	keys := make([]*ecdsa.PrivateKey, 8)
	for i := range keys { // whoever comes first, all have the same key
		wg.Go(func() { keys[i], _ = NewKey(path) })
	}
	wg.Wait()
	for _, k := range keys {
		if k == nil || !k.Equal(keys[0]) {
			t.Fatal("two callers have different keys")
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := CSR(keys[0], "a/b"); err == nil {
		t.Error("a CSR for a thing that cannot be")
	}
	os.WriteFile(path, []byte("nonsense"), 0o600)
	if _, err := NewKey(path); err == nil {
		t.Error("a broken key was replaced or taken")
	}

	a := newAuthority(t, "fan-01")
	foreign, _ := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	bad := filepath.Join(dir, "bad.pem")
	a.write(t, bad, a.sign(t, "fan-01", &foreign.PublicKey, time.Now().Add(time.Hour)))
	for _, files := range [][3]string{{path, a.certFile, a.keyFile}, {a.caFile, bad, a.keyFile}, {"missing", a.certFile,
		a.keyFile}} {
		if _, err := TLSConfig(files[0], files[1], files[2], nil); err == nil {
			t.Errorf("%v was taken", files)
		}
	}
}

func BenchmarkDrain(b *testing.B) {
	br := newBroker(b, newAuthority(b, "fan-01"))
	c := quick(br, b)
	c.Rate = 80 // as on AWS: the figure must come near 800 readings/s
	s := open(b, SpoolConfig{Dir: b.TempDir(), Run: 7})
	fill(s, 1, uint64(b.N))
	b.ResetTimer()
	_, stop := publish(c, s)
	for s.Stats().Spooled > 0 {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings_per_s-readings/s")
	b.ReportMetric(0, "ns/op") // the same again
	stop()
}
