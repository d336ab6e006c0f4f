package iotcore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// message is one publish as the rules see it. It is read by one goroutine at a time.
type message struct {
	Topic     string // as rules see it: for Basic Ingest without $aws/rules/NAME/
	Published string // the topic that was published to, in full
	ClientID  string // "n/a" when it did not come by MQTT, as clientid() gives on AWS
	Principal string // certificate ID, empty when it did not come by MQTT
	Arrived   time.Time
	Payload   []byte

	newUUID func() string
	fields  *object // nil when the payload is no JSON object
	problem error   // why it is not
}

// read parses the payload once; rules that need no field work without it.
func (m *message) read() { m.fields, m.problem = readObject(m.Payload) }

// value evaluates an expression; false means undefined.
func (m *message) value(e expression) (json.RawMessage, bool) {
	switch e.call {
	case "timestamp":
		return strconv.AppendInt(nil, m.Arrived.UnixMilli(), 10), true
	case "clientid":
		return jsonText(m.ClientID), true
	case "principal":
		return jsonText(m.Principal), m.Principal != ""
	case "newuuid":
		return jsonText(m.newUUID()), true
	case "topic":
		return m.topicPart(e.segment)
	}
	if e.literal != nil {
		return e.literal, true
	}
	return m.field(e.path)
}

func (m *message) topicPart(n int) (json.RawMessage, bool) {
	if n == 0 {
		return jsonText(m.Topic), true
	}
	parts := strings.Split(m.Topic, "/")
	if n > len(parts) {
		return nil, false
	}
	return jsonText(parts[n-1]), true
}

func (m *message) field(path []string) (json.RawMessage, bool) {
	o := m.fields
	for i, name := range path {
		if o == nil {
			return nil, false
		}
		v, ok := o.values[name]
		if !ok || i == len(path)-1 {
			return v, ok
		}
		o, _ = readObject(v)
	}
	return nil, false
}

// output makes the SELECT list's object. Fields that are undefined are left out, as on AWS; a name given
// twice keeps the later value. Values are copied byte by byte, so numbers keep their exact digits.
func (q *query) output(m *message) ([]byte, error) {
	if m.fields == nil {
		return nil, m.problem
	}
	out := &object{values: map[string]json.RawMessage{}}
	for _, it := range q.items {
		if it.all {
			for _, k := range m.fields.keys {
				out.set(k, m.fields.values[k])
			}
		} else if v, ok := m.value(it.expr); ok {
			out.set(it.name, v)
		}
	}
	return out.bytes(), nil
}

// wants reports whether the WHERE clause holds. A comparison with something undefined, or of two different
// kinds, does not. Numbers are compared as float64.
func (q *query) wants(m *message) bool {
	for _, c := range q.where {
		left, ok1 := m.value(c.left)
		right, ok2 := m.value(c.right)
		if !ok1 || !ok2 || !compare(left, right, c.op) {
			return false
		}
	}
	return true
}

func compare(left, right json.RawMessage, op string) bool {
	var a, b any
	if json.Unmarshal(left, &a) != nil || json.Unmarshal(right, &b) != nil {
		return false
	}
	order := 0
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		if !ok {
			return false
		}
		switch {
		case x < y:
			order = -1
		case x > y:
			order = 1
		}
	case string:
		y, ok := b.(string)
		if !ok {
			return false
		}
		order = strings.Compare(x, y)
	case bool:
		y, ok := b.(bool)
		if !ok || op != "=" && op != "<>" && op != "!=" {
			return false
		}
		if x != y {
			order = 1
		}
	default:
		return false
	}
	switch op {
	case "=":
		return order == 0
	case "<>", "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// object is a JSON object in the order it was written, its values untouched.
type object struct {
	keys   []string
	values map[string]json.RawMessage
}

func readObject(b []byte) (*object, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("the payload is not UTF-8")
	}
	// Valid first: the token reader below is laxer than JSON about what follows the object.
	if !json.Valid(b) {
		var v json.RawMessage
		return nil, fmt.Errorf("the payload is not JSON: %w", json.Unmarshal(b, &v))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the payload is JSON but not an object")
	}
	o := &object{values: map[string]json.RawMessage{}}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("the payload is not JSON: %w", err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("the payload is not JSON: %w", err)
		}
		o.set(k.(string), v) // a key token is always a string
	}
	return o, nil
}

func (o *object) set(k string, v json.RawMessage) {
	if _, ok := o.values[k]; !ok {
		o.keys = append(o.keys, k)
	}
	o.values[k] = v
}

func (o *object) bytes() []byte {
	b := []byte{'{'}
	for i, k := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, jsonText(k)...)
		b = append(b, ':')
		b = append(b, o.values[k]...)
	}
	return append(b, '}')
}

// jsonText writes s as a JSON string; encoding/json never fails on one.
func jsonText(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return b
}
