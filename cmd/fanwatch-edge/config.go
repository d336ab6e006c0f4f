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

// config is the file that run and check read. Paths are relative to the file's directory.
type config struct {
	Version  int               `yaml:"version"`
	Fan      string            `yaml:"fan"`
	Broker   string            `yaml:"broker"`
	CA       string            `yaml:"ca"`
	Cert     string            `yaml:"cert"`
	Key      string            `yaml:"key"`
	ClientID string            `yaml:"client_id"`
	Topic    string            `yaml:"topic"`
	Spool    string            `yaml:"spool"`
	MaxSpool int64             `yaml:"max_spool"`
	Flush    fanwatch.Duration `yaml:"flush_every"`
	Interval fanwatch.Duration `yaml:"interval"`
	Source   source            `yaml:"source"`
	Pulses   int               `yaml:"pulses"`
	MinRPM   float64           `yaml:"min_rpm"`
	MaxRPM   float64           `yaml:"max_rpm"`
}

type source struct {
	GPIO *edge.GPIOConfig `yaml:"gpio"`
	Sim  *edge.SimConfig  `yaml:"sim"`
}

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
`

// load reads the configuration; fields that it does not know are errors, because a misspelt one would
// silently do nothing.
func load(path string) (config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := decode(b)
	if err != nil {
		return config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	for _, p := range []*string{&c.CA, &c.Cert, &c.Key, &c.Spool} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

func decode(b []byte) (config, error) {
	var c config
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return config{}, err
	}
	if c.Version != configVersion {
		return config{}, fmt.Errorf("version %d is unknown: write version: %d", c.Version, configVersion)
	}
	if err := fanwatch.CheckFan(c.Fan); err != nil {
		return config{}, err
	}
	if (c.Source.GPIO == nil) == (c.Source.Sim == nil) {
		return config{}, errors.New("source: name one of gpio and sim, such as source: {gpio: {line: GPIO17}}")
	}
	for _, f := range []struct{ name, value string }{{"broker", c.Broker}, {"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key}, {"spool", c.Spool}} {
		if f.value == "" {
			return config{}, fmt.Errorf("%s is missing (run --help shows an example)", f.name)
		}
	}
	if c.Pulses < 0 || c.Pulses > 64 {
		return config{}, fmt.Errorf("pulses %d is outside 1..64", c.Pulses)
	}
	if !(c.MinRPM >= 0 && c.MaxRPM >= 0 && c.MinRPM <= fanwatch.MaxRPM && c.MaxRPM <= fanwatch.MaxRPM) || c.MaxRPM > 0 && c.MinRPM >= c.MaxRPM {
		return config{}, fmt.Errorf("min_rpm %g and max_rpm %g: want 0 <= min < max <= %g", c.MinRPM, c.MaxRPM, float64(fanwatch.MaxRPM))
	}
	return c, nil
}

// edge makes the part of edge.Config that needs neither files nor devices.
func (c config) edge() edge.Config {
	return edge.Config{Fan: c.Fan, Broker: c.Broker, ClientID: c.ClientID, Topic: c.Topic, Dir: c.Spool, MaxSpool: c.MaxSpool,
		FlushEvery: timeOf(c.Flush), Interval: timeOf(c.Interval),
		TachConfig: edge.TachConfig{Pulses: c.Pulses, MinRPM: c.MinRPM, MaxRPM: c.MaxRPM}}
}
