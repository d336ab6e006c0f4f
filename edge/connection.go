package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// token is a message under way: Done is closed when it was acknowledged or given up, Error tells which.
type token interface {
	Done() <-chan struct{}
	Error() error
}

// connection is one MQTT 3.1.1 connection. paho's client is used for nothing else: its reconnecting
// (with AutoReconnect a token can complete without a PUBACK) and its store (unsynced, reordering, at most
// 65,535 messages) stay off, so a token without error means a PUBACK on this connection.
type connection struct {
	client mqtt.Client
	lost   chan error
	once   sync.Once
	raw    net.Conn
}

// dial connects and waits for the CONNACK, for at most Config.ConnectTimeout.
func dial(ctx context.Context, c Config) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	raw, err := dialTLS(ctx, c)
	if err != nil {
		return nil, err
	}
	conn := &connection{lost: make(chan error, 1), raw: raw}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + c.Broker).SetClientID(c.ClientID).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(c.ConnectTimeout).
		SetKeepAlive(time.Minute).SetPingTimeout(10 * time.Second).SetWriteTimeout(5 * time.Second).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return raw, nil }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { conn.lost <- err })
	conn.client = mqtt.NewClient(o)
	t := conn.client.Connect()
	select {
	case <-t.Done():
		err = t.Error()
	case <-ctx.Done():
		err = fmt.Errorf("no CONNACK: %w", ctx.Err())
	}
	if err != nil {
		conn.close()
		return nil, explain(c, "mqtt", err)
	}
	return conn, nil
}

// dialTLS opens the connection below MQTT. The server's name is sent (SNI) and verified.
func dialTLS(ctx context.Context, c Config) (net.Conn, error) {
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Broker)
	if err != nil {
		return nil, explain(c, "connect", err)
	}
	if c.TLS == nil {
		return tcp, nil
	}
	conn := tls.Client(tcp, clientTLS(c))
	if err := conn.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, explain(c, "tls", err)
	}
	return conn, nil
}

// clientTLS is what the handshake with c.Broker uses. On port 443 AWS IoT tells MQTT with a client certificate from
// HTTPS by ALPN. https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
func clientTLS(c Config) *tls.Config {
	conf := c.TLS.Clone()
	host, port, _ := net.SplitHostPort(c.Broker) // Config.check has split it before
	if conf.ServerName == "" {
		conf.ServerName = host
	}
	if port == "443" && len(conf.NextProtos) == 0 {
		conf.NextProtos = []string{"x-amzn-mqtt-ca"}
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	return conf
}

// Connect tries whether the broker takes c's connection, up to the CONNACK, and ends it again. A publisher that is
// connected by the same client ID is cut off by it, and connects again.
func Connect(ctx context.Context, c Config) error {
	c.fill()
	if err := c.checkBroker(); err != nil {
		return err
	}
	conn, err := dial(ctx, c)
	if err != nil {
		return err
	}
	conn.close()
	return nil
}

// byPeer reports whether a connection ended because the other side closed it, and not by a network that failed.
func byPeer(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// publish sends with QoS 1. It blocks while the socket is full, for at most 5 s.
func (c *connection) publish(topic string, payload []byte) token {
	return c.client.Publish(topic, 1, false, payload)
}

// close says goodbye where that is still possible and makes sure that the socket is closed.
func (c *connection) close() {
	c.once.Do(func() {
		c.client.Disconnect(100)
		if err := c.raw.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return // a socket that breaks while it is closed is closed
		}
	})
}
