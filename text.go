package fanwatch

import (
	"strings"
	"unicode"
)

// OneLine makes text fit for a row of a list: a space stands for each character that moves a terminal's cursor, ends a
// line or turns the direction of writing (Unicode's Cc, Cf, Zl and Zp), since such text forges other rows. The two
// joiners U+200C and U+200D stay: names are spelled with them. Bytes that are not UTF-8 become U+FFFD.
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
