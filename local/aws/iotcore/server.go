// Package iotcore is a small AWS IoT Core for one machine: an MQTT broker with mutual TLS and policy authorisation,
// topic rules that write to Kinesis, and the REST control plane (things, certificates from a CSR, policies, rules) with
// the data plane's Publish and device shadows. aws-sdk-go-v2 and any MQTT 3.1.1 or 5 client speak to it unchanged.
// [New] opens the state, [Server.Start] listens, [Server.Handler] is the REST API for another address.
//
// It promises: what the control plane answered, and what a shadow accepted, is on the disk and survives kill -9 and a
// power cut; a QoS 1 publish is acknowledged only after its rules have written; what is refused is told with a reason
// ([Server.Refusals], Config.Refused).
//
// It differs from AWS on purpose: AWS acknowledges a publish before its rules run, and logs refusals; Basic Ingest to a
// rule that does not exist is refused here, where AWS acknowledges and drops; request signatures must be there but are
// not verified, so pages of other sites are kept out ([Guard]).
//
// It leaves out: retained messages, QoS 2, versions of policies, rule actions but Kinesis, SQL beyond what fanwatch's
// rules use. Each is refused by its name (REST: 501). Sessions that are not clean live in memory, for an hour, and end
// with the process; topic rules do not see what happens to shadows.
//
// A test makes it fail by POST to /_faults on the REST address; see package fault.
package iotcore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	mqtt "github.com/mochi-mqtt/server/v2"

	"fanwatch/internal/durable"
	"fanwatch/local/aws/fault"
)

// Config says how a [Server] runs. Dir and Kinesis are required; the zero values of the others give the defaults.
type Config struct {
	// Dir holds certificate authority, things, certificates, policies, rules and shadows; it is made if missing. One
	// process at a time may use it: the caller sees to that.
	Dir string
	// MQTTAddr is the broker's loopback address; "" = 127.0.0.1:8883, port 0 = a free one.
	MQTTAddr string
	// RESTAddr is the control plane's loopback address; "" = 127.0.0.1:0.
	RESTAddr string
	// Kinesis is where rule actions write.
	Kinesis Kinesis
	// Refused is the stream that gets an error document for what was refused; "" = none.
	Refused string
	// Log gets failures and refusals, without payloads; nil = nothing is logged.
	Log *slog.Logger
	// Now dates what is made and judges certificates; nil = time.Now.
	Now func() time.Time
	// Region and Account appear in ARNs; "" = us-east-1 and 000000000000.
	Region, Account string

	// PublishRate is how many publishes a connection may send in a second; 0 = 100 as on AWS, negative = no limit.
	PublishRate int
	// ActionAttempts is how often a rule action is tried before its error action; 0 = 3.
	ActionAttempts int
	// ActionPause is the time before the second try, doubled for each further one; 0 = 100 ms.
	ActionPause time.Duration
	// ActionTimeout bounds all tries of one action together, and so how long a publish waits, twice as long with an
	// error action; 0 = 4 s.
	ActionTimeout time.Duration
}

// Server is the local IoT Core. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	authority *authority
	registry  *registry
	broker    *broker
	refusals  *refusals
	faults    *fault.Injector
	newUUID   func() string

	mqtt   *mqtt.Server
	cancel context.CancelFunc

	mu       sync.Mutex
	mqttAddr string
	restAddr string
	rest     *http.Server
	stopped  bool
}

// New opens the state in cfg.Dir, making the certificate authority on the first start. Nothing listens before Start.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" || cfg.Kinesis == nil {
		return nil, errors.New("iotcore: Config needs Dir and Kinesis")
	}
	for _, addr := range []string{cfg.MQTTAddr, cfg.RESTAddr} {
		if err := requireLoopback(addr); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err == nil {
		err = durable.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("iotcore: state directory: %w", err)
	}
	a, err := openAuthority(dir, cfg.Now)
	if err != nil {
		return nil, err
	}
	r, err := openRegistry(dir, cfg.Account, cfg.Region, cfg.Now)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, authority: a, registry: r, faults: newFaults(), refusals: newRefusals(cfg.Now, cfg.Log),
		newUUID: uuid.NewString}
	return s, s.build()
}

