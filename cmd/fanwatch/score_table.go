package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxRow bounds a row, in bytes, so that memory is bounded whatever the input.
const maxRow = 16 << 20

// rowTable reads rows and writes them on with something appended.
type rowTable struct {
	mu   sync.Mutex // held by the scoring loop, except while it reads: its holder finds whole rows in out
	in   *bufio.Reader
	out  *bufio.Writer
	line int    // where the current row began, counted from 1
	next int    // line of the next row
	row  []byte // the current row without its end
	end  string // "\n" or "\r\n"; at the end of the input they may lack "\n"
	cut  fieldCutter
	back []byte // lines to be read again, before those of in
}

const bom = "\ufeff"

func newTable(in io.Reader, out io.Writer) *rowTable {
	return &rowTable{in: bufio.NewReaderSize(in, 64<<10), out: bufio.NewWriterSize(out, 64<<10), next: 1}
}

// begin passes a byte order mark and blank lines on and says which format follows.
func (t *rowTable) begin(format string) (string, error) {
	if head, _ := t.peek(len(bom)); string(head) == bom {
		_, _ = t.in.Discard(len(bom)) // they have been peeked
		_, _ = t.out.WriteString(bom) // Flush repeats its error
	}
	bracket := false // an array begins, if an object follows
	for n := 1; ; n++ {
		head, err := t.peek(n)
		switch {
		case bracket && err == nil && strings.IndexByte(" \t\r\n", head[n-1]) >= 0:
		case bracket && err == nil && head[n-1] == '{':
			return "ndjson", nil
		case bracket && (err == nil || err == io.EOF || err == bufio.ErrBufferFull):
			return "csv", nil
		case err == io.EOF:
			return "", errors.New("the input is empty: rows of CSV or NDJSON are expected")
		case err != nil && err != bufio.ErrBufferFull:
			return "", fmt.Errorf("read rows: %w", err)
		case err == nil && head[n-1] == '\n':
			_, _ = t.out.Write(head) // Flush repeats its error
			_, _ = t.in.Discard(n)   // they have been peeked
			t.next++
			n = 0
		case err == nil && strings.IndexByte(" \t\r", head[n-1]) >= 0:
		case format != "auto":
			return format, nil
		case err == nil && head[n-1] == '{':
			return "ndjson", nil
		case err == nil && head[n-1] == '[':
			bracket = true
		default:
			return "csv", nil
		}
	}
}

// peek is in.Peek. As read does, it lets out what was written, and gives mu away, before it waits.
func (t *rowTable) peek(n int) ([]byte, error) {
	if t.in.Buffered() < n {
		if err := t.out.Flush(); err != nil {
			return nil, err
		}
	}
	t.mu.Unlock()
	defer t.mu.Lock()
	return t.in.Peek(n)
}

// read reads the next row; with quotes, a line end within a quoted field does not end it. At the end of the input it
// returns io.EOF. What was written before goes out before it waits, and while it waits it gives mu away.
func (t *rowTable) read(quotes bool) error {
	t.row, t.end, t.line = t.row[:0], "", t.next
	t.cut.reset()
	for {
		part, err := t.slice()
		t.row = append(t.row, part...)
		if len(t.row) > maxRow {
			return fmt.Errorf("line %d: the row is longer than %d MiB, is a quote not closed, or are there no line feeds?",
				t.line, maxRow>>20)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("read rows: %w", err)
		}
		if err == nil {
			t.next++
		}
		if quotes && !t.cut.feed(t.row) && err == nil {
			continue
		}
		if err == io.EOF && len(t.row) == 0 {
			return io.EOF
		}
		if quotes && !t.cut.end(t.row) {
			return fmt.Errorf("line %d: a quote is not closed", t.line)
		}
		body := bytes.TrimSuffix(bytes.TrimSuffix(t.row, []byte("\n")), []byte("\r"))
		t.end = string(t.row[len(body):])
		t.row = body
		return nil
	}
}

// slice reads up to the next line end, as in.ReadSlice does.
func (t *rowTable) slice() ([]byte, error) {
	if len(t.back) > 0 {
		end := bytes.IndexByte(t.back, '\n') + 1
		if end == 0 {
			end = len(t.back)
		}
		part := t.back[:end]
		t.back = t.back[end:]
		if part[end-1] != '\n' {
			return part, io.EOF // it was the end of the input
		}
		return part, nil
	}
	if t.in.Buffered() == 0 {
		if err := t.out.Flush(); err != nil {
			return nil, err
		}
	}
	t.mu.Unlock()
	defer t.mu.Lock()
	return t.in.ReadSlice('\n')
}

// again puts whole lines back, to be the next that are read.
func (t *rowTable) again(lines []byte) {
	t.next -= bytes.Count(lines, []byte("\n"))
	t.back = append(bytes.Clone(lines), t.back...)
}

// write writes the row with more before its end.
func (t *rowTable) write(row, more []byte) error {
	_, _ = t.out.Write(row) // the last call repeats an error
	_, _ = t.out.Write(more)
	_, err := t.out.WriteString(t.end)
	return err
}
