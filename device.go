package fanwatch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// DeviceVersion is the version of Device that this program writes.
const DeviceVersion = 1

// Device is the configuration of one fan. The fan's workflow owns it and puts each change on the stream, so that a
// change takes effect between two readings and at the same place in every replay.
type Device struct {
	V        int    `json:"v" yaml:"-"`
	Revision int    `json:"revision" yaml:"-"` // Unix time in s, or one more than before; the largest holds
	Fan      string `json:"fan" yaml:"fan"`
	Site     string `json:"site,omitempty" yaml:"site"` // place of the fan, at most 256 bytes
	// Tags are words by which routes of the policy file find the fan, such as cooling or team:night; at most MaxTags of
	// 1 to 64 bytes.
	Tags  []string `json:"tags,omitempty" yaml:"tags"`
	Model string   `json:"model,omitempty" yaml:"model"` // as on the name plate, for routes and people; at most 128 bytes
	// Clients are the MQTT client IDs that may publish for the fan beside Fan itself, such as new_Client.
	Clients []string `json:"clients,omitempty" yaml:"clients"`
	Zone    string   `json:"zone,omitempty" yaml:"zone"` // IANA zone of a TIME without zone; "" = UTC
	Limits  Limits   `json:"limits" yaml:"limits"`
	// Silence is the longest time without a judged reading that is no anomaly; at least MinSilence, 0 = 30 s,
	// negative = for ever.
	Silence Duration `json:"silence,omitempty" yaml:"silence"`
	Policy  string   `json:"policy,omitempty" yaml:"policy"` // name of the escalation policy; "" = "default"
	// Kind is the sort of fan; "" = judge it by its readings alone.
	Kind FanKind `json:"kind,omitempty" yaml:"kind"`
	// Nominal is the speed at full duty by the data sheet, in RPM; 0 = not known. It is expected from the first reading.
	Nominal float64 `json:"nominal,omitempty" yaml:"nominal"`
	// Hours are the hours in which the fan runs, in Zone, such as "06:00-22:00" or "Mon-Fri 06:00-22:00; Sat 08:00-12:00";
	// outside them it may stand still. "" = always.
	Hours  string     `json:"hours,omitempty" yaml:"hours"`
	Forest ForestRule `json:"forest,omitzero" yaml:"forest"`
	// Relearn counts an operator's requests to learn the fan anew. A change drops what was learned.
	Relearn int  `json:"relearn,omitempty" yaml:"-"`
	Retired bool `json:"retired,omitempty" yaml:"-"` // readings are refused
}

// FanKind is a sort of fan.
type FanKind string

// The sorts of fan.
const (
	// FanTwoWire has no tacho and no PWM; its pulses come from a sensor or its supply.
	FanTwoWire FanKind = "2-wire"
	// FanThreeWire has a tacho, and a speed set by its supply: untold changes of speed are its normal life.
	FanThreeWire FanKind = "3-wire"
	// FanFourWire has a tacho and PWM.
	FanFourWire FanKind = "4-wire"
	// FanBlower is a radial fan.
	FanBlower FanKind = "blower"
	// FanIntermittent stands still by design, without being told: 0 RPM is no stall.
	FanIntermittent FanKind = "intermittent"
)

// FanKinds returns all sorts of fan.
func FanKinds() []FanKind {
	return []FanKind{FanTwoWire, FanThreeWire, FanFourWire, FanBlower, FanIntermittent}
}

// ForestRule sets what comes of the forest's score.
type ForestRule struct {
	// Severity is that of trouble that the forest finds; "" = info.
	Severity Severity `json:"severity,omitempty" yaml:"severity"`
	// Score is a fixed score above which one reading is trouble, as 6 in a demonstration of 2019; 0 = the score is
	// judged by what is usual for the fan.
	Score float64 `json:"score,omitempty" yaml:"score"`
	// Off is true when the forest's score is written and never trouble.
	Off bool `json:"off,omitempty" yaml:"off"`
}

// Limits are the hard rules of a fan, in RPM; 0 = no limit. They hold from the first reading, whatever was learned.
type Limits struct {
	MinRPM float64 `json:"min_rpm,omitempty" yaml:"min_rpm"` // 2 readings in a row below it are underspeed
	MaxRPM float64 `json:"max_rpm,omitempty" yaml:"max_rpm"` // 2 readings in a row above it are overspeed
}

// MinSilence is the shortest Silence. It exceeds the 10 s that the edge waits between two batches by default
// (flush_every).
const MinSilence = 15 * time.Second

// SilenceAfter returns Silence with its default applied and raised to MinSilence, because devices that earlier
// programs stored may hold less. 0 = never.
func (d Device) SilenceAfter() time.Duration {
	switch {
	case d.Silence == 0:
		return 30 * time.Second
	case d.Silence < 0:
		return 0
	}
	return max(time.Duration(d.Silence), MinSilence)
}

// Owns reports whether the MQTT client may publish readings of this fan.
func (d Device) Owns(client string) bool {
	return client == d.Fan || slices.Contains(d.Clients, client)
}

