// Package failpoint lets a test end or pause the process between two durable steps. Every such place in
// fanwatch has a name; nothing happens there unless the environment says so when the process starts:
//
//	FANWATCH_FAILPOINTS="landing.put.before=kill@3 commit.after=pause:2s@1"
//
// kills the process (SIGKILL, no deferred function runs) at the third visit of landing.put.before and
// holds the first visitor of commit.after for two seconds. Visits count from 1; without @n the first.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Environment is the variable that arms failpoints.
const Environment = "FANWATCH_FAILPOINTS"

// The names of all failpoints, so that a kill test can visit every one. Before and after the durable
// steps of the path: a segment's PUT, a snapshot's PUT, a signal to a fan, a commit to the table, a
// compaction's plan and its swap, the drop of snapshots and of days, a notification, the edge's spool append and its move of the cursor.
const (
	LandingPutBefore  = "landing.put.before"
	LandingPutAfter   = "landing.put.after"
	SnapshotPutBefore = "snapshot.put.before"
	SnapshotPutAfter  = "snapshot.put.after"
	SignalBefore      = "signal.before"
	SignalAfter       = "signal.after"
	CommitFiles       = "commit.files.after"
	CommitBefore      = "commit.before"
	CommitAfter       = "commit.after"
	CompactFiles      = "compact.files.after"
	CompactPlanned    = "compact.plan.after"
	CompactBefore     = "compact.before"
	CompactAfter      = "compact.after"
	ExpireBefore      = "expire.before"
	ExpireAfter       = "expire.after"
	RetireBefore      = "retire.before"
	RetireAfter       = "retire.after"
	PlanApplied       = "plan.applied"
	TombstoneBefore   = "tombstone.before"
	TombstoneAfter    = "tombstone.after"
	AlertPutBefore    = "alert.put.before"
	AlertPutAfter     = "alert.put.after"
	NotifyBefore      = "notify.before"
	NotifyAfter       = "notify.after"
	SpoolAppended     = "spool.append.after"
	SpoolAcked        = "spool.ack.before"
)

// Names lists every failpoint.
func Names() []string {
	return []string{LandingPutBefore, LandingPutAfter, SnapshotPutBefore, SnapshotPutAfter, SignalBefore, SignalAfter,
		CommitFiles, CommitBefore, CommitAfter, CompactFiles, CompactPlanned, CompactBefore, CompactAfter, ExpireBefore, ExpireAfter,
		RetireBefore, RetireAfter, PlanApplied, TombstoneBefore, TombstoneAfter, AlertPutBefore, AlertPutAfter,
		NotifyBefore, NotifyAfter, SpoolAppended, SpoolAcked}
}

type action struct {
	visit  int64
	pause  time.Duration // 0: kill
	visits atomic.Int64
}

// armed is the one global here: a failpoint stands in the middle of code that must not be given a
// parameter for it. It is read once and never changes, so a visit costs one map look-up.
var armed, armedErr = parse(os.Getenv(Environment))

// Check tells whether the environment could be understood; main calls it once.
func Check() error { return armedErr }

// Hit is the place itself.
func Hit(name string) {
	a := armed[name]
	if a == nil || a.visits.Add(1) != a.visit {
		return
	}
	if a.pause > 0 {
		time.Sleep(a.pause)
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: killing process %d\n", name, os.Getpid())
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		os.Exit(137)
	}
	select {} // the signal is on its way; go no further
}

func parse(env string) (map[string]*action, error) {
	if env == "" {
		return nil, nil
	}
	known := make(map[string]bool)
	for _, n := range Names() {
		known[n] = true
	}
	all := make(map[string]*action)
	for _, field := range strings.Fields(env) {
		name, rest, _ := strings.Cut(field, "=")
		what, at, counted := strings.Cut(rest, "@")
		a := &action{visit: 1}
		var err error
		if counted {
			if a.visit, err = strconv.ParseInt(at, 10, 64); err != nil || a.visit < 1 {
				return nil, fmt.Errorf("%s: %q: the visit after @ must be 1 or more", Environment, field)
			}
		}
		if pause, ok := strings.CutPrefix(what, "pause:"); ok {
			if a.pause, err = time.ParseDuration(pause); err != nil || a.pause <= 0 {
				return nil, fmt.Errorf("%s: %q: cannot read the pause", Environment, field)
			}
		} else if what != "kill" {
			return nil, fmt.Errorf("%s: %q: want NAME=kill@N or NAME=pause:DURATION@N", Environment, field)
		}
		if !known[name] {
			return nil, fmt.Errorf("%s: there is no failpoint %q; there are: %s", Environment, name, strings.Join(Names(), " "))
		}
		all[name] = a
	}
	return all, nil
}
