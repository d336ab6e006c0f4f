package lake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/iceberg-go"
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

// HourAccount says of one fan and one hour of its readings' times where they are, as far as the landing log
// still has its rows. All numbers count readings.
type HourAccount struct {
	Fan        string    `json:"fan"`
	Hour       time.Time `json:"hour"`
	Landed     int       `json:"landed"`     // distinct readings in the landing log
	Duplicates int       `json:"duplicates"` // that it holds once more
	Pending    int       `json:"pending"`    // landed, and not yet due in the table
	Table      int       `json:"table"`      // distinct readings in the table, those of emptied segments among them
	TableTwice int       `json:"table_twice"`
	Lost       int       `json:"lost"`    // due in the table, but not there
	Surplus    int       `json:"surplus"` // in the table, but never landed; not told of runs of which segments were emptied
	OK         bool      `json:"ok"`
}

// ReconcileHours is Reconcile by fan and hour. Of segments that were emptied the hours are not known: their
// readings count in Table alone. Hours of days past retention are left out.
func ReconcileHours(ctx context.Context, logs []Log, t *Table) ([]HourAccount, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := t.ledger(ctx, tbl)
	if err != nil {
		return nil, err
	}
	b := hourBooks{hours: make(map[runHour]*bookedRun), emptied: make(map[runKey]bool), from: int64(gone.Before) * dayMicros}
	for df, err := range liveFiles(ctx, tbl) {
		if err == nil {
			err = b.addFile(ctx, t, df)
		}
		if err != nil {
			return nil, fmt.Errorf("reconcile: %w", err)
		}
	}
	for _, l := range logs {
		if err := b.addLog(ctx, tbl, l); err != nil {
			return nil, fmt.Errorf("reconcile: %w", err)
		}
	}
	return b.accounts(), nil
}

const hourMicros = dayMicros / 24

// runHour is an hour of a run, counted from 1970.
type runHour struct {
	runKey
	hour int64
}

type hourBooks struct {
	hours   map[runHour]*bookedRun
	emptied map[runKey]bool // runs of which a segment lost its rows
	from    int64           // Unix microseconds: rows of before may have left the table by age
}

func (b *hourBooks) hour(fan string, run uint64, micros int64) *bookedRun {
	if micros < b.from {
		return nil
	}
	h := micros / hourMicros
	if micros%hourMicros < 0 {
		h--
	}
	key := runHour{runKey{fan, run}, h}
	if b.hours[key] == nil {
		b.hours[key] = &bookedRun{landed: newRunSet(), due: newRunSet(), table: newRunSet()}
	}
	return b.hours[key]
}

// timed is the four columns of stored that are decoded to count by hour.
type timed struct {
	Time int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan  string `parquet:"fan_id,id(2),dict"`
	Run  int64  `parquet:"run,id(3),dict"`
	Seq  int64  `parquet:"seq,id(4),delta"`
}

func (b *hourBooks) addFile(ctx context.Context, t *Table, df iceberg.DataFile) error {
	data, err := t.read(ctx, df)
	if err == nil {
		same := make(intern)
		err = eachRow(data, func(row *timed) {
			if h := b.hour(same.text(row.Fan), uint64(row.Run), row.Time); h != nil {
				h.table.add(uint64(row.Seq))
			}
		})
	}
	return wrap(err, "%s", df.FilePath())
}

func (b *hourBooks) addLog(ctx context.Context, tbl *table.Table, l Log) error {
	at, err := offset(tbl, l)
	if err != nil {
		return err
	}
	return l.Walk(ctx, "0", func(s Segment) error {
		if s.Tombstone {
			for _, f := range s.Fans {
				run, _ := fanwatch.ParseRun(f.Run) // of zeros: 0
				b.emptied[runKey{f.Fan, run}] = true
			}
		}
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.Scored && row.Kind != fanwatch.Late {
				continue
			}
			if h := b.hour(row.Fan, row.Run, row.Time.UnixMicro()); h != nil {
				h.landed.add(row.Seq)
				if s.Last.Compare(at) <= 0 {
					h.due.add(row.Seq)
				}
			}
		}
		return nil
	})
}

func (b *hourBooks) accounts() []HourAccount {
	sums := make(map[runHour]*HourAccount) // by fan and hour, of all runs
	for key, r := range b.hours {
		sum := runHour{runKey{fan: key.fan}, key.hour}
		a := sums[sum]
		if a == nil {
			a = &HourAccount{Fan: key.fan, Hour: time.UnixMicro(key.hour * hourMicros).UTC()}
			sums[sum] = a
		}
		landed, due := r.landed.distinct(), r.due.distinct()
		a.Landed, a.Duplicates, a.Pending = a.Landed+landed, a.Duplicates+r.landed.rows-landed, a.Pending+landed-due
		a.Table, a.TableTwice = a.Table+r.table.distinct(), a.TableTwice+r.table.rows-r.table.distinct()
		a.Lost += int(roaring64.AndNot(r.due.seqs, r.table.seqs).GetCardinality())
		if !b.emptied[key.runKey] {
			a.Surplus += int(roaring64.AndNot(r.table.seqs, r.landed.seqs).GetCardinality())
		}
	}
	var list []HourAccount
	for _, a := range sums {
		a.OK = a.Duplicates+a.TableTwice+a.Lost+a.Surplus == 0
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b HourAccount) int { return cmp.Or(cmp.Compare(a.Fan, b.Fan), a.Hour.Compare(b.Hour)) })
	return list
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
