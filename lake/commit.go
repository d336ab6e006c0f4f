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

// commitAttempts bounds how often one Commit or Compact meets another writer's change before it gives up.
const commitAttempts = 8

// CommitResult says what one Commit brought into the table.
type CommitResult struct {
	Segments   int  `json:"segments"`
	Rows       int  `json:"rows"`       // readings added
	Duplicates int  `json:"duplicates"` // readings passed over because the same commit held them already
	Files      int  `json:"files"`
	More       bool `json:"more"` // the batch was full: commit again
}

// Commit brings the new segments of the logs into the table, in one transaction: sorted files, one per
// day of the readings' times, and the offset of every shard. So a repeated or a killed commit adds
// nothing twice and loses nothing. It takes about TableConfig.BatchRows readings; More says that there
// are others. The logs may come and go from call to call.
//
// A log that cannot be read keeps no other from being committed: the error is a *Partial then, beside what was.
// Readings that are very old at their arrival enter later; see TableConfig.OldAfter.
func (t *Table) Commit(ctx context.Context, logs []landing.Log) (CommitResult, error) {
	return t.commitLogs(ctx, logs, func() *batch { return t.newBatch() })
}

// commitLogs makes a batch of what is new and, where there is no more of it and old rows have waited long enough,
// another of those. begin gives an empty batch.
func (t *iceTable) commitLogs(ctx context.Context, logs []landing.Log, begin func() *batch) (CommitResult, error) {
	result, due, err := t.commitOnce(ctx, logs, begin)
	if !due || result.More {
		return result, err
	}
	var failed failures
	failed.add(err)
	old, _, err := t.commitOnce(ctx, logs, func() *batch {
		r := begin()
		r.old = true
		return r
	})
	failed.add(err)
	return CommitResult{result.Segments + old.Segments, result.Rows + old.Rows, result.Duplicates + old.Duplicates,
		result.Files + old.Files, old.More}, failed.err()
}

// commitOnce makes one batch: gathers, stores the files, commits. due tells that there are old rows which have
// waited long enough.
func (t *iceTable) commitOnce(ctx context.Context, logs []landing.Log, begin func() *batch) (result CommitResult,
	due bool, err error) {
	var errs []error
	var r *batch
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return CommitResult{}, false, errors.Join(append(errs, err)...)
		}
		tbl, err := t.load(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r != nil && r.committed(tbl) {
			return r.result, r.due, r.failed.err() // the answer was lost, the commit was not
		}
		if r == nil || !r.fits(tbl) {
			r = begin()
			if err := r.gather(ctx, t, tbl, logs); err != nil {
				return CommitResult{}, false, err
			}
			if len(r.offsets) == 0 {
				return CommitResult{}, r.due, r.failed.err()
			}
			if err := r.store(ctx, tbl); err != nil {
				return CommitResult{}, false, err
			}
		}
		if err := t.commitBatch(ctx, tbl, r); err != nil {
			errs = append(errs, err)
			continue
		}
		return r.result, r.due, r.failed.err()
	}
	return CommitResult{}, false, fmt.Errorf("commit: given up after %d attempts: %w", commitAttempts,
		errors.Join(errs...))
}

// pause waits before a further attempt: not at all before the first, then 20 ms, doubling.
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

// batch is what one transaction takes from the logs.
type batch struct {
	old     bool              // it takes old rows that were held back, and nothing else
	before  map[string]string // properties as they were: offsets, and what is held back; "" = none
	offsets map[string]string // and as they shall be
	files   []iceberg.DataFile
	result  CommitResult
	due     bool     // old rows have waited long enough
	failed  failures // of logs that were passed over

	next func(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error)
	// keeps those of a segment's rows that the table has and that are wanted
	take  func(s *landing.Segment, wanted func(*fanwatch.Row) bool) error
	full  func() bool                                       // tells whether that was enough
	store func(ctx context.Context, tbl *table.Table) error // makes files of the rows
}

func readNext(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error) {
	return l.Next(ctx, after)
}

// newBatch makes a batch of readings.
func (t *Table) newBatch() *batch {
	r := &batch{next: readNext}
	var rows []rowfile.Row
	r.take = func(s *landing.Segment, wanted func(*fanwatch.Row) bool) error {
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
	r.full = func() bool { return len(rows) >= t.cfg.BatchRows }
	r.store = func(ctx context.Context, tbl *table.Table) error {
		defer func() { rows = nil }()
		return t.writeBatch(ctx, tbl, r, rows)
	}
	return r
}

// fits reports whether the batch still begins where the table ends.
func (r *batch) fits(tbl *table.Table) bool {
	for key, before := range r.before {
		if tbl.Properties()[key] != before {
			return false
		}
	}
	return true
}

// committed reports whether the table has the batch. The offsets alone prove it: they and the files enter
// in one transaction. Had another committer made the same batch, our files would be orphans.
func (r *batch) committed(tbl *table.Table) bool {
	for key, offset := range r.offsets {
		if tbl.Properties()[key] != offset {
			return false
		}
	}
	return true
}

// reading is how far a batch has read one log.
type reading struct {
	log    landing.Log
	at     fanwatch.SequenceNumber // the next segment is the one behind
	end    fanwatch.SequenceNumber // of a batch of old rows: where it ends; "" = where the log does
	held   held
	isHeld bool
	done   bool
}

// gather reads segments, one of each shard in turn, until the batch is full or the logs end. A log that fails is
// passed over.
func (r *batch) gather(ctx context.Context, t *iceTable, tbl *table.Table, logs []landing.Log) error {
	r.before, r.offsets = make(map[string]string), make(map[string]string)
	var reads []*reading
	for _, l := range logs {
		if _, twice := r.before[offsetKey(l)]; twice {
			return errors.New("commit: a log was given twice")
		}
		r.before[offsetKey(l)], r.before[oldKey(l)] = tbl.Properties()[offsetKey(l)], tbl.Properties()[oldKey(l)]
		rd, err := r.begin(t, tbl, l)
		if err != nil {
			r.failed.add(fmt.Errorf("commit: %w", err))
			continue
		}
		reads = append(reads, rd)
	}
	for left := len(reads); left > 0; {
		left = 0
		for _, rd := range reads {
			if rd.done {
				continue
			}
			if r.full() {
				r.result.More = true
				return nil
			}
			if err := r.step(ctx, t, rd); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.failed.add(fmt.Errorf("commit: shard %s: %w", rd.log.Shard, err))
				rd.done = true
			}
			if !rd.done {
				left++
			}
		}
	}
	// A closed and empty last segment ends where it begins: its offset is no news.
	maps.DeleteFunc(r.offsets, func(key, offset string) bool { return r.before[key] == offset })
	return nil
}

