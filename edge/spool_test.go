package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EDGE_TEST_APPEND"); dir != "" {
		appendForever(dir, os.Getenv("EDGE_TEST_SYNC") != "")
	}
	os.Exit(m.Run())
}

func record(seq uint64) Record {
	return Record{Boot: time.Duration(seq) * time.Second, Reading: fanwatch.Reading{
		ReadingID: fanwatch.ReadingID{Fan: "fan-01", Seq: seq}, Time: time.UnixMicro(1_780_000_000_000_000 +
			int64(seq)*1e6).UTC(),
		RPM: 1800 + float64(seq)/8, Hz: 60, Jitter: 0.002, Edges: 60, Glitch: uint32(seq % 3), Lost: uint32(seq % 2),
		State: fanwatch.StateRunning, Unsynch: seq%5 == 0}}
}

func open(t testing.TB, c SpoolConfig) *Spool {
	t.Helper()
	if c.Fan == "" {
		c.Fan = "fan-01"
	}
	s, err := OpenSpool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fill(s *Spool, from, to uint64) {
	for seq := from; seq <= to; seq++ {
		s.Append(record(seq))
	}
}

// drain takes everything, acknowledging it, and gives run/seq in order.
func drain(t testing.TB, s *Spool) (ids []fanwatch.ReadingID) {
	t.Helper()
	for b := s.Next(10); b != nil; b = s.Next(10) {
		for _, r := range b.Records {
			ids = append(ids, r.ReadingID)
		}
		s.Ack(b)
	}
	return ids
}

func seqs(ids []fanwatch.ReadingID) (out []uint64) {
	for _, id := range ids {
		out = append(out, id.Seq)
	}
	return out
}

func span(from, to uint64) (out []uint64) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func TestSpoolKeepsWhatItWasGiven(t *testing.T) {
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 7})
	for i, st := range states() {
		r := record(uint64(i + 1))
		r.State = st
		s.Append(r)
	}
	b := s.Next(10)
	if b == nil || len(b.Records) != 4 {
		t.Fatalf("got %+v", b)
	}
	for i, got := range b.Records {
		want := record(uint64(i + 1))
		want.State, want.Run = states()[i], 7
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if b := s.Next(10); b != nil {
		t.Errorf("more than was appended: %+v", b)
	}
}

func TestSpoolSurvivesRestarts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7, SegmentBytes: 1000})
	fill(s, 1, 100)
	for range 3 {
		s.Ack(s.Next(10))
	}
	s.Next(10) // given out, never acknowledged
	s.Close()

	s = open(t, SpoolConfig{Dir: dir, Run: 8, SegmentBytes: 1000})
	fill(s, 1, 5)
	if st := s.Stats(); st.Acked != 30 || st.Spooled != 75 || st.Unsent != 75 {
		t.Errorf("after the restart: %+v", st)
	}
	b := s.Next(10)
	if b.Acked != 30 || b.Dropped != 0 || b.Records[0].Seq != 31 || b.Records[0].Run != 7 {
		t.Errorf("first batch: acked %d dropped %d from %v", b.Acked, b.Dropped, b.Records[0].ReadingID)
	}
	s.Ack(b)
	ids := drain(t, s)
	if want := append(span(uint64(31+len(b.Records)), 100), span(1, 5)...); !reflect.DeepEqual(seqs(ids), want) {
		t.Errorf("got  %v\nwant %v", seqs(ids), want)
	}
	if st := s.Stats(); st.Acked != 105 || st.Spooled != 0 {
		t.Errorf("at the end: %+v", st)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	if len(files) != 1 {
		t.Errorf("spent segments are still there: %v", files)
	}
}

func TestCursorMovesOverContiguousPrefixOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7})
	fill(s, 1, 30)
	a, b, c := s.Next(10), s.Next(10), s.Next(10)
	s.Ack(c)
	s.Ack(b)
	if st := s.Stats(); st.Acked != 0 || st.Spooled != 30 {
		t.Fatalf("the cursor passed an unacknowledged batch: %+v", st)
	}
	s.Rewind()
	s.Ack(a) // comes too late: it is sent again
	if got := s.Next(10); got.Records[0].Seq != 1 {
		t.Fatalf("after Rewind at %d, want 1", got.Records[0].Seq)
	}
	s.Rewind()
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(1, 30)) {
		t.Errorf("got %v", seqs(got))
	}
}

