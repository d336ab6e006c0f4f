package iotcore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// policyMaximum is AWS IoT's limit on a policy document, in characters other than white space.
const policyMaximum = 2048

// policyDocument is a parsed AWS IoT policy: Allow and Deny statements over actions and resources, with the
// wildcards * and ?, the variables ${iot:Connection.Thing.ThingName} and ${iot:ClientId}, and the escapes
// ${*}, ${?} and ${$}. Condition, NotAction and NotResource are refused rather than ignored.
// https://docs.aws.amazon.com/iot/latest/developerguide/iot-policies.html
type policyDocument struct {
	statements []statement
}

type statement struct {
	allow     bool
	actions   []pattern
	resources []pattern
}

// connection is what policy variables speak of. Thing is empty unless the client ID is the name of a thing
// that the certificate is attached to: then ${iot:Connection.Thing.ThingName} is not resolved and no
// resource that contains it matches.
type connection struct {
	ClientID string
	Thing    string
}

type verdict int

const (
	silent  verdict = iota // nothing said: denied unless another policy allows
	allowed                // allowed unless another policy denies
	denied
)

// judge says what this policy says about the action on the resource ARN.
func (d *policyDocument) judge(c connection, action, resource string) verdict {
	out := silent
	for _, s := range d.statements {
		if !matchesAny(s.actions, c, strings.ToLower(action)) || !matchesAny(s.resources, c, resource) {
			continue
		}
		if !s.allow {
			return denied
		}
		out = allowed
	}
	return out
}

func matchesAny(ps []pattern, c connection, s string) bool {
	for _, p := range ps {
		if p.match(c, s) {
			return true
		}
	}
	return false
}

