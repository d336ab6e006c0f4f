package detect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

var start = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)

// feed speaks to Models as the stream does.
type feed struct {
	*Models
	seq int
	all []fanwatch.Row
	obs []fanwatch.Observation
}

func newFeed(fans ...fanwatch.Device) *feed {
	f := &feed{Models: New(Config{Seed: 7})}
	for _, d := range fans {
		d.V = fanwatch.DeviceVersion
		d.Revision++
		data, err := fanwatch.EncodeDevice(d)
		if err != nil {
			panic(err)
		}
		f.record(data)
	}
	return f
}

func (f *feed) record(data []byte) Output {
	f.seq++
	out := f.Feed(Input{Position: fanwatch.Position{Shard: "s",
		Sequence: fanwatch.SequenceNumber(fmt.Sprint(1000 + f.seq))},
		Arrived: start.Add(time.Duration(f.seq) * time.Second), Data: data})
	f.all = append(f.all, out.Rows...)
	f.obs = append(f.obs, out.Observations...)
	return out
}

// legacy publishes an object in the legacy format, one second after the one before.
func (f *feed) legacy(fan, client string, rpm float64) Output {
	return f.record(fmt.Appendf(nil, `{"TIME":%q,"FANID":%q,"FREQ":60,"RPM":%v,"client":%q}`,
		start.Add(time.Duration(f.seq)*time.Second).Format(time.RFC3339), fan, rpm, client))
}

// batch publishes the envelope.
func (f *feed) batch(fan string, run uint64, readings ...fanwatch.WireReading) Output {
	for i := range readings {
		if readings[i].T == 0 {
			readings[i].T = start.Add(time.Duration(f.seq) * time.Second).UnixMicro()
		}
		if readings[i].State == "" {
			readings[i].State = fanwatch.StateRunning
		}
	}
	return f.record(rule(fanwatch.Batch{V: 1, Fan: fan, Run: fanwatch.FormatRun(run), Readings: readings}, fan))
}

func rule(b fanwatch.Batch, client string) []byte {
	data, err := json.Marshal(struct {
		fanwatch.Batch
		Client string `json:"client"`
	}{b, client})
	if err != nil {
		panic(err)
	}
	return data
}

// machine is a fan whose speed wanders slowly and is noisy, as fans are.
type machine struct {
	rng    *rand.Rand
	rpm    float64
	wander float64
}

func newMachine(seed uint64, rpm float64) *machine {
	return &machine{rng: rand.New(rand.NewPCG(seed, 1)), rpm: rpm}
}

func (m *machine) next(noise float64) float64 {
	m.wander = 0.995*m.wander + m.rng.NormFloat64()*m.rpm*0.0005
	return m.rpm + m.wander + m.rng.NormFloat64()*m.rpm*noise
}

func TestDropBelowTheLimitIsSaidInASentence(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "ABC123456", Clients: []string{"new_Client"}, Limits: fanwatch.Limits{MinRPM: 900}})
	for range 10 {
		f.legacy("ABC123456", "new_Client", 1800)
	}
	for range 2 {
		f.legacy("ABC123456", "new_Client", 300)
	}
	if len(f.obs) != 1 || f.obs[0].Anomaly.Kind != fanwatch.KindUnderspeed ||
		f.obs[0].Anomaly.Why != "ABC123456 turns too slowly: 300 RPM, below the limit of 900 RPM." {
		t.Fatalf("%+v", f.obs)
	}
	for range recoverInARow {
		f.legacy("ABC123456", "new_Client", 1800)
	}
	if len(f.obs) != 2 || f.obs[1].Anomaly.Kind != fanwatch.KindNone {
		t.Fatalf("%+v", f.obs)
	}
}

func TestDropBelowHalfOfTheUsualNeedsNoLimit(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	for range 90 {
		f.legacy("a", "a", 1800)
	}
	for range 3 {
		f.legacy("a", "a", 300)
	}
	if len(f.obs) != 1 || f.obs[0].Anomaly.Kind != fanwatch.KindUnderspeed || !strings.Contains(f.obs[0].Anomaly.Why,
		"half of its usual speed of 1799 RPM") {
		t.Fatalf("%+v", f.obs)
	}
}

