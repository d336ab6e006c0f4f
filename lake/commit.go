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
)

// commitAttempts bounds how often one Commit or Compact meets somebody else's change before it gives up.
const commitAttempts = 8

// CommitResult says what one Commit brought into the table.
type CommitResult struct {
	Segments   int  `json:"segments"`
	Rows       int  `json:"rows"`       // readings added
	Duplicates int  `json:"duplicates"` // readings passed over because the same commit held them already
	Files      int  `json:"files"`
	More       bool `json:"more"` // the round was full: commit again
}

// Commit brings the new segments of the logs into the table, in one transaction: sorted files, one per
// day of the readings' times, and the offset of every shard. So a repeated or a killed commit adds
// nothing twice and loses nothing. It takes about TableConfig.RoundRows readings; More says that there
// are others. The logs may come and go from call to call.
func (t *Table) Commit(ctx context.Context, logs []Log) (CommitResult, error) {
	return t.commitLogs(ctx, logs, func() *round { return t.newRound() })
}

// commitLogs makes one round: gathers, stores the files, commits. begin gives an empty round.
func (t *iceTable) commitLogs(ctx context.Context, logs []Log, begin func() *round) (CommitResult, error) {
	var errs []error
	var r *round
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return CommitResult{}, errors.Join(append(errs, err)...)
		}
		tbl, err := t.load(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r != nil && r.committed(tbl) {
			return r.result, nil // the answer was lost, the commit was not
		}
		if r == nil || !r.fits(tbl) {
			r = begin()
			if err := r.gather(ctx, tbl, logs); err != nil {
				return CommitResult{}, err // a damaged log does not mend itself
			}
			if len(r.offsets) == 0 {
				return CommitResult{}, nil
			}
			if err := r.store(ctx, tbl); err != nil {
				return CommitResult{}, err
			}
		}
		if err := t.commitRound(ctx, tbl, r); err != nil {
			errs = append(errs, err)
			continue
		}
		return r.result, nil
	}
	return CommitResult{}, fmt.Errorf("commit: given up after %d attempts: %w", commitAttempts, errors.Join(errs...))
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

// round is what one transaction takes from the logs.
type round struct {
	before  map[string]string // offset properties as they were; "" = none
	offsets map[string]string // and as they shall be
	files   []iceberg.DataFile
	result  CommitResult

	next  func(ctx context.Context, l Log, after fanwatch.SequenceNumber) (Segment, error)
	take  func(*Segment) error                              // keeps a segment's rows, as far as the table wants them
	full  func() bool                                       // tells whether that was enough
	store func(ctx context.Context, tbl *table.Table) error // makes files of the rows
}

func readNext(ctx context.Context, l Log, after fanwatch.SequenceNumber) (Segment, error) {
	return l.Next(ctx, after)
}

// newRound makes a round of readings.
func (t *Table) newRound() *round {
	r := &round{next: readNext}
	var rows []stored
	r.take = func(s *Segment) error {
		if s.Tombstone && s.Counts.Readings() > 0 {
			return fmt.Errorf("commit: segment %s after %s is a tombstone, but its %d readings are not in the table: was the table replaced by an older copy?", s.Shard, s.After, s.Counts.Readings())
		}
		for i := range s.Rows {
			if k := s.Rows[i].Kind; k == fanwatch.Scored || k == fanwatch.Late {
				rows = append(rows, toStored(&s.Rows[i]))
			}
		}
		return nil
	}
	r.full = func() bool { return len(rows) >= t.cfg.RoundRows }
	r.store = func(ctx context.Context, tbl *table.Table) error {
		defer func() { rows = nil }()
		return t.writeRound(ctx, tbl, r, rows)
	}
	return r
}

// fits tells whether the round still begins where the table ends.
func (r *round) fits(tbl *table.Table) bool {
	for key, before := range r.before {
		if tbl.Properties()[key] != before {
			return false
		}
	}
	return true
}

