package edge

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"fanwatch"
)

// Source is a source of edges. Edges calls emit for every edge since the call before, in order and none later
// than now (a real line may give one or two that came while it was asked); now never goes back.
type Source interface {
	Edges(now time.Duration, emit func(Edge)) error
}

// Clock is the time that the measuring half lives by.
type Clock struct {
	Wall fanwatch.Clock // wall time, may step and may be wrong
	// monotonic time since boot: the clock that the Source's edges are stamped by
	Boot  func() time.Duration
	Sleep func(ctx context.Context, until time.Duration) error // waits until Boot gives until, or ctx ends
}

// System returns the machine's clock. Boot is CLOCK_MONOTONIC, because that is what the kernel stamps GPIO
// edges with; it stands still while the machine sleeps, which a Raspberry Pi never does.
func System() Clock {
	return Clock{Wall: time.Now, Boot: sinceBoot, Sleep: func(ctx context.Context, until time.Duration) error {
		timer := time.NewTimer(until - sinceBoot())
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}}
}

// SimulatedClock returns a clock that starts at start and never waits: Sleep advances it to its deadline and
// returns. For simulations as fast as possible. Safe for concurrent use, but all sleepers share one time.
func SimulatedClock(start time.Time) Clock {
	var boot atomic.Int64
	boot.Store(int64(time.Minute))
	origin := start.Add(-time.Minute)
	now := func() time.Duration { return time.Duration(boot.Load()) }
	return Clock{
		Wall: func() time.Time { return origin.Add(now()) },
		Boot: now,
		Sleep: func(ctx context.Context, until time.Duration) error {
			for old := boot.Load(); int64(until) > old && !boot.CompareAndSwap(old, int64(until)); old = boot.Load() {
			}
			return ctx.Err()
		},
	}
}

// BuildTime is when the program was made: the time of its commit, as the go command records it, and not before that of
// this source. No clock is believed that says earlier.
func BuildTime() time.Time { return buildTime() }

var buildTime = sync.OnceValue(func() time.Time {
	var settings []debug.BuildSetting
	if info, ok := debug.ReadBuildInfo(); ok {
		settings = info.Settings
	}
	return madeAt(settings)
})

func madeAt(settings []debug.BuildSetting) time.Time {
	made := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range settings {
		if s.Key != "vcs.time" {
			continue
		}
		if t, err := time.Parse(time.RFC3339, s.Value); err == nil && t.After(made) {
			made = t
		}
	}
	return made
}
