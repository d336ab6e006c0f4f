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
)

// Tables are all tables of the lake: the readings, and beside them anomalies and quarantine, which are fed
// from the same logs with offsets of their own, and alerts, which are fed from what PutAlert left. Each takes
// every row exactly once, in transactions of its own: so one may be a round behind another.
type Tables struct {
	*Table     // of readings
	anomalies  *side[Anomaly]
	quarantine *side[Refusal]
	alerts     *side[Ended]
}

// OpenTables opens all tables, creating those that are missing.
func OpenTables(ctx context.Context, cfg TableConfig) (*Tables, error) {
	readings, err := OpenTable(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := &Tables{Table: readings}
	t.anomalies, err = openSide(ctx, cfg, "anomalies", map[int]string{1: "of the reading", 5: "what was wrong: stall, underspeed, overspeed, silent or unusual", 6: "of the forest; 0: not scored"}, side[Anomaly]{
		pick: toAnomaly, time: func(a *Anomaly) int64 { return a.Time }, compare: func(a, b *Anomaly) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Seq, b.Seq))
		}})
	if err != nil {
		return nil, err
	}
	t.quarantine, err = openSide(ctx, cfg, "quarantine", map[int]string{1: "of arrival", 2: "empty where the message does not say", 3: "MQTT client ID", 5: "at most 4 KiB of it"}, side[Refusal]{
		pick: toRefusal, time: func(r *Refusal) int64 { return r.Arrived }, compare: func(a, b *Refusal) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Arrived, b.Arrived), strings.Compare(a.Shard, b.Shard),
				fanwatch.SequenceNumber(a.Sequence).Compare(fanwatch.SequenceNumber(b.Sequence)), cmp.Compare(a.Index, b.Index))
		}})
	if err != nil {
		return nil, err
	}
	t.alerts, err = openSide(ctx, cfg, "alerts", map[int]string{1: "of the reading that opened it", 7: "escalation steps reached", 8: "messages sent"}, side[Ended]{
		time: func(e *Ended) int64 { return e.Opened }, compare: func(a, b *Ended) int {
			return cmp.Or(strings.Compare(a.Fan, b.Fan), cmp.Compare(a.Opened, b.Opened), strings.Compare(a.ID, b.ID))
		}})
	if err != nil {
		return nil, err
	}
	readings.followers = []*iceTable{&t.anomalies.iceTable, &t.quarantine.iceTable}
	return t, nil
}

func toAnomaly(r *fanwatch.Row) (Anomaly, bool) {
	return Anomaly{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), Kind: string(r.Anomaly), Score: r.Score, RPM: r.RPM, Hz: r.Hz, Jitter: r.Jitter,
		State: string(r.State), Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard}, r.Kind == fanwatch.Scored && r.Anomaly != fanwatch.Well
}

func toRefusal(r *fanwatch.Row) (Refusal, bool) {
	return Refusal{Arrived: r.Arrived.UnixMicro(), Fan: r.Fan, Client: r.Client, Reason: r.Reason, Payload: bytes.Clone(r.Payload), Shard: r.Position.Shard,
		Sequence: string(r.Position.Sequence), Index: int64(r.Position.Index)}, r.Kind == fanwatch.Quarantined
}

// segments remembers, of segments that were read, what side tables want of them.
type segments map[string]Segment

func (m segments) key(l Log, after fanwatch.SequenceNumber) string {
	return l.Stream + "/" + l.Shard + "/" + after.Pad()
}

func (m segments) remember(l Log, after fanwatch.SequenceNumber, s Segment) {
	s.Rows = slices.Clone(slices.DeleteFunc(slices.Clone(s.Rows), func(r fanwatch.Row) bool {
		_, anomalous := toAnomaly(&r)
		return !anomalous && r.Kind != fanwatch.Quarantined
	}))
	m[m.key(l, after)] = s
}

func (m segments) next(ctx context.Context, l Log, after fanwatch.SequenceNumber) (Segment, error) {
	if s, ok := m[m.key(l, after)]; ok {
		return s, nil
	}
	return l.Next(ctx, after)
}

// Commit brings the new segments of the logs into the tables, and the ended alerts; see Table.Commit. The
// result is that of the readings.
func (t *Tables) Commit(ctx context.Context, logs []Log) (CommitResult, error) {
	seen := make(segments)
	result, err := t.commitLogs(ctx, logs, func() *round {
		r := t.newRound()
		r.next = func(ctx context.Context, l Log, after fanwatch.SequenceNumber) (Segment, error) {
			s, err := l.Next(ctx, after)
			if err == nil {
				seen.remember(l, after, s)
			}
			return s, err
		}
		return r
	})
	if err != nil {
		return result, err
	}
	for _, commit := range []func(context.Context, []Log, segments) (CommitResult, error){t.anomalies.commit, t.quarantine.commit} {
		for more := true; more; {
			r, err := commit(ctx, logs, seen)
			if err != nil {
				return result, err
			}
			more = r.More
		}
	}
	return result, t.commitAlerts(ctx)
}

