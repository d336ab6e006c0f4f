package iotcore

import (
	"encoding/json"
	"fmt"
	"strings"
)

// template is a text with ${expression} in it, as rule actions use for a partition key. Its expressions see
// the original payload, not what SELECT made of it.
// https://docs.aws.amazon.com/iot/latest/developerguide/iot-substitution-templates.html
type template struct {
	source string
	parts  []templatePart
}

// templatePart is literal text, or an expression when expr is set.
type templatePart struct {
	text string
	expr *expression
}

// parseTemplate reads a substitution template.
func parseTemplate(s string) (*template, error) {
	t := &template{source: s}
	for s != "" {
		text, rest, found := strings.Cut(s, "${")
		if text != "" {
			t.parts = append(t.parts, templatePart{text: text})
		}
		if !found {
			break
		}
		end := closingBrace(rest)
		if end < 0 {
			return nil, fmt.Errorf("template %q: ${ is not closed by }", t.source)
		}
		tokens, err := tokenize(rest[:end])
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", t.source, err)
		}
		p := &parser{tokens: tokens}
		e, err := p.expression()
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", t.source, err)
		}
		if next := p.next(); next.kind != tokenEnd {
			return nil, fmt.Errorf("template %q: %s is not supported here by the local IoT Core", t.source, next)
		}
		t.parts = append(t.parts, templatePart{expr: &e})
		s = rest[end+1:]
	}
	return t, nil
}

// closingBrace finds the } that ends an expression, past texts in single quotes.
func closingBrace(s string) int {
	inside := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			inside = !inside
		case s[i] == '}' && !inside:
			return i
		}
	}
	return -1
}

// expand fills the template in. An expression that is undefined for this message is an error that names it.
func (t *template) expand(m *message) (string, error) {
	var b strings.Builder
	for _, part := range t.parts {
		if part.expr == nil {
			b.WriteString(part.text)
			continue
		}
		v, ok := m.value(*part.expr)
		if !ok {
			return "", fmt.Errorf("template %q: %s is undefined in this message", t.source, part.expr)
		}
		b.WriteString(textOf(v))
	}
	return b.String(), nil
}

// textOf returns a JSON value as template text: a string without its quotes, anything else as JSON.
func textOf(v json.RawMessage) string {
	var s string
	if len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}
