package iotcore_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"time"
)

// rawConn speaks MQTT 3.1.1 by hand, for what no client library shows: that no PUBACK came, or a connection
// that breaks without DISCONNECT.
type rawConn struct {
	*tls.Conn
	r *rig
}

func (r *rig) raw(d device) *rawConn {
	r.Helper()
	root, err := os.ReadFile(r.server.CAFile())
	r.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	conn, err := tls.Dial("tcp", r.server.MQTTAddr(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{d.pair}})
	r.must(err)
	r.must(conn.SetDeadline(time.Now().Add(patience)))
	return &rawConn{Conn: conn, r: r}
}

func (c *rawConn) connect(id string) { c.connected(0x02, text(id)) }

func (c *rawConn) connectWithWill(id, topic, payload string) {
	c.connected(0x02|0x04|0x08, append(append(text(id), text(topic)...), text(payload)...))
}

func (c *rawConn) connected(flags byte, payload []byte) {
	c.r.Helper()
	c.send(0x10, append(append(text("MQTT"), 4, flags, 0, 60), payload...))
	answer := make([]byte, 4)
	_, err := io.ReadFull(c, answer)
	c.r.must(err)
	if answer[0] != 0x20 || answer[3] != 0 {
		c.r.Fatalf("CONNACK % x", answer)
	}
}

// connect5 is connect in MQTT 5.
func (c *rawConn) connect5(id string) {
	c.r.Helper()
	c.send(0x10, append(append(text("MQTT"), 5, 0x02, 0, 60, 0), text(id)...))
	head := make([]byte, 2)
	_, err := io.ReadFull(c, head)
	c.r.must(err)
	body := make([]byte, head[1])
	_, err = io.ReadFull(c, body)
	c.r.must(err)
	if head[0] != 0x20 || body[1] != 0 {
		c.r.Fatalf("CONNACK % x % x", head, body)
	}
}

// publishAlias is publish in MQTT 5 with a topic alias.
func (c *rawConn) publishAlias(topic string, alias byte, payload string, id byte) {
	c.send(0x32, append(append(text(topic), 0, id, 3, 0x23, 0, alias), payload...))
}

func (c *rawConn) publish(topic, payload string, id byte) {
	c.send(0x32, append(append(text(topic), 0, id), payload...))
}

// answer reads until the broker closes, or the four bytes of a PUBACK.
func (c *rawConn) answer() (first byte, rest []byte) {
	b := make([]byte, 4)
	n, _ := io.ReadFull(c, b)
	if n == 0 {
		return 0, nil
	}
	return b[0], b[1:n]
}

func (c *rawConn) send(kind byte, body []byte) {
	c.r.Helper()
	out := []byte{kind}
	for n := len(body); ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			digit |= 0x80
		}
		out = append(out, digit)
		if n == 0 {
			break
		}
	}
	_, err := c.Write(append(out, body...))
	c.r.must(err)
}

func text(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }
