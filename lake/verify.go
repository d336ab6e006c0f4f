package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
)

// Progress is called with the steps done and the total. A nil Progress is ignored.
type Progress func(done, total int)

// report calls p, unless it is nil.
func (p Progress) report(done, total int) {
	if p != nil {
		p(done, total)
	}
}

// VerifyReport is the result of [Tables.Verify].
type VerifyReport struct {
	Tables   []TableReport `json:"tables"`
	Segments int           `json:"segments"` // segments of the landing logs
	Compared int           `json:"compared"` // readings whose content was compared with the landing log's
	Retired  int           `json:"retired"`  // readings that left the table by age
	Accounts []Account     `json:"accounts"` // result of Reconcile
	Waiting  int           `json:"waiting"`  // plans that wait for the committer
	Faults   []string      `json:"faults"`   // sentences; at most 101
	OK       bool          `json:"ok"`       // there is no fault
}

// TableReport is what [Tables.Verify] read of one table.
type TableReport struct {
	Table     string `json:"table"`     // namespace.name
	Snapshots int    `json:"snapshots"` // all snapshots
	Manifests int    `json:"manifests"` // manifests of all snapshots
	Files     int    `json:"files"`     // data files of the current snapshot
	Rows      int64  `json:"rows"`      // their rows
	Bytes     int64  `json:"bytes"`     // their size
}

// faultsNamed is how many faults Verify names.
const faultsNamed = 100

// Verify reads all of the lake and checks that every snapshot's manifests exist; that every data file of the current
// snapshot exists, is undamaged, and has as many rows as the table says, sorted and of its day; that every row of the
// landing log that is due is in the table with the same content, by hash; and what [Reconcile] checks. The logs must be
// all that ever fed the tables. An error says why it could not go on; faults of the lake are in the [VerifyReport].
func (t *Tables) Verify(ctx context.Context, logs []landing.Log, progress Progress) (VerifyReport, error) {
	v := &verifier{seed: maphash.MakeSeed()}
	for _, part := range []struct {
		table *iceTable
		read  func() error
	}{
		{&t.iceTable, func() error { return v.checkReadings(ctx, t.Table, logs, progress) }},
		{&t.anomalies.iceTable, func() error {
			return v.checkEventTable(ctx, &t.anomalies.iceTable, func(df iceberg.DataFile) error {
				_, err := t.anomalies.readFile(ctx, df)
				return err
			})
		}},
		{&t.quarantine.iceTable, func() error {
			return v.checkEventTable(ctx, &t.quarantine.iceTable, func(df iceberg.DataFile) error {
				_, err := t.quarantine.readFile(ctx, df)
				return err
			})
		}},
		{&t.labels.iceTable, func() error {
			return v.checkEventTable(ctx, &t.labels.iceTable, func(df iceberg.DataFile) error {
				_, err := t.labels.readFile(ctx, df)
				return err
			})
		}},
		{&t.alerts.iceTable, func() error {
			return v.checkEventTable(ctx, &t.alerts.iceTable, func(df iceberg.DataFile) error {
				_, err := t.alerts.readFile(ctx, df)
				return err
			})
		}},
	} {
		if err := part.read(); ctx.Err() != nil {
			return v.VerifyReport, ctx.Err()
		} else if err != nil { // the other tables may be sound
			v.addFault("table %s cannot be checked: %v", part.table.layout.name, err)
		}
	}
	accounts, err := Reconcile(ctx, logs, t.Table)
	if ctx.Err() != nil {
		return v.VerifyReport, ctx.Err()
	}
	if err != nil { // a file that cannot be read
		v.addFault("the counts cannot be compared: %v", err)
	}
	for _, a := range accounts {
		if !a.OK {
			v.addFault("%s: %s", fanOrUnknown(a.Fan), a.Verdict)
		}
		v.Retired += a.Retired
	}
	v.Accounts, v.OK = accounts, len(v.Faults) == 0
	return v.VerifyReport, nil
}

func fanOrUnknown(fan string) string {
	if fan == "" {
		return "(unknown)"
	}
	return fan
}

// verifier is one Verify that runs.
type verifier struct {
	VerifyReport
	seed maphash.Seed
}

// addFault adds a fault, as long as there are fewer than faultsNamed.
func (v *verifier) addFault(format string, args ...any) {
	switch n := len(v.Faults); {
	case n < faultsNamed:
		v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
	case n == faultsNamed:
		v.Faults = append(v.Faults, "... and more")
	}
}

// runContent is the rows of a run that are in the landing log and due in the table.
type runContent struct {
	seqs           *roaring64.Bitmap
	landed, tabled uint64 // sums of the rows' hashes, by the landing log and by the table
	rows           int
}

