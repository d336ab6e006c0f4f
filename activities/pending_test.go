package activities

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// watcher is a shard as pendingObservations sees it: records come, every second is judged, and what is told reaches
// workflows that ignore old news.
type watcher struct {
	t       *testing.T
	models  *detect.Models
	pending pendingObservations
	now     time.Time
	behind  time.Duration
	seq     int
	rows    []fanwatch.Row
	holds   map[string]fanwatch.Observation // what each fan's workflow holds, by fan and family
	told    []fanwatch.Observation          // that it took for news
	sent    int
}

func newWatcher(t *testing.T, fans ...fanwatch.Device) *watcher {
	w := &watcher{t: t, models: detect.New(detect.Config{Trees: 2, SampleSize: 16}), now: begin,
		holds: map[string]fanwatch.Observation{}}
	w.pending = newPending(w.now)
	for _, d := range fans {
		w.device(d)
	}
	return w
}

func (w *watcher) record(data []byte) detect.Output {
	w.seq++
	out := w.models.Feed(detect.Input{Position: fanwatch.Position{Shard: "s",
		Sequence: fanwatch.SequenceNumber(fmt.Sprint(1000 + w.seq))}, Arrived: w.now.Add(-w.behind), Data: data})
	w.rows = append(w.rows, out.Rows...)
	w.pending.add(w.models, out, w.now)
	return out
}

