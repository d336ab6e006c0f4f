package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"fanwatch"
	"fanwatch/edge"
)

// configVersion is the version of the configuration file that this program reads.
const configVersion = 1

// file is the configuration file. It describes one fan, or what fans have in common and a list of them.
type file struct {
	config `yaml:",inline"`
	Fans   []fan `yaml:"fans"`
}

// config is what run and check need for one fan. Paths are relative to the file's directory.
type config struct {
	Version  int               `yaml:"version"`
	Broker   string            `yaml:"broker"`
	CA       string            `yaml:"ca"`
	MaxSpool int64             `yaml:"max_spool"`
	Shadow   string            `yaml:"shadow"`
	Flush    fanwatch.Duration `yaml:"flush_every"`
	Interval fanwatch.Duration `yaml:"interval"`
	Batch    int               `yaml:"batch"`
	Jump     float64           `yaml:"jump"`
	Live     bool              `yaml:"live"`
	fan      `yaml:",inline"`
}

// fan is what belongs to one fan alone: a connection under its own name, with its own certificate, because
// AWS IoT resolves policies by the client ID and takes one connection for each; its own spool; its own line.
type fan struct {
	Fan      string            `yaml:"fan"`
	Silence  fanwatch.Duration `yaml:"silence"`
	Cert     string            `yaml:"cert"`
	Key      string            `yaml:"key"`
	ClientID string            `yaml:"client_id"`
	Topic    string            `yaml:"topic"`
	Spool    string            `yaml:"spool"`
	Source   source            `yaml:"source"`
	PWM      string            `yaml:"pwm"`
	Pulses   int               `yaml:"pulses"`
	MinRPM   float64           `yaml:"min_rpm"`
	MaxRPM   float64           `yaml:"max_rpm"`
}

type source struct {
	GPIO *edge.GPIOConfig `yaml:"gpio"`
	Sim  *edge.SimConfig  `yaml:"sim"`
}

// shadowOff in the place of a shadow's name goes without one.
const shadowOff = "off"

const configHelp = `
The configuration is YAML; paths are relative to the file's directory:

  version: 1
  fan: fan-21                     # letters, digits, : _ - ; also the IoT thing's name
  broker: abc-ats.iot.eu-central-1.amazonaws.com:8883
  ca: AmazonRootCA1.pem
  cert: fan-21.pem                # from: fanwatch provision fan-21 --csr fan-21.csr --out fan-21.pem
  key: fan-21.key                 # from: fanwatch-edge enroll --fan fan-21 --dir .
  spool: /var/lib/fanwatch/fan-21 # readings wait here until the broker has them
  source:
    gpio: {line: GPIO17}          # or {chip: pinctrl-bcm2835, line: 17}; gpioinfo lists them
    # sim: {rpm: 1800, seed: 1, faults: [{kind: stall, from: 20s, to: 60s}]}
  pulses: 2                       # per revolution
  min_rpm: 300                    # slower is standing still
  max_rpm: 6000                   # faster is a glitch
  pwm: /sys/class/pwm/pwmchip0/pwm0  # optional: where the commanded duty cycle can be read; also hwmon's pwm1 (0..255)

These have defaults, and all but shadow and silence can be changed meanwhile by the thing's named shadow:

  interval: 1s                    # between readings
  batch: 10                       # readings per message
  flush_every: 10s                # a message waits for its readings no longer
  jump: 0.1                       # a change of speed by this part of it is published at once
  live: false                     # a reading every second, each published at once
  shadow: fanwatch                # its name; off = none
  silence: 30s                    # as provisioned, -1s = never: bounds interval and flush_every as the shadow sets them

  aws iot-data update-thing-shadow --thing-name fan-21 --shadow-name fanwatch --cli-binary-format raw-in-base64-out \
      --payload '{"state":{"desired":{"live":true}}}' out.json

Several fans on one Pi have what is theirs in a list; cert, key and spool default to NAME.pem, NAME.key and SPOOL/NAME:

  version: 1
  broker: abc-ats.iot.eu-central-1.amazonaws.com:8883
  ca: AmazonRootCA1.pem
  spool: /var/lib/fanwatch
  fans:
    - {fan: fan-21, source: {gpio: {line: GPIO17}}, min_rpm: 300}
    - {fan: fan-22, source: {gpio: {line: GPIO27}}, pulses: 4}
`

