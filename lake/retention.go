package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// PlanExpiry stores a plan to expire the table's snapshots that are older than olderThan, but not the newest keep, and
// to delete the files that only they used. A reader that began on one of them may lose its files.
func (t *iceTable) PlanExpiry(ctx context.Context, olderThan time.Duration, keep int) error {
	_, err := t.enqueue(ctx, plan{Why: fmt.Sprintf("snapshots older than %s", olderThan), Expire: &expiry{olderThan,
		keep}})
	return wrap(err, "expire snapshots")
}

// ExpireSnapshots is PlanExpiry and Apply of its plan, for a process that is the table's only writer.
func (t *iceTable) ExpireSnapshots(ctx context.Context, olderThan time.Duration, keep int) error {
	_, err := t.apply(ctx, &plan{Expire: &expiry{olderThan, keep}})
	return wrap(err, "expire snapshots")
}

// RemoveOrphans deletes the files below the table's folder that no snapshot and no waiting plan refers to and that are
// older than olderThan: those of killed and conflicting commits. It returns their number. olderThan must exceed the
// longest time that a commit or a compaction takes, or a file that is about to be committed is deleted; an hour is
// enough. While an object among the plans may be a plan and cannot be read, data files stay. A file that cannot be
// deleted keeps no other from being deleted; the error is then a *[Partial].
func (t *iceTable) RemoveOrphans(ctx context.Context, olderThan time.Duration) (int, error) {
	before := t.cfg.Now().Add(-olderThan)
	var old []string
	for _, folder := range []string{"/data/", "/metadata/", "/retired/"} {
		for o, err := range t.cfg.Store.List(ctx, t.root+folder, "") {
			if err != nil {
				return 0, fmt.Errorf("orphans: %w", err)
			}
			// a key that CheckKey refuses is a folder marker, or another program's
			if o.Modified.Before(before) && objstore.CheckKey(o.Key) == nil {
				old = append(old, o.Key)
			}
		}
	}
	// The plans after the listing and the table after the plans: every file that was planned or committed until now is
	// found in one of them.
	waiting, doubtful, err := t.waitingPlans(ctx)
	if err != nil {
		return 0, fmt.Errorf("orphans: nothing was removed: %w", err)
	}
	used, err := t.usedKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("orphans: nothing was removed: %w", err)
	}
	for _, p := range waiting {
		used[p.Set[propRetired]] = true
		for _, e := range p.Added {
			key, err := t.key(e.Path)
			if err != nil {
				continue // outside the table's folder, where no file is deleted
			}
			used[key] = true
		}
	}
	removed := 0
	var failed failures
	for _, key := range old {
		if used[key] || doubtful && !strings.HasPrefix(key, t.root+"/metadata/") {
			continue
		}
		if err := t.cfg.Store.Delete(ctx, key); err != nil {
			failed.add(fmt.Errorf("orphans: %w", err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		removed++
	}
	return removed, failed.err()
}

// usedKeys returns the keys of all files that the table's snapshots and metadata refer to.
func (t *iceTable) usedKeys(ctx context.Context) (map[string]bool, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	fs, err := tbl.FS(ctx)
	if err != nil {
		return nil, err
	}
	paths := []string{tbl.MetadataLocation()}
	for previous := range tbl.Metadata().PreviousFiles() {
		paths = append(paths, previous.MetadataFile)
	}
	seen := make(map[string]bool) // snapshots share most of their manifests
	for _, s := range tbl.Metadata().Snapshots() {
		paths = append(paths, s.ManifestList)
		manifests, err := s.Manifests(fs)
		if err != nil {
			return nil, err
		}
		for _, m := range manifests {
			if seen[m.FilePath()] {
				continue
			}
			seen[m.FilePath()] = true
			paths = append(paths, m.FilePath())
			for entry, err := range m.Entries(fs, true) {
				if err != nil {
					return nil, err
				}
				paths = append(paths, entry.DataFile().FilePath())
			}
		}
	}
	used := map[string]bool{tbl.Properties()[propRetired]: true}
	for _, path := range paths {
		key, err := t.key(path)
		if err != nil {
			return nil, err
		}
		used[key] = true
	}
	return used, nil
}

// TruncateLog replaces by tombstones the segments of the log whose rows are in the table and in those that
// [OpenTables] opened beside it, lie before the oldest kept snapshot of the models, and arrived longer than olderThan
// ago. It returns their number.
func (t *Table) TruncateLog(ctx context.Context, l landing.Log, olderThan time.Duration) (int, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return 0, err
	}
	upto, err := t.truncatable(ctx, tbl, l)
	if err != nil || upto == "0" {
		return 0, err
	}
	mark := propExpired + l.Stream + "/" + l.Shard
	at := cmp.Or(fanwatch.SequenceNumber(tbl.Properties()[mark]), "0")
	from, replaced := at, 0
	before := t.cfg.Now().Add(-olderThan)
	for at.Compare(upto) < 0 {
		s, err := l.Next(ctx, at)
		if errors.Is(err, objstore.ErrNotFound) {
			break
		}
		if err != nil {
			return replaced, fmt.Errorf("truncate log: %w", err)
		}
		if s.Last.Compare(upto) > 0 || slices.ContainsFunc(s.Rows,
			func(r fanwatch.Row) bool { return r.Arrived.After(before) }) {
			break
		}
		if len(s.Rows) > 0 {
			if err := l.Tombstone(ctx, s.Header); err != nil {
				return replaced, fmt.Errorf("truncate log: %w", err)
			}
			replaced++
		}
		if at = s.Last; s.End {
			break
		}
	}
	if at != from {
		// The mark only spares the next call the segments up to here.
		if _, err := t.enqueue(ctx, plan{Why: "tombstones of " + l.Shard,
			Set: map[string]string{mark: string(at)}}); err != nil {
			return replaced, fmt.Errorf("truncate log: %w", err)
		}
	}
	return replaced, nil
}

// truncatable returns the sequence number up to which the log's rows are in the tables and lie before the oldest kept
// snapshot. That one must be readable: a scorer that finds newer ones damaged falls back on it.
func (t *Table) truncatable(ctx context.Context, tbl *table.Table, l landing.Log) (fanwatch.SequenceNumber, error) {
	in, err := coverageOf(tbl, l)
	if err != nil {
		return "0", err
	}
	committed := in.complete()
	for _, f := range t.followers {
		tbl, err := f.load(ctx)
		if err != nil {
			return "0", err
		}
		in, err := coverageOf(tbl, l)
		if err != nil {
			return "0", err
		}
		if at := in.complete(); at.Compare(committed) < 0 {
			committed = at
		}
	}
	at, err := l.OldestSnapshot(ctx)
	if err != nil {
		return "0", fmt.Errorf("truncate log: %w", err)
	}
	if at.Compare(committed) < 0 {
		return at, nil
	}
	return committed, nil
}