func TestStallAndOverspeedFromTheFirstSecond(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a", Limits: fanwatch.Limits{MaxRPM: 2000}}, fanwatch.Device{Fan: "b"})
	f.batch("b", 9, fanwatch.WireReading{Seq: 1, State: fanwatch.StateStalled})
	f.legacy("a", "a", 2500)
	f.legacy("a", "a", 2500)
	if len(f.obs) != 2 || f.obs[0].Anomaly.Kind != fanwatch.KindStall || f.obs[1].Anomaly.Kind != fanwatch.KindOverspeed {
		t.Fatalf("%+v", f.obs)
	}
}

// TestASpeedThatSwingsWithinTheLimitsIsFound, over many fans, and named.
func TestASpeedThatSwingsWithinTheLimitsIsFound(t *testing.T) {
	for seed := range uint64(20) {
		f := newFeed(fanwatch.Device{Fan: "a", Limits: fanwatch.Limits{MinRPM: 900, MaxRPM: 2700}})
		m := newMachine(seed, 1800)
		for range 1200 {
			f.legacy("a", "a", m.next(0.002))
		}
		if len(f.obs) != 0 {
			t.Errorf("seed %d: a false alarm among 1200 ordinary readings: %+v", seed, f.obs[0])
			continue
		}
		for range 60 {
			f.legacy("a", "a", m.next(0.05))
		}
		if !strings.Contains(f.kinds(), "wobble") {
			t.Errorf("seed %d: 60 readings that swing raise %q", seed, f.kinds())
		}
	}
}

func TestPulseJitterIsFound(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(3, 1800)
	seq := uint64(0)
	publish := func(jitter float64) {
		seq++
		f.batch("a", 5, fanwatch.WireReading{Seq: seq, RPM: m.next(0.001), Hz: 60,
			Jitter: jitter * (1 + 0.1*m.rng.NormFloat64())})
	}
	for range 3000 {
		publish(0.004)
	}
	for range 60 {
		publish(0.05)
	}
	if len(f.obs) != 1 || f.obs[0].Anomaly.Kind != fanwatch.KindJitter || f.obs[0].Family != fanwatch.FamilyTexture ||
		!strings.Contains(f.obs[0].Anomaly.Why, "pulses that jitter") {
		t.Fatalf("%+v", f.obs)
	}
}

// TestTheForestFindsWhatNoTestHasANameFor: residuals of speed and jitter that are each within their bands and that
// never came together.
func TestTheForestFindsWhatNoTestHasANameFor(t *testing.T) {
	for _, severity := range []fanwatch.Severity{"", fanwatch.SeverityWarning} {
		f := newFeed(fanwatch.Device{Fan: "a", Forest: fanwatch.ForestRule{Severity: severity}})
		rng := rand.New(rand.NewPCG(4, 4))
		seq := uint64(0)
		publish := func(off, jitter float64) {
			seq++
			f.batch("a", 5, fanwatch.WireReading{Seq: seq, RPM: 1800 * (1 + off + 0.0005*rng.NormFloat64()),
				Jitter: jitter * (1 + 0.05*rng.NormFloat64())})
		}
		for range 3000 {
			publish(0, 0.004)
		}
		for range 90 {
			publish(0.011, 0.0056)
		}
		want := severity
		if want == "" {
			want = fanwatch.SeverityInfo
		}
		if len(f.obs) == 0 || f.obs[0].Anomaly.Kind != fanwatch.KindUnusual || f.obs[0].Anomaly.Severity != want {
			t.Fatalf("%q: %+v", severity, f.obs)
		}
		shares := f.obs[0].Anomaly.Shares
		if sum := shares.Speed + shares.Wobble + shares.Jitter; sum < 0.97 || sum > 1.03 || shares.Speed < 0.1 {
			t.Errorf("shares %+v", shares)
		}
	}
}

// TestAFixedScoreIsARule of its own where the device has one, as in 2019.
func TestAFixedScoreIsARule(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a", Forest: fanwatch.ForestRule{Score: 2, Severity: fanwatch.SeverityWarning}})
	m := newMachine(3, 1800)
	for range 1500 {
		f.legacy("a", "a", m.next(0.002))
	}
	before := len(slicesOf(f.obs, fanwatch.KindUnusual))
	f.legacy("a", "a", 2500)
	if found := slicesOf(f.obs, fanwatch.KindUnusual); len(found) != before+1 ||
		found[before].Anomaly.Severity != fanwatch.SeverityWarning || found[before].Anomaly.Threshold != 2 {
		t.Errorf("%+v", f.obs)
	}
}

