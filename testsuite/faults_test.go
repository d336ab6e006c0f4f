package testsuite

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/edge"
)

// verdicts lets a simulated fan run for n seconds, as fast as possible, through tacho, batch envelope, IoT
// rule and detector, and gives the detector's observations with the second of each. told says whether the
// readings carry the duty cycle.
func verdicts(t *testing.T, c edge.SimConfig, n int, told bool) (at []int, kinds []fanwatch.Kind, why []string) {
	t.Helper()
	clock := edge.SimulatedClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sim, err := edge.NewSim(c, clock.Boot())
	if err != nil {
		t.Fatal(err)
	}
	conf := edge.Config{Fan: "fan-01", Source: sim, Clock: clock}
	if told {
		conf.Duty = sim.Duty
	}
	models := detect.New(detect.Config{Seed: 1})
	device, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 1, Fan: "fan-01"})
	if err != nil {
		t.Fatal(err)
	}
	seq := 0
	feed := func(data []byte) detect.Output {
		seq++
		return models.Feed(detect.Input{Position: fanwatch.Position{Shard: "s",
			Sequence: fanwatch.SequenceNumber(fmt.Sprint(seq))}, Arrived: clock.Wall(), Data: data})
	}
	feed(device)
	enough := errors.New("enough")
	err = edge.Measure(t.Context(), conf, func(r edge.Record) error {
		r.Run, r.Seq = 1, uint64(seq)
		data, err := json.Marshal(struct {
			fanwatch.Batch
			Client string `json:"client"` // as the rule's clientid() adds it
		}{fanwatch.NewBatch([]fanwatch.Reading{r.Reading}, 0, 0, r.Time), "fan-01"})
		if err != nil {
			return err
		}
		out := feed(data)
		if len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored {
			return fmt.Errorf("rows %+v", out.Rows)
		}
		for _, o := range out.Observations {
			at, kinds, why = append(at, seq-1), append(kinds, o.Anomaly.Kind), append(why, o.Anomaly.Why)
		}
		if seq > n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return at, kinds, why
}

// TestSimulatedFaultsAreFound: from pulses to verdict, every kind of fault raises an alert while it lasts, and
// what is none raises nothing: neither a normal fan, nor false edges, nor a speed that was commanded. The
// same change of speed without the command is found.
func TestSimulatedFaultsAreFound(t *testing.T) {
	const from, to, end = 600, 720, 800
	for _, c := range []struct {
		kind     edge.FaultKind
		severity float64
		want     fanwatch.Kind // KindNone: nothing at all
		told     bool
	}{
		{edge.FaultStall, 1, fanwatch.KindStall, false},
		{edge.FaultDrag, 0.2, fanwatch.KindSpeed, false},
		{edge.FaultDrag, 0.6, fanwatch.KindUnderspeed, false},
		{edge.FaultDust, 0.2, fanwatch.KindSpeed, false},
		{edge.FaultAirflow, 0.6, fanwatch.KindSpeed, false},
		{edge.FaultBearing, 0.15, fanwatch.KindUnusual, false},
		{edge.FaultImbalance, 0.5, fanwatch.KindUnusual, false},
		{edge.FaultGlitch, 0.2, fanwatch.KindNone, false},
		{edge.FaultTacho, 1, fanwatch.KindStall, false},
		{edge.FaultPWM, 0.7, fanwatch.KindNone, true},
		{edge.FaultPWM, 0.7, fanwatch.KindSpeed, false},
	} {
		t.Run(fmt.Sprintf("%s %g %t", c.kind, c.severity, c.told), func(t *testing.T) {
			t.Parallel()
			at, kinds, why := verdicts(t, edge.SimConfig{Seed: 11, Faults: []edge.Fault{{Kind: c.kind,
				From: fanwatch.Duration(from * time.Second),
				To:   fanwatch.Duration(to * time.Second), Severity: c.severity}}}, end, c.told)
			found := false
			for i, kind := range kinds {
				t.Logf("second %d: %q %s", at[i], kind, why[i])
				if kind != fanwatch.KindNone && (at[i] < from || c.want == fanwatch.KindNone) {
					t.Errorf("a false alarm in second %d: %s", at[i], why[i])
				}
				found = found || kind == c.want && at[i] >= from && at[i] <= to+5
			}
			if c.want != fanwatch.KindNone && !found {
				t.Errorf("%s was not found, of kind %q: %v %v", c.kind, c.want, at, kinds)
			}
		})
	}
}
