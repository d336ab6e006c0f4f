package iotcore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/iotcore"
)

const (
	arnPrefix = "arn:aws:iot:us-east-1:000000000000:"
	role      = "arn:aws:iam::000000000000:role/fanwatch"
	patience  = 20 * time.Second // how long a poll waits before the test fails
)

// streams stands for Kinesis: it keeps what was put, and fails for the streams that are down.
type streams struct {
	mu   sync.Mutex
	puts []put
	down map[string]bool
}

type put struct{ stream, key, data string }

func (s *streams) Put(_ context.Context, stream, key string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down[stream] {
		return errors.New("connection refused")
	}
	s.puts = append(s.puts, put{stream, key, string(data)})
	return nil
}

func (s *streams) setDown(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = map[string]bool{}
	for _, n := range names {
		s.down[n] = true
	}
}

func (s *streams) on(stream string) []put {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []put
	for _, p := range s.puts {
		if p.stream == stream {
			out = append(out, p)
		}
	}
	return out
}

// rig is a running server with an SDK client and the streams behind its rules.
type rig struct {
	testing.TB
	server  *iotcore.Server
	iot     *iot.Client
	streams *streams
}

func newRig(t testing.TB, change ...func(*iotcore.Config)) *rig {
	t.Helper()
	r := &rig{TB: t, streams: &streams{}}
	cfg := iotcore.Config{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", Kinesis: r.streams, ActionPause: time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	s, err := iotcore.New(cfg)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r.server, r.iot = s, newClient(s.RESTAddr())
	return r
}

func (r *rig) inject(faults ...fault.Fault) {
	r.Helper()
	for _, f := range faults {
		r.must(r.server.Faults().Inject(f))
	}
}

func newClient(addr string) *iot.Client {
	return iot.NewFromConfig(awsConfig(), func(o *iot.Options) { o.BaseEndpoint = aws.String("http://" + addr) })
}

func newDataClient(addr string) *iotdataplane.Client {
	return iotdataplane.NewFromConfig(awsConfig(), func(o *iotdataplane.Options) {
		o.BaseEndpoint = aws.String("http://" + addr)
	})
}

func awsConfig() aws.Config {
	return aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}
}

// device is a thing with an ACTIVE certificate and a policy, and what a client needs to be it.
type device struct {
	certificateID, certificateARN string
	certPEM, keyPEM               []byte
	pair                          tls.Certificate
}