// TestAStallEndsNoOtherTrouble: a fan that jitters and then stands has both troubles, and jitters still when it turns.
func TestAStallEndsNoOtherTrouble(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(3, 1800)
	seq := uint64(0)
	publish := func(n int, rpm, jitter float64) {
		for range n {
			seq++
			r := fanwatch.WireReading{Seq: seq, Jitter: jitter * (1 + 0.1*m.rng.NormFloat64()), State: fanwatch.StateStalled}
			if rpm > 0 {
				r.RPM, r.State = m.next(0.001), fanwatch.StateRunning
			}
			f.batch("a", 5, r)
		}
	}
	publish(3000, 1800, 0.004)
	publish(60, 1800, 0.05)
	publish(30, 0, 0)
	if f.kinds() != "jitter.stall" {
		t.Fatalf("%q", f.kinds())
	}
	for _, o := range f.States("a") {
		if o.Family == fanwatch.FamilyTexture && o.Anomaly.Kind != fanwatch.KindJitter {
			t.Errorf("%+v", o)
		}
	}
	publish(60, 1800, 0) // and where jitter is measured no more, its trouble ends
	if f.kinds() != "jitter.stall.." {
		t.Errorf("%q", f.kinds())
	}
}

// TestALabelIsARowAndTakesEffectOnce: normal makes a speed usual at the record, and replays so; what comes twice does
// nothing more.
func TestALabelIsARowAndTakesEffectOnce(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(3, 1800)
	run := func(rpm float64, n int) {
		m.rpm = rpm
		for range n {
			f.legacy("a", "a", m.next(0.002))
		}
	}
	run(1800, 1200)
	run(1500, 60)
	l := fanwatch.Label{V: 1, Fan: "a", Alert: "alert/a/speed/1", Kind: fanwatch.KindSpeed, Normal: true,
		From: start.Add(1200 * time.Second), By: "Ada", At: f.now()}
	data, err := fanwatch.EncodeLabel(l)
	if err != nil {
		t.Fatal(err)
	}
	if out := f.record(data); len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowLabelled {
		t.Fatalf("%+v", out.Rows)
	}
	run(1500, 60)
	if f.kinds() != "speed." {
		t.Fatalf("%q", f.kinds())
	}
	run(1800, 900)
	run(1250, 60)
	f.record(data) // again: it is no word on this trouble
	run(1250, 60)
	if f.kinds() != "speed..speed" {
		t.Errorf("%q", f.kinds())
	}
	again := New(Config{Seed: 7})
	if err := again.Replay(f.all); err != nil {
		t.Fatal(err)
	}
	want, _ := f.Snapshot()
	if got, _ := again.Snapshot(); !bytes.Equal(got, want) {
		t.Error("the models differ after the replay")
	}
}

func slicesOf(obs []fanwatch.Observation, kind fanwatch.Kind) (out []fanwatch.Observation) {
	for _, o := range obs {
		if o.Anomaly.Kind == kind {
			out = append(out, o)
		}
	}
	return out
}

func TestFewFalseAlarms(t *testing.T) {
	alarms, readings := 0, 0
	for seed := range uint64(10) {
		f := newFeed(fanwatch.Device{Fan: "a"})
		m := newMachine(100+seed, 1800)
		for range 6000 {
			f.legacy("a", "a", m.next(0.002))
			readings++
		}
		for _, o := range f.obs {
			if o.Anomaly.Kind != fanwatch.KindNone {
				alarms++
				t.Logf("seed %d: %s", seed, o.Anomaly.Why)
			}
		}
	}
	t.Logf("%d false alarms in %d readings", alarms, readings)
	if alarms > 1 {
		t.Errorf("%d false alarms in %d ordinary readings, want at most 1", alarms, readings)
	}
}

