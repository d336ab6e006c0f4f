package activities

import (
	"testing"
	"time"

	"fanwatch"
)

// TestAFanProvisionedAgainInTroubleIsTold guards against a fan that stood still when it was retired, still does when
// it is provisioned again, and of which its new workflow hears nothing.
func TestAFanProvisionedAgainInTroubleIsTold(t *testing.T) {
	r := newRig(t)
	configure := func(revision int, retired bool) {
		data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: revision, Fan: "a", Retired: retired, Limits: fanwatch.Limits{MinRPM: 900}})
		if err != nil {
			t.Fatal(err)
		}
		r.tape.put(data)
	}
	for _, rpm := range []float64{1800, 300, 300, 300} {
		r.tape.reading(rpm)
	}
	configure(2, true)
	configure(3, false)
	a := r.attempt(1)
	r.steps(a, 4)
	r.now = r.now.Add(2 * time.Second)
	r.steps(a, 1)
	before := len(r.told)
	if before == 0 || r.told[before-1].Anomaly.Kind != fanwatch.Underspeed {
		t.Fatalf("told %+v", r.told)
	}
	r.tape.reading(300)
	for range 5 {
		r.now = r.now.Add(2 * time.Second)
		r.steps(a, 1)
	}
	if len(r.told) != before+1 || r.told[before].Anomaly.Kind != fanwatch.Underspeed || !r.told[before].After(r.told[before-1]) {
		t.Errorf("then told %+v", r.told[before:])
	}
}
