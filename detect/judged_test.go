package detect

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// legacyAt publishes an object in the legacy format with any TIME, one second after the record before.
func (f *feed) legacyAt(fan, client string, at time.Time, layout string, rpm float64) Output {
	return f.record(fmt.Appendf(nil, `{"TIME":%q,"FANID":%q,"RPM":%v,"client":%q}`, at.Format(layout), fan, rpm, client))
}

// now is the arrival of the next record.
func (f *feed) now() time.Time { return start.Add(time.Duration(f.seq+1) * time.Second) }

// one publishes one reading of a run.
func (f *feed) one(fan string, run, seq uint64, rpm float64) Output {
	r := fanwatch.WireReading{Seq: seq, RPM: rpm, T: f.now().UnixMicro()}
	if rpm == 0 {
		r.State = fanwatch.StateStalled
	}
	return f.batch(fan, run, r)
}

func (f *feed) kinds() string {
	var all []string
	for _, o := range f.obs {
		all = append(all, string(o.Anomaly.Kind))
	}
	return strings.Join(all, ".")
}

// TestTheRunThatLivesIsJudged, whatever another run said or had refused, before or between.
func TestTheRunThatLivesIsJudged(t *testing.T) {
	for name, other := range map[string]func(f *feed){
		"nothing":     func(*feed) {},
		"one reading": func(f *feed) { f.one("a", 2, 1, 1800) },
		"one refused": func(f *feed) { f.one("a", 2, 1, -1) },
		"one of its own refused, far ahead in its order": func(f *feed) {
			f.one("a", 1, math.MaxUint64, 1800)
			f.one("a", 1,
				1<<62, -1)
		},
		"one in the legacy format": func(f *feed) { f.legacy("a", "a", 1800) },
		"another publisher for six seconds": func(f *feed) {
			for i := range uint64(6) {
				f.one("a", 2, 1+i, 1810)
				f.one("a", 1, 301+i, 1800)
			}
		},
	} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		for seq := range uint64(300) {
			f.one("a", 1, 1+seq, 1800)
		}
		other(f)
		f.obs = nil
		out := f.one("a", 1, 400, 0)
		if out.Rows[0].Kind != fanwatch.RowScored || f.kinds() != "stall" {
			t.Errorf("%s: the stall of the run that lives gives %+v, %q", name, out.Rows, f.kinds())
		}
	}
}

// TestTwoPublishersAreNamed, when they take turns, and until they do no more; a stall is told before.
func TestTwoPublishersAreNamed(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a", Clients: []string{"b"}})
	for i := range uint64(10) {
		f.one("a", 0xa1, 1+i, 1800)
		f.batch("a", 0xb2, fanwatch.WireReading{Seq: 1 + i, RPM: 1800})
	}
	if f.kinds() != "publishers" || !strings.Contains(f.obs[0].Anomaly.Why,
		`Two publishers speak for a: runs 00000000000000a1 and 00000000000000b2, clients "a" and "a".`) {
		t.Fatalf("%+v", f.obs)
	}
	f.one("a", 0xb2, 11, 0)
	f.one("a", 0xa1, 11, 1800)
	if f.kinds() != "publishers.stall" {
		t.Fatalf("a stall under two publishers: %+v", f.obs)
	}
	for i := range uint64(returnsWithin + recoverInARow) {
		f.one("a", 0xa1, 12+i, 1800)
	}
	if f.kinds() != "publishers.stall.." {
		t.Fatalf("after the other was stopped: %s", f.kinds())
	}

	clients := newFeed(fanwatch.Device{Fan: "a", Clients: []string{"b"}})
	for range 5 {
		clients.legacy("a", "a", 1800)
		clients.legacy("a", "b", 1800)
	}
	if clients.kinds() != "publishers" || !strings.Contains(clients.obs[0].Anomaly.Why, `clients "a" and "b"`) {
		t.Errorf("two clients: %+v", clients.obs)
	}
	clocks := newFeed(fanwatch.Device{Fan: "a"})
	for range 10 {
		clocks.legacyAt("a", "a", clocks.now(), time.RFC3339, 1800)
		clocks.legacyAt("a", "a", clocks.now().Add(-10*time.Minute), time.RFC3339, 1800)
	}
	if clocks.kinds() != "publishers" || !strings.Contains(clocks.obs[0].Anomaly.Why, `client "a" by two clocks`) {
		t.Errorf("two clocks: %+v", clocks.obs)
	}
}

// TestARestartIsNotTwoPublishers: the spool of the run before, then the new run, again and again, with a straggler;
// and readings of the legacy format that overtake each other.
func TestARestartIsNotTwoPublishers(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	for run := range uint64(20) {
		for seq := range uint64(7) {
			f.one("a", 1+run, 1+seq, 1800)
		}
		if run > 0 {
			f.one("a", run, 8, 1800) // was in flight when its publisher ended
		}
	}
	for range 50 {
		f.legacyAt("a", "a", f.now().Add(time.Second), time.RFC3339, 1800)
		f.legacyAt("a", "a", f.now().Add(-2*time.Second), time.RFC3339, 1800)
	}
	if len(f.obs) != 0 {
		t.Errorf("%+v", f.obs)
	}
}

// TestAClockThatIsPutBackIsFollowed: of the legacy format fewer than olderClockAfter readings are not judged, when and
// however far the clock goes back, and duplicates are still known.
func TestAClockThatIsPutBackIsFollowed(t *testing.T) {
	for _, back := range []time.Duration{2 * time.Second, time.Minute, time.Hour, 6 * time.Hour, 300 * 24 * time.Hour} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		for range 5000 { // more than are remembered
			f.legacy("a", "a", 1800)
		}
		late := 0
		for i := range 10 {
			at := f.now().Add(-back).Add(time.Second / 2)
			out := f.legacyAt("a", "a", at, time.RFC3339Nano, 1800)
			if out.Rows[0].Kind != fanwatch.RowScored {
				late++
			}
			if again := f.legacyAt("a", "a", at, time.RFC3339Nano, 1800); again.Duplicates != 1 {
				t.Fatalf("back by %s: reading %d came twice: %+v", back, i, again.Rows)
			}
		}
		if late >= olderClockAfter {
			t.Errorf("back by %s: %d readings not judged", back, late)
		}
		f.obs = nil
		f.legacyAt("a", "a", f.now().Add(-back).Add(time.Second/2), time.RFC3339Nano, 0)
		if f.kinds() != "stall" {
			t.Errorf("back by %s: the stall gives %q", back, f.kinds())
		}
	}
}

// TestTheHourThatAutumnRepeatsIsJudged: with TIME without zone, in whole seconds, each reading of both passes is
// judged at once.
func TestTheHourThatAutumnRepeatsIsJudged(t *testing.T) {
	for zone, change := range map[string]time.Time{"Europe/Berlin": time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC),
		"America/New_York": time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), "Australia/Sydney": time.Date(2026, 4, 4, 16, 0, 0,
			0, time.UTC)} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip("no zone database on this machine: ", err)
		}
		f := newFeed(fanwatch.Device{Fan: "a", Zone: zone})
		stalled := change.Add(30 * time.Minute)
		for at := change.Add(-90 * time.Minute); at.Before(change.Add(2 * time.Hour)); at = at.Add(10 * time.Second) {
			rpm := 1800.0
			if at.After(stalled) && at.Before(stalled.Add(10*time.Minute)) {
				rpm = 0
			}
			out := f.record(fmt.Appendf(nil, `{"TIME":%q,"FANID":"a","RPM":%v,"client":"a","arrived":%d}`,
				at.In(loc).Format("2006-01-02T15:04:05"), rpm, at.UnixMilli()+100))
			if len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored || !out.Rows[0].Time.Equal(at) {
				t.Fatalf("%s, %s: %+v, %d duplicates", zone, at, out.Rows, out.Duplicates)
			}
		}
		if len(f.obs) != 2 || f.obs[0].Anomaly.Kind != fanwatch.KindStall || f.obs[0].Time.Sub(stalled) > 10*time.Second {
			t.Errorf("%s: %+v", zone, f.obs)
		}
	}
}

