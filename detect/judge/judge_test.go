package judge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

var begin = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC) // a Monday

// machine is a fan that is judged: what it turns, how it is told, and what the judge says.
type machine struct {
	*Fan
	rng    *rand.Rand
	at     time.Time
	every  time.Duration
	rpm    float64
	noise  float64 // standard deviation, of the speed
	jitter float64
	duty   float64 // told; below 0: not
}

func newMachine(d fanwatch.Device) *machine {
	d.V, d.Fan = fanwatch.DeviceVersion, "a"
	return &machine{Fan: New(d), rng: rand.New(rand.NewPCG(1, 2)), at: begin, every: time.Second, rpm: 1800,
		noise: 0.002, jitter: 0.004, duty: -1}
}

// run judges readings for a time and returns the first kind that they show, "" for none.
func (m *machine) run(d time.Duration) (first fanwatch.Kind, after time.Duration) {
	began := m.at
	for end := m.at.Add(d); m.at.Before(end); {
		m.at = m.at.Add(m.every)
		r := fanwatch.Reading{Time: m.at, RPM: m.rpm * (1 + m.noise*m.rng.NormFloat64()),
			Jitter: m.jitter * (1 + 0.1*m.rng.NormFloat64()), State: fanwatch.StateRunning}
		if m.rpm == 0 {
			r.RPM, r.Jitter, r.State = 0, 0, fanwatch.StateStalled
		}
		if m.duty >= 0 {
			r.PWM = fanwatch.NewDuty(m.duty)
		}
		for _, found := range m.Judge(r).Found {
			if found.Kind != fanwatch.KindNone && first == "" {
				first, after = found.Kind, m.at.Sub(began)
			}
		}
	}
	return first, after
}

// quiet fails the test when the fan shows trouble.
func (m *machine) quiet(t *testing.T, d time.Duration, what string) {
	t.Helper()
	if kind, after := m.run(d); kind != "" {
		t.Fatalf("%s: %s after %s", what, kind, after)
	}
}

// TestEveryIntervalIsJudgedAlike: a drop of 10 % is found by four readings at each interval, and a healthy fan wakes
// no one.
func TestEveryIntervalIsJudgedAlike(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		m := newMachine(fanwatch.Device{})
		m.every = every
		m.quiet(t, 6*time.Hour, every.String())
		m.rpm *= 0.9
		if kind, after := m.run(10 * every); kind != fanwatch.KindSpeed || after > 4*every {
			t.Errorf("every %s: %q after %s", every, kind, after)
		}
	}
}

// TestAFanThatReportsEveryFiveMinutesIsJudged, from the start and when its interval is changed.
func TestAFanThatReportsEveryFiveMinutesIsJudged(t *testing.T) {
	for _, before := range []time.Duration{0, 3 * time.Hour} {
		m := newMachine(fanwatch.Device{})
		m.quiet(t, before, "every second")
		m.every = 5 * time.Minute
		m.quiet(t, 48*time.Hour, "every five minutes")
		if m.s.Gap > 0 || m.s.Interval < 200 {
			t.Errorf("after %s: interval %g s, gap %g s", before, m.s.Interval, m.s.Gap)
		}
		m.rpm *= 0.9
		if kind, after := m.run(30 * time.Minute); kind != fanwatch.KindSpeed || after > 20*time.Minute {
			t.Errorf("after %s: %q after %s", before, kind, after)
		}
	}
}

