package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch/internal/durable"
)

// shadow keeps a Node's Settings as the desired state of its thing's named shadow says, and reports back
// what holds (AWS IoT developer guide, "AWS IoT Device Shadow service"):
//
//   - after every connect it gets the whole document, and again whenever a delta, another document or its deletion
//     announces a
//     change, so that there is one way in, whatever was missed. A delta alone is not enough: there is none when
//     something
//     is taken out of the desired state;
//   - of a desired state what is refused changes nothing, and the rest holds; the reasons are reported under error;
//   - what holds is kept beside the spool, so that a Pi that starts without a network starts with it;
//     without any desired state the Config holds again;
//   - it publishes only what differs from what the document reports, so that its own reports, which come
//     back as deltas while something is refused, do not go round in circles.
//
// Its fields belong to the publisher's goroutine, but for now, which is read by all.
type shadow struct {
	name, thing string
	path        string // of what holds of the desired state; "" = kept nowhere
	log         *slog.Logger
	base        Settings // of the Config
	silence     time.Duration
	now         *atomic.Pointer[Settings]
	changed     func() // is called when now has changed

	judged   json.RawMessage            // the desired state, as it was judged last; nil = none
	revision int64                      // the document's version when judged first came
	holds    map[string]json.RawMessage // what of it holds, or of the one before it
	refusal  string                     // why the rest was refused; "" = all of it holds

	failed int       // connections in a row that ended while the first answer was awaited
	rest   time.Time // until then connections go without the shadow
}

// A connection that ends this soon after the shadow was asked for was probably ended because of it: AWS
// IoT hangs up on a client whose policy does not allow the topics. Readings come first.
const (
	shadowSuspicious = 10 * time.Second
	shadowFailures   = 3
	shadowRest       = 30 * time.Minute
)

// keptVersion is the version of kept that this program writes.
const keptVersion = 1

// kept is the file in which the accepted state survives restarts.
type kept struct {
	V        int             `json:"v"`
	Revision int64           `json:"revision"`
	Desired  json.RawMessage `json:"desired"`
}

// newShadow makes the shadow and takes up what was accepted before.
func newShadow(c Config, now *atomic.Pointer[Settings], changed func()) *shadow {
	s := &shadow{name: c.Shadow, thing: c.Fan, log: c.Log, base: c.settings(), silence: c.silence(), now: now,
		changed: changed}
	if s.name == "" {
		return s
	}
	if c.Dir != "" {
		s.path = filepath.Join(c.Dir, "shadow.json")
	}
	if err := s.recall(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("shadow: of the settings that were kept some do not hold, those of the configuration do", "fan", s.thing,
			"err", err)
	}
	return s
}

func (s *shadow) recall() error {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if k.V != keptVersion {
		return fmt.Errorf("%s: version %d is unknown, this program knows %d", s.path, k.V, keptVersion)
	}
	raw, err := members(k.Desired)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	settings, holds, refused := s.base.desire(raw, nil, s.silence)
	if len(holds) > 0 {
		s.judged, s.revision, s.holds = k.Desired, k.Revision, holds
		s.now.Store(&settings)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%s: %s", s.path, reasons(refused))
	}
	return nil
}

// keep writes what holds, in one step; where nothing does the file goes.
func (s *shadow) keep() error {
	if s.path == "" {
		return nil
	}
	if len(s.holds) == 0 {
		return durable.Remove(s.path)
	}
	desired, err := json.Marshal(s.holds)
	if err != nil {
		return err
	}
	b, err := json.Marshal(kept{keptVersion, s.revision, desired})
	if err != nil {
		return err
	}
	return durable.WriteFile(s.path, b, 0o600)
}

// document is a shadow as get/accepted brings it.
type document struct {
	State struct {
		Desired  json.RawMessage            `json:"desired"`
		Reported map[string]json.RawMessage `json:"reported"`
	} `json:"state"`
	Version int64 `json:"version"`
}

