package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"fanwatch/failpoint"
)

// CompactConfig sets when and how much is compacted. Zero values mean the defaults.
type CompactConfig struct {
	MinFiles    int   // a day with more small files than this is compacted; 0 = 8. Fewer: faster scans, more rewriting.
	TargetBytes int64 // a file of this size or more is left alone; 0 = 128 MiB
	MaxRows     int   // about how many rows one call merges at most; 0 = 8,000,000. Bounds time and memory: 20 bytes a row, and up to 128 MB of files.
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

// Compact merges the small files of each day that has too many of them, and swaps them for the merged file in one
// `replace` snapshot for all days: a reader sees the old files or the new. Days are merged side by side, as many as
// there are cores. Before the swap it reads the merged files back and compares row counts and content. A commit that
// comes in between does not disturb it: the swap is made again on top of it. The old files stay until
// ExpireSnapshots.
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
	var jobs []*dayJob
	room := cfg.MaxRows
	for _, day := range slices.Sorted(maps.Keys(small)) {
		files := small[day]
		if len(files) <= cfg.MinFiles {
			continue
		}
		slices.SortFunc(files, func(a, b iceberg.DataFile) int {
			return cmp.Or(cmp.Compare(a.FileSizeBytes(), b.FileSizeBytes()), cmp.Compare(a.FilePath(), b.FilePath()))
		})
		taken := fitting(files, room)
		if taken < len(files) {
			c.result.More = true
		}
		if taken < 2 && len(jobs) > 0 {
			break
		}
		job := &dayJob{day: day, files: files[:max(taken, 2)]}
		for _, df := range job.files {
			room -= int(df.Count())
		}
		jobs = append(jobs, job)
	}
	// The days share MaxRows, so merging several at once takes no more memory than one large one.
	merging, ctx := errgroup.WithContext(ctx)
	merging.SetLimit(runtime.GOMAXPROCS(0))
	for _, job := range jobs {
		merging.Go(func() (err error) {
			if job.merged, job.stats, err = t.mergeDay(ctx, tbl, job.day, job.files); err != nil {
				return fmt.Errorf("compact: day %d: %w", job.day, err)
			}
			return nil
		})
	}
	if err := merging.Wait(); err != nil {
		return nil, err
	}
	for _, job := range jobs {
		c.add(job)
	}
	return c, nil
}

// dayJob is the merge of one day's files.
type dayJob struct {
	day    int32
	files  []iceberg.DataFile
	merged iceberg.DataFile
	stats  mergeStats
}

func (c *compaction) add(job *dayJob) {
	c.removed, c.added = append(c.removed, job.files...), append(c.added, job.merged)
	c.result.Days++
	c.result.FilesIn += len(job.files)
	c.result.FilesOut++
	c.result.RowsIn += job.stats.in
	c.result.RowsOut += job.stats.out
	c.result.Duplicates += job.stats.duplicates
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

// mergeDay merges files of one day into one.
func (t *Table) mergeDay(ctx context.Context, tbl *table.Table, day int32, files []iceberg.DataFile) (df iceberg.DataFile, stats mergeStats, err error) {
	m := newMerger()
	defer func() { err = errors.Join(err, m.close()) }()
	for _, df := range files {
		key, err := t.key(df.FilePath())
		if err == nil {
			err = m.add(ctx, t.cfg.Store, key, df.FileSizeBytes(), int(df.Count()))
		}
		if err != nil {
			return nil, mergeStats{}, fmt.Errorf("%s: %w", df.FilePath(), err)
		}
	}
	key := t.newFileKey(day)
	file, err := m.merge(ctx, t.cfg.Store, key, day)
	if err != nil {
		return nil, mergeStats{}, err
	}
	df, err = file.describe(tbl.Spec(), tbl.SortOrder().OrderID(), t.cfg.Location+"/"+key)
	return df, m.stats(), err
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
