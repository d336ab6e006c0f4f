package lake_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

func TestCompactionKeepsEveryReading(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 10 {
		w.append(t, 0, window(i*100, fmt.Sprint("fan-", i%3), 7, 1+i*100, 100))
		w.commit(t, w.log(0))
	}
	late := window(1000, "fan-0", 8, 1, 20)
	for i := range late.Rows {
		late.Rows[i].Time = late.Rows[i].Time.Add(-48 * time.Hour)
	}
	w.append(t, 0, late)
	w.commit(t, w.log(0))
	before := w.counts(t)
	rows := w.rows(t, "fan-1")

	r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 4})
	if err != nil || r != (lake.CompactResult{Days: 1, FilesIn: 10, FilesOut: 1, RowsIn: 1000, RowsOut: 1000}) {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	wantCounts(t, w.counts(t), before)
	for i, r := range w.rows(t, "fan-1") {
		if r.Seq != rows[i].Seq || r.Score != rows[i].Score || !r.Arrived.Equal(rows[i].Arrived) {
			t.Fatalf("row %d changed: %+v, was %+v", i, r, rows[i])
		}
	}
	if r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 4}); err != nil || r != (lake.CompactResult{}) {
		t.Fatalf("again: %+v, %v", r, err)
	}
	w.append(t, 0, window(1020, "fan-0", 8, 21, 20)) // offsets outlive the replace
	if r := w.commit(t, w.log(0)); r.Rows != 20 {
		t.Fatalf("committed %+v", r)
	}

	if err := w.table.ExpireSnapshots(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	if files := dataFiles(t, w); len(files) != 3 {
		t.Fatalf("after expiry %d files: %v", len(files), files)
	}
	before["fan-0"] += 20
	wantCounts(t, w.counts(t), before)
}

func TestCompactionStopsAtItsRows(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 12 {
		w.append(t, 0, window(i*100, "fan-0", 7, 1+i*100, 100))
		w.commit(t, w.log(0))
	}
	for calls := 0; ; calls++ {
		r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1, MaxRows: 350})
		if err != nil || calls > 20 {
			t.Fatalf("call %d: %+v, %v", calls, r, err)
		}
		if !r.More || r.FilesIn == 0 {
			break
		}
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 1200})
}

func TestEachDayIsCompactedIntoAFileOfItsOwn(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	const days, minutes = 5, 4
	for i := range minutes {
		for day := range days {
			s := window((i*days+day)*50, fmt.Sprint("fan-", day), uint64(7+day), 1+i*50, 50)
			for j := range s.Rows {
				s.Rows[j].Time = s.Rows[j].Time.Add(time.Duration(day) * 24 * time.Hour)
			}
			w.append(t, 0, s)
		}
		w.commit(t, w.log(0))
	}
	r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1})
	if err != nil || r != (lake.CompactResult{Days: days, FilesIn: days * minutes, FilesOut: days,
		RowsIn: days * minutes * 50, RowsOut: days * minutes * 50}) {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	for day := range days {
		rows := w.rows(t, fmt.Sprint("fan-", day))
		if len(rows) != minutes*50 || !slices.IsSortedFunc(rows, func(a, b fanwatch.Row) int {
			return cmp.Compare(a.Seq,
				b.Seq)
		}) {
			t.Errorf("day %d: %d rows, or not in order", day, len(rows))
		}
	}
}

// TestCompactionDropsCopies makes what no committer makes: the same readings in two tables' worth of
// segments, by a log that another one copies.
func TestCompactionDropsCopies(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for shard := range 3 {
		w.append(t, shard, window(0, "fan-0", 7, 1, 100))
		w.commit(t, w.log(shard))
	}
	r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 2})
	if err != nil || r.RowsIn != 300 || r.RowsOut != 100 || r.Duplicates != 200 {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 100})
}