// TestSpeedFoundAfterAGapIsNoTrouble: the speed of a steady fan swings slowly by 0.4 %. Found at the other end of the
// swing it raises nothing, be it that its publisher was started again, that readings were dropped, or that the machine
// slept. A wobble and another speed after the gap do.
func TestSpeedFoundAfterAGapIsNoTrouble(t *testing.T) {
	const period, watched = 97, 12*97 + 24 // up to the highest speed of a swing
	for _, c := range []struct {
		name   string
		run    uint64 // of the readings behind the gap; those before it are of run 5
		seq    uint64 // of the first of them
		pause  int    // seconds
		wobble float64
		lost   float64
		found  string
	}{
		{name: "under watch", run: 5, seq: watched + 1},
		{name: "started again at once", run: 6, seq: 1},
		{name: "started again after a day", run: 6, seq: 1, pause: 86400},
		{name: "dropped", run: 5, seq: watched + 49},
		{name: "asleep", run: 5, seq: watched + 1, pause: 600},
		{name: "in the legacy format", pause: 600},
		{name: "started again with a wobble", run: 6, seq: 1, wobble: 0.02, found: "wobble"},
		{name: "started again slower", run: 6, seq: 1, lost: 0.12, found: "speed"},
	} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		rng := rand.New(rand.NewPCG(1, 1))
		publish := func(run, seq uint64, phase int, noise, lost float64) {
			rpm := 1800 * (1 - lost + 0.004*math.Sin(2*math.Pi*float64(phase)/period) + noise*rng.NormFloat64())
			if c.run == 0 {
				f.legacy("a", "a", rpm)
			} else {
				f.batch("a", run, fanwatch.WireReading{Seq: seq, RPM: rpm, Jitter: 0.002})
			}
		}
		for i := range watched {
			publish(5, 1+uint64(i), i, 0.0001, 0)
		}
		f.seq += c.pause
		for i := range 90 {
			publish(c.run, c.seq+uint64(i), watched+period/2+i, 0.0001+c.wobble, c.lost)
		}
		if c.found == "" && len(f.obs) > 0 || !strings.Contains(f.kinds(), c.found) {
			t.Errorf("%s: %q, want %q: %+v", c.name, f.kinds(), c.found, f.obs)
		}
	}
}

// TestTroubleStandsUntilItIsOver, by a few readings.
func TestTroubleStandsUntilItIsOver(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(5, 1800)
	for range 1200 {
		f.legacy("a", "a", m.next(0.002))
	}
	m.rpm = 1500
	for range 1000 {
		f.legacy("a", "a", m.next(0.002))
	}
	if f.kinds() != "speed" {
		t.Fatalf("the alarm did not stand: %+v", f.obs)
	}
	m.rpm = 1800
	for range 20 {
		f.legacy("a", "a", m.next(0.002))
	}
	if f.kinds() != "speed." {
		t.Fatalf("20 ordinary readings did not end it: %+v", f.obs[1:])
	}
}

func TestWhatIsRefusedAndWhy(t *testing.T) {
	now := start.Add(2 * time.Second)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for _, c := range []struct{ name, record, why string }{
		{"unknown fan", `{"TIME":"` + at(0) + `","FANID":"zzz","RPM":1,"client":"a"}`,
			"fan zzz is unknown: provision it first"},
		{"foreign client", `{"TIME":"` + at(0) + `","FANID":"a","RPM":1,"client":"mallory"}`,
			`client "mallory" does not own fan a`},
		{"negative RPM", `{"TIME":"` + at(0) + `","FANID":"a","RPM":-1,"client":"a"}`, "RPM -1 is negative"},
		{"far ahead", `{"TIME":"` + at(time.Hour) + `","FANID":"a","RPM":1,"client":"a"}`,
			"ahead of its arrival: set the publisher's clock"},
		{"far behind", `{"TIME":"1970-01-02T00:00:00Z","FANID":"a","RPM":1,"client":"a"}`, "more than a year before"},
		{"no time", `{"TIME":"noon","FANID":"a","RPM":1,"client":"a"}`, "cannot be read"},
		{"not JSON", `hello`, "not a JSON object"},
		{"rule failed", `{"ruleName":"r","base64OriginalPayload":"e30=","failures":[{"errorMessage":"no partition key"}]}`,
			"rule r failed: no partition key"},
		{"sequence 0", `{"v":1,"fan":"a","run":"0000000000000001","readings":[{"seq":0,"t":` + fmt.Sprint(now.UnixMicro()) +
			`,"st":"running"}],"client":"a"}`, "counts from 1"},
		{"device by a device", `{"v":1,"device":{"v":1,"fan":"a"},"client":"a"}`, "fan name"},
	} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		out := f.record([]byte(c.record))
		if len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowQuarantined || !strings.Contains(out.Rows[0].Reason,
			c.why) || len(out.Rows[0].Payload) == 0 {
			t.Errorf("%s: %+v", c.name, out.Rows)
		}
		f.seq += 10
		if out := f.legacy("a", "a", 1800); len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored {
			t.Errorf("%s: the next reading gives %+v", c.name, out)
		}
	}
}