func TestSpoolDropsTheOldestAtItsCap(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7, SegmentBytes: 1000, MaxBytes: 5000})
	fill(s, 1, 5)
	early := s.Next(10)
	fill(s, 6, 500)
	s.Ack(early) // its segment is gone: counted as dropped, not twice
	st := s.Stats()
	if st.Bytes > 5000 || st.Dropped == 0 || st.Acked != 0 || st.Dropped+uint64(st.Spooled) != 500 {
		t.Fatalf("%+v", st)
	}
	b := s.Next(10)
	if first := b.Records[0].Seq; b.Dropped != first-1 || first != st.Dropped+1 {
		t.Errorf("batch from %d says %d dropped, stats %d", first, b.Dropped, st.Dropped)
	}
	s.Ack(b)
	s.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 8})
	if again := s.Next(10); again.Dropped != b.Dropped || again.Acked != uint64(len(b.Records)) {
		t.Errorf("after a restart: dropped %d acked %d", again.Dropped, again.Acked)
	}
}

func TestTornAndZeroedTailsAreCut(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"torn":          func(b []byte) []byte { return b[:len(b)-7] },
		"zeroed":        func(b []byte) []byte { return append(b[:len(b)-100:len(b)-100], make([]byte, 4096)...) },
		"garbage":       func(b []byte) []byte { return append(b, "GARBAGE, not a frame at all................"...) },
		"only a header": func(b []byte) []byte { return b[:headerSize] },
		"half a header": func(b []byte) []byte { return b[:headerSize/2] },
		"empty":         func(b []byte) []byte { return nil },
		"all zero":      func(b []byte) []byte { return make([]byte, len(b)) },
		"hole": func(b []byte) []byte {
			for i := range 30 {
				b[headerSize+200+i] = 0
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, SpoolConfig{Dir: dir, Run: 7})
			fill(s, 1, 50)
			s.Close()
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			whole, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			before := len(whole)
			spoilt := spoil(bytes.Clone(whole))
			if err := os.WriteFile(files[0], spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, SpoolConfig{Dir: dir, Run: 8})
			fill(s, 1, 3)
			got := drain(t, s)
			st := s.Stats()
			if st.Torn == 0 && len(spoilt) != before && len(spoilt) > headerSize {
				t.Errorf("damage was not counted: %+v", st)
			}
			var last fanwatch.ReadingID
			for _, id := range got {
				if id.Run == last.Run && id.Seq <= last.Seq || id.Run == 7 && last.Run == 8 {
					t.Fatalf("%v after %v", id, last)
				}
				last = id
			}
			if last.Run != 8 || last.Seq != 3 {
				t.Errorf("the new run's readings did not come: last %v", last)
			}
			if name == "torn" && len(got) != 49+3 || name == "garbage" && len(got) != 50+3 || name == "hole" &&
				(len(got) < 50 || st.Dropped == 0) {
				t.Errorf("%d readings, %+v", len(got), st)
			}
		})
	}
}

func TestDamagedCursorSendsEverythingAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7})
	fill(s, 1, 30)
	s.Ack(s.Next(10))
	s.Close()
	path := filepath.Join(dir, "cursor")
	for _, size := range []int{cursorSlot + cursorSize, 3} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, SpoolConfig{Dir: dir, Run: 8})
		b := s.Next(10)
		if b == nil || b.Records[0].Seq != 1 || b.Dropped != 0 {
			t.Fatalf("got %+v", b)
		}
		s.Close()
	}
}

func TestTornCursorSlotFallsBackToTheOther(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7})
	fill(s, 1, 30)
	s.Ack(s.Next(10))
	s.Ack(s.Next(10))
	generation := s.cursorFile.generation
	s.mu.Lock()
	s.closed = true // as a kill would leave it
	s.release()
	s.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(dir, "cursor"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("torn"), int64(generation%2)*cursorSlot+20)
	f.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 8})
	if b := s.Next(10); b.Records[0].Seq != 11 || b.Acked != 10 {
		t.Errorf("from %d, acked %d", b.Records[0].Seq, b.Acked)
	}
}