// TestCommitsAndCompactionsThatRaceLoseNoRow lets commits, compactions and readers run against each other: a reader's
// count never goes down, and in the end everything is there once.
func TestCommitsAndCompactionsThatRaceLoseNoRow(t *testing.T) {
	dir := t.TempDir()
	w, compactor, reader := openWorld(t, dir, nil), openWorld(t, dir, nil), openWorld(t, dir, nil)
	const rounds = 25
	done := make(chan struct{})
	var wg sync.WaitGroup
	merged := 0
	wg.Go(func() {
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			r, err := compactor.table.Compact(context.Background(), lake.CompactConfig{MinFiles: 1})
			if err != nil && !strings.Contains(err.Error(), "given up") {
				t.Error(err)
			}
			merged += r.FilesIn
		}
	})
	wg.Go(func() {
		last := 0
		for {
			select {
			case <-done:
				return
			default:
			}
			counts, err := reader.table.Counts(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			n := 0
			for _, c := range counts {
				n += c.Rows
			}
			if n < last {
				t.Errorf("a reader saw %d rows, then %d", last, n)
			}
			last = n
		}
	})
	for i := range rounds {
		w.append(t, 0, window(i*50, fmt.Sprint("fan-", i%4), 7, 1+i*50, 50))
		for {
			_, err := w.table.Commit(t.Context(), []landing.Log{w.log(0)})
			if err == nil {
				break
			}
			if !strings.Contains(err.Error(), "given up") {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 350, "fan-1": 300, "fan-2": 300, "fan-3": 300})
	if merged == 0 {
		t.Error("nothing was compacted meanwhile")
	}
}

func TestOrphansAreRemovedAndFilesOfSnapshotsStay(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 4 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		w.commit(t, w.log(0))
	}
	if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"tables/fanwatch/readings/data/time_day=2026-03-01/left.parquet",
		"tables/fanwatch/readings/metadata/left.avro", "landing/mine.parquet"} {
		if err := w.store.Put(t.Context(), key, []byte("left"), true); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.table.RemoveOrphans(t.Context(), time.Hour); err != nil || n != 0 {
		t.Fatalf("removed %d young files, %v", n, err)
	}
	if n, err := w.table.RemoveOrphans(t.Context(), -time.Minute); err != nil || n != 2 {
		t.Fatalf("removed %d, %v", n, err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": 40})
	if len(dataFiles(t, w)) != 5 {
		t.Fatalf("files that old snapshots use: %v", dataFiles(t, w))
	}
}

func TestSegmentsBecomeTombstonesBehindTablesAndSnapshots(t *testing.T) {
	now := midnight.Add(time.Hour)
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) { c.Now = func() time.Time { return now } })
	log := w.log(0)
	for i := range 10 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
	}
	expire := func(olderThan time.Duration, want int) {
		t.Helper()
		if n, err := w.table.TruncateLog(t.Context(), log, olderThan); err != nil || n != want {
			t.Fatalf("replaced %d segments, want %d, %v", n, want, err)
		}
	}
	expire(0, 0) // neither in the table nor behind a snapshot
	w.commit(t, log)
	expire(0, 0) // no snapshot
	for _, at := range []int{35, 60, 70} {
		if err := log.PutSnapshot(t.Context(), number(at), []byte("model")); err != nil {
			t.Fatal(err)
		}
	}
	expire(2*time.Hour, 0) // too young
	expire(0, 3)           // behind the oldest of three snapshots
	expire(0, 0)
	if err := log.PutSnapshot(t.Context(), "80", []byte("model")); err != nil {
		t.Fatal(err)
	}
	expire(0, 3)
	if s, err := log.Next(t.Context(), "50"); err != nil || !s.Tombstone || s.Counts.Scored != 10 {
		t.Fatalf("segment %+v, %v", s.Header, err)
	}
	if s, err := log.Next(t.Context(), "60"); err != nil || s.Tombstone || len(s.Rows) != 10 {
		t.Fatalf("segment %+v, %v", s.Header, err)
	}
	accounts, err := lake.Reconcile(t.Context(), []landing.Log{log}, w.table)
	if err != nil || len(accounts) != 1 || !accounts[0].OK || accounts[0].Landed != 100 || accounts[0].Table != 100 ||
		accounts[0].Acknowledged != 99 {
		t.Fatalf("accounts %+v, %v", accounts, err)
	}
}

