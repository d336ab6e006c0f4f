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

// Account has the numbers of one fan's readings, from the publisher's acknowledgement to the table.
type Account struct {
	// Fan is "" for messages without a readable fan, or of one that was never provisioned.
	Fan string `json:"fan"`
	// Acknowledged is how many readings at least had their PUBACK, by the newest batch of every run; of runs in the
	// legacy format, which do not say so, the landed readings.
	Acknowledged int `json:"acknowledged"`
	Dropped      int `json:"dropped"` // dropped by the publisher before it sent them
	Landed       int `json:"landed"`  // distinct readings in the landing log
	// Duplicates is how many copies the landing log has beside Landed. It must be 0 but for the legacy format, whose
	// readings have no number.
	Duplicates  int `json:"duplicates"`
	Quarantined int `json:"quarantined"` // refused: in the landing log, but not accepted
	Pending     int `json:"pending"`     // landed, and not yet due in the table
	// Waiting is how long the first of Pending has waited for a commit; at most PendingFor while the committer works.
	Waiting time.Duration `json:"waiting"`
	Table   int           `json:"table"`   // distinct readings in the table
	Retired int           `json:"retired"` // readings that left the table by age
	// TableDuplicates is how many copies the table has beside Table. It must be 0 but for Duplicates of the legacy
	// format, until the next compaction.
	TableDuplicates int `json:"table_duplicates"`
	Missing         int `json:"missing"` // acknowledged, but neither landed nor quarantined: must be 0
	Lost            int `json:"lost"`    // due in the table, but not in it: must be 0
	Surplus         int `json:"surplus"` // in the table, but never landed: must be 0

	OK      bool   `json:"ok"`      // Differs is false, and no reading waits for longer than PendingFor
	Differs bool   `json:"differs"` // a number that must be 0 is not
	Verdict string `json:"verdict"` // one sentence

	legacyDuplicates      int  // those of Duplicates that are in the legacy format
	legacyTableDuplicates int  // those of TableDuplicates that are in the legacy format
	incredible            bool // the publisher claims maxCredible readings or more
}

// PendingFor is how long a landed reading may wait for the table.
const PendingFor = 15 * time.Minute

// maxCredible is the number of readings from which on a publisher's claim for a run is not believed: at a thousand
// readings a second 2^53 take 285,000 years.
const maxCredible = 1 << 53

// Reconcile compares acknowledgements, landing logs and table, fan by fan. The logs must be all that ever fed the
// table. It reads all of both; tombstones count by their headers. [Tables.Count] reads only what is new.
func Reconcile(ctx context.Context, logs []landing.Log, t *Table) ([]Account, error) {
	r := recount{t: t, logs: logs}
	c, err := r.fromStart(ctx)
	return c.Accounts, err
}

// HourAccount has the numbers of one fan's readings of one hour, as far as the landing log still has its rows.
type HourAccount struct {
	Fan        string    `json:"fan"`
	Hour       time.Time `json:"hour"`        // beginning of the hour of the readings' times, UTC
	Landed     int       `json:"landed"`      // distinct readings in the landing log
	Duplicates int       `json:"duplicates"`  // copies in the landing log beside Landed
	Pending    int       `json:"pending"`     // landed, and not yet due in the table
	Table      int       `json:"table"`       // distinct readings in the table, those of tombstones among them
	TableTwice int       `json:"table_twice"` // copies in the table beside Table
	Lost       int       `json:"lost"`        // due in the table, but not in it
	Surplus    int       `json:"surplus"`     // in the table, but never landed; 0 of runs with tombstones
	OK         bool      `json:"ok"`          // TableTwice, Lost and Surplus are 0
}

