package kinesis

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, dir string, segmentSize int64) *shardLog {
	t.Helper()
	l, err := openLog(dir, segmentSize, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.seal() })
	return l
}

func put(t *testing.T, l *shardLog, now int64, data ...string) []record {
	t.Helper()
	var rs []record
	for _, d := range data {
		rs = append(rs, record{key: "k" + d[:min(1, len(d))], data: []byte(d)})
	}
	if err := l.put(rs, now, uint64(now*1000)); err != nil {
		t.Fatal(err)
	}
	return rs
}

func readAll(t *testing.T, l *shardLog, from uint64) []record {
	t.Helper()
	var all []record
	for {
		rs, next, more, err := l.read(from, 7, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rs...)
		if from = next; !more {
			return all
		}
	}
}

func same(a, b []record) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d records, want %d", len(a), len(b))
	}
	for i := range a {
		if a[i].counter != b[i].counter || a[i].arrived != b[i].arrived || a[i].key != b[i].key ||
			!bytes.Equal(a[i].data, b[i].data) {
			return fmt.Errorf("record %d is %+v, want %+v", i, a[i], b[i])
		}
	}
	return nil
}

// The log against a slice that does the same, over rolls, restarts, trims, clocks that run backwards.
func TestLogAgainstASlice(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	l := open(t, dir, 100<<10)
	var want []record
	now := int64(1_700_000_000_000)
	for step := range 400 {
		now += random.Int64N(2000) - 300
		switch n := random.IntN(20); {
		case n == 0:
			if err := l.seal(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, 100<<10)
		case n == 1:
			cutoff := now - 100_000
			if err := l.trim(cutoff); err != nil {
				t.Fatal(err)
			}
			have := readAll(t, l, 0)
			gone := len(want) - len(have)
			if gone < 0 || (gone > 0 && want[gone-1].arrived >= cutoff) {
				t.Fatalf("step %d: trimmed %d records, too many", step, gone)
			}
			want = want[gone:]
		case n == 2:
			if err := l.sync(); err != nil {
				t.Fatal(err)
			}
		default:
			var data []string
			for range 1 + random.IntN(5) {
				data = append(data, strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(9000)))
			}
			want = append(want, put(t, l, now, data...)...)
		}
		if step%10 != 0 || len(want) == 0 {
			continue
		}
		i := random.IntN(len(want))
		if err := same(readAll(t, l, want[i].counter), want[i:]); err != nil {
			t.Fatalf("step %d: from %d: %v", step, i, err)
		}
		counter, err := l.since(want[i].arrived)
		if err != nil {
			t.Fatal(err)
		}
		for i > 0 && want[i-1].arrived == want[i].arrived {
			i--
		}
		if counter != want[i].counter {
			t.Fatalf("step %d: since %d is %d, want %d", step, want[i].arrived, counter, want[i].counter)
		}
	}
	for i := 1; i < len(want); i++ {
		if want[i].counter <= want[i-1].counter || want[i].arrived < want[i-1].arrived {
			t.Fatalf("%+v comes behind %+v", want[i], want[i-1])
		}
	}
}

func TestCountersGrowWhenAllIsTrimmedAndTheClockWentBack(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	before := put(t, l, 5000, "a", "b")
	if err := l.trim(1e15); err != nil {
		t.Fatal(err)
	}
	if rs := readAll(t, l, 0); len(rs) != 0 {
		t.Fatalf("%d records are left", len(rs))
	}
	if err := l.seal(); err != nil {
		t.Fatal(err)
	}
	after := put(t, open(t, dir, 1<<20), 1, "c")
	if after[0].counter <= before[1].counter {
		t.Errorf("%d does not come behind %d", after[0].counter, before[1].counter)
	}
}

func TestDamageBeforeTheNewestSegmentIsAnError(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 64)
	put(t, l, 1, strings.Repeat("a", 100))
	put(t, l, 2, strings.Repeat("b", 100))
	path := l.segments[0].path
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(dir, 64, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("opening gave %v", err)
	}
}

// Whatever is behind the last intact frame is cut, what is before it stays, and the log goes on.
func FuzzTornTail(f *testing.F) {
	whole := appendFrame(nil, record{counter: 1 << 60, arrived: 7, key: "key", data: []byte("data")})
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(whole[:len(whole):len(whole)], whole...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18})
	f.Add(appendFrame(nil, record{counter: 1, key: "an old counter"}))
	f.Add(appendFrame(nil, record{counter: 1<<64 - 1, key: "the last counter"}))
	f.Fuzz(func(t *testing.T, tail []byte) {
		dir := t.TempDir()
		l := open(t, dir, 1<<20)
		want := put(t, l, 1000, "one", "two", "three")
		if err := l.seal(); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(tail); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, 1<<20)
		got := readAll(t, l, 0)
		if len(got) < 3 {
			t.Fatalf("%d records are left of 3", len(got))
		}
		if err := same(got[:3], want); err != nil {
			t.Fatal(err)
		}
		want = append(got, put(t, l, 2000, "four")...)
		if err := l.seal(); err != nil {
			t.Fatal(err)
		}
		if err := same(readAll(t, open(t, dir, 1<<20), 0), want); err != nil {
			t.Fatal(err)
		}
	})
}

// A segment of any bytes at all is opened or refused with an error.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("fwkseg"))
	f.Add([]byte("something else entirely"))
	f.Add(appendFrame([]byte(segmentHeader), record{counter: 3, arrived: 4, key: "k", data: []byte("d")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(dir, 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		readAll(t, l, 0)
		if err := l.seal(); err != nil {
			t.Fatal(err)
		}
	})
}
