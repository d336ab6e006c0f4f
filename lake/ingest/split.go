package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
)

// maxObject and maxDepth are the largest size, in bytes, and depth of a JSON object. An object of the legacy format is
// flat and has a hundred bytes.
const (
	maxObject = 64 << 10
	maxDepth  = 32
)

// textPiece is a part of the text of a delivery stream's object: a JSON object with at least one member, or the junk
// between two of them.
type textPiece struct {
	data   []byte // the object, or the beginning of the junk (at most maxPayload bytes); valid until the next piece
	object bool   // data is a JSON object
	upto   int    // how many parts were read with it, from 1; see splitter
}

// splitter reads pieces. A part is an object, or text up to the next line or the next brace: the first version of this
// program counted so, and landing logs have its counts of objects that are half landed.
type splitter struct {
	in     *bufio.Reader
	n      int    // parts that were read
	junk   []byte // the beginning of the junk since the last object
	inJunk bool   // there is junk since the last object
}

// splitObjects splits text into its JSON objects: on lines of their own, in an array, with commas, byte order marks or
// control bytes between them, or without anything between, as Amazon Data Firehose joins records. Text that is neither
// an object nor such a separator is junk and spoils no object.
//
// The error is the reader's; its piece is the junk that was read and not yet yielded.
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

// window returns the next bytes behind white space, at most maxObject. It returns an error only without bytes.
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

// discard skips n bytes that were peeked at.
func (s *splitter) discard(n int) { _, _ = s.in.Discard(n) }

// skip reads one part that is no object: up to the next line or brace, at least one byte.
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

// note adds text to the junk, unless it is nothing but separators.
func (s *splitter) note(text []byte) {
	if !s.inJunk {
		text = trimSeparators(text)
	}
	if len(trimSeparators(text)) == 0 {
		return
	}
	if s.inJunk && len(s.junk) < maxPayload {
		s.junk = append(s.junk, '\n')
	}
	s.inJunk = true
	s.junk = append(s.junk, text[:min(len(text), maxPayload-min(len(s.junk), maxPayload))]...)
}

// flush yields the junk, if there is some; it ends with part n. It reports whether the caller wants more pieces.
func (s *splitter) flush(n int, yield func(textPiece, error) bool) bool {
	if !s.inJunk {
		return true
	}
	more := yield(textPiece{s.junk, false, n}, nil)
	s.junk, s.inJunk = s.junk[:0], false
	return more
}

// end yields the last junk after the reader has ended with err.
func (s *splitter) end(err error, yield func(textPiece, error) bool) {
	if err == io.EOF {
		s.flush(s.n, yield)
		return
	}
	yield(textPiece{s.junk, false, s.n}, err)
}

// trimSeparators removes the separators from the beginning of text: commas, the brackets of an array, byte order marks,
// white space and other control bytes (record separators, zero padding), and escaped line ends and tabs.
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

// objectEnd returns the length of the JSON object with which data begins, 0 where it begins with none.
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
