package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"fanwatch"
	"fanwatch/lake/rowfile"
	"fanwatch/objstore"
)

// droppedRowsVersion is the version of droppedRows that this program writes; it refuses to read others.
const droppedRowsVersion = 1

// droppedRows has the number of rows that left the table by age, for Reconcile. A new one replaces the old in the
// transaction that removes the rows.
type droppedRows struct {
	V      int          `json:"v"`
	Before int32        `json:"before"` // days before this one, counted from 1970, were removed
	Runs   []droppedRun `json:"runs"`   // by fan and run
}

// droppedRun is the number of rows of one run that left the table by age.
type droppedRun struct {
	Fan  string `json:"fan"`
	Run  string `json:"run"` // fanwatch.FormatRun
	Rows int    `json:"rows"`
}

// droppedRows reads the dropped rows that the table's property names; none: the zero value.
func (t *Table) droppedRows(ctx context.Context, tbl *table.Table) (droppedRows, error) {
	var l droppedRows
	key := tbl.Properties()[propRetired]
	if key == "" {
		return l, nil
	}
	data, err := t.cfg.Store.Get(ctx, key)
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err == nil && l.V != droppedRowsVersion {
		err = fmt.Errorf("version %d is unknown, this program knows %d", l.V, droppedRowsVersion)
	}
	return l, wrap(err, "ledger of dropped rows %s", key)
}

// PlanDropPartitions stores a plan to remove the days that ended longer than keep ago, and to note how many rows of
// each fan and run they had. It returns the number of files. keep of 0 is for ever. Older snapshots have the rows until
// they expire. A file that cannot be read stays, and the error is then a *[Partial].
func (t *Table) PlanDropPartitions(ctx context.Context, keep time.Duration) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	tbl, files, err := t.smallFiles(ctx)
	if err != nil {
		return 0, err
	}
	l, err := t.droppedRows(ctx, tbl)
	if err != nil {
		return 0, err
	}
	before := t.firstKept(keep)
	p := plan{Why: "days before " + time.Unix(int64(before)*24*3600, 0).UTC().Format(time.DateOnly)}
	dropped := make(runSets)
	for _, run := range l.Runs {
		if err := dropped.addDropped(run); err != nil {
			return 0, err
		}
	}
	var failed failures
	for _, df := range files {
		day, err := dayOf(df)
		if err == nil && day >= before {
			continue
		}
		part := make(runSets) // for this file alone: of one that fails no rows may count
		if err == nil {
			err = t.addRuns(ctx, part, df)
		}
		if err != nil {
			failed.add(fmt.Errorf("drop days: %w", err))
			continue
		}
		dropped.addCounts(part)
		p.Removed = append(p.Removed, df.FilePath())
	}
	if len(p.Removed) == 0 {
		return 0, failed.err()
	}
	next := droppedRows{V: droppedRowsVersion, Before: max(before, l.Before)}
	for _, key := range dropped.sorted() {
		next.Runs = append(next.Runs, droppedRun{key.fan, fanwatch.FormatRun(key.run), dropped[key].rows})
	}
	data, err := json.Marshal(next)
	if err != nil {
		return 0, fmt.Errorf("drop days: %w", err)
	}
	key := fmt.Sprintf("%s/retired/%s.json", t.root, uuid.NewString())
	if err := t.cfg.Store.Put(ctx, key, data, true); err != nil {
		return 0, fmt.Errorf("drop days: %w", err)
	}
	p.Set = map[string]string{propRetired: key}
	p.Was = map[string]string{propRetired: tbl.Properties()[propRetired]}
	if _, err := t.enqueue(ctx, p); err != nil {
		return 0, fmt.Errorf("drop days: %w", err)
	}
	return len(p.Removed), failed.err()
}

// addCounts adds the numbers of rows of others, without their sequence numbers.
func (m runSets) addCounts(others runSets) {
	for key, set := range others {
		if m[key] == nil {
			sum := newRunSet()
			m[key] = &sum
		}
		m[key].rows += set.rows
	}
}

// firstKept returns the first day that stays.
func (t *iceTable) firstKept(keep time.Duration) int32 {
	return rowfile.DayOf(t.cfg.Now().Add(-keep).UnixMicro())
}

// planDropPartitions is Table.PlanDropPartitions without counts by run, for tables that Reconcile does not count.
func (t *iceTable) planDropPartitions(ctx context.Context, keep time.Duration) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	_, files, err := t.smallFiles(ctx)
	if err != nil {
		return 0, err
	}
	p := plan{Why: "days past retention"}
	var failed failures
	for path, df := range files {
		day, err := dayOf(df)
		failed.add(err)
		if err == nil && day < t.firstKept(keep) {
			p.Removed = append(p.Removed, path)
		}
	}
	if len(p.Removed) == 0 {
		return 0, failed.err()
	}
	if _, err = t.enqueue(ctx, p); err != nil {
		return 0, fmt.Errorf("drop days: %w", err)
	}
	return len(p.Removed), failed.err()
}

// addDropped sets the number of rows of a run.
func (m runSets) addDropped(r droppedRun) error {
	run := uint64(0)
	if r.Run != fanwatch.FormatRun(0) {
		var err error
		if run, err = fanwatch.ParseRun(r.Run); err != nil {
			return fmt.Errorf("ledger of dropped rows: %w", err)
		}
	}
	set := newRunSet()
	set.rows = r.Rows
	m[runKey{r.Fan, run}] = &set
	return nil
}

// addRuns adds the identities of the rows of one data file.
func (t *Table) addRuns(ctx context.Context, runs runSets, df iceberg.DataFile) error {
	return t.eachID(ctx, df, runs.add)
}

// eachID calls do with the identity of every row of a data file of readings.
func (t *Table) eachID(ctx context.Context, df iceberg.DataFile, do func(key runKey, seq uint64)) error {
	index, fetch, err := t.index(ctx, df)
	if err == nil {
		err = index.EachIdentity(fetch, func(fan string, run, seq uint64) { do(runKey{fan, run}, seq) })
	}
	if errors.Is(err, objstore.ErrNotFound) {
		return fmt.Errorf("%s is in the table, but not in the store", df.FilePath())
	}
	return wrap(err, "%s", df.FilePath())
}
