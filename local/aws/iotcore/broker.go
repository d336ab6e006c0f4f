package iotcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"fanwatch/local/aws/fault"
)

// keepaliveMaximum is AWS IoT's longest keep-alive in seconds, also used for 0 (none).
const keepaliveMaximum = 1200

// broker carries AWS IoT's rules of conduct into the MQTT server: it is a hook of it. The MQTT server handles
// the packets of one connection one after the other, so a publish holds up the next one of its
// connection until its rules have run, and no others.
//
// The PUBACK: mochi-mqtt v2.7.9 writes it in processPublish right after the OnPublish hooks, before
// OnPublished. So the rules run in OnPublish, and where there must be no PUBACK, OnPublish stops the client and
// returns ErrRejectPacket, the one error after which processPublish returns without a PUBACK and
// without delivering (any other one makes it go on as if nothing had happened, for MQTT 3.1.1).
type broker struct {
	mqtt.HookBase

	registry *registry
	engine   *engine
	refusals *refusals
	faults   *fault.Injector
	log      *slog.Logger
	now      func() time.Time
	rate     int // publishes per second and connection, 0 = no limit

	ctx    context.Context // ends when the broker closes: rules in flight are called off
	server *mqtt.Server

	mu       sync.Mutex
	peers    map[*peer]struct{}
	sessions map[string]*peer // by client ID: the connection that was taken last
	closing  bool
	wg       sync.WaitGroup // connections being served

	shadows sync.Mutex // held over a change of a shadow and its messages, so that they come in the order of versions
}

// peer is one connection whose certificate has been verified. Its net.Conn is what the MQTT server reads.
type peer struct {
	net.Conn
	certificate string        // ID
	limiter     *rate.Limiter // nil = no limit
	judged      bool          // a reason why this connection ends has been given; connection's goroutine only
	taken       bool          // its CONNECT was accepted; connection's goroutine only
	gone        chan struct{} // closed when nothing serves the connection any more

	mu          sync.Mutex
	client      *mqtt.Client    // nil until taken
	subscribing map[string]bool // while a SUBSCRIBE is handled: filter -> allowed
}

// ID names the hook.
func (b *broker) ID() string { return "iotcore" }

// Provides says which events of the hook are used.
func (b *broker) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPublish, mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnSubscribed,
		mqtt.OnWill:
		return true
	}
	return false
}

// OnConnect lets a client in when its certificate is ACTIVE and a policy allows iot:Connect for its client ID,
// and iot:Publish on the topic of its will. Otherwise the answer is CONNACK "not authorized".
func (b *broker) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return packets.ErrNotAuthorized
	}
	if b.faults.Take(opConnect).Has(fault.Fail) {
		b.refuse(p, RefusedFault, cl.ID, "", nil, "a test asked for connects to be refused")
		return b.answerConnect(cl, packets.ErrServerUnavailable)
	}
	if len(cl.ID) > clientIDMaximum {
		b.refuse(p, RefusedConnect, cl.ID, "", nil, fmt.Sprintf("the client ID has %d bytes, at most %d are allowed",
			len(cl.ID), clientIDMaximum))
		return b.answerConnect(cl, packets.ErrClientIdentifierNotValid)
	}
	err := b.registry.authorize(p.certificate, cl.ID, "iot:Connect", "client/"+cl.ID)
	if err == nil && pk.Connect.WillFlag {
		if err = checkTopic(pk.Connect.WillTopic); err == nil {
			err = b.registry.authorize(p.certificate, cl.ID, "iot:Publish", "topic/"+pk.Connect.WillTopic)
		}
	}
	if err != nil {
		b.refuse(p, RefusedConnect, cl.ID, "", nil, err.Error())
		return b.answerConnect(cl, packets.ErrNotAuthorized)
	}
	if cl.State.Keepalive == 0 || cl.State.Keepalive > keepaliveMaximum {
		cl.State.Keepalive, cl.State.ServerKeepalive = keepaliveMaximum, true // and MQTT 5 clients are told
	}
	return nil
}

