package lake

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// Tables are all tables of the lake: the readings; anomalies, quarantine and labels, which are fed from the same logs
// with offsets of their own; and alerts, which are fed by [PutAlert]. Each gets every row exactly once, in transactions
// of its own: one may be a batch behind another, and one that fails keeps no other from its batch. Failures are named
// in a *[Partial].
type Tables struct {
	*Table     // the table of readings
	anomalies  *eventTable[Anomaly]
	quarantine *eventTable[QuarantineRow]
	alerts     *eventTable[AlertRow]
	labels     *eventTable[LabelRow]
}

// OpenTables opens all tables and creates those that are missing. A table that cannot be opened is opened by the next
// call that needs it. Where no table can be opened OpenTables returns an error.
func OpenTables(ctx context.Context, cfg TableConfig) (*Tables, error) {
	return openTables(ctx, cfg, false)
}

// ReadTables opens all tables and never changes them: none is created and none gains columns. Calls that need a missing
// table return an error that wraps [ErrNoTable]; where all tables are missing ReadTables does.
func ReadTables(ctx context.Context, cfg TableConfig) (*Tables, error) {
	return openTables(ctx, cfg, true)
}

func openTables(ctx context.Context, cfg TableConfig, readOnly bool) (*Tables, error) {
	readings, err := newTable(cfg, readOnly)
	if err != nil {
		return nil, err
	}
	t := &Tables{Table: readings}
	t.anomalies, err = newEventTable(cfg, readOnly, "anomalies", map[int]string{1: "of the reading",
		5: "what was wrong: stall, underspeed, overspeed, frozen or unusual, for example", 6: "of the forest; 0: not scored"},
		eventTable[Anomaly]{
			root: "Anomaly",
			pick: toAnomaly, time: func(a *Anomaly) int64 { return a.Time }, compare: func(a, b *Anomaly) int {
				return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Run, b.Run),
					cmp.Compare(a.Seq, b.Seq))
			}})
	if err != nil {
		return nil, err
	}
	t.quarantine, err = newEventTable(cfg, readOnly, "quarantine", map[int]string{1: "of arrival",
		2: "empty where the message does not say", 3: "MQTT client ID", 5: "at most 4 KiB of it",
		9: "readings of the record that the row stands for; null: one"}, eventTable[QuarantineRow]{
		root: "Refusal",
		pick: toQuarantineRow, time: func(r *QuarantineRow) int64 { return r.Arrived },
		compare: func(a, b *QuarantineRow) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Arrived, b.Arrived), strings.Compare(a.Shard, b.Shard),
				fanwatch.SequenceNumber(a.Sequence).Compare(fanwatch.SequenceNumber(b.Sequence)), cmp.Compare(a.Index, b.Index))
		}})
	if err != nil {
		return nil, err
	}
	t.labels, err = newEventTable(cfg, readOnly, "labels", map[int]string{1: "of the reading that began the trouble",
		5: "normal: the fan is to run like this; fault", 6: "of the reading that ended it; null: it lasted",
		9: "when the person said so"}, eventTable[LabelRow]{
		root: "Label",
		pick: toLabelRow, time: func(l *LabelRow) int64 { return l.From }, compare: func(a, b *LabelRow) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.From, b.From), strings.Compare(a.Alert, b.Alert),
				cmp.Compare(a.At, b.At), strings.Compare(a.Label, b.Label))
		}})
	if err != nil {
		return nil, err
	}
	t.alerts, err = newEventTable(cfg, readOnly, "alerts", map[int]string{1: "of the reading that opened it",
		7: "escalation steps reached", 8: "messages sent", 13: "critical, warning or info; null: not known",
		14: "normal: the fan is to run like this; fault; null: nothing was said", 15: "JSON list of what people answered",
		16: "JSON list of whom it told: to, at, step, taken, result",
		17: "seconds from the opening to the first acknowledgement; null: there was none",
		18: "incident that told in its place; null: none",
		19: "who resolved it by hand; null: the trouble was over"}, eventTable[AlertRow]{
		root: "Ended",
		time: func(e *AlertRow) int64 { return e.Opened }, compare: func(a, b *AlertRow) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Opened, b.Opened), strings.Compare(a.ID, b.ID))
		}})
	if err != nil {
		return nil, err
	}
	readings.followers = []*iceTable{&t.anomalies.iceTable, &t.quarantine.iceTable, &t.labels.iceTable}
	var failed failures
	opened := 0
	for _, s := range t.all() {
		_, err := s.load(ctx)
		if failed.add(err); err == nil {
			opened++
		}
	}
	if opened == 0 {
		return nil, failed.err()
	}
	return t, nil
}

