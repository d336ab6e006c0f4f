package edge

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warthog618/go-gpiocdev"
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
	line *gpiocdev.Line

	mu      sync.Mutex
	pending []Edge
	spare   []Edge
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
	g := &GPIO{}
	g.line, err = gpiocdev.RequestLine(chip, offset, gpiocdev.AsInput, gpiocdev.WithPullUp, gpiocdev.WithFallingEdge,
		gpiocdev.WithEventBufferSize(edgeBuffer), gpiocdev.WithConsumer(c.Consumer), gpiocdev.WithEventHandler(g.take))
	if err != nil {
		return nil, fmt.Errorf("gpio %s line %d: %w: is it in use (gpioinfo shows by whom), may this user open it (group gpio)?", chip, offset, err)
	}
	return g, nil
}

// Edges gives the edges since the last call.
func (g *GPIO) Edges(_ time.Duration, emit func(Edge)) error {
	g.mu.Lock()
	edges := g.pending
	g.pending, g.spare = g.spare[:0], nil
	g.mu.Unlock()
	for _, e := range edges {
		emit(e)
	}
	g.mu.Lock()
	g.spare = edges[:0]
	g.mu.Unlock()
	return nil
}

// Close gives the line back.
func (g *GPIO) Close() error { return g.line.Close() }

func (g *GPIO) take(e gpiocdev.LineEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) < maxPending {
		g.pending = append(g.pending, Edge{At: e.Timestamp, Seq: e.LineSeqno})
	}
}

func findLine(c GPIOConfig) (chip string, offset int, err error) {
	if c.Line == "" {
		return "", 0, fmt.Errorf("gpio: no line: name one, such as GPIO17 (gpioinfo lists them)")
	}
	if c.Chip == "" {
		chip, offset, err = gpiocdev.FindLine(c.Line)
		if err != nil {
			return "", 0, fmt.Errorf("gpio: no chip has a line %q: gpioinfo lists their names", c.Line)
		}
		return chip, offset, nil
	}
	var labels []string
	for _, name := range gpiocdev.Chips() {
		ch, err := gpiocdev.NewChip(name)
		if err != nil {
			labels = append(labels, fmt.Sprintf("%s (%v)", name, err))
			continue
		}
		label, lines := ch.Label, ch.Lines()
		offset, err = ch.FindLine(c.Line)
		if err != nil {
			offset, err = strconv.Atoi(c.Line)
		}
		ch.Close()
		labels = append(labels, label)
		if label != c.Chip && c.Chip != "/dev/"+name {
			continue
		}
		if err != nil || offset < 0 || offset >= lines {
			return "", 0, fmt.Errorf("gpio: chip %s has no line %q: gpioinfo lists their names, offsets go to %d", label, c.Line, lines-1)
		}
		return name, offset, nil
	}
	return "", 0, fmt.Errorf("gpio: no chip is labelled %q: there are [%s]", c.Chip, strings.Join(labels, ", "))
}
