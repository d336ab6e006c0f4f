package lake_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// counted is a lake whose clock is set, for counts.
type counted struct {
	world
	tables *lake.Tables
	logs   []landing.Log
	now    time.Time
	seq    int
	step   time.Duration // between readings; 0 = 1 s
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{now: midnight}
	c.world = openWorld(t, t.TempDir(), nil)
	c.tables = openTables(t, c.world, func(cfg *lake.TableConfig) { cfg.Now = func() time.Time { return c.now } })
	c.logs = []landing.Log{c.log(0)}
	return c
}

// land appends n readings of fan-a and commits them; the clock goes to the last.
func (c *counted) land(t *testing.T, n int, change func(*landing.Segment)) {
	t.Helper()
	s := window(c.seq, "fan-a", 7, 1+c.seq, n)
	c.seq += n
	for i := range s.Rows {
		if r := &s.Rows[i]; c.step > 0 {
			r.Time = midnight.Add(time.Duration(r.Seq) * c.step)
			r.Arrived = r.Time.Add(40 * time.Millisecond)
		}
	}
	c.now = s.Rows[n-1].Arrived.Add(time.Second)
	if change != nil {
		change(&s)
	}
	c.append(t, 0, s)
	c.commitAll(t)
}

func (c *counted) commitAll(t *testing.T) {
	t.Helper()
	for more := true; more; {
		r, err := c.tables.Commit(t.Context(), c.logs)
		if err != nil {
			t.Fatal(err)
		}
		more = r.More
	}
}

