package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestFullDiskGoesOnFromMemory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7, SegmentBytes: 2000})
	fill(s, 1, 20)
	s.mu.Lock()
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	s.file, _ = os.Open(s.path(s.active.id)) // cannot be written: the next append fails, as on a broken disk
	// Directories in the way keep new segments from being made.
	for id := s.nextID; id < s.nextID+9; id++ {
		os.Mkdir(s.path(id), 0o700)
	}
	first := s.nextID
	s.mu.Unlock()
	fill(s, 21, 120)
	st := s.Stats()
	if st.Disk == "" || st.Failures == 0 || st.Memory != 100 || st.Spooled != 120 {
		t.Fatalf("in memory: %+v", st)
	}
	s.Ack(s.Next(10))
	s.Ack(s.Next(10))
	s.Ack(s.Next(10))
	if st := s.Stats(); st.Acked != 30 {
		t.Fatalf("memory is not sent: %+v", st)
	}
	for id := first; id < first+9; id++ {
		os.Remove(s.path(id))
	}
	s.Sync()
	if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Spooled != 90 {
		t.Fatalf("after the disk came back: %+v", st)
	}
	fill(s, 121, 130)
	s.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 8})
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(31, 130)) {
		t.Errorf("got %v", seqs(got))
	}
}

func TestFullDiskForReal(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system here: %v %s", err, bytes.TrimSpace(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	s := open(t, SpoolConfig{Dir: filepath.Join(dir, "spool"), Run: 7, SegmentBytes: 16 << 10})
	fill(s, 1, 5000)
	if st := s.Stats(); st.Memory == 0 || st.Spooled != 5000 || !strings.Contains(st.Disk, "no space") {
		t.Fatalf("%+v", st)
	}
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(1, 5000)) {
		t.Fatalf("%d readings came, want 5000 in order", len(got))
	}
	fill(s, 5001, 5010)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Spooled != 10 {
		t.Errorf("after space was made: %+v", st)
	}
}

// TestNoRoomForAnotherSegment: what is open takes writes, but no new segment can be made, be it that the disk has
// no inode left or that it filled again after a Sync found it well. The spool once went on from a segment that it
// had given up, and crashed.
func TestNoRoomForAnotherSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, SpoolConfig{Dir: dir, Run: 7, SegmentBytes: 2000})
	fill(s, 1, 20)
	total := uint64(20)
	for range 3 {
		s.mu.Lock()
		var blocked []string
		for id := s.nextID; id < s.nextID+30; id++ {
			blocked = append(blocked, s.path(id)) // a directory in the way, as root passes over permissions
			os.Mkdir(s.path(id), 0o700)
		}
		s.mu.Unlock()
		fill(s, total+1, total+100)
		total += 100
		if st := s.Stats(); st.Disk == "" || st.Failures == 0 || st.Memory < 50 || st.Spooled != int(total) {
			t.Fatalf("without room: %+v", st)
		}
		if s.Sync() != nil || s.Stats().Disk == "" {
			t.Error("Sync took the disk for well")
		}
		fill(s, total+1, total+10)
		total += 10
		for _, path := range blocked {
			os.Remove(path)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Spooled != int(total) {
			t.Fatalf("with room again: %+v", st)
		}
	}
	s.Close()
	s = open(t, SpoolConfig{Dir: dir, Run: 8})
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(1, total)) {
		t.Errorf("got %v, want 1 to %d", seqs(got), total)
	}
}

