package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// separators are what may stand between fields unless --separator tells it, in the order in which they are tried.
const separators = ",;\t|"

// csv scores the rows of CSV (RFC 4180, but for the separator) with a header. Blank lines are passed on.
func (s *scorer) csv(t *rowTable) error {
	header, err := s.header(t)
	if err != nil {
		return err
	}
	separator := t.cut.separator
	empty := strings.Repeat(string(separator), len(s.values))
	for {
		if err := t.read(true); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if len(t.row) == 0 {
			if err := t.write(nil, nil); err != nil {
				return err
			}
			continue
		}
		s.seen++
		s.progress.add()
		why := s.take(t, header)
		if why == nil {
			why = s.score()
		}
		s.text = s.text[:0]
		if why != nil {
			if err := s.skip(t.line, why); err != nil {
				return err
			}
			for range header.width - len(t.cut.starts) { // so that the appended columns are in their places
				s.text = append(s.text, separator)
			}
			s.text = append(s.text, empty...)
		} else {
			for _, v := range s.values {
				s.text = s.appendNumber(append(s.text, separator), v, separator)
			}
		}
		if err := t.write(t.row, s.text); err != nil {
			return err
		}
	}
}

// csvHeader says where the columns are.
type csvHeader struct {
	width  int
	column []int // of each of --columns
}

// header reads and writes the header.
func (s *scorer) header(t *rowTable) (h csvHeader, err error) {
	told := s.options.separatorByte()
	t.cut.separator = cmp.Or(told, ',')
	if err := t.read(true); err != nil && err != io.EOF {
		return h, err
	}
	if told == 0 {
		t.cut.separator = s.findSeparator(t)
		t.cut.again(t.row)
	}
	if t.cut.separator == ',' && s.options.decimal == "auto" {
		s.decimal = '.'
	}
	for i := range t.cut.starts {
		if bareCR(t.cut.field(t.row, i)) { // the header would be the whole file, without a row
			return h, fmt.Errorf("line %d: the header has a bare CR (\\r), as where lines end in CR alone: make them end "+
				"in LF, with tr '\\r' '\\n' < FILE", t.line)
		}
	}
	names := t.cut.names(t.row)
	for _, column := range s.options.columns {
		at := slices.Index(names, column)
		if at < 0 {
			return h, fmt.Errorf("there is no column %q, the header has %s (%w)", column, listed(names), errUsage)
		}
		if slices.Contains(names[at+1:], column) {
			return h, fmt.Errorf("there are two columns %q, rename one", column)
		}
		h.column = append(h.column, at)
	}
	s.text = s.text[:0]
	for _, name := range s.options.names() {
		if slices.Contains(names, name) {
			return h, fmt.Errorf("the header has a column %q already, rename it", name)
		}
		s.text = append(s.text, t.cut.separator)
		s.text = append(s.text, quoted(name, t.cut.separator)...)
	}
	h.width = len(names)
	return h, t.write(t.row, s.text)
}

// findSeparator is the first separator that makes the header have all columns; where none does, that which makes it
// have the most fields.
func (s *scorer) findSeparator(t *rowTable) byte {
	best, most := byte(','), 0
	for _, separator := range []byte(separators) {
		cut := fieldCutter{separator: separator}
		cut.again(t.row)
		names := cut.names(t.row)
		if !slices.ContainsFunc(s.options.columns, func(c string) bool { return !slices.Contains(names, c) }) {
			return separator
		}
		if len(names) > most {
			best, most = separator, len(names)
		}
	}
	return best
}

// take puts the numbers of a row into s.point.
func (s *scorer) take(t *rowTable, h csvHeader) error {
	if n := len(t.cut.starts); n != h.width {
		return fmt.Errorf("it has %d fields, the header %d", n, h.width)
	}
	for i, column := range h.column {
		field := strings.TrimSpace(string(unquoted(t.cut.field(t.row, column))))
		if field == "" {
			return fmt.Errorf("column %q is empty", s.options.columns[i])
		}
		v, err := s.number(field)
		if err != nil {
			return fmt.Errorf("column %q is %.40q, %w", s.options.columns[i], field, err)
		}
		s.point[i] = v
	}
	return nil
}

var (
	errNumber = errors.New("not a number")
	errRange  = fmt.Errorf("beyond the largest number that can be scored, %.5g", math.MaxFloat32)
)