// answerConnect sends the CONNACK that refuses and gives the error that ends the connection.
func (b *broker) answerConnect(cl *mqtt.Client, code packets.Code) error {
	answer := code
	if cl.Properties.ProtocolVersion < 5 && code == packets.ErrNotAuthorized {
		answer = packets.ErrBadUsernameOrPassword // the one that the server turns into 5, not authorized
	}
	_ = b.server.SendConnack(cl, answer, false, nil) // the connection ends either way
	return code
}

// OnConnectAuthenticate accepts every client: the TLS handshake has authenticated it by its certificate.
func (b *broker) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// takeoverPatience is how long a new connection waits for the end of the one whose client ID it has.
const takeoverPatience = time.Second

// OnSessionEstablish ends the connection that has the client ID so far. The MQTT server would do so next, but without
// a word, with a DISCONNECT that MQTT 3.1.1 does not know from a server, and, where the old connection's goroutine is
// late, with the new one missing from its list of clients.
func (b *broker) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return
	}
	p.taken = true
	p.mu.Lock()
	p.client = cl
	p.mu.Unlock()
	b.mu.Lock()
	old := b.sessions[cl.ID]
	b.sessions[cl.ID] = p
	b.mu.Unlock()
	if old == nil {
		return
	}
	of := b.origin(old, nil)
	of.addresses = fmt.Sprintf("; the new one is from %s, the earlier one was from %s", p.RemoteAddr(), old.RemoteAddr())
	b.refusals.add(RefusedTakeover, cl.ID, "",
		fmt.Sprintf("client %s was taken over by another connection; the earlier one was closed", cl.ID), of)
	before := old.connected()
	_ = old.SetWriteDeadline(time.Now().Add(takeoverPatience)) // it may have lost its network, and its buffers be full
	if before.Properties.ProtocolVersion == 5 {
		_ = b.server.DisconnectClient(before, packets.ErrSessionTakenOver) // closes it, too
	}
	before.Stop(packets.ErrSessionTakenOver)
	select {
	case <-old.gone:
	case <-time.After(takeoverPatience): // its publish waits for a rule
	}
}

// connected returns the client of a connection that was taken; nil before.
func (p *peer) connected() *mqtt.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// OnPacketEncode is asked about every packet before it is sent. It tells MQTT 5 clients in the CONNACK what is not to
// be had here, gives older ones the return codes of MQTT 3.1.1 (3.2.2.3), which the MQTT server does for a few reasons
// alone, and notes the CONNECTs that the MQTT server refuses. A CONNACK is sent on the connection's own goroutine.
func (b *broker) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || pk.FixedHeader.Type != packets.Connack {
		return pk
	}
	if pk.ReasonCode == packets.CodeSuccess.Code {
		can := b.server.Options.Capabilities
		pk.Properties.RetainAvailableFlag, pk.Properties.RetainAvailable = true, can.RetainAvailable
		pk.Properties.MaximumPacketSize = can.MaximumPacketSize
		pk.Properties.TopicAliasMaximum = can.TopicAliasMaximum
		return pk
	}
	if !p.judged {
		b.refuse(p, RefusedProtocol, cl.ID, "", nil, whyNoConnect(cl.Properties.ProtocolVersion, pk))
	}
	if cl.Properties.ProtocolVersion != 5 && pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
		pk.ReasonCode = olderCode(cl.Properties.ProtocolVersion, pk.ReasonCode)
	}
	return pk
}

// bridgeBit is set by bridges of mosquitto and others in the protocol version of their first CONNECT; refused with
// code 1, they try again without.
const bridgeBit = 0x80

// olderCode returns the CONNACK return code of MQTT 3.1.1 for a reason code of MQTT 5.
func olderCode(version, code byte) byte {
	switch {
	case version != 4, code == packets.ErrUnsupportedProtocolVersion.Code:
		return packets.Err3UnsupportedProtocolVersion.Code
	case code == packets.ErrClientIdentifierNotValid.Code,
		code == packets.ErrUnspecifiedError.Code: // no client ID, and not clean
		return packets.Err3ClientIdentifierNotValid.Code
	case code == packets.ErrServerUnavailable.Code, code == packets.ErrServerBusy.Code:
		return packets.Err3ServerUnavailable.Code
	}
	return packets.Err3NotAuthorized.Code
}

