package iotcore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch/local/aws/iotcore"
)

// shadows is an SDK client of the data plane with one thing's shadow "fanwatch".
type shadows struct {
	*rig
	data *iotdataplane.Client
}

func newShadows(r *rig, addr string) shadows {
	return shadows{r, newDataClient(addr)}
}

func (s shadows) update(payload string) (map[string]any, error) {
	out, err := s.data.UpdateThingShadow(s.Context(), &iotdataplane.UpdateThingShadowInput{ThingName: aws.String("fan-01"),
		ShadowName: aws.String("fanwatch"), Payload: []byte(payload)})
	if err != nil {
		return nil, err
	}
	return object(s, out.Payload), nil
}

func (s shadows) get() (map[string]any, error) {
	out, err := s.data.GetThingShadow(s.Context(), &iotdataplane.GetThingShadowInput{ThingName: aws.String("fan-01"),
		ShadowName: aws.String("fanwatch")})
	if err != nil {
		return nil, err
	}
	return object(s, out.Payload), nil
}

func (s shadows) remove() error {
	_, err := s.data.DeleteThingShadow(s.Context(), &iotdataplane.DeleteThingShadowInput{ThingName: aws.String("fan-01"),
		ShadowName: aws.String("fanwatch")})
	return err
}

func object(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

// is holds a part of a document, found by its path, against JSON.
func is(t testing.TB, doc map[string]any, path, want string) {
	t.Helper()
	var v any = doc
	for _, key := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(v, w) {
		got, _ := json.Marshal(v)
		t.Errorf("%s is %s, want %s", path, got, want)
	}
}

func status(err error) int {
	var e *awshttp.ResponseError
	if errors.As(err, &e) {
		return e.HTTPStatusCode()
	}
	return 0
}

func TestShadowBySDK(t *testing.T) {
	r := newRig(t, func(c *iotcore.Config) { c.Now = func() time.Time { return time.Unix(1_790_000_000, 0) } })
	s := newShadows(r, r.server.RESTAddr())
	var missing *types.ResourceNotFoundException
	if _, err := s.get(); !errors.As(err, &missing) ||
		!strings.Contains(err.Error(), "No shadow exists with name: 'fanwatch'") {
		t.Errorf("no shadow: %v", err)
	}
	doc, err := s.update(`{"clientToken":"t-1",
		"state":{"desired":{"interval":"2s","nested":{"a":1,"b":[1,{"c":2}]},"gone":null}}}`)
	r.must(err)
	is(t, doc, "version", "1")
	is(t, doc, "clientToken", `"t-1"`)
	is(t, doc, "timestamp", "1790000000")
	is(t, doc, "state.desired.interval", `"2s"`)
	is(t, doc, "metadata.desired.nested",
		`{"a":{"timestamp":1790000000},"b":[{"timestamp":1790000000},{"timestamp":1790000000}]}`)
	doc, err = s.update(`{"state":{"reported":{"interval":"1s","nested":{"a":1.0,"x":true}}}}`)
	r.must(err)
	is(t, doc, "version", "2")
	is(t, doc, "state", `{"reported":{"interval":"1s","nested":{"a":1,"x":true}}}`)
	doc, err = s.get()
	r.must(err)
	is(t, doc, "state.desired", `{"interval":"2s","nested":{"a":1,"b":[1,{"c":2}]}}`)
	is(t, doc, "state.reported", `{"interval":"1s","nested":{"a":1,"x":true}}`)
	is(t, doc, "state.delta", `{"interval":"2s","nested":{"b":[1,{"c":2}]}}`)
	is(t, doc, "metadata.reported.interval", `{"timestamp":1790000000}`)

	// Merging, removal by null, and the version as a lock.
	var conflict *types.ConflictException
	if _, err := s.update(`{"state":{"desired":{"interval":"9s"}},"version":1}`); !errors.As(err, &conflict) ||
		status(err) != http.StatusConflict {
		t.Errorf("an old version: %v", err)
	}
	_, err = s.update(`{"state":{"desired":{"nested":{"b":null},"interval":"1s"}},"version":2}`)
	r.must(err)
	doc, err = s.get()
	r.must(err)
	is(t, doc, "version", "3")
	is(t, doc, "state.desired", `{"interval":"1s","nested":{"a":1}}`)
	is(t, doc, "state.delta", "null")
	_, err = s.update(`{"state":{"desired":null}}`)
	r.must(err)
	doc, err = s.get()
	r.must(err)
	is(t, doc, "state.desired", "null")
	is(t, doc, "metadata.desired", "null")

	list, err := s.data.ListNamedShadowsForThing(t.Context(),
		&iotdataplane.ListNamedShadowsForThingInput{ThingName: aws.String("fan-01")})
	if err != nil || !reflect.DeepEqual(list.Results, []string{"fanwatch"}) {
		t.Errorf("list: %v %v", list, err)
	}
	gone, err := s.data.DeleteThingShadow(t.Context(),
		&iotdataplane.DeleteThingShadowInput{ThingName: aws.String("fan-01"), ShadowName: aws.String("fanwatch")})
	r.must(err)
	is(t, object(t, gone.Payload), "version", "4")
	if _, err := s.get(); !errors.As(err, &missing) {
		t.Errorf("after the deletion: %v", err)
	}
	doc, err = s.update(`{"state":{"desired":{"a":1}}}`)
	r.must(err)
	is(t, doc, "version", "5")
}

func TestShadowRefusals(t *testing.T) {
	r := newRig(t)
	s := newShadows(r, r.server.RESTAddr())
	deep := func(levels int) string {
		return `{"state":{"desired":` + strings.Repeat(`{"a":`, levels) + `{"a":1}` + strings.Repeat("}", levels) + `}}`
	}
	for name, c := range map[string]struct {
		payload string
		status  int
		message string
	}{
		"not JSON":       {`{"state":`, 400, "Invalid JSON"},
		"not an object":  {`[1]`, 400, "Invalid JSON"},
		"empty":          {``, 400, "Invalid JSON"},
		"no state":       {`{}`, 400, "Missing required node: state"},
		"state a number": {`{"state":1}`, 400, "State node must be an object"},
		"desired":        {`{"state":{"desired":[]}}`, 400, "Desired node must be an object"},
		"reported":       {`{"state":{"reported":"x"}}`, 400, "Reported node must be an object"},
		"another node":   {`{"state":{"delta":{}}}`, 400, "State contains an invalid node"},
		"version":        {`{"state":{"desired":{}},"version":"1"}`, 400, "Invalid version"},
		"version 0":      {`{"state":{"desired":{}},"version":0}`, 400, "Invalid version"},
		"token":          {`{"state":{"desired":{}},"clientToken":1}`, 400, "Invalid clientToken"},
		"long token": {`{"state":{"desired":{}},"clientToken":"` + strings.Repeat("x", 65) + `"}`, 400,
			"Invalid clientToken"},
		"nesting": {deep(7), 400, "too many levels"},
		"size": {`{"state":{"desired":{"a":"` + strings.Repeat("x", 8<<10) + `"}}}`, 413,
			"exceeds the maximum size"},
		"encoding": {"{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", 415, "UTF-8"},
		"conflict": {`{"state":{"desired":{}},"version":7}`, 409, "Version conflict"},
	} {
		if _, err := s.update(c.payload); status(err) != c.status || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %d %s", name, err, c.status, c.message)
		}
	}
	if _, err := s.update(deep(6)); err != nil {
		t.Errorf("six levels: %v", err)
	}
	// A document that grows too large by merging.
	half := strings.Repeat("x", 5<<10)
	if _, err := s.update(`{"state":{"desired":{"a":"` + half + `"}}}`); err != nil {
		t.Error(err)
	}
	if _, err := s.update(`{"state":{"desired":{"b":"` + half + `"}}}`); status(err) != 413 {
		t.Errorf("grown too large: %v", err)
	}
	if _, err := s.data.GetThingShadow(t.Context(), &iotdataplane.GetThingShadowInput{ThingName: aws.String("fan-01"),
		ShadowName: aws.String("bad name")}); status(err) != 400 {
		t.Errorf("a bad name: %v", err)
	}
}

