package sns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Filter policies over message attributes.
// https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html

const (
	maxFilterSize  = 256 << 10
	maxFilterKeys  = 5
	maxFilterCombi = 150
	// Numbers are compared with five digits after the point, in +-1e9.
	numberScale = 1e5
	numberLimit = 1e9
)

// filter is a parsed policy: every key must have a condition that holds. The
// empty filter lets everything through.
type filter map[string][]condition

// condition judges one attribute of a message.
type condition func(candidate) bool

// candidate is what a message has under one key: its values as string, number,
// bool or nil. present is false when the message lacks the attribute (or it is
// Binary, which AWS ignores); bare says that the message has no attribute at all.
type candidate struct {
	values        []any
	present, bare bool
}

// number is a value scaled by numberScale, so that 0.1+0.2 equals 0.3.
type number int64

func (f filter) matches(attributes map[string]Attribute) bool {
	for key, conditions := range f {
		c := candidate{bare: len(attributes) == 0}
		c.values, c.present = filterValues(attributes[key])
		if !slices.ContainsFunc(conditions, func(holds condition) bool { return holds(c) }) {
			return false
		}
	}
	return true
}

// filterValues turns an attribute into what policies compare.
func filterValues(a Attribute) (values []any, present bool) {
	base, _, _ := strings.Cut(a.Type, ".")
	switch {
	case a.Type == "String.Array":
		var list []any
		d := json.NewDecoder(strings.NewReader(a.Value))
		d.UseNumber()
		if d.Decode(&list) != nil {
			return []any{a.Value}, true // not an array after all: one string
		}
		for _, v := range list {
			values = append(values, scalarOf(v))
		}
		return values, len(values) > 0
	case base == "String":
		return []any{a.Value}, true
	case base == "Number":
		n, ok := decimal(a.Value)
		return []any{n}, ok
	}
	return nil, false
}

func scalarOf(v any) any {
	if n, ok := v.(json.Number); ok {
		if f, ok := decimal(n.String()); ok {
			return f
		}
		return n.String()
	}
	return v
}

// decimal reads a number; ok is false for what is no finite number. Values
// beyond +-1e9 never equal anything a policy may contain, so they saturate.
func decimal(s string) (number, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(s, "xXpP_") {
		return 0, false
	}
	f = max(-2*numberLimit, min(2*numberLimit, f))
	return number(math.Round(f * numberScale)), true
}

// parseFilter reads a policy; the error's text is what AWS puts behind
// "FilterPolicy: ". An empty object means no filter.
func parseFilter(text string) (filter, error) {
	if len(text) > maxFilterSize {
		return nil, fmt.Errorf("Filter policy is too big: %d bytes of at most %d", len(text), maxFilterSize)
	}
	var keys map[string]json.RawMessage
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&keys); err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("failed to parse JSON. Text follows the policy")
	}
	if keys == nil {
		return nil, fmt.Errorf("failed to parse JSON. The policy must be an object")
	}
	if len(keys) > maxFilterKeys {
		return nil, fmt.Errorf("Filter policy can not have more than %d keys", maxFilterKeys)
	}
	f, combinations := filter{}, 1
	for key, raw := range keys {
		conditions, err := parseConditions(key, raw)
		if err != nil {
			return nil, err
		}
		if combinations *= len(conditions); combinations > maxFilterCombi {
			return nil, fmt.Errorf("Filter policy is too complex")
		}
		f[key] = conditions
	}
	return f, nil
}

