// Package sns is a small Amazon SNS for one machine, with an inbox. It speaks the AWS Query protocol (form-encoded
// requests, XML answers, API version 2010-03-31), so aws-sdk-go-v2/service/sns works against it unchanged. [New] opens
// the state of a directory; the [Server] is an http.Handler.
//
// It promises: everything acknowledged survives kill -9 and a power cut, for a Publish answers after its inbox entries
// and its queued deliveries are on disk. As on AWS are error codes and most messages, topic and subscription semantics,
// filter policies on message attributes, the confirmation handshake of HTTP(S) endpoints, the documented notification
// JSON and headers, message signatures (SignatureVersion 2), and delivery at least once and not in order.
//
// It differs from AWS on purpose:
//   - Requests are not authenticated: the server belongs on loopback.
//   - An email subscription is confirmed at once; its messages become entries of the inbox ([Server.Inbox], GET /inbox,
//     GET /inbox.json) and, if Config.SMTP is set, mail as well.
//   - A message attribute named [KeyAttribute] makes the inbox store one entry per recipient and key; a repeat only
//     raises the entry's Copies.
//   - Signatures are made with a key and a self-signed certificate of this server, so a receiver that trusts
//     amazonaws.com only will refuse them.
//
// It leaves out every operation, protocol and attribute that fanwatch does not use (FIFO topics, batches, SQS, SMS):
// 501 with its name.
//
// A test makes calls fail by [Server.Faults], or by POST to /_faults; see package fault.
package sns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"fanwatch/internal/durable"
	"fanwatch/local/aws/fault"
)

// KeyAttribute is the message attribute that carries a notification's
// idempotency key. The inbox and the SMTP relay show one message per
// (protocol, recipient, key), however often it is published. HTTP(S) endpoints
// get every copy, as from AWS, and find the key among the MessageAttributes.
const KeyAttribute = "fanwatch-key"

// Config says where the server keeps its state and how it delivers.
type Config struct {
	// Dir holds topics.json, journal.log and signing.pem; it is created if
	// missing. Required. One server per directory.
	Dir string
	// Log receives warnings about failed deliveries and damaged files; nil
	// discards them. Message bodies and tokens are never logged.
	Log *slog.Logger
	// Now dates messages; nil is time.Now. Back-off always uses real time.
	Now func() time.Time
	// Rand makes identifiers and confirmation tokens; nil is crypto/rand.
	Rand io.Reader
	// URL is the base address that subscribers are told for confirming and
	// unsubscribing, without a trailing slash. Empty: the Host that the
	// Subscribe request used.
	URL string
	// Region and Account appear in ARNs; empty: us-east-1 and 000000000000.
	Region, Account string
	// SMTP, if its Addr is set, also receives what the inbox receives.
	SMTP SMTP
	// HTTP posts to HTTP(S) subscribers; nil is a client with a 15 s timeout
	// (as AWS) that follows no redirect.
	HTTP *http.Client
	// Retry bounds the attempts of a delivery; zero fields take defaults.
	Retry Retry
	// Keep is how many inbox entries are kept; older ones are forgotten
	// together with their idempotency keys. 0 means 10,000.
	Keep int
}

// SMTP names a mail relay, host:port, and the sender address. The relay is
// used without authentication; STARTTLS is used when a relay that is not on
// loopback offers it.
type SMTP struct{ Addr, From string }

// Retry bounds how a failing delivery is repeated: the first pause, doubled
// up to the longest, at most Attempts attempts in one life of the process and
// at most MaxAge after the message was published. Defaults: 200 ms, 20 s, 50
// attempts and one hour, which is the total that AWS allows a delivery policy.
type Retry struct {
	First, Longest time.Duration
	Attempts       int
	MaxAge         time.Duration
}

// Server is a local SNS and an http.Handler. All methods may be called concurrently.
type Server struct {
	cfg     Config
	handler http.Handler
	signer  *signer
	faults  *fault.Injector

	mu      sync.Mutex // guards what follows
	topics  registry
	journal *journal
	inbox   *inbox
	queue   map[uint64]delivery
	slots   map[string]chan struct{}
	lastID  uint64 // of deliveries
	closed  bool

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// New opens the state in cfg.Dir and goes on with every delivery that was
// queued when the last server on that directory ended, however it ended.
func New(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("sns: Config.Dir is empty: name a directory for the state")
	}
	cfg = withDefaults(cfg)
	if err := durable.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("sns: state directory: %w", err)
	}
	topics, err := openRegistry(filepath.Join(cfg.Dir, "topics.json"))
	if err != nil {
		return nil, fmt.Errorf("sns: %w", err)
	}
	journal, records, err := openJournal(filepath.Join(cfg.Dir, "journal.log"), cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("sns: %w", err)
	}
	s := &Server{
		cfg: cfg, topics: topics, journal: journal, faults: newFaults(),
		signer: &signer{path: filepath.Join(cfg.Dir, "signing.pem"), now: cfg.Now},
		inbox:  newInbox(cfg.Keep), queue: map[uint64]delivery{}, slots: map[string]chan struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.handler = s.routes()
	s.mu.Lock() // the first deliveries may end before the last is started
	defer s.mu.Unlock()
	for _, r := range records {
		s.apply(r)
	}
	for _, d := range s.queue {
		s.start(d)
	}
	return s, nil
}

// ServeHTTP answers the SNS API on POST / (and the links of confirmation
// messages on GET /), the inbox, the signing certificate and the fault switch.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close stops deliveries (they go on at the next New) and closes the files.
// Calls that come in afterwards answer InternalError.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}

// Faults sets what goes wrong with calls: every kind of package fault but [fault.Partial] and [fault.Expired].
func (s *Server) Faults() *fault.Injector { return s.faults }

func newFaults() *fault.Injector {
	return fault.NewInjector("sns", map[fault.Kind][]string{
		fault.Delay: nil, fault.Cut: nil, fault.Throttle: nil, fault.Fail: nil, fault.Lose: nil,
	})
}

func withDefaults(cfg Config) Config {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Account == "" {
		cfg.Account = "000000000000"
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{
			Timeout:       15 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if cfg.Keep <= 0 {
		cfg.Keep = 10_000
	}
	if cfg.SMTP.From == "" {
		cfg.SMTP.From = "fanwatch@localhost"
	}
	cfg.Retry = cfg.Retry.withDefaults()
	return cfg
}

func (r Retry) withDefaults() Retry {
	if r.First <= 0 {
		r.First = 200 * time.Millisecond
	}
	if r.Longest <= 0 {
		r.Longest = 20 * time.Second
	}
	if r.Attempts <= 0 {
		r.Attempts = 50
	}
	if r.MaxAge <= 0 {
		r.MaxAge = time.Hour
	}
	return r
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.serveAPI)
	mux.HandleFunc("GET /inbox", s.serveInboxPage)
	mux.HandleFunc("GET /inbox.json", s.serveInboxJSON)
	mux.HandleFunc("GET "+certificatePath, s.serveCertificate)
	mux.Handle(fault.Path, s.faults)
	// A page that the user happens to visit must not be able to publish or to
	// set faults by posting a form to loopback.
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Server) newID() (string, error) {
	id, err := uuid.NewRandomFromReader(s.cfg.Rand)
	if err != nil {
		return "", fmt.Errorf("sns: random identifier: %w", err)
	}
	return id.String(), nil
}
