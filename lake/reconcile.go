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
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
)

// Account says of one fan where its readings are, from the publisher's acknowledgement to the table. All
// numbers count readings.
type Account struct {
	// "": messages whose fan could not be told, or that name one which was never provisioned
	Fan string `json:"fan"`
	// at least this many had their PUBACK, as the newest batch of every run says; in the demo's format, which does not
	// say: Landed
	Acknowledged int `json:"acknowledged"`
	Dropped      int `json:"dropped"` // by the publisher, before it ever sent them
	Landed       int `json:"landed"`  // distinct readings in the landing log
	// readings that the landing log holds once more: must be 0 but in the demo's format, whose readings have no number
	Duplicates  int `json:"duplicates"`
	Quarantined int `json:"quarantined"` // refused: in the landing log, but not accepted
	Pending     int `json:"pending"`     // landed, and not yet due in the table
	// how long the first of them has waited for a commit; at most PendingFor while the committer works
	Waiting time.Duration `json:"waiting"`
	Table   int           `json:"table"`   // distinct readings in the table
	Retired int           `json:"retired"` // readings that left the table by age
	// readings that the table holds once more: must be 0 but for Duplicates of the demo's format, until the next
	// compaction
	TableDuplicates int `json:"table_duplicates"`
	Missing         int `json:"missing"` // acknowledged, but neither landed nor quarantined: must be 0
	Lost            int `json:"lost"`    // due in the table, but not there: must be 0
	Surplus         int `json:"surplus"` // in the table, but never landed: must be 0
	// nothing differs, and nothing waits for longer than PendingFor
	OK      bool   `json:"ok"`
	Differs bool   `json:"differs"`
	Verdict string `json:"verdict"`

	excused, excusedTable int  // of Duplicates and TableDuplicates: those of the demo's format
	incredible            bool // its publisher says that it sent more than any can
}

// PendingFor is how long a landed reading may wait for the table.
const PendingFor = 15 * time.Minute

// credible bounds what a publisher may say of a run: at a thousand readings a second 2^53 take 285,000 years.
const credible = 1 << 53

// Reconcile holds acknowledgements, landing logs and table against each other, fan by fan. The logs must
// be all that ever fed the table. It reads the whole of both; tombstones count by their headers. Tables.Count does the
// same and reads only what is new.
func Reconcile(ctx context.Context, logs []landing.Log, t *Table) ([]Account, error) {
	r := recount{t: t, logs: logs}
	c, err := r.fromStart(ctx)
	return c.Accounts, err
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
	Lost       int       `json:"lost"` // due in the table, but not there
	// in the table, but never landed; not told of runs of which segments were emptied
	Surplus int  `json:"surplus"`
	OK      bool `json:"ok"`
}

// ReconcileHours is Reconcile by fan and hour. Of segments that were emptied the hours are not known: their
// readings count in Table alone. Hours of days past retention are left out.
func ReconcileHours(ctx context.Context, logs []landing.Log, t *Table) ([]HourAccount, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := t.droppedRows(ctx, tbl)
	if err != nil {
		return nil, err
	}
	b := hourLedger{hours: make(map[runHour]*ledgerRun), tombstoned: make(map[runKey]bool),
		from: int64(gone.Before) * rowfile.DayMicros}
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

const hourMicros = rowfile.DayMicros / 24

// runHour is an hour of a run, counted from 1970.
type runHour struct {
	runKey
	hour int64
}

type hourLedger struct {
	hours      map[runHour]*ledgerRun
	tombstoned map[runKey]bool // runs of which a segment lost its rows
	from       int64           // Unix microseconds: rows of before may have left the table by age
}

func (b *hourLedger) hour(fan string, run uint64, micros int64) *ledgerRun {
	if micros < b.from {
		return nil
	}
	h := micros / hourMicros
	if micros%hourMicros < 0 {
		h--
	}
	key := runHour{runKey{fan, run}, h}
	if b.hours[key] == nil {
		b.hours[key] = &ledgerRun{landed: newRunSet(), due: newRunSet(), table: newRunSet()}
	}
	return b.hours[key]
}

// hourColumns is the four columns of stored that are decoded to count by hour.
type hourColumns struct {
	Time int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan  string `parquet:"fan_id,id(2),dict"`
	Run  int64  `parquet:"run,id(3),dict"`
	Seq  int64  `parquet:"seq,id(4),delta"`
}

func (b *hourLedger) addFile(ctx context.Context, t *Table, df iceberg.DataFile) error {
	data, err := t.read(ctx, df)
	if err == nil {
		same := make(intern)
		err = rowfile.DecodeColumns(data, func(row *hourColumns) {
			if h := b.hour(same.text(row.Fan), uint64(row.Run), row.Time); h != nil {
				h.table.add(uint64(row.Seq))
			}
		})
	}
	return wrap(err, "%s", df.FilePath())
}

func (b *hourLedger) addLog(ctx context.Context, tbl *table.Table, l landing.Log) error {
	in, err := coverageOf(tbl, l)
	if err != nil {
		return err
	}
	return l.Walk(ctx, "0", func(s landing.Segment) error {
		if s.Tombstone {
			for _, f := range s.Fans {
				run, _ := fanwatch.ParseRun(f.Run) // of zeros: 0
				b.tombstoned[runKey{f.Fan, run}] = true
			}
		}
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate {
				continue
			}
			if h := b.hour(row.Fan, row.Run, row.Time.UnixMicro()); h != nil {
				h.landed.add(row.Seq)
				if in.has(s.Last, row) {
					h.due.add(row.Seq)
				}
			}
		}
		return nil
	})
}

