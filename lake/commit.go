package lake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
	"fanwatch/objstore"
)

// commitAttempts is how often a change of a table is tried again because another writer changed the table.
const commitAttempts = 8

// CommitResult is what one commit brought into a table.
type CommitResult struct {
	Segments   int  `json:"segments"`   // segments of the logs that were read
	Rows       int  `json:"rows"`       // readings that were added
	Duplicates int  `json:"duplicates"` // readings that were dropped as copies of others of the commit
	Files      int  `json:"files"`      // data files that were added
	More       bool `json:"more"`       // the batch was full: commit again
}

// Commit brings the new segments of the logs into the table, in one transaction: sorted files, one for each day of the
// readings' times, and the offset of every shard. A repeated or killed commit adds no reading twice and loses none. It
// adds about TableConfig.BatchRows readings; More says that there are others. The logs may differ from call to call.
//
// A log that cannot be read keeps no other from being committed; the error is then a *[Partial] beside the result.
// Readings that are very old at their arrival enter later; see TableConfig.OldAfter.
func (t *Table) Commit(ctx context.Context, logs []landing.Log) (CommitResult, error) {
	return t.commitLogs(ctx, logs, func() *batch { return t.newBatch() })
}

// commitLogs commits a batch of new rows and, where it took all of them and held rows are due, a batch of held rows.
// begin returns an empty batch.
func (t *iceTable) commitLogs(ctx context.Context, logs []landing.Log, begin func() *batch) (CommitResult, error) {
	result, oldDue, err := t.commitOnce(ctx, logs, begin)
	if !oldDue || result.More {
		return result, err
	}
	var failed failures
	failed.add(err)
	old, _, err := t.commitOnce(ctx, logs, func() *batch {
		b := begin()
		b.old = true
		return b
	})
	failed.add(err)
	return CommitResult{result.Segments + old.Segments, result.Rows + old.Rows, result.Duplicates + old.Duplicates,
		result.Files + old.Files, old.More}, failed.err()
}

// commitOnce gathers one batch, stores its files and commits it. oldDue says that held rows are due.
func (t *iceTable) commitOnce(ctx context.Context, logs []landing.Log, begin func() *batch) (result CommitResult,
	oldDue bool, err error) {
	var errs []error
	var b *batch
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return CommitResult{}, false, errors.Join(append(errs, err)...)
		}
		tbl, err := t.load(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if b != nil && b.committed(tbl) {
			return b.result, b.oldDue, b.failed.err() // committed, although the answer was lost
		}
		if b == nil || !b.continues(tbl) {
			b = begin()
			if err := b.gather(ctx, t, tbl, logs); err != nil {
				return CommitResult{}, false, err
			}
			if len(b.offsets) == 0 {
				return CommitResult{}, b.oldDue, b.failed.err()
			}
			if err := b.storeFiles(ctx, tbl); err != nil {
				return CommitResult{}, false, err
			}
		}
		if err := t.commitBatch(ctx, tbl, b); err != nil {
			errs = append(errs, err)
			continue
		}
		return b.result, b.oldDue, b.failed.err()
	}
	return CommitResult{}, false, fmt.Errorf("commit: given up after %d attempts: %w", commitAttempts,
		errors.Join(errs...))
}

// pause waits before an attempt: 0 before attempt 0, then 20 ms, doubling. It returns ctx's error.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(10 * time.Millisecond << attempt)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// batch is the rows of the logs that enter a table in one transaction.
type batch struct {
	old     bool              // it takes held rows alone
	before  map[string]string // the table's properties of offsets and held rows when the batch began; "" = none
	offsets map[string]string // the properties that the transaction sets
	files   []iceberg.DataFile
	result  CommitResult
	oldDue  bool     // held rows have waited for TableConfig.OldEvery
	failed  failures // logs that were passed over

	// nextSegment is landing.Log.Next of the log l.
	nextSegment func(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error)
	// addRows adds those rows of a segment that belong to the table and are wanted.
	addRows func(s *landing.Segment, wanted func(*fanwatch.Row) bool) error
	// isFull reports whether the batch has enough rows.
	isFull func() bool
	// storeFiles stores the rows in files and notes them in files and result.
	storeFiles func(ctx context.Context, tbl *table.Table) error
}

func readNext(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error) {
	return l.Next(ctx, after)
}

