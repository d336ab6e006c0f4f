// Package dashboard serves the page on which people watch the fleet: one HTTP handler with the page
// itself (built from ui/ and embedded), a JSON interface and a stream of server-sent events.
//
// Two sources feed it. Readings are pushed by Publish, as they are read off the landing log, and kept
// in memory. What only workflows know (a fan's state and device, alerts) is asked of an Operator, at
// most once a second for all browsers together and only while one of them watches.
//
// There is no login: it belongs on loopback or behind a proxy that knows its people. What protects it
// there is in guard.go: the Host header must be a known name, and other sites' pages cannot post.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"fanwatch"
	"fanwatch/health"
)

// Config says what a Server shows and which addresses it serves.
type Config struct {
	Operator   Operator       // required
	History    History        // nil = only what the dashboard remembers
	InboxURL   string         // base URL of the local SNS, such as http://127.0.0.1:4575; "" = there is no inbox
	TemporalUI string         // base URL of the Temporal Web UI, for links; "" = no links
	Namespace  string         // Temporal namespace that the links lead to; "" = "default"
	Hosts      []string       // names, without port, by which browsers may call it besides loopback's
	Answers    *Answers       // serves /answer and /hooks/; nil = they are not served
	Log        *slog.Logger   // nil = nothing is logged
	Now        fanwatch.Clock // nil = time.Now
}

// Server is the dashboard. Its methods may be called concurrently.
type Server struct {
	board   *board
	poller  *poller
	log     *follower
	handler http.Handler
	hosts   map[string]bool
	answers *Answers // nil = none
	cfg     Config
	inbox   *http.Client
	page    fs.FS // index.html, assets/: what ui/ was built into

	life context.Context // over when Close is called: ends event streams and polls
	end  context.CancelFunc

	pace     time.Duration // between two messages to one browser, at least
	beat     time.Duration // a stream on which nothing happened says so this often
	patience time.Duration // a browser that takes nothing for this long is dropped
	streams  atomic.Int64

	healthz, readyz *health.Probe

	histories chan struct{} // one for each question to History under way
}

// New makes a Server, or says what is wrong with the configuration. It starts nothing: see Serve.
func New(cfg Config) (*Server, error) {
	if cfg.Operator == nil {
		return nil, errors.New("dashboard: no Operator given: it could show neither fans nor alerts")
	}
	for name, u := range map[string]string{"InboxURL": cfg.InboxURL, "TemporalUI": cfg.TemporalUI} {
		if p, err := url.Parse(u); u != "" && (err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https") {
			return nil, fmt.Errorf("dashboard: %s %.100q is not a URL such as http://127.0.0.1:8080", name, u)
		}
	}
	cfg.InboxURL = strings.TrimRight(cfg.InboxURL, "/")
	cfg.TemporalUI = strings.TrimRight(cfg.TemporalUI, "/")
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		board: newBoard(cfg.Now), cfg: cfg, hosts: map[string]bool{}, answers: cfg.Answers, page: built(),
		inbox: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2,
			IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		histories: make(chan struct{}, historiesAtOnce), pace: time.Second, beat: 3 * time.Second, patience: 10 * time.Second,
	}
	for _, h := range cfg.Hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.poller = &poller{op: cfg.Operator, board: s.board, now: cfg.Now, log: cfg.Log, life: s.life, gap: time.Second}
	s.log = &follower{now: cfg.Now, log: cfg.Log, publish: s.board.publish}
	s.healthz, s.readyz = health.New(cfg.Now, s.checks()...), health.New(cfg.Now, s.checks()[:readyChecks]...)
	s.handler = s.guard(s.routes())
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends all event streams and stops asking the Operator. A closed Server still answers ordinary
// requests from memory.
func (s *Server) Close() {
	s.end()
	s.inbox.CloseIdleConnections()
}
