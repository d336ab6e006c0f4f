package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"fanwatch/failpoint"
	"fanwatch/objstore"
)

// planVersion is the version of a plan that this program writes; it refuses to read others.
const planVersion = 1

// plan is a prepared change of a table, stored below its folder plans until the committer applies or discards it. The
// files that it adds are stored already. Applying it twice equals applying it once.
type plan struct {
	V       int               `json:"v"`
	Why     string            `json:"why"`               // what it changes, for people
	Removed []string          `json:"removed,omitempty"` // paths of data files that leave the table
	Added   []fileEntry       `json:"added,omitempty"`   // data files that enter the table
	Set     map[string]string `json:"set,omitempty"`     // table properties
	Was     map[string]string `json:"was,omitempty"`     // values that properties must have before; "" = not set
	Expire  *expiry           `json:"expire,omitempty"`
}

// expiry names the snapshots that expire: those older than OlderThan, but not the newest Keep.
type expiry struct {
	OlderThan time.Duration `json:"older_than"`
	Keep      int           `json:"keep"`
}

// ApplyResult is what one Apply did with the plans that it found.
type ApplyResult struct {
	Swaps        int `json:"swaps"`      // compactions
	Expiries     int `json:"expiries"`   // expiries of snapshots
	Retired      int `json:"retired"`    // removals of days past retention
	Marks        int `json:"marks"`      // changes of the table's properties alone
	Discarded    int `json:"discarded"`  // plans that the table had passed
	FilesRemoved int `json:"files_in"`   // data files that left the table
	FilesAdded   int `json:"files_out"`  // data files that entered the table
	PlansLeft    int `json:"plans_left"` // plans that were not applied: 0, or an error says why
}

// fileEntry is Iceberg's entry of a data file, as a plan keeps it.
type fileEntry struct {
	Path        string         `json:"path"`
	Day         int32          `json:"day"` // since 1970
	Rows        int64          `json:"rows"`
	Bytes       int64          `json:"bytes"`
	ColumnSizes map[int]int64  `json:"column_sizes,omitempty"`
	Values      map[int]int64  `json:"values,omitempty"`
	Nulls       map[int]int64  `json:"nulls,omitempty"`
	NaNs        map[int]int64  `json:"nans,omitempty"`
	Lower       map[int][]byte `json:"lower,omitempty"`
	Upper       map[int][]byte `json:"upper,omitempty"`
	Splits      []int64        `json:"splits,omitempty"`
	SortOrder   *int           `json:"sort_order,omitempty"`
}

func newFileEntry(df iceberg.DataFile) (fileEntry, error) {
	day, err := dayOf(df)
	return fileEntry{df.FilePath(), day, df.Count(), df.FileSizeBytes(), df.ColumnSizes(), df.ValueCounts(),
		df.NullValueCounts(), df.NaNValueCounts(),
		df.LowerBoundValues(), df.UpperBoundValues(), df.SplitOffsets(), df.SortOrderID()}, err
}

func (e *fileEntry) dataFile(spec iceberg.PartitionSpec) (iceberg.DataFile, error) {
	b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, e.Path, iceberg.ParquetFile,
		map[int]any{partitionField: iceberg.Date(e.Day)},
		map[int]string{partitionField: "date"}, nil, e.Rows, e.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, err)
	}
	b.ValueCounts(e.Values).NullValueCounts(e.Nulls).LowerBoundValues(e.Lower).UpperBoundValues(e.Upper)
	// To Iceberg empty is not absent: values that the file's writer left out stay absent.
	if len(e.ColumnSizes) > 0 {
		b.ColumnSizes(e.ColumnSizes)
	}
	if len(e.NaNs) > 0 {
		b.NaNValueCounts(e.NaNs)
	}
	if len(e.Splits) > 0 {
		b.SplitOffsets(e.Splits)
	}
	if e.SortOrder != nil {
		b.SortOrderID(*e.SortOrder)
	}
	return b.Build(), nil
}

func (t *iceTable) planFolder() string { return t.root + "/plans/" }

// enqueue stores a plan for the committer and returns its key. Plans are applied in the order in which they were
// enqueued.
func (t *iceTable) enqueue(ctx context.Context, p plan) (string, error) {
	p.V = planVersion
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("plan: %w", err)
	}
	key := fmt.Sprintf("%s%020d-%s.json", t.planFolder(), t.cfg.Now().UnixNano(), uuid.NewString())
	if err := t.cfg.Store.Put(ctx, key, data, true); err != nil {
		return "", fmt.Errorf("plan: %w", err)
	}
	return key, nil
}

// waitingPlans returns the plans that are not yet applied, by key. Objects that are no plans are passed over and noted
// in t.passed. doubtful says that one of these may be a plan: of a later version, or one that cannot be read now.
func (t *iceTable) waitingPlans(ctx context.Context) (found map[string]plan, doubtful bool, err error) {
	found = make(map[string]plan)
	var strays []string
	for o, err := range t.cfg.Store.List(ctx, t.planFolder(), "") {
		if err != nil {
			return nil, false, fmt.Errorf("plans: %w", err)
		}
		why := strayReason(o)
		if why == "" {
			p, err := t.readPlan(ctx, o.Key)
			switch {
			case errors.Is(err, objstore.ErrNotFound):
				continue // applied since it was listed
			case err == nil && p.V == planVersion:
				found[o.Key] = p
				continue
			case err == nil && p.V > planVersion:
				why, doubtful = fmt.Sprintf("a plan of version %d, this program knows %d", p.V, planVersion), true
			case errors.Is(err, errNoPlan) || err == nil:
				why = "not a plan"
			default:
				why, doubtful = "it cannot be read: "+err.Error(), true
			}
		}
		strays = append(strays, strayObject(o.Key, why))
	}
	t.passed.set(t.planFolder(), strays)
	return found, doubtful, ctx.Err()
}

