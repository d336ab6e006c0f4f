package workflows

import (
	"fanwatch"
)

// Change is what an operator names of a fan's device; what is nil or false stays as it is.
type Change struct {
	Site    *string            `json:"site,omitempty"`
	Clients *[]string          `json:"clients,omitempty"`
	Zone    *string            `json:"zone,omitempty"`
	MinRPM  *float64           `json:"min_rpm,omitempty"`
	MaxRPM  *float64           `json:"max_rpm,omitempty"`
	Silence *fanwatch.Duration `json:"silence,omitempty"`
	Policy  *string            `json:"policy,omitempty"`
	Relearn bool               `json:"relearn,omitempty"` // what is usual of the fan is learned anew
}

// Empty tells whether the change names nothing.
func (c Change) Empty() bool { return c == Change{} }

// Apply gives the device with what the change names. What was stored before CheckNew refused it is clamped.
func (c Change) Apply(d fanwatch.Device) fanwatch.Device {
	d = d.Clamped()
	set(&d.Site, c.Site)
	set(&d.Clients, c.Clients)
	set(&d.Zone, c.Zone)
	set(&d.Limits.MinRPM, c.MinRPM)
	set(&d.Limits.MaxRPM, c.MaxRPM)
	set(&d.Silence, c.Silence)
	set(&d.Policy, c.Policy)
	if c.Relearn {
		d.Relearn++
	}
	return d
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