// own lets a thing use its own shadow "fanwatch" and no other.
const own = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"` + arnPrefix + `client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":"iot:Publish","Resource":["` + ownTopic + `get","` + ownTopic + `update"]},
 {"Effect":"Allow","Action":"iot:Receive","Resource":"` + ownTopic + `*"},
 {"Effect":"Allow","Action":"iot:Subscribe","Resource":"` + arnPrefix + `topicfilter/` + ownShadow + `*"}]}`

const (
	ownShadow = `$aws/things/${iot:Connection.Thing.ThingName}/shadow/name/fanwatch/`
	ownTopic  = arnPrefix + `topic/` + ownShadow
)

// heard is a message that a client was told.
type heard struct {
	topic string
	doc   map[string]any
}

// listen subscribes and gives what comes, topics without their prefix.
func listen(r *rig, c *client, prefix string, topics ...string) <-chan heard {
	r.Helper()
	out := make(chan heard, 100)
	for _, topic := range topics {
		token := c.Subscribe(prefix+topic, 1, func(_ mqtt.Client, m mqtt.Message) {
			out <- heard{strings.TrimPrefix(m.Topic(), prefix), object(r, m.Payload())}
		})
		if !token.WaitTimeout(patience) || token.Error() != nil {
			r.Fatalf("subscribe %s: %v", topic, token.Error())
		}
	}
	return out
}

// expect waits for one message on each of the topics, in their order.
func expect(t testing.TB, from <-chan heard, topics ...string) (docs []map[string]any) {
	t.Helper()
	for _, topic := range topics {
		select {
		case h := <-from:
			if h.topic != topic {
				t.Fatalf("heard %s %v, want %s", h.topic, h.doc, topic)
			}
			docs = append(docs, h.doc)
		case <-time.After(patience):
			t.Fatalf("heard nothing, want %s", topic)
		}
	}
	return docs
}

func TestShadowByMQTT(t *testing.T) {
	r := newRig(t)
	s := newShadows(r, r.server.RESTAddr())
	c := r.connect(r.provision("fan-01", own), "fan-01")
	const prefix = "$aws/things/fan-01/shadow/name/fanwatch/"
	got := listen(r, c, prefix, "get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta",
		"update/documents")

	r.acknowledged(c, prefix+"get", `{"clientToken":"x"}`)
	docs := expect(t, got, "get/rejected")
	is(t, docs[0], "code", "404")
	is(t, docs[0], "clientToken", `"x"`)
	_, err := s.update(`{"state":{"desired":{"live":true}},"clientToken":"op"}`)
	r.must(err)
	docs = expect(t, got, "update/delta", "update/documents", "update/accepted")
	is(t, docs[0], "state", `{"live":true}`)
	is(t, docs[0], "version", "1")
	is(t, docs[0], "clientToken", `"op"`)
	is(t, docs[1], "previous", "null")
	is(t, docs[2], "state", `{"desired":{"live":true}}`)

	r.acknowledged(c, prefix+"update", `{"state":{"reported":{"live":false}},"clientToken":"d"}`)
	docs = expect(t, got, "update/delta", "update/documents", "update/accepted")
	is(t, docs[0], "state", `{"live":true}`)
	is(t, docs[1], "previous.version", "1")
	is(t, docs[1], "previous.state", `{"desired":{"live":true}}`)
	is(t, docs[1], "current.state", `{"desired":{"live":true},"reported":{"live":false}}`)
	is(t, docs[2], "clientToken", `"d"`)
	r.acknowledged(c, prefix+"update", `{"state":{"reported":{"live":true}},"version":2}`)
	expect(t, got, "update/documents", "update/accepted") // nothing differs: no delta
	r.acknowledged(c, prefix+"update", `{"state":{"reported":{"live":true}},"version":2}`)
	docs = expect(t, got, "update/rejected")
	is(t, docs[0], "code", "409")
	is(t, docs[0], "message", `"Version conflict"`)
	r.acknowledged(c, prefix+"get", "")
	docs = expect(t, got, "get/accepted")
	is(t, docs[0], "version", "3")
	is(t, docs[0], "state", `{"desired":{"live":true},"reported":{"live":true}}`)
}

// TestShadowIsTheThingsOwn: a device reaches its own shadow and neither another's nor another one of its own,
// nor may it speak as the service.
func TestShadowIsTheThingsOwn(t *testing.T) {
	r := newRig(t)
	d := r.provision("fan-01", own)
	for _, topic := range []string{"$aws/things/fan-02/shadow/name/fanwatch/update",
		"$aws/things/fan-01/shadow/name/other/update",
		"$aws/things/fan-01/shadow/update", "$aws/things/fan-01/shadow/name/fanwatch/delete"} {
		r.refused(r.connect(d, "fan-01"), topic, `{"state":{"reported":{"a":1}}}`)
		r.reason(iotcore.RefusedPublish, topic)
	}
	r.refused(r.connect(d, "fan-01"), "$aws/things/fan-01/shadow/name/fanwatch/update/accepted", "{}")
	r.reason(iotcore.RefusedTopic, "get, update and delete")
	c := r.connect(d, "fan-01")
	token := c.Subscribe("$aws/things/fan-02/shadow/name/fanwatch/update/delta", 1, nil).(*mqtt.SubscribeToken)
	if !token.WaitTimeout(patience) || token.Result()["$aws/things/fan-02/shadow/name/fanwatch/update/delta"] != 0x80 {
		t.Errorf("another's delta: %v %v", token.Result(), token.Error())
	}
	s := newShadows(r, r.server.RESTAddr())
	if list, err := s.data.ListNamedShadowsForThing(t.Context(),
		&iotdataplane.ListNamedShadowsForThingInput{ThingName: aws.String("fan-01")}); err != nil || len(list.Results) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// TestShadowSurvivesKill: an update that was answered is there after kill -9, with its version.
func TestShadowSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for round := range 3 {
		child, addr := start(t, dir)
		r := &rig{TB: t}
		s := newShadows(r, addr)
		done := time.AfterFunc(time.Duration(30*(round+1))*time.Millisecond, func() { _ = child.Process.Kill() })
		for {
			doc, err := s.update(fmt.Sprintf(`{"state":{"desired":{"n":%d}}}`, acknowledged+1))
			if err != nil {
				break
			}
			acknowledged = int(doc["state"].(map[string]any)["desired"].(map[string]any)["n"].(float64))
		}
		done.Stop()
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	r := newRig(t, func(c *iotcore.Config) { c.Dir = dir })
	doc, err := newShadows(r, r.server.RESTAddr()).get()
	r.must(err)
	n := int(doc["state"].(map[string]any)["desired"].(map[string]any)["n"].(float64))
	if n < acknowledged || n > acknowledged+1 || int(doc["version"].(float64)) < n {
		t.Errorf("acknowledged %d, kept %v", acknowledged, doc)
	}
	t.Logf("%d updates acknowledged in 3 lives", acknowledged)
}
