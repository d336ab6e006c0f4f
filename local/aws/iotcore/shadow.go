package iotcore

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the Device Shadow service. https://docs.aws.amazon.com/general/latest/gr/iot-core.html
const (
	shadowMaximum      = 8 << 10        // bytes of a state document, without metadata
	shadowTokenMaximum = 64             // bytes of a clientToken
	shadowLevels       = 6              // of nesting below desired and reported
	shadowMemory       = 48 * time.Hour // how long the version of a deleted shadow is remembered
)

const kindShadow = "shadows"

// shadowID names a shadow; an empty Name is the classic one.
type shadowID struct{ Thing, Name string }

func (id shadowID) String() string { return id.Thing + "/" + id.Name }

// prefix is the beginning of the shadow's topics.
func (id shadowID) prefix() string {
	p := "$aws/things/" + id.Thing + "/shadow/"
	if id.Name != "" {
		p += "name/" + id.Name + "/"
	}
	return p
}

var (
	shadowThing = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	shadowName  = regexp.MustCompile(`^[$a-zA-Z0-9:_-]{1,64}$`)
)

func (id shadowID) check() error {
	switch {
	case !shadowThing.MatchString(id.Thing):
		return invalid("thing name %q: use 1 to 128 letters, digits, ':', '_' or '-'", clip(id.Thing))
	case id.Name != "" && !shadowName.MatchString(id.Name):
		return invalid("shadow name %q: use 1 to 64 letters, digits, '$', ':', '_' or '-'", clip(id.Name))
	}
	return nil
}

// shadow is a shadow document. Of a deleted one the version alone remains.
type shadow struct {
	Thing    string    `json:"thing"`
	Name     string    `json:"name"`
	Version  int64     `json:"version"`
	Deleted  time.Time `json:"deleted,omitzero"`
	State    sections  `json:"state"`
	Metadata sections  `json:"metadata"`
}

// sections are the parts of a state document, or of its metadata.
type sections struct {
	Desired  tree `json:"desired,omitempty"`
	Reported tree `json:"reported,omitempty"`
	Delta    tree `json:"delta,omitempty"`
}

// tree is a JSON object whose numbers keep their digits.
type tree map[string]any

// UnmarshalJSON reads an object.
func (t *tree) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return err
	}
	*t = m
	return nil
}

// shadowDocument is what the service answers and publishes. State and Metadata are sections or, of a delta, a tree.
// https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-document.html
type shadowDocument struct {
	State     any   `json:"state,omitempty"`
	Metadata  any   `json:"metadata,omitempty"`
	Version   int64 `json:"version"`
	Timestamp int64 `json:"timestamp,omitempty"`
}

// shadowRequest is a request's payload: of an update, a get (which may be empty) or a delete.
type shadowRequest struct {
	desired, reported *tree // nil: not in the request; a nil tree: to be removed
	version           int64 // 0 = any
	token             string
}

func shadowError(status int, code, message string) error {
	return &apiError{Status: status, Code: code, Message: message}
}

func badShadow(message string) error {
	return shadowError(http.StatusBadRequest, "InvalidRequestException", message)
}

// readShadowRequest checks what AWS checks, with its words.
// https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-error-messages.html
func readShadowRequest(payload []byte, update bool) (r shadowRequest, err error) {
	if !update && len(payload) == 0 {
		return r, nil
	}
	if len(payload) > shadowMaximum {
		return r, shadowError(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			"The payload exceeds the maximum size allowed")
	}
	if !utf8.Valid(payload) {
		return r, shadowError(http.StatusUnsupportedMediaType, "UnsupportedDocumentEncodingException",
			"Unsupported documented encoding; supported encoding is UTF-8")
	}
	o, err := readObject(payload)
	if err != nil {
		return r, badShadow("Invalid JSON")
	}
	if raw, ok := o.values["clientToken"]; ok {
		if json.Unmarshal(raw, &r.token) != nil || raw[0] != '"' || len(r.token) > shadowTokenMaximum {
			r.token = ""
			return r, badShadow("Invalid clientToken")
		}
	}
	if raw, ok := o.values["version"]; ok && update {
		if json.Unmarshal(raw, &r.version) != nil || r.version < 1 {
			return r, badShadow("Invalid version")
		}
	}
	if update {
		err = r.readState(o.values["state"])
	}
	return r, err
}

func (r *shadowRequest) readState(raw json.RawMessage) error {
	if raw == nil {
		return badShadow("Missing required node: state")
	}
	state, err := readObject(raw)
	if err != nil {
		return badShadow("State node must be an object")
	}
	for _, key := range state.keys {
		var section tree
		if json.Unmarshal(state.values[key], &section) != nil && (key == "desired" || key == "reported") {
			return badShadow(strings.ToUpper(key[:1]) + key[1:] + " node must be an object")
		}
		switch key {
		case "desired":
			r.desired = &section
		case "reported":
			r.reported = &section
		default:
			return badShadow("State contains an invalid node: " + clip(key))
		}
		if levels(section) > shadowLevels {
			return badShadow("JSON contains too many levels of nesting; maximum is 6")
		}
	}
	return nil
}

