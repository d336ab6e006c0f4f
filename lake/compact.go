package lake

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch/failpoint"
)

// CompactConfig sets when and how much is compacted. Zero values mean the defaults.
type CompactConfig struct {
	MinFiles    int           // so many small files of one level may a day have; 0 = 8. Fewer: faster scans, more rewriting.
	TargetBytes int64         // what a merged file is to have at most; one of three quarters of it is left alone; 0 = 128 MiB
	MaxRows     int           // about how many rows one call merges at most; 0 = 8,000,000. Bounds time; memory is the files' compressed size.
	Settle      time.Duration // how long after its end a day is taken to be over; 0 = 1 h
}

func (c CompactConfig) withDefaults() CompactConfig {
	return CompactConfig{cmp.Or(c.MinFiles, 8), cmp.Or(c.TargetBytes, 128<<20), cmp.Or(c.MaxRows, 8_000_000), cmp.Or(c.Settle, time.Hour)}
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

// Compact is PlanCompaction and Apply of its plan, for whoever is alone with the table.
func (t *Table) Compact(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	for range commitAttempts {
		key, p, r, err := t.planCompaction(ctx, cfg, t.mergeDay)
		if err != nil || key == "" {
			return r, err
		}
		done, err := t.apply(ctx, &p)
		if err == nil {
			err = t.settle(ctx, key)
		}
		if err != nil {
			return CompactResult{}, fmt.Errorf("compact: %w", err)
		}
		if done {
			return r, nil
		}
	}
	return CompactResult{}, fmt.Errorf("compact: given up after %d attempts: somebody else compacts the same table", commitAttempts)
}

// PlanCompaction merges small files of the days that have too many of them, and leaves the plan of the swap
// for Apply: one `replace` snapshot for all days. Before that it reads the merged files back and compares
// row counts and content. Files of a plan that waits are left alone. The old files stay until their
// snapshots are dropped.
//
// Files grow by levels, as minutes become an hour and hours a day: while a day lasts, files of about the
// same number of rows, within a factor of eight, are merged once there are more than MinFiles of them, so
// that a row is rewritten a few times and not at every compaction. A day that is over becomes as few files of
// TargetBytes as hold it, and again whenever late rows come.
func (t *Table) PlanCompaction(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	_, _, r, err := t.planCompaction(ctx, cfg, t.mergeDay)
	return r, err
}

// merger stores one file with the rows of a day's files, each once, and notes in c what is exchanged.
type merger func(ctx context.Context, tbl *table.Table, c *compaction, day int32, files []iceberg.DataFile) error

func (t *iceTable) planCompaction(ctx context.Context, cfg CompactConfig, merge merger) (key string, p plan, r CompactResult, err error) {
	tbl, small, err := t.smallFiles(ctx)
	if err != nil {
		return "", p, r, err
	}
	c, err := t.mergeDays(ctx, tbl, small, cfg.withDefaults(), merge)
	if err != nil || len(c.removed) == 0 {
		return "", p, CompactResult{}, err
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
	if key, err = t.leave(ctx, p); err != nil {
		return "", p, r, fmt.Errorf("compact: %w", err)
	}
	failpoint.Hit(failpoint.CompactPlanned)
	return key, p, c.result, nil
}

// smallFiles gives the table's files that no waiting plan is about.
func (t *iceTable) smallFiles(ctx context.Context) (*table.Table, map[string]iceberg.DataFile, error) {
	waiting, err := t.plans(ctx) // first: what is applied behind this is in the table that is loaded then
	if err != nil {
		return nil, nil, err
	}
	tbl, live, err := t.loadFiles(ctx)
	if err != nil {
		return nil, nil, err
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

// mergeDays merges day by day until MaxRows is reached. Nothing refers to the merged files yet.
func (t *iceTable) mergeDays(ctx context.Context, tbl *table.Table, live map[string]iceberg.DataFile, cfg CompactConfig, merge merger) (*compaction, error) {
	days, err := groupByDay(live)
	if err != nil {
		return nil, err
	}
	c := &compaction{}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		for _, group := range cfg.groups(days[day], t.over(day, cfg.Settle)) {
			taken := fitting(group, cfg.MaxRows-c.result.RowsIn)
			if taken < len(group) {
				c.result.More = true
			}
			if taken < 2 && c.result.Days > 0 {
				return c, nil
			}
			if err := merge(ctx, tbl, c, day, group[:max(taken, 2)]); err != nil {
				return nil, fmt.Errorf("compact: day %d: %w", day, err)
			}
		}
	}
	return c, nil
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

// over tells whether a day's ordinary arrivals have ended.
func (t *iceTable) over(day int32, settle time.Duration) bool {
	return !t.cfg.Now().Before(time.Unix(int64(day+1)*24*3600, 0).Add(settle))
}

// groups gives the files of a day that are to become one file each.
func (c CompactConfig) groups(files []iceberg.DataFile, over bool) (groups [][]iceberg.DataFile) {
	small := slices.DeleteFunc(slices.Clone(files), func(df iceberg.DataFile) bool { return df.FileSizeBytes() >= c.TargetBytes/4*3 })
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
