package iotcore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// query is a parsed rule statement. The subset of AWS IoT SQL that is understood:
//
//	SELECT item [, item ...] [FROM 'topic filter'] [WHERE comparison [AND comparison ...]]
//	item:       * | expression [AS name]
//	expression: field | nested.field | 'text' | number | true | false | null
//	            | timestamp() | clientid() | topic() | topic(n) | principal() | newuuid()
//	comparison: expression (= | <> | != | < | <= | > | >=) expression
//
// Without AS a field goes out under its last name and a function under its own text, such as "topic(2)"
// (AWS does not document the latter: write AS); a literal needs AS. Without FROM a rule is reached by Basic
// Ingest only. Everything else is refused with what is not supported.
// https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-reference.html
type query struct {
	items  []item
	filter string
	where  []comparison
}

// item is one part of the SELECT list: the whole payload (all) or one expression under a name.
type item struct {
	all  bool
	expr expression
	name string
}

type comparison struct {
	left, right expression
	op          string
}

// expression is exactly one of: a literal (JSON), a field path, a function (with topic's segment number,
// 0 = the whole topic).
type expression struct {
	literal json.RawMessage
	path    []string
	call    string
	segment int
}

// parseQuery reads a rule's SQL; its errors are fit for SqlParseException.
func parseQuery(sql string) (*query, error) {
	if len(sql) > 64<<10 {
		return nil, fmt.Errorf("the statement has %d bytes, at most 65536 are read", len(sql))
	}
	tokens, err := tokenize(sql)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	if err := p.keyword("SELECT"); err != nil {
		return nil, err
	}
	q := &query{}
	if q.items, err = p.items(); err != nil {
		return nil, err
	}
	if p.takeKeyword("FROM") {
		t := p.next()
		if t.kind != tokenText {
			return nil, fmt.Errorf("FROM needs a topic filter in single quotes, not %s", t)
		}
		q.filter = t.text
		if err := checkFilter(q.filter); err != nil {
			return nil, fmt.Errorf("FROM '%s': %w", q.filter, err)
		}
	}
	if p.takeKeyword("WHERE") {
		if q.where, err = p.comparisons(); err != nil {
			return nil, err
		}
	}
	if t := p.next(); t.kind != tokenEnd {
		return nil, fmt.Errorf("%s is not supported here by the local IoT Core", t)
	}
	return q, nil
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenNumber
	tokenText
	tokenSign
)

type token struct {
	kind tokenKind
	text string
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the statement"
	case tokenText:
		return "'" + t.text + "'"
	}
	return strconv.Quote(t.text)
}

func tokenize(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		start := i
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case isLetter(c):
			for i < len(s) && (isLetter(s[i]) || isDigit(s[i])) {
				i++
			}
			out = append(out, token{tokenWord, s[start:i]})
		case isDigit(c) || c == '-' && i+1 < len(s) && isDigit(s[i+1]):
			for i++; i < len(s) && (isDigit(s[i]) || strings.IndexByte(".eE", s[i]) >= 0 ||
				strings.IndexByte("+-", s[i]) >= 0 && strings.IndexByte("eE", s[i-1]) >= 0); {
				i++
			}
			if !json.Valid([]byte(s[start:i])) {
				return nil, fmt.Errorf("%q is not a number", s[start:i])
			}
			out = append(out, token{tokenNumber, s[start:i]})
		case c == '\'':
			text, rest, err := quoted(s[i:])
			if err != nil {
				return nil, err
			}
			out = append(out, token{tokenText, text})
			i = len(s) - len(rest)
		case i+1 < len(s) && isTwoSign(s[i:i+2]):
			out = append(out, token{tokenSign, s[i : i+2]})
			i += 2
		case strings.IndexByte("*,.()=<>", c) >= 0:
			out = append(out, token{tokenSign, s[i : i+1]})
			i++
		default:
			r, _ := utf8.DecodeRuneInString(s[i:])
			return nil, fmt.Errorf("%q at byte %d is not supported by the local IoT Core", r, i)
		}
	}
	return out, nil
}

// quoted reads a text in single quotes; two of them stand for one inside.
func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		if !utf8.ValidString(b.String()) {
			return "", "", fmt.Errorf("the text %q is not UTF-8", b.String())
		}
		return b.String(), s[i+1:], nil
	}
	return "", "", fmt.Errorf("the text that starts at %.20q has no closing quote", s)
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isTwoSign(s string) bool {
	return s == "<>" || s == "!=" || s == "<=" || s == ">="
}

type parser struct {
	tokens []token
	at     int
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{}
}

