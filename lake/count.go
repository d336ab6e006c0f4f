package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/lake/rowfile"
	"fanwatch/objstore"
)

// CountOptions say how a count is made.
type CountOptions struct {
	FromStart bool // begin from the start and not where the last count ended
	Keep      bool // store a tally, from which the next count goes on
}

// CountResult is the result of a count, and what was read for it.
type CountResult struct {
	Accounts  []Account // by fan
	FromStart bool      // the whole log and the whole table were read
	Why       string    // why the count began from the start; "" where it did not
	Segments  int       // segments of the landing logs that were read
	Days      int       // days of the table that were read
}

// Count is [Reconcile] that goes on where the last count ended: it reads the new segments, and the days of the table
// whose files changed or that got rows. Totals of everything before are in a tally beside the landing log. Where the
// new does not fit to the tally, or the tally is missing or damaged, Count begins from the start, which finds the fans
// that differ; as long as readings differ it does so each time. A count from the start that takes more than a minute
// is not made again before fifty times as long has passed; Count returns an error instead.
func (t *Tables) Count(ctx context.Context, logs []landing.Log, o CountOptions) (CountResult, error) {
	if len(logs) == 0 {
		return CountResult{}, nil
	}
	return (&recount{t: t.Table, logs: logs, keep: o.Keep}).count(ctx, o.FromStart)
}

// tallyVersion is the version of a tally that this program writes. One of another version counts as missing.
const tallyVersion = 1

// tally is what one count stores for the next: totals of the landing logs as far as they are in the table, and the
// rows of the table.
type tally struct {
	V       int                 `json:"v"`
	Logs    map[string]tallyLog `json:"logs"`    // by shard
	Runs    []tallyRun          `json:"runs"`    // by fan and run
	Known   []string            `json:"known"`   // fans; see totals
	Refused map[string]int      `json:"refused"` // readings that were refused, by fan
	Days    map[int32]tallyDay  `json:"days"`    // by day since 1970
	// by fan: the differences that the last count from the start found
	Differ map[string]tallyFan `json:"differ,omitempty"`
	Full   time.Time           `json:"full"` // when the last count from the start began
	Took   time.Duration       `json:"took"` // how long it took
}

// tallyLog is how far a log was counted.
type tallyLog struct {
	At   fanwatch.SequenceNumber `json:"at"`
	Held *heldReadings           `json:"held,omitempty"`
}

// tallyRun has the totals of one run. Readings are distinct ones.
type tallyRun struct {
	Fan     string `json:"fan"`
	Run     string `json:"run"` // fanwatch.FormatRun
	Acked   uint64 `json:"acked,omitempty"`
	Dropped uint64 `json:"dropped,omitempty"`
	Landed  int    `json:"landed,omitempty"`
	Twice   int    `json:"twice,omitempty"` // copies that landed beside them
}

// tallyDay is a day of the table.
type tallyDay struct {
	Rows  int    `json:"rows"`
	Sum   uint64 `json:"sum"`   // sum of the rows' identities
	Files uint64 `json:"files"` // sum of the hashes of its files' paths
}

// tallyFan has the differences of one fan, in readings.
type tallyFan struct {
	Duplicates, TableDuplicates, Lost, Surplus int
}

func tallyKey(stream string) string { return "state/stream=" + stream + "/count/tally.v1" }

// recount is one count that is being made.
type recount struct {
	t    *Table
	logs []landing.Log
	keep bool // CountOptions.Keep
}

// startOverError says why a count must begin from the start.
type startOverError struct{ why string }

func (e startOverError) Error() string { return e.why }

func (r *recount) count(ctx context.Context, fromStart bool) (CountResult, error) {
	last, why := r.lastTally(ctx)
	switch {
	case fromStart:
		why = "it was asked for"
	case why != "" || !r.affordable(last):
	case len(last.Differ) > 0:
		why = "readings differed at the last count"
	}
	var was CountResult // the count that went on from the tally and did not fit
	if why == "" {
		c, err := r.countNew(ctx, last)
		var e startOverError
		switch {
		case !errors.As(err, &e):
			return c, err
		case !r.affordable(last):
			return c, fmt.Errorf("%s: what differs is found by counting from the start, which took %s and is due again "+
				"at %s (at once: fanwatch reconcile --from-start)",
				e.why, last.Took.Round(time.Second), last.Full.Add(50*last.Took).UTC().Format(time.DateTime))
		}
		was, why = c, e.why
	}
	c, err := r.fromStart(ctx)
	c.Why, c.Segments, c.Days = why, c.Segments+was.Segments, c.Days+was.Days
	return c, err
}

