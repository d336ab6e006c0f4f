package activities

import (
	"slices"
	"testing"
	"time"

	"fanwatch"
)

// TestAFanProvisionedAgainInTroubleIsTold guards against a fan that stood still when it was retired, still does when
// it is provisioned again, and of which its new workflow hears nothing.
func TestAFanProvisionedAgainInTroubleIsTold(t *testing.T) {
	r := newRig(t)
	configure := func(revision int, retired bool) {
		data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: revision, Fan: "a", Retired: retired,
			Limits: fanwatch.Limits{MinRPM: 900}})
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
	r.later(2 * time.Second)
	r.steps(a, 1)
	before := r.told.all()
	if n := len(before); n == 0 || before[n-1].Anomaly.Kind != fanwatch.KindUnderspeed {
		t.Fatalf("told %+v", before)
	}
	r.tape.reading(300)
	for range 5 {
		r.later(2 * time.Second)
		r.steps(a, 1)
	}
	then := slices.DeleteFunc(r.told.all()[len(before):], func(o fanwatch.Observation) bool {
		return o.Anomaly.Kind == fanwatch.KindNone // the other families
	})
	if len(then) != 1 || then[0].Anomaly.Kind != fanwatch.KindUnderspeed || !then[0].After(before[len(before)-1]) {
		t.Errorf("then told %+v", then)
	}
}
