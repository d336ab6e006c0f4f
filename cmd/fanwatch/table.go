package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"

	"fanwatch"
)

// row adds a row of a table. A cell is text, or a value as fmt.Sprint writes it.
type row func(cells ...any)

// table prints rows in columns under a head, whose names a tab separates; "" is none. Each cell passes through
// fanwatch.OneLine here and nowhere else, so what a device sent stays in its cell. On a terminal that is too narrow the
// columns of cuttable are cut; elsewhere the whole is printed.
func table(out io.Writer, head string, rows func(row)) error {
	var lines [][]string
	names := strings.Split(head, "\t")
	if head != "" {
		lines = append(lines, names)
	}
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = fanwatch.OneLine(fmt.Sprint(c))
		}
		lines = append(lines, texts)
	})
	if head != "" {
		fit(names, lines, terminalWidth(out))
	}
	w := tabwriter.NewWriter(out, 0, 0, gap, ' ', 0)
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	return w.Flush()
}

const (
	gap   = 2  // between columns
	least = 16 // characters that stay of a column that is cut
)

// cuttable are the columns of text for people. What is copied into another command is never cut.
var cuttable = map[string]bool{"WHY": true, "MESSAGE": true, "SITE": true, "JUDGED": true, "TOLD": true, "CLIENT": true,
	"VERDICT": true, "FILES": true}

// fit cuts cells of the cuttable columns, the widest first, until the lines are no wider than width; 0 is any width.
// Each line has a cell for each name.
func fit(names []string, lines [][]string, width int) {
	if width == 0 {
		return
	}
	widths, total := make([]int, len(names)), -gap
	for i := range names {
		for _, l := range lines {
			widths[i] = max(widths[i], utf8.RuneCountInString(l[i]))
		}
		total += widths[i] + gap
	}
	for total > width {
		widest := -1
		for i, name := range names {
			if cuttable[name] && widths[i] > least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	for _, l := range lines {
		for i := range l {
			if r := []rune(l[i]); len(r) > widths[i] {
				l[i] = string(r[:widths[i]-3]) + "..."
			}
		}
	}
}

// terminalWidth is the width of the terminal that out is, in columns; 0: it is none.
func terminalWidth(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// say prints a sentence as a line of its own, which passes through fanwatch.OneLine like a cell.
func say(out io.Writer, format string, args ...any) {
	fmt.Fprintln(out, fanwatch.OneLine(fmt.Sprintf(format, args...)))
}
