package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// bar shows on a terminal how far a long reading is. Elsewhere it is silent.
type bar struct {
	out   *os.File // nil: no progress is shown
	what  string
	shown time.Time
}

func progressBar(out *os.File, what string) *bar {
	info, err := out.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		out = nil
	}
	return &bar{out: out, what: what}
}

func (b *bar) show(done, total int) {
	if b.out == nil || total == 0 || done < total && time.Since(b.shown) < 100*time.Millisecond {
		return
	}
	b.shown = time.Now()
	const width = 30
	full := done * width / total
	fmt.Fprintf(b.out, "\r[%s%s] %d of %d %s ", strings.Repeat("=", full), strings.Repeat(" ", width-full), done, total,
		b.what)
}

// end removes the bar.
func (b *bar) end() {
	if b.out != nil && !b.shown.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
