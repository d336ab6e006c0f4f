package lake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
)

// Account says of one fan where its readings are, from the publisher's acknowledgement to the table. All
// numbers count readings.
type Account struct {
	Fan             string `json:"fan"`              // "": rows whose fan could not be told
	Acknowledged    int    `json:"acknowledged"`     // at least this many had their PUBACK, as the newest batch of every run says; in the demo's format, which does not say: Landed
	Dropped         int    `json:"dropped"`          // by the publisher, before it ever sent them
	Landed          int    `json:"landed"`           // distinct readings in the landing log
	Duplicates      int    `json:"duplicates"`       // readings that the landing log holds once more: must be 0
	Quarantined     int    `json:"quarantined"`      // in the landing log, but not accepted as readings
	Pending         int    `json:"pending"`          // landed, and not yet due in the table
	Table           int    `json:"table"`            // distinct readings in the table
	Retired         int    `json:"retired"`          // readings that left the table by age
	TableDuplicates int    `json:"table_duplicates"` // readings that the table holds once more: must be 0
	Missing         int    `json:"missing"`          // acknowledged, but neither landed nor quarantined: must be 0
	Lost            int    `json:"lost"`             // due in the table, but not there: must be 0
	Surplus         int    `json:"surplus"`          // in the table, but never landed: must be 0
	OK              bool   `json:"ok"`
	Verdict         string `json:"verdict"`
}

// Reconcile holds acknowledgements, landing logs and table against each other, fan by fan. The logs must
// be all that ever fed the table. It reads the whole of both; tombstones count by their headers.
func Reconcile(ctx context.Context, logs []Log, t *Table) ([]Account, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	// The table first: whatever is landed meanwhile lies behind its offsets and counts as pending.
	runs, err := t.runs(ctx, tbl)
	if err != nil {
		return nil, err
	}
	gone, err := t.ledger(ctx, tbl)
	if err != nil {
		return nil, err
	}
	b := books{runs: make(map[runName]*bookedRun), quarantined: make(map[string]int), goneBefore: int64(gone.Before) * dayMicros}
	for _, r := range gone.Runs {
		b.run(runName{r.Fan, r.Run}).retired = r.Rows
	}
	for _, l := range logs {
		if err := b.addLog(ctx, tbl, l); err != nil {
			return nil, fmt.Errorf("reconcile: %w", err)
		}
	}
	for key, set := range runs {
		b.run(runName{key.fan, fanwatch.FormatRun(key.run)}).table = *set
	}
	return b.accounts(), nil
}

type runName struct{ fan, run string } // run by fanwatch.FormatRun

// bookedRun is what the log and the table say of one run of one fan.
type bookedRun struct {
	acked, dropped uint64
	landed, due    runSet // readings of segments that still have their rows; due: at or before the offset
	old            runSet // those of due that are of a day that left the table by age
	buried         int    // readings of tombstones, all of them due
	retired        int    // rows that left the table by age
	table          runSet
}

// differ tells how many due readings the table lacks and how many it has that were never landed. Which
// readings the tombstones held is not known, only how many: the table's others and those that it has
// retired must be just those. A reading of a retired day may be there (it came late) or not.
func (r *bookedRun) differ() (lost, surplus int) {
	absent := roaring64.AndNot(r.due.seqs, r.table.seqs)
	excused := int(roaring64.And(absent, r.old.seqs).GetCardinality())
	lost = int(absent.GetCardinality()) - excused
	others := int(roaring64.AndNot(r.table.seqs, r.due.seqs).GetCardinality()) + r.retired - excused
	return lost + max(0, r.buried-others), max(0, others-r.buried)
}

type books struct {
	runs        map[runName]*bookedRun
	quarantined map[string]int
	goneBefore  int64 // Unix microseconds: rows of before may have left the table by age
}

func (b *books) run(name runName) *bookedRun {
	r := b.runs[name]
	if r == nil {
		r = &bookedRun{landed: newRunSet(), due: newRunSet(), old: newRunSet(), table: newRunSet()}
		b.runs[name] = r
	}
	return r
}

func (b *books) addLog(ctx context.Context, tbl *table.Table, l Log) error {
	at, err := offset(tbl, l)
	if err != nil {
		return err
	}
	return l.Walk(ctx, "0", func(s Segment) error {
		for _, f := range s.Fans {
			b.quarantined[f.Fan] += f.Quarantined
			r := b.run(runName{f.Fan, f.Run})
			r.acked, r.dropped = max(r.acked, f.Acked), max(r.dropped, f.Dropped)
			if s.Tombstone {
				r.buried += f.Landed
			}
		}
		due := s.Last.Compare(at) <= 0
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.Scored && row.Kind != fanwatch.Late {
				continue
			}
			r := b.run(runName{row.Fan, fanwatch.FormatRun(row.Run)})
			r.landed.add(row.Seq)
			if due {
				r.due.add(row.Seq)
			}
			if due && row.Time.UnixMicro() < b.goneBefore {
				r.old.add(row.Seq)
			}
		}
		return nil
	})
}

func (b *books) accounts() []Account {
	fans := make(map[string]*Account)
	account := func(fan string) *Account {
		if fans[fan] == nil {
			fans[fan] = &Account{Fan: fan}
		}
		return fans[fan]
	}
	for name, r := range b.runs {
		a := account(name.fan)
		landed, due := r.landed.distinct()+r.buried, r.due.distinct()+r.buried
		acked := int(r.acked)
		if name.run == fanwatch.FormatRun(0) {
			acked = landed
		}
		a.Acknowledged += acked
		a.Dropped += int(r.dropped)
		a.Landed += landed
		a.Duplicates += r.landed.rows - r.landed.distinct()
		a.Pending += landed - due
		a.Table += r.table.distinct()
		a.Retired += r.retired
		a.TableDuplicates += r.table.rows - r.table.distinct()
		a.Missing += max(0, acked-landed)
		lost, surplus := r.differ()
		a.Lost += lost
		a.Surplus += surplus
	}
	for fan, n := range b.quarantined {
		a := account(fan)
		a.Quarantined = n
		a.Missing = max(0, a.Missing-n) // a quarantined row does not say of which run it was
	}
	var list []Account
	for _, a := range slices.SortedFunc(maps.Values(fans), func(a, b *Account) int { return cmp.Compare(a.Fan, b.Fan) }) {
		a.judge()
		list = append(list, *a)
	}
	return list
}

// judge says in a sentence what is wrong.
func (a *Account) judge() {
	var faults []string
	for _, f := range []struct {
		n    int
		what string
	}{
		{a.Missing, "acknowledged but not in the landing log"}, {a.Duplicates, "more than once in the landing log"},
		{a.Lost, "in the landing log and due, but not in the table"}, {a.TableDuplicates, "more than once in the table"},
		{a.Surplus, "in the table, but not in the landing log"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	a.OK = len(faults) == 0
	switch {
	case !a.OK:
		a.Verdict = strings.Join(faults, "; ")
	case a.Pending > 0:
		a.Verdict = fmt.Sprintf("every acknowledged reading is in the lake once; %d wait for the next commit to the table", a.Pending)
	default:
		a.Verdict = "every acknowledged reading is in the lake once"
	}
}
