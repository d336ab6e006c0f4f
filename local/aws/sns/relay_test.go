package sns_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// relay is a mail server that speaks just enough SMTP to take a message.
type relay struct {
	addr    string
	mu      sync.Mutex
	taken   []string
	refusal int
}

func newRelay(t *testing.T) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &relay{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

// refuse makes the next message end with this reply code.
func (r *relay) refuse(code int) { r.mu.Lock(); r.refusal = code; r.mu.Unlock() }

func (r *relay) mails() []string { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.taken) }

func (r *relay) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 relay")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch strings.ToUpper(strings.TrimSpace(line[:min(4, len(line))])) {
		case "DATA":
			say("354 go on")
			say(r.take(in))
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (r *relay) take(in *bufio.Reader) (reply string) {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "451 cut off"
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != 0 {
		reply, r.refusal = fmt.Sprintf("%d not now", r.refusal), 0
		return reply
	}
	r.taken = append(r.taken, text.String())
	return "250 taken"
}