// open is a policy that lets a thing connect as itself and use every topic.
const open = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"` + arnPrefix + `client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"` + arnPrefix + `topic/*"},
 {"Effect":"Allow","Action":"iot:Subscribe","Resource":"` + arnPrefix + `topicfilter/*"}]}`

// provision makes thing, certificate from the device's CSR, policy and attachments, all through the SDK.
func (r *rig) provision(thing, policy string) device {
	r.Helper()
	ctx := r.Context()
	keyPEM, csr := newCSR(r.TB, thing)
	cert, err := r.iot.CreateCertificateFromCsr(ctx,
		&iot.CreateCertificateFromCsrInput{CertificateSigningRequest: aws.String(csr), SetAsActive: true})
	r.must(err)
	_, err = r.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &thing})
	r.must(err)
	name := "policy-" + thing
	_, err = r.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &name, PolicyDocument: &policy})
	r.must(err)
	_, err = r.iot.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &name, Target: cert.CertificateArn})
	r.must(err)
	_, err = r.iot.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing,
		Principal: cert.CertificateArn})
	r.must(err)
	d := device{certificateID: *cert.CertificateId, certificateARN: *cert.CertificateArn,
		certPEM: []byte(*cert.CertificatePem), keyPEM: keyPEM}
	d.pair, err = tls.X509KeyPair(d.certPEM, keyPEM)
	r.must(err)
	return d
}

func newCSR(t testing.TB, name string) (keyPEM []byte, csrPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
}

// rule makes a topic rule onto the stream "readings" with the error stream "errors".
func (r *rig) rule(name, sql, key string) {
	r.Helper()
	_, err := r.iot.CreateTopicRule(r.Context(), &iot.CreateTopicRuleInput{RuleName: &name,
		TopicRulePayload: rulePayload(sql, key)})
	r.must(err)
}

func rulePayload(sql, key string) *types.TopicRulePayload {
	return &types.TopicRulePayload{
		Sql:              &sql,
		AwsIotSqlVersion: aws.String("2016-03-23"),
		Actions: []types.Action{{Kinesis: &types.KinesisAction{StreamName: aws.String("readings"),
			PartitionKey: &key, RoleArn: aws.String(role)}}},
		ErrorAction: &types.Action{Kinesis: &types.KinesisAction{StreamName: aws.String("errors"),
			PartitionKey: aws.String("${newuuid()}"), RoleArn: aws.String(role)}},
	}
}

// options are those that the edge uses: a clean session and no reconnecting behind its back.
func (r *rig) options(d device, clientID string) *mqtt.ClientOptions {
	root, err := os.ReadFile(r.server.CAFile())
	r.must(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		r.Fatal("no root certificate in the CA file")
	}
	return mqtt.NewClientOptions().AddBroker("tls://" + r.server.MQTTAddr()).SetClientID(clientID).
		SetTLSConfig(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{d.pair}}).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectTimeout(patience).SetProtocolVersion(4)
}

// client is a connected client whose loss of connection can be waited for.
type client struct {
	mqtt.Client
	lost chan error
}

func (r *rig) dial(d device, clientID string) (*client, error) {
	c := &client{lost: make(chan error, 1)}
	lost := func(_ mqtt.Client, err error) { c.lost <- err }
	c.Client = mqtt.NewClient(r.options(d, clientID).SetConnectionLostHandler(lost))
	token := c.Connect()
	token.Wait()
	if token.Error() == nil {
		r.Cleanup(func() { c.Disconnect(0) })
	}
	return c, token.Error()
}

func (r *rig) connect(d device, clientID string) *client {
	r.Helper()
	c, err := r.dial(d, clientID)
	r.must(err)
	return c
}

// acknowledged publishes with QoS 1 and waits for the PUBACK.
func (r *rig) acknowledged(c *client, topic, payload string) {
	r.Helper()
	token := c.Publish(topic, 1, false, payload)
	if !token.WaitTimeout(patience) || token.Error() != nil {
		r.Fatalf("no PUBACK for %s: %v; refusals: %+v", topic, token.Error(), r.server.Refusals())
	}
}

// refused publishes with QoS 1 and expects the connection to end instead of a PUBACK. (paho completes a token
// of a lost connection without an error or with one, so only the connection tells.)
func (r *rig) refused(c *client, topic, payload string) {
	r.Helper()
	c.Publish(topic, 1, false, payload)
	r.expectLost(c)
}

func (r *rig) expectLost(c *client) {
	r.Helper()
	select {
	case <-c.lost:
	case <-time.After(patience):
		r.Fatalf("the connection is still there; refusals: %+v", r.server.Refusals())
	}
}

// reason waits for a refusal of the kind whose reason has the text in it.
func (r *rig) reason(kind, text string) iotcore.Refusal {
	r.Helper()
	var found iotcore.Refusal
	r.eventually("a refusal "+kind+" saying "+text, func() bool {
		for _, f := range r.server.Refusals() {
			if f.Kind == kind && strings.Contains(f.Reason, text) {
				found = f
				return true
			}
		}
		return false
	})
	if r.server.RefusalCounts()[kind] == 0 {
		r.Errorf("kind %s is not counted", kind)
	}
	return found
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("waited in vain for %s; refusals: %+v", what, r.server.Refusals())
		}
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// files writes the device's certificate and key for a command line client.
func (d device) files(t testing.TB) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string][]byte{cert: d.certPEM, key: d.keyPEM} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