func (b *hourLedger) accounts() []HourAccount {
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
		if !b.tombstoned[key.runKey] {
			a.Surplus += int(roaring64.AndNot(r.table.seqs, r.landed.seqs).GetCardinality())
		}
	}
	var list []HourAccount
	for _, a := range sums {
		a.OK = a.TableTwice+a.Lost+a.Surplus == 0
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b HourAccount) int { return cmp.Or(cmp.Compare(a.Fan, b.Fan), a.Hour.Compare(b.Hour)) })
	return list
}

type runName struct{ fan, run string } // run by fanwatch.FormatRun

// isLegacy reports whether the run is that of the demo's format.
func (n runName) isLegacy() bool { return n.run == fanwatch.FormatRun(0) }

// totals add up what the footers of segments say. Devices may make up names of fans: a fan is known once it was
// provisioned or something of it was taken, and of no more than strangersKept others the names are kept.
type totals struct {
	runs      map[runName]*tallyRun // of known fans
	known     map[string]bool
	refused   map[string]int // readings, by fan
	strangers int            // names in refused that are not known
}

const strangersKept = 10_000

func newTotals() totals {
	return totals{runs: make(map[runName]*tallyRun), known: make(map[string]bool), refused: make(map[string]int)}
}

// know notes that a fan is no stranger.
func (t *totals) know(fan string) {
	if t.known[fan] {
		return
	}
	t.known[fan] = true
	if _, ok := t.refused[fan]; ok {
		t.strangers--
	}
}

// refuse counts refused readings.
func (t *totals) refuse(fan string, n int) {
	if n == 0 {
		return
	}
	if _, ok := t.refused[fan]; !ok && !t.known[fan] {
		if t.strangers >= strangersKept {
			fan = ""
		} else {
			t.strangers++
		}
	}
	t.refused[fan] += n
}

func (t *totals) run(name runName) *tallyRun {
	if t.runs[name] == nil {
		t.runs[name] = &tallyRun{Fan: name.fan, Run: name.run}
	}
	return t.runs[name]
}

// segment adds up a segment's footer. The fan of a footer of before, which counts no configurations, is known by an
// entry without refusals.
func (t *totals) segment(s *landing.Segment) {
	for i := range s.Fans {
		f := &s.Fans[i]
		if f.Landed > 0 || f.Configured > 0 || f.Quarantined == 0 {
			t.know(f.Fan)
		}
	}
	for i := range s.Rows {
		if s.Rows[i].Kind == fanwatch.RowConfigured {
			t.know(s.Rows[i].Fan)
		}
	}
	for i := range s.Fans {
		f := &s.Fans[i]
		if t.refuse(f.Fan, f.RefusedReadings()); t.known[f.Fan] {
			r := t.run(runName{f.Fan, f.Run})
			r.Acked, r.Dropped, r.Landed = max(r.Acked, f.Acked), max(r.Dropped, f.Dropped), r.Landed+f.Landed
		}
	}
}

