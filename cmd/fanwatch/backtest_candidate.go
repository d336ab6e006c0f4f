package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"

	"fanwatch"
	"fanwatch/detect"
)

// candidateVersion is the version of a candidate file that this program reads.
const candidateVersion = 1

// candidate is what a backtest judges by: the judge's settings, and what differs from the devices as they are.
type candidate struct {
	Version int                  `yaml:"version"`
	Detect  detect.Config        `yaml:"detect"` // fields in lower case
	All     yaml.Node            `yaml:"all"`    // fields of the device of every fan
	Fans    map[string]yaml.Node `yaml:"fans"`   // and of single fans, by name, which win
}

// parseCandidate reads a candidate file. seed is that of the forests where the file gives none.
func parseCandidate(text []byte, seed uint64) (*candidate, error) {
	c := &candidate{Version: candidateVersion, Detect: detect.Config{Seed: seed}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if c.Version != candidateVersion {
		return nil, fmt.Errorf("version %d is unknown, this program knows %d", c.Version, candidateVersion)
	}
	if d := c.Detect; min(d.Trees, d.SampleSize, d.Warmup) < 0 || max(d.Trees, d.SampleSize) > 1<<16 {
		return nil, errors.New("detect: numbers of trees and readings are 0 to 65536")
	}
	for fan := range c.Fans {
		if err := fanwatch.CheckFan(fan); err != nil {
			return nil, err
		}
		if _, err := c.device(fanwatch.Device{Fan: fan}); err != nil {
			return nil, err
		}
	}
	_, err := c.device(fanwatch.Device{Fan: "any"})
	return c, err
}

// device returns a fan's device as the candidate has it.
func (c *candidate) device(d fanwatch.Device) (fanwatch.Device, error) {
	name := d.Fan
	one := c.Fans[name]
	d.Clients = slices.Clone(d.Clients)
	for _, change := range []*yaml.Node{&c.All, &one} {
		if change.IsZero() {
			continue
		}
		text, err := yaml.Marshal(change)
		if err != nil {
			return d, fmt.Errorf("fan %s: %w", name, err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(text))
		dec.KnownFields(true)
		if err := dec.Decode(&d); err != nil && !errors.Is(err, io.EOF) {
			return d, fmt.Errorf("fan %s: %w", name, err)
		}
	}
	d.V, d.Fan, d.Retired, d.Revision = fanwatch.DeviceVersion, name, false, max(d.Revision, 1)
	return d, d.Check()
}