func (w *watcher) device(d fanwatch.Device) {
	d.V = fanwatch.DeviceVersion
	d.Revision = max(d.Revision, 1)
	data, err := fanwatch.EncodeDevice(d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.record(data)
}

// reading publishes an object in the legacy format that was measured at.
func (w *watcher) reading(fan string, at time.Time, rpm any) detect.Output {
	return w.record(fmt.Appendf(nil, `{"TIME":%q,"FANID":%q,"RPM":%v,"client":%q}`, at.Format(time.RFC3339Nano), fan, rpm,
		fan))
}

// batch publishes one reading, behind which backlog others wait.
func (w *watcher) batch(fan string, seq uint64, backlog uint64, r fanwatch.WireReading) {
	r.Seq, r.T = seq, w.now.Add(-time.Duration(backlog)*time.Second).UnixMicro()
	data, err := json.Marshal(struct {
		fanwatch.Batch
		Client string `json:"client"`
	}{fanwatch.Batch{V: 1, Fan: fan, Run: fanwatch.FormatRun(5), Backlog: backlog, Readings: []fanwatch.WireReading{r}},
		fan})
	if err != nil {
		w.t.Fatal(err)
	}
	w.record(data)
}

// second lets a second pass: each is called, everything on the shard is read, and silence judged.
func (w *watcher) seconds(n int, each func()) {
	for range n {
		w.now = w.now.Add(time.Second)
		if each != nil {
			each()
		}
		w.pending.silence(w.models, w.now, w.now.Add(-w.behind))
		w.tell()
	}
}

func (w *watcher) tell() {
	for _, o := range w.pending.dequeue(w.now, false) {
		w.sent++
		families := []fanwatch.Family{o.Of()}
		if families[0] == "" {
			families = fanwatch.Families()
		}
		news := false
		for _, family := range families {
			key := o.Fan + "/" + string(family)
			was, held := w.holds[key]
			if !o.After(was) {
				continue
			}
			w.holds[key] = o
			news = news || !held || was.Anomaly.Kind != o.Anomaly.Kind || was.Anomaly.Cause != o.Anomaly.Cause
		}
		if news {
			w.told = append(w.told, o)
		}
	}
}

// restart begins another attempt from the rows that were landed, keep of them.
func (w *watcher) restart(keep int) {
	w.models = detect.New(detect.Config{Trees: 2, SampleSize: 16})
	if err := w.models.Replay(w.rows[:keep]); err != nil {
		w.t.Fatal(err)
	}
	w.pending = newPending(w.now)
}

// history gives what was told, each as kind/cause, without what only said again what was known.
func (w *watcher) history() string {
	var all []string
	for _, o := range w.told {
		s := string(o.Anomaly.Kind)
		if o.Anomaly.Kind == fanwatch.KindNone {
			s = "normal"
		}
		if o.Anomaly.Cause != "" {
			s += "/" + string(o.Anomaly.Cause)
		}
		if len(all) == 0 || all[len(all)-1] != s {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

func (w *watcher) expect(history, why string) {
	w.t.Helper()
	if got := w.history(); got != history {
		w.t.Errorf("told %q, want %q", got, history)
	}
	if len(w.told) == 0 {
		return
	}
	if got := w.told[len(w.told)-1].Anomaly.Why; !strings.Contains(got, why) {
		w.t.Errorf("the last sentence is %q, want one with %q", got, why)
	}
}

func (w *watcher) normal(fan string) func() { return func() { w.reading(fan, w.now, 1800) } }

// TestSilenceTellsItsTrueCause and tells it again when it changes.
func TestSilenceTellsItsTrueCause(t *testing.T) {
	t.Run("nothing arrives", func(t *testing.T) {
		w := newWatcher(t, fanwatch.Device{Fan: "a"})
		w.seconds(10, w.normal("a"))
		w.seconds(29, nil)
		w.expect("normal", "")
		w.seconds(31, nil)
		w.expect("normal silent/nothing-arrives", "a has sent no reading for 30s: its publisher, its power or its "+
			"network is down.")
	})
	t.Run("refused", func(t *testing.T) {
		w := newWatcher(t, fanwatch.Device{Fan: "a"})
		w.seconds(10, w.normal("a"))
		w.seconds(45, func() { w.reading("a", w.now.Add(time.Hour), 1800) })
		w.expect("normal silent/refused", "a is not judged: its readings arrive and are refused, 30 in 29s, such as: "+
			"time 2026-05-28T21:00:40Z is 1h0m0s ahead of its arrival")
		w.seconds(299, nil)
		w.expect("normal silent/refused", "")
		w.seconds(10, nil)
		w.expect("normal silent/refused silent/nothing-arrives", "a has sent no reading for 5m0s")
		w.seconds(1, func() { w.reading("a", w.now.Add(time.Hour), 1800) })
		w.expect("normal silent/refused silent/nothing-arrives silent/refused", "refused, 46 in 5m")
		w.seconds(2, w.normal("a"))
		w.expect("normal silent/refused silent/nothing-arrives silent/refused normal", "")
	})
	t.Run("by a client that does not own it, from the beginning", func(t *testing.T) {
		w := newWatcher(t, fanwatch.Device{Fan: "a"})
		w.seconds(60, func() {
			w.record(fmt.Appendf(nil, `{"TIME":%q,"FANID":"a","RPM":0,"client":"other"}`, w.now.Format(time.RFC3339)))
		})
		w.expect("silent/refused", `client "other" does not own fan a`)
	})
	t.Run("old, behind newer ones", func(t *testing.T) {
		w := newWatcher(t, fanwatch.Device{Fan: "a"})
		w.seconds(10, w.normal("a"))
		back := time.Hour
		w.seconds(40, func() {
			back += 2 * time.Second // never in order, so that this is no clock that can be followed
			w.reading("a", w.now.Add(-back), 0)
		})
		w.expect("normal silent/old", "a is not judged as it is now: its readings arrive but were measured 1h1m0s "+
			"before; a spool drains or its clock went back.")
	})
	t.Run("old, of a spool", func(t *testing.T) {
		w := newWatcher(t, fanwatch.Device{Fan: "a"})
		w.seconds(5, func() { w.batch("a", uint64(w.seq), 0, fanwatch.WireReading{RPM: 1800, State: fanwatch.StateRunning}) })
		w.seconds(60, nil)
		backlog := uint64(3600)
		drain := func(state fanwatch.State) func() {
			return func() {
				backlog -= 60
				r := fanwatch.WireReading{State: state}
				if state == fanwatch.StateRunning {
					r.RPM = 1800
				}
				w.batch("a", uint64(w.seq), backlog, r)
			}
		}
		w.seconds(20, drain(fanwatch.StateRunning))
		w.expect("normal silent/nothing-arrives silent/old", "were measured 59m0s before")
		w.seconds(5, drain(fanwatch.StateStalled)) // what old readings show is told beside it
		w.expect("normal silent/nothing-arrives silent/old stall", "has stopped")
		w.seconds(20, drain(fanwatch.StateRunning)) // but that it ended then does not say that all is well now
		w.expect("normal silent/nothing-arrives silent/old stall", "has stopped")
		w.seconds(2, func() { w.batch("a", uint64(w.seq), 0, fanwatch.WireReading{RPM: 1800, State: fanwatch.StateRunning}) })
		w.expect("normal silent/nothing-arrives silent/old stall normal", "")
	})
	t.Run("never", func(t *testing.T) {
		w := newWatcher(t)
		w.seconds(100, nil)
		w.device(fanwatch.Device{Fan: "a"})
		w.seconds(29, nil)
		w.expect("", "")
		w.seconds(3, nil)
		w.expect("silent/never-reported", "a has not reported since it was provisioned at 2026-05-28T20:01:40Z.")
		o := w.told[0]
		if o.Fan != "a" || o.V != fanwatch.ObservationVersion || o.Position.Sequence == "" || o.At.IsZero() ||
			o.Time.IsZero() {
			t.Errorf("%+v", o)
		}
		w.seconds(2, w.normal("a"))
		w.expect("silent/never-reported normal", "")
	})
}

// TestSilenceEndsWithTheFirstReadingThatIsJudged, and not with a late one, which leaves the workflow where it is.
func TestSilenceEndsWithTheFirstReadingThatIsJudged(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "a"})
	w.seconds(10, w.normal("a"))
	w.seconds(40, nil)
	w.seconds(1, func() { w.reading("a", begin.Add(time.Second/2), 1800) })
	w.expect("normal silent/nothing-arrives silent/old", "")
	w.seconds(600, w.normal("a"))
	w.expect("normal silent/nothing-arrives silent/old normal", "")
}

// TestWhatAnEarlierAttemptToldIsOvertaken: an attempt that reads again what another had read tells older news, which
// a workflow ignores; with what is new it tells the state again.
func TestWhatAnEarlierAttemptToldIsOvertaken(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "a"})
	w.seconds(10, w.normal("a"))
	keep := len(w.rows)
	w.seconds(1, func() { w.reading("a", w.now.Add(time.Hour), 1800) })
	w.seconds(40, nil)
	w.expect("normal silent/refused", "")
	silent := w.seq
	w.restart(keep - 3)
	w.seq, w.behind = keep-3, 50*time.Second
	w.seconds(3, w.normal("a")) // again, though these carry other times
	w.expect("normal silent/refused", "")
	sent := w.sent
	w.seq, w.behind = silent, 0
	w.seconds(60, w.normal("a"))
	w.expect("normal silent/refused normal", "")
	if w.sent > sent+1 {
		t.Errorf("%d were told again", w.sent-sent)
	}
}