// echo returns the request's state as it is answered, and the metadata that it now has.
func (r shadowRequest) echo(now sections) (state, metadata map[string]any) {
	state, metadata = map[string]any{}, map[string]any{}
	for _, s := range []struct {
		name string
		part *tree
		meta tree
	}{{"desired", r.desired, now.Desired}, {"reported", r.reported, now.Reported}} {
		if s.part != nil {
			state[s.name] = *s.part
			if m := within(s.meta, *s.part); len(m) > 0 {
				metadata[s.name] = m
			}
		}
	}
	return state, metadata
}

// update returns the shadow as the request makes it of s, which may be nil.
func (s *shadow) update(id shadowID, r shadowRequest, now time.Time) (*shadow, error) {
	next := &shadow{Thing: id.Thing, Name: id.Name}
	if s != nil && (s.Deleted.IsZero() || now.Sub(s.Deleted) < shadowMemory) {
		next.Version = s.Version
		next.State, next.Metadata = s.State, s.Metadata
	}
	if r.version != 0 && r.version != next.Version {
		return nil, shadowError(http.StatusConflict, "ConflictException", "Version conflict")
	}
	next.Version++
	stamp := json.Number(strconv.FormatInt(now.Unix(), 10))
	next.State.Desired, next.Metadata.Desired = merged(next.State.Desired, next.Metadata.Desired, r.desired, stamp)
	next.State.Reported, next.Metadata.Reported = merged(next.State.Reported, next.Metadata.Reported, r.reported, stamp)
	b, err := json.Marshal(next.State)
	if err != nil {
		return nil, err
	}
	if len(b) > shadowMaximum {
		return nil, shadowError(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			"The payload exceeds the maximum size allowed")
	}
	return next, nil
}

// document returns the whole shadow, as get answers it.
func (s *shadow) document(now time.Time) shadowDocument {
	state := s.State
	state.Delta, _ = delta(s.State.Desired, s.State.Reported, s.Metadata.Desired)
	return shadowDocument{State: state, Metadata: s.Metadata, Version: s.Version, Timestamp: now.Unix()}
}

// merged applies one section of a request: a value replaces, an object is merged, null removes. Neither
// argument is changed.
func merged(state, meta tree, change *tree, stamp json.Number) (tree, tree) {
	switch {
	case change == nil:
		return state, meta
	case *change == nil:
		return nil, nil
	}
	state, meta = maps.Clone(state), maps.Clone(meta)
	if state == nil {
		state, meta = tree{}, tree{}
	}
	for k, v := range *change {
		switch v := v.(type) {
		case nil:
			delete(state, k)
			delete(meta, k)
		case map[string]any:
			below, _ := state[k].(map[string]any)
			var belowMeta tree
			if below != nil {
				belowMeta = asTree(meta[k])
			}
			part := tree(v)
			s, m := merged(below, belowMeta, &part, stamp)
			if state[k], meta[k] = map[string]any(s), map[string]any(m); len(s) == 0 {
				delete(state, k)
				delete(meta, k)
			}
		default:
			state[k], meta[k] = v, stamped(v, stamp)
		}
	}
	return state, meta
}

// stamped returns a value's metadata: of a list, one for each element.
func stamped(v any, stamp json.Number) any {
	if list, ok := v.([]any); ok {
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = stamped(e, stamp)
		}
		return out
	}
	return map[string]any{"timestamp": stamp}
}

// delta returns what of desired is missing from reported or differs there, with its metadata.
func delta(desired, reported, meta tree) (state, stamps tree) {
	state, stamps = tree{}, tree{}
	for k, want := range desired {
		have, ok := reported[k]
		if ok && same(want, have) {
			continue
		}
		w, isMap := want.(map[string]any)
		h, wasMap := have.(map[string]any)
		if isMap && wasMap {
			s, m := delta(w, h, asTree(meta[k]))
			if len(s) > 0 {
				state[k], stamps[k] = map[string]any(s), map[string]any(m)
			}
			continue
		}
		state[k], stamps[k] = want, meta[k]
	}
	return state, stamps
}

// within returns the part of the metadata that belongs to the members of change.
func within(meta, change tree) tree {
	out := tree{}
	for k, v := range change {
		m, ok := meta[k]
		if !ok {
			continue
		}
		if part, isMap := v.(map[string]any); isMap {
			m = map[string]any(within(asTree(m), part))
		}
		out[k] = m
	}
	return out
}

func asTree(v any) tree {
	m, _ := v.(map[string]any)
	return m
}

// same compares JSON values; numbers by what they are worth.
func same(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		if !ok || x == y {
			return ok
		}
		f, err1 := x.Float64()
		g, err2 := y.Float64()
		return err1 == nil && err2 == nil && f == g
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, same)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, same)
	}
	return a == b
}

// levels counts how deep objects and lists are nested in v.
func levels(v any) int {
	deepest := 0
	switch v := v.(type) {
	case tree:
		return levels(map[string]any(v)) - 1
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, levels(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, levels(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