// checkReadings checks the table of readings against the logs.
func (v *verifier) checkReadings(ctx context.Context, t *Table, logs []landing.Log, progress Progress) error {
	tbl, files, err := v.readMetadata(ctx, &t.iceTable)
	if err != nil {
		return err
	}
	dropped, err := t.droppedRows(ctx, tbl)
	if err != nil {
		v.addFault("%v", err)
	}
	droppedBefore := int64(dropped.Before) * rowfile.DayMicros
	runs := make(map[runKey]*runContent)
	for _, l := range logs {
		if err := v.addLog(ctx, tbl, l, droppedBefore, runs); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.addFault("%v", err)
		}
	}
	for i, df := range files {
		progress.report(i, len(files))
		if err := v.checkFile(ctx, t, df, droppedBefore, runs); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.addFault("readings: %v", err)
		}
	}
	progress.report(len(files), len(files))
	for _, key := range slices.SortedFunc(maps.Keys(runs), runKey.compare) {
		if c := runs[key]; c.landed != c.tabled {
			v.addFault("%s, run %s: the %d readings of the landing log and those of the table have different content", key.fan,
				fanwatch.FormatRun(key.run), c.rows)
		}
		v.Compared += runs[key].rows
	}
	return nil
}

func (k runKey) compare(o runKey) int {
	if c := strings.Compare(k.fan, o.fan); c != 0 {
		return c
	}
	return strings.Compare(fanwatch.FormatRun(k.run), fanwatch.FormatRun(o.run))
}

// addLog adds the rows of a log that are due in the table.
func (v *verifier) addLog(ctx context.Context, tbl *table.Table, l landing.Log, droppedBefore int64,
	runs map[runKey]*runContent) error {
	in, err := coverageOf(tbl, l)
	if err != nil {
		return err
	}
	err = l.Walk(ctx, "0", func(s landing.Segment) error {
		v.Segments++
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate || row.Time.UnixMicro() < droppedBefore ||
				!in.has(s.Last, row) {
				continue
			}
			key := runKey{row.Fan, row.Run}
			c := runs[key]
			if c == nil {
				c = &runContent{seqs: roaring64.New()}
				runs[key] = c
			}
			if c.seqs.CheckedAdd(row.Seq) {
				st := rowfile.RowOf(row)
				c.landed += st.Hash(v.seed)
				c.rows++
			}
		}
		return nil
	})
	return wrap(err, "verify: landing log of shard %s", l.Shard)
}

// checkFile checks one data file of readings.
func (v *verifier) checkFile(ctx context.Context, t *Table, df iceberg.DataFile, droppedBefore int64,
	runs map[runKey]*runContent) error {
	day, err := dayOf(df)
	if err != nil {
		return err
	}
	rows := int64(0)
	var last rowfile.Row
	order := df.SortOrderID() // another program's file may be unsorted
	sorted := order != nil && *order != table.UnsortedSortOrderID
	err = t.eachRow(ctx, df, func(s *rowfile.Row) error {
		if s.Day() != day {
			return fmt.Errorf("row %d is of another day than its partition", rows)
		}
		if sorted && rows > 0 && cmp.Or(cmp.Compare(last.Fan, s.Fan), cmp.Compare(last.Time, s.Time)) > 0 {
			return fmt.Errorf("row %d is not in the table's order", rows)
		}
		if c := runs[runKey{s.Fan, uint64(s.Run)}]; c != nil && s.Time >= droppedBefore && c.seqs.Contains(uint64(s.Seq)) {
			c.tabled += s.Hash(v.seed)
		}
		last = *s
		rows++
		return nil
	})
	if err == nil && rows != df.Count() {
		err = fmt.Errorf("the table counts %d rows, the file has %d", df.Count(), rows)
	}
	return wrap(err, "%s", df.FilePath())
}

// eachRow calls f with the rows of a data file of readings.
func (t *Table) eachRow(ctx context.Context, df iceberg.DataFile, f func(*rowfile.Row) error) error {
	data, err := t.readData(ctx, df)
	if err != nil {
		return err
	}
	if int64(len(data)) != df.FileSizeBytes() {
		return fmt.Errorf("the table says %d bytes, the file has %d", df.FileSizeBytes(), len(data))
	}
	return rowfile.EachRow(data, f)
}

// checkEventTable checks an event table.
func (v *verifier) checkEventTable(ctx context.Context, t *iceTable, read func(iceberg.DataFile) error) error {
	_, files, err := v.readMetadata(ctx, t)
	if err != nil {
		return err
	}
	for _, df := range files {
		if err := read(df); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.addFault("%s: %v", t.layout.name, err)
		}
	}
	return nil
}

