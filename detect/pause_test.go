package detect

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"fanwatch"
)

func pauseRecord(fan string, from, to, at time.Time) []byte {
	data, err := fanwatch.EncodePause(fanwatch.Pause{V: fanwatch.PauseVersion, Fan: fan, Maintenance: "maintenance/a",
		From: from, To: to, At: at})
	if err != nil {
		panic(err)
	}
	return data
}

// tended is a fan that reports every ten seconds and is worked on for two hours of its second day.
type tended struct {
	*feed
	m   *machine
	at  time.Time
	n   uint64
	all []fanwatch.Row
}

func newTended(d fanwatch.Device) *tended {
	d.Fan = "a"
	return &tended{feed: newFeed(d), m: newMachine(3, 1800), at: start}
}

func (f *tended) read(rpm float64) fanwatch.Row {
	f.n++
	f.at = f.at.Add(10 * time.Second)
	b := fanwatch.Batch{V: 1, Fan: "a", Run: fanwatch.FormatRun(1), Readings: []fanwatch.WireReading{{Seq: f.n,
		T: f.at.UnixMicro(), RPM: rpm, Jitter: 0.01, State: fanwatch.StateRunning}}}
	out := feedAt(f.feed, f.at, rule(b, "a"))
	f.obs = append(f.obs, out.Observations...)
	f.all = append(f.all, out.Rows...)
	return out.Rows[0]
}

func (f *tended) say(data []byte) { f.all = append(f.all, feedAt(f.feed, f.at, data).Rows...) }

// runs reads d of the fan as it is, from the same speeds on every call with the same seed.
func (f *tended) runs(d time.Duration, seed uint64) (rows []fanwatch.Row) {
	f.m = newMachine(seed, 1800)
	for range d / (10 * time.Second) {
		rows = append(rows, f.read(f.m.next(0.003)))
	}
	return rows
}

// work is two hours in which the fan is turned by hand, blown through and run at another speed for long.
func (f *tended) work() (rows []fanwatch.Row) {
	for i := range 720 {
		rpm := 600 + float64(i%90)*17
		if i > 400 {
			rpm = 2400 + float64(i%7)
		}
		rows = append(rows, f.read(rpm))
	}
	return rows
}

const worked = 2 * time.Hour

// same compares what was made of readings.
func same(t *testing.T, got, want []fanwatch.Row) {
	t.Helper()
	for i := range got {
		g, w := got[i], want[i]
		if g.RPM != w.RPM || !g.Time.Equal(w.Time) {
			t.Fatalf("reading %d is another: %+v, %+v", i, g, w)
		}
		if g.Judged != w.Judged || g.Score != w.Score || g.Anomaly != w.Anomaly {
			t.Fatalf("reading %d: %+v %g %q, want %+v %g %q", i, g.Judged, g.Score, g.Anomaly, w.Judged, w.Score, w.Anomaly)
		}
	}
}

// TestAFanThatIsWorkedOnIsJudgedAfterwardsAsIfThatHadNotBeen: bit for bit, while the readings of the maintenance
// themselves are judged, and told of.
func TestAFanThatIsWorkedOnIsJudgedAfterwardsAsIfThatHadNotBeen(t *testing.T) {
	f, other := newTended(fanwatch.Device{Site: "Hall A"}), newTended(fanwatch.Device{Site: "Hall A"})
	f.runs(26*time.Hour, 1)
	other.runs(26*time.Hour, 1)
	f.say(pauseRecord("a", f.at, f.at.Add(worked+9*time.Minute+time.Second), f.at))
	other.at, other.n = other.at.Add(worked+9*time.Minute), other.n+720+54
	rows := f.work()
	f.runs(9*time.Minute, 6) // it ends well: the forest learns of no reading that is in trouble
	if rows[300].Judged.Expected < 1700 || f.kinds() == "" {
		t.Fatalf("it is not judged: %+v, %q", rows[300], f.kinds())
	}
	if e, ok := f.Why("a"); !ok || !slices.ContainsFunc(e.Facts, func(x Fact) bool {
		return x.Name == "maintenance" && x.Value == "maintenance/a"
	}) {
		t.Errorf("%+v", e.Facts)
	}
	same(t, f.runs(8*time.Hour, 2), other.runs(8*time.Hour, 2))

	learned := newTended(fanwatch.Device{Site: "Hall A"})
	learned.runs(26*time.Hour, 1)
	learned.work()
	learned.runs(9*time.Minute, 6)
	differ := 0
	for i, r := range learned.runs(8*time.Hour, 2) {
		if r.Judged != other.all[len(other.all)-2880+i].Judged {
			differ++
		}
	}
	if differ < 100 {
		t.Errorf("without a maintenance %d of 2880 are judged otherwise: the test tests nothing", differ)
	}
}

// TestAMaintenanceIsReplayedBitForBit from its rows, and from snapshots before, within and after it.
func TestAMaintenanceIsReplayedBitForBit(t *testing.T) {
	f := newTended(fanwatch.Device{})
	var snaps [][]byte
	var at []int
	snap := func() {
		data, err := f.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		snaps, at = append(snaps, data), append(at, len(f.all))
	}
	f.runs(6*time.Hour, 1)
	snap()
	f.say(pauseRecord("a", f.at.Add(time.Minute), f.at.Add(worked), f.at))
	snap()
	f.runs(10*time.Minute, 5)
	snap()
	f.work()
	snap()
	f.runs(time.Hour, 2)
	snap()
	want := snaps[len(snaps)-1]
	for i, data := range snaps {
		if v4 := bytes.Contains(data, []byte(`{"v":4,`)); v4 != (i == 0) {
			t.Errorf("snapshot %d: version 4 is %v", i, v4)
		}
		m, err := Restore(f.cfg, data)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Replay(f.all[at[i]:]); err != nil {
			t.Errorf("from snapshot %d: %v", i, err)
		}
		if got, err := m.Snapshot(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("from snapshot %d: other models, %v", i, err)
		}
	}
}