func (c *counted) count(t *testing.T, o lake.CountOptions) lake.CountResult {
	t.Helper()
	r, err := c.tables.Count(t.Context(), c.logs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want holds a count that goes on against one from the start, which must say the same.
func (c *counted) want(t *testing.T, segments, days int) lake.Account {
	t.Helper()
	r := c.count(t, lake.CountOptions{Keep: true})
	if r.FromStart || r.Segments != segments || r.Days != days {
		t.Errorf("read %d segments and %d days, want %d and %d; %s", r.Segments, r.Days, segments, days, r.Why)
	}
	all, err := lake.Reconcile(t.Context(), c.logs, c.tables.Table)
	if err != nil || !slices.Equal(r.Accounts, all) {
		t.Errorf("counted\n%+v, from the start\n%+v, %v", r.Accounts, all, err)
	}
	return r.Accounts[0]
}

// TestACountReadsWhatIsNew lets a lake go on for ten days, with compaction, dropped days, tombstones and readings that
// wait: each count reads the segments since the last and the days that changed, however long the log, and says what
// one from the start says.
func TestACountReadsWhatIsNew(t *testing.T) {
	c := newCounted(t)
	c.step = time.Minute
	c.land(t, 60, nil)
	if r := c.count(t, lake.CountOptions{Keep: true}); !r.FromStart || r.Why != "nothing was counted before" {
		t.Errorf("the first: %+v", r)
	}
	c.want(t, 0, 0)
	for day := range 10 {
		for range 4 {
			c.land(t, 6*60, nil)
		}
		// The day that the last reading reaches, and the one before, which compaction changed.
		if _, err := c.tables.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 2}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.tables.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a := c.want(t, 4, 2); !a.OK || a.Landed != c.seq || a.Table != c.seq {
			t.Errorf("day %d: %+v", day, a)
		}
	}
	if err := c.log(0).PutSnapshot(t.Context(), number(c.seq), []byte("model")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.tables.TruncateLog(t.Context(), c.log(0), 5*24*time.Hour); err != nil || n < 15 {
		t.Fatalf("%d tombstones, %v", n, err)
	}
	if _, err := c.tables.PlanDropPartitions(t.Context(), lake.Retention{Readings: 7 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if a, err := c.tables.Apply(t.Context()); err != nil || a.Retired != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	c.land(t, 100, func(s *landing.Segment) {
		s.Rows[5].Time = s.Rows[5].Time.Add(-30 * 24 * time.Hour) // of a day that is gone, and old enough to wait
		s.Rows[6].Time = s.Rows[6].Time.Add(-24 * time.Hour)
	})
	if a := c.want(t, 1, 2); !a.OK || a.Pending != 1 || a.Retired == 0 || a.Landed != c.seq {
		t.Errorf("%+v", a)
	}
}

// TestACountThatDoesNotFitBeginsFromTheStart: a lost file, another's rewriting and a damaged tally are found, and
// told by fan until they are mended.
func TestACountThatDoesNotFitBeginsFromTheStart(t *testing.T) {
	c := newCounted(t)
	c.land(t, 100, nil)
	c.count(t, lake.CountOptions{Keep: true})
	c.land(t, 50, nil)
	c.want(t, 1, 1)

	path := "state/stream=readings/count/tally.v1"
	data, err := c.store.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := c.store.Put(t.Context(), path, data, false); err != nil {
		t.Fatal(err)
	}
	if r := c.count(t, lake.CountOptions{Keep: true}); !r.FromStart || !strings.Contains(r.Why, "cannot be read") ||
		!r.Accounts[0].OK {
		t.Errorf("%+v", r)
	}
	c.want(t, 0, 0)

	first := live(t, c.world)[0]
	var rows []fanwatch.Row
	if err := c.table.Each(t.Context(), time.Time{}, time.Time{}, nil, func(r fanwatch.Row) error {
		rows = append(rows,
			r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rewrite(t, c.world, first.Path, first.Rows-3, withNote(t, rows[:first.Rows-3], nil))
	for range 2 { // the second, because it differed at the first
		r := c.count(t, lake.CountOptions{Keep: true})
		if a := r.Accounts[0]; !r.FromStart || a.OK || !a.Differs || a.Lost != 3 ||
			!strings.Contains(a.Verdict, "3 in the landing log and due, but not in the table") {
			t.Errorf("%+v", r)
		}
		c.now = c.now.Add(time.Hour)
	}
	if r := c.count(t, lake.CountOptions{FromStart: true}); !r.FromStart || r.Accounts[0].Lost != 3 {
		t.Errorf("%+v", r)
	}
}

// TestRefusedBatchesAreNoDifference: 10 batches of 60 readings that were refused are ten rows and 600 readings; the
// publisher says that they were acknowledged, and so they were.
func TestRefusedBatchesAreNoDifference(t *testing.T) {
	c := newCounted(t)
	c.land(t, 20, func(s *landing.Segment) {
		for i := range 10 {
			s.Rows[i] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
				Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-a"}}, Position: s.Rows[i].Position,
				Arrived: s.Rows[i].Arrived,
				Reason:  "fan fan-a is retired", Refused: 60, Acked: uint64(60 * i)}
		}
		for i := 10; i < 20; i++ {
			s.Rows[i].Seq, s.Rows[i].Acked = uint64(591+i), 600
		}
	})
	check := func(r lake.CountResult) {
		t.Helper()
		if a := r.Accounts[0]; len(r.Accounts) != 1 || !a.OK || a.Acknowledged != 600 || a.Landed != 10 ||
			a.Quarantined != 600 {
			t.Errorf("%+v", r)
		}
	}
	check(c.count(t, lake.CountOptions{Keep: true}))
	c.land(t, 1, func(s *landing.Segment) {
		s.Rows[0].Kind, s.Rows[0].Reading, s.Rows[0].Refused = fanwatch.RowQuarantined,
			fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "nobody's"}}, 7
	})
	if r := c.count(t, lake.CountOptions{Keep: true}); r.FromStart || len(r.Accounts) != 2 || r.Accounts[0].Fan != "" ||
		r.Accounts[0].Quarantined != 7 || !r.Accounts[0].OK {
		t.Errorf("%+v", r)
	}
	rows, err := c.tables.Quarantine(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(rows) != 11 || rows[0].Refused != 60 || rows[10].Refused != 7 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// TestRefusedReadingsCountForAFanThatIsProvisionedLater: what was refused before counts for the fan as soon as it
// is known.
func TestRefusedReadingsCountForAFanThatIsProvisionedLater(t *testing.T) {
	c := newCounted(t)
	c.land(t, 2, func(s *landing.Segment) {
		s.Rows[0] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-a"}}, Position: s.Rows[0].Position,
			Arrived: s.Rows[0].Arrived, Refused: 60}
		s.Rows = s.Rows[:1]
	})
	if r := c.count(t, lake.CountOptions{Keep: true}); len(r.Accounts) != 1 || r.Accounts[0].Fan != "" ||
		r.Accounts[0].Quarantined != 60 {
		t.Errorf("%+v", r)
	}
	c.land(t, 5, func(s *landing.Segment) {
		for i := range s.Rows {
			s.Rows[i].Acked = 60
		}
	})
	for _, anew := range []bool{false, true} {
		if r := c.count(t, lake.CountOptions{FromStart: anew}); len(r.Accounts) != 1 || !r.Accounts[0].OK ||
			r.Accounts[0].Acknowledged != 60 || r.Accounts[0].Quarantined != 60 {
			t.Errorf("%+v", r)
		}
	}
}

// TestReadingsThatComeAgainAreNoDifference: readings of the legacy format, whose like came long before, land twice
// and are in the table once when it is compacted; neither that, nor that their segments lose their rows, is a
// difference.
func TestReadingsThatComeAgainAreNoDifference(t *testing.T) {
	c := newCounted(t)
	legacy := func(s *landing.Segment) {
		for i := range s.Rows {
			s.Rows[i].Run, s.Rows[i].Seq = 0, uint64(s.Rows[i].Time.UnixMicro())
		}
	}
	c.land(t, 100, legacy)
	c.count(t, lake.CountOptions{Keep: true})
	again := func(s *landing.Segment) {
		for i := range s.Rows {
			s.Rows[i].Time = midnight.Add(time.Duration(1+i) * time.Second)
		}
		legacy(s)
	}
	c.land(t, 30, again)
	check := func(o lake.CountOptions) {
		t.Helper()
		if a := c.count(t, o).Accounts[0]; !a.OK || a.Landed != 100 || a.Table != 100 || a.Acknowledged != 100 {
			t.Errorf("%+v", a)
		}
	}
	check(lake.CountOptions{Keep: true})
	c.now = midnight.Add(48 * time.Hour)
	if _, err := c.tables.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	check(lake.CountOptions{Keep: true})
	check(lake.CountOptions{Keep: true})
	if err := c.log(0).PutSnapshot(t.Context(), number(c.seq), []byte("model")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.tables.TruncateLog(t.Context(), c.log(0), 0); err != nil || n != 2 {
		t.Fatalf("%d tombstones, %v", n, err)
	}
	check(lake.CountOptions{Keep: true})
	check(lake.CountOptions{FromStart: true})
}

// TestReadingsThatWaitTooLongAreNotInTheLake: while the committer works they wait for minutes, and are said to;
// after a quarter of an hour nothing is said to be well.
func TestReadingsThatWaitTooLongAreNotInTheLake(t *testing.T) {
	c := newCounted(t)
	c.land(t, 100, nil)
	c.count(t, lake.CountOptions{Keep: true})
	s := window(c.seq, "fan-a", 7, 1+c.seq, 10)
	c.append(t, 0, s)
	c.now = s.Rows[0].Arrived.Add(14 * time.Minute)
	for _, anew := range []bool{false, true} {
		if a := c.count(t, lake.CountOptions{FromStart: anew}).Accounts[0]; !a.OK || a.Pending != 10 ||
			a.Waiting != 14*time.Minute || a.Verdict != "every acknowledged reading is in the lake once; 10 wait for the "+
			"next commit to the table" {
			t.Errorf("%+v", a)
		}
	}
	c.now = c.now.Add(2 * time.Minute)
	for _, anew := range []bool{false, true} {
		if a := c.count(t, lake.CountOptions{FromStart: anew}).Accounts[0]; a.OK || a.Differs ||
			a.Verdict != "10 wait for the table, the first for 16m0s: the committer is behind or stopped (fanwatch lake "+
				"status)" {
			t.Errorf("%+v", a)
		}
	}
}

// TestWhatNoPublisherCanSayIsNotBelieved: 2^64-1 and 9e18 readings.
func TestWhatNoPublisherCanSayIsNotBelieved(t *testing.T) {
	for _, n := range []uint64{1<<64 - 1, 9e18, 1 << 53} {
		c := newCounted(t)
		c.land(t, 10, func(s *landing.Segment) { s.Rows[9].Acked, s.Rows[9].Dropped = n, n })
		for range 2 {
			if a := c.count(t, lake.CountOptions{Keep: true}).Accounts[0]; !a.OK || a.Acknowledged != 10 || a.Dropped != 0 ||
				a.Missing != 0 || !strings.Contains(a.Verdict, "was not believed") {
				t.Errorf("%d: %+v", n, a)
			}
		}
	}
}

// TestNamesOfUnknownFansAreBounded counts messages under 12,800 made-up names: of 10,000 the names are kept, and
// all count as one.
func TestNamesOfUnknownFansAreBounded(t *testing.T) {
	if testing.Short() && os.Getenv("FANWATCH_LONG") == "" {
		t.Skip("12,800 names, -short")
	}
	c := newCounted(t)
	for i := range 200 { // a segment's footer names 64
		s := window(c.seq, "fan-a", 7, 1+c.seq, 65)
		for j := range 64 {
			s.Rows[j].Kind, s.Rows[j].Reading = fanwatch.RowQuarantined,
				fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fmt.Sprint("x", i, "-", j)}}
		}
		c.seq += 65
		c.append(t, 0, s)
	}
	c.now = midnight.Add(time.Duration(c.seq) * time.Second)
	c.commitAll(t)
	r := c.count(t, lake.CountOptions{Keep: true})
	if len(r.Accounts) != 2 || r.Accounts[0].Quarantined != 200*64 {
		t.Errorf("%d accounts: %+v", len(r.Accounts), r.Accounts[:min(3, len(r.Accounts))])
	}
	data, err := c.store.Get(t.Context(), "state/stream=readings/count/tally.v1")
	if err != nil || len(data) > 200_000 {
		t.Errorf("a tally of %d bytes, %v", len(data), err)
	}
	c.land(t, 10, nil)
	if r := c.count(t, lake.CountOptions{Keep: true}); r.FromStart || len(r.Accounts) != 2 ||
		r.Accounts[0].Quarantined != 200*64 {
		t.Errorf("%+v", r.Accounts[:min(3, len(r.Accounts))])
	}
}

// TestBeforeTheFirstCommitAllWaits: what landed is counted without a table.
func TestBeforeTheFirstCommitAllWaits(t *testing.T) {
	c := newCounted(t)
	c.append(t, 0, window(0, "fan-a", 7, 1, 10))
	a, err := lake.ReconcileLogs(t.Context(), c.logs, midnight.Add(time.Minute))
	if err != nil || len(a) != 1 || !a[0].OK || a[0].Pending != 10 || a[0].Landed != 10 {
		t.Errorf("%+v, %v", a, err)
	}
}
