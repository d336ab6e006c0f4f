package fanwatch

// DeviceChange is a change of a fan's device. A nil or false field leaves the device's field as it is.
type DeviceChange struct {
	Site    *string   `json:"site,omitempty"`
	Clients *[]string `json:"clients,omitempty"`
	Tags    *[]string `json:"tags,omitempty"`
	Model   *string   `json:"model,omitempty"`
	Zone    *string   `json:"zone,omitempty"`
	MinRPM  *float64  `json:"min_rpm,omitempty"`
	MaxRPM  *float64  `json:"max_rpm,omitempty"`
	Silence *Duration `json:"silence,omitempty"`
	Policy  *string   `json:"policy,omitempty"`
	Kind    *FanKind  `json:"kind,omitempty"`
	Nominal *float64  `json:"nominal,omitempty"`
	Hours   *string   `json:"hours,omitempty"`
	// The fields of Forest.

	ForestSeverity *Severity `json:"forest_severity,omitempty"`
	ForestScore    *float64  `json:"forest_score,omitempty"`
	ForestOff      *bool     `json:"forest_off,omitempty"`

	Relearn bool `json:"relearn,omitempty"` // learn the fan anew
}

// Empty reports whether the change changes nothing.
func (c DeviceChange) Empty() bool { return c == DeviceChange{} }

// Apply returns the device, clamped as by [Device.Clamped], with the change applied.
func (c DeviceChange) Apply(d Device) Device {
	d = d.Clamped()
	set(&d.Site, c.Site)
	set(&d.Clients, c.Clients)
	set(&d.Tags, c.Tags)
	set(&d.Model, c.Model)
	set(&d.Zone, c.Zone)
	set(&d.Limits.MinRPM, c.MinRPM)
	set(&d.Limits.MaxRPM, c.MaxRPM)
	set(&d.Silence, c.Silence)
	set(&d.Policy, c.Policy)
	set(&d.Kind, c.Kind)
	set(&d.Nominal, c.Nominal)
	set(&d.Hours, c.Hours)
	set(&d.Forest.Severity, c.ForestSeverity)
	set(&d.Forest.Score, c.ForestScore)
	set(&d.Forest.Off, c.ForestOff)
	if c.Relearn {
		d.Relearn++
	}
	return d
}

// set stores *value in *field, unless value is nil.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
