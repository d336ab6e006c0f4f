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

// CompactConfig sets when and how much is compacted. Zero values mean the defaults.
type CompactConfig struct {
	// so many small files of one level may a day have; 0 = 8. Fewer: faster scans, more rewriting.
	MinFiles int
	// what a merged file is to have at most; one of three quarters of it is left alone; 0 = 128 MiB
	TargetBytes int64
	// about how many rows one call merges at most; 0 = 8,000,000. Bounds time and memory: 20 bytes a row, and up to
	// 128 MB of files.
	MaxRows int
	Settle  time.Duration // how long after its end a day is taken to be over; 0 = 1 h
}

func (c CompactConfig) withDefaults() CompactConfig {
	return CompactConfig{cmp.Or(c.MinFiles, 8), cmp.Or(c.TargetBytes, 128<<20), cmp.Or(c.MaxRows, 8_000_000),
		cmp.Or(c.Settle, time.Hour)}
}

// CompactResult says what one compaction merged.
type CompactResult struct {
	Days       int  `json:"days"` // merges: one day's files of one level
	FilesIn    int  `json:"files_in"`
	FilesOut   int  `json:"files_out"`
	RowsIn     int  `json:"rows_in"`
	RowsOut    int  `json:"rows_out"`
	Duplicates int  `json:"duplicates"`
	More       bool `json:"more"` // MaxRows was reached: compact again
}

// Compact is [Tables.PlanCompaction] of the readings and Apply of its plan, for whoever is alone with the table.
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

// mergeFunc stores one file with the rows of those of a day's files that can be merged, each row once. It may be called
// concurrently.
type mergeFunc func(ctx context.Context, tbl *table.Table, day int32, files []iceberg.DataFile) (merged, error)

// merged is what a mergeFunc made.
type merged struct {
	file   iceberg.DataFile // nil: fewer than two files could be merged, and nothing was stored
	from   []iceberg.DataFile
	stats  rowfile.MergeStats
	failed failures // of the others
}

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
		if len(c.removed) > 0 || !c.result.More || len(c.left) == 0 || ctx.Err() != nil {
			break
		}
		for _, df := range c.left { // they took all the room: what is behind them gets its turn
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
		e, err := toEntry(df)
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

// smallFiles returns the table's files that no waiting plan is about; none of a table of an earlier version.
func (t *iceTable) smallFiles(ctx context.Context) (*table.Table, map[string]iceberg.DataFile, error) {
	waiting, _, err := t.plans(ctx) // first: what is applied behind this is in the table that is loaded then
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

// compaction is what leaves the table and what comes in.
type compaction struct {
	removed, added []iceberg.DataFile
	result         CompactResult
	failed         failures
	left           []iceberg.DataFile // of merges that failed
}

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

// mergeDays merges days in their order, as far as MaxRows reaches. Nothing refers to the merged files yet. A merge
// that fails is left out.
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
		for _, group := range cfg.groups(days[day], t.over(day, cfg.Settle)) {
			taken := fitting(group, room)
			if taken < len(group) {
				c.result.More = true
			}
			if taken < 2 && len(jobs) > 0 {
				break plan
			}
			job := &dayJob{day: day, files: group[:max(taken, 2)]}
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
			job.run(ctx, tbl, merge)
			return nil
		})
	}
	_ = merging.Wait() // each job keeps its own error
	for _, job := range jobs {
		c.add(job)
	}
	return c
}

// run makes the merge.
func (job *dayJob) run(ctx context.Context, tbl *table.Table, merge mergeFunc) {
	defer func() { // in a goroutine a panic would end the process, which has more to do than to compact
		if p := recover(); p != nil {
			job.err = fmt.Errorf("a fault of this program, nothing was changed: %v\n%s", p, debug.Stack())
		}
	}()
	if job.err = ctx.Err(); job.err == nil {
		job.merged, job.err = merge(ctx, tbl, job.day, job.files)
	}
}

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

// over reports whether a day's ordinary arrivals have ended.
func (t *iceTable) over(day int32, settle time.Duration) bool {
	return !t.cfg.Now().Before(time.Unix(int64(day+1)*24*3600, 0).Add(settle))
}

// groups returns the files of a day that are to become one file each.
func (c CompactConfig) groups(files []iceberg.DataFile, over bool) (groups [][]iceberg.DataFile) {
	small := slices.DeleteFunc(slices.Clone(files),
		func(df iceberg.DataFile) bool { return df.FileSizeBytes() >= c.TargetBytes/4*3 })
	slices.SortFunc(small, func(a, b iceberg.DataFile) int {
		return cmp.Or(cmp.Compare(a.Count(), b.Count()), cmp.Compare(a.FilePath(), b.FilePath()))
	})
	for len(small) > 1 {
		n := 1 // files of the same level, which fit into one file together
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

// level orders files by rows, in steps of a factor of eight. Bytes would not do: those of a small file are
// mostly its footer's.
func level(df iceberg.DataFile) int { return bits.Len64(uint64(df.Count())) / 3 }

// dayJob is the merge of one day's files of one level.
type dayJob struct {
	day    int32
	files  []iceberg.DataFile
	merged merged
	err    error
}

func (c *compaction) add(job *dayJob) {
	day := time.Unix(int64(job.day)*24*3600, 0).UTC().Format(time.DateOnly)
	for _, err := range job.merged.failed {
		c.failed.add(fmt.Errorf("compact: day %s: %w: the file is left as it is", day, err))
	}
	m := &job.merged
	switch {
	case job.err != nil:
		c.failed.add(fmt.Errorf("compact: day %s: %w: its files are left as they are", day, job.err))
		c.left = append(c.left, job.files...)
		return
	case m.file == nil:
		c.left = append(c.left, job.files...)
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

// fitting returns how many of the files hold at most rows together.
func fitting(files []iceberg.DataFile, rows int) int {
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
