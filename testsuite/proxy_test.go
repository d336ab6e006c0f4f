package testsuite

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// mode is how a part of the system behaves for those that speak to it through its proxy.
type mode string

const (
	fine     mode = "fine"
	killed   mode = "killed"   // connections are cut and refused
	hanging  mode = "hanging"  // connections are taken and nothing is answered
	refusing mode = "refusing" // requests are answered with no
	slow     mode = "slow"     // each answer comes two seconds late
)

// slowBy is how late a slow part answers.
const slowBy = 2 * time.Second

// proxy stands before one server, and does to its clients what a test wants. Safe for concurrent use.
type proxy struct {
	addr   string
	target string
	refuse http.Handler // what refusing answers; nil: the connection is closed

	mu    sync.Mutex
	mode  mode
	ln    net.Listener
	conns map[net.Conn]bool
	done  bool
}

func newProxy(t testing.TB, target string, refuse http.Handler) *proxy {
	t.Helper()
	p := &proxy{target: target, refuse: refuse, mode: fine, conns: map[net.Conn]bool{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr, p.ln = ln.Addr().String(), ln
	go p.accept(ln)
	t.Cleanup(func() {
		p.mu.Lock()
		p.done = true
		p.mu.Unlock()
		p.set(killed)
	})
	return p
}

// set changes the mode and cuts what is open, but for slow and hanging, which befall open connections too.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.mode
	p.mode = m
	if m == killed || m == refusing || before == hanging {
		for c := range p.conns {
			_ = c.Close() // it may be closed already
		}
	}
	switch {
	case m == killed && p.ln != nil:
		_ = p.ln.Close() // nothing waits there
		p.ln = nil
	case m != killed && p.ln == nil && !p.done:
		ln, err := net.Listen("tcp", p.addr)
		if err != nil {
			panic(err) // the port was this proxy's a moment ago
		}
		p.ln = ln
		go p.accept(ln)
	}
}

func (p *proxy) now() mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

func (p *proxy) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if !p.keep(c) {
			continue
		}
		if p.now() == refusing {
			go p.serveRefusal(c)
		} else {
			go p.pass(c)
		}
	}
}

// keep takes a connection into those that set cuts; false: it is cut at once.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == killed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) serveRefusal(c net.Conn) {
	if p.refuse == nil {
		p.drop(c)
		return
	}
	l := &oneConn{c: make(chan net.Conn, 1)}
	l.c <- c
	srv := &http.Server{Handler: p.refuse, ReadHeaderTimeout: 10 * time.Second}
	srv.SetKeepAlivesEnabled(false)
	_ = srv.Serve(l) // ends with the listener, which has one connection
	time.AfterFunc(30*time.Second, func() { p.drop(c) })
}

// oneConn is a listener of one connection.
type oneConn struct{ c chan net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	default:
		return nil, io.EOF
	}
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func (p *proxy) pass(c net.Conn) {
	for p.now() == hanging { // until the mode changes, which cuts the connection
		time.Sleep(20 * time.Millisecond)
	}
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		p.drop(c)
		return
	}
	if !p.keep(s) {
		p.drop(c)
		return
	}
	both := make(chan struct{}, 2)
	go func() { p.copy(s, c, 0); both <- struct{}{} }()
	go func() { p.copy(c, s, slowBy); both <- struct{}{} }()
	<-both
	p.drop(c, s)
	<-both
}

func (p *proxy) copy(to, from net.Conn, late time.Duration) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if late > 0 && p.now() == slow {
				time.Sleep(late)
			}
			for p.now() == hanging {
				time.Sleep(20 * time.Millisecond)
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// refuseJSON and refuseXML answer as AWS does where a permission is missing.
func refuseJSON(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("x-amzn-ErrorType", "AccessDeniedException")
	w.WriteHeader(http.StatusBadRequest)
	_,
		_ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"User is not authorized to perform this action"}`)
}

func refuseXML(code, root string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusForbidden)
		body := "<Error><Type>Sender</Type><Code>" + code + "</Code><Message>not authorized to perform this " +
			"action</Message></Error>"
		if root != "" {
			body = "<" + root + ">" + body + "<RequestId>1</RequestId></" + root + ">"
		}
		_, _ = io.WriteString(w, body)
	}
}