// TestAScorerThatRestartsEvery20SecondsTellsSilence: the time of the newest reading judged, or of the provisioning,
// outlives it.
func TestAScorerThatRestartsEvery20SecondsTellsSilence(t *testing.T) {
	for name, want := range map[string]string{"a": "normal silent/nothing-arrives", "never": "silent/never-reported"} {
		w := newWatcher(t, fanwatch.Device{Fan: name})
		if name == "a" {
			w.seconds(3, w.normal("a"))
		}
		for range 4 {
			w.restart(len(w.rows))
			w.seconds(20, nil)
		}
		w.expect(want, "")
	}
}

// TestSilenceIsJudgedByWhatWasRead: a scorer that has not read yet or is behind knows nothing of what waits, and one
// that stays behind by some seconds tells silence all the same.
func TestSilenceIsJudgedByWhatWasRead(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "a"})
	w.seconds(5, w.normal("a"))
	w.now = w.now.Add(time.Hour)
	w.pending.silence(w.models, w.now, time.Time{})
	w.pending.silence(w.models, w.now, begin.Add(20*time.Second))
	w.tell()
	w.expect("normal", "")
	w.restart(len(w.rows)) // an hour later; what arrived in it waits
	for w.behind = time.Hour; w.behind > 0; w.behind -= time.Minute {
		w.seconds(1, func() { w.reading("a", w.now.Add(-w.behind), 1800) })
	}
	if strings.Contains(w.history(), "silent") {
		t.Fatalf("told %q while catching up", w.history())
	}
	w.seconds(40, func() { w.behind = 7 * time.Second })
	if !strings.HasSuffix(w.history(), "silent/nothing-arrives") {
		t.Errorf("told %q, always 7 s behind", w.history())
	}
}

