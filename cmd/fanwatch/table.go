package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"fanwatch"
)

// row adds a row of a table. A cell is text, or a value as fmt.Sprint writes it.
type row func(cells ...any)

// table prints rows in columns under a head, whose names a tab separates; "" is none. Each cell passes through
// fanwatch.OneLine here and nowhere else, so what a device sent stays in its cell.
func table(out io.Writer, head string, rows func(row)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if head != "" {
		fmt.Fprintln(w, head)
	}
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = fanwatch.OneLine(fmt.Sprint(c))
		}
		fmt.Fprintln(w, strings.Join(texts, "\t"))
	})
	return w.Flush()
}

// say prints a sentence as a line of its own, which passes through fanwatch.OneLine like a cell.
func say(out io.Writer, format string, args ...any) {
	fmt.Fprintln(out, fanwatch.OneLine(fmt.Sprintf(format, args...)))
}