// newBatch returns an empty batch of readings.
func (t *Table) newBatch() *batch {
	b := &batch{nextSegment: readNext}
	var rows []rowfile.Row
	b.addRows = func(s *landing.Segment, wanted func(*fanwatch.Row) bool) error {
		if s.Tombstone && s.Counts.Readings() > 0 {
			return fmt.Errorf("segment %s after %s is a tombstone, but its %d readings are not in the table: was the "+
				"table replaced by an older copy?", s.Shard, s.After, s.Counts.Readings())
		}
		for i := range s.Rows {
			if k := s.Rows[i].Kind; (k == fanwatch.RowScored || k == fanwatch.RowLate) && wanted(&s.Rows[i]) {
				rows = append(rows, rowfile.RowOf(&s.Rows[i]))
			}
		}
		return nil
	}
	b.isFull = func() bool { return len(rows) >= t.cfg.BatchRows }
	b.storeFiles = func(ctx context.Context, tbl *table.Table) error {
		defer func() { rows = nil }()
		return t.writeBatch(ctx, tbl, b, rows)
	}
	return b
}

// continues reports whether the batch still begins where the table ends.
func (b *batch) continues(tbl *table.Table) bool {
	for key, before := range b.before {
		if tbl.Properties()[key] != before {
			return false
		}
	}
	return true
}

// committed reports whether the table has the batch. The offsets prove it: they and the files enter in one transaction.
// Where another committer made an equal batch, this one's files are orphans.
func (b *batch) committed(tbl *table.Table) bool {
	for key, offset := range b.offsets {
		if tbl.Properties()[key] != offset {
			return false
		}
	}
	return true
}

// logReader is the place of a batch in one log.
type logReader struct {
	log    landing.Log
	at     fanwatch.SequenceNumber // the end of the last segment that was read
	end    fanwatch.SequenceNumber // where a batch of held rows ends; "" = at the log's end
	held   heldReadings
	isHeld bool // held is valid
	done   bool
}

// gather reads segments, one of each shard in turn, until the batch is full or the logs end. A log that fails is
// passed over.
func (b *batch) gather(ctx context.Context, t *iceTable, tbl *table.Table, logs []landing.Log) error {
	b.before, b.offsets = make(map[string]string), make(map[string]string)
	var readers []*logReader
	for _, l := range logs {
		if _, twice := b.before[offsetKey(l)]; twice {
			return errors.New("commit: a log was given twice")
		}
		b.before[offsetKey(l)], b.before[oldKey(l)] = tbl.Properties()[offsetKey(l)], tbl.Properties()[oldKey(l)]
		rd, err := b.openLog(t, tbl, l)
		if err != nil {
			b.failed.add(fmt.Errorf("commit: %w", err))
			continue
		}
		readers = append(readers, rd)
	}
	for left := len(readers); left > 0; {
		left = 0
		for _, rd := range readers {
			if rd.done {
				continue
			}
			if b.isFull() {
				b.result.More = true
				return nil
			}
			if err := b.step(ctx, t, rd); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				b.failed.add(fmt.Errorf("commit: shard %s: %w", rd.log.Shard, err))
				rd.done = true
			}
			if !rd.done {
				left++
			}
		}
	}
	// A closed and empty last segment ends where it begins: its offset is no change.
	maps.DeleteFunc(b.offsets, func(key, offset string) bool { return b.before[key] == offset })
	return nil
}

// openLog finds out where the batch begins in a log.
func (b *batch) openLog(t *iceTable, tbl *table.Table, l landing.Log) (*logReader, error) {
	at, err := offset(tbl, l)
	if err != nil {
		return nil, err
	}
	rd := &logReader{log: l, at: at}
	if rd.held, rd.isHeld, err = heldOf(tbl, l); err != nil {
		return nil, err
	}
	due := rd.isHeld && !t.cfg.Now().Before(rd.held.Since.Add(t.cfg.OldEvery))
	b.oldDue = b.oldDue || due
	if b.old {
		rd.at, rd.end, rd.done = rd.held.After, at, !due || rd.held.After.Compare(at) >= 0
	}
	return rd, nil
}