func TestDuplicatesAreDroppedAndLateReadingsAreNotJudged(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	kinds := func(out Output) string {
		s := ""
		for _, r := range out.Rows {
			s += fmt.Sprintf("%s:%d ", r.Kind, r.Seq)
		}
		return fmt.Sprintf("%sdup:%d", s, out.Duplicates)
	}
	w := func(seqs ...uint64) (out []fanwatch.WireReading) {
		for _, s := range seqs {
			out = append(out, fanwatch.WireReading{Seq: s, RPM: 1800})
		}
		return out
	}
	for _, c := range []struct {
		out  Output
		want string
	}{
		{f.batch("a", 1, w(1, 2, 3)...), "scored:1 scored:2 scored:3 dup:0"},
		{f.batch("a", 1, w(2, 3, 4)...), "scored:4 dup:2"},
		{f.batch("a", 1, w(7)...), "scored:7 dup:0"},
		{f.batch("a", 1, w(5, 6, 7)...), "late:5 late:6 dup:1"},
		{f.batch("a", 2, w(1)...), "scored:1 dup:0"},
		{f.batch("a", 1, w(8)...), "scored:8 dup:0"},
		{f.batch("a", 1, w(8)...), "dup:1"},
	} {
		if got := kinds(c.out); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestSeenHoldsWhatAPlainSetHolds checks the intervals against a plain set, over random arrivals.
func TestSeenHoldsWhatAPlainSetHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s seen
	plain := map[fanwatch.ReadingID]bool{}
	for range 20000 {
		id := fanwatch.ReadingID{Fan: "a", Run: 1 + rng.Uint64N(3), Seq: 1 + rng.Uint64N(500)}
		if s.has(id) != plain[id] {
			t.Fatalf("%v: has %v, want %v", id, s.has(id), plain[id])
		}
		s.add(id, true)
		plain[id] = true
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnsynchronisedReadingIsDatedByItsArrival also pins that such a reading keeps its identity.
func TestUnsynchronisedReadingIsDatedByItsArrival(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	out := f.batch("a", 1, fanwatch.WireReading{Seq: 1, T: 5, Unsynch: true, Age: 1_500_000, RPM: 1800})
	want := start.Add(2 * time.Second).Add(-1500 * time.Millisecond)
	if len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored || !out.Rows[0].Time.Equal(want) ||
		out.Rows[0].Seq != 1 {
		t.Fatalf("%+v, want time %s", out.Rows, want)
	}
}

// scenario feeds a mix of everything: two fans, faults, duplicates, refusals, a change of configuration.
func scenario(seed uint64, records int) *feed {
	f := newFeed(fanwatch.Device{Fan: "a", Clients: []string{"old"}}, fanwatch.Device{Fan: "b",
		Limits: fanwatch.Limits{MinRPM: 600}})
	m, rng := newMachine(seed, 1800), rand.New(rand.NewPCG(seed, 9))
	seq := uint64(0)
	for i := range records {
		noise := 0.002
		if i > records/2 && i < records/2+80 {
			noise = 0.06
		}
		switch n := rng.IntN(100); {
		case n < 45:
			f.legacy("a", "old", m.next(noise))
		case n < 90:
			seq++
			f.batch("b", 1+seq/200, fanwatch.WireReading{Seq: 1 + seq%200, RPM: m.next(noise), Jitter: noise})
		case n < 93:
			f.batch("b", 1+seq/200, fanwatch.WireReading{Seq: 1 + rng.Uint64N(1+seq%200), RPM: m.next(noise)})
		case n < 95:
			f.legacy("a", "mallory", 5)
		case n < 96:
			f.batch("b", 1+seq/200, fanwatch.WireReading{Seq: 1 + seq%200, State: fanwatch.StateStalled})
		case n < 97:
			data, _ := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 2 + i, Fan: "b",
				Limits: fanwatch.Limits{MinRPM: float64(500 + i%50)}})
			f.record(data)
		default:
			f.record([]byte("not JSON"))
		}
	}
	return f
}

// TestRestoreAndReplayAreBitIdentical cuts a stream at many places, restores the snapshot, replays the
// rows behind it, and holds every later row and the final snapshot against the undisturbed run.
func TestRestoreAndReplayAreBitIdentical(t *testing.T) {
	const records = 900
	whole := scenario(1, records)
	want, err := whole.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, 40, 300, 449, 500, 700, 899, 900} {
		part := scenario2(1, records, cut)
		snap, err := part.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		m, err := Restore(Config{Seed: 7}, snap)
		if err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if err := m.Replay(whole.all[len(part.all):]); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		got, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("cut %d: the models differ after the replay", cut)
		}
	}
}