func parseConditions(key string, raw json.RawMessage) ([]condition, error) {
	if key == "$or" {
		return nil, notImplemented("the filter policy operator $or")
	}
	switch first(raw) {
	case '{':
		return nil, invalid("Filter policy scope MessageAttributes does not support nested filter policy")
	case '[':
	default:
		return nil, fmt.Errorf("%q must be an object or an array", key)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %v", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("Empty arrays are not allowed")
	}
	conditions := make([]condition, 0, len(list))
	for _, item := range list {
		c, err := parseCondition(item)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	return conditions, nil
}

func parseCondition(raw json.RawMessage) (condition, error) {
	switch first(raw) {
	case '[':
		return nil, fmt.Errorf("Match value must be String, number, true, false, or null")
	case '{':
		return parseOperator(raw)
	}
	want, err := scalar(raw)
	if err != nil {
		return nil, err
	}
	// A null also matches absence, even of every attribute (as observed on AWS).
	return func(c candidate) bool {
		return contains(c.values, want) || want == nil && !c.present
	}, nil
}

func parseOperator(raw json.RawMessage) (condition, error) {
	var operators map[string]json.RawMessage
	if err := json.Unmarshal(raw, &operators); err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %v", err)
	}
	if len(operators) != 1 {
		return nil, fmt.Errorf("Only one key allowed in match expression")
	}
	for name, arg := range operators {
		switch name {
		case "exists":
			return parseExists(arg)
		case "numeric":
			return parseNumeric(arg)
		case "anything-but":
			return parseAnythingBut(arg)
		case "prefix", "suffix", "equals-ignore-case":
			test, err := stringTest(name, arg)
			if err != nil {
				return nil, err
			}
			return func(c candidate) bool { return anyString(c.values, test) }, nil
		case "cidr", "wildcard":
			return nil, notImplemented("the filter policy operator %s", name)
		default:
			return nil, fmt.Errorf("Unrecognized match type %s", name)
		}
	}
	return nil, nil // not reached: there is exactly one operator
}

// parseExists follows the AWS note: {"exists": false} does not match a message
// without any attribute.
func parseExists(arg json.RawMessage) (condition, error) {
	var want bool
	if first(arg) == 'n' || json.Unmarshal(arg, &want) != nil {
		return nil, fmt.Errorf("exists match pattern must be either true or false.")
	}
	if !want {
		return func(c candidate) bool { return !c.present && !c.bare }, nil
	}
	return func(c candidate) bool { return c.present }, nil
}

func stringTest(name string, arg json.RawMessage) (func(string) bool, error) {
	var want string
	if first(arg) != '"' || json.Unmarshal(arg, &want) != nil {
		return nil, fmt.Errorf("%s match pattern must be a string", name)
	}
	switch name {
	case "prefix":
		return func(s string) bool { return strings.HasPrefix(s, want) }, nil
	case "suffix":
		return func(s string) bool { return strings.HasSuffix(s, want) }, nil
	}
	return func(s string) bool { return strings.EqualFold(s, want) }, nil
}

// parseAnythingBut follows the current AWS text for arrays: it matches if no
// element is listed (an older text said: if one element is not listed).
func parseAnythingBut(arg json.RawMessage) (condition, error) {
	if first(arg) == '{' {
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(arg, &inner); err != nil || len(inner) != 1 {
			return nil, fmt.Errorf("Only one key allowed in match expression")
		}
		for name, value := range inner {
			if name != "prefix" && name != "suffix" {
				return nil, fmt.Errorf("Unsupported anything-but pattern: %s", name)
			}
			test, err := stringTest(name, value)
			if err != nil {
				return nil, err
			}
			return func(c candidate) bool { return c.present && !anyString(c.values, test) }, nil
		}
	}
	list := []json.RawMessage{arg}
	if first(arg) == '[' {
		if err := json.Unmarshal(arg, &list); err != nil || len(list) == 0 {
			return nil, fmt.Errorf("Value of anything-but must be a non-empty array, a single string or a number")
		}
	}
	var refused []any
	for _, item := range list {
		if c := first(item); c != '"' && c != '-' && (c < '0' || c > '9') {
			return nil, fmt.Errorf("Value of anything-but must be an array or single string/number value.")
		}
		v, err := scalar(item)
		if err != nil {
			return nil, err
		}
		refused = append(refused, v)
	}
	return func(c candidate) bool {
		listed := slices.ContainsFunc(refused, func(r any) bool { return contains(c.values, r) })
		return c.present && !listed
	}, nil
}

