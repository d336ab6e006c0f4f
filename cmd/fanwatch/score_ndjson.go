package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ndjson scores the rows of NDJSON: one object per line. Blank lines, and lines that are no object, are passed on.
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
		object := bytes.TrimRight(t.row, " \t\r")
		if len(bytes.TrimLeft(object, " \t")) == 0 {
			if err := t.write(t.row, nil); err != nil {
				return err
			}
			continue
		}
		s.seen++
		s.progress.add()
		if err := s.object(t, object, keys); err != nil {
			return err
		}
	}
}

// object scores the row t.row, which without what follows is object.
func (s *scorer) object(t *rowTable, object []byte, keys [][]byte) error {
	var fields map[string]json.RawMessage
	why := json.Unmarshal(object, &fields)
	if why != nil || fields == nil {
		if err := s.skip(t.line, errors.New("it is not a JSON object")); err != nil {
			return err
		}
		return t.write(t.row, nil)
	}
	for _, name := range s.options.names() {
		if _, there := fields[name]; there {
			return fmt.Errorf("line %d: the object has a field %q already, rename it", t.line, name)
		}
	}
	if why = s.takeFields(fields); why == nil {
		why = s.score()
	}
	if why != nil {
		if err := s.skip(t.line, why); err != nil {
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
	s.text = append(s.text, t.row[len(object)-1:]...) // the closing brace and what follows
	return t.write(object[:len(object)-1], s.text)
}

// takeFields puts the numbers of an object into s.point.
func (s *scorer) takeFields(fields map[string]json.RawMessage) error {
	for i, column := range s.options.columns {
		field, there := fields[column]
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