// scenario2 is scenario stopped after cut records; the random numbers are drawn as in the whole.
func scenario2(seed uint64, records, cut int) *feed {
	full := scenario(seed, records)
	f := newFeed()
	f.Models = New(Config{Seed: 7})
	n := 0
	for _, row := range full.all {
		s, _ := fanwatch.ParseSequenceNumber(string(row.Position.Sequence))
		if s.Compare(fanwatch.SequenceNumber(fmt.Sprint(1000+cut))) > 0 {
			break
		}
		n++
	}
	if err := f.Replay(full.all[:n]); err != nil {
		panic(err)
	}
	f.all = full.all[:n]
	return f
}

func TestReplayNoticesAnotherScore(t *testing.T) {
	f := scenario(2, 900)
	rows := slices.Clone(f.all)
	for i := range rows {
		if rows[i].Score > 0 {
			rows[i].Score = math.Nextafter(rows[i].Score, 9)
			break
		}
	}
	if err := New(Config{Seed: 7}).Replay(rows); !errors.Is(err, ErrDiverged) {
		t.Fatalf("%v, want ErrDiverged", err)
	}
}

func TestAdoptTakesTheFansOfTheRange(t *testing.T) {
	parent := scenario(3, 300)
	child := New(Config{Seed: 7})
	child.Adopt(parent.Models, func(fan string) bool { return fan == "b" })
	if got := child.Fans(); len(got) != 1 || got[0] != "b" {
		t.Fatalf("%v", got)
	}
	if _, ok := child.Last("b"); !ok {
		t.Error("the state is gone")
	}
}

func FuzzRestore(f *testing.F) {
	snap, err := scenario(4, 60).Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(snap)
	paused := scenario(4, 60)
	paused.record(pauseRecord("a", start, start.Add(time.Hour), start))
	paused.legacy("a", "a", 900)
	if snap, err = paused.Snapshot(); err != nil {
		f.Fatal(err)
	}
	f.Add(snap)
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, '{'})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Restore(Config{Seed: 7}, data)
		if err != nil {
			return
		}
		out := m.Feed(Input{Position: fanwatch.Position{Sequence: "9"}, Arrived: start,
			Data: []byte(`{"TIME":"2026-05-28T20:00:00Z","FANID":"a","RPM":1,"client":"a"}`)})
		if len(out.Rows)+out.Duplicates != 1 {
			t.Fatalf("%+v", out)
		}
	})
}

func FuzzFeed(f *testing.F) {
	f.Add([]byte(`{"TIME":"2026-05-28T20:00:00Z","FANID":"a","RPM":1800,"client":"a"}`))
	f.Add(rule(fanwatch.Batch{V: 1, Fan: "a", Run: fanwatch.FormatRun(3),
		Readings: []fanwatch.WireReading{{Seq: 1, State: fanwatch.StateRunning, RPM: 5}}}, "a"))
	f.Add([]byte(`{"v":1,"device":{"v":1,"fan":"a","revision":5}}`))
	f.Add([]byte(`{"v":1,"pause":{"v":1,"fan":"a","maintenance":"maintenance/a","from":"2026-05-28T20:00:00Z",
		"to":"2026-05-28T22:00:00Z","at":"2026-05-28T20:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newFeed(fanwatch.Device{Fan: "a"})
		out := m.record(data)
		if len(out.Rows) == 0 && out.Duplicates == 0 {
			t.Fatal("a record vanished")
		}
		m.legacy("a", "a", 1800)
		if _, err := m.Snapshot(); err != nil {
			t.Fatal(err)
		}
	})
}