// TestAMaintenanceThatEndsEarlyLearnsFromThenOn: the newest word on it counts, an older or repeated one changes
// nothing.
func TestAMaintenanceThatEndsEarlyLearnsFromThenOn(t *testing.T) {
	f := newTended(fanwatch.Device{})
	f.runs(time.Hour, 1)
	from := f.at
	said := pauseRecord("a", from, from.Add(worked), from)
	f.say(said)
	f.runs(10*time.Minute, 2)
	if f.fans["a"].kept == nil {
		t.Fatal("it learns")
	}
	f.say(pauseRecord("a", from, f.at, f.at))
	f.say(said)
	f.runs(time.Minute, 3)
	if f.fans["a"].kept != nil || len(f.fans["a"].st.Pauses) != 1 {
		t.Fatalf("it does not learn: %+v", f.fans["a"].st.Pauses)
	}
	f.say(pauseRecord("a", f.at.Add(time.Hour), f.at.Add(time.Hour), f.at)) // cancelled before it began
	for range keptPauses + 5 {
		f.at = f.at.Add(time.Hour)
		f.say(pauseRecord("a", f.at, f.at.Add(worked), f.at)) // overlapping
	}
	f.runs(time.Minute, 4)
	if got := f.fans["a"].st.Pauses; len(got) != keptPauses || f.fans["a"].kept == nil {
		t.Errorf("%d pauses, %v", len(got), f.fans["a"].kept)
	}
	f.at = f.at.Add(pauseFor + worked + time.Hour)
	f.say(pauseRecord("a", f.at, f.at.Add(worked), f.at))
	if got := f.fans["a"].st.Pauses; len(got) != 1 {
		t.Errorf("%d pauses are kept for ever", len(got))
	}
	f.say(pauseRecord("unknown", f.at, f.at.Add(worked), f.at))
}

// TestWhatIsChangedInAMaintenanceStays: a device, a relearning, and a verdict on trouble of before; a verdict on what
// the work itself showed ends with it.
func TestWhatIsChangedInAMaintenanceStays(t *testing.T) {
	f := newTended(fanwatch.Device{})
	f.runs(26*time.Hour, 1)
	f.say(pauseRecord("a", f.at, f.at.Add(worked+time.Hour), f.at))
	since := f.at
	f.work()
	label := func(from time.Time, by string) {
		data, err := fanwatch.EncodeLabel(fanwatch.Label{V: 1, Fan: "a", Alert: "alert/a/speed/" + by,
			Kind: fanwatch.KindSpeed, Normal: true, From: from, By: by, At: f.at})
		if err != nil {
			t.Fatal(err)
		}
		f.say(data)
	}
	levels := func() string { return fmt.Sprint(f.fans["a"].judge.Facts()) }
	kept := f.fans["a"].kept
	before, _ := kept.judge.MarshalBinary()
	label(since.Add(time.Hour), "ada")
	if after, _ := kept.judge.MarshalBinary(); !bytes.Equal(before, after) {
		t.Errorf("a verdict on the work is kept: %s", levels())
	}
	device := fanwatch.Device{V: 1, Fan: "a", Revision: 5, Relearn: 1, Limits: fanwatch.Limits{MinRPM: 1000}}
	data, _ := fanwatch.EncodeDevice(device)
	f.say(data)
	f.at = f.at.Add(time.Minute)
	if r := f.read(1800); r.Judged.Expected != 0 {
		t.Errorf("what was usual came back: %+v", r.Judged)
	}
	f.read(500)
	if r := f.read(500); r.Anomaly != fanwatch.KindUnderspeed {
		t.Errorf("the limit is forgotten: %+v", r)
	}
}

// TestReadingsOfAMaintenanceThatComeLateAreNotLearned: they came out of a spool, after newer ones of another run.
func TestReadingsOfAMaintenanceThatComeLateAreNotLearned(t *testing.T) {
	f, other := newTended(fanwatch.Device{}), newTended(fanwatch.Device{})
	f.runs(6*time.Hour, 1)
	other.runs(6*time.Hour, 1)
	from := f.at
	f.say(pauseRecord("a", from, from.Add(worked), from))
	f.at, other.at = from.Add(worked), from.Add(worked)
	other.runs(time.Hour, 2)
	f.runs(time.Hour, 2)
	var late []fanwatch.WireReading
	for i := range uint64(100) {
		late = append(late, fanwatch.WireReading{Seq: 1 + i, RPM: 2600, Jitter: 0.01, State: fanwatch.StateRunning,
			T: from.Add(time.Duration(i+1) * 10 * time.Second).UnixMicro()})
	}
	f.say(rule(fanwatch.Batch{V: 1, Fan: "a", Run: fanwatch.FormatRun(9), Readings: late}, "a"))
	if f.fans["a"].kept == nil {
		t.Fatal("they are learned")
	}
	got, want := f.runs(time.Hour, 3), other.runs(time.Hour, 3)
	for i := recoverInARow; i < len(got); i++ { // the trouble that they showed ends first
		if got[i].Judged != want[i].Judged {
			t.Fatalf("reading %d: %+v, want %+v", i, got[i].Judged, want[i].Judged)
		}
	}
}