func TestRetiredFansAndThoseWithoutSilenceAreNeverSilent(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "retired"}, fanwatch.Device{Fan: "without", Silence: -1})
	w.device(fanwatch.Device{Fan: "retired", Revision: 2, Retired: true})
	w.seconds(600, nil)
	w.expect("", "")
	if n := w.pending.watched(w.models); n != 1 {
		t.Errorf("%d active", n)
	}
	w.device(fanwatch.Device{Fan: "retired", Revision: 3})
	w.seconds(29, nil)
	w.expect("", "")
	w.seconds(2, nil)
	w.expect("silent/never-reported", "provisioned at 2026-05-28T20:10:00Z")
}

func TestUnjudgedFansAreListed(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "a"}, fanwatch.Device{Fan: "b"}, fanwatch.Device{Fan: "never"},
		fanwatch.Device{Fan: "gone"})
	w.device(fanwatch.Device{Fan: "gone", Revision: 2, Retired: true})
	w.seconds(5, func() { w.reading("b", w.now, 1800) })
	w.seconds(10, func() {
		w.reading("a", w.now, 1800)
		w.reading("b", w.now.Add(time.Hour), 1800)
	})
	check := func() {
		t.Helper()
		got := w.pending.unjudged(w.models, w.now)
		if len(got) != 2 || got[0] != (Unjudged{Fan: "never"}) ||
			got[1] != (Unjudged{Fan: "b", Since: begin.Add(5 * time.Second)}) {
			t.Errorf("%+v", got)
		}
	}
	check()
	w.restart(len(w.rows))
	w.seconds(1, w.normal("a"))
	check()
}

// TestSilenceOf9000FansIsCheap: a shard's fans are looked at five times a second.
func TestSilenceOf9000FansIsCheap(t *testing.T) {
	w := newWatcher(t)
	for i := range 9000 {
		w.device(fanwatch.Device{Fan: fmt.Sprintf("fan-%04d", i)})
	}
	w.seconds(31, nil)
	if got := len(w.pending.unjudged(w.models, w.now)); got != MaxUnjudged {
		t.Errorf("%d unjudged", got)
	}
	began := time.Now()
	allocations := testing.AllocsPerRun(20, func() {
		w.now = w.now.Add(silenceEvery)
		w.pending.silence(w.models, w.now, w.now)
	})
	t.Logf("silence of 9,000 fans: %s, %g allocations", time.Since(began)/21, allocations)
	if allocations > 20 {
		t.Errorf("%g allocations", allocations)
	}
}

