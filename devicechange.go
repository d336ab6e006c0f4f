package fanwatch

// DeviceChange is what an operator names of a fan's device; what is nil or false stays as it is.
type DeviceChange struct {
	Site    *string   `json:"site,omitempty"`
	Clients *[]string `json:"clients,omitempty"`
	Zone    *string   `json:"zone,omitempty"`
	MinRPM  *float64  `json:"min_rpm,omitempty"`
	MaxRPM  *float64  `json:"max_rpm,omitempty"`
	Silence *Duration `json:"silence,omitempty"`
	Policy  *string   `json:"policy,omitempty"`
	Relearn bool      `json:"relearn,omitempty"` // what is usual of the fan is learned anew
}

// Empty reports whether the change names nothing.
func (c DeviceChange) Empty() bool { return c == DeviceChange{} }

// Apply returns the device with what the change names. What was stored before CheckNew refused it is clamped.
func (c DeviceChange) Apply(d Device) Device {
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

// set returns the field the value, if there is one.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
