package fanwatch

import (
	"strings"
	"unicode"
)

// OneLine returns s with a space for each character that moves a terminal's cursor, ends a line or turns the direction
// of writing (Unicode's Cc, Cf, Zl and Zp), so that it cannot forge other rows of a list. The joiners U+200C and
// U+200D, with which names are spelled, stay. Bytes that are not UTF-8 become U+FFFD.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s)
}

// Legible returns OneLine of s, cut to at most n bytes of whole characters.
func Legible(s string, n int) string {
	s = OneLine(s)
	return strings.ToValidUTF8(s[:min(len(s), n)], "")
}
