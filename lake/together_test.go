package lake_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// TestReadersLoseNoRowBesideCommitterAndPlanners lets a committer, those who plan, and readers work on the same
// tables until a few swaps have been made (for three minutes with FANWATCH_LONG): a reader's count never goes down,
// no commit fails, and in the end everything is there once.
func TestReadersLoseNoRowBesideCommitterAndPlanners(t *testing.T) {
	long := os.Getenv("FANWATCH_LONG") != ""
	dir := t.TempDir()
	w := openWorld(t, dir, nil)
	committer, planner, reader := openTables(t, w, nil), openTables(t, w, nil), openTables(t, w, nil)
	logs := []landing.Log{w.log(0), w.log(1)}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	every := func(what string, do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	segments := 0
	applied := lake.ApplyResult{}
	every("land and commit", func() error {
		for shard, log := range logs {
			if err := log.Append(t.Context(), window(segments*50, fmt.Sprint("fan-", shard), 7, 1+segments*50, 50)); err != nil {
				return err
			}
		}
		segments++
		if _, err := committer.Commit(t.Context(), logs); err != nil {
			return err
		}
		a, err := committer.Apply(t.Context())
		applied.Swaps, applied.Discarded = applied.Swaps+a.Swaps, applied.Discarded+a.Discarded
		if !long && applied.Swaps >= 12 {
			cancel()
		}
		return err
	})
	every("plan", func() error {
		_, err := planner.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 2})
		return err
	})
	last, reads := int64(0), 0
	every("read", func() error {
		counts, err := reader.Counts(t.Context())
		n := int64(0)
		for _, c := range counts {
			n += int64(c.Rows)
			if c.Duplicates > 0 {
				return fmt.Errorf("%d rows of %s are there twice", c.Duplicates, c.Fan)
			}
		}
		if n < last {
			return fmt.Errorf("%d rows, and before that %d", n, last)
		}
		last = n
		reads++
		return err
	})
	wg.Wait()
	if _, err := committer.Commit(t.Context(), logs); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-0": segments * 50, "fan-1": segments * 50})
	if v, err := committer.Verify(t.Context(), logs, nil); err != nil || !v.OK {
		t.Errorf("%v, %v", v.Faults, err)
	}
	if applied.Swaps == 0 || applied.Discarded > 0 || reads < 3 {
		t.Errorf("%d swaps, %d discarded, %d reads", applied.Swaps, applied.Discarded, reads)
	}
	t.Logf("%d segments, %d swaps, %d reads", segments, applied.Swaps, reads)
}