// whyNoConnect says why the MQTT server refuses a CONNECT, and what to do.
func whyNoConnect(version byte, pk packets.Packet) string {
	switch {
	case version&bridgeBit != 0:
		return fmt.Sprintf("CONNECT with protocol version %#x, the bridge bit: bridges go on without it, or set "+
			"try_private false",
			version)
	case version != 4 && version != 5:
		return fmt.Sprintf("CONNECT with protocol version %d: use MQTT 3.1.1 or 5", version)
	case pk.ReasonCode == packets.ErrUnspecifiedError.Code:
		return "CONNECT without client ID and with a session that is kept: give the fan's name as client ID"
	case pk.ReasonCode == packets.ErrRetainNotSupported.Code:
		return "CONNECT with a retained will: the local IoT Core keeps no retained messages, set the will without retain"
	case pk.ReasonCode == packets.ErrQosNotSupported.Code:
		return "CONNECT with a will of QoS 2, which is not supported, as on AWS IoT: use QoS 0 or 1"
	}
	return fmt.Sprintf("CONNECT refused with code %#x (%s)", pk.ReasonCode, pk.Properties.ReasonString)
}

// OnPacketRead refuses publishes that the MQTT server would silently bend or drop: QoS 2, retained ones,
// topics in $SYS, and payloads over 128 KB.
func (b *broker) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type != packets.Publish {
		return pk, nil
	}
	switch {
	case len(pk.Payload) > payloadMaximum:
		b.end(cl, packets.ErrPacketTooLarge, RefusedSize, pk, fmt.Sprintf("the payload has %d bytes, at most %d are allowed",
			len(pk.Payload), payloadMaximum))
	case pk.FixedHeader.Qos > 1:
		b.end(cl, packets.ErrQosNotSupported, RefusedProtocol, pk, "QoS 2 is not supported, as on AWS IoT: publish "+
			"with QoS 0 or 1")
	case pk.FixedHeader.Retain:
		b.end(cl, packets.ErrRetainNotSupported, RefusedProtocol, pk,
			"the local IoT Core keeps no retained messages: publish without retain")
	case strings.HasPrefix(strings.ToUpper(pk.TopicName), mqtt.SysPrefix):
		b.end(cl, packets.ErrTopicNameInvalid, RefusedTopic, pk, "topics in $SYS are reserved")
	default:
		return pk, nil
	}
	return pk, packets.ErrRejectPacket
}

// OnPublish authorises a publish, runs its rules and thereby decides about its PUBACK.
func (b *broker) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // from the REST API, whose rules have run
	}
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	topic := pk.TopicName
	if p.limiter != nil && !p.limiter.AllowN(b.now(), 1) {
		b.refusals.add(RefusedRate, cl.ID, topic, fmt.Sprintf("more than %d publishes a second: discarded without "+
			"PUBACK, as AWS IoT does", b.rate), b.origin(p, pk.Payload))
		return pk, packets.ErrRejectPacket
	}
	if id, op, ok := shadowTopic(topic); ok {
		return b.publishShadow(cl, p, pk, id, op)
	}
	rules, rest, ingest, err := b.route(topic)
	if err != nil {
		b.end(cl, packets.ErrTopicNameInvalid, RefusedTopic, pk, err.Error())
		return pk, packets.ErrRejectPacket
	}
	if err := b.registry.authorize(p.certificate, cl.ID, "iot:Publish", "topic/"+topic); err != nil {
		b.end(cl, packets.ErrNotAuthorized, RefusedPublish, pk, err.Error())
		return pk, packets.ErrRejectPacket
	}
	m := &message{Topic: rest, Published: topic, ClientID: cl.ID, Principal: p.certificate, Arrived: b.now(),
		Payload: pk.Payload}
	if err := b.run(m, rules); err != nil {
		b.endUnacknowledged(cl, pk, err)
		return pk, packets.ErrRejectPacket
	}
	if ingest {
		return pk, packets.CodeSuccessIgnore // acknowledged, and not delivered to subscribers
	}
	return pk, nil
}

