package fanwatch

import (
	"strings"
	"testing"
	"time"
)

// TestWhatAnOperatorSetsCannotForgeOrWakeForNothing has each refusal of CheckNew, and that devices stored before it
// are still read.
func TestWhatAnOperatorSetsCannotForgeOrWakeForNothing(t *testing.T) {
	for want, d := range map[string]Device{
		`client ID "*" holds`:           {Clients: []string{"good", "*"}},
		`client ID "sensor?" holds`:     {Clients: []string{"sensor?"}},
		`client ID "${iot:x}" holds`:    {Clients: []string{"${iot:x}"}},
		`client ID "a#" holds`:          {Clients: []string{"a#"}},
		`client ID "+" holds`:           {Clients: []string{"+"}},
		`client ID "a\nb" holds contr`:  {Clients: []string{"a\nb"}},
		`client ID "a\xff" holds contr`: {Clients: []string{"a\xff"}},
		`site "Hall\x1b[2J" holds`:      {Site: "Hall\x1b[2J"},
		`site "a\u202eb" holds`:         {Site: "a\u202eb"},
		`has 257 bytes`:                 {Site: strings.Repeat("a", 257)},
		`zone Local is`:                 {Zone: "Local"},
		`silence 14.9s is shorter`:      {Silence: Duration(14900 * time.Millisecond)},
	} {
		d.V, d.Fan = DeviceVersion, "fan-07"
		if err := d.CheckNew(); err == nil || !strings.Contains(err.Error(), want) ||
			strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%v, want %s", err, want)
		}
		b, err := EncodeDevice(d)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := DecodeRecord(b); err != nil || rec.Device == nil {
			t.Errorf("stored before: %v", err)
		}
	}
	for _, d := range []Device{{Site: "Hall A, Ger\u00fcst 2"}, {Clients: []string{"new_Client", "sensor/7", "$x"}},
		{Silence: -1}, {Silence: Duration(MinSilence)}, {}} {
		d.V, d.Fan = DeviceVersion, "fan-07"
		if err := d.CheckNew(); err != nil {
			t.Error(err)
		}
	}
}

// TestAFanIsNotSilentBetweenTwoBatches, whatever Silence its device holds.
func TestAFanIsNotSilentBetweenTwoBatches(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 30 * time.Second, -1: 0, time.Second: MinSilence,
		MinSilence: MinSilence, time.Hour: time.Hour} {
		if got := (Device{Silence: Duration(set)}).SilenceAfter(); got != want {
			t.Errorf("silence %s: %s, want %s", set, got, want)
		}
	}
}

// FuzzClamped changes a stored device of any site and silence: the change of another field is accepted.
func FuzzClamped(f *testing.F) {
	f.Add("Hall A", int64(0))
	f.Add("Hall \x1b[2J\n\u2028\xff", int64(1))
	f.Add(strings.Repeat("\u00fc", 200), int64(-5))
	f.Fuzz(func(t *testing.T, site string, silence int64) {
		d := Device{V: DeviceVersion, Fan: "fan-07", Site: site, Silence: Duration(silence)}
		c := d.Clamped()
		if err := c.CheckNew(); err != nil {
			t.Error(err)
		}
		if c.SilenceAfter() != d.SilenceAfter() || c.Clamped().Site != c.Site {
			t.Errorf("%+v became %+v", d, c)
		}
	})
}