// ledgerRun is what the log and the table say of one run of one fan.
type ledgerRun struct {
	landed, due runSet // readings of segments that still have their rows; due: in the table, as its offset says
	old         runSet // those of due that are of a day that left the table by age
	tombstoned  int    // readings of tombstones, all of them due
	twice       int    // readings that landed twice, as the count before has it: some of them may be buried
	retired     int    // rows that left the table by age
	table       runSet
}

// differ returns how many due readings the table lacks and how many it has that were never landed. Which
// readings the tombstones held is not known, only how many: the table's others and those that it has
// retired must be just those, but for excused ones that landed twice. A reading of a retired day may be there (it
// came late) or not.
func (r *ledgerRun) differ() (lost, surplus, excused int) {
	absent := roaring64.AndNot(r.due.seqs, r.table.seqs)
	old := int(roaring64.And(absent, r.old.seqs).GetCardinality())
	lost = int(absent.GetCardinality()) - old
	others := int(roaring64.AndNot(r.table.seqs, r.due.seqs).GetCardinality()) + r.retired - old
	excused = min(r.twice, max(0, r.tombstoned-others))
	return lost + max(0, r.tombstoned-others-excused), max(0, others-r.tombstoned), excused
}

// ledger are an account of all that the logs and the table hold.
type ledger struct {
	now       time.Time
	all, base totals // base: of the segments that the table's offset has passed
	runs      map[runName]*ledgerRun
	waiting   map[string]time.Duration // by fan: how long the first of its readings has waited for a commit
	retired   int64                    // Unix microseconds: rows of before may have left the table by age
}

func newLedger(now time.Time, gone droppedRows) *ledger {
	b := &ledger{now: now, all: newTotals(), base: newTotals(), runs: make(map[runName]*ledgerRun),
		waiting: make(map[string]time.Duration), retired: int64(gone.Before) * rowfile.DayMicros}
	for _, r := range gone.Runs {
		b.all.know(r.Fan)
		b.run(runName{r.Fan, r.Run}).retired = r.Rows
	}
	return b
}

func (b *ledger) run(name runName) *ledgerRun {
	r := b.runs[name]
	if r == nil {
		r = &ledgerRun{landed: newRunSet(), due: newRunSet(), old: newRunSet(), table: newRunSet()}
		b.runs[name] = r
		b.all.run(name)
	}
	return r
}

// addLog counts a log from its start.
func (b *ledger) addLog(ctx context.Context, l landing.Log, in coverage) (segments int, err error) {
	err = l.Walk(ctx, "0", func(s landing.Segment) error {
		segments++
		if b.all.segment(&s); s.Last.Compare(in.at) <= 0 {
			b.base.segment(&s)
		}
		for i := range s.Fans {
			if f := &s.Fans[i]; s.Tombstone && f.Landed > 0 {
				b.run(runName{f.Fan, f.Run}).tombstoned += f.Landed
			}
		}
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate {
				continue
			}
			r := b.run(runName{row.Fan, fanwatch.FormatRun(row.Run)})
			r.landed.add(row.Seq)
			switch {
			case !in.has(s.Last, row):
				wait(b.waiting, b.now, row, s.Last.Compare(in.at) <= 0)
				continue
			case row.Time.UnixMicro() < b.retired:
				r.old.add(row.Seq)
			}
			r.due.add(row.Seq)
		}
		return nil
	})
	return segments, err
}

// wait notes since when a reading has waited for the table. One that is held back on purpose does not count.
func wait(waiting map[string]time.Duration, now time.Time, row *fanwatch.Row, held bool) {
	if !held {
		waiting[row.Fan] = max(waiting[row.Fan], now.Sub(row.Arrived))
	}
}

// fanAccounts collects accounts by fan.
type fanAccounts map[string]*Account

func (m fanAccounts) of(fan string) *Account {
	if m[fan] == nil {
		m[fan] = &Account{Fan: fan}
	}
	return m[fan]
}