// sides gives the tables beside the readings.
func (t *Tables) sides() []*iceTable {
	return []*iceTable{&t.anomalies.iceTable, &t.quarantine.iceTable, &t.alerts.iceTable}
}

// Apply applies the plans of all tables; see Table.Apply.
func (t *Tables) Apply(ctx context.Context) (Applied, error) {
	sum, err := t.Table.Apply(ctx)
	for _, s := range t.sides() {
		if err != nil {
			return sum, err
		}
		var a Applied
		a, err = s.Apply(ctx)
		sum = Applied{sum.Swaps + a.Swaps, sum.Expiries + a.Expiries, sum.Retired + a.Retired, sum.Marks + a.Marks, sum.Discarded + a.Discarded,
			sum.FilesIn + a.FilesIn, sum.FilesOut + a.FilesOut, sum.PlansLeft + a.PlansLeft}
	}
	return sum, err
}

// PlanCompaction plans for all tables; see Table.PlanCompaction.
func (t *Tables) PlanCompaction(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	sum, err := t.Table.PlanCompaction(ctx, cfg)
	small := cfg.withDefaults()
	small.MaxRows, small.TargetBytes = min(small.MaxRows, sideRows), min(small.TargetBytes, sideTarget) // a side table's merge holds its rows in memory
	for _, s := range []struct {
		table *iceTable
		merge mergeFunc
	}{{&t.anomalies.iceTable, t.anomalies.mergeDay}, {&t.quarantine.iceTable, t.quarantine.mergeDay}, {&t.alerts.iceTable, t.alerts.mergeDay}} {
		if err != nil {
			return sum, err
		}
		var r CompactResult
		_, _, r, err = s.table.planCompaction(ctx, small, s.merge)
		sum = CompactResult{sum.Days + r.Days, sum.FilesIn + r.FilesIn, sum.FilesOut + r.FilesOut, sum.RowsIn + r.RowsIn, sum.RowsOut + r.RowsOut,
			sum.Duplicates + r.Duplicates, sum.More || r.More}
	}
	return sum, err
}

// PlanExpiry plans for all tables; see Table.PlanExpiry.
func (t *Tables) PlanExpiry(ctx context.Context, olderThan time.Duration, keep int) error {
	errs := []error{t.Table.PlanExpiry(ctx, olderThan, keep)}
	for _, s := range t.sides() {
		errs = append(errs, s.PlanExpiry(ctx, olderThan, keep))
	}
	return errors.Join(errs...)
}

// Retention says how long after its end a day stays in the tables. 0 is for ever.
type Retention struct {
	Readings time.Duration
	Events   time.Duration // anomalies, quarantine and alerts
}

// PlanRetirement plans for all tables and gives the number of files that are to go; see Table.PlanRetirement.
func (t *Tables) PlanRetirement(ctx context.Context, keep Retention) (int, error) {
	sum, err := t.Table.PlanRetirement(ctx, keep.Readings)
	for _, s := range t.sides() {
		if err != nil {
			return sum, err
		}
		var n int
		n, err = s.planDrop(ctx, keep.Events)
		sum += n
	}
	return sum, err
}

// RemoveOrphans removes those of all tables; see Table.RemoveOrphans.
func (t *Tables) RemoveOrphans(ctx context.Context, olderThan time.Duration) (int, error) {
	sum, err := t.Table.RemoveOrphans(ctx, olderThan)
	for _, s := range t.sides() {
		if err != nil {
			return sum, err
		}
		var n int
		n, err = s.RemoveOrphans(ctx, olderThan)
		sum += n
	}
	return sum, err
}

// Reconcile is the function Reconcile of the readings.
func (t *Tables) Reconcile(ctx context.Context, logs []Log) ([]Account, error) {
	return Reconcile(ctx, logs, t.Table)
}