// TestAKilledLakeHasEveryRowOnce kills the process between every two durable steps, lets others do the work again,
// and wants every row once. The steps run in a child process: this test binary, called with a directory.
func TestAKilledLakeHasEveryRowOnce(t *testing.T) {
	if dir := os.Getenv("LAKE_TEST_DIR"); dir != "" {
		work(t, dir)
		return
	}
	points := []string{failpoint.LandingPutBefore, failpoint.LandingPutAfter, failpoint.SnapshotPutBefore,
		failpoint.SnapshotPutAfter, failpoint.CommitFiles, failpoint.CommitBefore,
		failpoint.CommitAfter, failpoint.CompactFiles, failpoint.CompactPlanned, failpoint.CompactBefore,
		failpoint.CompactAfter, failpoint.RetireBefore, failpoint.RetireAfter,
		failpoint.ExpireBefore, failpoint.ExpireAfter, failpoint.PlanApplied, failpoint.TombstoneBefore,
		failpoint.TombstoneAfter}
	visits := []int{1, 3}
	if testing.Short() {
		visits = visits[:1]
	}
	for _, point := range points {
		for _, visit := range visits {
			t.Run(fmt.Sprintf("%s@%d", point, visit), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if out, err := child(dir, fmt.Sprintf("%s=kill@%d", point, visit)); err == nil {
					t.Fatalf("the failpoint was not reached:\n%s", out)
				} else if !strings.Contains(out, "killing process") {
					t.Fatalf("the child failed by itself: %v\n%s", err, out)
				}
				if out, err := child(dir, ""); err != nil {
					t.Fatalf("the work was not finished: %v\n%s", err, out)
				}
				w := openWorld(t, dir, nil)
				wantCounts(t, w.counts(t), map[string]int{"fan-0": 792, "fan-1": 792})
				accounts, err := lake.Reconcile(t.Context(), []landing.Log{w.log(0), w.log(1)}, w.table)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range accounts {
					if !a.OK || a.Landed != 800 || a.Pending != 0 || a.Table != 792 || a.Retired != 8 {
						t.Errorf("account %+v", a)
					}
				}
				if _, err := w.table.RemoveOrphans(t.Context(), -time.Minute); err != nil {
					t.Fatal(err)
				}
				wantCounts(t, w.counts(t), map[string]int{"fan-0": 792, "fan-1": 792})
			})
		}
	}
}

func child(dir, failpoints string) (string, error) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledLakeHasEveryRowOnce$", "-test.v")
	cmd.Env = append(os.Environ(), "LAKE_TEST_DIR="+dir, failpoint.Environment+"="+failpoints)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// work lands 8 segments on each of two shards, the first reading of each of a day long past, with a commit after
// every two, snapshots, compactions, dropped days and tombstones between. It may be killed anywhere and called again:
// like a scorer it goes on behind the log's end.
func work(t *testing.T, dir string) {
	w := openWorld(t, dir, nil)
	logs := []landing.Log{w.log(0), w.log(1)}
	for step := range 8 {
		for shard, log := range logs {
			s := window(step*100, fmt.Sprint("fan-", shard), 7, 1+step*100, 100)
			s.Writer = landing.Token{Scheduled: time.Now().UnixNano(), Attempt: 1, Run: "r"}
			s.Rows[0].Time = s.Rows[0].Time.Add(-72 * time.Hour)
			var taken *landing.Conflict
			if err := log.Append(t.Context(), s); err != nil && !errors.As(err, &taken) {
				t.Fatal(err)
			}
			if err := log.PutSnapshot(t.Context(), s.Last, []byte("model")); err != nil {
				t.Fatal(err)
			}
		}
		if step%2 == 1 {
			if _, err := w.table.Commit(t.Context(), logs); err != nil {
				t.Fatal(err)
			}
			if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
				t.Fatal(err)
			}
			maintain(t, w, logs, time.Since(midnight)+24*time.Hour)
		}
	}
}