// ReconcileHours is [Reconcile] by fan and hour. The hours of a tombstone's readings are not known: they count in Table
// alone. Hours of days past retention are left out.
func ReconcileHours(ctx context.Context, logs []landing.Log, t *Table) ([]HourAccount, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	dropped, err := t.droppedRows(ctx, tbl)
	if err != nil {
		return nil, err
	}
	b := hourLedger{hours: make(map[runHour]*ledgerRun), tombstoned: make(map[runKey]bool),
		from: int64(dropped.Before) * rowfile.DayMicros}
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

// hourLedger has the readings of the logs and the table by run and hour.
type hourLedger struct {
	hours      map[runHour]*ledgerRun
	tombstoned map[runKey]bool // runs with rows in a tombstone
	from       int64           // Unix microseconds: earlier rows may have left the table by age
}

// hour returns the ledger of an hour; nil of one before b.from.
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

// hourColumns are the columns of a data file that are decoded to count by hour.
type hourColumns struct {
	Time int64  `parquet:"time,id(1),timestamp(microsecond),delta"`
	Fan  string `parquet:"fan_id,id(2),dict"`
	Run  int64  `parquet:"run,id(3),dict"`
	Seq  int64  `parquet:"seq,id(4),delta"`
}

func (b *hourLedger) addFile(ctx context.Context, t *Table, df iceberg.DataFile) error {
	data, err := t.readData(ctx, df)
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

// runName is a run of a fan, with the run as fanwatch.FormatRun writes it.
type runName struct{ fan, run string }

// isLegacy reports whether the run is that of the legacy format.
func (n runName) isLegacy() bool { return n.run == fanwatch.FormatRun(0) }

// totals are the sums of the footers of segments. Devices may make up names of fans: a fan is known once it was
// provisioned or a reading of it was accepted, and of others at most unknownNamed names are kept.
type totals struct {
	runs    map[runName]*tallyRun // of known fans
	known   map[string]bool
	refused map[string]int // refused readings by fan; "": of fans without a name here
	unknown int            // names in refused that are not known
}

// unknownNamed is how many names of unknown fans totals keep.
const unknownNamed = 10_000

func newTotals() totals {
	return totals{runs: make(map[runName]*tallyRun), known: make(map[string]bool), refused: make(map[string]int)}
}

// markKnown notes that a fan is known.
func (t *totals) markKnown(fan string) {
	if t.known[fan] {
		return
	}
	t.known[fan] = true
	if _, ok := t.refused[fan]; ok {
		t.unknown--
	}
}

// addRefused adds refused readings of a fan.
func (t *totals) addRefused(fan string, n int) {
	if n == 0 {
		return
	}
	if _, ok := t.refused[fan]; !ok && !t.known[fan] {
		if t.unknown >= unknownNamed {
			fan = ""
		} else {
			t.unknown++
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

// addSegment adds a segment's footer. In a footer before version 3, which counts no configurations, an entry without
// refusals makes its fan known.
func (t *totals) addSegment(s *landing.Segment) {
	for i := range s.Fans {
		f := &s.Fans[i]
		if f.Landed > 0 || f.Configured > 0 || f.Quarantined == 0 {
			t.markKnown(f.Fan)
		}
	}
	for i := range s.Rows {
		if s.Rows[i].Kind == fanwatch.RowConfigured {
			t.markKnown(s.Rows[i].Fan)
		}
	}
	for i := range s.Fans {
		f := &s.Fans[i]
		if t.addRefused(f.Fan, f.RefusedReadings()); t.known[f.Fan] {
			r := t.run(runName{f.Fan, f.Run})
			r.Acked, r.Dropped, r.Landed = max(r.Acked, f.Acked), max(r.Dropped, f.Dropped), r.Landed+f.Landed
		}
	}
}

// ledgerRun is the readings of one run of one fan in the log and in the table.
type ledgerRun struct {
	landed     runSet // readings of segments that still have their rows
	due        runSet // those of landed that must be in the table, by its coverage
	dueDropped runSet // those of due that are of a day that left the table by age
	tombstoned int    // readings of tombstones, all of which are due
	twice      int    // copies that landed, by the last count; some of them may be in tombstones
	dropped    int    // rows that left the table by age
	table      runSet // readings of the table
}

// differ returns how many due readings the table lacks (lost), how many it has that never landed (surplus), and how
// many of the tombstones' readings are copies (repeated). Of tombstones only the number of readings is known:
//
//	absent   = |due - table|, of which old are of a dropped day
//	others   = |table - due| + dropped - old
//	repeated = min(twice, max(0, tombstoned - others))
//	lost     = absent - old + max(0, tombstoned - others - repeated)
//	surplus  = max(0, others - tombstoned)
//
// A reading of a dropped day is in the table where it came late.
func (r *ledgerRun) differ() (lost, surplus, repeated int) {
	absent := roaring64.AndNot(r.due.seqs, r.table.seqs)
	old := int(roaring64.And(absent, r.dueDropped.seqs).GetCardinality())
	lost = int(absent.GetCardinality()) - old
	others := int(roaring64.AndNot(r.table.seqs, r.due.seqs).GetCardinality()) + r.dropped - old
	repeated = min(r.twice, max(0, r.tombstoned-others))
	return lost + max(0, r.tombstoned-others-repeated), max(0, others-r.tombstoned), repeated
}

// ledger has all readings of the logs and the table, by run.
type ledger struct {
	now           time.Time
	all, base     totals // of all segments, and of those that the offset of the table has passed
	runs          map[runName]*ledgerRun
	waiting       map[string]time.Duration // how long the first of a fan's readings has waited for a commit, by fan
	droppedBefore int64                    // Unix microseconds: earlier rows may have left the table by age
}

func newLedger(now time.Time, dropped droppedRows) *ledger {
	b := &ledger{now: now, all: newTotals(), base: newTotals(), runs: make(map[runName]*ledgerRun),
		waiting: make(map[string]time.Duration), droppedBefore: int64(dropped.Before) * rowfile.DayMicros}
	for _, r := range dropped.Runs {
		b.all.markKnown(r.Fan)
		b.run(runName{r.Fan, r.Run}).dropped = r.Rows
	}
	return b
}

func (b *ledger) run(name runName) *ledgerRun {
	r := b.runs[name]
	if r == nil {
		r = &ledgerRun{landed: newRunSet(), due: newRunSet(), dueDropped: newRunSet(), table: newRunSet()}
		b.runs[name] = r
		b.all.run(name)
	}
	return r
}

// addLog adds a log from its start.
func (b *ledger) addLog(ctx context.Context, l landing.Log, in coverage) (segments int, err error) {
	err = l.Walk(ctx, "0", func(s landing.Segment) error {
		segments++
		if b.all.addSegment(&s); s.Last.Compare(in.at) <= 0 {
			b.base.addSegment(&s)
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
				noteWait(b.waiting, b.now, row, s.Last.Compare(in.at) <= 0)
				continue
			case row.Time.UnixMicro() < b.droppedBefore:
				r.dueDropped.add(row.Seq)
			}
			r.due.add(row.Seq)
		}
		return nil
	})
	return segments, err
}

// noteWait notes how long a reading has waited for the table, unless it is held back.
func noteWait(waiting map[string]time.Duration, now time.Time, row *fanwatch.Row, held bool) {
	if !held {
		waiting[row.Fan] = max(waiting[row.Fan], now.Sub(row.Arrived))
	}
}

// fanAccounts are accounts by fan.
type fanAccounts map[string]*Account

func (m fanAccounts) of(fan string) *Account {
	if m[fan] == nil {
		m[fan] = &Account{Fan: fan}
	}
	return m[fan]
}

// addClaims adds the numbers that a run's publisher claims.
func (a *Account) addClaims(acked, dropped uint64, landed int, legacy bool) {
	if acked >= maxCredible || dropped >= maxCredible {
		a.incredible = true
	}
	if acked >= maxCredible || legacy {
		acked = uint64(landed)
	}
	a.Acknowledged += int(acked)
	if dropped < maxCredible {
		a.Dropped += int(dropped)
	}
	a.Missing += max(0, int(acked)-landed)
}

// finish adds refused and waiting readings and returns the accounts by fan, with their verdicts.
func (m fanAccounts) finish(refused map[string]int, known map[string]bool, waiting map[string]time.Duration) []Account {
	for fan, n := range refused {
		if !known[fan] {
			fan = ""
		}
		m.of(fan).Quarantined += n
	}
	var list []Account
	for _, fan := range slices.Sorted(maps.Keys(m)) {
		a := m[fan]
		a.Missing = max(0, a.Missing-a.Quarantined) // a quarantined row has no run
		a.Waiting = waiting[fan]
		a.setVerdict()
		list = append(list, *a)
	}
	return list
}

func (b *ledger) accounts() []Account {
	fans := make(fanAccounts)
	for name, said := range b.all.runs {
		r := b.run(name)
		a := fans.of(name.fan)
		lost, surplus, repeated := r.differ()
		landed, due := r.landed.distinct()+r.tombstoned-repeated, r.due.distinct()+r.tombstoned-repeated
		duplicates, twice := r.landed.rows-r.landed.distinct(), r.table.rows-r.table.distinct()
		a.addClaims(said.Acked, said.Dropped, landed, name.isLegacy())
		a.Landed += landed
		a.Duplicates += duplicates
		a.Pending += landed - due
		a.Table += r.table.distinct()
		a.Retired += r.dropped
		a.TableDuplicates += twice
		if name.isLegacy() {
			a.legacyDuplicates, a.legacyTableDuplicates = a.legacyDuplicates+duplicates, a.legacyTableDuplicates+
				min(twice, duplicates)
		}
		a.Lost += lost
		a.Surplus += surplus
	}
	return fans.finish(b.all.refused, b.all.known, b.waiting)
}

// totals returns the totals of the segments that the table's offset has passed, without copies of readings.
func (b *ledger) totals() totals {
	for name, t := range b.base.runs {
		r := b.run(name)
		_, _, repeated := r.differ()
		t.Twice = max(0, b.all.runs[name].Landed-(r.landed.distinct()+r.tombstoned-repeated))
		t.Landed -= t.Twice
	}
	return b.base
}

// setVerdict sets OK, Differs and Verdict.
func (a *Account) setVerdict() {
	var faults, notes []string
	duplicates, twice := a.Duplicates, a.TableDuplicates
	if a.legacyDuplicates > 0 {
		duplicates, twice = duplicates-a.legacyDuplicates, twice-a.legacyTableDuplicates
		notes = append(notes, fmt.Sprintf("%d came again long after and landed twice, of which compaction leaves one",
			a.legacyDuplicates))
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
	s = strings.Clone(s) // the reader's string may share a whole page's memory
	m[s] = s
	return s
}