// TestSilenceHidesNoTroubleAndTroubleNoSilence: the families of one fan are told apart, those of one reading at once.
func TestSilenceHidesNoTroubleAndTroubleNoSilence(t *testing.T) {
	w := newWatcher(t, fanwatch.Device{Fan: "a"})
	stalled := func() { w.reading("a", w.now, 0) }
	w.seconds(10, w.normal("a"))
	w.seconds(5, stalled)
	w.seconds(40, nil)
	w.expect("normal stall silent/nothing-arrives", "")
	if silent := w.told[len(w.told)-1]; silent.Family != fanwatch.FamilySource ||
		w.holds["a/speed"].Anomaly.Kind != fanwatch.KindStall {
		t.Errorf("the stall is hidden: %+v", silent)
	}
	sent := w.sent
	w.seconds(5, stalled)
	if w.sent != sent+1 || w.holds["a/source"].Anomaly.Kind != fanwatch.KindNone ||
		w.holds["a/speed"].Anomaly.Kind != fanwatch.KindStall {
		t.Errorf("%d were told when it spoke again: %+v", w.sent-sent, w.told[len(w.told)-1])
	}
	w.restart(len(w.rows))
	sent = w.sent
	w.seconds(1, stalled)
	if w.sent != sent+len(fanwatch.Families()) { // what is in trouble and what is not, side by side
		t.Errorf("%d were told after a restart", w.sent-sent)
	}
	w.seconds(20, w.normal("a"))
	w.restart(len(w.rows))
	sent = w.sent
	w.seconds(1, w.normal("a"))
	if w.sent != sent+1 || w.holds["a/drift"].Family != "" {
		t.Errorf("%d were told of a fan without trouble after a restart, want one for all families", w.sent-sent)
	}
}

// TestASuggestionIsSentWhenItComesAndGoes, in one observation each beside those of the nights, and with silence, which
// takes none away.
func TestASuggestionIsSentWhenItComesAndGoes(t *testing.T) {
	sent := func(nightly bool) (sent, with int, w *watcher) {
		w = newWatcher(t, fanwatch.Device{Fan: "a", Silence: -1, Kind: fanwatch.FanThreeWire})
		w.now = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
		for minute := range 5 * 24 * 60 {
			rpm := 1800 + minute%7
			if m := minute % (24 * 60); nightly && m > 16*60 {
				rpm = 0
			}
			w.reading("a", w.now, rpm)
			for _, o := range w.pending.dequeue(w.now, true) {
				if sent++; len(o.Suggestions) > 0 {
					with++
				}
			}
			w.now = w.now.Add(time.Minute)
		}
		return sent, with, w
	}
	if n, _, _ := sent(false); n != 1 {
		t.Errorf("of a normal fan %d observations are sent, want 1", n)
	}
	n, with, w := sent(true)
	// at the start; 5 nights and 4 mornings; the suggestion, after the third of these
	if n != 1+5+4+1 || with != 1+1+2+1 {
		t.Errorf("%d observations, %d with a suggestion", n, with)
	}
	w.device(fanwatch.Device{Fan: "a", Revision: 6, Silence: fanwatch.Duration(10 * time.Minute)})
	w.reading("a", w.now, 1800)
	w.pending.dequeue(w.now, true)
	w.pending.silence(w.models, w.now, w.now)
	w.now = w.now.Add(time.Hour)
	w.pending.silence(w.models, w.now, w.now)
	if silent := w.pending.dequeue(w.now, true); len(silent) != 1 || silent[0].Anomaly.Kind != fanwatch.KindSilent ||
		len(silent[0].Suggestions) != 1 {
		t.Errorf("silent: %+v", silent)
	}
	w.device(fanwatch.Device{Fan: "a", Revision: 7, Silence: -1, Hours: "06:00-22:00"})
	var last []fanwatch.Observation
	for range 10 {
		w.now = w.now.Add(time.Minute)
		w.reading("a", w.now, 1800)
		last = append(last, w.pending.dequeue(w.now, true)...)
	}
	if len(last) != 2 || len(last[1].Suggestions) != 0 { // the night ended, and so did the suggestion
		t.Errorf("after its hours were set: %+v", last)
	}
}
