package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"fanwatch/failpoint"
	"fanwatch/lake/rowfile"
)

// CompactConfig says when and how much is compacted. Zero values mean the defaults.
type CompactConfig struct {
	// MinFiles is how many files of one level a day may have; 0 = 8. Fewer: faster scans, more rewriting.
	MinFiles int
	// TargetBytes is the largest size of a merged file; a file of three quarters of it is left alone; 0 = 128 MiB.
	TargetBytes int64
	// MaxRows is about how many rows one call merges at most; 0 = 8,000,000. It bounds time and memory: 20 bytes a row,
	// and up to 128 MB of files.
	MaxRows int
	// Settle is how long after its end a day counts as over; 0 = 1 h.
	Settle time.Duration
}

func (c CompactConfig) withDefaults() CompactConfig {
	return CompactConfig{cmp.Or(c.MinFiles, 8), cmp.Or(c.TargetBytes, 128<<20), cmp.Or(c.MaxRows, 8_000_000),
		cmp.Or(c.Settle, time.Hour)}
}

// CompactResult is what one compaction merged.
type CompactResult struct {
	Days       int  `json:"days"`       // merges, each of one day's files of one level
	FilesIn    int  `json:"files_in"`   // files that were merged
	FilesOut   int  `json:"files_out"`  // files that take their place
	RowsIn     int  `json:"rows_in"`    // rows of the merged files
	RowsOut    int  `json:"rows_out"`   // rows of the new files
	Duplicates int  `json:"duplicates"` // rows that were dropped as copies
	More       bool `json:"more"`       // MaxRows was reached: compact again
}

// Compact is [Tables.PlanCompaction] of the readings and Apply of its plan, for a process that is the table's only
// writer.
func (t *Table) Compact(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	for range commitAttempts {
		key, p, r, failed := t.planCompaction(ctx, cfg, t.mergeDay)
		if key == "" {
			return r, failed
		}
		done, err := t.apply(ctx, &p)
		if err == nil {
			err = t.removePlan(ctx, key)
		}
		if err != nil {
			return CompactResult{}, fmt.Errorf("compact: %w", err)
		}
		if done {
			return r, failed
		}
	}
	return CompactResult{}, fmt.Errorf("compact: given up after %d attempts: another program compacts the same table",
		commitAttempts)
}

// mergeFunc merges those of a day's files that can be read into one stored file, which has each row once. It may be
// called concurrently.
type mergeFunc func(ctx context.Context, tbl *table.Table, day int32, files []iceberg.DataFile) (merged, error)

// merged is the result of a mergeFunc.
type merged struct {
	file   iceberg.DataFile   // nil: fewer than two files could be read, and nothing was stored
	from   []iceberg.DataFile // the files that were merged
	stats  rowfile.MergeStats
	failed failures // files that could not be read
}

// planCompaction merges small files and enqueues the plan of the swap. key is "" where nothing was planned.
func (t *iceTable) planCompaction(ctx context.Context, cfg CompactConfig, merge mergeFunc) (key string, p plan,
	r CompactResult, err error) {
	tbl, small, err := t.smallFiles(ctx)
	if err != nil {
		return "", p, r, err
	}
	var c *compaction
	var failed failures
	for {
		c = t.mergeDays(ctx, tbl, small, cfg.withDefaults(), merge)
		failed.add(c.failed.err())
		if len(c.removed) > 0 || !c.result.More || len(c.failedFiles) == 0 || ctx.Err() != nil {
			break
		}
		for _, df := range c.failedFiles { // they took all of MaxRows: the files behind them are merged without them
			delete(small, df.FilePath())
		}
	}
	if len(c.removed) == 0 {
		return "", p, CompactResult{}, failed.err()
	}
	failpoint.Hit(failpoint.CompactFiles)
	p.Why = fmt.Sprintf("%d files of %d days became %d", c.result.FilesIn, c.result.Days, c.result.FilesOut)
	for _, df := range c.removed {
		p.Removed = append(p.Removed, df.FilePath())
	}
	for _, df := range c.added {
		e, err := newFileEntry(df)
		if err != nil {
			return "", p, r, err
		}
		p.Added = append(p.Added, e)
	}
	if key, err = t.enqueue(ctx, p); err != nil {
		return "", p, r, fmt.Errorf("compact: %w", err)
	}
	failpoint.Hit(failpoint.CompactPlanned)
	return key, p, c.result, failed.err()
}

