//go:build unix

package torture

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"fanwatch"
	"fanwatch/edge"
)

// mosquitto is Debian's broker with mutual TLS for the publisher, and a plain listener on loopback for the
// subscriber that writes down what arrives. Mosquitto keeps what it has acknowledged in memory until the subscriber
// has it, so two things keep its own forgetfulness out of the count: each life begins with the subscriber's session
// in its database, so that it holds messages from the first moment on; and it is killed only after the subscriber
// has caught up with its present life. From then on a message is in the subscriber's socket before its PUBACK is in
// the publisher's: Nagle's algorithm, which is off, could keep it back, and a socket that is closed with something
// unread in it lets go of that.
type mosquitto struct {
	t        *testing.T
	dir      string
	tls, tcp string // addresses
	ca       *x509.Certificate
	key      *ecdsa.PrivateKey

	cmd *exec.Cmd
	sub *subscriber

	mu      sync.Mutex
	batches []fanwatch.Batch
	echoes  map[string]bool
}

const mosquittoTopic = "fanwatch/readings"

func newMosquitto(t *testing.T) broker {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // Debian's place, which is not on everybody's PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("mosquitto is missing: apt-get install mosquitto")
	}
	m := &mosquitto{t: t, dir: t.TempDir(), tls: freePort(t), tcp: freePort(t), echoes: map[string]bool{}}
	m.authority()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root\n" // or it would become one who cannot read its files
	}
	write(t, m.dir, "mosquitto.conf", fmt.Appendf(nil, `%[4]sper_listener_settings true
persistence true
log_dest none
persistence_location %[1]s/
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
listener %[2]s 127.0.0.1
cafile %[1]s/ca.pem
certfile %[1]s/broker.pem
keyfile %[1]s/broker.key
require_certificate true
use_identity_as_username true
tls_version tlsv1.2
listener %[3]s 127.0.0.1
allow_anonymous true
`, m.dir, port(m.tls), port(m.tcp), user))
	m.cmd = exec.Command(path, "-c", filepath.Join(m.dir, "mosquitto.conf"))
	m.start()
	// An ordered end leaves the subscriber's session in the database, with which every later life begins.
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "mosquitto.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(m.cmd.Path, m.cmd.Args[1:]...)
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	until(m.t, "the subscriber's connection to mosquitto", m.subscribe)
}

// subscriber is a client with a session that lasts. It takes each message in the goroutine that reads the socket,
// to the last one that is in there: paho's client lets go of those that it has read and not handled when the
// connection ends.
type subscriber struct {
	conn net.Conn
	done chan struct{} // closed when the socket has been read to its end
}

// subscribe connects the subscriber and waits until it has what mosquitto kept for it.
func (m *mosquitto) subscribe() bool {
	conn, err := net.Dial("tcp", m.tcp)
	if err != nil {
		return false
	}
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier = "MQTT", 4, "subscriber"
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{mosquittoTopic + "/#", "echo"}, []byte{1, 1}
	if connect.Write(conn) != nil || subscribe.Write(conn) != nil {
		conn.Close()
		return false
	}
	m.sub = &subscriber{conn: conn, done: make(chan struct{})}
	go m.read(m.sub)
	m.echo()
	return true
}

func (m *mosquitto) read(s *subscriber) {
	defer close(s.done)
	for {
		packet, err := packets.ReadPacket(s.conn)
		if err != nil {
			return
		}
		message, ok := packet.(*packets.PublishPacket)
		if !ok {
			continue
		}
		m.take(message)
		if message.Qos == 1 {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = message.MessageID
			_ = ack.Write(s.conn) // nobody may be there to hear it any more; what is left to read counts all the same
		}
	}
}

// echo sends the subscriber a message of its own. When that has come, so has all that was acknowledged before.
func (m *mosquitto) echo() {
	m.t.Helper()
	text := rand.Text()
	message := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	message.TopicName, message.Payload = "echo", []byte(text)
	if err := message.Write(m.sub.conn); err != nil {
		m.t.Fatal(err)
	}
	until(m.t, "what mosquitto has acknowledged", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.echoes[text]
	})
}

func (m *mosquitto) take(message *packets.PublishPacket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if message.TopicName == "echo" {
		m.echoes[string(message.Payload)] = true
		return
	}
	var b fanwatch.Batch
	if err := json.Unmarshal(message.Payload, &b); err != nil {
		m.t.Errorf("not a batch: %v", err)
		return
	}
	m.batches = append(m.batches, b)
}

func (m *mosquitto) hang() { _ = m.cmd.Process.Signal(syscall.SIGSTOP) }

func (m *mosquitto) kill() {
	m.t.Helper()
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	<-m.sub.done
	m.sub.conn.Close()
}

func (m *mosquitto) arrived() []fanwatch.Batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches
}

// authority makes the certificate authority and the broker's certificate.
func (m *mosquitto) authority() {
	var err error
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		m.t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "torture CA"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &m.key.PublicKey, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.ca, err = x509.ParseCertificate(der); err != nil {
		m.t.Fatal(err)
	}
	write(m.t, m.dir, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	m.sign("broker")
}

// sign makes NAME.key and NAME.pem.
func (m *mosquitto) sign(name string) (certFile, keyFile string) {
	keyFile = filepath.Join(m.dir, name+".key")
	key, err := edge.NewKey(keyFile)
	if err != nil {
		m.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, m.ca, &key.PublicKey, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	return write(m.t, m.dir, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), keyFile
}

func (m *mosquitto) identity(fan string) identity {
	cert, key := m.sign(fan)
	return identity{Broker: m.tls, CA: filepath.Join(m.dir, "ca.pem"), Cert: cert, Key: key, Topic: mosquittoTopic + "/" +
		fan}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