// TestALevelBecomesKnown after two visits that ended by themselves, and at once when a person says so; a fault never.
func TestALevelBecomesKnown(t *testing.T) {
	visit := func(m *machine, rpm float64) fanwatch.Kind {
		m.rpm = rpm
		kind, _ := m.run(30 * time.Minute)
		m.rpm = 1800
		m.run(9 * time.Hour) // the novelty has faded
		return kind
	}
	for name, c := range map[string]struct {
		normal, fault bool
		want          string
	}{
		"by visits": {want: "speed speed  "},
		"normal":    {normal: true, want: "speed   "},
		"fault":     {fault: true, want: "speed speed speed speed"},
	} {
		m := newMachine(fanwatch.Device{})
		m.quiet(t, 2*time.Hour, name)
		var kinds []string
		for n := range 4 {
			from := m.at
			kinds = append(kinds, string(visit(m, 1600)))
			if n == 0 && (c.normal || c.fault) {
				m.Label(fanwatch.Label{Kind: fanwatch.KindSpeed, Normal: c.normal, From: from, To: from.Add(31 * time.Minute)})
			}
		}
		if got := strings.Join(kinds, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestADutyTriedAtTheStartIsNoTroubleLater: what the curve does not know of the second duty is the curve's, not the
// base's, which would move the first duty too.
func TestADutyTriedAtTheStartIsNoTroubleLater(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.every = 10 * time.Second
	for _, visit := range []struct {
		duty, rpm float64
		d         time.Duration
	}{{0.99, 12_080, time.Minute}, {0.8, 8900, 15 * time.Minute}, {0.65, 6500, 15 * time.Minute},
		{0.99, 12_080, 15 * time.Minute}} {
		m.duty, m.rpm = visit.duty, visit.rpm
		m.quiet(t, visit.d, fmt.Sprintf("duty %g", visit.duty))
	}
}

// TestASecondDutyTellsHowTheSpeedFollows: beyond the duties that are known the curve goes on as between them.
func TestASecondDutyTellsHowTheSpeedFollows(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	for _, visit := range []struct{ duty, rpm float64 }{{0.45, 950}, {0.40, 802}, {0.38, 735}, {0.40, 802}} {
		m.duty, m.rpm = visit.duty, visit.rpm
		m.quiet(t, 40*time.Minute, fmt.Sprintf("duty %g", visit.duty))
	}
}

// TestAFanMovedAmongThreeSpeedsIsToldOfTwice: once for each speed that it did not have before.
func TestAFanMovedAmongThreeSpeedsIsToldOfTwice(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.quiet(t, 2*time.Hour, "before")
	told := 0
	for range 4 {
		for _, rpm := range []float64{1600, 2100} {
			m.rpm = rpm
			if kind, _ := m.run(9 * time.Hour); kind != "" {
				told++
			}
			m.rpm = 1800
			m.run(9 * time.Hour)
		}
	}
	if told != 2 {
		t.Errorf("told of %d times, want 2", told)
	}
}

// TestASwingThatComesBackIsToldOfOnce, and a drift beyond it again.
func TestASwingThatComesBackIsToldOfOnce(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.quiet(t, 30*time.Hour, "before")
	move := func(by float64, over time.Duration) (told fanwatch.Kind) {
		from := m.rpm
		for d := time.Duration(0); d < over; d += time.Minute {
			m.rpm = from * (1 + by*float64(d)/float64(over))
			if kind, _ := m.run(time.Minute); kind != "" && told == "" {
				told = kind
			}
		}
		return told
	}
	if got := move(-0.06, 5*time.Hour); got != fanwatch.KindDrift {
		t.Fatalf("the first swing is %q", got)
	}
	move(0.06/0.94, 5*time.Hour)
	m.run(8 * time.Hour)
	if got := move(-0.04, 5*time.Hour); got != "" {
		t.Errorf("the second swing is %q", got)
	}
	if got := move(-0.10, 8*time.Hour); got != fanwatch.KindDrift {
		t.Errorf("beyond the swing: %q", got)
	}
}

// TestNormalEndsTheTroubleThatLasts: while the fan is away, the label makes its speed known from the next reading on.
func TestNormalEndsTheTroubleThatLasts(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.quiet(t, time.Hour, "before")
	from := m.at
	m.rpm = 1500
	if kind, _ := m.run(5 * time.Minute); kind != fanwatch.KindSpeed {
		t.Fatalf("%q", kind)
	}
	m.Label(fanwatch.Label{Kind: fanwatch.KindSpeed, Normal: true, From: from})
	m.quiet(t, time.Hour, "at the speed that is normal")
	m.rpm = 1800
	m.quiet(t, time.Hour, "back")
	m.rpm = 1300
	if kind, _ := m.run(2 * time.Minute); kind != fanwatch.KindSpeed {
		t.Errorf("below both: %q", kind)
	}
}

// TestHoursAndIntermittentFansMayStop, by coasting; within its hours a fan may not, and three nights alone hide
// nothing: they make a suggestion.
func TestHoursAndIntermittentFansMayStop(t *testing.T) {
	night := func(m *machine) (kind fanwatch.Kind) {
		for _, part := range []float64{0.8, 0.5, 0.2, 0} {
			m.rpm = 1800 * part
			if k, _ := m.run(4 * time.Second); k != "" && kind == "" {
				kind = k
			}
		}
		if k, _ := m.run(8*time.Hour - 16*time.Second); k != "" && kind == "" {
			kind = k
		}
		for _, part := range []float64{0.3, 0.7, 0.9, 0.97, 1} {
			m.rpm = 1800 * part
			if k, _ := m.run(3 * time.Second); k != "" && kind == "" {
				kind = k
			}
		}
		if k, _ := m.run(16*time.Hour - 15*time.Second); k != "" && kind == "" {
			kind = k
		}
		return kind
	}
	for name, c := range map[string]struct {
		d      fanwatch.Device
		silent bool
	}{
		"hours":        {fanwatch.Device{Hours: "06:00-22:00", Zone: "Europe/Berlin"}, true},
		"intermittent": {fanwatch.Device{Kind: fanwatch.FanIntermittent}, true},
		"neither":      {fanwatch.Device{}, false},
		"other hours":  {fanwatch.Device{Hours: "18:00-12:00"}, false},
	} {
		m := newMachine(c.d)
		m.every = 2 * time.Second
		m.at = time.Date(2026, 3, 2, 5, 30, 0, 0, time.UTC) // 06:30 in Berlin
		m.quiet(t, 15*time.Hour+35*time.Minute, name)       // 22:05 in Berlin
		for n := range 4 {
			if kind := night(m); (kind == "") != c.silent {
				t.Errorf("%s: night %d shows %q", name, n, kind)
			}
		}
		got := m.Suggest(nil)
		if (len(got) == 1) != (name == "neither") || len(got) == 1 && *got[0].Change.Hours != "05:05-21:05" {
			t.Errorf("%s: suggestions %+v", name, got)
		}
		if text := m.habit(); (text != "") != (name == "neither") ||
			text != "" && !strings.Contains(text, "fanwatch configure a --hours 05:05-21:05") {
			t.Errorf("%s: the stall says %q", name, text)
		}
	}
}

// TestANominalSpeedIsHeldFromTheFirstReadings: at less than half of it a fan is in trouble at once.
func TestANominalSpeedIsHeldFromTheFirstReadings(t *testing.T) {
	m := newMachine(fanwatch.Device{Nominal: 4000})
	if kind, after := m.run(10 * time.Second); kind != fanwatch.KindUnderspeed || after > halfCount*time.Second {
		t.Errorf("%q after %s", kind, after)
	}
}

// TestALagIsNoFault: a rotor with 8 s follows told steps for days, and one that no longer follows is found.
func TestALagIsNoFault(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	speed := 1000.0
	step := func(duty float64, d time.Duration, follows bool) fanwatch.Kind {
		m.duty = duty
		var first fanwatch.Kind
		for range int(d / time.Second) {
			if follows {
				speed += (500 + 2500*duty - speed) / 8
			}
			m.rpm = speed
			if kind, _ := m.run(time.Second); kind != "" && first == "" {
				first = kind
			}
		}
		return first
	}
	for n := range 60 {
		if kind := step([]float64{0.3, 0.7, 0.5, 0.9, 0.4}[n%5], 10*time.Minute, true); kind != "" {
			t.Fatalf("step %d: %q: %s", n, kind, m.Sentence(m.last.verdict.Found[Speed]))
		}
	}
	if kind := step(0.8, 2*time.Minute, false); kind != fanwatch.KindSpeed {
		t.Errorf("a rotor that does not follow: %q", kind)
	}
}

// TestAStepOfReadingsIsNoTrouble: pulses counted in a second give steps of 30 RPM of 900.
func TestAStepOfReadingsIsNoTrouble(t *testing.T) {
	var g grain
	rng := rand.New(rand.NewPCG(3, 3))
	for _, step := range []float64{3, 7.5, 15, 30} {
		g = grain{}
		for range 2000 {
			g.add(step * float64(int((900+20*rng.NormFloat64())/step)))
		}
		if g.Q < 0.99*step || g.Q > 1.01*step {
			t.Errorf("steps of %g: found %g", step, g.Q)
		}
	}
	g = grain{}
	for range 2000 {
		g.add(900 + 20*rng.NormFloat64())
	}
	if g.Q != 0 {
		t.Errorf("no steps: found %g", g.Q)
	}
}

// TestWhatIsFoundIsSaidInASentence, with what is expected, and every figure behind it in Facts.
func TestWhatIsFoundIsSaidInASentence(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.quiet(t, 2*time.Hour, "before")
	m.rpm = 1700
	m.run(10 * time.Second)
	text := m.Sentence(m.last.verdict.Found[Speed])
	for _, want := range []string{"a turns slower by 5", "RPM where 18", "is usual", "fanwatch ack a --normal"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	names := ""
	for _, fact := range m.Facts() {
		names += fact.Name + " "
		if fact.Name == "" || fact.Text == "" {
			t.Errorf("%+v", fact)
		}
	}
	for _, want := range []string{"distance", "mean", "level 0", "candidate", "novelty", "jitter", "wobble", "cusum"} {
		if !strings.Contains(names, want) {
			t.Errorf("no %s among %s", want, names)
		}
	}
}

// TestTheStateIsSmall: at most 4 KB a fan beside its forest.
func TestTheStateIsSmall(t *testing.T) {
	t.Logf("%d bytes", StateSize)
	if StateSize <= 0 || StateSize > 4<<10 {
		t.Errorf("the state has %d bytes", StateSize)
	}
}

// TestARestoredJudgeGoesOnBitForBit.
func TestARestoredJudgeGoesOnBitForBit(t *testing.T) {
	a := newMachine(fanwatch.Device{})
	a.duty = 0.6
	a.run(3 * time.Hour)
	data, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b := *a
	b.Fan, b.rng = New(fanwatch.Device{V: 1, Fan: "a"}), rand.New(rand.NewPCG(9, 9))
	a.rng = rand.New(rand.NewPCG(9, 9))
	if err := b.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	a.run(time.Hour)
	b.run(time.Hour)
	if !reflect.DeepEqual(a.s, b.s) {
		t.Error("the states differ")
	}
	for _, bad := range [][]byte{nil, {}, {1}, {2}, {3}, data[:len(data)-1], append(data, 0)} {
		if err := b.UnmarshalBinary(bad); !errors.Is(err, ErrState) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// TestAStateOfVersion1Opens as one that has seen no swing.
func TestAStateOfVersion1Opens(t *testing.T) {
	m := newMachine(fanwatch.Device{})
	m.duty = 0.6
	m.run(3 * time.Hour)
	data, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	before := 0 // bytes up to the end of Drift
	for v, i := reflect.ValueOf(m.s), 0; v.Type().Field(i).Name != "Limits"; i++ {
		before += binary.Size(v.Field(i).Interface())
	}
	old := slices.Delete(slices.Clone(data), 1+before-9, 1+before)
	old[0] = 1
	want := m.s
	if err := m.UnmarshalBinary(old); err != nil {
		t.Fatal(err)
	}
	want.Drift.Peak, want.Drift.Week = 0, false
	if !reflect.DeepEqual(m.s, want) {
		t.Error("the states differ")
	}
}

// FuzzUnmarshal: any bytes give an error, or a judge that goes on.
func FuzzUnmarshal(f *testing.F) {
	m := newMachine(fanwatch.Device{})
	m.run(10 * time.Minute)
	data, err := m.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(make([]byte, 1+binary.Size(state{})))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine(fanwatch.Device{})
		if err := m.UnmarshalBinary(data); err != nil {
			return
		}
		m.run(time.Minute)
		if _, err := m.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
		_ = fmt.Sprint(m.Facts())
	})
}

// BenchmarkJudge gives the time of one reading without the forest: of a fan at one speed, and of one that is told to
// move.
func BenchmarkJudge(b *testing.B) {
	for _, name := range []string{"one speed", "told, moving"} {
		b.Run(name, func(b *testing.B) {
			m := newMachine(fanwatch.Device{})
			readings := make([]fanwatch.Reading, 8192)
			for i := range readings {
				readings[i] = fanwatch.Reading{RPM: 1800 * (1 + m.noise*m.rng.NormFloat64()), Jitter: 0.004,
					State: fanwatch.StateRunning}
				if name != "one speed" {
					readings[i].PWM = fanwatch.NewDuty(0.3 + 0.1*float64(i/60%5))
				}
			}
			b.ReportAllocs()
			for i := range b.N {
				r := &readings[i%len(readings)]
				r.Time = begin.Add(time.Duration(i) * time.Second)
				m.Judge(*r)
			}
		})
	}
}

// TestALongIntervalSuggestsASilence of three of them, which stays while it fits, and none where the silence is longer
// or there is none.
func TestALongIntervalSuggestsASilence(t *testing.T) {
	for silence, want := range map[time.Duration]string{0: "3m0s", time.Minute: "3m0s", 5 * time.Minute: "", -1: ""} {
		m := newMachine(fanwatch.Device{Silence: fanwatch.Duration(silence)})
		m.every = time.Minute
		m.run(3 * time.Hour)
		first := m.Suggest(nil)
		got := ""
		if len(first) > 0 {
			got = first[0].Change.Silence.String()
		}
		if got != want {
			t.Errorf("silence %s: %q suggested, want %q", silence, got, want)
		}
		m.every = 50 * time.Second
		m.run(6 * time.Hour)
		if again := m.Suggest(first); !fanwatch.SameSuggestions(first, again) {
			t.Errorf("silence %s: %+v, before %+v", silence, again, first)
		}
		m.every = 10 * time.Second
		m.run(3 * time.Hour)
		if again := m.Suggest(first); len(again) != 0 {
			t.Errorf("silence %s: %+v at a short interval", silence, again)
		}
	}
}

// TestHoursThatAreSuggestedSpanMidnight, and cover the earliest and the latest of the three stops.
func TestHoursThatAreSuggestedSpanMidnight(t *testing.T) {
	for name, c := range map[string]struct {
		from, to [3]int16
		want     string
	}{
		"by day":         {[3]int16{600, 610, 595}, [3]int16{720, 715, 730}, "12:10-09:55"},
		"round midnight": {[3]int16{5, 1435, 0}, [3]int16{360, 370, 355}, "06:10-23:55"},
		"other hours":    {[3]int16{600, 640, 600}, [3]int16{720, 720, 720}, ""},
	} {
		f := New(fanwatch.Device{V: 1, Fan: "a"})
		f.s.Stop.From, f.s.Stop.To, f.s.Stop.Count = c.from, c.to, 3
		got := ""
		if all := f.Suggest(nil); len(all) > 0 {
			got = *all[0].Change.Hours
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