// smallFiles returns the table's files, by path, that no waiting plan removes; none of a table of an earlier version.
func (t *iceTable) smallFiles(ctx context.Context) (*table.Table, map[string]iceberg.DataFile, error) {
	waiting, _, err := t.waitingPlans(ctx) // before the table, which then has every plan that is applied meanwhile
	if err != nil {
		return nil, nil, err
	}
	tbl, live, err := t.loadFiles(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !isCurrent(tbl) {
		return tbl, nil, nil
	}
	for _, p := range waiting {
		for _, path := range p.Removed {
			delete(live, path)
		}
	}
	return tbl, live, nil
}

// compaction is the files that a compaction removes and adds.
type compaction struct {
	removed, added []iceberg.DataFile
	result         CompactResult
	failed         failures
	failedFiles    []iceberg.DataFile // files of merges that failed
}

// loadFiles returns the table's newest state and its data files by path.
func (t *iceTable) loadFiles(ctx context.Context) (*table.Table, map[string]iceberg.DataFile, error) {
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

// mergeDays merges days in their order, until MaxRows is used up. It only stores the merged files. Merges that fail
// are left out.
func (t *iceTable) mergeDays(ctx context.Context, tbl *table.Table, live map[string]iceberg.DataFile, cfg CompactConfig,
	merge mergeFunc) *compaction {
	c := &compaction{}
	days := make(map[int32][]iceberg.DataFile)
	for _, df := range live {
		day, err := dayOf(df)
		if err != nil {
			c.failed.add(fmt.Errorf("compact: %w", err))
			continue
		}
		days[day] = append(days[day], df)
	}
	var jobs []*dayJob
	room := cfg.MaxRows
plan:
	for _, day := range slices.Sorted(maps.Keys(days)) {
		for _, group := range cfg.groups(days[day], t.dayIsOver(day, cfg.Settle)) {
			n := countWithin(group, room)
			if n < len(group) {
				c.result.More = true
			}
			if n < 2 && len(jobs) > 0 {
				break plan
			}
			job := &dayJob{day: day, files: group[:max(n, 2)]}
			for _, df := range job.files {
				room -= int(df.Count())
			}
			jobs = append(jobs, job)
		}
	}
	// The merges share MaxRows, so merging several at once takes no more memory than one large one.
	var merging errgroup.Group
	merging.SetLimit(runtime.GOMAXPROCS(0))
	for _, job := range jobs {
		merging.Go(func() error {
			job.merge(ctx, tbl, merge)
			return nil
		})
	}
	_ = merging.Wait() // each job keeps its own error
	for _, job := range jobs {
		c.add(job)
	}
	return c
}

// merge makes the job's merge. A panic becomes the job's error: in a goroutine it would end the process.
func (job *dayJob) merge(ctx context.Context, tbl *table.Table, merge mergeFunc) {
	defer func() {
		if p := recover(); p != nil {
			job.err = fmt.Errorf("a fault of this program, nothing was changed: %v\n%s", p, debug.Stack())
		}
	}()
	if job.err = ctx.Err(); job.err == nil {
		job.merged, job.err = merge(ctx, tbl, job.day, job.files)
	}
}

// groupByDay returns the files by the day of their partition.
func groupByDay(live map[string]iceberg.DataFile) (map[int32][]iceberg.DataFile, error) {
	days := make(map[int32][]iceberg.DataFile)
	for _, df := range live {
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		days[day] = append(days[day], df)
	}
	return days, nil
}

// dayIsOver reports whether the day ended at least settle ago.
func (t *iceTable) dayIsOver(day int32, settle time.Duration) bool {
	return !t.cfg.Now().Before(time.Unix(int64(day+1)*24*3600, 0).Add(settle))
}

// groups returns the groups of a day's files that are each to become one file.
func (c CompactConfig) groups(files []iceberg.DataFile, over bool) (groups [][]iceberg.DataFile) {
	small := slices.DeleteFunc(slices.Clone(files),
		func(df iceberg.DataFile) bool { return df.FileSizeBytes() >= c.TargetBytes/4*3 })
	slices.SortFunc(small, func(a, b iceberg.DataFile) int {
		return cmp.Or(cmp.Compare(a.Count(), b.Count()), cmp.Compare(a.FilePath(), b.FilePath()))
	})
	for len(small) > 1 {
		n := 1 // number of files of the same level, or of an ended day of any, that fit into one file together
		for size := small[0].FileSizeBytes(); n < len(small); n++ {
			size += small[n].FileSizeBytes()
			if size > c.TargetBytes || !over && level(small[n]) > level(small[0]) {
				break
			}
		}
		if n > c.MinFiles || over && n > 1 {
			groups = append(groups, small[:n])
		}
		small = small[n:]
	}
	return groups
}

// level returns the level of a file: its rows in steps of a factor of eight. The bytes of a small file are mostly its
// footer's and say little.
func level(df iceberg.DataFile) int { return bits.Len64(uint64(df.Count())) / 3 }

// dayJob is the merge of one day's files of one level.
type dayJob struct {
	day    int32
	files  []iceberg.DataFile
	merged merged
	err    error
}

// add takes in a job's result.
func (c *compaction) add(job *dayJob) {
	day := time.Unix(int64(job.day)*24*3600, 0).UTC().Format(time.DateOnly)
	for _, err := range job.merged.failed {
		c.failed.add(fmt.Errorf("compact: day %s: %w: the file is left as it is", day, err))
	}
	m := &job.merged
	switch {
	case job.err != nil:
		c.failed.add(fmt.Errorf("compact: day %s: %w: its files are left as they are", day, job.err))
		c.failedFiles = append(c.failedFiles, job.files...)
		return
	case m.file == nil:
		c.failedFiles = append(c.failedFiles, job.files...)
		return
	}
	c.removed, c.added = append(c.removed, m.from...), append(c.added, m.file)
	c.result.Days++
	c.result.FilesIn += len(m.from)
	c.result.FilesOut++
	c.result.RowsIn += m.stats.RowsIn
	c.result.RowsOut += m.stats.RowsOut
	c.result.Duplicates += m.stats.Duplicates
}

// countWithin returns how many of the first files have at most rows rows together.
func countWithin(files []iceberg.DataFile, rows int) int {
	for i, df := range files {
		if rows -= int(df.Count()); rows < 0 {
			return i
		}
	}
	return len(files)
}

// mergeDay is the mergeFunc of the readings.
func (t *Table) mergeDay(ctx context.Context, tbl *table.Table, day int32, files []iceberg.DataFile) (out merged,
	err error) {
	rows := 0
	for _, df := range files {
		rows += int(df.Count())
	}
	m := rowfile.NewMerger(rows)
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, df := range files {
		key, err := t.key(df.FilePath())
		if err == nil {
			err = m.Add(ctx, t.cfg.Store, key, df.FileSizeBytes(), int(df.Count()))
		}
		if err != nil {
			out.failed.add(fmt.Errorf("%s: %w", df.FilePath(), err))
			continue
		}
		out.from = append(out.from, df)
	}
	if len(out.from) < 2 {
		return out, ctx.Err()
	}
	key := t.newFileKey(day)
	file, err := m.Merge(ctx, t.cfg.Store, key, day)
	if err != nil {
		return out, err
	}
	out.stats = m.Stats()
	out.file, err = describe(file, tbl.Spec(), tbl.SortOrder().OrderID(), t.cfg.Location+"/"+key)
	return out, err
}