// take judges the document and gives the report that it needs, nil when it needs none. Whatever the bytes
// are, the Settings that hold afterwards pass Check.
func (s *shadow) take(payload []byte) ([]byte, error) {
	var d document
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &d); err != nil {
			return nil, fmt.Errorf("shadow document: %w", err)
		}
	}
	s.judge(d.State.Desired, d.Version)
	return s.report(d.State.Reported)
}

// same reports whether the desired state is the one that was judged last; nil and null are none.
func (s *shadow) same(desired json.RawMessage) bool {
	if len(desired) == 0 || string(desired) == "null" {
		return s.judged == nil
	}
	return s.judged != nil && sameJSON(desired, s.judged)
}

// judge takes the desired state; nil and null are none.
func (s *shadow) judge(desired json.RawMessage, version int64) {
	if s.same(desired) {
		return
	}
	if string(desired) == "null" {
		desired = nil
	}
	next, holds, refused := s.base, map[string]json.RawMessage{}, []error(nil)
	if desired != nil {
		if raw, err := members(desired); err != nil {
			next, holds, refused = *s.now.Load(), s.holds, []error{err}
		} else {
			next, holds, refused = s.base.desire(raw, s.holds, s.silence)
		}
	}
	s.judged, s.revision, s.refusal = desired, version, reasons(refused)
	if s.refusal != "" {
		s.log.Warn("shadow: settings refused, the old ones stay", "fan", s.thing, "version", version, "reason", s.refusal)
	}
	if next == *s.now.Load() && maps.EqualFunc(holds, s.holds, func(a, b json.RawMessage) bool { return sameJSON(a, b) }) {
		return
	}
	s.holds = holds
	s.now.Store(&next)
	s.log.Info("shadow: settings changed", "fan", s.thing, "version", version, "settings", fmt.Sprintf("%+v", next))
	if err := s.keep(); err != nil {
		s.log.Warn("shadow: settings cannot be kept, a restart begins without them", "fan", s.thing, "err", err)
	}
	s.changed()
}

// report returns the update request that makes reported say what holds.
func (s *shadow) report(reported map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(s.now.Load())
	if err != nil {
		return nil, fmt.Errorf("shadow report: %w", err)
	}
	want, err := members(b)
	if err != nil {
		return nil, fmt.Errorf("shadow report: %w", err)
	}
	want["v"] = fmt.Appendf(nil, "%d", SettingsVersion)
	maps.Copy(want, s.holds) // in the words of the desired state, or "60s" and "1m0s" would differ for ever
	if s.judged != nil {
		want["revision"] = fmt.Appendf(nil, "%d", s.revision)
	}
	if s.refusal != "" {
		if want["error"], err = json.Marshal(s.refusal); err != nil {
			return nil, fmt.Errorf("shadow report: %w", err)
		}
	}
	same := len(reported) == len(want)
	for k := range reported {
		if w, ok := want[k]; !ok {
			want[k] = json.RawMessage("null") // removes it
			same = false
		} else {
			same = same && sameJSON(w, reported[k])
		}
	}
	if same {
		return nil, nil
	}
	var update struct {
		State struct {
			Reported map[string]json.RawMessage `json:"reported"`
		} `json:"state"`
	}
	update.State.Reported = want
	return json.Marshal(update)
}

// mirror is the shadow's use of one connection. paho calls hear on its own goroutine, which must not wait:
// hear notes what came and wakes the session, which lets handle do the rest.
type mirror struct {
	s      *shadow
	conn   *connection
	prefix string
	asked  time.Time     // when the shadow was asked for first
	heard  bool          // it has answered
	wake   chan struct{} // nil: this connection goes without the shadow

	mu       sync.Mutex
	ready    bool   // subscribed
	refused  error  // the subscription was
	stale    bool   // the document has changed
	document []byte // as it came last, nil = none new
	missing  bool   // there is no document
	changed  []byte // what update/documents says last, nil = nothing new
	trouble  string // what else was rejected
}

