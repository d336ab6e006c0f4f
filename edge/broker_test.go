package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"fanwatch"
)

// authority is a small certificate authority on disk, with a device's identity signed by it.
type authority struct {
	dir                       string
	ca                        *x509.Certificate
	key                       *ecdsa.PrivateKey
	caFile, certFile, keyFile string
}

func newAuthority(t testing.TB, thing string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.caFile, a.certFile, a.keyFile = filepath.Join(a.dir, "ca.pem"), filepath.Join(a.dir, "cert.pem"),
		filepath.Join(a.dir, "key.pem")
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(240 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, a.caFile, der)
	key, err := NewKey(a.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	csrPEM, err := CSR(key, thing)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(csrPEM)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		t.Fatal(err, csr.CheckSignature())
	}
	a.write(t, a.certFile, a.sign(t, csr.Subject.CommonName, csr.PublicKey, time.Now().Add(24*time.Hour)))
	return a
}

func (a *authority) sign(t testing.TB, name string, public any, until time.Time) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, a.ca, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) write(t testing.TB, path string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) client(t testing.TB) *tls.Config {
	t.Helper()
	c, err := TLSConfig(a.caFile, a.certFile, a.keyFile, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// broker is a real MQTT server with mutual TLS that can be killed and started again on its port.
type broker struct {
	mochi.HookBase
	a    *authority
	conf *tls.Config
	addr string

	mu       sync.Mutex
	server   *mochi.Server
	listener *mortal
	topics   map[string]bool
	batches  []fanwatch.Batch
	verdict  func() verdict // on each message; nil: accepted
	noShadow bool           // hangs up on whoever subscribes

	noConnect bool          // hangs up instead of answering a CONNECT
	shadow    func() []byte // answers a get of the shadow; nil: not at all
}

// verdict is what the broker does with a message that it has taken.
type verdict int

const (
	acknowledge verdict = iota
	hangUp              // the connection ends before the PUBACK
	keepQuiet           // no PUBACK at all
)

func newBroker(t testing.TB, a *authority) *broker {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.ca)
	b := &broker{a: a, addr: "127.0.0.1:0", topics: map[string]bool{},
		conf: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
			Certificates: []tls.Certificate{{Certificate: [][]byte{a.sign(t, "broker", &key.PublicKey,
				time.Now().Add(time.Hour))}, PrivateKey: key}}}}
	b.start(t)
	t.Cleanup(b.kill)
	return b
}

func (b *broker) start(t testing.TB) {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	if err := s.AddHook(b, nil); err != nil {
		t.Fatal(err)
	}
	var l *mortal
	until(t, "the port "+b.addr, func() bool {
		inner, err := net.Listen("tcp", b.addr)
		l = &mortal{Listener: inner}
		return err == nil
	})
	if err := s.AddListener(listeners.NewNet("tls", tls.NewListener(l, b.conf))); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addr, b.server, b.listener = l.Addr().String(), s, l
}

// kill ends all connections at once, as the end of the broker's process would.
func (b *broker) kill() {
	b.mu.Lock()
	s, l := b.server, b.listener
	b.server = nil
	b.mu.Unlock()
	if s != nil {
		l.kill()
		go s.Close() // waits for clients that were just connecting
	}
}

// mortal is a listener that can take its connections with it.
type mortal struct {
	net.Listener
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (l *mortal) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	l.conns = append(l.conns, c)
	return c, nil
}

func (l *mortal) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.Listener.Close()
	for _, c := range l.conns {
		c.Close()
	}
}

func (b *broker) ID() string { return "test" }

func (b *broker) Provides(hook byte) bool {
	return hook == mochi.OnConnectAuthenticate || hook == mochi.OnACLCheck || hook == mochi.OnPublish ||
		hook == mochi.OnSubscribe || hook == mochi.OnConnect
}

func (b *broker) OnConnect(*mochi.Client, packets.Packet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noConnect {
		return packets.ErrNotAuthorized
	}
	return nil
}

func (b *broker) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (b *broker) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (b *broker) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noShadow {
		cl.Stop(errors.New("test hangs up"))
	}
	return pk
}

func (b *broker) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if thing, ok := strings.CutPrefix(pk.TopicName, "$aws/things/"); ok {
		b.mu.Lock()
		server, answer := b.server, b.shadow
		b.mu.Unlock()
		if strings.HasSuffix(thing, "/get") && answer != nil && server != nil {
			return pk, server.Publish(pk.TopicName+"/accepted", answer(), false, 1)
		}
		return pk, nil
	}
	var batch fanwatch.Batch
	if err := json.Unmarshal(pk.Payload, &batch); err != nil {
		return pk, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches = append(b.batches, batch)
	b.topics[pk.TopicName] = true
	if b.verdict != nil {
		switch b.verdict() {
		case hangUp:
			cl.Stop(errors.New("test hangs up"))
		case keepQuiet:
			return pk, packets.ErrRejectPacket
		}
	}
	return pk, nil
}

// judge sets what the broker does with messages.
func (b *broker) judge(v func() verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdict = v
}

// got returns the readings that arrived, the first time of each, in order, and how often any came again.
func (b *broker) got() (ids []fanwatch.ReadingID, again int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[fanwatch.ReadingID]bool{}
	for _, batch := range b.batches {
		run, _ := fanwatch.ParseRun(batch.Run)
		for _, r := range batch.Readings {
			id := fanwatch.ReadingID{Fan: batch.Fan, Run: run, Seq: r.Seq}
			if seen[id] {
				again++
				continue
			}
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, again
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}
