package edge

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"fanwatch"
)

// PWM reads from sysfs to what duty cycle the fan is commanded. It only reads: what controls the fan
// (the kernel, a script) goes on doing so. Safe for concurrent use.
type PWM struct {
	path string
}

// OpenPWM finds the output at path, which is either
//
//   - a PWM's directory with period, duty_cycle and enable (Documentation/driver-api/pwm.rst), such as
//     /sys/class/pwm/pwmchip0/pwm0; one that is not enabled counts as 0; or
//   - a hardware monitor's file of 0..255 (Documentation/hwmon/sysfs-interface.rst), such as
//     /sys/devices/platform/cooling_fan/hwmon/hwmon*/pwm1; with pwm1_enable 0 there is no control and the
//     fan runs at full speed.
//
// The path may be a pattern as filepath.Match has them, because hwmon numbers move between boots; it must
// fit one output.
func OpenPWM(path string) (*PWM, error) {
	found, err := filepath.Glob(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("pwm %s: %w", path, err)
	case len(found) == 0:
		return nil, fmt.Errorf("pwm %s: there is no such file: look under /sys/class/pwm and /sys/class/hwmon", path)
	case len(found) > 1:
		return nil, fmt.Errorf("pwm %s: it fits %s: name one", path, strings.Join(found, ", "))
	}
	p := &PWM{path: found[0]}
	if _, err := p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

// Duty returns the duty cycle that is commanded now; 0 (unknown) when it cannot be read.
func (p *PWM) Duty() fanwatch.Duty {
	fraction, err := p.read()
	if err != nil {
		return 0
	}
	return fanwatch.NewDuty(fraction)
}

func (p *PWM) read() (fraction float64, err error) {
	st, err := os.Stat(p.path)
	if err != nil {
		return 0, fmt.Errorf("pwm: %w", err)
	}
	if st.IsDir() {
		return p.output()
	}
	if mode, err := number(p.path + "_enable"); err == nil && mode == 0 {
		return 1, nil
	}
	value, err := number(p.path)
	if err == nil && value > 255 {
		err = fmt.Errorf("pwm %s: holds %.0f, want 0..255: is it the file pwmN of a hardware monitor?", p.path, value)
	}
	return value / 255, err
}

// output reads a PWM's directory. A change of period and duty cycle between two reads can make a ratio
// above 1 for one reading.
func (p *PWM) output() (float64, error) {
	on, err1 := number(filepath.Join(p.path, "enable"))
	period, err2 := number(filepath.Join(p.path, "period"))
	duty, err3 := number(filepath.Join(p.path, "duty_cycle"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, err
	}
	if on == 0 || period == 0 {
		return 0, nil
	}
	return math.Min(duty/period, 1), nil
}

// number reads a sysfs file that holds an integer of 0 or more.
func number(path string) (float64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("pwm: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("pwm %s: holds %.40q, want a number", path, b)
	}
	return float64(n), nil
}