// TestRecordsOfPublicReportsAreJudged feeds records made after public reports: nothing is refused, and what stops
// or spikes is judged rightly.
func TestRecordsOfPublicReportsAreJudged(t *testing.T) {
	for _, c := range []struct {
		file, zone, kinds string
		unjudged          int
	}{
		{"01-fold-Europe_Berlin.ndjson", "Europe/Berlin", "stall", 0},
		{"02-clock-back-then-stall.ndjson", "", "stall", olderClockAfter - 1},
		{"07-one-spike-among-the-first-30.ndjson", "", "", 0},
	} {
		data, err := os.ReadFile(filepath.Join("..", "..", "shared", "faults", c.file))
		if err != nil {
			t.Skip("the reports' records are not on this machine: ", err)
		}
		f := newFeed(fanwatch.Device{Fan: "ABC123456", Clients: []string{"new_Client"}, Zone: c.zone})
		unjudged := 0
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			for _, row := range f.record(lines.Bytes()).Rows {
				if row.Kind != fanwatch.RowScored {
					unjudged++
				}
			}
		}
		if f.kinds() != c.kinds || unjudged > c.unjudged {
			t.Errorf("%s: %q, %d unjudged, want %q and at most %d", c.file, f.kinds(), unjudged, c.kinds, c.unjudged)
		}
	}
}

// TestARefusedReadingLeavesNoTrace: a good one with the same identity is judged afterwards.
func TestARefusedReadingLeavesNoTrace(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	ahead := f.now().Add(6 * time.Minute)
	if out := f.legacyAt("a", "a", ahead, time.RFC3339, 1800); out.Rows[0].Kind != fanwatch.RowQuarantined {
		t.Fatalf("%+v", out.Rows)
	}
	f.seq += 360
	if out := f.legacyAt("a", "a", ahead, time.RFC3339, 1800); len(out.Rows) != 1 ||
		out.Rows[0].Kind != fanwatch.RowScored {
		t.Errorf("%+v, %d duplicates", out.Rows, out.Duplicates)
	}
	f.one("a", 1, 5, -1)
	for _, seq := range []uint64{3, 5} {
		if out := f.one("a", 1, seq, 1800); len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored {
			t.Errorf("%d: %+v, %d duplicates", seq, out.Rows, out.Duplicates)
		}
	}
}

// TestOneRowStandsForARefusedRecord, beside those that were accepted, with the numbers of all that were refused.
func TestOneRowStandsForARefusedRecord(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	var batch []fanwatch.WireReading
	for seq := range uint64(60) {
		r := fanwatch.WireReading{Seq: 1 + seq, RPM: 1800}
		if seq%10 == 3 || seq >= 50 {
			r.State = "turning"
		}
		batch = append(batch, r)
	}
	out := f.batch("a", 1, batch...)
	var bad []fanwatch.Row
	for _, row := range out.Rows {
		if row.Kind == fanwatch.RowQuarantined {
			bad = append(bad, row)
		}
	}
	if len(out.Rows) != 46 || len(bad) != 1 || bad[0].Refused != 15 || bad[0].Seq != 4 || bad[0].Position.Index != 3 ||
		!strings.Contains(bad[0].Reason, `state "turning" is none of`) ||
		!strings.Contains(bad[0].Reason, "14 readings, numbers 14, 24, 34, 44, 51-60") {
		t.Errorf("%d rows, %+v", len(out.Rows), bad)
	}
	if !slices.IsSortedFunc(out.Rows, func(a, b fanwatch.Row) int { return a.Position.Compare(b.Position) }) {
		t.Error("the rows are not in order")
	}
	for record, refused := range map[string]uint32{
		`{"v":1,"fan":"a","run":"01","client":"x","readings":[{"seq":1},{"seq":2}]}`:       2,
		`{"v":1,"fan":"a","run":"0","client":"a","readings":[{"seq":1},{"seq":2}]}`:        2,
		`{"v":1,"fan":"a","run":"01","client":"a","readings":[{"seq":"x"},{"seq":2},{}]}`:  3,
		`{"v":1,"fan":"none","run":"01","client":"none","readings":[{"seq":1},{"seq":2}]}`: 2,
		`nothing`: 1,
	} {
		if out := f.record([]byte(record)); len(out.Rows) != 1 || out.Rows[0].Refused != refused {
			t.Errorf("%s: %+v, want one row for %d", record, out.Rows, refused)
		}
	}
	// Numbers all over the place are listed to a bounded length.
	batch = batch[:0]
	for seq := range uint64(500) {
		batch = append(batch, fanwatch.WireReading{Seq: math.MaxUint64 - 2*seq, RPM: -1})
	}
	if out := f.batch("a", 1, batch...); len(out.Rows) != 1 || out.Rows[0].Refused != 500 ||
		len(out.Rows[0].Reason) > 400 || !strings.Contains(out.Rows[0].Reason, " and 491 more") {
		t.Errorf("%d rows, %+v", len(out.Rows), out.Rows[0])
	}
}

