// Package failpoint ends or pauses the process between two durable steps, for kill tests. Every such place has
// a name; nothing happens there unless the variable [Environment] names it when the process starts:
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

// The names of all failpoints, one before and one after each durable step of a reading's path.
// Names lists them, so that a kill test can visit every one.
const (
	// LandingPutBefore stands before the PUT of a segment of the landing log.
	LandingPutBefore = "landing.put.before"
	// LandingPutAfter stands after the PUT of a segment of the landing log.
	LandingPutAfter = "landing.put.after"
	// SnapshotPutBefore stands before the PUT of a shard's model snapshot.
	SnapshotPutBefore = "snapshot.put.before"
	// SnapshotPutAfter stands after the PUT of a shard's model snapshot.
	SnapshotPutAfter = "snapshot.put.after"
	// SignalBefore stands before an observation is signalled to a fan's workflow.
	SignalBefore = "signal.before"
	// SignalAfter stands after an observation was signalled to a fan's workflow.
	SignalAfter = "signal.after"
	// CommitFiles stands between the data files of a commit and its metadata.
	CommitFiles = "commit.files.after"
	// CommitBefore stands before a commit swaps a table's metadata.
	CommitBefore = "commit.before"
	// CommitAfter stands after a commit swapped a table's metadata.
	CommitAfter = "commit.after"
	// CompactFiles stands after a compaction's merged files are stored.
	CompactFiles = "compact.files.after"
	// CompactPlanned stands after a compaction's plan is stored.
	CompactPlanned = "compact.plan.after"
	// CompactBefore stands before a compaction's swap of files.
	CompactBefore = "compact.before"
	// CompactAfter stands after a compaction's swap of files.
	CompactAfter = "compact.after"
	// ExpireBefore stands before table snapshots expire.
	ExpireBefore = "expire.before"
	// ExpireAfter stands after table snapshots expired.
	ExpireAfter = "expire.after"
	// RetireBefore stands before whole days are dropped from a table.
	RetireBefore = "retire.before"
	// RetireAfter stands after whole days were dropped from a table.
	RetireAfter = "retire.after"
	// PlanApplied stands between the application of a plan and its removal.
	PlanApplied = "plan.applied"
	// TombstoneBefore stands before a truncated segment gets its tombstone.
	TombstoneBefore = "tombstone.before"
	// TombstoneAfter stands after a truncated segment got its tombstone.
	TombstoneAfter = "tombstone.after"
	// AlertPutBefore stands before the PUT of an ended alert's row.
	AlertPutBefore = "alert.put.before"
	// AlertPutAfter stands after the PUT of an ended alert's row.
	AlertPutAfter = "alert.put.after"
	// NotifyBefore stands before a notification is published.
	NotifyBefore = "notify.before"
	// NotifyAfter stands after a notification was published.
	NotifyAfter = "notify.after"
	// SpoolAppended stands after a reading was appended to the edge's spool.
	SpoolAppended = "spool.append.after"
	// SpoolAcked stands before the cursor of the edge's spool moves over an acknowledged batch.
	SpoolAcked = "spool.ack.before"
)

// Names returns the names of all failpoints, in the order of a reading's path.
func Names() []string {
	return []string{LandingPutBefore, LandingPutAfter, SnapshotPutBefore, SnapshotPutAfter, SignalBefore, SignalAfter,
		CommitFiles, CommitBefore, CommitAfter, CompactFiles, CompactPlanned, CompactBefore, CompactAfter, ExpireBefore,
		ExpireAfter,
		RetireBefore, RetireAfter, PlanApplied, TombstoneBefore, TombstoneAfter, AlertPutBefore, AlertPutAfter,
		NotifyBefore, NotifyAfter, SpoolAppended, SpoolAcked}
}

type action struct {
	visit  int64
	pause  time.Duration // 0: kill
	visits atomic.Int64
}

// armed holds what [Environment] named when the process started. It never changes, so a visit costs one map look-up.
// It is global because the code around a failpoint has no parameter for it.
var armed, armedErr = parse(os.Getenv(Environment))

// Check returns an error if the value of [Environment] could not be parsed. A program calls it once, at its start.
func Check() error { return armedErr }

// Hit marks the place called name: at the visit that [Environment] names it kills or pauses the process, otherwise it
// does nothing. It is safe for concurrent use.
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
	select {} // the signal is on its way: no further step may be taken
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