// parsePolicy reads a policy document; its errors are fit for MalformedPolicyException.
func parsePolicy(document string) (*policyDocument, error) {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	if n > policyMaximum {
		return nil, fmt.Errorf("the document has %d characters without white space, at most %d are allowed", n, policyMaximum)
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := decodeStrict([]byte(document), &raw); err != nil {
		return nil, err
	}
	if raw.Version != "2012-10-17" {
		return nil, fmt.Errorf("Version is %q, use \"2012-10-17\"", raw.Version)
	}
	rows, err := oneOrMany[json.RawMessage](raw.Statement)
	if err != nil || len(rows) == 0 {
		return nil, errors.New("Statement must be an object or a non-empty list of objects")
	}
	d := &policyDocument{}
	for i, row := range rows {
		s, err := parseStatement(row)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

func parseStatement(row json.RawMessage) (statement, error) {
	var raw struct {
		Sid, Effect      string
		Action, Resource json.RawMessage
	}
	if err := decodeStrict(row, &raw); err != nil {
		return statement{}, err
	}
	if raw.Effect != "Allow" && raw.Effect != "Deny" {
		return statement{}, fmt.Errorf("Effect is %q, use Allow or Deny", raw.Effect)
	}
	s := statement{allow: raw.Effect == "Allow"}
	actions, err := oneOrMany[string](raw.Action)
	if err != nil || len(actions) == 0 {
		return statement{}, errors.New("Action must be a string or a non-empty list of strings")
	}
	for _, a := range actions {
		if a != "*" && !strings.HasPrefix(strings.ToLower(a), "iot:") {
			return statement{}, fmt.Errorf("Action %q is none of AWS IoT: it starts with iot:", a)
		}
		p, err := parsePattern(strings.ToLower(a), false)
		if err != nil {
			return statement{}, err
		}
		s.actions = append(s.actions, p)
	}
	resources, err := oneOrMany[string](raw.Resource)
	if err != nil || len(resources) == 0 {
		return statement{}, errors.New("Resource must be a string or a non-empty list of strings")
	}
	for _, r := range resources {
		if r != "*" && !strings.HasPrefix(r, "arn:") {
			return statement{}, fmt.Errorf("Resource %q is no ARN and not *", r)
		}
		p, err := parsePattern(r, true)
		if err != nil {
			return statement{}, err
		}
		s.resources = append(s.resources, p)
	}
	return s, nil
}

// pattern is a resource or an action with its wildcards and variables already told apart, so that the value
// of a variable is always taken literally: a client named "*" gains nothing by its name.
type pattern []patternPart

type patternPart struct {
	kind partKind
	text string // partText only
}

type partKind int

const (
	partText partKind = iota
	partMany          // *
	partOne           // ?
	partThing
	partClient
)

func parsePattern(s string, variables bool) (pattern, error) {
	var p pattern
	text := func(t string) {
		if t != "" {
			p = append(p, patternPart{kind: partText, text: t})
		}
	}
	for s != "" {
		i := strings.IndexAny(s, "*?$")
		if i < 0 {
			break
		}
		text(s[:i])
		c := s[i]
		s = s[i+1:]
		switch {
		case c == '*':
			p = append(p, patternPart{kind: partMany})
		case c == '?':
			p = append(p, patternPart{kind: partOne})
		case !variables || !strings.HasPrefix(s, "{"):
			text("$")
		default:
			name, rest, ok := strings.Cut(s[1:], "}")
			if !ok {
				return nil, fmt.Errorf("policy variable %q is not closed by }", "$"+s)
			}
			s = rest
			switch name {
			case "*", "?", "$":
				text(name)
			case "iot:Connection.Thing.ThingName":
				p = append(p, patternPart{kind: partThing})
			case "iot:ClientId":
				p = append(p, patternPart{kind: partClient})
			default:
				return nil, fmt.Errorf("policy variable ${%s} is not supported by the local IoT Core; "+
					"${iot:Connection.Thing.ThingName} and ${iot:ClientId} are", name)
			}
		}
	}
	text(s)
	return p, nil
}

// match reports whether all of s fits the pattern. Time is bounded by len(pattern) x len(s).
func (p pattern) match(c connection, s string) bool {
	flat := make([]patternElement, 0, 64)
	for _, part := range p {
		switch part.kind {
		case partMany:
			flat = append(flat, patternElement{many: true})
		case partOne:
			flat = append(flat, patternElement{one: true})
		case partThing:
			if c.Thing == "" {
				return false
			}
			flat = appendLiteral(flat, c.Thing)
		case partClient:
			if c.ClientID == "" {
				return false
			}
			flat = appendLiteral(flat, c.ClientID)
		default:
			flat = appendLiteral(flat, part.text)
		}
	}
	return glob(flat, []rune(s))
}

type patternElement struct {
	many, one bool
	r         rune
}

func appendLiteral(flat []patternElement, s string) []patternElement {
	for _, r := range s {
		flat = append(flat, patternElement{r: r})
	}
	return flat
}

// glob matches with backtracking to the last star only, which suffices and keeps it from exploding.
func glob(p []patternElement, s []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i].many:
			star, mark = i, j
			i++
		case i < len(p) && (p[i].one || p[i].r == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i].many {
		i++
	}
	return i == len(p)
}

// oneOrMany reads a JSON value that may be one T or a list of T.
func oneOrMany[T any](b json.RawMessage) ([]T, error) {
	if len(b) == 0 || bytes.Equal(b, []byte("null")) {
		return nil, nil
	}
	if b[0] == '[' {
		var many []T
		err := json.Unmarshal(b, &many)
		return many, err
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return nil, err
	}
	return []T{one}, nil
}

// decodeStrict reads one JSON object and refuses what it has no place for, naming it: to skip a part that
// narrows a permission or a rule would be a lie.
func decodeStrict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		const unknown = "json: unknown field "
		if name, ok := strings.CutPrefix(err.Error(), unknown); ok {
			return fmt.Errorf("%s is not supported by the local IoT Core", name)
		}
		return fmt.Errorf("not the JSON expected: %w", err)
	}
	if d.More() {
		return errors.New("not the JSON expected: something follows the object")
	}
	return nil
}
