package iotcore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fanwatch/local/aws/fault"
)

// shadowTopic splits $aws/things/THING/shadow/OP and $aws/things/THING/shadow/name/NAME/OP, where OP is get,
// update or delete; ok is false for any other topic.
func shadowTopic(topic string) (id shadowID, op string, ok bool) {
	rest, found := strings.CutPrefix(topic, "$aws/things/")
	parts := strings.Split(rest, "/")
	switch {
	case !found:
		return id, "", false
	case len(parts) == 3 && parts[1] == "shadow":
		id.Thing, op = parts[0], parts[2]
	case len(parts) == 5 && parts[1] == "shadow" && parts[2] == "name" && parts[3] != "":
		id.Thing, id.Name, op = parts[0], parts[3], parts[4]
	}
	return id, op, op == "get" || op == "update" || op == "delete"
}

// publishShadow answers a request that came by MQTT. The request is acknowledged when its outcome is on disk,
// be it a refusal: that is told on the topic rejected.
func (b *broker) publishShadow(cl *mqtt.Client, p *peer, pk packets.Packet, id shadowID,
	op string) (packets.Packet, error) {
	topic := pk.TopicName
	if err := b.registry.authorize(p.certificate, cl.ID, "iot:Publish", "topic/"+topic); err != nil {
		b.end(cl, packets.ErrNotAuthorized, RefusedPublish, pk, err.Error())
		return pk, packets.ErrRejectPacket
	}
	err := b.underFaults(func() error { return b.serveShadow(id, op, pk.Payload) })
	if errors.Is(err, errStopping) || errors.Is(err, fault.ErrCut) {
		b.endUnacknowledged(cl, pk, err)
		return pk, packets.ErrRejectPacket
	}
	if err != nil {
		b.log.Debug("shadow request refused", "client", cl.ID, "topic", topic, "err", err)
	}
	return pk, nil
}

// serveShadow carries a request out and publishes what came of it. The error has been published, too.
func (b *broker) serveShadow(id shadowID, op string, payload []byte) error {
	b.shadows.Lock()
	defer b.shadows.Unlock()
	answer, token, err := b.changeShadow(id, op, payload)
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			b.log.Error("shadow", "shadow", id.String(), "err", err)
			e = &apiError{Status: http.StatusInternalServerError, Message: "Internal service failure"}
		}
		b.tell(id, op+"/rejected", map[string]any{"code": e.Status, "message": e.Message, "timestamp": b.now().Unix()}, token)
		return err
	}
	b.tell(id, op+"/accepted", answer, token)
	return nil
}

// changeShadow carries a request out, publishes what others are told of it, and gives the answer.
func (b *broker) changeShadow(id shadowID, op string, payload []byte) (answer any, token string, err error) {
	if err := id.check(); err != nil {
		return nil, "", err
	}
	r, err := readShadowRequest(payload, op == "update")
	if err != nil {
		return nil, r.token, err
	}
	now := b.now()
	switch op {
	case "get":
		s, err := b.registry.shadow(id)
		if err != nil {
			return nil, r.token, err
		}
		return s.document(now), r.token, nil
	case "delete":
		s, err := b.registry.deleteShadow(id)
		if err != nil {
			return nil, r.token, err
		}
		return map[string]any{"version": s.Version, "timestamp": now.Unix()}, r.token, nil
	}
	old, next, err := b.registry.updateShadow(id, r)
	if err != nil {
		return nil, r.token, err
	}
	if state, metadata := delta(next.State.Desired, next.State.Reported, next.Metadata.Desired); len(state) > 0 {
		b.tell(id, "update/delta", shadowDocument{State: state, Metadata: metadata, Version: next.Version,
			Timestamp: now.Unix()}, r.token)
	}
	change := map[string]any{"current": shadowDocument{State: next.State, Metadata: next.Metadata, Version: next.Version},
		"timestamp": now.Unix()}
	if old != nil && old.Deleted.IsZero() {
		change["previous"] = shadowDocument{State: old.State, Metadata: old.Metadata, Version: old.Version}
	}
	b.tell(id, "update/documents", change, r.token)
	state, metadata := r.echo(next.Metadata)
	return shadowDocument{State: state, Metadata: metadata, Version: next.Version, Timestamp: now.Unix()}, r.token, nil
}

// tell publishes a document under the shadow's topics, with the token that the request had.
func (b *broker) tell(id shadowID, topic string, document any, token string) {
	payload, err := withClientToken(document, token)
	if err == nil {
		err = b.server.Publish(id.prefix()+topic, payload, false, 1)
	}
	if err != nil {
		b.log.Error("shadow", "topic", id.prefix()+topic, "err", err)
	}
}

func withClientToken(document any, token string) ([]byte, error) {
	b, err := json.Marshal(document)
	if err != nil || token == "" {
		return b, err
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, err
	}
	o["clientToken"] = jsonText(token)
	return json.Marshal(o)
}

func (r *registry) shadow(id shadowID) (*shadow, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s, ok := r.shadows[id.String()]; ok && s.Deleted.IsZero() {
		return s, nil
	}
	name := id.Name
	if name == "" {
		name = id.Thing
	}
	return nil, shadowError(http.StatusNotFound, "ResourceNotFoundException",
		fmt.Sprintf("No shadow exists with name: '%s'", name))
}

// updateShadow makes or changes the shadow and gives what it was (nil: nothing) and is.
func (r *registry) updateShadow(id shadowID, change shadowRequest) (old, next *shadow, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.RLock()
	old = r.shadows[id.String()]
	r.mu.RUnlock()
	if next, err = old.update(id, change, r.now()); err != nil {
		return nil, nil, err
	}
	return old, next, put(r, kindShadow, id.String(), next, r.shadows)
}

// deleteShadow leaves the version alone, which goes on when the shadow is made again within two days.
func (r *registry) deleteShadow(id shadowID) (*shadow, error) {
	r.change.Lock()
	defer r.change.Unlock()
	s, err := r.shadow(id)
	if err != nil {
		return nil, err
	}
	gone := &shadow{Thing: id.Thing, Name: id.Name, Version: s.Version, Deleted: r.now()}
	return gone, put(r, kindShadow, id.String(), gone, r.shadows)
}

// shadow is GetThingShadow, UpdateThingShadow or DeleteThingShadow. Subscribers are told as if it had come
// by MQTT, except of a get.
func (s *Server) shadow(op string) operation {
	return func(r *http.Request) (any, error) {
		id := shadowID{Thing: r.PathValue("name"), Name: r.URL.Query().Get("name")}
		payload, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, shadowError(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
				"The payload exceeds the maximum size allowed")
		}
		s.broker.shadows.Lock()
		defer s.broker.shadows.Unlock()
		answer, token, err := s.broker.changeShadow(id, op, payload)
		if err != nil {
			return nil, err
		}
		if op != "get" {
			s.broker.tell(id, op+"/accepted", answer, token)
		}
		b, err := withClientToken(answer, token)
		return json.RawMessage(b), err
	}
}

// listNamedShadows is ListNamedShadowsForThing.
func (s *Server) listNamedShadows(r *http.Request) (any, error) {
	names := s.registry.namedShadows(r.PathValue("name"))
	names, next, err := page(r, names, "pageSize", "nextToken")
	if err != nil {
		return nil, err
	}
	return withToken(map[string]any{"results": names, "timestamp": s.cfg.Now().Unix()}, "nextToken", next), nil
}

func (r *registry) namedShadows(thing string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := []string{}
	for _, s := range r.shadows {
		if s.Thing == thing && s.Name != "" && s.Deleted.IsZero() {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}
