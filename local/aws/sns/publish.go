package sns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxMessage bounds body and attributes together, in bytes (as on AWS).
	maxMessage = 256 << 10
	// maxSubject is in characters.
	maxSubject = 100
	// maxQueue bounds deliveries under way; above it Publish is throttled,
	// because what was acknowledged must not be dropped.
	maxQueue = 10_000
	// noSubject is what AWS puts into mail without a subject.
	noSubject = "AWS Notification Message"
)

// message is one valid Publish.
type message struct {
	id, topic, subject string
	time               time.Time
	bodies             map[string]string // by protocol; "default" for the others
	attributes         map[string]Attribute
}

// publish stores the message with every recipient, then answers.
func (s *Server) publish(p params) (any, error) {
	m, err := s.readMessage(p)
	if err != nil {
		return nil, err
	}
	if len(s.queue) >= maxQueue {
		return nil, &apiError{http.StatusBadRequest, "Throttling",
			fmt.Sprintf("Rate exceeded: %d deliveries are waiting for endpoints that do not answer", len(s.queue))}
	}
	r, err := s.fanOut(m)
	if err != nil {
		return nil, err
	}
	if len(r.Entries)+len(r.Repeats)+len(r.Deliveries) > 0 {
		if err := s.commit(r); err != nil {
			return nil, err
		}
	}
	return struct{ MessageId string }{m.id}, nil
}

