package fanwatch

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTextForARowMovesNoCursorAndForgesNoRow(t *testing.T) {
	for in, want := range map[string]string{
		"Hall A\nfan-08\twell\x1b[2J":      "Hall A fan-08 well [2J",
		"a\u202egnp.exe\u2066b\u2069":      "a gnp.exe b ",
		"a\u2028b\u2029c\u0085d\ufeffe":    "a b c d e",
		"Halle \u00e4 \u200c\u200d \u98a8": "Halle \u00e4 \u200c\u200d \u98a8",
		"\xff\xc3x":                        "\ufffd\ufffdx",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Legible("\u00e4\u00e4\x1b", 3); got != "\u00e4" {
		t.Errorf("cut inside a character: %q", got)
	}
}

func FuzzOneLine(f *testing.F) {
	for _, s := range []string{"", "fan-07", "\x1b[2J\r\n", "\u202e\u2066", "\xff", "\U000e0041"} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		got := OneLine(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' &&
				r <= '\u2069'
		}) {
			t.Errorf("OneLine(%q) = %q", s, got)
		}
		if again := OneLine(got); again != got {
			t.Errorf("OneLine(%q) = %q, and again %q", s, got, again)
		}
		n = min(max(n, 0), 1<<10)
		if cut := Legible(s, n); len(cut) > n || !strings.HasPrefix(got, cut) {
			t.Errorf("Legible(%q, %d) = %q", s, n, cut)
		}
	})
}
