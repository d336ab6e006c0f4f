package fanwatch

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// DeviceVersion is the version of Device that this program writes.
const DeviceVersion = 1

// Device is what is known of one fan: how it may turn, who may speak for it, who is told when it fails.
// The fan's workflow owns it; each change is put on the stream, so that it takes effect between two
// readings and a replay sees it at the same place.
type Device struct {
	V        int      `json:"v" yaml:"-"`
	Revision int      `json:"revision" yaml:"-"` // counts the changes of this device; larger wins
	Fan      string   `json:"fan" yaml:"fan"`
	Site     string   `json:"site,omitempty" yaml:"site"`       // where it stands, for people
	Clients  []string `json:"clients,omitempty" yaml:"clients"` // MQTT client IDs that may speak for it besides its thing's name (= Fan), such as the demo's new_Client
	Zone     string   `json:"zone,omitempty" yaml:"zone"`       // IANA zone in which a TIME without zone is read; "" = UTC
	Limits   Limits   `json:"limits" yaml:"limits"`
	Silence  Duration `json:"silence,omitempty" yaml:"silence"` // no reading for this long is an anomaly; 0 = 30 s, negative = never
	Policy   string   `json:"policy,omitempty" yaml:"policy"`   // name of the escalation policy; "" = "default"
	Relearn  int      `json:"relearn,omitempty" yaml:"-"`       // counts how often an operator had the fan learned anew; a change forgets what is usual
	Retired  bool     `json:"retired,omitempty" yaml:"-"`       // readings are refused
}

// Limits are the hard rules: they hold from the first second, whatever the forest has learned. RPM; 0
// means no limit.
type Limits struct {
	MinRPM float64 `json:"min_rpm,omitempty" yaml:"min_rpm"` // below it for 3 readings: underspeed
	MaxRPM float64 `json:"max_rpm,omitempty" yaml:"max_rpm"` // above it for 3 readings: overspeed
}

// SilenceAfter gives Silence with its default applied; 0 means never.
func (d Device) SilenceAfter() time.Duration {
	switch {
	case d.Silence == 0:
		return 30 * time.Second
	case d.Silence < 0:
		return 0
	}
	return time.Duration(d.Silence)
}

// Owns tells whether the MQTT client may publish readings of this fan.
func (d Device) Owns(client string) bool {
	return client == d.Fan || slices.Contains(d.Clients, client)
}

// Location gives the zone in which times without zone are read.
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

// FanStatusVersion is the version of FanStatus that this program writes.
const FanStatusVersion = 1

// FanStatus is a fan as its workflow shows it.
type FanStatus struct {
	V          int         `json:"v"`
	Device     Device      `json:"device"`
	Phase      Phase       `json:"phase"`
	Last       Observation `json:"last"`            // the newest observation; its Anomaly.Kind is the fan's state
	Since      time.Time   `json:"since,omitzero"`  // since when the fan is in that state
	Alert      string      `json:"alert,omitempty"` // ID of the open alert
	Alerts     int         `json:"alerts"`          // how many were opened so far
	MutedUntil time.Time   `json:"muted_until,omitzero"`
}

// Phase is where a fan stands in its life.
type Phase string

// The phases of a fan.
const (
	Provisioning Phase = "provisioning" // no certificate yet
	Active       Phase = "active"
	Retired      Phase = "retired"
)

// CanaryFan is the name of the simulated fan that shows, each hour, that a failure reaches people; CanaryPolicy is the name of the
// escalation policy by which its alerts go, and CanaryTopic the topic that they are told to.
const (
	CanaryFan    = "fanwatch-canary"
	CanaryPolicy = "canary"
	CanaryTopic  = "fanwatch-canary"
)
