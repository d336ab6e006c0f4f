//go:build !linux

package edge

import (
	"errors"
	"time"
)

// GPIO exists on Linux only.
type GPIO struct{}

// OpenGPIO says that there is none.
func OpenGPIO(GPIOConfig) (*GPIO, error) {
	return nil, errors.New("gpio: needs Linux: use the simulated source here")
}

// Edges returns nothing.
func (*GPIO) Edges(time.Duration, func(Edge)) error { return errors.New("gpio: needs Linux") }

// Close does nothing.
func (*GPIO) Close() error { return nil }