// begin finds out where the batch begins with a log.
func (r *batch) begin(t *iceTable, tbl *table.Table, l landing.Log) (*reading, error) {
	at, err := offset(tbl, l)
	if err != nil {
		return nil, err
	}
	rd := &reading{log: l, at: at}
	if rd.held, rd.isHeld, err = heldOf(tbl, l); err != nil {
		return nil, err
	}
	due := rd.isHeld && !t.cfg.Now().Before(rd.held.Since.Add(t.cfg.OldEvery))
	r.due = r.due || due
	if r.old {
		rd.at, rd.end, rd.done = rd.held.After, at, !due || rd.held.After.Compare(at) >= 0
	}
	return rd, nil
}

// step takes the next segment of a log.
func (r *batch) step(ctx context.Context, t *iceTable, rd *reading) error {
	s, err := r.next(ctx, rd.log, rd.at)
	if errors.Is(err, objstore.ErrNotFound) && !r.old {
		rd.done = true
		return nil
	}
	if err != nil {
		return err
	}
	if r.old {
		if err := r.take(&s, rd.held.holds); err != nil {
			return err
		}
		rd.at, rd.held.After = s.Last, s.Last
		r.offsets[oldKey(rd.log)] = rd.held.String()
		if rd.done = s.End || s.Last.Compare(rd.end) >= 0; rd.done {
			r.offsets[oldKey(rd.log)] = ""
		}
		r.result.Segments++
		return nil
	}
	h := rd.held
	if !rd.isHeld {
		h = held{After: rd.at, Age: t.cfg.OldAfter, Since: t.cfg.Now().UTC()}
	}
	holding := rd.isHeld
	err = r.take(&s, func(row *fanwatch.Row) bool {
		if !t.layout.holds || rd.log.Foreign() || !h.holds(row) {
			return true
		}
		holding = true
		return false
	})
	if err != nil {
		return err
	}
	if rd.held, rd.isHeld = h, holding; holding {
		r.offsets[oldKey(rd.log)] = h.String()
	}
	r.result.Segments++
	rd.at, rd.done = s.Last, s.End
	r.offsets[offsetKey(rd.log)] = string(s.Last)
	return nil
}

// writeBatch sorts the rows into one file per day and stores the files. Nothing refers to them yet.
func (t *Table) writeBatch(ctx context.Context, tbl *table.Table, r *batch, rows []rowfile.Row) error {
	rowsIn := len(rows)
	slices.SortFunc(rows, func(a, b rowfile.Row) int { return a.Compare(&b) })
	days := make(map[int32]*rowfile.Writer)
	var dedupe rowfile.Deduper
	for i := range rows {
		row := &rows[i]
		if !dedupe.First(row) {
			r.result.Duplicates++
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
		r.files = append(r.files, described)
		r.result.Rows += days[day].Rows
		delete(days, day)
	}
	r.result.Files = len(r.files)
	if r.result.Rows != rowsIn-r.result.Duplicates {
		return fmt.Errorf("commit: %d rows in, %d duplicates, but %d rows out: nothing was committed", rowsIn,
			r.result.Duplicates, r.result.Rows)
	}
	failpoint.Hit(failpoint.CommitFiles)
	return nil
}

// storeFile puts a data file under a random name and describes it.
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

// storeData puts a data file under a random name and gives its path.
func (t *iceTable) storeData(ctx context.Context, day int32, data []byte) (string, error) {
	key := t.newFileKey(day)
	return t.cfg.Location + "/" + key, wrap(t.cfg.Store.Put(ctx, key, data, true), "table")
}

// newFileKey draws the name of a data file.
func (t *iceTable) newFileKey(day int32) string {
	date := time.Unix(int64(day)*24*3600, 0).UTC().Format(time.DateOnly)
	return fmt.Sprintf("%s/data/time_day=%s/%s.parquet", t.root, date, uuid.NewString())
}

// commitBatch makes the transaction. AssertRefSnapshotID makes it fail when the table has changed since it
// was loaded: without it two equal rounds that race could both be replayed and both succeed.
func (t *iceTable) commitBatch(ctx context.Context, tbl *table.Table, r *batch) error {
	tx := tbl.NewTransaction()
	if err := tx.AssertRefSnapshotID(table.MainBranch); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := tx.SetProperties(r.offsets); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	// The files' names are new and random, so no check against the names in the table, which would read
	// every manifest. They carry field IDs, so no mapping by names.
	if len(r.files) > 0 {
		if err := tx.AddDataFiles(ctx, r.files, nil, table.WithoutDuplicateCheck(),
			table.WithoutAutoNameMapping()); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	failpoint.Hit(failpoint.CommitBefore)
	_, err := tx.Commit(ctx)
	failpoint.Hit(failpoint.CommitAfter)
	return wrap(err, "commit")
}