// Statuses tells how all tables do, the readings first; see Table.Status.
func (t *Tables) Statuses(ctx context.Context, changes int) ([]Status, error) {
	var all []Status
	for _, s := range append([]*iceTable{&t.iceTable}, t.sides()...) {
		st, err := s.Status(ctx, changes)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// Anomalies gives the rows of the table anomalies with from <= time < to, by time; zero times are no bounds.
func (t *Tables) Anomalies(ctx context.Context, from, to time.Time) ([]Anomaly, error) {
	return t.anomalies.all(ctx, from, to)
}

// Quarantine gives the rows of the table quarantine that arrived in from <= t < to, by time.
func (t *Tables) Quarantine(ctx context.Context, from, to time.Time) ([]Refusal, error) {
	return t.quarantine.all(ctx, from, to)
}

// Alerts gives the rows of the table alerts that opened in from <= t < to, by time.
func (t *Tables) Alerts(ctx context.Context, from, to time.Time) ([]Ended, error) {
	return t.alerts.all(ctx, from, to)
}

// alertsWaiting is where ended alerts lie until they are in the table.
const alertsWaiting = "alerts/waiting/"

// PutAlert leaves an alert that is over for the next Commit. Left more than once, even long after, it is one
// row: the table is asked for the alert's ID.
func PutAlert(ctx context.Context, store Store, a fanwatch.Alert) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("alert %s: %w", a.ID, err)
	}
	failpoint.Hit(failpoint.AlertPutBefore)
	err = store.Put(ctx, alertsWaiting+strings.TrimPrefix(a.ID, "alert/")+".json", data, false)
	failpoint.Hit(failpoint.AlertPutAfter)
	return wrap(err, "alert %s", a.ID)
}

// commitAlerts brings the alerts that wait into the table, in rounds of a thousand.
func (t *Tables) commitAlerts(ctx context.Context) error {
	for {
		waiting, keys, err := t.waitingAlerts(ctx)
		if err != nil || len(keys) == 0 {
			return wrap(err, "commit of alerts")
		}
		if err := t.addAlerts(ctx, waiting); err != nil {
			return fmt.Errorf("commit of alerts: %w", err)
		}
		for _, key := range keys {
			if err := t.cfg.Store.Delete(ctx, key); err != nil {
				return fmt.Errorf("commit of alerts: %w", err)
			}
		}
	}
}

func (t *Tables) waitingAlerts(ctx context.Context) (rows []Ended, keys []string, err error) {
	for o, err := range t.cfg.Store.List(ctx, alertsWaiting, "") {
		if err != nil {
			return nil, nil, err
		}
		data, err := t.cfg.Store.Get(ctx, o.Key)
		if errors.Is(err, ErrNotFound) {
			continue // another committer was faster
		}
		var a fanwatch.Alert
		if err == nil {
			err = json.Unmarshal(data, &a)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.Key, err)
		}
		rows, keys = append(rows, toEnded(&a)), append(keys, o.Key)
		if len(keys) == 1000 {
			break
		}
	}
	return rows, keys, nil
}

func toEnded(a *fanwatch.Alert) Ended {
	e := Ended{Opened: a.Opened.UnixMicro(), Fan: a.Fan, ID: a.ID, Kind: string(a.Kind), Site: a.Site, Why: a.Why, Step: int64(a.Step), Told: int64(max(a.Notices, len(a.Told))),
		AckedBy: a.AckedBy, Note: a.Note, Ended: a.EndedAt.UnixMicro()}
	if !a.AckedAt.IsZero() {
		e.AckedAt = a.AckedAt.UnixMicro()
	}
	return e
}

// addAlerts appends those of the rows that the table does not have.
func (t *Tables) addAlerts(ctx context.Context, rows []Ended) error {
	var errs []error
	for attempt := range commitAttempts {
		if err := pause(ctx, attempt); err != nil {
			return errors.Join(append(errs, err)...)
		}
		tbl, err := t.alerts.load(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fresh, err := t.newAlerts(ctx, tbl, rows)
		if err != nil || len(fresh) == 0 {
			return err
		}
		r := &round{}
		if r.files, err = t.alerts.write(ctx, tbl, fresh); err != nil {
			return err
		}
		failpoint.Hit(failpoint.CommitFiles)
		if err := t.alerts.commitRound(ctx, tbl, r); err != nil {
			errs = append(errs, err)
			continue
		}
		return nil
	}
	return fmt.Errorf("given up after %d attempts: %w", commitAttempts, errors.Join(errs...))
}

// newAlerts leaves out the alerts that the table has on the days on which they opened.
func (t *Tables) newAlerts(ctx context.Context, tbl *table.Table, rows []Ended) ([]Ended, error) {
	days := make(map[int32]map[string]Ended)
	for i := range rows {
		day := t.alerts.day(&rows[i])
		if days[day] == nil {
			days[day] = make(map[string]Ended)
		}
		days[day][rows[i].ID] = rows[i]
	}
	for df, err := range liveFiles(ctx, tbl) {
		if err != nil {
			return nil, err
		}
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		if len(days[day]) == 0 {
			continue
		}
		there, err := t.alerts.readFile(ctx, df)
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			delete(days[day], e.ID)
		}
	}
	var fresh []Ended
	for _, byID := range days {
		fresh = slices.AppendSeq(fresh, maps.Values(byID))
	}
	return fresh, nil
}