// route finds the rules for a topic. For Basic Ingest rest is what follows $aws/rules/NAME/, and the rule must
// be there and enabled: AWS would acknowledge and drop, here the sender keeps the message and can send it
// again when the rule exists.
func (b *broker) route(topic string) (rules []*rule, rest string, ingest bool, err error) {
	name, rest, ingest := basicIngest(topic)
	if !ingest {
		if err := checkTopic(topic); err != nil {
			return nil, "", false, err
		}
		if strings.HasPrefix(topic, "$aws/things/") {
			return nil, "", false, errors.New("of $aws/things/THING/shadow the topics get, update and delete can be " +
				"published to")
		}
		if strings.HasPrefix(topic, "$") {
			return nil, "", false, errors.New("topics that start with $ are reserved; of them $aws/rules/NAME/... can be " +
				"published to")
		}
		return b.registry.matching(topic), topic, false, nil
	}
	u, ok := b.registry.rule(name)
	if !ok {
		return nil, "", true, fmt.Errorf("there is no rule %s to ingest to", clip(name))
	}
	if u.Disabled {
		return nil, "", true, fmt.Errorf("rule %s is disabled", name)
	}
	if rest != "" {
		err = checkTopic(rest)
	}
	return []*rule{u}, rest, true, err
}

// endUnacknowledged ends the connection of a publish that failed, so that its sender keeps it.
func (b *broker) endUnacknowledged(cl *mqtt.Client, pk packets.Packet, err error) {
	if errors.Is(err, fault.ErrCut) {
		b.end(cl, packets.ErrUnspecifiedError, RefusedFault, pk, "a test asked for the connection to be cut before "+
			"the PUBACK")
		return
	}
	b.end(cl, packets.ErrServerUnavailable, RefusedAction, pk, err.Error()+": not acknowledged, send it again")
}

func (b *broker) run(m *message, rules []*rule) error {
	return b.underFaults(func() error { return b.engine.run(b.ctx, m, rules) })
}

var errStopping = errors.New("the broker is stopping")

// underFaults does one publish under the faults that it meets; see [fault.Met.Run]. It gives errStopping, and does
// nothing more, once the broker stops.
func (b *broker) underFaults(do func() error) error {
	err := b.faults.Take(opPublish).Run(b.ctx, func() error {
		if b.ctx.Err() != nil {
			return errStopping
		}
		return do()
	})
	if errors.Is(err, fault.ErrCut) && b.ctx.Err() != nil {
		return errStopping
	}
	return err
}

// publish is the REST way in: rules first, then the subscribers.
func (b *broker) publish(topic string, payload []byte, qos byte) error {
	if len(payload) > payloadMaximum {
		return fmt.Errorf("the payload has %d bytes, at most %d are allowed", len(payload), payloadMaximum)
	}
	if id, op, ok := shadowTopic(topic); ok {
		return b.underFaults(func() error { return b.serveShadow(id, op, payload) })
	}
	rules, rest, ingest, err := b.route(topic)
	if err != nil {
		return err
	}
	m := &message{Topic: rest, Published: topic, ClientID: "n/a", Arrived: b.now(), Payload: payload}
	if err := b.run(m, rules); err != nil {
		return err
	}
	if ingest {
		return nil
	}
	return b.server.Publish(topic, payload, false, qos)
}

// OnWill runs the rules of a will that is about to be sent. A will is not acknowledged, so one whose rules fail is
// lost, with a reason. It is sent when the client or the network breaks the connection; mostly not when the broker ends
// it, which mochi-mqtt takes for an orderly end.
func (b *broker) OnWill(cl *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return will, nil
	}
	rules, rest, _, err := b.route(will.TopicName)
	if err == nil {
		m := &message{Topic: rest, Published: will.TopicName, ClientID: cl.ID, Principal: p.certificate, Arrived: b.now(),
			Payload: will.Payload}
		err = b.engine.run(b.ctx, m, rules) // no fault meets a will: it is no call
	}
	if err != nil {
		b.refusals.add(RefusedLost, cl.ID, will.TopicName, "last will: "+err.Error(), b.origin(p, will.Payload))
	}
	return will, nil
}

