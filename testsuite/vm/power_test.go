package vm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// TestPowerCut cuts the power of a machine, again and again, while it appends to a spool on ext4: whatever Sync had
// returned from is there after the next boot, in order and without a hole, but for what may have been acknowledged.
// What came after the last Sync (which is 10 s at most in operation) may be gone.
func TestPowerCut(t *testing.T) {
	rounds := 2
	if os.Getenv("FANWATCH_LONG") != "" {
		rounds = 40
	}
	m := newMachine(t)
	m.format(64)
	rng := rand.New(rand.NewPCG(7, 7))
	// per run: the highest number that was synced, that may have been acknowledged
	synced, acked := map[uint64]uint64{}, map[uint64]uint64{}
	for round := range rounds + 1 {
		type span struct{ run, from, to uint64 }
		var left []span
		opened, lines, limit := false, 0, 5+rng.IntN(300)
		m.env = []string{"EDGE_TEST_APPEND=/disk/spool", "EDGE_TEST_SYNC=1", fmt.Sprintf("EDGE_TEST_RUN=%d", round+1)}
		m.run(3*time.Minute, func(line string) bool {
			var s span
			switch {
			case scan(line, "left %d %d %d", &s.run, &s.from, &s.to):
				left = append(left, s)
			case scan(line, "opened %d", &s.from):
				opened = true
				t.Logf("boot %d: left %v, %s", round, left, line)
			case scan(line, "synced %d %d", &s.run, &s.to):
				synced[s.run] = s.to
				lines++
			case scan(line, "acking %d %d", &s.run, &s.to):
				acked[s.run] = max(acked[s.run], s.to)
				lines++
			default:
				t.Logf("console: %s", line)
			}
			return lines < limit && !(opened && round == rounds)
		})
		if !opened {
			t.Fatalf("boot %d: the spool was not opened", round)
		}
		seen := map[uint64]bool{}
		for i, s := range left {
			if i > 0 && s.run <= left[i-1].run {
				t.Errorf("boot %d: run %d comes twice or out of order: %v", round, s.run, left)
			}
			if s.from > acked[s.run]+1 || s.to < synced[s.run] {
				t.Errorf("boot %d: run %d: synced 1..%d, acknowledged 1..%d at most, but left %d..%d", round, s.run, synced[s.run],
					acked[s.run], s.from, s.to)
			}
			seen[s.run] = true
		}
		for _, run := range slices.Sorted(maps.Keys(synced)) {
			if run <= uint64(round) && !seen[run] && acked[run] < synced[run] {
				t.Errorf("boot %d: run %d: synced 1..%d, acknowledged 1..%d at most, nothing left", round, run, synced[run],
					acked[run])
			}
		}
	}
}

func scan(line, format string, to ...any) bool {
	n, err := fmt.Sscanf(line, format, to...)
	return err == nil && n == len(to)
}