// toAnomaly returns the row of the table anomalies that a row of the landing log becomes, and whether it becomes one.
func toAnomaly(r *fanwatch.Row) (Anomaly, bool) {
	return Anomaly{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), Kind: string(r.Anomaly),
			Score: r.Score, RPM: r.RPM, Hz: r.Hz, Jitter: r.Jitter,
			State: string(r.State), Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard}, r.Kind == fanwatch.RowScored &&
			r.Anomaly != fanwatch.KindNone
}

// toQuarantineRow returns the row of the table quarantine that a row of the landing log becomes, and whether it becomes
// one.
func toQuarantineRow(r *fanwatch.Row) (QuarantineRow, bool) {
	return QuarantineRow{Arrived: r.Arrived.UnixMicro(), Fan: r.Fan, Client: r.Client, Reason: r.Reason,
			Payload: bytes.Clone(r.Payload), Shard: r.Position.Shard,
			Sequence: string(r.Position.Sequence), Index: int64(r.Position.Index), Refused: int64(r.Refused)},
		r.Kind == fanwatch.RowQuarantined
}

// toLabelRow returns the row of the table labels that a row of the landing log becomes, and whether it becomes one.
func toLabelRow(r *fanwatch.Row) (LabelRow, bool) {
	if r.Kind != fanwatch.RowLabelled {
		return LabelRow{}, false
	}
	rec, err := fanwatch.DecodeRecord(r.Payload)
	if err != nil || rec.Label == nil {
		return LabelRow{}, false
	}
	l := rec.Label
	row := LabelRow{From: l.From.UnixMicro(), Fan: l.Fan, Alert: l.Alert, Kind: string(l.Kind), Label: LabelFault,
		By: l.By, Note: l.Note, At: l.At.UnixMicro(), Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard}
	if l.Normal {
		row.Label = LabelNormal
	}
	if !l.To.IsZero() {
		row.To = l.To.UnixMicro()
	}
	return row, true
}

// segmentCache has the segments that were read, with those of their rows that belong to event tables.
type segmentCache map[string]landing.Segment

func (m segmentCache) key(l landing.Log, after fanwatch.SequenceNumber) string {
	return l.Stream + "/" + l.Shard + "/" + after.Pad()
}

func (m segmentCache) remember(l landing.Log, after fanwatch.SequenceNumber, s landing.Segment) {
	s.Rows = slices.Clone(slices.DeleteFunc(slices.Clone(s.Rows), func(r fanwatch.Row) bool {
		_, anomalous := toAnomaly(&r)
		return !anomalous && r.Kind != fanwatch.RowQuarantined && r.Kind != fanwatch.RowLabelled
	}))
	m[m.key(l, after)] = s
}

func (m segmentCache) next(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error) {
	if s, ok := m[m.key(l, after)]; ok {
		return s, nil
	}
	return l.Next(ctx, after)
}

// Commit brings the new segments of the logs and the alerts that are over into the tables; see [Table.Commit]. The
// result is that of the readings; beside it the error may be a *[Partial].
func (t *Tables) Commit(ctx context.Context, logs []landing.Log) (CommitResult, error) {
	seen := make(segmentCache)
	var failed failures
	result, err := t.commitLogs(ctx, logs, func() *batch {
		r := t.newBatch()
		r.nextSegment = func(ctx context.Context, l landing.Log, after fanwatch.SequenceNumber) (landing.Segment, error) {
			s, err := l.Next(ctx, after)
			if err == nil {
				seen.remember(l, after, s)
			}
			return s, err
		}
		return r
	})
	failed.add(wrapParts(err, "readings"))
	for _, s := range []struct {
		name   string
		commit func(context.Context, []landing.Log, segmentCache) (CommitResult, error)
	}{{"anomalies", t.anomalies.commit}, {"quarantine", t.quarantine.commit}, {"labels", t.labels.commit}} {
		for more := true; more; {
			r, err := s.commit(ctx, logs, seen)
			failed.add(wrapParts(err, s.name))
			more = r.More && r.Segments > 0 && ctx.Err() == nil
		}
	}
	failed.add(wrapParts(t.commitAlerts(ctx), "alerts"))
	return result, failed.err()
}