// Location returns the zone in which times without zone are read.
func (d Device) Location() (*time.Location, error) { return time.LoadLocation(d.Zone) }

// Check returns an error that names the field and the mend when the device cannot be used.
func (d Device) Check() error {
	if d.V != DeviceVersion {
		return fmt.Errorf("device %.120q: version %d is unknown, this program knows %d", d.Fan, d.V, DeviceVersion)
	}
	if err := CheckFan(d.Fan); err != nil {
		return err
	}
	for _, c := range d.Clients {
		if c == "" || len(c) > 128 {
			return fmt.Errorf("device %s: client ID %.40q: use 1 to 128 characters", d.Fan, c)
		}
	}
	if _, err := d.Location(); err != nil {
		return fmt.Errorf("device %s: zone %.60q is not an IANA time zone, such as Europe/Berlin", d.Fan, d.Zone)
	}
	for _, l := range []float64{d.Limits.MinRPM, d.Limits.MaxRPM} {
		if math.IsNaN(l) || l < 0 || l > MaxRPM {
			return fmt.Errorf("device %s: RPM limit %g is outside 0..%g", d.Fan, l, float64(MaxRPM))
		}
	}
	if d.Limits.MaxRPM > 0 && d.Limits.MinRPM >= d.Limits.MaxRPM {
		return fmt.Errorf("device %s: min_rpm %g is not below max_rpm %g", d.Fan, d.Limits.MinRPM, d.Limits.MaxRPM)
	}
	if !(d.Nominal >= 0 && d.Nominal <= MaxRPM) {
		return fmt.Errorf("device %s: nominal speed %g is outside 0..%g", d.Fan, d.Nominal, float64(MaxRPM))
	}
	if d.Kind != "" && !slices.Contains(FanKinds(), d.Kind) {
		return fmt.Errorf("device %s: kind %.40q is none of %v", d.Fan, d.Kind, FanKinds())
	}
	if d.Forest.Severity != "" && d.Forest.Severity.Weight() == 0 {
		return fmt.Errorf("device %s: severity %.40q of the forest is none of info, warning, critical", d.Fan,
			d.Forest.Severity)
	}
	if !(d.Forest.Score >= 0 && d.Forest.Score <= 100) {
		return fmt.Errorf("device %s: score %g of the forest is outside 0..100", d.Fan, d.Forest.Score)
	}
	if _, err := ParseHours(d.Hours); err != nil {
		return fmt.Errorf("device %s: %w", d.Fan, err)
	}
	return nil
}

const (
	maxSite  = 256 // bytes of Site
	maxModel = 128 // bytes of Model
	maxTag   = 64  // bytes of one of Tags
)

// MaxTags is the largest number of tags of a device.
const MaxTags = 20

// CheckNew is Check for a device that an operator sets. It also refuses what devices of earlier programs may hold:
// client IDs that a policy reads as a pattern, text that forges lists, a Silence below MinSilence.
func (d Device) CheckNew() error {
	if err := d.Check(); err != nil {
		return err
	}
	for _, c := range d.Clients {
		if err := CheckClient(c); err != nil {
			return fmt.Errorf("device %s: %w", d.Fan, err)
		}
	}
	switch {
	case len(d.Site) > maxSite:
		return fmt.Errorf("device %s: site %.40q... has %d bytes: use at most %d", d.Fan, d.Site, len(d.Site), maxSite)
	case forges(d.Site):
		return fmt.Errorf("device %s: site %.120q holds control characters, such as a line break: leave them out", d.Fan,
			d.Site)
	case len(d.Tags) > MaxTags:
		return fmt.Errorf("device %s: %d tags, at most %d are taken", d.Fan, len(d.Tags), MaxTags)
	case slices.ContainsFunc(d.Tags, func(tag string) bool { return tag == "" || len(tag) > maxTag || forges(tag) }):
		return fmt.Errorf("device %s: a tag of %.80q is empty, longer than %d bytes or holds control characters: use words "+
			"such as cooling", d.Fan, d.Tags, maxTag)
	case len(d.Model) > maxModel || forges(d.Model):
		return fmt.Errorf("device %s: model %.120q: use at most %d bytes without control characters", d.Fan, d.Model,
			maxModel)
	case d.Zone == "Local":
		return fmt.Errorf("device %s: zone Local is that of whichever machine scores: use an IANA time zone, such as "+
			"Europe/Berlin", d.Fan)
	case d.Silence > 0 && time.Duration(d.Silence) < MinSilence:
		return fmt.Errorf("device %s: silence %s is shorter than the edge waits between two batches: use %s or more, "+
			"0 for 30s, or -1s for never",
			d.Fan, d.Silence, Duration(MinSilence))
	}
	return nil
}