// committed tells whether the table has the round. The offsets alone prove it: they and the files enter
// in one transaction. Had another committer made the same round, our files would be orphans.
func (r *round) committed(tbl *table.Table) bool {
	for key, offset := range r.offsets {
		if tbl.Properties()[key] != offset {
			return false
		}
	}
	return true
}

// gather reads segments, one of each shard in turn, until the round is full or the logs end.
func (r *round) gather(ctx context.Context, tbl *table.Table, logs []Log) error {
	r.before, r.offsets = make(map[string]string), make(map[string]string)
	at := make([]fanwatch.SequenceNumber, len(logs))
	for i, l := range logs {
		var err error
		if at[i], err = offset(tbl, l); err != nil {
			return err
		}
		r.before[offsetKey(l)] = tbl.Properties()[offsetKey(l)]
	}
	if len(r.before) != len(logs) {
		return errors.New("commit: a log was given twice")
	}
	ended := make([]bool, len(logs))
	for left := len(logs); left > 0; {
		for i, l := range logs {
			if ended[i] {
				continue
			}
			if r.full() {
				r.result.More = true
				return nil
			}
			s, err := r.next(ctx, l, at[i])
			if errors.Is(err, ErrNotFound) {
				ended[i], left = true, left-1
				continue
			}
			if err != nil {
				return fmt.Errorf("commit: %w", err)
			}
			if err := r.take(&s); err != nil {
				return err
			}
			r.result.Segments++
			at[i] = s.Last
			r.offsets[offsetKey(l)] = string(s.Last)
			if s.End {
				ended[i], left = true, left-1
			}
		}
	}
	// A closed and empty last segment ends where it begins: its offset is no news.
	maps.DeleteFunc(r.offsets, func(key, offset string) bool { return r.before[key] == offset })
	return nil
}

// writeRound sorts the rows into one file per day and stores the files. Nothing refers to them yet.
func (t *Table) writeRound(ctx context.Context, tbl *table.Table, r *round, rows []stored) error {
	rowsIn := len(rows)
	slices.SortFunc(rows, func(a, b stored) int { return a.compare(&b) })
	days := make(map[int32]*dataFile)
	var dedupe deduper
	for i := range rows {
		row := &rows[i]
		if !dedupe.first(row) {
			r.result.Duplicates++
			continue
		}
		f := days[row.day()]
		if f == nil {
			f = newDataFile(row.day())
			days[row.day()] = f
		}
		if err := f.add(row); err != nil {
			return err
		}
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		described, err := t.storeFile(ctx, tbl, days[day])
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		r.files = append(r.files, described)
		r.result.Rows += days[day].rows
		delete(days, day)
	}
	r.result.Files = len(r.files)
	if r.result.Rows != rowsIn-r.result.Duplicates {
		return fmt.Errorf("commit: %d rows in, %d duplicates, but %d rows out: nothing was committed", rowsIn, r.result.Duplicates, r.result.Rows)
	}
	failpoint.Hit(failpoint.CommitFiles)
	return nil
}

// storeFile puts a data file under a random name and describes it.
func (t *Table) storeFile(ctx context.Context, tbl *table.Table, f *dataFile) (iceberg.DataFile, error) {
	data, err := f.finish()
	if err != nil {
		return nil, err
	}
	path, err := t.storeData(ctx, f.day, data)
	if err != nil {
		return nil, err
	}
	return f.describe(tbl.Spec(), tbl.SortOrder().OrderID(), path)
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

// commitRound makes the transaction. AssertRefSnapshotID makes it fail when the table has changed since it
// was loaded: without it two equal rounds that race could both be replayed and both succeed.
func (t *iceTable) commitRound(ctx context.Context, tbl *table.Table, r *round) error {
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
		if err := tx.AddDataFiles(ctx, r.files, nil, table.WithoutDuplicateCheck(), table.WithoutAutoNameMapping()); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	failpoint.Hit(failpoint.CommitBefore)
	_, err := tx.Commit(ctx)
	failpoint.Hit(failpoint.CommitAfter)
	return wrap(err, "commit")
}
