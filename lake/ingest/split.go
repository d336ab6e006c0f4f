package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
)

// maxObject and maxDepth bound one JSON object of a foreign file. The demo's are flat and of a hundred bytes.
const (
	maxObject = 64 << 10
	maxDepth  = 32
)

// textPiece is a part of what a delivery stream has written: a JSON object with at least one member, or a run of
// junk between two of them.
type textPiece struct {
	data   []byte // the object, or the beginning of the junk (at most maxPayload bytes); valid until the next piece
	object bool
	upto   int // how many parts were read with it, from 1; see splitter
}

// splitter reads pieces. It counts parts as the first version of this program did, which landing logs remember
// of objects that are half landed: an object, or what stands up to the next line or the next brace.
type splitter struct {
	in   *bufio.Reader
	n    int    // parts that were read
	junk []byte // the beginning of the run of junk at hand
	run  bool   // there is one
}

// splitObjects parts text into its JSON objects: on lines of their own, in an array, with commas, byte order
// marks or control bytes between them, or one behind the other without anything between, as Amazon Data
// Firehose joins records. What is neither an object nor such a separator is junk, and spoils nothing else.
//
// The error is the reader's; with it comes, as junk, what was read and not yet given.
func splitObjects(text io.Reader) iter.Seq2[textPiece, error] {
	return func(yield func(textPiece, error) bool) {
		s := &splitter{in: bufio.NewReaderSize(text, 4*maxObject)}
		for {
			window, err := s.window()
			if len(window) == 0 {
				s.end(err, yield)
				return
			}
			end := objectEnd(window)
			if end == 0 {
				s.skip(window)
				continue
			}
			s.n++
			if object := window[:end]; !hasMember(object) {
				s.note(object)
			} else if !s.flush(s.n-1, yield) || !yield(textPiece{object, true, s.n}, nil) {
				return
			}
			s.discard(end)
		}
	}
}

// window returns what comes next behind white space, at most maxObject bytes; the error only with none.
func (s *splitter) window() ([]byte, error) {
	for {
		window, err := s.in.Peek(maxObject)
		rest := bytes.TrimLeft(window, " \t\r\n")
		if len(rest) == len(window) && len(rest) > 0 {
			return rest, nil
		}
		if s.discard(len(window) - len(rest)); len(rest) == 0 && err != nil {
			return nil, err
		}
	}
}

// discard passes over bytes that were peeked at.
func (s *splitter) discard(n int) { _, _ = s.in.Discard(n) }

// skip reads one part that is no object: up to the next line or brace, at least a byte.
func (s *splitter) skip(window []byte) {
	s.n++
	from := 1
	for {
		end := len(window)
		i := bytes.IndexAny(window[from:], "\n{")
		if i >= 0 {
			end = from + i
		}
		s.note(window[:end])
		if s.discard(end); i >= 0 {
			return
		}
		if window, _ = s.in.Peek(maxObject); len(window) == 0 {
			return
		}
		from = 0
	}
}

// note takes text for junk, unless it is nothing but separators.
func (s *splitter) note(text []byte) {
	if !s.run {
		text = trimSeparators(text)
	}
	if len(trimSeparators(text)) == 0 {
		return
	}
	if s.run && len(s.junk) < maxPayload {
		s.junk = append(s.junk, '\n')
	}
	s.run = true
	s.junk = append(s.junk, text[:min(len(text), maxPayload-min(len(s.junk), maxPayload))]...)
}

// flush returns the run of junk, if there is one; it ends with part n.
func (s *splitter) flush(n int, yield func(textPiece, error) bool) bool {
	if !s.run {
		return true
	}
	given := yield(textPiece{s.junk, false, n}, nil)
	s.junk, s.run = s.junk[:0], false
	return given
}

// end returns what is left when the reader has ended with err.
func (s *splitter) end(err error, yield func(textPiece, error) bool) {
	if err == io.EOF {
		s.flush(s.n, yield)
		return
	}
	yield(textPiece{s.junk, false, s.n}, err)
}

// trimSeparators removes from the beginning what delivery streams write between records: commas, the brackets
// of an array, byte order marks, white space and other control bytes (record separators, zero padding), and
// the text of an escaped line end where it should have been one.
func trimSeparators(text []byte) []byte {
	for len(text) > 0 {
		c, n := text[0], 0
		switch {
		case c <= ' ' || c == 0x7f || c == ',' || c == '[' || c == ']':
			n = 1
		case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
			n = 3
		case bytes.HasPrefix(text, []byte(`\n`)), bytes.HasPrefix(text, []byte(`\r`)), bytes.HasPrefix(text, []byte(`\t`)):
			n = 2
		default:
			return text
		}
		text = text[n:]
	}
	return nil
}

// hasMember reports whether a JSON object is not empty.
func hasMember(object []byte) bool {
	return len(bytes.TrimLeft(object[1:], " \t\r\n")) > 1
}

// objectEnd returns the length of the JSON object with which data begins, 0 when it begins with none.
func objectEnd(data []byte) int {
	if len(data) == 0 || data[0] != '{' {
		return 0
	}
	depth, quoted := 0, false
	for i := 0; i < min(len(data), maxObject); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted && c == '\n':
			return 0 // no JSON text holds a raw line feed
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return 0
			}
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 {
			if !json.Valid(data[:i+1]) {
				return 0
			}
			return i + 1
		}
	}
	return 0
}
