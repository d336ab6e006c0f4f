package testsuite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch"
)

// blindPolicies: who is told of fans, and who of fanwatch itself. The hold is short so that a cell does not take long.
const blindPolicies = `version: 1
name: default
hold: 5s
steps:
  - notify: [on-call]
    repeat: 100
    every: 20s
---
version: 1
name: operations
hold: 5s
steps:
  - notify: [operators]
    repeat: 100
    every: 20s
`

// blindRig is the whole system with every part apart: the servers of the local system, behind a proxy each, and one
// process for each kind of worker, which run as in production.
type blindRig struct {
	*system
	kinesis, sns, s3, temporalProxy, broker *proxy
	workers                                 map[string]*workerProcess // by kind
	beats                                   *heartbeats
	cert, key                               string
}

// workerProcess is one fanwatch worker.
type workerProcess struct {
	t    testing.TB
	kind string
	args []string
	env  []string
	log  string
	cmd  *exec.Cmd
}

func (w *workerProcess) start() {
	w.t.Helper()
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	w.cmd = exec.Command(filepath.Join(bin, "fanwatch"), w.args...)
	w.cmd.Env, w.cmd.Stderr, w.cmd.Stdout = w.env, log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workerProcess) signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) } // it may have ended

func (w *workerProcess) kill() {
	w.signal(syscall.SIGKILL)
	_ = w.cmd.Wait() // its exit status is known
}

// heartbeats is the outside service at --heartbeat-url.
type heartbeats struct{ last atomic.Int64 }

func (h *heartbeats) ServeHTTP(http.ResponseWriter, *http.Request) {
	h.last.Store(time.Now().UnixNano())
}

// missing is for how long no heartbeat came.
func (h *heartbeats) missing() time.Duration { return time.Since(time.Unix(0, h.last.Load())) }

// heartbeatMissed is when the outside service of the rig raises an alarm: heartbeats come every two seconds there.
const heartbeatMissed = 15 * time.Second

func newBlindRig(t *testing.T) *blindRig {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(blindPolicies), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &blindRig{system: start(t, dir, nil, "--fans", "0", "--no-workers"), workers: map[string]*workerProcess{},
		beats: &heartbeats{}}
	address := func(url string) string { return strings.TrimPrefix(url, "http://") }
	r.kinesis = newProxy(t, address(r.AWS), http.HandlerFunc(refuseJSON))
	r.sns = newProxy(t, address(r.AWS), refuseXML("AuthorizationError", "ErrorResponse"))
	r.s3 = newProxy(t, address(r.S3), refuseXML("AccessDenied", ""))
	r.temporalProxy = newProxy(t, r.Temporal, nil)
	r.broker = newProxy(t, r.MQTT, nil)
	outside := httptest.NewServer(r.beats)
	t.Cleanup(outside.Close)

	keys, err := os.ReadFile(r.Keys)
	if err != nil {
		t.Fatal(err)
	}
	pair := strings.Fields(string(keys))
	env := append(os.Environ(), "AWS_ACCESS_KEY_ID="+pair[0], "AWS_SECRET_ACCESS_KEY="+pair[1], "AWS_REGION="+r.Region,
		"FANWATCH_HEARTBEAT_URL="+outside.URL,
		"AWS_ENDPOINT_URL_KINESIS=http://"+r.kinesis.addr, "AWS_ENDPOINT_URL_SNS=http://"+r.sns.addr,
		"AWS_ENDPOINT_URL_S3=http://"+r.s3.addr,
		"AWS_ENDPOINT_URL_IOT="+r.AWS, "AWS_ENDPOINT_URL_IOT_DATA_PLANE="+r.AWS)
	for _, kind := range []string{"control", "score", "lake"} {
		w := &workerProcess{t: t, kind: kind, env: env, log: filepath.Join(dir, kind+".log"), args: []string{"--temporal",
			r.temporalProxy.addr, "--namespace", r.Namespace,
			"worker", "--serve", kind, "--account", "000000000000", "--region", r.Region, "--stream", r.Stream, "--bucket",
			r.Bucket, "--policies", filepath.Join(dir, "policy.yaml"),
			"--catalog", "sqlite", "--catalog-uri", r.Catalog, "--window", "3s", "--snapshot-every", "10s",
			"--watch-every", "2s", "--watch-after", "5s", "--watch-clear", "6s", "--heartbeat-every", "2s", "--canary-every",
			"-1s"}}
		w.start()
		t.Cleanup(w.kill)
		r.workers[kind] = w
	}
	r.cert, r.key = r.provision("blind", "--min-rpm", "900", "--silence", "15s")
	return r
}