// TestRefusedReadingsTakeLittleMemory: 1.5 MiB of records with 200,000 empty readings came to 857 MiB.
func TestRefusedReadingsTakeLittleMemory(t *testing.T) {
	record := []byte(`{"v":1,"fan":"a","run":"01","client":"a","readings":[` + strings.Repeat("{},", fanwatch.MaxBatch-1) +
		`{}]}`)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	f := newFeed(fanwatch.Device{Fan: "a"})
	before := heap()
	for range 400 {
		f.record(record)
	}
	grown := heap() - before
	t.Logf("200,000 refused readings in %d bytes of records hold %d bytes in %d rows", 400*len(record), grown, len(f.all))
	if grown > 3<<20 || len(f.all) > 402 {
		t.Errorf("%d bytes, %d rows", grown, len(f.all))
	}
	runtime.KeepAlive(f)
}

// TestATimeWithoutZoneNamesTheZone when it is off by a whole number of quarter hours, and far years are written in
// years.
func TestATimeWithoutZoneNamesTheZone(t *testing.T) {
	for _, c := range []struct {
		off    time.Duration
		layout string
		want   string
	}{
		{9 * time.Hour, "2006-01-02T15:04:05", "9h0m0s ahead of its arrival: it bears no zone and was read as UTC; " +
			"name the one in which the publisher writes it (fanwatch configure a --zone Area/City)"},
		{5*time.Hour + 45*time.Minute - 40*time.Second, "2006-01-02 15:04:05", "--zone Area/City"},
		{9 * time.Hour, time.RFC3339, "9h0m0s ahead of its arrival: set the publisher's clock"},
		{7*time.Minute + 30*time.Second, "2006-01-02T15:04:05", "set the publisher's clock"},
		{40 * time.Hour, "2006-01-02T15:04:05", "40h0m0s ahead of its arrival: set the publisher's clock"},
		{80 * 24 * time.Hour, "2006-01-02T15:04:05", "80 days ahead"},
	} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		out := f.legacyAt("a", "a", f.now().Add(c.off), c.layout, 1)
		if len(out.Rows) != 1 || !strings.Contains(out.Rows[0].Reason, c.want) {
			t.Errorf("%s: %+v, want %q", c.off, out.Rows, c.want)
		}
	}
	f := newFeed(fanwatch.Device{Fan: "a"})
	if out := f.record([]byte(`{"TIME":"9999-12-31T23:59:59Z","FANID":"a","RPM":1,"client":"a"}`)); !strings.Contains(
		out.Rows[0].Reason, "is 7973 years ahead") {
		t.Errorf("%+v", out.Rows)
	}
	if out := f.record([]byte(`{"TIME":"1970-01-01T00:00:00Z","FANID":"a","RPM":1,"client":"a"}`)); !strings.Contains(
		out.Rows[0].Reason, "more than a year before") {
		t.Errorf("%+v", out.Rows)
	}
}