// parseNumeric reads ["=", 1], [">", 0] or [">=", 0, "<", 10].
func parseNumeric(arg json.RawMessage) (condition, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(arg, &list); err != nil {
		return nil, fmt.Errorf("Value of numeric must be an array.")
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("Invalid member in numeric match: ]")
	}
	op, bound, err := numericTerm(list, "Invalid member in numeric match: %s")
	if err != nil {
		return nil, err
	}
	switch op {
	case "=", "<", "<=":
		if len(list) > 2 {
			return nil, fmt.Errorf("Too many elements in numeric expression")
		}
		return numbersHold(func(n number) bool { return holds(n, op, bound) }), nil
	case ">", ">=":
	default:
		return nil, fmt.Errorf("Unrecognized numeric range operator: %s", op)
	}
	if len(list) == 2 {
		return numbersHold(func(n number) bool { return holds(n, op, bound) }), nil
	}
	upper, top, err := numericTerm(list[2:], "Bad value in numeric range: %s")
	switch {
	case err != nil:
		return nil, err
	case upper != "<" && upper != "<=":
		return nil, fmt.Errorf("Bad numeric range operator: %s", upper)
	case len(list) > 4:
		return nil, fmt.Errorf("Too many terms in numeric range expression")
	case bound >= top:
		return nil, fmt.Errorf("Bottom must be less than top")
	}
	return numbersHold(func(n number) bool { return holds(n, op, bound) && holds(n, upper, top) }), nil
}

// numericTerm reads an operator and its number from the front of a list.
func numericTerm(list []json.RawMessage, notOperator string) (op string, bound number, err error) {
	if first(list[0]) != '"' || json.Unmarshal(list[0], &op) != nil {
		return "", 0, fmt.Errorf(notOperator, list[0])
	}
	switch op {
	case "=", "<", "<=", ">", ">=":
	default:
		return op, 0, nil // the caller refuses it by name
	}
	if len(list) > 1 {
		if n, isNumber := scalarOrNil(list[1]).(number); isNumber {
			return op, n, nil
		}
		if _, err := scalar(list[1]); err != nil {
			return "", 0, err
		}
	}
	name := op
	if op == "=" {
		name = "equals"
	}
	return "", 0, fmt.Errorf("Value of %s must be numeric", name)
}

func holds(n number, op string, bound number) bool {
	switch op {
	case "=":
		return n == bound
	case "<":
		return n < bound
	case "<=":
		return n <= bound
	case ">":
		return n > bound
	}
	return n >= bound
}

func numbersHold(test func(number) bool) condition {
	return func(c candidate) bool {
		for _, v := range c.values {
			if n, ok := v.(number); ok && test(n) {
				return true
			}
		}
		return false
	}
}

func anyString(values []any, test func(string) bool) bool {
	for _, v := range values {
		if s, ok := v.(string); ok && test(s) {
			return true
		}
	}
	return false
}

// contains compares only scalars: a nested array or object inside a
// String.Array equals nothing (and must not be compared: maps panic).
func contains(values []any, want any) bool {
	for _, v := range values {
		switch v.(type) {
		case string, number, bool, nil:
			if v == want {
				return true
			}
		}
	}
	return false
}

func scalar(raw json.RawMessage) (any, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %v", err)
	}
	n, ok := v.(json.Number)
	if !ok {
		return v, nil
	}
	f, ok := decimal(n.String())
	if !ok || f > numberLimit*numberScale || f < -numberLimit*numberScale {
		return nil, fmt.Errorf("Value of %s must be between -1.0E9 and 1.0E9, inclusive", n)
	}
	return f, nil
}

func scalarOrNil(raw json.RawMessage) any {
	v, err := scalar(raw)
	if err != nil {
		return nil
	}
	return v
}

// first is a JSON value's first byte, which tells its kind; 0 if empty.
func first(raw json.RawMessage) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}