// OnSubscribe judges the filters of a SUBSCRIBE; the MQTT server asks for the judgement by OnACLCheck.
func (b *broker) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return pk
	}
	verdicts := map[string]bool{}
	for _, f := range pk.Filters {
		err := checkFilter(f.Filter)
		if err == nil {
			err = b.registry.authorize(p.certificate, cl.ID, "iot:Subscribe", "topicfilter/"+f.Filter)
		}
		if err != nil {
			b.refusals.add(RefusedSubscribe, cl.ID, f.Filter, err.Error(), b.origin(p, nil))
		}
		verdicts[f.Filter] = err == nil
	}
	p.mu.Lock()
	p.subscribing = verdicts
	p.mu.Unlock()
	return pk
}

// OnSubscribed forgets the judgement that OnSubscribe left for OnACLCheck.
func (b *broker) OnSubscribed(cl *mqtt.Client, _ packets.Packet, _ []byte) {
	if p, ok := cl.Net.Conn.(*peer); ok {
		p.mu.Lock()
		p.subscribing = nil
		p.mu.Unlock()
	}
}

// OnACLCheck is asked, with write false, both for the filter of a SUBSCRIBE and for the topic of every delivery.
// The first is answered from what OnSubscribe found (and so is, for these microseconds, a delivery on a topic that
// reads like the filter), the second from iot:Receive. Publishes are judged in OnPublish instead, where
// topic aliases are resolved.
func (b *broker) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	p, ok := cl.Net.Conn.(*peer)
	if write || !ok {
		return write
	}
	p.mu.Lock()
	ok, found := p.subscribing[topic]
	p.mu.Unlock()
	if found {
		return ok
	}
	if err := b.registry.authorize(p.certificate, cl.ID, "iot:Receive", "topic/"+topic); err != nil {
		b.refusals.add(RefusedReceive, cl.ID, topic, err.Error(), b.origin(p, nil))
		return false
	}
	return true
}

// OnDisconnect notes a reason for endings that the MQTT server decided on its own.
func (b *broker) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || p.judged || err == nil || errors.Is(cl.StopCause(), packets.ErrSessionTakenOver) {
		return
	}
	var code packets.Code
	switch {
	case errors.Is(err, packets.ErrPacketTooLarge):
		b.refuse(p, RefusedSize, cl.ID, "", nil, fmt.Sprintf("a packet is larger than a payload of %d bytes needs",
			payloadMaximum))
	case errors.As(err, &code) && code.Code >= packets.ErrUnspecifiedError.Code:
		b.refuse(p, RefusedProtocol, cl.ID, "", nil, code.Reason)
	case errors.Is(err, io.EOF):
		b.log.Debug("client is gone", "client", cl.ID)
	}
}

// end closes the connection that sent pk for the reason given; MQTT 5 clients are told a code. It runs on the
// connection's own goroutine.
func (b *broker) end(cl *mqtt.Client, code packets.Code, kind string, pk packets.Packet, reason string) {
	if p, ok := cl.Net.Conn.(*peer); ok {
		b.refuse(p, kind, cl.ID, pk.TopicName, pk.Payload, reason)
	}
	if cl.Properties.ProtocolVersion == 5 {
		_ = b.server.DisconnectClient(cl, code) // closes it, too
	}
	cl.Stop(code)
}

// refuse notes why p's connection ends. It runs on the connection's own goroutine.
func (b *broker) refuse(p *peer, kind, clientID, topic string, payload []byte, reason string) {
	p.judged = true
	b.refusals.add(kind, clientID, topic, reason, b.origin(p, payload))
}

func (b *broker) origin(p *peer, payload []byte) origin {
	return origin{certificate: p.certificate, fan: b.registry.thingOf(p.certificate), payload: payload}
}