// maintain leaves every plan that there is, and applies them.
func maintain(t *testing.T, w world, logs []landing.Log, keep time.Duration) {
	t.Helper()
	if _, err := w.table.PlanDropPartitions(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	if err := w.table.PlanExpiry(t.Context(), time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		if _, err := w.table.TruncateLog(t.Context(), log, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.table.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestReconcileFindsFaults(t *testing.T) {
	w := openWorld(t, t.TempDir(), func(c *lake.TableConfig) {
		c.Now = func() time.Time {
			return midnight.Add(time.Minute)
		}
	})
	s := window(0, "fan-a", 7, 1, 10)
	s.Rows[9].Acked = 10 // but seq 10 ...
	s.Rows[9].Seq = 9    // ... never came, and 9 came twice
	s.Rows[0].Dropped = 4
	w.append(t, 0, s)
	legacy := window(0, "fan-b", 0, 1, 5)
	legacy.Rows[4].Kind, legacy.Rows[4].Reading = fanwatch.RowQuarantined,
		fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-b"}}
	w.append(t, 1, legacy)
	logs := []landing.Log{w.log(0), w.log(1)}
	accounts, err := lake.Reconcile(t.Context(), logs, w.table)
	if err != nil || len(accounts) != 2 {
		t.Fatalf("%+v, %v", accounts, err)
	}
	a, b := accounts[0], accounts[1]
	if a.OK || a.Acknowledged != 10 || a.Landed != 9 || a.Duplicates != 1 || a.Missing != 1 || a.Dropped != 4 ||
		a.Pending != 9 {
		t.Errorf("fan-a: %+v", a)
	}
	if !b.OK || b.Acknowledged != 4 || b.Landed != 4 || b.Quarantined != 1 || b.Pending != 4 {
		t.Errorf("fan-b: %+v", b)
	}
	w.commit(t, logs...)
	// the table knows more than the log that we show
	if accounts, err = lake.Reconcile(t.Context(), logs[1:], w.table); err != nil {
		t.Fatal(err)
	}
	if a := accounts[0]; a.OK || a.Surplus != 9 ||
		!strings.Contains(a.Verdict, "9 in the table, but not in the landing log") {
		t.Errorf("fan-a without its log: %+v", a)
	}
	if b := accounts[1]; !b.OK || b.Pending != 0 || b.Table != 4 {
		t.Errorf("fan-b: %+v", b)
	}
}

// brokenStore breaks as a fault in this program would.
type brokenStore struct{ objstore.Store }

func (brokenStore) PutFrom(context.Context, string, io.ReadSeeker, int64, bool) error {
	panic("slice bounds out of range")
}

// TestAFaultOfAMergeIsAnError: the process that compacts scores readings too, and goes on.
func TestAFaultOfAMergeIsAnError(t *testing.T) {
	dir := t.TempDir()
	w := openWorld(t, dir, nil)
	for i := range 3 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		w.commit(t, w.log(0))
	}
	broken := openWorld(t, dir, func(c *lake.TableConfig) { c.Store = brokenStore{c.Store} })
	if _, err := broken.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err == nil ||
		!strings.Contains(err.Error(), "a fault of this program, nothing was changed: slice bounds out of range") {
		t.Fatalf("compact: %v", err)
	}
	if r, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.RowsOut != 30 {
		t.Fatalf("compacted %+v, %v", r, err)
	}
}

func TestAHostileDataFileIsAnError(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 3 {
		w.append(t, 0, window(i*10, "fan-0", 7, 1+i*10, 10))
		w.commit(t, w.log(0))
	}
	path := dataFiles(t, w)[1]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 0x55
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err == nil ||
		!strings.Contains(err.Error(), filepath.Base(path)) {
		t.Errorf("compact: %v", err)
	}
	if _, err := w.table.Counts(t.Context()); err == nil {
		t.Error("counts: no error")
	}
}
