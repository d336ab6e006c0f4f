package iotcore

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Refusal is one thing that the broker would not do, with the reason in words. It holds no payload.
type Refusal struct {
	Time     time.Time
	ClientID string // empty when the connection ended before it was known
	Topic    string // topic or filter, empty where none is concerned
	Kind     string // one of the Refused constants, to count by
	Reason   string // a sentence for people
}

// The kinds of refusal.
const (
	// RefusedTLS: no certificate, or one that is foreign, not registered or not ACTIVE.
	RefusedTLS = "tls"
	// RefusedConnect: not allowed to connect under this client ID.
	RefusedConnect = "connect"
	// RefusedPublish: not allowed to publish to the topic.
	RefusedPublish = "publish"
	// RefusedSubscribe: not allowed to subscribe to the filter.
	RefusedSubscribe = "subscribe"
	// RefusedReceive: subscribed, but not allowed to receive from the topic.
	RefusedReceive = "receive"
	// RefusedTopic: a malformed, too long or reserved topic, or a rule that does not exist.
	RefusedTopic = "topic"
	// RefusedSize: payload or packet too large.
	RefusedSize = "size"
	// RefusedRate: more publishes in a second than allowed; discarded, not acknowledged.
	RefusedRate = "rate"
	// RefusedProtocol: not MQTT as AWS IoT speaks it (QoS 2, retain, broken packets).
	RefusedProtocol = "protocol"
	// RefusedCertificate: connection closed because its certificate is not ACTIVE any more.
	RefusedCertificate = "certificate"
	// RefusedTakeover: connection closed because another one came with its client ID.
	RefusedTakeover = "takeover"
	// RefusedAction: a rule could not be carried out; connection closed, not acknowledged.
	RefusedAction = "action"
	// RefusedLost: a rule failed for good and nothing could take the message; dropped.
	RefusedLost = "lost"
	// RefusedFault: a fault that a test asked for, see package fault.
	RefusedFault = "fault"
)

// mends says what to do about a kind of refusal whose reasons do not say it themselves.
var mends = map[string]string{
	RefusedTLS:         "use a certificate that fanwatch provision signed and that is ACTIVE",
	RefusedConnect:     "connect under the fan's name, or a client ID that it was provisioned with",
	RefusedPublish:     "publish to a topic that the policy of the fan's certificate allows",
	RefusedSubscribe:   "subscribe to a topic that the policy of the fan's certificate allows",
	RefusedReceive:     "subscribe to a topic that the policy of the fan's certificate allows",
	RefusedSize:        "send fewer readings in one message",
	RefusedRate:        "send several readings in one message",
	RefusedCertificate: "make it ACTIVE again, or provision the fan anew",
	RefusedTakeover:    "two devices use one client ID: give each its own fan and certificate",
}

// refusalsKept is how many refusals are kept for Refusals.
const refusalsKept = 100

// origin is what of a refusal is not for Refusals: whose connection it was and what was published on it.
type origin struct {
	certificate string // ID; "" = none was shown
	fan         string // the thing that the certificate belongs to; "" = none, or several
	payload     []byte // nil = nothing was published
	addresses   string // appended to the reason in the log alone
}

// refusals keeps the last refusals, counts all, and logs and reports those that are news. Safe for concurrent use.
type refusals struct {
	now      func() time.Time
	log      *slog.Logger
	reporter *reporter // nil = they are not put on a stream

	mu     sync.Mutex
	last   []Refusal // at most refusalsKept, oldest first
	counts map[string]int
	tally  *tally
}

func newRefusals(now func() time.Time, log *slog.Logger) *refusals {
	return &refusals{now: now, log: log, counts: map[string]int{}, tally: newTally()}
}

// add notes a refusal. It does not wait for anything.
func (r *refusals) add(kind, clientID, topic, reason string, of origin) {
	f := Refusal{Time: r.now(), ClientID: printable(clip(clientID)), Topic: printable(clip(topic)),
		Kind: kind, Reason: printable(reason)}
	if mend := mends[kind]; mend != "" {
		f.Reason += ": " + mend
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) == refusalsKept {
		r.last = append(r.last[:0], r.last[1:]...)
	}
	r.last = append(r.last, f)
	r.counts[kind]++
	level := slog.LevelDebug
	if r.tally.news(f, of) {
		level = slog.LevelWarn
		r.report(report{Refusal: f, origin: of})
	}
	r.log.Log(context.Background(), level, "refused",
		"kind", kind, "client", f.ClientID, "topic", f.Topic, "reason", f.Reason+of.addresses)
}

// sweep logs and reports what was held back, once it has been so for tallyEvery; all of it when the broker ends.
func (r *refusals) sweep(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.tally.due(r.now(), all) {
		r.log.Warn("refused", "kind", f.Kind, "client", f.ClientID, "topic", f.Topic, "reason", f.reason())
		r.report(f)
	}
}

// report has f put on the stream. What a rule could not do for now is sent again, and so is nothing that was refused.
func (r *refusals) report(f report) {
	if r.reporter != nil && f.Kind != RefusedFault && f.Kind != RefusedAction {
		r.reporter.offer(f)
	}
}

func (r *refusals) list() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal(nil), r.last...)
}

func (r *refusals) count() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// printable replaces what a client sent and a terminal must not get: control characters and what is not UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
