package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestEveryFlagStandsAlone: each flag has a text that needs no other flag's, for they are listed by name, and each
// command an example.
func TestEveryFlagStandsAlone(t *testing.T) {
	leaning := regexp.MustCompile(`(?i)\b(the same (of|for|as)|likewise|ditto|as above|see above|as before)\b|` +
		`^(of|for|by|also|from|to|before|how often)\b`)
	for _, name := range []string{"enroll", "check", "run", "version"} {
		_, help, _ := cli(name, "--help")
		before, flags, _ := strings.Cut(help, "\nFlags:\n")
		if !strings.Contains(before, "  fanwatch-edge "+name) {
			t.Errorf("%s has no example", name)
		}
		lines := strings.Split(strings.TrimSuffix(flags, "\n"), "\n")
		if len(lines)%2 != 0 {
			t.Fatalf("%s: flags without a text: %q", name, flags)
		}
		for i := 0; i < len(lines); i += 2 { // the flag, and its text on the line below
			if text := strings.TrimSpace(lines[i+1]); len(strings.Fields(text)) < 2 || leaning.MatchString(text) {
				t.Errorf("%s%s: %q does not stand alone", name, lines[i], text)
			}
		}
	}
}