func (s *Server) readMessage(p params) (message, error) {
	m := message{topic: p.get("TopicArn"), time: s.cfg.Now().UTC()}
	if p.has("PhoneNumber") {
		return m, notImplemented("text messages (PhoneNumber)")
	}
	if !p.has("TopicArn") {
		m.topic = p.get("TargetArn")
	}
	if err := checkARN("TopicArn", m.topic); err != nil {
		return m, err
	}
	if err := p.required("Message"); err != nil {
		return m, err
	}
	if p.has("MessageDeduplicationId") {
		return m, invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	if m.subject = p.get("Subject"); p.has("Subject") && !validSubject(m.subject) {
		return m, invalid("Subject")
	}
	var err error
	if m.attributes, err = p.messageAttributes(); err != nil {
		return m, err
	}
	if m.bodies, err = bodies(p.get("Message"), p.get("MessageStructure"), m.attributes); err != nil {
		return m, err
	}
	if _, exists := s.topics.topics[m.topic]; !exists {
		return m, notFound("Topic")
	}
	m.id, err = s.newID()
	return m, err
}

func validSubject(subject string) bool {
	return subject != "" && utf8.ValidString(subject) && utf8.RuneCountInString(subject) <= maxSubject &&
		!strings.ContainsFunc(subject, unicode.IsControl)
}

// bodies reads Message; with MessageStructure json it is an object with one
// string per protocol and a default. Members that are no strings are ignored.
func bodies(text, structure string, attributes map[string]Attribute) (map[string]string, error) {
	size := len(text)
	for name, a := range attributes {
		size += len(name) + len(a.Type) + len(a.Value)
	}
	switch {
	case text == "":
		return nil, invalid("Empty message")
	case size > maxMessage:
		return nil, invalid("Message too long")
	case !utf8.ValidString(text):
		return nil, invalid("Message must be valid UTF-8")
	case structure == "":
		return map[string]string{"default": text}, nil
	case structure != "json":
		return nil, invalid("MessageStructure")
	}
	var members map[string]any
	if json.Unmarshal([]byte(text), &members) != nil {
		return nil, invalid("Message Structure - JSON message body failed to parse")
	}
	m := map[string]string{}
	for protocol, v := range members {
		if body, ok := v.(string); ok {
			m[protocol] = body
		}
	}
	if _, ok := m["default"]; !ok {
		return nil, invalid("Message Structure - No default entry in JSON message body")
	}
	return m, nil
}

func (m message) body(protocol string) string {
	if b, ok := m.bodies[protocol]; ok {
		return b
	}
	return m.bodies["default"]
}

// fanOut is what the message means for each confirmed, matching subscription.
func (s *Server) fanOut(m message) (record, error) {
	var r record
	nextEntry, nextDelivery := s.inbox.last, s.lastID
	for _, sub := range s.topics.of(m.topic) {
		if !sub.Confirmed || !sub.policy.matches(m.attributes) {
			continue
		}
		if sub.Protocol == "http" || sub.Protocol == "https" {
			d, err := s.post(m, sub)
			if err != nil {
				return r, err
			}
			nextDelivery++
			d.ID = nextDelivery
			r.Deliveries = append(r.Deliveries, d)
			continue
		}
		e, err := s.entry(m, sub)
		if err != nil {
			return r, err
		}
		if id, repeated := s.inbox.holds(e); repeated {
			r.Repeats = append(r.Repeats, id)
			continue
		}
		nextEntry++
		e.ID = nextEntry
		r.Entries = append(r.Entries, e)
		if s.cfg.SMTP.Addr != "" {
			nextDelivery++
			r.Deliveries = append(r.Deliveries, delivery{ID: nextDelivery, Mail: true, MessageID: m.id, Topic: m.topic,
				Time: m.time, To: e.To, Sender: s.topics.topics[m.topic].DisplayName, Subject: e.Subject, Body: e.Body})
		}
	}
	return r, nil
}

// commit makes a record durable, applies it and starts its deliveries. The
// deliveries of a confirmation get their ID here.
func (s *Server) commit(r record) error {
	for i := range r.Deliveries {
		if r.Deliveries[i].ID == 0 {
			r.Deliveries[i].ID = s.lastID + 1 + uint64(i)
		}
	}
	if err := s.journal.append(r, true); err != nil {
		return err
	}
	s.apply(r)
	for _, d := range r.Deliveries {
		s.start(d)
	}
	if err := s.journal.compact(s.live); err != nil {
		s.cfg.Log.Warn("sns: the journal was not compacted", "err", err)
	}
	return nil
}

// apply is the whole effect of a record on memory; replay uses it as well.
func (s *Server) apply(r record) {
	for _, e := range r.Entries {
		s.inbox.add(e)
	}
	for _, id := range r.Repeats {
		s.inbox.repeat(id)
	}
	for _, d := range r.Deliveries {
		s.queue[d.ID] = d
		s.lastID = max(s.lastID, d.ID)
	}
	for _, id := range r.Done {
		delete(s.queue, id)
	}
}

// live is the shortest history that leads to the present state.
func (s *Server) live() []record {
	var list []record
	for _, e := range s.inbox.entries {
		list = append(list, record{Entries: []Entry{e}})
	}
	for _, d := range s.queue {
		list = append(list, record{Deliveries: []delivery{d}})
	}
	return list
}

func (s *Server) entry(m message, sub subscription) (Entry, error) {
	e := Entry{
		MessageID: m.id, Time: m.time, To: sub.Endpoint, Protocol: sub.Protocol, Subject: m.subject, Body: m.body(sub.Protocol),
		Attributes: map[string]string{}, Topic: m.topic, Key: m.attributes[KeyAttribute].Value, Copies: 1,
	}
	if e.Subject == "" {
		e.Subject = noSubject
	}
	for name, a := range m.attributes {
		e.Attributes[name] = a.Value
	}
	if sub.Protocol != "email-json" {
		return e, nil
	}
	text, err := s.notification(m, sub)
	e.Body = text
	return e, err
}

// post is the delivery of a message to an HTTP(S) endpoint.
func (s *Server) post(m message, sub subscription) (delivery, error) {
	d := delivery{Type: "Notification", MessageID: m.id, Topic: m.topic, Time: m.time,
		Subscription: sub.ARN, URL: sub.Endpoint, Raw: sub.Raw, Body: m.body(sub.Protocol)}
	if sub.Raw {
		return d, nil
	}
	text, err := s.notification(m, sub)
	d.Body = text
	return d, err
}

// snsTime is how AWS writes Timestamp.
const snsTime = "2006-01-02T15:04:05.000Z"

// notification is the JSON of
// https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
func (s *Server) notification(m message, sub subscription) (string, error) {
	type attribute struct{ Type, Value string }
	attributes := map[string]attribute{}
	for name, a := range m.attributes {
		attributes[name] = attribute(a)
	}
	base := s.base(sub)
	n := struct {
		Type              string
		MessageId         string
		TopicArn          string
		Subject           string `json:",omitempty"`
		Message           string
		Timestamp         string
		SignatureVersion  string
		Signature         string
		SigningCertURL    string
		UnsubscribeURL    string
		MessageAttributes map[string]attribute `json:",omitempty"`
	}{
		"Notification", m.id, m.topic, m.subject, m.body(sub.Protocol), m.time.Format(snsTime), "2", "", base + certificatePath,
		base + "/?Action=Unsubscribe&SubscriptionArn=" + url.QueryEscape(sub.ARN), attributes,
	}
	signed := []string{"Message", n.Message, "MessageId", n.MessageId}
	if n.Subject != "" {
		signed = append(signed, "Subject", n.Subject)
	}
	signed = append(signed, "Timestamp", n.Timestamp, "TopicArn", n.TopicArn, "Type", n.Type)
	var err error
	if n.Signature, err = s.signer.sign(signed); err != nil {
		return "", err
	}
	return plainJSON(n)
}

// confirmation asks an endpoint to confirm, as in
// https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html
func (s *Server) confirmation(sub subscription) (delivery, error) {
	id, err := s.newID()
	if err != nil {
		return delivery{}, err
	}
	now, base := s.cfg.Now().UTC(), s.base(sub)
	c := struct{ Type, MessageId, Token, TopicArn, Message, SubscribeURL, Timestamp, SignatureVersion, Signature, SigningCertURL string }{
		"SubscriptionConfirmation", id, sub.Token, sub.Topic,
		"You have chosen to subscribe to the topic " + sub.Topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
		base + "/?Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(sub.Topic) + "&Token=" + sub.Token,
		now.Format(snsTime), "2", "", base + certificatePath,
	}
	c.Signature, err = s.signer.sign([]string{"Message", c.Message, "MessageId", c.MessageId, "SubscribeURL", c.SubscribeURL,
		"Timestamp", c.Timestamp, "Token", c.Token, "TopicArn", c.TopicArn, "Type", c.Type})
	if err != nil {
		return delivery{}, err
	}
	text, err := plainJSON(c)
	return delivery{Type: c.Type, MessageID: id, Topic: sub.Topic, Time: now, Subscription: sub.ARN, URL: sub.Endpoint, Body: text}, err
}

func (s *Server) base(sub subscription) string {
	if s.cfg.URL != "" {
		return s.cfg.URL
	}
	return sub.Base
}

// plainJSON leaves the & of links readable.
func plainJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("sns: message: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
