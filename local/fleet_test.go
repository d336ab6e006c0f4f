package local

import (
	"testing"

	"fanwatch"
)

// TestEverySimulatedFanCanBeProvisioned guards against sites beyond the letters of halls, which hold control
// characters.
func TestEverySimulatedFanCanBeProvisioned(t *testing.T) {
	for _, f := range fleetOf(1000, true) {
		d := fanwatch.Device{V: fanwatch.DeviceVersion, Fan: f.Name, Site: f.Site,
			Limits: fanwatch.Limits{MinRPM: f.RPM / 2, MaxRPM: f.RPM * 1.5}}
		if err := d.CheckNew(); err != nil {
			t.Error(err)
		}
	}
}
