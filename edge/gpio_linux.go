package edge

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warthog618/go-gpiocdev"
	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// edgeBuffer is how many edges the kernel keeps for us: at 20,000 RPM and 2 pulses per revolution 1.5 s.
const edgeBuffer = 1024

// maxPending bounds what waits between two windows; beyond it edges are dropped, which shows as a gap in
// Edge.Seq like those that the kernel dropped.
const maxPending = 1 << 16

// GPIO is a tacho on a line of a Linux GPIO character device: input with pull-up (a fan's tacho is open
// drain), falling edges. The kernel's debounce stays off: at 100 Hz it delivered 15 of 150 edges.
// Safe for concurrent use.
type GPIO struct {
	line *os.File

	mu      sync.Mutex
	pending []Edge
	spare   []Edge
	err     error // why no more edges come
}

// OpenGPIO requests the line. Close gives it back.
func OpenGPIO(c GPIOConfig) (*GPIO, error) {
	chip, offset, err := findLine(c)
	if err != nil {
		return nil, err
	}
	if c.Consumer == "" {
		c.Consumer = "fanwatch-edge"
	}
	line, err := requestLine(chip, offset, c.Consumer)
	if err != nil {
		return nil, fmt.Errorf("gpio %s line %d: %w: is it in use (gpioinfo shows by whom), may this user open it "+
			"(group gpio)?", chip, offset, err)
	}
	g := &GPIO{line: line}
	go g.take()
	return g, nil
}

// requestLine makes the request itself, because go-gpiocdev v0.9.1 does not pass the size of the event buffer on to
// the kernel, which then keeps 16 edges. A read of the file gives edges; the kernel must be 5.10 or later.
func requestLine(chip string, offset int, consumer string) (*os.File, error) {
	c, err := os.Open("/dev/" + chip)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	request := uapi.LineRequest{Lines: 1, EventBufferSize: edgeBuffer,
		Config: uapi.LineConfig{Flags: uapi.LineFlagV2Input | uapi.LineFlagV2EdgeFalling | uapi.LineFlagV2BiasPullUp}}
	request.Offsets[0] = uint32(offset)
	copy(request.Consumer[:len(request.Consumer)-1], consumer)
	if err := uapi.GetLine(c.Fd(), &request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if err := unix.SetNonblock(int(request.Fd), true); err != nil { // so that Close ends a read that waits
		unix.Close(int(request.Fd))
		return nil, fmt.Errorf("request: %w", err)
	}
	return os.NewFile(uintptr(request.Fd), fmt.Sprintf("/dev/%s line %d", chip, offset)), nil
}

// Edges returns the edges since the last call. An error is a line that is gone, as when its chip was unplugged.
func (g *GPIO) Edges(_ time.Duration, emit func(Edge)) error {
	g.mu.Lock()
	edges, err := g.pending, g.err
	g.pending, g.spare = g.spare[:0], nil
	g.mu.Unlock()
	for _, e := range edges {
		emit(e)
	}
	g.mu.Lock()
	g.spare = edges[:0]
	g.mu.Unlock()
	return err
}

// Close returns the line back.
func (g *GPIO) Close() error { return g.line.Close() }

// eventSize is that of a struct gpio_v2_line_event (include/uapi/linux/gpio.h): timestamp (8 bytes), id (4), offset
// (4), seqno (4), line_seqno (4), padding.
const eventSize = 48

// take reads the line's edges until it is closed.
func (g *GPIO) take() {
	b := make([]byte, 64*eventSize)
	for {
		n, err := g.line.Read(b)
		g.mu.Lock()
		for e := b[:n]; len(e) >= eventSize && len(g.pending) < maxPending; e = e[eventSize:] {
			g.pending = append(g.pending, Edge{At: time.Duration(binary.NativeEndian.Uint64(e)),
				Seq: binary.NativeEndian.Uint32(e[20:])})
		}
		g.err = err
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func findLine(c GPIOConfig) (chip string, offset int, err error) {
	if c.Line == "" {
		return "", 0, fmt.Errorf("gpio: no line: name one, such as GPIO17 (gpioinfo lists them)")
	}
	var seen []string // the names that were found, for the error
	for _, name := range gpiocdev.Chips() {
		ch, err := gpiocdev.NewChip(name)
		if err != nil {
			seen = append(seen, fmt.Sprintf("%s (%v)", name, err))
			continue
		}
		label, lines := ch.Label, ch.Lines()
		offset, err := ch.FindLine(c.Line)
		if err != nil && c.Chip != "" {
			offset, err = strconv.Atoi(c.Line)
		}
		ch.Close()
		seen = append(seen, label)
		switch {
		case c.Chip != "" && label != c.Chip && c.Chip != "/dev/"+name:
		case err == nil && offset >= 0 && offset < lines:
			return name, offset, nil
		case c.Chip != "":
			return "", 0, fmt.Errorf("gpio: chip %s has no line %q: gpioinfo lists their names, offsets go to %d", label, c.Line,
				lines-1)
		}
	}
	there := "this machine has no GPIO chip"
	if len(seen) > 0 {
		there = fmt.Sprintf("there are [%s]", strings.Join(seen, ", "))
	}
	if c.Chip != "" {
		return "", 0, fmt.Errorf("gpio: no chip is labelled %q: %s", c.Chip, there)
	}
	return "", 0, fmt.Errorf("gpio: no chip has a line %q: %s; gpioinfo lists the lines' names", c.Line, there)
}
