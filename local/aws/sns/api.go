package sns

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// serveAPI is one call: decode, perhaps fail on purpose, do it, answer.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	requestID, err := s.newID()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p, err := decodeRequest(w, r)
	if err != nil {
		s.fail(w, "", err, requestID)
		return
	}
	action := p.get("Action")
	if r.Method == http.MethodGet && action == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "fanwatch local SNS. The inbox is at /inbox (and /inbox.json).\n")
		return
	}
	fault := s.faults.take(action)
	if fault.before(w, r, requestID) {
		return
	}
	result, err := s.call(action, p, r)
	fault.after()
	if err != nil {
		s.fail(w, action, err, requestID)
		return
	}
	body, err := encodeResult(action, result, requestID)
	if err != nil {
		s.fail(w, action, err, requestID)
		return
	}
	writeXML(w, http.StatusOK, body, requestID)
}

func (s *Server) call(action string, p params, r *http.Request) (any, error) {
	// A link can be followed without the user's will: GET is for the two
	// links that messages carry, whose ARN or token is a secret.
	if r.Method == http.MethodGet && action != "ConfirmSubscription" && action != "Unsubscribe" {
		return nil, &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed", "use POST for " + strconv.Quote(action)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the server is closed")
	}
	switch action {
	case "CreateTopic":
		return s.createTopic(p)
	case "DeleteTopic":
		return nil, s.deleteTopic(p)
	case "ListTopics":
		return s.listTopics(p)
	case "GetTopicAttributes":
		return s.getTopicAttributes(p)
	case "Subscribe":
		return s.subscribe(p, r)
	case "ConfirmSubscription":
		return s.confirmSubscription(p)
	case "Unsubscribe":
		return nil, s.unsubscribe(p, r)
	case "ListSubscriptionsByTopic":
		return s.listSubscriptionsByTopic(p)
	case "GetSubscriptionAttributes":
		return s.getSubscriptionAttributes(p)
	case "SetSubscriptionAttributes":
		return nil, s.setSubscriptionAttributes(p)
	case "Publish":
		return s.publish(p)
	case "":
		return nil, &apiError{http.StatusBadRequest, "MissingAction", "the request has no Action"}
	}
	return nil, notImplemented("the operation %q", action)
}

func (s *Server) fail(w http.ResponseWriter, action string, err error, requestID string) {
	var known *apiError
	if !errors.As(err, &known) {
		s.cfg.Log.Error("sns: a call failed", "action", action, "err", err)
		known = &apiError{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	writeError(w, known, requestID)
}

func (s *Server) createTopic(p params) (any, error) {
	if err := p.required("Name"); err != nil {
		return nil, err
	}
	name := p.get("Name")
	if strings.HasSuffix(name, ".fifo") {
		return nil, notImplemented("FIFO topics")
	}
	if name == "" || len(name) > 256 || strings.Trim(name, nameRunes) != "" {
		return nil, invalid("Topic Name")
	}
	if p.has("Tags.member.1.Key") {
		return nil, notImplemented("tags")
	}
	attributes := p.attributes()
	for k := range attributes {
		if k != "DisplayName" {
			return nil, notImplemented("the topic attribute %q", k)
		}
	}
	t := topic{
		ARN:         strings.Join([]string{"arn:aws:sns", s.cfg.Region, s.cfg.Account, name}, ":"),
		DisplayName: attributes["DisplayName"], Created: s.cfg.Now().UTC(),
	}
	type result struct{ TopicArn string }
	if old, exists := s.topics.topics[t.ARN]; exists {
		if len(attributes) > 0 && old.DisplayName != t.DisplayName {
			return nil, invalid("Attributes Reason: Topic already exists with different attributes")
		}
		return result{t.ARN}, nil
	}
	err := s.topics.update(func(topics map[string]topic, _ map[string]subscription) { topics[t.ARN] = t })
	return result{t.ARN}, err
}

// deleteTopic is idempotent and takes the subscriptions along.
func (s *Server) deleteTopic(p params) error {
	if err := p.required("TopicArn"); err != nil {
		return err
	}
	arn := p.get("TopicArn")
	if err := checkARN("TopicArn", arn); err != nil {
		return err
	}
	if _, exists := s.topics.topics[arn]; !exists {
		return nil
	}
	return s.topics.update(func(topics map[string]topic, subs map[string]subscription) {
		delete(topics, arn)
		maps.DeleteFunc(subs, func(_ string, sub subscription) bool { return sub.Topic == arn })
	})
}

func (s *Server) listTopics(p params) (any, error) {
	type member struct{ TopicArn string }
	arns, next, err := page(slices.Sorted(maps.Keys(s.topics.topics)), p)
	if err != nil {
		return nil, err
	}
	list := make([]member, 0, len(arns))
	for _, arn := range arns {
		list = append(list, member{arn})
	}
	return struct {
		Topics    []member `xml:"Topics>member"`
		NextToken string   `xml:",omitempty"`
	}{list, next}, nil
}

func (s *Server) getTopicAttributes(p params) (any, error) {
	t, err := s.topic(p)
	if err != nil {
		return nil, err
	}
	confirmed, pending := 0, 0
	for _, sub := range s.topics.of(t.ARN) {
		if sub.Confirmed {
			confirmed++
		} else {
			pending++
		}
	}
	return attributesResult{entriesOf(map[string]string{
		"TopicArn": t.ARN, "Owner": s.cfg.Account, "DisplayName": t.DisplayName, "SignatureVersion": "2",
		"SubscriptionsConfirmed": strconv.Itoa(confirmed), "SubscriptionsPending": strconv.Itoa(pending),
		"SubscriptionsDeleted": strconv.Itoa(t.Removed),
	})}, nil
}

type attributesResult struct {
	Attributes []entry `xml:"Attributes>entry"`
}

// topic finds the topic that TopicArn names.
func (s *Server) topic(p params) (topic, error) {
	if err := p.required("TopicArn"); err != nil {
		return topic{}, err
	}
	arn := p.get("TopicArn")
	if err := checkARN("TopicArn", arn); err != nil {
		return topic{}, err
	}
	t, exists := s.topics.topics[arn]
	if !exists {
		return topic{}, notFound("Topic")
	}
	return t, nil
}

// asInvalid makes InvalidParameter of an error that has no code of its own.
func asInvalid(err error, prefix string) error {
	var known *apiError
	if errors.As(err, &known) {
		return known
	}
	return invalid("%s%s", prefix, err)
}

// pageSize is how many topics or subscriptions one answer lists (as on AWS).
const pageSize = 100

// page cuts a sorted list behind NextToken, which carries the last item seen,
// so that deletions in between skip nothing.
func page(sorted []string, p params) (list []string, next string, err error) {
	if p.get("NextToken") != "" {
		last, err := base64.URLEncoding.DecodeString(p.get("NextToken"))
		if err != nil {
			return nil, "", invalid("NextToken")
		}
		i, found := slices.BinarySearch(sorted, string(last))
		if found {
			i++
		}
		sorted = sorted[i:]
	}
	if len(sorted) <= pageSize {
		return sorted, "", nil
	}
	return sorted[:pageSize], base64.URLEncoding.EncodeToString([]byte(sorted[pageSize-1])), nil
}
