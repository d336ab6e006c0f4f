package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// split returns the pieces of text, junk with a "!" before it, and fails at anything but the text's end.
func split(t testing.TB, text io.Reader) (pieces []string, upto []int) {
	t.Helper()
	for p, err := range splitObjects(text) {
		if err != nil {
			t.Fatal(err)
		}
		if s := string(p.data); p.object {
			pieces = append(pieces, s)
		} else {
			pieces = append(pieces, "!"+s)
		}
		upto = append(upto, p.upto)
	}
	return pieces, upto
}

func TestObjectsAreFoundBetweenSeparatorsAndJunk(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                      nil,
		" \r\n\t ":                              nil,
		`{"a":1}`:                               {`{"a":1}`},
		"{\"a\":1}\n{\"b\":2}\r\n":              {`{"a":1}`, `{"b":2}`},
		`{"a":1}{"b":2}{}`:                      {`{"a":1}`, `{"b":2}`, `!{}`},
		`{"a":"}{\"\\"}{"b":[{},{"c":1}]}`:      {`{"a":"}{\"\\"}`, `{"b":[{},{"c":1}]}`},
		"{\"a\":\n 1}{\"b\":2}":                 {"{\"a\":\n 1}", `{"b":2}`},
		"rubbish\n{\"b\":2}":                    {"!rubbish", `{"b":2}`},
		"a\nb\n,c{d\n{\"b\":2}x":                {"!a\nb\n,c\n{d", `{"b":2}`, "!x"},
		`rubbish{"b":2}`:                        {"!rubbish", `{"b":2}`},
		"{\"a\":\"cut o\n{\"b\":2}":             {`!{"a":"cut o`, `{"b":2}`},
		`{"a":1,{"b":2}`:                        {`!{"a":1,`, `{"b":2}`},
		`{"a":01}{"b":2}`:                       {`!{"a":01}`, `{"b":2}`},
		`}{"b":2}]`:                             {`!}`, `{"b":2}`},
		`[{"b":2}]`:                             {`{"b":2}`},
		`[{"a":1}, {"b":2},` + "\n{\"c\":3}\n]": {`{"a":1}`, `{"b":2}`, `{"c":3}`},
		"\ufeff{\"a\":1},\ufeff{\"b\":2}\x1e{\"c\":3}\x00\x00\x00{\"d\":4}\\n{\"e\":5}\\r\\n\x7f": {`{"a":1}`, `{"b":2}`,
			`{"c":3}`, `{"d":4}`, `{"e":5}`},
		strings.Repeat("{ ", 40) + `"b":2}`:   {"!" + strings.Repeat("{ \n", 38) + "{ ", `{ "b":2}`},
		`{"a":"` + strings.Repeat("x", 70000): {`!{"a":"` + strings.Repeat("x", maxPayload-6)},
	} {
		if got, _ := split(t, strings.NewReader(in)); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%.80q: %.300q, want %.300q", in, got, want)
		}
	}
}

// TestSplitGivesWhatStandsBeforeADamage: all sound objects, and then the rest with the reader's error.
func TestSplitGivesWhatStandsBeforeADamage(t *testing.T) {
	damage := errors.New("damage")
	text := io.MultiReader(strings.NewReader(`{"a":1}{"b":2}{"c":`), iotest.ErrReader(damage))
	var got []string
	for p, err := range splitObjects(text) {
		got = append(got, fmt.Sprintf("%s%d%v", p.data, p.upto, err))
	}
	if want := []string{`{"a":1}1<nil>`, `{"b":2}2<nil>`, `{"c":3damage`}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// parts is how the first version of this program parted text; landing logs hold its counts.
func parts(data []byte) (all [][]byte) {
	for {
		if data = bytes.TrimLeft(data, " \t\r\n"); len(data) == 0 {
			return all
		}
		n := objectEnd(data)
		if n == 0 {
			if n = len(data); n > 1 {
				if i := bytes.IndexAny(data[1:], "\n{"); i >= 0 {
					n = i + 1
				}
			}
		}
		all, data = append(all, data[:n]), data[n:]
	}
}

// FuzzSplitObjects wants the objects that the first version found, under the same counts, whatever the reader's
// bites; the junk between them once; and sound objects found behind whatever came before them on other lines.
func FuzzSplitObjects(f *testing.F) {
	f.Add([]byte("{\"a\":1}{\"b\":\"}\"}\nrubbish{\"c\":[1]}"), uint64(1))
	f.Add([]byte("[{\"a\":1},\ufeff{}{\"b\":2}]\\n"), uint64(2))
	f.Add([]byte(strings.Repeat("{", 70)+strings.Repeat("x", 2*maxObject)+"\x00{\"b\":2}"), uint64(3))
	f.Fuzz(func(t *testing.T, junk []byte, seed uint64) {
		pieces, upto := split(t, iotest.HalfReader(bytes.NewReader(junk)))
		old := parts(junk)
		var got, want []string
		for i, p := range pieces {
			if strings.HasPrefix(p, "!") {
				if len(p) == 1 || len(p) > 1+maxPayload || i > 0 && strings.HasPrefix(pieces[i-1], "!") {
					t.Fatalf("%q: junk %.100q behind %.100q", junk, p, pieces[max(i, 1)-1])
				}
			} else {
				got = append(got, fmt.Sprint(upto[i], p))
			}
			if i > 0 && upto[i] <= upto[i-1] {
				t.Fatalf("%q: counts %v", junk, upto)
			}
		}
		for i, p := range old {
			if objectEnd(p) == len(p) && hasMember(p) {
				want = append(want, fmt.Sprint(i+1, string(p)))
			}
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q: %q, want %q", junk, got, want)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var objects []string
		text := append(bytes.ReplaceAll(junk, []byte("{"), nil), '\n')
		for n := range 5 {
			objects = append(objects, fmt.Sprintf(`{"n":%d,"s":"}{%d\""}`, n, rng.Uint32()))
			text = append(text, objects[n]+[]string{"", "\n", " \r\n", ",", ",\n", "\x1e", "\ufeff", "\\n",
				"\x00\x00"}[rng.IntN(9)]...)
		}
		got, _ = split(t, bytes.NewReader(text))
		if len(got) < 5 || strings.Join(got[len(got)-5:], "|") != strings.Join(objects, "|") {
			t.Fatalf("%q: %q", text, got)
		}
	})
}