// CheckClient returns an error when a policy must not name the MQTT client ID. AWS IoT Core reads * and ? in a
// policy's resource as wildcards and ${ as the beginning of a variable, which would let the certificate publish for
// other fans.
func CheckClient(id string) error {
	switch {
	case id == "" || len(id) > 128:
		return fmt.Errorf("client ID %.40q: use 1 to 128 characters", id)
	case strings.ContainsAny(id, "*?#+") || strings.Contains(id, "${"):
		return fmt.Errorf("client ID %.128q holds *, ?, #, + or ${, which would stand for other clients too: give the "+
			"publisher a plain name", id)
	case forges(id):
		return fmt.Errorf("client ID %.128q holds control characters: give the publisher a plain name", id)
	}
	return nil
}

// forges reports whether text can write outside its cell of a list or its line of a mail.
func forges(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
}

// Clamped returns the device with Silence raised to MinSilence, control characters of Site replaced by spaces and Site
// cut to its length, so that CheckNew does not refuse a change of another field. Clients and Zone stay.
func (d Device) Clamped() Device {
	if d.Silence > 0 {
		d.Silence = max(d.Silence, Duration(MinSilence))
	}
	if forges(d.Site) {
		d.Site = strings.Map(func(r rune) rune {
			if forges(string(r)) {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(d.Site, " "))
	}
	for len(d.Site) > maxSite {
		_, n := utf8.DecodeLastRuneInString(d.Site)
		d.Site = d.Site[:len(d.Site)-n]
	}
	return d
}

// FanStatusVersion is the version of FanStatus that this program writes. Versions 1 and 2 come from workflow runs of
// earlier programs, which keep one state per fan; version 1 has no Certificate.
const FanStatusVersion = 3

// FanStatus is a fan as its workflow shows it.
type FanStatus struct {
	V      int    `json:"v"` // 1, 2 or 3
	Device Device `json:"device"`
	Phase  Phase  `json:"phase"`
	// Last is the newest observation of the gravest trouble, or without trouble the newest of all; its Anomaly is the
	// fan's state in one word.
	Last   Observation `json:"last"`
	Since  time.Time   `json:"since,omitzero"`  // beginning of that state
	Alert  string      `json:"alert,omitempty"` // ID of that trouble's open alert, else of the first one open
	Alerts int         `json:"alerts"`          // number of alerts opened so far
	// Suggestions are what the fan's readings suggest and no person has dismissed.
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	// Dismissed has the times up to which dismissed suggestions do not come back.
	Dismissed map[SuggestionKind]time.Time `json:"dismissed,omitempty"`
	// Certificate is the ID of the fan's certificate; "" = none, or not known.
	Certificate string `json:"certificate,omitempty"`
	// Families holds the families that differ from the one at "", which has the newest observation of all families.
	Families map[Family]FamilyStatus `json:"families,omitempty"`
	Labels   []Label                 `json:"labels,omitempty"` // the newest MaxLabels, oldest first
}

// MaxLabels is the number of labels that a FanStatus keeps.
const MaxLabels = 20

// FamilyStatus is the state of one family of a fan.
type FamilyStatus struct {
	Last  Observation `json:"last"`            // newest observation of the family
	Since time.Time   `json:"since,omitzero"`  // beginning of its state
	Alert string      `json:"alert,omitempty"` // ID of the family's open alert
}

// OpenAlerts returns the IDs of the open alerts, that of the gravest trouble first.
func (s FanStatus) OpenAlerts() []string {
	var out []string
	add := func(id string) {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, f := range s.Troubles() {
		add(f.Alert)
	}
	add(s.Alert)
	for _, family := range Families() {
		add(s.Families[family].Alert)
	}
	return out
}

// Troubles returns the families that are in trouble, the gravest first.
func (s FanStatus) Troubles() []FamilyStatus {
	if len(s.Families) == 0 {
		s.Families = map[Family]FamilyStatus{"": {Last: s.Last, Since: s.Since, Alert: s.Alert}}
	}
	var out []FamilyStatus
	for _, f := range append([]Family{""}, Families()...) {
		if x := s.Families[f]; x.Last.Anomaly.Kind != KindNone {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b FamilyStatus) int {
		switch {
		case a.Last.Anomaly.Graver(b.Last.Anomaly):
			return -1
		case b.Last.Anomaly.Graver(a.Last.Anomaly):
			return 1
		}
		return 0
	})
	return out
}

// Phase is the stage of a fan's life.
type Phase string

// The phases of a fan.
const (
	// PhaseProvisioning is the phase before the first certificate.
	PhaseProvisioning Phase = "provisioning"
	// PhaseActive is the phase in which readings are judged.
	PhaseActive Phase = "active"
	// PhaseRetired is the phase in which readings are refused.
	PhaseRetired Phase = "retired"
)

const (
	// CanaryFan is the name of the simulated fan whose hourly failure tests the path from reading to page.
	CanaryFan = "fanwatch-canary"
	// CanaryPolicy is the name of the canary's escalation policy.
	CanaryPolicy = "canary"
	// CanaryTopic is the name of the SNS topic that CanaryPolicy notifies.
	CanaryTopic = "fanwatch-canary"
)
