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

// Device is what is known of one fan: how it may turn, who may speak for it, who is told when it fails.
// The fan's workflow owns it; each change is put on the stream, so that it takes effect between two
// readings and a replay sees it at the same place.
type Device struct {
	V        int    `json:"v" yaml:"-"`
	Revision int    `json:"revision" yaml:"-"` // larger wins; a Unix time in s, or one more than the last
	Fan      string `json:"fan" yaml:"fan"`
	Site     string `json:"site,omitempty" yaml:"site"` // where it stands, for people
	// MQTT client IDs that may speak for it besides its thing's name (= Fan), such as the demo's new_Client
	Clients []string `json:"clients,omitempty" yaml:"clients"`
	Zone    string   `json:"zone,omitempty" yaml:"zone"` // IANA zone in which a TIME without zone is read; "" = UTC
	Limits  Limits   `json:"limits" yaml:"limits"`
	// none judged for this long is an anomaly; at least MinSilence; 0 = 30 s, negative = never
	Silence Duration `json:"silence,omitempty" yaml:"silence"`
	Policy  string   `json:"policy,omitempty" yaml:"policy"` // name of the escalation policy; "" = "default"
	// counts how often an operator had the fan learned anew; a change forgets what is usual
	Relearn int  `json:"relearn,omitempty" yaml:"-"`
	Retired bool `json:"retired,omitempty" yaml:"-"` // readings are refused
}

// Limits are the hard rules: they hold from the first second, whatever the forest has learned. RPM; 0
// means no limit.
type Limits struct {
	MinRPM float64 `json:"min_rpm,omitempty" yaml:"min_rpm"` // below it for 2 readings: underspeed
	MaxRPM float64 `json:"max_rpm,omitempty" yaml:"max_rpm"` // above it for 2 readings: overspeed
}

// MinSilence is the shortest Silence: the edge publishes every 10 s by default (flush_every), and a fan must not be
// called silent between two batches.
const MinSilence = 15 * time.Second

// SilenceAfter returns Silence with its default applied, at least MinSilence: devices that were stored before that
// bound may hold less. 0 means never.
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

// Check says what is wrong with the device, naming the field and the mend, or nil.
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
	return nil
}

// maxSite is how many bytes Site may have.
const maxSite = 256

// CheckNew is Check for a device that an operator sets now. It also refuses what Check must take, because devices that
// were stored by earlier programs hold it: client IDs that a policy would read as a pattern, text that forges lists, a
// Silence below MinSilence.
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

// CheckClient says why a policy must not name the MQTT client ID, or nil. AWS IoT Core reads * and ? in a policy's
// resource as wildcards and ${ as the beginning of a variable: such a client ID would let its certificate speak for
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

// forges reports whether text could write outside of its own cell of a list or line of a mail.
func forges(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
}

// Clamped returns the device with what CheckNew refuses and readers clamp made as they take it, so that a change of
// another field is not refused for what was stored before: a Silence below MinSilence, control characters in Site.
// Client IDs and Zone stay.
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

// FanStatusVersion is the version of FanStatus that this program writes; 1 is of runs of the fan's workflow that began
// before it, and has no Certificate.
const FanStatusVersion = 2

// FanStatus is a fan as its workflow shows it.
type FanStatus struct {
	V      int         `json:"v"` // 1 or 2
	Device Device      `json:"device"`
	Phase  Phase       `json:"phase"`
	Last   Observation `json:"last"`            // the newest observation; its Anomaly.Kind is the fan's state
	Since  time.Time   `json:"since,omitzero"`  // since when the fan is in that state
	Alert  string      `json:"alert,omitempty"` // ID of the open alert
	Alerts int         `json:"alerts"`          // how many were opened so far
	// ID of the certificate that speaks for it; "" = none, or not known
	Certificate string `json:"certificate,omitempty"`
}

// Phase is where a fan stands in its life.
type Phase string

// The phases of a fan.
const (
	PhaseProvisioning Phase = "provisioning" // no certificate yet
	PhaseActive       Phase = "active"
	PhaseRetired      Phase = "retired"
)

// CanaryFan is the name of the simulated fan that shows, each hour, that a failure reaches people; CanaryPolicy is
// the name of the escalation policy by which its alerts go, and CanaryTopic the topic that they are told to.
const (
	CanaryFan    = "fanwatch-canary"
	CanaryPolicy = "canary"
	CanaryTopic  = "fanwatch-canary"
)
