package iotcore

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Refusal is one thing that the broker would not do, with the reason in words. It holds no payload.
type Refusal struct {
	Time     time.Time
	ClientID string // empty when the connection ended before it was known
	Topic    string // topic or filter, empty where none is concerned
	Kind     string // one of the Refused constants, to count by
	Reason   string // a sentence for people
}

// Kinds of refusal.
const (
	RefusedTLS         = "tls"         // no, foreign, unregistered or inactive certificate
	RefusedConnect     = "connect"     // not allowed to connect under this client ID
	RefusedPublish     = "publish"     // not allowed to publish to the topic
	RefusedSubscribe   = "subscribe"   // not allowed to subscribe to the filter
	RefusedReceive     = "receive"     // subscribed, but not allowed to receive from the topic
	RefusedTopic       = "topic"       // malformed, too long or reserved topic, or a rule that does not exist
	RefusedSize        = "size"        // payload or packet too large
	RefusedRate        = "rate"        // more publishes in a second than allowed: discarded, not acknowledged
	RefusedProtocol    = "protocol"    // not MQTT as AWS IoT speaks it: QoS 2, retain, broken packets
	RefusedCertificate = "certificate" // connection closed because its certificate is not ACTIVE any more
	RefusedAction      = "action"      // a rule could not be carried out: connection closed, not acknowledged
	RefusedLost        = "lost"        // a rule failed for good and nothing could take the message: dropped
	RefusedFault       = "fault"       // a fault that a test asked for
)

// refusalsKept is how many refusals are kept for Refusals.
const refusalsKept = 100

// refusals keeps the last refusals and counts all. Safe for concurrent use.
type refusals struct {
	now func() time.Time
	log *slog.Logger

	mu     sync.Mutex
	last   []Refusal // at most refusalsKept, oldest first
	counts map[string]int
}

func newRefusals(now func() time.Time, log *slog.Logger) *refusals {
	return &refusals{now: now, log: log, counts: map[string]int{}}
}

func (r *refusals) add(kind, clientID, topic, reason string) {
	f := Refusal{Time: r.now(), ClientID: clip(clientID), Topic: clip(topic), Kind: kind, Reason: reason}
	r.log.Warn("refused", "kind", kind, "client", f.ClientID, "topic", f.Topic, "reason", reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) == refusalsKept {
		r.last = append(r.last[:0], r.last[1:]...)
	}
	r.last = append(r.last, f)
	r.counts[kind]++
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
