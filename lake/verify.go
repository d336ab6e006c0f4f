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

func (p Progress) tell(done, total int) {
	if p != nil {
		p(done, total)
	}
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Tables   []TableReport `json:"tables"`
	Segments int           `json:"segments"` // of the landing log
	Compared int           `json:"compared"` // readings whose content was compared with the landing log's
	Retired  int           `json:"retired"`  // readings that left by age
	Accounts []Account     `json:"accounts"` // see Reconcile
	Waiting  int           `json:"waiting"`  // changes that wait for the committer
	Faults   []string      `json:"faults"`   // what is wrong, in sentences
	OK       bool          `json:"ok"`       // no fault
}

// TableReport is what Verify read of one table.
type TableReport struct {
	Table     string `json:"table"`
	Snapshots int    `json:"snapshots"`
	Manifests int    `json:"manifests"`
	Files     int    `json:"files"`
	Rows      int64  `json:"rows"`
	Bytes     int64  `json:"bytes"`
}

// faultsNamed bounds how many faults Verify names: a lost folder would name every file.
const faultsNamed = 100

// Verify reads all of the lake and holds it against itself: that every snapshot's manifests are there; that
// every data file of the current snapshot is there, is undamaged, and holds as many rows as the table says,
// sorted and of its day; that every reading of the landing log that still has its rows there is in the table
// with the same content, by hash; and what Reconcile finds. The logs must be all that ever fed the tables.
// The error says why it could not go on; what is wrong with the lake is in the VerifyReport.
func (t *Tables) Verify(ctx context.Context, logs []landing.Log, progress Progress) (VerifyReport, error) {
	v := &verifier{seed: maphash.MakeSeed()}
	for _, part := range []struct {
		table *iceTable
		read  func() error
	}{
		{&t.iceTable, func() error { return v.readings(ctx, t.Table, logs, progress) }},
		{&t.anomalies.iceTable, func() error {
			return v.eventTable(ctx, &t.anomalies.iceTable, func(df iceberg.DataFile) error {
				_, err := t.anomalies.readFile(ctx,
					df)
				return err
			})
		}},
		{&t.quarantine.iceTable, func() error {
			return v.eventTable(ctx, &t.quarantine.iceTable, func(df iceberg.DataFile) error {
				_,
					err := t.quarantine.readFile(ctx, df)
				return err
			})
		}},
		{&t.alerts.iceTable, func() error {
			return v.eventTable(ctx, &t.alerts.iceTable, func(df iceberg.DataFile) error {
				_, err := t.alerts.readFile(ctx,
					df)
				return err
			})
		}},
	} {
		if err := part.read(); ctx.Err() != nil {
			return v.VerifyReport, ctx.Err()
		} else if err != nil { // the other tables may be sound
			v.fault("table %s cannot be checked: %v", part.table.layout.name, err)
		}
	}
	accounts, err := Reconcile(ctx, logs, t.Table)
	if ctx.Err() != nil {
		return v.VerifyReport, ctx.Err()
	}
	if err != nil { // a file that cannot be read
		v.fault("the counts cannot be compared: %v", err)
	}
	for _, a := range accounts {
		if !a.OK {
			v.fault("%s: %s", fanOrUnknown(a.Fan), a.Verdict)
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

type verifier struct {
	VerifyReport
	seed maphash.Seed
}

func (v *verifier) fault(format string, args ...any) {
	switch n := len(v.Faults); {
	case n < faultsNamed:
		v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
	case n == faultsNamed:
		v.Faults = append(v.Faults, "... and more")
	}
}

// content is a run's rows in the landing log that the table must hold, and the sums of their hashes.
type content struct {
	seqs         *roaring64.Bitmap
	landed, held uint64
	rows         int
}

func (v *verifier) readings(ctx context.Context, t *Table, logs []landing.Log, progress Progress) error {
	tbl, files, err := v.metadata(ctx, &t.iceTable)
	if err != nil {
		return err
	}
	gone, err := t.droppedRows(ctx, tbl)
	if err != nil {
		v.fault("%v", err)
	}
	goneBefore := int64(gone.Before) * rowfile.DayMicros
	runs := make(map[runKey]*content)
	for _, l := range logs {
		if err := v.landed(ctx, tbl, l, goneBefore, runs); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.fault("%v", err)
		}
	}
	for i, df := range files {
		progress.tell(i, len(files))
		if err := v.dataFile(ctx, t, df, goneBefore, runs); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.fault("readings: %v", err)
		}
	}
	progress.tell(len(files), len(files))
	for _, key := range slices.SortedFunc(maps.Keys(runs), runKey.compare) {
		if c := runs[key]; c.landed != c.held {
			v.fault("%s, run %s: the %d readings of the landing log and those of the table have different content", key.fan,
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

// landed adds up the rows of a log that the table must hold.
func (v *verifier) landed(ctx context.Context, tbl *table.Table, l landing.Log, goneBefore int64,
	runs map[runKey]*content) error {
	in, err := coverageOf(tbl, l)
	if err != nil {
		return err
	}
	err = l.Walk(ctx, "0", func(s landing.Segment) error {
		v.Segments++
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate || row.Time.UnixMicro() < goneBefore ||
				!in.has(s.Last, row) {
				continue
			}
			key := runKey{row.Fan, row.Run}
			c := runs[key]
			if c == nil {
				c = &content{seqs: roaring64.New()}
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

// Writer checks one data file of readings.
func (v *verifier) dataFile(ctx context.Context, t *Table, df iceberg.DataFile, goneBefore int64,
	runs map[runKey]*content) error {
	day, err := dayOf(df)
	if err != nil {
		return err
	}
	rows := int64(0)
	var last rowfile.Row
	order := df.SortOrderID() // another program may have written the file, and says whether it sorted it
	sorted := order != nil && *order != table.UnsortedSortOrderID
	err = t.eachStored(ctx, df, func(s *rowfile.Row) error {
		if s.Day() != day {
			return fmt.Errorf("row %d is of another day than its partition", rows)
		}
		if sorted && rows > 0 && cmp.Or(cmp.Compare(last.Fan, s.Fan), cmp.Compare(last.Time, s.Time)) > 0 {
			return fmt.Errorf("row %d is not in the table's order", rows)
		}
		if c := runs[runKey{s.Fan, uint64(s.Run)}]; c != nil && s.Time >= goneBefore && c.seqs.Contains(uint64(s.Seq)) {
			c.held += s.Hash(v.seed)
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

// eachStored reads the rows of a data file.
func (t *Table) eachStored(ctx context.Context, df iceberg.DataFile, f func(*rowfile.Row) error) error {
	data, err := t.read(ctx, df)
	if err != nil {
		return err
	}
	if int64(len(data)) != df.FileSizeBytes() {
		return fmt.Errorf("the table says %d bytes, the file has %d", df.FileSizeBytes(), len(data))
	}
	return rowfile.EachRow(data, f)
}

// eventTable checks a table beside the readings.
func (v *verifier) eventTable(ctx context.Context, t *iceTable, read func(iceberg.DataFile) error) error {
	_, files, err := v.metadata(ctx, t)
	if err != nil {
		return err
	}
	for _, df := range files {
		if err := read(df); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.fault("%s: %v", t.layout.name, err)
		}
	}
	return nil
}

// metadata reads the manifests of all snapshots, and gives the data files of the current one.
func (v *verifier) metadata(ctx context.Context, t *iceTable) (*table.Table, []iceberg.DataFile, error) {
	waiting, _, err := t.plans(ctx)
	if err != nil {
		return nil, nil, err
	}
	v.Waiting += len(waiting)
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := TableReport{Table: strings.Join(t.ident, "."), Snapshots: len(tbl.Metadata().Snapshots())}
	if c.Manifests, err = v.manifests(ctx, t, tbl); err != nil {
		return nil, nil, err
	}
	var files []iceberg.DataFile
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			v.fault("%s: %v", t.layout.name, err)
			break
		}
		files = append(files, df)
		c.Files, c.Rows, c.Bytes = c.Files+1, c.Rows+df.Count(), c.Bytes+df.FileSizeBytes()
	}
	slices.SortFunc(files, func(a, b iceberg.DataFile) int { return strings.Compare(a.FilePath(), b.FilePath()) })
	v.Tables = append(v.Tables, c)
	return tbl, files, nil
}

// manifests reads those of all snapshots, each once, and sees that the files they name are in the store.
func (v *verifier) manifests(ctx context.Context, t *iceTable, tbl *table.Table) (int, error) {
	there := make(map[string]int64)
	for o, err := range t.cfg.Store.List(ctx, t.root+"/data/", "") {
		if err != nil {
			return 0, fmt.Errorf("verify: %w", err)
		}
		there[o.Key] = o.Size
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
					err = t.inStore(there, entry.DataFile())
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
	// A snapshot that was dropped while we read may lack anything.
	if tbl, err = t.load(ctx); err != nil {
		return 0, err
	}
	for _, s := range tbl.Metadata().Snapshots() {
		for _, err := range faults[s.SnapshotID] {
			v.fault("%s: %v", t.layout.name, err)
		}
	}
	return len(seen), ctx.Err()
}

func (t *iceTable) inStore(there map[string]int64, df iceberg.DataFile) error {
	key, err := t.key(df.FilePath())
	if err != nil {
		return err
	}
	size, ok := there[key]
	if !ok {
		return errors.New("file " + key + " is missing in the store")
	}
	if size != df.FileSizeBytes() {
		return fmt.Errorf("file %s has %d bytes, not %d", key, size, df.FileSizeBytes())
	}
	return nil
}

// Each returns all readings with from <= time < to to f, day by day and within a day file by file, each file in
// its own order: that of fan and time, unless another program wrote it. Zero times are no bounds.
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
			progress.tell(done, len(live))
			done++
			if int64(day)*rowfile.DayMicros >= hi || int64(day+1)*rowfile.DayMicros <= lo {
				continue
			}
			err := t.eachStored(ctx, df, func(s *rowfile.Row) error {
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
	progress.tell(len(live), len(live))
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
