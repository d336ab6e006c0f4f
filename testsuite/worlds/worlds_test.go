package worlds

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/golden.txt")

// digest returns the hash of all that a stream gives, to the bit.
func digest(s *Stream) string {
	h := sha256.New()
	n := 0
	for s.Next() {
		n++
		r, t := &s.Reading, &s.Truth
		put(h, uint64(r.Time.UnixMicro()), r.Run, r.Seq, uint64(r.Edges), uint64(r.Glitch), uint64(r.PWM))
		for _, x := range []float64{r.RPM, r.Hz, r.Jitter, t.Speed, t.Healthy, t.Duty, t.Temp, t.Factor} {
			put(h, math.Float64bits(x))
		}
		h.Write([]byte(string(r.State) + t.Note)) // a hash never fails
	}
	put(h, uint64(n), uint64(s.Visible.UnixMicro()))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func put(h hash.Hash, values ...uint64) {
	var b [8]byte
	for _, v := range values {
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
}

// golden returns a line for each world, for an hour as it is and for a day every 10 s, and for each fault.
func golden() string {
	var b strings.Builder
	for _, w := range Worlds() {
		long := Options{Seed: 1, Span: 26 * time.Hour, Interval: 10 * time.Second}
		fmt.Fprintf(&b, "%s %s %s\n", w.Name, digest(w.Open(Options{Seed: 1, Span: time.Hour})[0]), digest(w.Open(long)[0]))
	}
	for i := range Faults() {
		f := &Faults()[i]
		w, err := Find(f.Hosts[0])
		if err != nil {
			panic(err)
		}
		o := Options{Seed: 2, Span: 14 * time.Hour, Interval: 10 * time.Second, Fault: f, Onset: time.Hour}
		fmt.Fprintf(&b, "%s/%s %s\n", w.Name, f.Name, digest(w.Open(o)[0]))
	}
	return b.String()
}

func TestASeedGivesTheRecordedBits(t *testing.T) {
	got := golden()
	if *update {
		if err := os.WriteFile("testdata/golden.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	was := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		was[line] = true
	}
	for line := range strings.Lines(got) {
		if !was[line] {
			t.Errorf("now %s", line)
		}
	}
	if t.Failed() {
		t.Error("the readings of a seed have changed: if that is meant, run this test with -update")
	}
}

// TestASeedGivesTheRecordedBitsOnOtherProcessors runs the test above on arm64, under QEMU's user mode.
func TestASeedGivesTheRecordedBitsOnOtherProcessors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for another processor")
	}
	emulator, err := exec.LookPath("qemu-aarch64")
	if err != nil {
		t.Skip("qemu-aarch64 is not installed; Debian's package qemu-user has it")
	}
	binary := t.TempDir() + "/worlds.test"
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	out, err := exec.Command(emulator, binary, "-test.run", "^TestASeedGivesTheRecordedBits$", "-test.v").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestASeedGivesTheRecordedBits ") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestNoProductOfAWorldIsFused: the Go compiler may fuse a product with a sum unless it is converted explicitly, and
// the last bits would depend on the processor.
func TestNoProductOfAWorldIsFused(t *testing.T) {
	const pkg = "fanwatch/testsuite/worlds"
	build := exec.Command("go", "build", "-gcflags="+pkg+"=-S", pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	out, err := build.CombinedOutput() // the build cache replays the listing
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "\tFMULD\t") {
		t.Fatal("no assembly, or none with a multiplication")
	}
	for _, line := range regexp.MustCompile(`(?m)^.*\tF(N?M(ADD|SUB))[SD]\t.*$`).FindAll(out, -1) {
		t.Errorf("%s", line)
	}
}

func TestFunctionsAreThoseOfMath(t *testing.T) {
	for x := -30.0; x < 30; x += 0.0137 {
		if got, want := exp(x), math.Exp(x); math.Abs(got/want-1) > 1e-12 {
			t.Errorf("exp(%v) = %v, want %v", x, got, want)
		}
		if got, want := wave(x), math.Cos(2*math.Pi*x); math.Abs(got-want) > 1e-6 {
			t.Errorf("wave(%v) = %v, want %v", x, got, want)
		}
	}
}

// TestAFaultChangesNothingBeforeIt: with and without it the readings are the same until its onset.
func TestAFaultChangesNothingBeforeIt(t *testing.T) {
	for i := range Faults() {
		f := &Faults()[i]
		for _, host := range f.Hosts {
			w, err := Find(host)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Seed: 3, Span: 100 * time.Minute}
			healthy := w.Open(o)[0]
			o.Fault, o.Onset = f, 90*time.Minute
			broken := w.Open(o)[0]
			for broken.Next() && broken.Reading.Time.Before(broken.Onset()) {
				if !healthy.Next() || broken.Reading != healthy.Reading || broken.Truth != healthy.Truth {
					t.Fatalf("%s with %s: %+v, want %+v", host, f.Name, broken.Reading, healthy.Reading)
				}
			}
		}
	}
}

// TestATruthTellsOfTheFault: each fault is visible after its onset, and the truth has the size that it is to have.
func TestATruthTellsOfTheFault(t *testing.T) {
	for i := range Faults() {
		f := &Faults()[i]
		w, err := Find(f.Hosts[0])
		if err != nil {
			t.Fatal(err)
		}
		onset := 10 * time.Hour
		s := w.Open(Options{Seed: 4, Span: onset + f.Watch + 30*time.Hour, Fault: f, Onset: onset})[0]
		for s.Next() && (s.Visible.IsZero() || s.Reading.Time.Sub(s.Visible) < f.Watch) {
			if s.Truth.Fault && s.Reading.Time.Before(s.Onset()) {
				t.Fatalf("%s: a fault before its onset", f.Name)
			}
		}
		if s.Visible.IsZero() || s.Visible.Before(s.Onset()) {
			t.Errorf("%s on %s: visible at %v, onset %v", f.Name, w.Name, s.Visible, s.Onset())
		}
		if want := f.SizeAfter(f.Watch); (f.Speed != 0 || f.Jitter != 0) && math.Abs(s.Truth.Factor-want) > 0.01 {
			t.Errorf("%s on %s: factor %v, want %v", f.Name, w.Name, s.Truth.Factor, want)
		}
	}
}

// TestReadingsAreValid: each reading passes the check of the wire, in order of time and of its run.
func TestReadingsAreValid(t *testing.T) {
	for _, w := range Worlds() {
		s := w.Open(Options{Seed: 5, Span: 30 * time.Hour})[0]
		before := s.Reading
		n := 0
		for s.Next() {
			r := s.Reading
			if err := r.Check(); err != nil {
				t.Fatalf("%s: %v: %+v", w.Name, err, r)
			}
			if !r.Time.After(before.Time) || r.Run == before.Run && r.Seq <= before.Seq || (r.Run == 0) != s.p.legacy ||
				r.Run>>63 != 0 {
				t.Fatalf("%s: %+v after %+v", w.Name, r, before)
			}
			before = r
			n++
		}
		if want := int(30 * time.Hour / s.Interval()); n < want*8/10 || n > want {
			t.Errorf("%s: %d readings in 30 h, want about %d", w.Name, n, want)
		}
	}
}

func TestAnotherIntervalIsTheSameFan(t *testing.T) {
	w, err := Find("day")
	if err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []time.Duration{1, 2, 5, 10, 60} {
		interval := seconds * time.Second
		s := w.Open(Options{Seed: 6, Span: 24 * time.Hour, Interval: interval})[0]
		n, sum := 0.0, 0.0
		for s.Next() {
			n++
			sum += s.Truth.Speed
		}
		if mean := sum / n; s.Interval() != interval || math.Abs(mean/s.p.full/s.p.curve(s.duty)-1) > 0.05 {
			t.Errorf("every %s: mean speed %v of %v", interval, mean, s.p.full)
		}
	}
}

// TestTheDocumentNamesEveryWorldAndFault: docs/worlds.md has a row for each.
func TestTheDocumentNamesEveryWorldAndFault(t *testing.T) {
	text, err := os.ReadFile("../../docs/worlds.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range Worlds() {
		if !strings.Contains(string(text), fmt.Sprintf("\n| `%s` | %s |", w.Name, w.Regime)) {
			t.Errorf("docs/worlds.md has no row of world %s, %s", w.Name, w.Regime)
		}
	}
	for _, f := range Faults() {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + regexp.QuoteMeta(f.Name) + "`[^|]*\\|").Match(text) {
			t.Errorf("docs/worlds.md has no row of fault %s", f.Name)
		}
	}
}

// TestFansOfAHallBreatheTheSameAir: they have one temperature at a time, and names, noise and speeds of their own.
func TestFansOfAHallBreatheTheSameAir(t *testing.T) {
	w, err := Find("hall")
	if err != nil {
		t.Fatal(err)
	}
	all := w.Open(Options{Seed: 7, Span: 6 * time.Hour})
	for all[0].Next() {
		for _, s := range all[1:] {
			if !s.Next() || s.Truth.Temp != all[0].Truth.Temp || s.Reading.Fan == all[0].Reading.Fan ||
				s.Reading.RPM == all[0].Reading.RPM || s.Device().Site != all[0].Device().Site {
				t.Fatalf("%+v %+v beside %+v %+v", s.Reading, s.Truth, all[0].Reading, all[0].Truth)
			}
		}
	}
	if len(all) != 6 {
		t.Errorf("%d fans", len(all))
	}
}