// affordable reports whether a count from the start takes less than a minute, or began fifty times its length ago.
func (r *recount) affordable(last tally) bool {
	return last.Took < time.Minute || !r.t.cfg.Now().Before(last.Full.Add(50*last.Took))
}

// lastTally reads the tally; why says what is wrong with it.
func (r *recount) lastTally(ctx context.Context) (last tally, why string) {
	frame, err := r.t.cfg.Store.Get(ctx, tallyKey(r.logs[0].Stream))
	if errors.Is(err, objstore.ErrNotFound) {
		return tally{}, "nothing was counted before"
	}
	var data []byte
	if err == nil {
		data, err = landing.DecodeFrame(frame)
	}
	if err == nil {
		last, err = parseTally(data)
	}
	if err != nil {
		return tally{}, fmt.Sprintf("the tally of the last count cannot be read: %v", err)
	}
	return last, ""
}

func parseTally(data []byte) (t tally, err error) {
	err = json.Unmarshal(data, &t)
	if err == nil && t.V != tallyVersion {
		err = fmt.Errorf("version %d is unknown, this program knows %d", t.V, tallyVersion)
	}
	for shard, l := range t.Logs {
		if _, wrong := fanwatch.ParseSequenceNumber(string(cmp.Or(l.At, "0"))); err == nil && wrong != nil {
			err = fmt.Errorf("shard %.80q: %w", shard, wrong)
		}
		if l.Held == nil || err != nil {
			continue
		}
		_, err = parseHeld(l.Held.String())
	}
	return t, err
}

// store stores the tally for the next count, unless keep is false.
func (r *recount) store(ctx context.Context, next tally) error {
	if !r.keep {
		return nil
	}
	next.V = tallyVersion
	data, err := json.Marshal(next)
	if err == nil {
		data, err = landing.EncodeFrame(data)
	}
	if err == nil {
		err = r.t.cfg.Store.Put(ctx, tallyKey(r.logs[0].Stream), data, false)
	}
	return wrap(err, "reconcile: tally")
}

// identity returns a hash of a reading's fan, run and seq. Sums of identities compare sets, in any order.
func identity(key runKey, seq uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.fan)) // a hash returns no error
	x := h.Sum64()
	// the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators)
	for _, v := range [2]uint64{key.run, seq} {
		x += v + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

// pathSum returns the sum of the hashes of the files' paths.
func pathSum(files []iceberg.DataFile) (sum uint64) {
	for _, df := range files {
		h := fnv.New64a()
		_, _ = h.Write([]byte(df.FilePath()))
		sum += h.Sum64()
	}
	return sum
}

// tableDays reads the identities of the rows of the days' files. It returns their number and sum by day, and adds them
// to the sets that runs returns for a day. With once it returns a startOverError where a day has a reading twice.
func (r *recount) tableDays(ctx context.Context, days map[int32][]iceberg.DataFile, once bool,
	runs func() runSets) (map[int32]tallyDay, error) {
	found := make(map[int32]tallyDay)
	for _, day := range slices.Sorted(maps.Keys(days)) {
		d := tallyDay{Files: pathSum(days[day])}
		sets := runs()
		for _, df := range days[day] {
			err := r.t.eachID(ctx, df, func(key runKey, seq uint64) {
				d.Rows++
				d.Sum += identity(key, seq)
				sets.add(key, seq)
			})
			if err != nil {
				return nil, fmt.Errorf("reconcile: %w", err)
			}
		}
		distinct := 0
		for _, set := range sets {
			distinct += set.distinct()
		}
		if d.Rows > distinct && once {
			return nil, startOverError{fmt.Sprintf("%d readings of %s are there twice", d.Rows-distinct, dateOf(day))}
		}
		found[day] = d
	}
	return found, nil
}

// dateOf returns a day since 1970 as 2006-01-02.
func dateOf(day int32) string { return time.Unix(int64(day)*24*3600, 0).UTC().Format(time.DateOnly) }

// tableState returns the table's newest state, its dropped rows and its data files by day.
func (r *recount) tableState(ctx context.Context) (*table.Table, droppedRows, map[int32][]iceberg.DataFile, error) {
	tbl, live, err := r.t.loadFiles(ctx)
	if err != nil {
		return nil, droppedRows{}, nil, err
	}
	dropped, err := r.t.droppedRows(ctx, tbl)
	if err != nil {
		return nil, droppedRows{}, nil, err
	}
	days, err := groupByDay(live)
	return tbl, dropped, days, err
}

// fromStart counts all logs and the whole table.
func (r *recount) fromStart(ctx context.Context) (CountResult, error) {
	began := time.Now()
	c := CountResult{FromStart: true}
	// The table before the logs: segments that land meanwhile are behind its offsets and count as pending.
	tbl, dropped, days, err := r.tableState(ctx)
	if err != nil {
		return c, err
	}
	runs := make(runSets)
	next := tally{Logs: make(map[string]tallyLog), Differ: make(map[string]tallyFan), Full: r.t.cfg.Now().UTC()}
	if next.Days, err = r.tableDays(ctx, days, false, func() runSets { return runs }); err != nil {
		return c, err
	}
	c.Days = len(days)
	b := newLedger(r.t.cfg.Now(), dropped)
	for _, l := range r.logs {
		in, err := coverageOf(tbl, l)
		if err != nil {
			return c, fmt.Errorf("reconcile: %w", err)
		}
		n, err := b.addLog(ctx, l, in)
		if err != nil {
			return c, fmt.Errorf("reconcile: %w", err)
		}
		c.Segments += n
		next.Logs[l.Shard] = tallyLog{in.at, in.held}
	}
	if last, why := r.lastTally(ctx); why == "" {
		for _, run := range last.Runs {
			b.run(runName{run.Fan, run.Run}).twice = run.Twice
		}
	}
	for key, set := range runs {
		b.all.markKnown(key.fan)
		b.run(runName{key.fan, fanwatch.FormatRun(key.run)}).table = *set
	}
	c.Accounts = b.accounts()
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if d := (tallyFan{a.Duplicates - a.legacyDuplicates, a.TableDuplicates - a.legacyTableDuplicates, a.Lost,
			a.Surplus}); d != (tallyFan{}) {
			next.Differ[a.Fan] = d
		}
	}
	next.set(b.totals())
	next.Took = time.Since(began)
	return c, r.store(ctx, next)
}