// setting changes the fan's publisher.
type setting struct {
	stalled bool          // the rotor stands still
	mute    bool          // nothing is published, the connection stays
	ahead   time.Duration // of the clock
	legacy  bool          // the 2019 format
	backlog int           // readings that wait behind each batch, as the publisher says
}

// rigPublisher publishes one reading every half second, and connects again whenever it has to. Safe for concurrent use.
type rigPublisher struct {
	r    *blindRig
	run  uint64
	stop chan struct{}
	gone sync.WaitGroup

	mu  sync.Mutex
	set setting
}

func (r *blindRig) publisher(run uint64) *rigPublisher {
	p := &rigPublisher{r: r, run: run, stop: make(chan struct{})}
	p.gone.Go(p.work)
	return p
}

func (p *rigPublisher) change(f func(*setting)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.set)
}

func (p *rigPublisher) end() {
	close(p.stop)
	p.gone.Wait()
}

func (p *rigPublisher) work() {
	var c mqtt.Client
	for seq := uint64(1); ; seq++ {
		select {
		case <-p.stop:
			if c != nil {
				c.Disconnect(0)
			}
			return
		case <-time.After(500 * time.Millisecond):
		}
		if c == nil || !c.IsConnectionOpen() {
			if c != nil {
				c.Disconnect(0)
			}
			var err error
			if c, err = p.r.dial("blind", p.r.cert, p.r.key, p.r.broker.addr); err != nil {
				c = nil
				continue
			}
		}
		p.mu.Lock()
		s := p.set
		p.mu.Unlock()
		if s.mute {
			continue
		}
		topic, payload := p.message(s, seq)
		if t := c.Publish(topic, 1, false, payload); !t.WaitTimeout(3*time.Second) || t.Error() != nil {
			c.Disconnect(0)
			c = nil
		}
	}
}

func (p *rigPublisher) message(s setting, seq uint64) (topic string, payload []byte) {
	rpm, state := 1800+float64(seq*7919%13), fanwatch.StateRunning
	if s.stalled {
		rpm, state = 0, fanwatch.StateStalled
	}
	at := time.Now().Add(s.ahead).UTC().Truncate(time.Microsecond)
	if s.legacy {
		return "IoT_TOPIC/recieve", fmt.Appendf(nil, `{"TIME": %q, "FANID": "blind", "FREQ": %g, "RPM": %g}`,
			at.Format(time.RFC3339Nano), rpm/30, rpm)
	}
	b := fanwatch.NewBatch([]fanwatch.Reading{{ReadingID: fanwatch.ReadingID{Fan: "blind", Run: p.run, Seq: seq}, Time: at,
		RPM: rpm, Hz: rpm / 30, State: state}}, seq-1, 0, time.Now())
	data, err := json.Marshal(b)
	if err != nil {
		panic(err) // of numbers and text alone
	}
	if s.backlog > 0 {
		data = fmt.Appendf(data[:len(data)-1], `,"backlog":%d}`, s.backlog)
	}
	return "$aws/rules/fanwatch_readings/blind", data
}

// message is one that people were sent.
type message struct{ to, fan, kind, subject, body string }

// messages gives all that people were sent, oldest first.
func (r *blindRig) messages() ([]message, error) {
	var page struct {
		Entries []struct {
			To, Subject, Body string
			Attributes        map[string]string
		}
	}
	resp, err := http.Get(r.Inbox + ".json?limit=1000")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	var out []message
	for i := len(page.Entries) - 1; i >= 0; i-- {
		e := page.Entries[i]
		out = append(out, message{strings.TrimSuffix(e.To, "@fanwatch.local"), e.Attributes["fan"], e.Attributes["kind"],
			e.Subject, e.Body})
	}
	return out, nil
}

// tail gives the end of every log, for a failure's message.
func (r *blindRig) tail() string {
	var out bytes.Buffer
	for kind := range r.workers {
		b, _ := os.ReadFile(filepath.Join(r.Dir, kind+".log")) // for the failure's message only
		fmt.Fprintf(&out, "--- %s worker\n%s\n", kind, b[max(0, len(b)-2000):])
	}
	return out.String() + r.logTail()
}
