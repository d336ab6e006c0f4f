package lake_test

import (
	"fmt"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// yearOfDays is one message of 360 readings, each a day before the other.
func yearOfDays(after, first int) landing.Segment {
	s := window(after, "fan-a", 7, first, 360)
	for i := range s.Rows {
		s.Rows[i].Time = s.Rows[i].Arrived.Add(-time.Duration(i) * 24 * time.Hour).Truncate(time.Microsecond)
		s.Rows[i].Anomaly = fanwatch.KindStall
	}
	return s
}

// TestMessagesOfAYearMakeFewFiles sends a dozen messages of 360 days each: they make a few files with each commit,
// and one of each old day once a day. Nothing is lost or there twice, tombstones wait for it, and counts call what
// waits by its name.
func TestMessagesOfAYearMakeFewFiles(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	now := midnight.Add(2 * time.Hour)
	clock := func(c *lake.TableConfig) { c.Now = func() time.Time { return now } }
	tables := openTables(t, w, clock)
	logs := []landing.Log{w.log(0)}
	commit := func() int {
		t.Helper()
		files := 0
		for more := true; more; {
			r, err := tables.Commit(t.Context(), logs)
			if err != nil {
				t.Fatal(err)
			}
			files, more = files+r.Files, r.More
		}
		return files
	}
	const messages = 12
	for i := range messages {
		w.append(t, 0, yearOfDays(i*360, 1+i*360))
		if n := commit(); n > 9 {
			t.Fatalf("commit %d stored %d files", i, n)
		}
	}
	if err := w.log(0).PutSnapshot(t.Context(), number(messages*360), []byte("model")); err != nil {
		t.Fatal(err)
	}
	if n, err := tables.TruncateLog(t.Context(), w.log(0), 0); err != nil || n != 0 {
		t.Errorf("%d segments became tombstones whose readings are not in the table, %v", n, err)
	}
	counts := func(landed, pending int) {
		t.Helper()
		accounts, err := tables.Reconcile(t.Context(), logs)
		if err != nil || len(accounts) != 1 || !accounts[0].OK || accounts[0].Landed != landed ||
			accounts[0].Pending != pending || accounts[0].Table != landed-pending {
			t.Errorf("%+v, %v", accounts, err)
		}
		if v, err := tables.Verify(t.Context(), logs, nil); err != nil || !v.OK || v.Compared != landed-pending {
			t.Errorf("%+v, %v", v, err)
		}
	}
	counts(messages*360, messages*352)
	if lag, err := tables.Lag(t.Context(), w.log(0)); err != nil || !lag.OldSince.Equal(midnight.Add(2*time.Hour)) {
		t.Errorf("%+v, %v", lag, err)
	}
	now = now.Add(25 * time.Hour)
	if n := commit(); n != 352 {
		t.Errorf("the old days became %d files, want one of each", n)
	}
	if n := commit(); n != 0 {
		t.Errorf("again: %d files", n)
	}
	counts(messages*360, 0)
	for i := range 3 {
		w.append(t, 0, yearOfDays((messages+i)*360, 1+(messages+i)*360))
		if n := commit(); n > 9 {
			t.Errorf("then: %d files", n)
		}
	}
	if all, err := tables.Anomalies(t.Context(), time.Time{}, time.Time{}); err != nil || len(all) != messages*360+3*8 {
		t.Errorf("%d anomalies, %v", len(all), err)
	}
	if n, err := tables.TruncateLog(t.Context(), w.log(0), 0); err != nil || n != messages {
		t.Errorf("%d segments became tombstones, %v", n, err)
	}
}

// TestHeldReadingsEnterInSeveralBatches takes more held readings than a batch has, of two shards.
func TestHeldReadingsEnterInSeveralBatches(t *testing.T) {
	now := midnight
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.BatchRows, c.Now = 300, func() time.Time { return now } })
	logs := []landing.Log{w.log(0), w.log(1)}
	for shard := range logs {
		for i := range 4 {
			s := window(i*100, fmt.Sprint("fan-", shard), 7, 1+i*100, 100)
			for j := range s.Rows {
				if j%2 == 0 {
					s.Rows[j].Time = s.Rows[j].Time.Add(-30 * 24 * time.Hour)
				}
			}
			w.append(t, shard, s)
		}
	}
	take := func() (rows int) {
		for more := true; more; {
			r := w.commit(t, logs...)
			if r.Rows > 500 {
				t.Errorf("a batch of %d rows", r.Rows)
			}
			rows, more = rows+r.Rows, r.More
		}
		return rows
	}
	if n := take(); n != 400 {
		t.Errorf("%d rows", n)
	}
	now = now.Add(24 * time.Hour)
	if n := take(); n != 400 {
		t.Errorf("%d old rows", n)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 400, "fan-1": 400})
}