// ReconcileLogs is [Reconcile] where there is no table yet: all landed readings wait for the first commit.
func ReconcileLogs(ctx context.Context, logs []landing.Log, now time.Time) ([]Account, error) {
	b := newLedger(now, droppedRows{})
	for _, l := range logs {
		if _, err := b.addLog(ctx, l, coverage{at: "0"}); err != nil {
			return nil, fmt.Errorf("reconcile: %w", err)
		}
	}
	return b.accounts(), nil
}

// set stores totals in the tally.
func (n *tally) set(t totals) {
	n.Runs, n.Known, n.Refused = make([]tallyRun, 0, len(t.runs)), slices.Sorted(maps.Keys(t.known)), t.refused
	for _, name := range slices.SortedFunc(maps.Keys(t.runs),
		func(a, b runName) int { return cmp.Or(cmp.Compare(a.fan, b.fan), cmp.Compare(a.run, b.run)) }) {
		n.Runs = append(n.Runs, *t.runs[name])
	}
}

// totals returns the totals that set stored.
func (n *tally) totals() totals {
	t := newTotals()
	for fan, readings := range n.Refused {
		t.addRefused(fan, readings)
	}
	for _, fan := range n.Known {
		t.markKnown(fan)
	}
	for i := range n.Runs {
		t.runs[runName{n.Runs[i].Fan, n.Runs[i].Run}] = &n.Runs[i]
	}
	return t
}

// sinceLast is what landed since the last count.
type sinceLast struct {
	rows    map[int32]runSets        // readings that are in the table, by day
	pending map[string]int           // readings that are not in the table, by fan
	waiting map[string]time.Duration // how long the first of pending has waited, by fan
	later   totals                   // totals of the segments that the table's offset has not passed
}

// countNew goes on from the tally of the last count. A startOverError says why that is not enough.
func (r *recount) countNew(ctx context.Context, last tally) (c CountResult, err error) {
	tbl, dropped, files, err := r.tableState(ctx)
	if err != nil {
		return c, err
	}
	f := sinceLast{rows: make(map[int32]runSets), pending: make(map[string]int), waiting: make(map[string]time.Duration),
		later: newTotals()}
	base := last.totals()
	next := tally{Logs: make(map[string]tallyLog), Days: make(map[int32]tallyDay), Differ: last.Differ, Full: last.Full,
		Took: last.Took}
	for _, l := range r.logs {
		in, err := coverageOf(tbl, l)
		if err != nil {
			return c, fmt.Errorf("reconcile: %w", err)
		}
		n, err := f.addLog(ctx, r.t.cfg.Now(), l, last.Logs[l.Shard], in, dropped.Before, &base)
		if c.Segments += n; err != nil {
			return c, fmt.Errorf("reconcile: %w", err)
		}
		next.Logs[l.Shard] = tallyLog{in.at, in.held}
	}
	for shard := range last.Logs {
		if _, ok := next.Logs[shard]; !ok {
			return c, startOverError{"the landing log of shard " + shard + " is gone"}
		}
	}
	touched := make(map[int32][]iceberg.DataFile)
	for day, was := range last.Days {
		if day >= dropped.Before || len(files[day]) > 0 {
			next.Days[day] = was
		}
		if day >= dropped.Before && pathSum(files[day]) != was.Files {
			touched[day] = files[day]
		}
	}
	for day := range files {
		if _, known := last.Days[day]; !known || len(f.rows[day]) > 0 {
			touched[day] = files[day]
		}
	}
	for day := range f.rows {
		touched[day] = files[day]
	}
	// a new set for each day: one day is in memory at a time
	found, err := r.tableDays(ctx, touched, true, func() runSets { return make(runSets) })
	if c.Days = len(touched); err != nil {
		return c, err
	}
	for day, d := range found {
		want := last.Days[day]
		for key, set := range f.rows[day] {
			want.Rows += set.distinct()
			for seqs := set.seqs.Iterator(); seqs.HasNext(); {
				want.Sum += identity(key, seqs.Next())
			}
		}
		if day >= dropped.Before && (d.Rows != want.Rows || d.Sum != want.Sum) {
			return c, startOverError{fmt.Sprintf("the table's %d readings of %s are not the %d that landed", d.Rows, dateOf(day),
				want.Rows)}
		}
		next.Days[day] = d
	}
	c.Accounts = f.accounts(base, dropped, last.Differ)
	next.set(base)
	return c, r.store(ctx, next)
}