// say takes in what a run's publisher says.
func (a *Account) say(acked, dropped uint64, landed int, legacy bool) {
	if acked >= credible || dropped >= credible {
		a.incredible = true
	}
	if acked >= credible || legacy {
		acked = uint64(landed)
	}
	a.Acknowledged += int(acked)
	if dropped < credible {
		a.Dropped += int(dropped)
	}
	a.Missing += max(0, int(acked)-landed)
}

// judged takes in what was refused and what waits, and judges all accounts.
func (m fanAccounts) judged(refused map[string]int, known map[string]bool, waiting map[string]time.Duration) []Account {
	for fan, n := range refused {
		if !known[fan] {
			fan = ""
		}
		m.of(fan).Quarantined += n
	}
	var list []Account
	for _, fan := range slices.Sorted(maps.Keys(m)) {
		a := m[fan]
		a.Missing = max(0, a.Missing-a.Quarantined) // a quarantined row does not say of which run it was
		a.Waiting = waiting[fan]
		a.judge()
		list = append(list, *a)
	}
	return list
}

func (b *ledger) accounts() []Account {
	fans := make(fanAccounts)
	for name, said := range b.all.runs {
		r := b.run(name)
		a := fans.of(name.fan)
		lost, surplus, excused := r.differ()
		landed, due := r.landed.distinct()+r.tombstoned-excused, r.due.distinct()+r.tombstoned-excused
		duplicates, twice := r.landed.rows-r.landed.distinct(), r.table.rows-r.table.distinct()
		a.say(said.Acked, said.Dropped, landed, name.isLegacy())
		a.Landed += landed
		a.Duplicates += duplicates
		a.Pending += landed - due
		a.Table += r.table.distinct()
		a.Retired += r.retired
		a.TableDuplicates += twice
		if name.isLegacy() {
			a.excused, a.excusedTable = a.excused+duplicates, a.excusedTable+min(twice, duplicates)
		}
		a.Lost += lost
		a.Surplus += surplus
	}
	return fans.judged(b.all.refused, b.all.known, b.waiting)
}

// totals returns what the segments that the table's offset has passed say, with the readings that landed twice counted
// once.
func (b *ledger) totals() totals {
	for name, t := range b.base.runs {
		r := b.run(name)
		_, _, excused := r.differ()
		t.Twice = max(0, b.all.runs[name].Landed-(r.landed.distinct()+r.tombstoned-excused))
		t.Landed -= t.Twice
	}
	return b.base
}

// judge says in a sentence what is wrong.
func (a *Account) judge() {
	var faults, notes []string
	duplicates, twice := a.Duplicates, a.TableDuplicates
	if a.excused > 0 {
		duplicates, twice = duplicates-a.excused, twice-a.excusedTable
		notes = append(notes, fmt.Sprintf("%d came again long after and landed twice, of which compaction leaves one",
			a.excused))
	}
	for _, f := range []struct {
		n    int
		what string
	}{
		{a.Missing, "acknowledged but not in the landing log"}, {duplicates, "more than once in the landing log"},
		{a.Lost, "in the landing log and due, but not in the table"}, {twice, "more than once in the table"},
		{a.Surplus, "in the table, but not in the landing log"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	a.Differs = len(faults) > 0
	if a.Pending > 0 && a.Waiting > PendingFor {
		faults = append(faults, fmt.Sprintf("%d wait for the table, the first for %s: the committer is behind or "+
			"stopped (fanwatch lake status)", a.Pending, a.Waiting.Round(time.Second)))
	}
	if a.incredible {
		notes = append(notes, "what its publisher says it sent or dropped is more than any can, and was not believed")
	}
	a.OK = len(faults) == 0
	if a.OK {
		faults = []string{"every acknowledged reading is in the lake once"}
		if a.Pending > 0 {
			faults = append(faults, fmt.Sprintf("%d wait for the next commit to the table", a.Pending))
		}
	}
	a.Verdict = strings.Join(append(faults, notes...), "; ")
}

// intern keeps one copy of each text: a file repeats its few fans in every row.
type intern map[string]string

func (m intern) text(s string) string {
	if c, ok := m[s]; ok {
		return c
	}
	s = string([]byte(s)) // the reader's string may share a whole page's memory
	m[s] = s
	return s
}
