package lake

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSplitObjects(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                    nil,
		" \r\n\t ":                            nil,
		`{"a":1}`:                             {`{"a":1}`},
		"{\"a\":1}\n{\"b\":2}\r\n":            {`{"a":1}`, `{"b":2}`},
		`{"a":1}{"b":2}{}`:                    {`{"a":1}`, `{"b":2}`, `{}`},
		`{"a":"}{\"\\"}{"b":[{},{"c":1}]}`:    {`{"a":"}{\"\\"}`, `{"b":[{},{"c":1}]}`},
		"{\"a\":\n 1}{\"b\":2}":               {"{\"a\":\n 1}", `{"b":2}`},
		"rubbish\n{\"b\":2}":                  {"rubbish", `{"b":2}`},
		`rubbish{"b":2}`:                      {"rubbish", `{"b":2}`},
		"{\"a\":\"cut o\n{\"b\":2}":           {`{"a":"cut o`, `{"b":2}`},
		`{"a":1,{"b":2}`:                      {`{"a":1,`, `{"b":2}`},
		`{"a":01}{"b":2}`:                     {`{"a":01}`, `{"b":2}`},
		`}{"b":2}]`:                           {`}`, `{"b":2}`, `]`},
		`[{"b":2}]`:                           {`[`, `{"b":2}`, `]`},
		strings.Repeat("{", 40) + `"b":2}`:    append(strings.Split(strings.Repeat("{ ", 39), " ")[:39], `{"b":2}`),
		`{"a":"` + strings.Repeat("x", 70000): {`{"a":"` + strings.Repeat("x", 70000)},
	} {
		var got []string
		for piece := range splitObjects([]byte(in)) {
			got = append(got, string(piece))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%.80q: %.300q, want %.300q", in, got, want)
		}
	}
}

// FuzzSplitObjects wants every byte in exactly one piece, and sound objects found behind whatever came before
// them on other lines.
func FuzzSplitObjects(f *testing.F) {
	f.Add([]byte("{\"a\":1}{\"b\":\"}\"}\nrubbish{\"c\":[1]}"), uint64(1))
	f.Fuzz(func(t *testing.T, junk []byte, seed uint64) {
		const space = " \t\r\n"
		blank := func(b []byte) (rest []byte) {
			for _, c := range b {
				if strings.IndexByte(space, c) < 0 {
					rest = append(rest, c)
				}
			}
			return rest
		}
		var whole []byte
		for piece := range splitObjects(junk) {
			if len(bytes.Trim(piece, space)) == 0 {
				t.Fatalf("an empty piece of %q", junk)
			}
			whole = append(whole, piece...)
		}
		if !bytes.Equal(blank(whole), blank(junk)) {
			t.Fatalf("%q became %q", junk, whole)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var objects []string
		text := append(bytes.ReplaceAll(junk, []byte("{"), nil), '\n')
		for n := range 5 {
			objects = append(objects, fmt.Sprintf(`{"n":%d,"s":"}{%d\""}`, n, rng.Uint32()))
			text = append(text, objects[n]+[]string{"", "\n", " \r\n"}[rng.IntN(3)]...)
		}
		var got []string
		for piece := range splitObjects(text) {
			got = append(got, string(piece))
		}
		if len(got) < 5 || strings.Join(got[len(got)-5:], "|") != strings.Join(objects, "|") {
			t.Fatalf("%q: %q", text, got)
		}
	})
}