func (p *parser) next() token {
	t := p.peek()
	p.at++
	return t
}

func (p *parser) takeSign(s string) bool {
	if t := p.peek(); t.kind == tokenSign && t.text == s {
		p.at++
		return true
	}
	return false
}

func (p *parser) takeKeyword(word string) bool {
	if t := p.peek(); t.kind == tokenWord && strings.EqualFold(t.text, word) {
		p.at++
		return true
	}
	return false
}

func (p *parser) keyword(word string) error {
	if !p.takeKeyword(word) {
		return fmt.Errorf("%s expected, not %s", word, p.peek())
	}
	return nil
}

func (p *parser) items() ([]item, error) {
	var out []item
	for {
		it, err := p.item()
		if err != nil {
			return nil, err
		}
		out = append(out, it)
		if !p.takeSign(",") {
			return out, nil
		}
	}
}

func (p *parser) item() (item, error) {
	if p.takeSign("*") {
		return item{all: true}, nil
	}
	e, err := p.expression()
	if err != nil {
		return item{}, err
	}
	it := item{expr: e}
	if p.takeKeyword("AS") {
		t := p.next()
		if t.kind != tokenWord {
			return item{}, fmt.Errorf("AS needs a name of letters, digits and _, not %s", t)
		}
		it.name = t.text
		return it, nil
	}
	switch {
	case e.literal != nil:
		return item{}, fmt.Errorf("the literal %s needs a name: AS name", e.literal)
	case e.call != "":
		it.name = e.String()
	default:
		it.name = e.path[len(e.path)-1]
	}
	return it, nil
}

func (p *parser) comparisons() ([]comparison, error) {
	var out []comparison
	for {
		left, err := p.expression()
		if err != nil {
			return nil, err
		}
		op := p.next()
		if op.kind != tokenSign || strings.Contains("*,.()", op.text) {
			return nil, fmt.Errorf("WHERE knows comparisons (= <> != < <= > >=) joined by AND; %s is not supported by "+
				"the local IoT Core", op)
		}
		right, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, comparison{left: left, right: right, op: op.text})
		if !p.takeKeyword("AND") {
			return out, nil
		}
	}
}

func (p *parser) expression() (expression, error) {
	t := p.next()
	switch t.kind {
	case tokenNumber:
		return expression{literal: json.RawMessage(t.text)}, nil
	case tokenText:
		b, err := json.Marshal(t.text)
		return expression{literal: b}, err
	case tokenWord:
	default:
		return expression{}, fmt.Errorf("a field, a literal or a function expected, not %s", t)
	}
	if p.takeSign("(") {
		return p.call(t.text)
	}
	switch word := strings.ToLower(t.text); word {
	case "true", "false", "null":
		return expression{literal: json.RawMessage(word)}, nil
	case "select", "from", "where", "as", "and", "or", "not", "case", "in", "exists", "is", "like", "between":
		return expression{}, fmt.Errorf("the word %s is not supported here by the local IoT Core", t)
	}
	path := []string{t.text}
	for p.takeSign(".") {
		t := p.next()
		if t.kind != tokenWord {
			return expression{}, fmt.Errorf("a field name expected after %q, not %s", strings.Join(path, ".")+".", t)
		}
		path = append(path, t.text)
	}
	return expression{path: path}, nil
}

// call reads what follows the opening bracket of a function.
func (p *parser) call(name string) (expression, error) {
	e := expression{call: strings.ToLower(name)}
	switch e.call {
	case "timestamp", "clientid", "topic", "principal", "newuuid":
	default:
		return expression{}, fmt.Errorf("the function %s() is not supported by the local IoT Core; timestamp(), "+
			"clientid(), topic(), topic(n), principal() and newuuid() are", name)
	}
	if t := p.peek(); e.call == "topic" && t.kind == tokenNumber {
		n, err := strconv.Atoi(t.text)
		if err != nil || n < 1 {
			return expression{}, fmt.Errorf("topic(%s): segments are counted from 1", t.text)
		}
		e.segment = n
		p.at++
	}
	if !p.takeSign(")") {
		return expression{}, fmt.Errorf("the arguments of %s(...) are not supported by the local IoT Core", name)
	}
	return e, nil
}

// String returns the expression as it could be written.
func (e expression) String() string {
	switch {
	case e.literal != nil:
		return string(e.literal)
	case e.call == "topic" && e.segment > 0:
		return fmt.Sprintf("topic(%d)", e.segment)
	case e.call != "":
		return e.call + "()"
	}
	return strings.Join(e.path, ".")
}
