package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch/failpoint"
)

// CompactConfig sets when and how much is compacted. Zero values mean the defaults.
type CompactConfig struct {
	MinFiles    int   // a day with more small files than this is compacted; 0 = 8. Fewer: faster scans, more rewriting.
	TargetBytes int64 // a file of this size or more is left alone; 0 = 128 MiB
	MaxRows     int   // about how many rows one call merges at most; 0 = 8,000,000. Bounds time; memory is the files' compressed size.
}

// CompactResult says what one Compact merged.
type CompactResult struct {
	Days       int  `json:"days"`
	FilesIn    int  `json:"files_in"`
	FilesOut   int  `json:"files_out"`
	RowsIn     int  `json:"rows_in"`
	RowsOut    int  `json:"rows_out"`
	Duplicates int  `json:"duplicates"`
	More       bool `json:"more"` // MaxRows was reached: compact again
}

// Compact merges the small files of each day that has too many of them, and swaps them for the merged
// file in one `replace` snapshot for all days: a reader sees the old files or the new. Before the swap it
// reads the merged files back and compares row counts and content. A commit that comes in between does
// not disturb it: the swap is made again on top of it. The old files stay until ExpireSnapshots.
func (t *Table) Compact(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	cfg = CompactConfig{cmp.Or(cfg.MinFiles, 8), cmp.Or(cfg.TargetBytes, 128<<20), cmp.Or(cfg.MaxRows, 8_000_000)}
	var errs []error
	var c *compaction
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return CompactResult{}, errors.Join(append(errs, err)...)
		}
		tbl, live, err := t.loadFiles(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if c != nil && all(c.added, live) {
			return c.result, nil // the answer was lost, the swap was not
		}
		if c == nil || !all(c.removed, live) {
			if c, err = t.mergeDays(ctx, tbl, live, cfg); err != nil {
				return CompactResult{}, err
			}
			if len(c.removed) == 0 {
				return CompactResult{}, nil
			}
			failpoint.Hit(failpoint.CompactFiles)
		}
		if err := swap(ctx, tbl, c); err != nil {
			errs = append(errs, err)
			continue
		}
		return c.result, nil
	}
	return CompactResult{}, fmt.Errorf("compact: given up after %d attempts: %w", commitAttempts, errors.Join(errs...))
}

// compaction is the plan of one swap: what leaves the table and what comes in.
type compaction struct {
	removed, added []iceberg.DataFile
	result         CompactResult
}

func (t *Table) loadFiles(ctx context.Context) (*table.Table, map[string]iceberg.DataFile, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	live := make(map[string]iceberg.DataFile)
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return nil, nil, err
		}
		live[df.FilePath()] = df
	}
	return tbl, live, nil
}

func all(files []iceberg.DataFile, live map[string]iceberg.DataFile) bool {
	return !slices.ContainsFunc(files, func(df iceberg.DataFile) bool { return live[df.FilePath()] == nil })
}

// mergeDays merges day by day until MaxRows is reached. Nothing refers to the merged files yet.
func (t *Table) mergeDays(ctx context.Context, tbl *table.Table, live map[string]iceberg.DataFile, cfg CompactConfig) (*compaction, error) {
	small := make(map[int32][]iceberg.DataFile)
	for _, df := range live {
		if df.FileSizeBytes() >= cfg.TargetBytes {
			continue
		}
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		small[day] = append(small[day], df)
	}
	c := &compaction{}
	for _, day := range slices.Sorted(maps.Keys(small)) {
		files := small[day]
		if len(files) <= cfg.MinFiles {
			continue
		}
		slices.SortFunc(files, func(a, b iceberg.DataFile) int {
			return cmp.Or(cmp.Compare(a.FileSizeBytes(), b.FileSizeBytes()), cmp.Compare(a.FilePath(), b.FilePath()))
		})
		taken := fitting(files, cfg.MaxRows-c.result.RowsIn)
		if taken < len(files) {
			c.result.More = true
		}
		if taken < 2 && c.result.Days > 0 {
			break
		}
		if err := t.mergeDay(ctx, tbl, c, day, files[:max(taken, 2)]); err != nil {
			return nil, fmt.Errorf("compact: day %d: %w", day, err)
		}
	}
	return c, nil
}

// fitting tells how many of the files hold at most rows together.
func fitting(files []iceberg.DataFile, rows int) int {
	for i, df := range files {
		if rows -= int(df.Count()); rows < 0 {
			return i
		}
	}
	return len(files)
}

func (t *Table) mergeDay(ctx context.Context, tbl *table.Table, c *compaction, day int32, files []iceberg.DataFile) error {
	var cursors []*cursor
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	recorded := 0
	for _, df := range files {
		data, err := t.read(ctx, df)
		if err != nil {
			return err
		}
		cur, err := openCursor(data)
		if err != nil {
			return fmt.Errorf("%s: %w", df.FilePath(), err)
		}
		cursors = append(cursors, cur)
		recorded += int(df.Count())
	}
	seed := maphash.MakeSeed()
	merged := newDataFile(day)
	stats, err := merge(cursors, func(s *stored) uint64 { return s.hash(seed) }, merged.add)
	if err != nil {
		return err
	}
	if stats.in != recorded || stats.out != stats.in-stats.duplicates || merged.rows != stats.out {
		return fmt.Errorf("the table counts %d rows, read were %d, %d of them twice, written %d: nothing was changed", recorded, stats.in, stats.duplicates, merged.rows)
	}
	described, err := t.storeFile(ctx, tbl, merged)
	if err != nil {
		return err
	}
	if err := t.verify(ctx, described, stats, seed); err != nil {
		return err
	}
	c.removed, c.added = append(c.removed, files...), append(c.added, described)
	c.result.Days++
	c.result.FilesIn += len(files)
	c.result.FilesOut++
	c.result.RowsIn += stats.in
	c.result.RowsOut += stats.out
	c.result.Duplicates += stats.duplicates
	return nil
}

// verify reads the merged file back from the Store and compares it with what was read from the old ones.
func (t *Table) verify(ctx context.Context, df iceberg.DataFile, stats mergeStats, seed maphash.Seed) error {
	data, err := t.read(ctx, df)
	if err != nil {
		return err
	}
	cur, err := openCursor(data)
	if err != nil {
		return err
	}
	defer cur.close()
	rows, sum := 0, uint64(0)
	for {
		s, err := cur.next()
		if err != nil {
			return err
		}
		if s == nil {
			break
		}
		rows++
		sum += s.hash(seed)
	}
	if rows != stats.out || sum != stats.inHash-stats.dupHash {
		return fmt.Errorf("the merged file %s holds %d rows and other content than the %d rows that were to be in it: nothing was changed", df.FilePath(), rows, stats.out)
	}
	return nil
}

func swap(ctx context.Context, tbl *table.Table, c *compaction) error {
	tx := tbl.NewTransaction()
	if err := tx.AssertRefSnapshotID(table.MainBranch); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	rewrite := tx.NewRewrite(nil)
	for _, df := range c.removed {
		rewrite.DeleteFile(df)
	}
	for _, df := range c.added {
		rewrite.AddDataFile(df)
	}
	if err := rewrite.Commit(ctx); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	failpoint.Hit(failpoint.CompactBefore)
	_, err := tx.Commit(ctx)
	failpoint.Hit(failpoint.CompactAfter)
	return wrap(err, "compact")
}
