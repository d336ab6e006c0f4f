package lake

import (
	"bytes"
	"encoding/json"
	"iter"
)

// maxObject and maxDepth bound one JSON object of a foreign file. The demo's are flat and of a hundred bytes.
const (
	maxObject = 64 << 10
	maxDepth  = 32
)

// splitObjects parts what a delivery stream has written into its JSON objects: on lines of their own, or one
// behind the other without anything between, as Amazon Data Firehose joins records. What is no object comes
// as a piece of its own, up to the next line or the next brace, so that it spoils nothing else. Every byte but
// white space between pieces is in exactly one piece.
func splitObjects(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			if data = bytes.TrimLeft(data, " \t\r\n"); len(data) == 0 {
				return
			}
			n := objectEnd(data)
			if n == 0 {
				n = junkEnd(data)
			}
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

// objectEnd gives the length of the JSON object with which data begins, 0 when it begins with none.
func objectEnd(data []byte) int {
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
		switch {
		case depth <= 0 && i == 0:
			return 0
		case depth == 0:
			if data[0] != '{' || !json.Valid(data[:i+1]) {
				return 0
			}
			return i + 1
		}
	}
	return 0
}

// junkEnd gives the length of the piece that is no object: up to the next line or brace, at least a byte.
func junkEnd(data []byte) int {
	if i := bytes.IndexAny(data[1:], "\n{"); i >= 0 {
		return i + 1
	}
	return len(data)
}