// step adds the next segment of a log to the batch.
func (b *batch) step(ctx context.Context, t *iceTable, rd *logReader) error {
	s, err := b.nextSegment(ctx, rd.log, rd.at)
	if errors.Is(err, objstore.ErrNotFound) && !b.old {
		rd.done = true
		return nil
	}
	if err != nil {
		return err
	}
	if b.old {
		if err := b.addRows(&s, rd.held.holds); err != nil {
			return err
		}
		rd.at, rd.held.After = s.Last, s.Last
		b.offsets[oldKey(rd.log)] = rd.held.String()
		if rd.done = s.End || s.Last.Compare(rd.end) >= 0; rd.done {
			b.offsets[oldKey(rd.log)] = ""
		}
		b.result.Segments++
		return nil
	}
	h := rd.held
	if !rd.isHeld {
		h = heldReadings{After: rd.at, Age: t.cfg.OldAfter, Since: t.cfg.Now().UTC()}
	}
	holding := rd.isHeld
	err = b.addRows(&s, func(row *fanwatch.Row) bool {
		if !t.layout.holdsOld || rd.log.Foreign() || !h.holds(row) {
			return true
		}
		holding = true
		return false
	})
	if err != nil {
		return err
	}
	if rd.held, rd.isHeld = h, holding; holding {
		b.offsets[oldKey(rd.log)] = h.String()
	}
	b.result.Segments++
	rd.at, rd.done = s.Last, s.End
	b.offsets[offsetKey(rd.log)] = string(s.Last)
	return nil
}

// writeBatch sorts the rows into one file for each day and stores the files, to which nothing refers yet.
func (t *Table) writeBatch(ctx context.Context, tbl *table.Table, b *batch, rows []rowfile.Row) error {
	rowsIn := len(rows)
	slices.SortFunc(rows, func(a, b rowfile.Row) int { return a.Compare(&b) })
	days := make(map[int32]*rowfile.Writer)
	var dedupe rowfile.Deduper
	for i := range rows {
		row := &rows[i]
		if !dedupe.First(row) {
			b.result.Duplicates++
			continue
		}
		f := days[row.Day()]
		if f == nil {
			f = rowfile.NewWriter(row.Day())
			days[row.Day()] = f
		}
		if err := f.Add(row); err != nil {
			return err
		}
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		described, err := t.storeFile(ctx, tbl, days[day])
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		b.files = append(b.files, described)
		b.result.Rows += days[day].Rows
		delete(days, day)
	}
	b.result.Files = len(b.files)
	if b.result.Rows != rowsIn-b.result.Duplicates {
		return fmt.Errorf("commit: %d rows in, %d duplicates, but %d rows out: nothing was committed", rowsIn,
			b.result.Duplicates, b.result.Rows)
	}
	failpoint.Hit(failpoint.CommitFiles)
	return nil
}

// storeFile stores a data file under a random name and returns its entry.
func (t *Table) storeFile(ctx context.Context, tbl *table.Table, f *rowfile.Writer) (iceberg.DataFile, error) {
	data, err := f.Finish()
	if err != nil {
		return nil, err
	}
	path, err := t.storeData(ctx, f.Day, data)
	if err != nil {
		return nil, err
	}
	return describe(&f.File, tbl.Spec(), tbl.SortOrder().OrderID(), path)
}

// storeData stores a data file under a random name and returns its path.
func (t *iceTable) storeData(ctx context.Context, day int32, data []byte) (string, error) {
	key := t.newFileKey(day)
	return t.cfg.Location + "/" + key, wrap(t.cfg.Store.Put(ctx, key, data, true), "table")
}

// newFileKey returns a random key for a data file.
func (t *iceTable) newFileKey(day int32) string {
	date := time.Unix(int64(day)*24*3600, 0).UTC().Format(time.DateOnly)
	return fmt.Sprintf("%s/data/time_day=%s/%s.parquet", t.root, date, uuid.NewString())
}

// commitBatch makes the batch's transaction. AssertRefSnapshotID makes it fail where the table has changed since it was
// loaded: without it two equal batches that race could both be replayed and both succeed.
func (t *iceTable) commitBatch(ctx context.Context, tbl *table.Table, b *batch) error {
	tx := tbl.NewTransaction()
	if err := tx.AssertRefSnapshotID(table.MainBranch); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := tx.SetProperties(b.offsets); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	// The files' names are new and random, so no check against the names in the table, which would read
	// every manifest. They carry field IDs, so no mapping by names.
	if len(b.files) > 0 {
		if err := tx.AddDataFiles(ctx, b.files, nil, table.WithoutDuplicateCheck(),
			table.WithoutAutoNameMapping()); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	failpoint.Hit(failpoint.CommitBefore)
	_, err := tx.Commit(ctx)
	failpoint.Hit(failpoint.CommitAfter)
	return wrap(err, "commit")
}