func TestMemoryIsBoundedAndCounted(t *testing.T) {
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 7, SegmentBytes: 1000, MaxMemory: 5000})
	s.mu.Lock()
	s.fail(fmt.Errorf("no disk"))
	s.mu.Unlock()
	fill(s, 1, 1000)
	st := s.Stats()
	if st.Bytes > 6000 || st.Dropped+uint64(st.Spooled) != 1000 {
		t.Fatalf("%+v", st)
	}
	got := drain(t, s)
	if !reflect.DeepEqual(seqs(got), span(st.Dropped+1, 1000)) {
		t.Errorf("got %d from %v", len(got), got[0])
	}
}

func TestTwoPublishersCannotShareASpool(t *testing.T) {
	dir := t.TempDir()
	open(t, SpoolConfig{Dir: dir, Run: 7})
	if _, err := OpenSpool(SpoolConfig{Dir: dir, Fan: "fan-02", Run: 8}); err == nil ||
		!strings.Contains(err.Error(), "another publisher") {
		t.Errorf("got %v", err)
	}
}

// TestKillLosesNoCompletedReading kills a process at random while it appends and acknowledges, again and
// again on one spool: every reading that it reported as appended comes out, in order.
func TestKillLosesNoCompletedReading(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	// per run: the highest number that was appended, that may have been acknowledged
	appended, acked := map[uint64]uint64{}, map[uint64]uint64{}
	var runs []uint64
	for round := range rounds {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "EDGE_TEST_APPEND="+dir, "EDGE_TEST_RUN="+strconv.Itoa(round+1))
		if round%3 == 2 {
			name := []string{"spool.append.after", "spool.ack.before"}[round%2]
			cmd.Env = append(cmd.Env, fmt.Sprintf("FANWATCH_FAILPOINTS=%s=kill@%d", name, 1+rng.IntN(200)))
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, limit := bufio.NewReader(out), 20+rng.IntN(2000)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			var what string
			var run, seq uint64
			if _, err := fmt.Sscan(line, &what, &run, &seq); err != nil {
				t.Fatalf("child said %q", line)
			}
			if what == "appended" {
				if appended[run] == 0 {
					runs = append(runs, run)
				}
				appended[run] = seq
			} else {
				acked[run] = max(acked[run], seq)
			}
			if n == limit {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	s := open(t, SpoolConfig{Dir: dir, Run: 1000})
	left := map[uint64][]uint64{}
	var order []uint64
	for _, id := range drain(t, s) {
		if len(left[id.Run]) == 0 {
			order = append(order, id.Run)
		}
		left[id.Run] = append(left[id.Run], id.Seq)
	}
	total := 0
	for i, run := range order {
		if i > 0 && order[i-1] >= run {
			t.Errorf("runs in the order %v", order)
		}
		got := left[run]
		if got[0] > acked[run]+1 || got[len(got)-1] < appended[run] ||
			!reflect.DeepEqual(got, span(got[0], got[len(got)-1])) {
			t.Errorf("run %d: appended 1..%d, acknowledged 1..%d, but left %d..%d (%d)", run, appended[run], acked[run], got[0],
				got[len(got)-1], len(got))
		}
		total += len(got)
	}
	for _, run := range runs {
		if len(left[run]) == 0 && acked[run] < appended[run] {
			t.Errorf("run %d: appended 1..%d, acknowledged 1..%d, nothing left", run, appended[run], acked[run])
		}
	}
	if st := s.Stats(); st.Torn != 0 || st.Dropped != 0 {
		t.Errorf("a kill tore or dropped: %+v", st)
	}
	t.Logf("%d kills, %d runs, %d readings were left at the end", rounds, len(runs), total)
}

// appendForever is the child of the kill test and the program of the machine whose power is cut (testsuite/vm). It
// says on standard output what is left of the runs before, what is appended or, with syncs, what is synced, and
// what is about to be acknowledged.
func appendForever(dir string, syncs bool) {
	run, _ := strconv.ParseUint(os.Getenv("EDGE_TEST_RUN"), 10, 64)
	s, err := OpenSpool(SpoolConfig{Dir: dir, Fan: "fan-01", Run: run, SegmentBytes: 3000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if syncs {
		sayWhatIsLeft(s)
	}
	for seq := uint64(1); ; seq++ {
		s.Append(record(seq))
		switch {
		case !syncs:
			fmt.Printf("appended %d %d\n", run, seq)
		case seq%20 == 0:
			if err := s.Sync(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fmt.Printf("synced %d %d\n", run, seq)
		}
		if seq%13 == 0 {
			if b := s.Next(10); b != nil {
				last := b.Records[len(b.Records)-1].ReadingID
				// Said before it is done: a kill between the two must not look like a loss.
				fmt.Printf("acking %d %d\n", last.Run, last.Seq)
				s.Ack(b)
			}
		}
	}
}

// sayWhatIsLeft returns out everything in the spool as spans "left RUN FROM TO", and takes it back.
func sayWhatIsLeft(s *Spool) {
	var first, last fanwatch.ReadingID
	say := func() {
		if first.Run != 0 {
			fmt.Printf("left %d %d %d\n", first.Run, first.Seq, last.Seq)
		}
	}
	for b := s.Next(100); b != nil; b = s.Next(100) {
		for _, r := range b.Records {
			if r.Run != last.Run || r.Seq != last.Seq+1 {
				say()
				first = r.ReadingID
			}
			last = r.ReadingID
		}
	}
	say()
	s.Rewind()
	st := s.Stats()
	fmt.Printf("opened %d bytes of damage, %d dropped\n", st.Torn, st.Dropped)
}

// FuzzSpoolRecovery opens a spool whose files hold anything at all.
func FuzzSpoolRecovery(f *testing.F) {
	seg := appendHeader(nil, 7, "boot")
	for seq := uint64(1); seq <= 5; seq++ {
		seg = appendFrame(seg, record(seq))
	}
	f.Add(seg, encodeCursor(3, cursor{Segment: 1, Offset: uint64(headerSize)}))
	f.Add(seg[:len(seg)-3], []byte{})
	f.Add(append(seg[:len(seg)-40:len(seg)-40], make([]byte, 100)...), make([]byte, cursorSize))
	f.Add(seg, encodeCursor(1, cursor{Segment: math.MaxUint64 - 1, Offset: math.MaxUint64,
		count: count{Run: 7, Next: math.MaxUint64}}))
	f.Fuzz(func(t *testing.T, segment, cursor []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "0000000000000001.seg"), segment, 0o600)
		os.WriteFile(filepath.Join(dir, "cursor"), cursor, 0o600)
		s, err := OpenSpool(SpoolConfig{Dir: dir, Fan: "fan-01", Run: 9})
		if err != nil {
			t.Fatal(err)
		}
		defer s.release() // without the syncs of Close, which would make fuzzing slow
		fill(s, 1, 3)
		got := drain(t, s)
		if len(got) < 3 || got[len(got)-1] != (fanwatch.ReadingID{Fan: "fan-01", Run: 9, Seq: 3}) {
			t.Fatalf("own readings did not come: %v", got)
		}
		if st := s.Stats(); st.Spooled != 0 {
			t.Fatalf("left behind: %+v", st)
		}
	})
}

func BenchmarkSpool(b *testing.B) {
	b.Run("append", func(b *testing.B) {
		s := open(b, SpoolConfig{Dir: b.TempDir(), Run: 7, MaxBytes: 8 << 20})
		r := record(1)
		b.ReportAllocs()
		for b.Loop() {
			r.Seq++
			s.Append(r)
		}
	})
	b.Run("drain", func(b *testing.B) {
		s := open(b, SpoolConfig{Dir: b.TempDir(), Run: 7})
		fill(s, 1, uint64(b.N))
		b.ResetTimer()
		n := len(drain(b, s))
		if n != b.N {
			b.Fatalf("%d of %d", n, b.N)
		}
	})
}