// TestNoInodeForReal begins on a disk that has no inode for the spool, and fills it again after one was freed.
func TestNoInodeForReal(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=6", "tmpfs",
		dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system here: %v %s", err, bytes.TrimSpace(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	other := func(i int) string { return filepath.Join(dir, fmt.Sprint("other", i)) }
	n := 0
	for ; os.WriteFile(other(n), nil, 0o600) == nil; n++ {
	}
	if n < 5 {
		t.Fatalf("%d inodes, want 5", n)
	}
	c := SpoolConfig{Dir: filepath.Join(dir, "spool"), Run: 7, SegmentBytes: 2000}
	s := open(t, c)
	fill(s, 1, 10)
	for i := range 4 { // directory, lock, cursor, one segment
		os.Remove(other(i))
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Spooled != 10 {
		t.Fatalf("with an inode: %+v", st)
	}
	fill(s, 11, 60)
	if st := s.Stats(); !strings.Contains(st.Disk, "no space") || st.Memory != 50 {
		t.Fatalf("without another: %+v", st)
	}
	os.Remove(other(4))
	s.Sync() // one of two segments
	fill(s, 61, 70)
	s.Ack(s.Next(10))
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(11, 70)) {
		t.Errorf("got %v, want 11 to 70", seqs(got))
	}
}

// TestSpoolWhoseFilesAreRemoved: what was in them is lost and counted; everything from the next Sync on is kept in
// memory or in files made anew, a second publisher stays out, and the next start knows how far this one came.
func TestSpoolWhoseFilesAreRemoved(t *testing.T) {
	for name, returns := range map[string]func(dir string){
		"directory":              func(string) {},
		"contents":               func(dir string) { os.Mkdir(dir, 0o700) },
		"a file instead of them": func(dir string) { os.WriteFile(dir, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			c := SpoolConfig{Dir: dir, Fan: "fan-01", Run: 7, SegmentBytes: 2000}
			s := open(t, c)
			fill(s, 1, 10)
			s.Ack(s.Next(10))
			fill(s, 11, 30) // the first segment has room for 11 and 12 more
			if err := os.RemoveAll(dir); err != nil {
				t.Skipf("cannot remove files in use here: %v", err)
			}
			returns(dir)
			fill(s, 31, 60)
			s.Sync()
			s.Sync() // where the first finds out by its own sync of the directory
			fill(s, 61, 90)
			if info, err := os.Stat(dir); err == nil && !info.IsDir() {
				if st := s.Stats(); st.Disk == "" || st.Memory < 30 {
					t.Errorf("in memory: %+v", st)
				}
				os.Remove(dir)
			}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Acked != 10 {
				t.Errorf("with files again: %+v", st)
			}
			if _, err := OpenSpool(SpoolConfig{Dir: dir, Fan: "fan-01", Run: 8}); err == nil ||
				!strings.Contains(err.Error(), "another publisher") {
				t.Errorf("a second publisher: %v", err)
			}
			b := s.Next(10)
			first := b.Records[0].Seq
			if first > 61 || b.Dropped != first-11 || s.Stats().Dropped != b.Dropped {
				t.Errorf("batch from %d says %d dropped, stats %+v", first, b.Dropped, s.Stats())
			}
			s.Rewind()
			s.Close()
			c.Run = 8
			s = open(t, c)
			b = s.Next(10)
			if b == nil || b.Records[0].Seq != first || b.Acked != 10 || b.Dropped != first-11 {
				t.Fatalf("after a restart: %+v", b)
			}
			s.Rewind()
			if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(first, 90)) {
				t.Errorf("got %v, want %d to 90", seqs(got), first)
			}
		})
	}
}

// TestAcknowledgedBeforeTheDiskCame: what a run sent from memory counts when the disk can be used at last.
func TestAcknowledgedBeforeTheDiskCame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := &Spool{c: SpoolConfig{Dir: dir, Fan: "fan-01", Run: 7, MaxBytes: 1 << 20, MaxMemory: 1 << 20, SegmentBytes: 2000,
		Log: slog.New(slog.DiscardHandler)}, wake: make(chan struct{}, 1), nextID: 1}
	s.fail(fmt.Errorf("no disk")) // as OpenSpool does
	t.Cleanup(func() { s.Close() })
	fill(s, 1, 10)
	drain(t, s)
	s.mu.Lock()
	s.active = nil // as a failure that comes later does
	s.removeSpent()
	s.mu.Unlock()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	fill(s, 11, 20)
	if b := s.Next(10); b.Acked != 10 || b.Dropped != 0 || s.Stats().Acked != 10 {
		t.Errorf("acked %d, dropped %d, %+v", b.Acked, b.Dropped, s.Stats())
	}
}