// wrapParts adds the table's name to each failure.
func wrapParts(err error, table string) error {
	var p failures
	p.add(err)
	for i := range p {
		p[i] = fmt.Errorf("table %s: %w", table, p[i])
	}
	return p.err()
}

// PassedOver names the objects that were found among the plans and the waiting alerts and are neither, by the newest
// listings.
func (t *Tables) PassedOver() (found []string) {
	for _, s := range t.all() {
		found = append(found, s.passed.all()...)
	}
	slices.Sort(found)
	return found
}

// eventTables returns the tables beside the readings.
func (t *Tables) eventTables() []*iceTable {
	return []*iceTable{&t.anomalies.iceTable, &t.quarantine.iceTable, &t.alerts.iceTable, &t.labels.iceTable}
}

// all returns all tables, the readings first.
func (t *Tables) all() []*iceTable { return append([]*iceTable{&t.iceTable}, t.eventTables()...) }

// Apply applies the plans of all tables; see [Table.Apply].
func (t *Tables) Apply(ctx context.Context) (ApplyResult, error) {
	var sum ApplyResult
	var failed failures
	for _, s := range t.all() {
		a, err := s.Apply(ctx)
		failed.add(wrapParts(err, s.layout.name))
		sum = ApplyResult{sum.Swaps + a.Swaps, sum.Expiries + a.Expiries, sum.Retired + a.Retired, sum.Marks + a.Marks,
			sum.Discarded + a.Discarded,
			sum.FilesRemoved + a.FilesRemoved, sum.FilesAdded + a.FilesAdded, sum.PlansLeft + a.PlansLeft}
	}
	return sum, failed.err()
}

// PlanCompaction merges small files of the days that have too many, table by table, and stores for each table the plan
// of the swap: one `replace` snapshot for all days. As many merges run at once as there are cores. A merged file is
// read back and compared by row count and content before it is planned. Files of a waiting plan are left alone. The old
// files stay until their snapshots expire.
//
// Files grow by levels, as minutes become an hour and hours a day: while a day lasts, files of about the same
// number of rows, within a factor of eight, are merged once there are more than MinFiles of them, so that a row is
// rewritten a few times and not at every compaction. A day that is over becomes as few files of TargetBytes as
// possible, and again whenever late rows enter it.
//
// A file that cannot be merged, because it is damaged or has columns that this program would lose, stays as it is; all
// others are merged. The error is then a *[Partial] beside the result.
func (t *Tables) PlanCompaction(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	small := cfg.withDefaults()
	// an event table's merge holds its rows in memory
	small.MaxRows, small.TargetBytes = min(small.MaxRows, eventRows), min(small.TargetBytes, eventFileBytes)
	var sum CompactResult
	var failed failures
	for _, s := range []struct {
		table *iceTable
		cfg   CompactConfig
		merge mergeFunc
	}{{&t.iceTable, cfg, t.mergeDay}, {&t.anomalies.iceTable, small, t.anomalies.mergeDay}, {&t.quarantine.iceTable, small,
		t.quarantine.mergeDay}, {&t.alerts.iceTable, small, t.alerts.mergeDay}, {&t.labels.iceTable, small,
		t.labels.mergeDay}} {
		_, _, r, err := s.table.planCompaction(ctx, s.cfg, s.merge)
		failed.add(wrapParts(err, s.table.layout.name))
		sum = CompactResult{sum.Days + r.Days, sum.FilesIn + r.FilesIn, sum.FilesOut + r.FilesOut, sum.RowsIn + r.RowsIn,
			sum.RowsOut + r.RowsOut,
			sum.Duplicates + r.Duplicates, sum.More || r.More}
	}
	return sum, failed.err()
}

// PlanExpiry plans the expiry of all tables' snapshots; see [Table.PlanExpiry].
func (t *Tables) PlanExpiry(ctx context.Context, olderThan time.Duration, keep int) error {
	var failed failures
	for _, s := range t.all() {
		failed.add(wrapParts(s.PlanExpiry(ctx, olderThan, keep), s.layout.name))
	}
	return failed.err()
}