var errNoPlan = errors.New("not a plan")

func (t *iceTable) readPlan(ctx context.Context, key string) (p plan, err error) {
	data, err := t.cfg.Store.Get(ctx, key)
	if err == nil && json.Unmarshal(data, &p) != nil {
		err = errNoPlan
	}
	return p, err
}

// Apply makes the changes that were planned: swaps of merged files, expiries of snapshots, drops of days. The table's
// one committer calls it. A plan that the table has passed is discarded, and its files become orphans. One that fails
// stays and keeps no other from being applied; the error is then a *[Partial].
func (t *iceTable) Apply(ctx context.Context) (ApplyResult, error) {
	var a ApplyResult
	found, _, err := t.waitingPlans(ctx)
	if err != nil || len(found) == 0 {
		return a, err
	}
	a.PlansLeft = len(found)
	if _, err := t.load(ctx); err != nil {
		return a, err // a catalog that does not answer would keep each plan waiting
	}
	var failed failures
	for _, key := range slices.Sorted(maps.Keys(found)) {
		p := found[key]
		done, err := t.apply(ctx, &p)
		if err == nil {
			err = t.removePlan(ctx, key)
		}
		if err != nil {
			failed.add(fmt.Errorf("plan %s (%s): %w", strings.TrimPrefix(key, t.planFolder()), p.Why, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		a.PlansLeft--
		a.count(&p, done)
	}
	return a, failed.err()
}

// count counts a plan that was applied, or discarded where done is false.
func (a *ApplyResult) count(p *plan, done bool) {
	switch {
	case !done:
		a.Discarded++
		return
	case len(p.Added) > 0:
		a.Swaps++
	case len(p.Removed) > 0:
		a.Retired++
	case p.Expire != nil:
		a.Expiries++
	default:
		a.Marks++
	}
	a.FilesRemoved, a.FilesAdded = a.FilesRemoved+len(p.Removed), a.FilesAdded+len(p.Added)
}

// removePlan removes a plan that was applied or discarded.
func (t *iceTable) removePlan(ctx context.Context, key string) error {
	failpoint.Hit(failpoint.PlanApplied)
	return t.cfg.Store.Delete(ctx, key)
}

// apply makes one plan's change and reports whether the table has it now; false: the table has passed the plan.
func (t *iceTable) apply(ctx context.Context, p *plan) (done bool, err error) {
	var errs []error
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return false, errors.Join(append(errs, err)...)
		}
		tbl, live, err := t.loadFiles(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if p.applied(tbl, live) {
			return true, nil // made by an attempt whose answer was lost
		}
		if !p.stillApplies(tbl, live) {
			return false, nil
		}
		if err := p.commit(ctx, tbl, live); err != nil {
			errs = append(errs, err)
			continue
		}
		return true, nil
	}
	return false, fmt.Errorf("given up after %d attempts: %w", commitAttempts, errors.Join(errs...))
}

// applied reports whether the table has the change: all files that the plan adds and all properties that it sets.
func (p *plan) applied(tbl *table.Table, live map[string]iceberg.DataFile) bool {
	if len(p.Added) == 0 && len(p.Set) == 0 {
		return false // an expiry may be made again
	}
	for _, e := range p.Added {
		if live[e.Path] == nil {
			return false
		}
	}
	for key, value := range p.Set {
		if tbl.Properties()[key] != value {
			return false
		}
	}
	return true
}

// stillApplies reports whether the table has all files that the plan removes and the properties that it expects.
func (p *plan) stillApplies(tbl *table.Table, live map[string]iceberg.DataFile) bool {
	for key, value := range p.Was {
		if tbl.Properties()[key] != value {
			return false
		}
	}
	return !slices.ContainsFunc(p.Removed, func(path string) bool { return live[path] == nil })
}

// commit makes the plan's transaction.
func (p *plan) commit(ctx context.Context, tbl *table.Table, live map[string]iceberg.DataFile) error {
	tx := tbl.NewTransaction()
	if err := tx.AssertRefSnapshotID(table.MainBranch); err != nil {
		return err
	}
	before, after := failpoint.RetireBefore, failpoint.RetireAfter
	var err error
	switch {
	case len(p.Added) > 0:
		before, after = failpoint.CompactBefore, failpoint.CompactAfter
		err = p.swap(ctx, tbl, tx, live)
	case len(p.Removed) > 0:
		var removed []iceberg.DataFile
		for _, path := range p.Removed {
			removed = append(removed, live[path])
		}
		err = tx.ReplaceDataFilesWithDataFiles(ctx, removed, nil, nil, table.WithoutAutoNameMapping())
	case p.Expire != nil:
		before, after = failpoint.ExpireBefore, failpoint.ExpireAfter
		err = tx.ExpireSnapshots(table.WithOlderThan(p.Expire.OlderThan), table.WithRetainLast(max(p.Expire.Keep, 1)),
			table.WithPostCommit(true))
	}
	if err == nil && len(p.Set) > 0 {
		err = tx.SetProperties(p.Set)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(before)
	_, err = tx.Commit(ctx)
	failpoint.Hit(after)
	return err
}

// swap exchanges the files in one `replace` snapshot: a reader sees the old files or the new ones.
func (p *plan) swap(ctx context.Context, tbl *table.Table, tx *table.Transaction,
	live map[string]iceberg.DataFile) error {
	rewrite := tx.NewRewrite(nil)
	for _, path := range p.Removed {
		rewrite.DeleteFile(live[path])
	}
	for i := range p.Added {
		df, err := p.Added[i].dataFile(tbl.Spec())
		if err != nil {
			return err
		}
		rewrite.AddDataFile(df)
	}
	return rewrite.Commit(ctx)
}
