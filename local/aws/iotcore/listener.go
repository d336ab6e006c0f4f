package iotcore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"
)

// handshakeTime is how long a new connection has for its TLS handshake and its CONNECT.
const handshakeTime = 10 * time.Second

// listener hands connections to the MQTT server after the TLS handshake, so that every refused certificate
// has a logged reason (the server's own TLS listener would lose it).
type listener struct {
	net.Listener
	broker *broker
	tls    *tls.Config
}

var _ listeners.Listener = (*listener)(nil)

// tlsConfig asks for a certificate of the local root. Sessions are not resumed: every connection proves
// its key again.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              s.authority.pool(),
		SessionTicketsDisabled: true,
		Time:                   s.cfg.Now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.authority.serverCertificate()
		},
	}
}

// ID, Address, Protocol and Init are what the MQTT server asks of a listener.
func (l *listener) ID() string              { return "mqtts" }
func (l *listener) Address() string         { return l.Addr().String() }
func (l *listener) Protocol() string        { return "tcp" }
func (l *listener) Init(*slog.Logger) error { return nil }

// Serve accepts connections until the listener is closed.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, say: others may end soon
			l.broker.log.Warn("accept failed", "err", err)
			if !sleep(l.broker.ctx, 50*time.Millisecond) {
				return
			}
			continue
		}
		go l.serve(conn, establish)
	}
}

// Close stops accepting. The broker has closed the connections by then.
func (l *listener) Close(listeners.CloseFn) { _ = l.Listener.Close() }

func (l *listener) serve(conn net.Conn, establish listeners.EstablishFn) {
	defer conn.Close()
	p, err := l.handshake(conn)
	if hungUp(err) {
		l.broker.log.Debug("a connection ended before its TLS handshake",
			"remote", conn.RemoteAddr().String(), "err", err)
		return
	}
	if err != nil {
		l.broker.refusals.add(RefusedTLS, "", "", err.Error(), origin{})
		return
	}
	if !l.broker.admit(p) {
		return
	}
	defer l.broker.forget(p)
	// Asked after the peer is known to the broker: a change of status either is seen here or closes it.
	c, err := l.broker.registry.certificate(p.certificate)
	if err == nil && c.Status != statusActive {
		err = fmt.Errorf("certificate %.12s is %s", c.ID, c.Status)
	}
	if err != nil {
		l.broker.refuse(p, RefusedTLS, "", "", nil, err.Error())
		return
	}
	if err := establish(l.ID(), p); err != nil {
		if !p.taken && !p.judged && !hungUp(err) {
			l.broker.refuse(p, RefusedProtocol, "", "", nil, noConnect(err))
		}
		l.broker.log.Debug("connection ended", "remote", conn.RemoteAddr().String(), "err", err)
	}
}

// hungUp tells whether err is the client's or the broker's own end of the connection, and so no refusal.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, context.Canceled)
}

// noConnect says why a connection ended without a CONNECT that could be read.
func noConnect(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Sprintf("no CONNECT came within %s of the connection: send one at once", handshakeTime)
	}
	var code packets.Code
	if !errors.As(err, &code) {
		return "the CONNECT cannot be read: " + err.Error()
	}
	return fmt.Sprintf("the CONNECT cannot be read (%s): send MQTT 3.1.1 or 5", code.Reason)
}

func (l *listener) handshake(conn net.Conn) (*peer, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	secure := tls.Server(conn, l.tls)
	ctx, cancel := context.WithTimeout(l.broker.ctx, handshakeTime)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	chain := secure.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("TLS handshake: no client certificate")
	}
	p := &peer{Conn: secure, certificate: certificateID(chain[0].Raw), gone: make(chan struct{})}
	if n := l.broker.rate; n > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(n), n)
	}
	return p, nil
}

// admit takes the connection into the books; false when the broker is closing.
func (b *broker) admit(p *peer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.peers[p] = struct{}{}
	b.wg.Add(1)
	return true
}

func (b *broker) forget(p *peer) {
	b.mu.Lock()
	delete(b.peers, p)
	if cl := p.connected(); cl != nil && b.sessions[cl.ID] == p {
		delete(b.sessions, cl.ID)
	}
	b.mu.Unlock()
	close(p.gone)
	b.wg.Done()
}

// evict closes the connections of a certificate that is not ACTIVE any more.
func (b *broker) evict(certificate, status string) {
	for _, p := range b.connected() {
		if p.certificate != certificate {
			continue
		}
		id := ""
		if cl := p.connected(); cl != nil {
			id = cl.ID
		}
		b.refusals.add(RefusedCertificate, id, "",
			fmt.Sprintf("certificate %.12s is %s now: connection closed", certificate, status), b.origin(p, nil))
		_ = p.Close()
	}
}

func (b *broker) connected() []*peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*peer, 0, len(b.peers))
	for p := range b.peers {
		out = append(out, p)
	}
	return out
}

// closeAll closes every connection, lets no new one in and waits for their goroutines.
func (b *broker) closeAll() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	for _, p := range b.connected() {
		_ = p.Close()
	}
	b.wg.Wait()
}
