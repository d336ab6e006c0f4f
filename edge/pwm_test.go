package edge

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// sysfs writes files under a directory as the kernel shows them.
func sysfs(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPWMFromSysfs(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		files map[string]string
		want  float64
		err   string
	}{
		"pwm": {"pwm0", map[string]string{"pwm0/period": "40000", "pwm0/duty_cycle": "15000", "pwm0/enable": "1"},
			0.375, ""},
		"disabled": {"pwm0", map[string]string{"pwm0/period": "40000", "pwm0/duty_cycle": "15000", "pwm0/enable": "0"},
			0, ""},
		"never set":  {"pwm0", map[string]string{"pwm0/period": "0", "pwm0/duty_cycle": "0", "pwm0/enable": "0"}, 0, ""},
		"half a pwm": {"pwm0", map[string]string{"pwm0/period": "40000", "pwm0/enable": "1"}, 0, "duty_cycle"},
		"hwmon": {"hwmon*/pwm1", map[string]string{"hwmon3/pwm1": "128", "hwmon3/pwm1_enable": "1"}, 128.0 / 255,
			""},
		"without enable": {"hwmon*/pwm1", map[string]string{"hwmon3/pwm1": "255"}, 1, ""},
		"no control":     {"hwmon3/pwm1", map[string]string{"hwmon3/pwm1": "0", "hwmon3/pwm1_enable": "0"}, 1, ""},
		"two fit":        {"hwmon*/pwm1", map[string]string{"hwmon3/pwm1": "1", "hwmon4/pwm1": "1"}, 0, "name one"},
		"none":           {"hwmon*/pwm1", nil, 0, "no such file"},
		"too much":       {"pwm1", map[string]string{"pwm1": "256"}, 0, "0..255"},
		"text":           {"pwm1", map[string]string{"pwm1": "fast"}, 0, "want a number"},
		"bad pattern":    {"[", nil, 0, "syntax"},
	} {
		p, err := OpenPWM(filepath.Join(sysfs(t, c.files), c.path))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, known := p.Duty().Fraction(); !known || math.Abs(got-c.want) > 5e-5 {
			t.Errorf("%s: %g %t, want %g", name, got, known, c.want)
		}
	}
}

// TestReadingsCarryTheDutyCycle: once per window, and unknown again when it cannot be read any more.
func TestReadingsCarryTheDutyCycle(t *testing.T) {
	dir := sysfs(t, map[string]string{"pwm1": "51"})
	file := filepath.Join(dir, "pwm1")
	p, err := OpenPWM(file)
	if err != nil {
		t.Fatal(err)
	}
	clock := SimulatedClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sim, _ := NewSim(SimConfig{}, clock.Boot())
	var got []fanwatch.Duty
	enough := errors.New("enough")
	err = Measure(t.Context(), Config{Fan: "fan-01", Source: sim, Clock: clock, Duty: p.Duty}, func(r Record) error {
		got = append(got, r.PWM)
		switch len(got) {
		case 1:
			return os.WriteFile(file, []byte("255\n"), 0o600)
		case 2:
			return os.Remove(file)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != fanwatch.NewDuty(0.2) || got[1] != fanwatch.NewDuty(1) || got[2] != 0 {
		t.Errorf("got %v", got)
	}
}