// Retention says how long after its end a day stays in the tables. 0 is for ever.
type Retention struct {
	Readings time.Duration
	Events   time.Duration // anomalies, quarantine, labels and alerts
}

// PlanDropPartitions plans the drop of days past retention in all tables and returns the number of files; see
// [Table.PlanDropPartitions].
func (t *Tables) PlanDropPartitions(ctx context.Context, keep Retention) (int, error) {
	var failed failures
	sum, err := t.Table.PlanDropPartitions(ctx, keep.Readings)
	failed.add(wrapParts(err, t.layout.name))
	for _, s := range t.eventTables() {
		n, err := s.planDropPartitions(ctx, keep.Events)
		failed.add(wrapParts(err, s.layout.name))
		sum += n
	}
	return sum, failed.err()
}

// RemoveOrphans removes the orphans of all tables and returns their number; see [Table.RemoveOrphans].
func (t *Tables) RemoveOrphans(ctx context.Context, olderThan time.Duration) (int, error) {
	sum := 0
	var failed failures
	for _, s := range t.all() {
		n, err := s.RemoveOrphans(ctx, olderThan)
		failed.add(wrapParts(err, s.layout.name))
		sum += n
	}
	return sum, failed.err()
}

// Statuses returns the status of all tables, the readings first; see [Table.Status]. Of one that cannot be read it has
// the name alone.
func (t *Tables) Statuses(ctx context.Context, changes int) ([]Status, error) {
	var all []Status
	var failed failures
	for _, s := range t.all() {
		st, err := s.Status(ctx, changes)
		failed.add(err)
		all = append(all, st)
	}
	page, err := t.waitingAlerts(ctx, "")
	failed.add(err)
	t.alerts.passed.set(alertsWaiting, page.strays)
	return all, failed.err()
}

// Anomalies returns the rows of the table anomalies with from <= time < to, by time; zero times are no bounds.
func (t *Tables) Anomalies(ctx context.Context, from, to time.Time) ([]Anomaly, error) {
	return t.anomalies.all(ctx, from, to)
}

// Quarantine returns the rows of the table quarantine with from <= time of arrival < to, by time; zero times are no
// bounds.
func (t *Tables) Quarantine(ctx context.Context, from, to time.Time) ([]QuarantineRow, error) {
	return t.quarantine.all(ctx, from, to)
}

// Refused returns the n newest quarantined rows of a fan ("" = of all), by time of arrival, from the segments that the
// table quarantine does not have yet and from its newest days. Where there is no table, it cannot be read, or t is nil,
// all of the logs are read. Where a part cannot be read Refused returns the others and a *[Partial].
func (t *Tables) Refused(ctx context.Context, logs []landing.Log, fan string, n int) ([]QuarantineRow, error) {
	var failed failures
	var tbl *table.Table
	if t != nil {
		var err error
		if tbl, err = t.quarantine.load(ctx); err != nil && !errors.Is(err, ErrNoTable) {
			failed.add(err)
		}
	}
	wanted := func(r *QuarantineRow) bool { return fan == "" || r.Fan == fan }
	var rows []QuarantineRow
	for _, l := range logs {
		at := fanwatch.SequenceNumber("0")
		if tbl != nil {
			var err error
			if at, err = offset(tbl, l); err != nil {
				failed.add(err)
				continue
			}
		}
		failed.add(l.Walk(ctx, at, func(s landing.Segment) error {
			for i := range s.Rows {
				if r, ok := toQuarantineRow(&s.Rows[i]); ok && wanted(&r) {
					rows = append(rows, r)
				}
			}
			if len(rows) > 2*n+eventRows { // drop rows now and then, so that memory stays bounded
				rows = lastArrived(rows, n)
			}
			return nil
		}))
	}
	rows = lastArrived(rows, n)
	if tbl != nil {
		old, err := t.quarantine.newest(ctx, n, wanted)
		failed.add(err)
		rows = lastArrived(append(rows, old...), n)
	}
	return rows, failed.err()
}

// lastArrived sorts by time of arrival and returns the last n rows.
func lastArrived(rows []QuarantineRow, n int) []QuarantineRow {
	slices.SortStableFunc(rows, func(a, b QuarantineRow) int { return cmp.Compare(a.Arrived, b.Arrived) })
	return slices.Clone(rows[max(0, len(rows)-n):])
}

