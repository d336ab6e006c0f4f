package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxLines bounds the lines of an object, so that what a damaged one makes be read again is bounded.
const maxLines = 1000

// ndjson scores the rows of NDJSON: objects, one per line, or several, or one over several lines. Blank lines, and
// lines that are no object, are passed on.
func (s *scorer) ndjson(t *rowTable) error {
	keys := make([][]byte, len(s.values))
	for i, name := range s.options.names() {
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		keys[i] = append(key, ':')
	}
	for {
		if err := t.read(false); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.line(t, keys); err != nil {
			return err
		}
	}
}

// line scores the objects of the line that was read, and of those behind it that the last of them needs.
func (s *scorer) line(t *rowTable, keys [][]byte) error {
	text, first := append(bytes.Clone(t.row), t.end...), t.line
	var balance balance
	balance.feed(text)
	for lines, try := 1, 1; ; lines++ {
		if lines == try || balance.depth == 0 && !balance.inString {
			objects, err := cutObjects(text)
			if err == nil {
				return s.objects(t, text, objects, first, keys)
			}
			if err != io.ErrUnexpectedEOF {
				break
			}
			try = 2 * lines // what is no JSON is noticed in time, and all tries together cost as much as the last two
		}
		if lines == maxLines || len(text) > maxRow {
			break
		}
		if err := t.read(false); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		added := append(t.row, t.end...)
		balance.feed(added)
		text = append(text, added...)
	}
	end := bytes.IndexByte(text, '\n') + 1
	if end == 0 {
		end = len(text)
	}
	t.again(text[end:])
	s.seen++
	s.progress.add()
	if err := s.skip(first, errors.New("it is not a JSON object")); err != nil {
		return err
	}
	_, err := t.out.Write(text[:end])
	return err
}

// cutObjects finds the objects in text: where each begins and ends. Between them may be white space, commas, and the
// brackets of an array. The error is io.ErrUnexpectedEOF if the last one is not complete.
func cutObjects(text []byte) (objects [][2]int, err error) {
	for at := 0; ; {
		at += len(text[at:]) - len(bytes.TrimLeft(text[at:], " \t\r\n,[]"))
		if at == len(text) {
			return objects, nil
		}
		if text[at] != '{' {
			return nil, errors.New("not an object")
		}
		in := json.NewDecoder(bytes.NewReader(text[at:]))
		var object json.RawMessage
		if err := in.Decode(&object); err != nil {
			return nil, err
		}
		objects = append(objects, [2]int{at, at + int(in.InputOffset())})
		at += int(in.InputOffset())
	}
}

// balance follows the braces of JSON.
type balance struct {
	depth             int
	inString, escaped bool
}

func (b *balance) feed(text []byte) {
	for _, c := range text {
		switch {
		case b.escaped:
			b.escaped = false
		case b.inString:
			b.inString, b.escaped = c != '"', c == '\\'
		case c == '"':
			b.inString = true
		case c == '{':
			b.depth++
		case c == '}':
			b.depth--
		}
	}
}

// objects scores the objects in text, which begins at that line, and writes text with what is appended to them.
func (s *scorer) objects(t *rowTable, text []byte, objects [][2]int, line int, keys [][]byte) error {
	written := 0
	for _, at := range objects {
		line += bytes.Count(text[written:at[0]], []byte("\n"))
		s.seen++
		s.progress.add()
		if err := s.object(text[at[0]:at[1]], line, keys); err != nil {
			return err
		}
		line += bytes.Count(text[at[0]:at[1]], []byte("\n"))
		_, _ = t.out.Write(text[written : at[1]-1]) // the last call repeats an error
		_, _ = t.out.Write(s.text)
		written = at[1] - 1
	}
	_, err := t.out.Write(text[written:])
	return err
}

// object scores an object and leaves in s.text what is to stand before its closing brace.
func (s *scorer) object(object []byte, line int, keys [][]byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return err // not reached: it has been decoded
	}
	for _, name := range s.options.names() {
		if _, there := fields[name]; there {
			return fmt.Errorf("line %d: the object has a field %q already, rename it", line, name)
		}
	}
	why := s.takeFields(fields)
	if why == nil {
		why = s.score()
	}
	if why != nil {
		if err := s.skip(line, why); err != nil {
			return err
		}
	}
	s.text = s.text[:0]
	for i, v := range s.values {
		if i > 0 || len(fields) > 0 {
			s.text = append(s.text, ',')
		}
		s.text = append(s.text, keys[i]...)
		if why != nil {
			s.text = append(s.text, "null"...)
		} else {
			s.text = strconv.AppendFloat(s.text, v, 'g', -1, 64)
		}
	}
	return nil
}

// takeFields puts the numbers of an object into s.point.
func (s *scorer) takeFields(fields map[string]json.RawMessage) error {
	for i, column := range s.options.columns {
		field, there := lookUp(fields, column)
		if !there {
			return fmt.Errorf("there is no field %q", column)
		}
		v, err := number(string(field))
		if err != nil {
			return fmt.Errorf("field %q is %.40s, %w", column, field, err)
		}
		s.point[i] = v
	}
	return nil
}

// lookUp finds the field of that name, or with a.b the field b in the object a.
func lookUp(fields map[string]json.RawMessage, name string) (json.RawMessage, bool) {
	if field, there := fields[name]; there {
		return field, true
	}
	for i, c := range name {
		if c != '.' {
			continue
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(fields[name[:i]], &inner) == nil {
			if field, there := lookUp(inner, name[i+1:]); there {
				return field, true
			}
		}
	}
	return nil, false
}
