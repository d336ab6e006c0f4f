package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"fanwatch"
)

// Problem is one thing that is wrong in a policy file, or that may be.
type Problem struct {
	File string `json:"-"`
	Line int    `json:"line"` // from 1
	Why  string `json:"why"`  // the thing, the reason and the mend, on one line
}

// Error returns "FILE:LINE: why".
func (p Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Why) }

// Problems are all problems of a file, in the order of its lines.
type Problems []Problem

// Error returns one line for each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(file string, line int, format string, args ...any) {
	*p = append(*p, Problem{File: file, Line: max(line, 1), Why: fanwatch.Legible(fmt.Sprintf(format, args...), 500)})
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}

// nearest returns the name of the list that text may be misspelt for; "" = none is near.
func nearest(text string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		most := min(2, len(name)/3)
		if d := distance(strings.ToLower(text), strings.ToLower(name)); d <= most && d < least {
			best, least = name, d
		}
	}
	return best
}

// distance returns how many bytes must be inserted, removed, replaced or swapped with the next to turn a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last []int
	for i := range len(a) + 1 {
		row := make([]int, len(b)+1)
		for j := range row {
			switch {
			case i == 0 || j == 0:
				row[j] = i + j
				continue
			case a[i-1] == b[j-1]:
				row[j] = last[j-1]
			default:
				row[j] = 1 + min(last[j-1], last[j], row[j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], 1+before[j-2])
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