// addLog counts the rows of a log that entered it or the table since it was counted last.
func (f *sinceLast) addLog(ctx context.Context, now time.Time, l landing.Log, last tallyLog, in coverage, before int32,
	base *totals) (segments int, err error) {
	was := coverage{cmp.Or(last.At, "0"), last.Held}
	if in.at.Compare(was.at) < 0 {
		return 0, startOverError{"the table is an older copy of itself"}
	}
	err = l.Walk(ctx, was.complete(), func(s landing.Segment) error {
		segments++
		switch {
		case s.Tombstone && s.Counts.Readings() > 0:
			return startOverError{"segments lost their rows before these were counted"}
		case s.Last.Compare(in.at) > 0:
			f.later.addSegment(&s)
		case s.Last.Compare(was.at) > 0:
			base.addSegment(&s)
		}
		for i := range s.Rows {
			row := &s.Rows[i]
			if row.Kind != fanwatch.RowScored && row.Kind != fanwatch.RowLate || was.has(s.Last, row) {
				continue
			}
			if !in.has(s.Last, row) {
				f.pending[row.Fan]++
				noteWait(f.waiting, now, row, s.Last.Compare(in.at) <= 0)
				continue
			}
			day := rowfile.DayOf(row.Time.UnixMicro())
			if day < before {
				continue
			}
			if f.rows[day] == nil {
				f.rows[day] = make(runSets)
			}
			f.rows[day].add(runKey{row.Fan, row.Run}, row.Seq)
		}
		return nil
	})
	return segments, err
}

// accounts returns the accounts of a count that fits to the tally: the table then has of each fan the readings that
// landed and do not wait, but for the differences of the last count from the start.
func (f *sinceLast) accounts(base totals, dropped droppedRows, differ map[string]tallyFan) []Account {
	fans, droppedOf := make(fanAccounts), make(map[runName]int)
	for _, r := range dropped.Runs {
		droppedOf[runName{r.Fan, r.Run}] = r.Rows
	}
	names := make(map[runName]bool)
	for _, t := range []totals{base, f.later} {
		for name := range t.runs {
			names[name] = true
		}
	}
	for name := range names {
		var r, late tallyRun
		if base.runs[name] != nil {
			r = *base.runs[name]
		}
		if f.later.runs[name] != nil {
			late = *f.later.runs[name]
		}
		a := fans.of(name.fan)
		landed := r.Landed + late.Landed
		a.addClaims(max(r.Acked, late.Acked), max(r.Dropped, late.Dropped), landed, name.isLegacy())
		a.Landed += landed
		a.Retired += droppedOf[name]
		if name.isLegacy() {
			a.Duplicates, a.legacyDuplicates = a.Duplicates+r.Twice, a.legacyDuplicates+r.Twice
		}
	}
	known := maps.Clone(base.known)
	maps.Copy(known, f.later.known)
	refused := maps.Clone(base.refused)
	for fan, n := range f.later.refused {
		refused[fan] += n
	}
	for fan, a := range fans {
		d := differ[fan]
		a.Duplicates, a.TableDuplicates, a.Lost, a.Surplus = a.Duplicates+d.Duplicates, d.TableDuplicates, d.Lost, d.Surplus
		a.Pending = f.pending[fan]
		a.Table = max(0, a.Landed-a.Pending-a.Retired-a.Lost+a.Surplus)
	}
	return fans.finish(refused, known, f.waiting)
}