func (c Config) withDefaults() Config {
	if c.MQTTAddr == "" {
		c.MQTTAddr = "127.0.0.1:8883"
	}
	if c.RESTAddr == "" {
		c.RESTAddr = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Account == "" {
		c.Account = "000000000000"
	}
	if c.PublishRate == 0 {
		c.PublishRate = 100
	}
	if c.ActionAttempts <= 0 {
		c.ActionAttempts = 3
	}
	if c.ActionPause <= 0 {
		c.ActionPause = 100 * time.Millisecond
	}
	if c.ActionTimeout <= 0 {
		c.ActionTimeout = 4 * time.Second
	}
	return c
}

// build puts broker and MQTT server together.
func (s *Server) build() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	e := &engine{
		kinesis: s.cfg.Kinesis, log: s.cfg.Log, attempts: s.cfg.ActionAttempts, pause: s.cfg.ActionPause,
		timeout: s.cfg.ActionTimeout, newUUID: s.newUUID,
		lost: func(m *message, reason string) {
			of := origin{certificate: m.Principal, fan: s.registry.thingOf(m.Principal), payload: m.Payload}
			s.refusals.add(RefusedLost, m.ClientID, m.Published, reason, of)
		},
	}
	s.broker = &broker{
		registry: s.registry, engine: e, refusals: s.refusals, faults: s.faults, log: s.cfg.Log, now: s.cfg.Now,
		rate: s.cfg.PublishRate, ctx: ctx, peers: map[*peer]struct{}{}, sessions: map[string]*peer{},
	}
	if s.cfg.Refused != "" {
		put := func(ctx context.Context, key string, data []byte) error {
			return s.cfg.Kinesis.Put(ctx, s.cfg.Refused, key, data)
		}
		s.refusals.reporter = newReporter(s.refusals, s.cfg.Log, s.cfg.ActionTimeout, s.cfg.ActionPause, put)
	}
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumPacketSize = payloadMaximum + 16<<10 // topic and MQTT 5 properties come on top
	capabilities.MaximumQos = 1
	capabilities.RetainAvailable = 0
	capabilities.MinimumProtocolVersion = 4
	capabilities.ReceiveMaximum = 100
	capabilities.TopicAliasMaximum = 8
	capabilities.MaximumSessionExpiryInterval = 3600
	s.mqtt = mqtt.New(&mqtt.Options{
		Capabilities:           capabilities,
		Logger:                 slog.New(slog.DiscardHandler), // it would log payloads; the broker logs the reasons
		InlineClient:           true,
		SysTopicResendInterval: math.MaxInt32,
	})
	s.broker.server = s.mqtt
	if err := s.mqtt.AddHook(s.broker, nil); err != nil {
		return fmt.Errorf("iotcore: broker: %w", err)
	}
	return nil
}

// Start listens on both addresses and serves until Close.
func (s *Server) Start() error {
	broker, err := net.Listen("tcp", s.cfg.MQTTAddr)
	if err != nil {
		return fmt.Errorf("iotcore: MQTT: %w", err)
	}
	rest, err := net.Listen("tcp", s.cfg.RESTAddr)
	if err != nil {
		broker.Close()
		return fmt.Errorf("iotcore: REST: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mqttAddr, s.restAddr = broker.Addr().String(), rest.Addr().String()
	s.rest = &http.Server{Handler: Guard(s.Handler()), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}
	if s.refusals.reporter != nil {
		go s.refusals.reporter.run()
	}
	err = s.mqtt.AddListener(&listener{Listener: broker, broker: s.broker, tls: s.tlsConfig()})
	if err == nil {
		err = s.mqtt.Serve()
	}
	if err != nil {
		broker.Close()
		rest.Close()
		return fmt.Errorf("iotcore: MQTT: %w", err)
	}
	go func() {
		if err := s.rest.Serve(rest); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("the IoT control plane stopped", "err", err)
		}
	}()
	return nil
}

// Close ends all connections and stops. A publish whose rules are running is not acknowledged.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	s.cancel()
	var err error
	if s.rest != nil {
		err = s.rest.Close()
	}
	s.broker.closeAll()
	if s.refusals.reporter != nil && s.rest != nil { // it was started
		s.refusals.reporter.close()
	}
	if merr := s.mqtt.Close(); err == nil {
		err = merr
	}
	if err != nil {
		return fmt.Errorf("iotcore: close: %w", err)
	}
	return nil
}

// MQTTAddr is the broker's address, host:port; after Start.
func (s *Server) MQTTAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mqttAddr
}

// RESTAddr is the control plane's address, host:port; after Start. The SDK's endpoint is "http://" + RESTAddr().
func (s *Server) RESTAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restAddr
}

// CAFile is the path of the root certificate that clients of the broker trust.
func (s *Server) CAFile() string { return s.authority.rootFile() }

// The operations that a fault can be set for.
const (
	opConnect = "Connect" // an MQTT CONNECT
	opPublish = "Publish" // an MQTT PUBLISH, or the operation Publish of the REST API
)

// newFaults returns the faults that the server knows: [fault.Fail] for Connect, which is answered "server
// unavailable"; [fault.Delay] and [fault.Lose] for Publish, where Lose runs the rules and ends the connection
// instead of sending the PUBACK.
func newFaults() *fault.Injector {
	return fault.NewInjector("iotcore", map[fault.Kind][]string{
		fault.Fail: {opConnect}, fault.Delay: {opPublish}, fault.Lose: {opPublish},
	})
}

// requireLoopback keeps the control plane, whose signatures are not verified, and the broker, whose
// certificate names only this machine, off every network.
func requireLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("iotcore: address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("iotcore: address %q is not loopback: use 127.0.0.1, ::1 or localhost", addr)
}