// attach subscribes on the new connection.
func (s *shadow) attach(conn *connection) *mirror {
	m := &mirror{s: s, conn: conn, prefix: "$aws/things/" + s.thing + "/shadow/name/" + s.name + "/"}
	if s.name == "" || time.Now().Before(s.rest) {
		return m
	}
	m.wake, m.asked = make(chan struct{}, 1), time.Now()
	filters := map[string]byte{}
	for _, topic := range []string{"get/accepted", "get/rejected", "update/rejected", "update/delta", "update/documents",
		"delete/accepted"} {
		filters[m.prefix+topic] = 1
	}
	token := conn.client.SubscribeMultiple(filters, m.hear)
	go func() { // ends with the SUBACK or the connection
		<-token.Done()
		t, ok := token.(*mqtt.SubscribeToken)
		if !ok || t.Error() != nil {
			return // the connection ended
		}
		var refused error
		for topic, granted := range t.Result() {
			if granted > 1 {
				refused = fmt.Errorf("the broker does not grant %s: does the policy allow it?", topic)
			}
		}
		m.note(func() { m.ready, m.refused = refused == nil, refused })
	}()
	return m
}

func (m *mirror) hear(_ mqtt.Client, msg mqtt.Message) {
	payload := append([]byte{}, msg.Payload()...)
	m.note(func() {
		switch msg.Topic() {
		case m.prefix + "get/accepted":
			m.document, m.missing = payload, false
		case m.prefix + "update/delta", m.prefix + "delete/accepted":
			m.stale = true
		case m.prefix + "update/documents":
			m.changed = payload
		default:
			var rejected struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			}
			_ = json.Unmarshal(payload, &rejected) // what cannot be read is no 404
			if rejected.Code == 404 && msg.Topic() == m.prefix+"get/rejected" {
				m.document, m.missing = nil, true
			} else {
				m.trouble = fmt.Sprintf("%.200q", payload)
			}
		}
	})
}

// awaited reports whether the shadow was asked for on this connection and has not answered.
func (m *mirror) awaited() bool { return m.wake != nil && !m.heard }

// differs reports whether what came on update/documents has another desired state than the one that was judged
// last. The shadow's own reports come there, too.
func (s *shadow) differs(payload []byte) bool {
	var d struct {
		Current document `json:"current"`
	}
	return json.Unmarshal(payload, &d) != nil || !s.same(d.Current.State.Desired)
}

// note changes what is to be handled and wakes the session.
func (m *mirror) note(change func()) {
	m.mu.Lock()
	change()
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// handle does what has come to be done, on the publisher's goroutine.
func (m *mirror) handle() {
	m.mu.Lock()
	ask, refused := m.ready || m.stale, m.refused
	document, missing, changed, trouble := m.document, m.missing, m.changed, m.trouble
	m.ready, m.stale, m.refused, m.document, m.missing, m.changed, m.trouble = false, false, nil, nil, false, nil, ""
	m.mu.Unlock()
	log := m.s.log.With("fan", m.s.thing, "shadow", m.s.name)
	if refused != nil {
		m.heard = true
		log.Warn("shadow: settings stay as they are", "err", refused)
		return
	}
	if trouble != "" {
		m.heard = true
		log.Warn("shadow: the service refuses", "reason", trouble)
	}
	if ask || changed != nil && m.s.differs(changed) { // the answer replaces what else has come
		m.conn.publish(m.prefix+"get", nil)
		return
	}
	if document == nil && !missing {
		return
	}
	m.heard = true
	update, err := m.s.take(document)
	if err != nil {
		log.Warn("shadow: settings stay as they are", "err", err)
	}
	if update != nil {
		m.conn.publish(m.prefix+"update", update)
	}
}

// detach notes how the connection went for the shadow.
func (s *shadow) detach(m *mirror) {
	switch {
	case m.wake == nil:
		return
	case m.heard:
		s.failed = 0
		return
	case time.Since(m.asked) > shadowSuspicious:
		return
	}
	if s.failed++; s.failed >= shadowFailures {
		s.failed, s.rest = 0, time.Now().Add(shadowRest)
		s.log.Warn("shadow: given up for a while, connections end as soon as it is asked for: does the thing's policy "+
			"allow it to use its shadow?",
			"fan", s.thing, "shadow", s.name, "until", s.rest.UTC().Format(time.RFC3339))
	}
}