// TestReplayGoesOnBehindAnotherScore: what stands behind it takes effect, and the first that differs is told.
func TestReplayGoesOnBehindAnotherScore(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	for range 5 {
		f.legacy("a", "a", 1800)
	}
	data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 1, Fan: "b"})
	if err != nil {
		t.Fatal(err)
	}
	f.record(data)
	f.one("b", 1, 1, 0)
	rows := slices.Clone(f.all)
	rows[2].Score = 7
	rows = slices.Insert(rows, 4, fanwatch.Row{Kind: fanwatch.RowScored,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "unknown", Run: 1, Seq: 1}}},
		fanwatch.Row{Kind: fanwatch.RowConfigured, Payload: []byte("damaged")})
	m := New(Config{Seed: 7})
	err = m.Replay(rows)
	if err == nil || !strings.Contains(err.Error(), "landed 7") || !strings.Contains(err.Error(), ErrDiverged.Error()) {
		t.Errorf("%v", err)
	}
	if o, ok := m.Last("b"); !ok || o.Anomaly.Kind != fanwatch.KindStall {
		t.Errorf("what stood behind is lost: %+v", o)
	}
	want, _ := f.Snapshot()
	if got, _ := m.Snapshot(); !bytes.Equal(got, want) {
		t.Error("the models differ from those of the undisturbed run")
	}
}

// TestANewerDeviceUnlocksARetiredFan, an older or equal one changes nothing.
func TestANewerDeviceUnlocksARetiredFan(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	configure := func(revision int, retired bool) {
		data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: revision, Fan: "a", Retired: retired})
		if err != nil {
			t.Fatal(err)
		}
		f.record(data)
	}
	configure(5, true)
	for _, c := range []struct {
		revision int
		retired  bool
		want     fanwatch.RowKind
	}{{4, false, fanwatch.RowQuarantined}, {5, false, fanwatch.RowQuarantined}, {1_796_000_000, false, fanwatch.RowScored},
		{1_796_000_000, true, fanwatch.RowScored}} {
		configure(c.revision, c.retired)
		if out := f.legacy("a", "a", 1800); out.Rows[0].Kind != c.want {
			t.Errorf("revision %d: %+v", c.revision, out.Rows)
		}
	}
}

// TestRunsAreForgottenByTheirLastWord, and times by their distance from the clock that is followed.
func TestRunsAreForgottenByTheirLastWord(t *testing.T) {
	var s seen
	for run := range uint64(3 * maxRuns) {
		s.add(fanwatch.ReadingID{Run: 1, Seq: 1 + run}, true)
		s.add(fanwatch.ReadingID{Run: 2 + run, Seq: 1}, true)
	}
	if r := s.run(1); len(s.Runs) != maxRuns || r == nil || r.top() != 3*maxRuns {
		t.Errorf("%d runs, the one that lives: %+v", len(s.Runs), r)
	}
	gaps := 0
	for run := range uint64(12) {
		for seq := range uint64(maxIntervals - 1) {
			s.add(fanwatch.ReadingID{Run: 1e9 + run, Seq: 1 + 2*seq}, true)
		}
	}
	for _, r := range s.Runs {
		gaps += len(r.Have)
	}
	if gaps > maxGaps+maxIntervals || s.Runs[len(s.Runs)-1].Run != 1e9+11 {
		t.Errorf("%d gaps in %d runs", gaps, len(s.Runs))
	}
	for at := range uint64(2 * maxTimes) {
		s.add(fanwatch.ReadingID{Seq: 1_000_000 + at}, true)
	}
	s.add(fanwatch.ReadingID{Seq: 5}, false) // late, alone: forgotten rather than a newer one
	if err := s.check(); err != nil || len(s.Times) != maxTimes || s.has(fanwatch.ReadingID{Seq: 5}) ||
		!s.has(fanwatch.ReadingID{Seq: 1_000_000 + 2*maxTimes - 1}) {
		t.Errorf("%v, %d times", err, len(s.Times))
	}
	for at := range uint64(100) {
		s.add(fanwatch.ReadingID{Seq: 10 + at}, true)
	}
	if err := s.check(); err != nil || len(s.Times) != maxTimes || !s.has(fanwatch.ReadingID{Seq: 10}) ||
		!s.has(fanwatch.ReadingID{Seq: 109}) {
		t.Errorf("%v, %d times", err, len(s.Times))
	}
}
