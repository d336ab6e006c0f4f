package edge

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"fanwatch"
)

// TestSpoolOfVersion1IsRead: a Pi that is updated still sends what it had spooled. Readings with a duty
// cycle come back with it.
func TestSpoolOfVersion1IsRead(t *testing.T) {
	old, err := os.ReadFile("testdata/spool-v1.seg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.seg", 1)), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, SpoolConfig{Dir: dir, Run: 8})
	commanded := record(1)
	commanded.PWM = fanwatch.NewDuty(0.37)
	s.Append(commanded)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, SpoolConfig{Dir: dir, Run: 9})
	b := s.Next(20)
	for i, r := range b.Records {
		want := record(uint64(i + 1))
		want.Run = 7
		if r != want {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	s.Ack(b)
	commanded.Run = 8
	if b := s.Next(20); len(b.Records) != 1 || b.Records[0] != commanded {
		t.Errorf("got %+v, want %+v", b, commanded)
	}
}
