package landing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fanwatch"
)

// recentListed is how many keys Recent lists before it takes the oldest snapshot instead.
const recentListed = 50_000

// Recent returns a place in the log from which [Log.Walk] meets every segment that was appended since the returned
// time. That is t; the zero time, where the place is the log's start; or the oldest snapshot's, where the log has more
// than 50,000 segments.
func (l Log) Recent(ctx context.Context, t time.Time) (at fanwatch.SequenceNumber, since time.Time, err error) {
	if err := l.check(); err != nil {
		return "", t, err
	}
	folder := strings.TrimSuffix(l.segmentKey("0"), fanwatch.SequenceNumber("0").Pad()+".parquet")
	key, last, old, n := "", "", false, 0
	for o, err := range l.Store.List(ctx, folder, "") {
		if err != nil {
			return "", t, fmt.Errorf("landing log of shard %s: %w", l.Shard, err)
		}
		if n++; n > recentListed {
			return l.oldestSnapshot(ctx)
		}
		last = o.Key
		switch { // a tombstone is newer than its segment was: what counts is the last series of new keys
		case o.Modified.Before(t):
			key, old = "", true
		case key == "":
			key = o.Key
		}
	}
	if !old {
		return "0", time.Time{}, nil
	}
	if key == "" { // nothing is new: the log's last segment
		key = last
	}
	at, err = fanwatch.ParseSequenceNumber(strings.TrimSuffix(strings.TrimPrefix(key, folder), ".parquet"))
	return at, t, err
}

// oldestSnapshot returns where the third newest snapshot was taken, or the oldest of fewer, without reading it.
func (l Log) oldestSnapshot(ctx context.Context) (at fanwatch.SequenceNumber, since time.Time, err error) {
	all, err := l.snapshots(ctx)
	if err != nil || len(all) == 0 {
		return "0", time.Time{}, err
	}
	o := all[min(len(all), snapshotsKept)-1]
	at, err = fanwatch.ParseSequenceNumber(strings.TrimSuffix(strings.TrimPrefix(o.Key, l.snapshotPrefix()),
		snapshotSuffix))
	return at, o.Modified, err
}