// Alerts returns the rows of the table alerts with from <= time of opening < to, by time; zero times are no bounds.
func (t *Tables) Alerts(ctx context.Context, from, to time.Time) ([]AlertRow, error) {
	return t.alerts.all(ctx, from, to)
}

// Labels returns the rows of the table labels with from <= time of the trouble's beginning < to, by time; zero times
// are no bounds.
func (t *Tables) Labels(ctx context.Context, from, to time.Time) ([]LabelRow, error) {
	return t.labels.all(ctx, from, to)
}

// alertsWaiting is the folder of the alerts that are over and not yet in the table.
const alertsWaiting = "alerts/waiting/"

// PutAlert stores an alert that is over for the next [Tables.Commit]. An alert that is stored again, even long after,
// makes no second row: Commit looks for its ID in the table.
func PutAlert(ctx context.Context, store objstore.Store, a fanwatch.Alert) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("alert %s: %w", a.ID, err)
	}
	failpoint.Hit(failpoint.AlertPutBefore)
	err = store.Put(ctx, alertsWaiting+strings.TrimPrefix(a.ID, "alert/")+".json", data, false)
	failpoint.Hit(failpoint.AlertPutAfter)
	return wrap(err, "alert %s", a.ID)
}

// commitAlerts brings the waiting alerts into the table, a thousand at a time. Objects that are no alerts are passed
// over; an alert that fails goes on waiting.
func (t *Tables) commitAlerts(ctx context.Context) error {
	var failed failures
	var strays []string
	for after := ""; ; {
		page, err := t.waitingAlerts(ctx, after)
		failed.add(err)
		strays = append(strays, page.strays...)
		if len(page.rows) > 0 {
			failed.add(t.storeAlerts(ctx, page.rows))
		}
		if !page.more || ctx.Err() != nil {
			t.alerts.passed.set(alertsWaiting, strays)
			return failed.err()
		}
		after = page.last
	}
}