// number reads a number that the forest takes. Go's own notations, hexadecimal and 1_000, are those of no CSV.
func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax) || math.IsNaN(v) || strings.ContainsAny(text, "_xX"):
		return 0, errNumber
	case math.Abs(v) > math.MaxFloat32: // with an error or without
		return 0, errRange
	}
	return v, nil
}

// number reads a number of a CSV with the decimal mark that was told or found; the first number with a mark finds it.
func (s *scorer) number(text string) (float64, error) {
	comma, point := strings.Contains(text, ","), strings.Contains(text, ".")
	if s.decimal == '.' || s.decimal == 0 && !comma {
		v, err := number(text)
		if err == nil && point {
			s.decimal = '.'
		}
		return v, err
	}
	if comma && point { // one of them parts thousands, or it is no number
		return 0, errNumber
	}
	v, err := number(strings.Replace(text, ",", ".", 1))
	if err == nil && comma {
		s.decimal = ','
	}
	return v, err
}

// appendNumber writes a number with the decimal mark of the others.
func (s *scorer) appendNumber(dst []byte, v float64, separator byte) []byte {
	begin := len(dst)
	dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
	at := bytes.IndexByte(dst[begin:], '.')
	if s.decimal != ',' || at < 0 {
		return dst
	}
	dst[begin+at] = ','
	if separator == ',' {
		dst = append(slices.Insert(dst, begin, '"'), '"')
	}
	return dst
}

// bareCR reports whether a CR stands in a field outside of quotes.
func bareCR(field []byte) bool {
	if inner, quoted := bytes.CutPrefix(field, []byte(`"`)); quoted {
		_, field, _ = bytes.Cut(bytes.ReplaceAll(inner, []byte(`""`), nil), []byte(`"`))
	}
	return bytes.IndexByte(field, '\r') >= 0
}

// unquoted is the text of a field.
func unquoted(field []byte) []byte {
	inner, ok := bytes.CutPrefix(field, []byte(`"`))
	if !ok {
		return field
	}
	return bytes.ReplaceAll(bytes.TrimSuffix(inner, []byte(`"`)), []byte(`""`), []byte(`"`))
}

// quoted is a field with that text.
func quoted(text string, separator byte) string {
	if !strings.ContainsAny(text, "\"\r\n"+string(separator)) {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

// fieldCutter finds the fields of a row. A quote within an unquoted field is a character as others.
type fieldCutter struct {
	separator byte
	starts    []int // of the fields
	at        int   // how far the row has been read
	state     cutterState
}

type cutterState uint8

const (
	fieldBegins cutterState = iota
	inField
	inQuotes
	afterQuote // within quotes: the field's end, or half of a quoted quote
)

func (c *fieldCutter) reset() { *c = fieldCutter{separator: c.separator, starts: c.starts[:0]} }

// again finds the fields of a whole row.
func (c *fieldCutter) again(row []byte) {
	c.reset()
	c.feed(row)
	c.end(row)
}

// names are the texts of the fields of a row.
func (c *fieldCutter) names(row []byte) (names []string) {
	for i := range c.starts {
		names = append(names, string(unquoted(c.field(row, i))))
	}
	return names
}

// feed reads on in row, which has grown by whole lines, and says whether it is complete.
func (c *fieldCutter) feed(row []byte) bool {
	for ; c.at < len(row); c.at++ {
		b := row[c.at]
		switch c.state {
		case fieldBegins:
			c.starts = append(c.starts, c.at)
			switch b {
			case '"':
				c.state = inQuotes
			case c.separator:
			default:
				c.state = inField
			}
		case inField:
			if b == c.separator {
				c.state = fieldBegins
			}
		case inQuotes:
			if b == '"' {
				c.state = afterQuote
			}
		case afterQuote:
			switch b {
			case '"':
				c.state = inQuotes
			case c.separator:
				c.state = fieldBegins
			default:
				c.state = inField
			}
		}
	}
	return c.state != inQuotes
}

// end ends the row. It returns false if that is within a quoted field.
func (c *fieldCutter) end(row []byte) bool {
	if c.state == fieldBegins { // nothing, not even a line's end, follows the last comma
		c.starts = append(c.starts, len(row))
	}
	return c.state != inQuotes
}

// field is the i-th field as it stands in the row, whose line end may be cut off.
func (c *fieldCutter) field(row []byte, i int) []byte {
	if i+1 < len(c.starts) {
		return row[c.starts[i] : c.starts[i+1]-1]
	}
	return row[min(c.starts[i], len(row)):]
}