// readMetadata checks the manifests of all snapshots and returns the data files of the current one, by path.
func (v *verifier) readMetadata(ctx context.Context, t *iceTable) (*table.Table, []iceberg.DataFile, error) {
	waiting, _, err := t.waitingPlans(ctx)
	if err != nil {
		return nil, nil, err
	}
	v.Waiting += len(waiting)
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := TableReport{Table: strings.Join(t.ident, "."), Snapshots: len(tbl.Metadata().Snapshots())}
	if c.Manifests, err = v.readManifests(ctx, t, tbl); err != nil {
		return nil, nil, err
	}
	var files []iceberg.DataFile
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			v.addFault("%s: %v", t.layout.name, err)
			break
		}
		files = append(files, df)
		c.Files, c.Rows, c.Bytes = c.Files+1, c.Rows+df.Count(), c.Bytes+df.FileSizeBytes()
	}
	slices.SortFunc(files, func(a, b iceberg.DataFile) int { return strings.Compare(a.FilePath(), b.FilePath()) })
	v.Tables = append(v.Tables, c)
	return tbl, files, nil
}

// readManifests reads the manifests of all snapshots, each once, checks that the files they name are in the store, and
// returns their number.
func (v *verifier) readManifests(ctx context.Context, t *iceTable, tbl *table.Table) (int, error) {
	stored := make(map[string]int64)
	for o, err := range t.cfg.Store.List(ctx, t.root+"/data/", "") {
		if err != nil {
			return 0, fmt.Errorf("verify: %w", err)
		}
		stored[o.Key] = o.Size
	}
	fs, err := tbl.FS(ctx)
	if err != nil {
		return 0, fmt.Errorf("verify: %w", err)
	}
	seen := make(map[string]bool)
	faults := make(map[int64][]error) // by snapshot
	for _, s := range slices.Backward(tbl.Metadata().Snapshots()) {
		manifests, err := s.Manifests(fs)
		if err != nil {
			faults[s.SnapshotID] = append(faults[s.SnapshotID], fmt.Errorf("snapshot %d: %w", s.SnapshotID, err))
		}
		for _, m := range manifests {
			if seen[m.FilePath()] {
				continue
			}
			seen[m.FilePath()] = true
			for entry, err := range m.Entries(fs, true) {
				if err == nil {
					err = t.inStore(stored, entry.DataFile())
				}
				if err != nil {
					faults[s.SnapshotID] = append(faults[s.SnapshotID], fmt.Errorf("manifest %s: %w", m.FilePath(), err))
				}
			}
		}
	}
	if len(faults) == 0 {
		return len(seen), ctx.Err()
	}
	// Faults of a snapshot that expired meanwhile do not count.
	if tbl, err = t.load(ctx); err != nil {
		return 0, err
	}
	for _, s := range tbl.Metadata().Snapshots() {
		for _, err := range faults[s.SnapshotID] {
			v.addFault("%s: %v", t.layout.name, err)
		}
	}
	return len(seen), ctx.Err()
}

// inStore returns an error where a data file is missing from stored, the sizes by key, or has another size.
func (t *iceTable) inStore(stored map[string]int64, df iceberg.DataFile) error {
	key, err := t.key(df.FilePath())
	if err != nil {
		return err
	}
	size, ok := stored[key]
	if !ok {
		return errors.New("file " + key + " is missing in the store")
	}
	if size != df.FileSizeBytes() {
		return fmt.Errorf("file %s has %d bytes, not %d", key, size, df.FileSizeBytes())
	}
	return nil
}

// Each calls f with all readings with from <= time < to, day by day and within a day file by file, each file in its own
// order: that of fan and time, unless another program wrote it. Zero times are no bounds. An error of f ends it.
func (t *Table) Each(ctx context.Context, from, to time.Time, progress Progress, f func(fanwatch.Row) error) error {
	_, live, err := t.loadFiles(ctx)
	if err != nil {
		return err
	}
	lo, hi := bounds(from, to)
	days, err := groupByDay(live)
	if err != nil {
		return err
	}
	done := 0
	for _, day := range slices.Sorted(maps.Keys(days)) {
		files := days[day]
		slices.SortFunc(files, func(a, b iceberg.DataFile) int { return strings.Compare(a.FilePath(), b.FilePath()) })
		for _, df := range files {
			progress.report(done, len(live))
			done++
			if int64(day)*rowfile.DayMicros >= hi || int64(day+1)*rowfile.DayMicros <= lo {
				continue
			}
			err := t.eachRow(ctx, df, func(s *rowfile.Row) error {
				if s.Time < lo || s.Time >= hi {
					return nil
				}
				return f(s.Reading())
			})
			if err != nil {
				return fmt.Errorf("%s: %w", df.FilePath(), err)
			}
		}
	}
	progress.report(len(live), len(live))
	return nil
}

// bounds returns a period in Unix microseconds; zero times are no bounds.
func bounds(from, to time.Time) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		lo = from.UnixMicro()
	}
	if !to.IsZero() {
		hi = to.UnixMicro()
	}
	return lo, hi
}