// storeAlerts brings alerts, by key, into the table and removes their objects.
func (t *Tables) storeAlerts(ctx context.Context, waiting map[string]AlertRow) error {
	var failed failures
	unreadDays, err := t.addAlerts(ctx, slices.Collect(maps.Values(waiting)))
	if err != nil {
		var p *Partial
		if failed.add(err); !errors.As(err, &p) {
			return failed.err()
		}
	}
	for _, key := range slices.Sorted(maps.Keys(waiting)) {
		e := waiting[key]
		if unreadDays[t.alerts.day(&e)] {
			continue
		}
		if err := t.cfg.Store.Delete(ctx, key); err != nil {
			failed.add(err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return failed.err()
}

// alertPage is a part of the waiting alerts.
type alertPage struct {
	rows   map[string]AlertRow // by key, at most a thousand
	strays []string            // objects that are no alerts, one line each
	last   string              // key of the last object of the page
	more   bool                // there are objects behind last
}

// waitingAlerts reads the waiting alerts behind a key. Those that cannot be read are named by the error.
func (t *Tables) waitingAlerts(ctx context.Context, after string) (alertPage, error) {
	p := alertPage{rows: make(map[string]AlertRow)}
	var failed failures
	for o, err := range t.cfg.Store.List(ctx, alertsWaiting, after) {
		if err != nil {
			failed.add(err)
			break
		}
		if len(p.rows) == 1000 {
			p.more = true
			break
		}
		p.last = o.Key
		if why := strayReason(o); why != "" {
			p.strays = append(p.strays, strayObject(o.Key, why))
			continue
		}
		data, err := t.cfg.Store.Get(ctx, o.Key)
		if errors.Is(err, objstore.ErrNotFound) {
			continue // removed since it was listed, by another committer
		}
		if err != nil {
			failed.add(fmt.Errorf("%s: %w", o.Key, err))
			continue
		}
		var a fanwatch.Alert
		if json.Unmarshal(data, &a) != nil || a.ID == "" || a.Opened.IsZero() {
			p.strays = append(p.strays, strayObject(o.Key, "not an alert"))
			continue
		}
		p.rows[o.Key] = toAlertRow(&a)
	}
	return p, failed.err()
}

func toAlertRow(a *fanwatch.Alert) AlertRow {
	e := AlertRow{Opened: a.Opened.UnixMicro(), Fan: a.Fan, ID: a.ID, Kind: string(a.Kind), Site: a.Site, Why: a.Why,
		Step: int64(a.Step), Told: int64(max(a.Notices, len(a.Sent))),
		AckedBy: a.AckedBy, Note: a.Note, Ended: a.EndedAt.UnixMicro()}
	if !a.AckedAt.IsZero() {
		e.AckedAt = a.AckedAt.UnixMicro()
	}
	e.Severity, e.Label, e.Incident, e.EndedBy = string(a.Weighed()), string(a.Label), a.Incident, a.EndedBy
	if at := firstAcknowledged(a); !at.IsZero() {
		e.AckSeconds = max(at.Sub(a.Opened).Seconds(), 1e-6) // 0 is null
	}
	if len(a.Answers) > 0 {
		text, _ := json.Marshal(a.Answers) // it was decoded from JSON
		e.Answers = string(text)
	}
	if all := noticesOf(a); len(all) > 0 {
		text, _ := json.Marshal(all) // the same
		e.Notices = string(text)
	}
	return e
}

// firstAcknowledged returns when a person first took care; zero: none did.
func firstAcknowledged(a *fanwatch.Alert) time.Time {
	for _, x := range a.Answers {
		switch x.Action {
		case fanwatch.ActionAcknowledge, fanwatch.ActionSnooze, fanwatch.ActionHand:
			return x.At
		}
	}
	return a.AckedAt
}

// noticesOf returns the notifications of an alert, by time.
func noticesOf(a *fanwatch.Alert) (all []AlertNotice) {
	for _, n := range a.Sent {
		all = append(all, AlertNotice{To: n.To, At: n.At, Step: n.Step, Taken: true, Result: cmp.Or(n.Detail, n.ID)})
	}
	for _, f := range a.Failed {
		all = append(all, AlertNotice{To: f.To, At: f.At, Step: f.Step, Result: f.Why})
	}
	slices.SortStableFunc(all, func(x, y AlertNotice) int { return x.At.Compare(y.At) })
	return all
}

// addAlerts appends those of the rows that the table does not have. It leaves out the days of which the table has a
// file that cannot be read: unreadDays, with a *Partial. After any other error no row was appended.
func (t *Tables) addAlerts(ctx context.Context, rows []AlertRow) (unreadDays map[int32]bool, err error) {
	var errs []error
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		tbl, err := t.alerts.load(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		missing, unreadDays, err := t.newAlerts(ctx, tbl, rows)
		var p *Partial
		if err != nil && !errors.As(err, &p) || len(missing) == 0 {
			return unreadDays, err
		}
		b := &batch{}
		var failed error
		if b.files, failed = t.alerts.write(ctx, tbl, missing); failed != nil {
			return nil, failed
		}
		failpoint.Hit(failpoint.CommitFiles)
		if failed := t.alerts.commitBatch(ctx, tbl, b); failed != nil {
			errs = append(errs, failed)
			continue
		}
		return unreadDays, err
	}
	return nil, fmt.Errorf("given up after %d attempts: %w", commitAttempts, errors.Join(errs...))
}

// newAlerts returns the rows that the table does not have on the days on which they opened, without those of days that
// cannot be read.
func (t *Tables) newAlerts(ctx context.Context, tbl *table.Table, rows []AlertRow) (missing []AlertRow,
	unreadDays map[int32]bool, err error) {
	days := make(map[int32]map[string]AlertRow)
	for i := range rows {
		day := t.alerts.day(&rows[i])
		if days[day] == nil {
			days[day] = make(map[string]AlertRow)
		}
		days[day][rows[i].ID] = rows[i]
	}
	unreadDays = make(map[int32]bool)
	var failed failures
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return nil, nil, err
		}
		day, err := dayOf(df)
		if err != nil {
			return nil, nil, err
		}
		if len(days[day]) == 0 || unreadDays[day] {
			continue
		}
		stored, err := t.alerts.readFile(ctx, df)
		if err != nil {
			unreadDays[day] = true
			failed.add(fmt.Errorf("alerts of day %s wait: %w", dateOf(day), err))
			continue
		}
		for _, e := range stored {
			delete(days[day], e.ID)
		}
	}
	for day, byID := range days {
		if !unreadDays[day] {
			missing = slices.AppendSeq(missing, maps.Values(byID))
		}
	}
	return missing, unreadDays, failed.err()
}