// load reads the configuration of each fan; fields that it does not know are errors, because a misspelt one
// would silently do nothing.
func load(path string) ([]config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	configs, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for i := range configs {
		c := &configs[i]
		for _, p := range []*string{&c.CA, &c.Cert, &c.Key, &c.Spool} {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	return configs, nil
}

func decode(b []byte) ([]config, error) {
	var f file
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document: name several fans under fans")
	}
	if f.Version != configVersion {
		return nil, fmt.Errorf("version %d is unknown: write version: %d", f.Version, configVersion)
	}
	configs, err := f.each()
	if err != nil {
		return nil, err
	}
	names, spools := map[string]bool{}, map[string]string{}
	for _, c := range configs {
		if err := c.check(); err != nil {
			return nil, err
		}
		if names[c.Fan] {
			return nil, fmt.Errorf("fan %s is there twice", c.Fan)
		}
		dir := filepath.Clean(c.Spool)
		if other, taken := spools[dir]; taken {
			return nil, fmt.Errorf("fan %s has the spool of %s: give each its own", c.Fan, other)
		}
		names[c.Fan], spools[dir] = true, c.Fan
	}
	return configs, nil
}

// each returns the configuration of each fan.
func (f file) each() ([]config, error) {
	if len(f.Fans) == 0 {
		return []config{f.config}, nil
	}
	common := f.config
	spool := common.Spool
	if common.fan.Spool = ""; common.fan != (fan{}) {
		return nil, errors.New("what belongs to one fan stands outside of fans: move it to the fan's entry")
	}
	var out []config
	for _, one := range f.Fans {
		c := common
		c.fan = one
		if c.Cert == "" {
			c.Cert = one.Fan + ".pem"
		}
		if c.Key == "" {
			c.Key = one.Fan + ".key"
		}
		if c.Spool == "" && spool != "" {
			c.Spool = filepath.Join(spool, one.Fan)
		}
		out = append(out, c)
	}
	return out, nil
}

func (c config) check() error {
	if err := fanwatch.CheckFan(c.Fan); err != nil {
		return err
	}
	if (c.Source.GPIO == nil) == (c.Source.Sim == nil) {
		return fmt.Errorf("fan %s: source: name one of gpio and sim, such as source: {gpio: {line: GPIO17}}", c.Fan)
	}
	for _, f := range []struct{ name, value string }{{"broker", c.Broker}, {"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key},
		{"spool", c.Spool}} {
		if f.value == "" {
			return fmt.Errorf("fan %s: %s is missing (run --help shows an example)", c.Fan, f.name)
		}
	}
	if c.Pulses < 0 || c.Pulses > 64 {
		return fmt.Errorf("fan %s: pulses %d is outside 1..64", c.Fan, c.Pulses)
	}
	if err := c.settings().Check(); err != nil {
		return fmt.Errorf("fan %s: %w", c.Fan, err)
	}
	return nil
}

// settings returns what the file says, with the defaults where it says nothing.
func (c config) settings() edge.Settings {
	s := edge.Settings{Interval: c.Interval, FlushEvery: c.Flush, Batch: c.Batch, Jump: c.Jump, MinRPM: c.MinRPM,
		MaxRPM: c.MaxRPM, Live: c.Live}
	return s.WithDefaults()
}

// edge makes the part of edge.Config that needs neither files nor devices.
func (c config) edge() edge.Config {
	shadow := c.Shadow
	switch {
	case shadow == "":
		shadow = "fanwatch"
	case shadow == shadowOff:
		shadow = ""
	}
	if c.ClientID != "" && c.ClientID != c.Fan && c.Shadow == "" {
		shadow = "" // under another name a client cannot use the thing's shadow
	}
	return edge.Config{Fan: c.Fan, Broker: c.Broker, ClientID: c.ClientID, Topic: c.Topic, Silence: timeOf(c.Silence),
		Dir: c.Spool, MaxSpool: c.MaxSpool,
		FlushEvery: timeOf(c.Flush), Interval: timeOf(c.Interval), Batch: c.Batch, Jump: c.Jump, Live: c.Live, Shadow: shadow,
		TachConfig: edge.TachConfig{Pulses: c.Pulses, MinRPM: c.MinRPM, MaxRPM: c.MaxRPM}}
}
