package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// Lake commits the landing log to the tables, compacts them, and removes what is no longer needed.
type Lake struct {
	// Tables returns the tables: with change to be changed, which the Committer alone does, else to be read and planned
	// for. Each activity calls it, so that a lake that cannot be opened fails the activities that need it and no other.
	Tables func(ctx context.Context, change bool) (Table, error)
	Store  objstore.Store
	Bucket func(name string) objstore.Store // opens another bucket for Ingest; nil = none can be read
	Config LakeConfig
}

// LakeConfig sets what is merged and how long data stays.
type LakeConfig struct {
	Compact lake.CompactConfig
	Keep    lake.Retention // days that stay in the tables; the zero value keeps all
	// KeepSnapshots is the age at which a table snapshot expires: the longest time that a reader may use it, and the
	// reach of queries by snapshot; 0 = 7 days.
	KeepSnapshots time.Duration
	// KeepOrphans is the age at which a file that no table snapshot names is removed. It must exceed the time of the
	// longest commit or compaction; at least MinKeepOrphans, 0 = 1 day.
	KeepOrphans time.Duration
	// KeepSegments is the age at which a segment of the landing log that every table has is truncated; 0 = 7 days.
	KeepSegments time.Duration
}

// MinKeepOrphans is the lower bound of LakeConfig.KeepOrphans. A compaction may take 15 min until its files are part of
// a plan, and may go on after Temporal has given it up.
const MinKeepOrphans = time.Hour

// Check returns an error when KeepOrphans is below [MinKeepOrphans].
func (c LakeConfig) Check() error {
	if c.KeepOrphans != 0 && c.KeepOrphans < MinKeepOrphans {
		return fmt.Errorf("files that no table refers to would be removed after %s, while a merge may still be about "+
			"to commit them: keep them for %s or more", c.KeepOrphans, MinKeepOrphans)
	}
	return nil
}

// Table is the tables of the lake, implemented by *lake.Tables. When parts of a call fail and others do not, the result
// holds what was done and the error is a *lake.Partial.
type Table interface {
	Commit(ctx context.Context, logs []landing.Log) (lake.CommitResult, error)
	Apply(ctx context.Context) (lake.ApplyResult, error)
	PlanCompaction(ctx context.Context, cfg lake.CompactConfig) (lake.CompactResult, error)
	PlanExpiry(ctx context.Context, olderThan time.Duration, keep int) error
	PlanDropPartitions(ctx context.Context, keep lake.Retention) (int, error)
	RemoveOrphans(ctx context.Context, olderThan time.Duration) (int, error)
	TruncateLog(ctx context.Context, l landing.Log, olderThan time.Duration) (int, error)
	Count(ctx context.Context, logs []landing.Log, o lake.CountOptions) (lake.CountResult, error)
	PassedOver() []string
}

// Parts are the parts of an activity on the lake that failed while others were done, and the objects that were passed
// over because they do not belong where they lie. Each is one line; at most 10 of both.
type Parts struct {
	Failed []string `json:"failed,omitempty"`
	Passed []string `json:"passed,omitempty"`
}

const partsNamed = 10

// fail adds the failures of an error.
func (p *Parts) fail(err error) {
	if err == nil {
		return
	}
	texts := []string{err.Error()}
	var partial *lake.Partial
	if errors.As(err, &partial) {
		texts = partial.Texts()
	}
	for _, text := range texts {
		if text = workflowText(text); !slices.Contains(p.Failed, text) && len(p.Failed) < partsNamed {
			p.Failed = append(p.Failed, text)
		}
	}
}

// pass adds what the tables passed over, and logs it.
func (p *Parts) pass(ctx context.Context, t Table) {
	for _, text := range t.PassedOver() {
		activity.GetLogger(ctx).Warn("lake: an object was passed over", "object", text)
		if len(p.Passed) < partsNamed {
			p.Passed = append(p.Passed, workflowText(text))
		}
	}
}

// Err returns all failures in one error, or nil.
func (p *Parts) Err() error {
	if len(p.Failed) == 0 {
		return nil
	}
	return errors.New(strings.Join(p.Failed, "; "))
}

// workflowText returns s for a workflow's history: one line of at most 500 bytes.
func workflowText(s string) string {
	const most = 500
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' }), " ")
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// CommitReport is the result of one commit.
type CommitReport struct {
	Segments  int `json:"segments"`
	Rows      int `json:"rows"`
	Files     int `json:"files"`
	Applied   int `json:"applied"`   // plans that were applied
	Discarded int `json:"discarded"` // plans that were discarded because the table had moved on
	Parts
}

// LandAlert stores an alert that is over for the committer. Stored twice it is one row of the table.
func (l *Lake) LandAlert(ctx context.Context, a fanwatch.Alert) error {
	return lake.PutAlert(ctx, l.Store, a)
}

// CompactReport is the result of one compaction, as planned.
type CompactReport struct {
	Days     int `json:"days"`
	FilesIn  int `json:"files_in"`
	FilesOut int `json:"files_out"`
	Rows     int `json:"rows"`
	Parts
}

// Commit appends the new segments of all shards of the stream to the tables and applies the plans that wait. Running it
// again adds nothing: the tables hold how far they have come. A part that fails is named in the report and stops no
// other.
func (l *Lake) Commit(ctx context.Context, stream string) (CommitReport, error) {
	defer heartbeats(ctx)()
	var report CommitReport
	table, err := l.Tables(ctx, true)
	if err != nil {
		return report, err
	}
	logs, err := landing.Logs(ctx, l.Store, stream)
	if err != nil {
		return report, err
	}
	for more := true; more; {
		r, err := table.Commit(ctx, logs)
		report.fail(err)
		report.Segments, report.Rows, report.Files = report.Segments+r.Segments, report.Rows+r.Rows, report.Files+r.Files
		more = r.More && r.Segments > 0 && ctx.Err() == nil // without progress a further batch would fail again
	}
	a, err := table.Apply(ctx)
	report.fail(err)
	report.Applied, report.Discarded = a.Swaps+a.Expiries+a.Retired+a.Marks, a.Discarded
	report.pass(ctx, table)
	return report, ctx.Err()
}

// Compact merges the small files of each day and stores the plans for the committer. Running it again finds nothing to
// merge. A file or a day that cannot be merged is named in the report and stops no other.
func (l *Lake) Compact(ctx context.Context) (CompactReport, error) {
	defer heartbeats(ctx)()
	var report CompactReport
	table, err := l.Tables(ctx, false)
	if errors.Is(err, lake.ErrNoTable) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	for more := true; more; {
		r, err := table.PlanCompaction(ctx, l.Config.Compact)
		report.fail(err)
		report.Days, report.FilesIn, report.FilesOut, report.Rows = report.Days+r.Days, report.FilesIn+r.FilesIn,
			report.FilesOut+r.FilesOut, report.Rows+r.RowsOut
		more = r.More && r.FilesIn > 0 && ctx.Err() == nil
	}
	report.pass(ctx, table)
	return report, ctx.Err()
}

// MaintainReport is the result of one maintenance.
type MaintainReport struct {
	Orphans    int `json:"orphans"`    // removed files that no table snapshot names
	Tombstones int `json:"tombstones"` // segments of the landing log that were truncated
	Dropped    int `json:"retired"`    // files of days past retention, planned to be dropped
	Parts
}

// Maintain removes orphaned files, truncates the landing log, and stores plans for the committer: to drop days past
// retention and to expire table snapshots. Running it again removes nothing more. A part that fails is named in the
// report and stops no other.
func (l *Lake) Maintain(ctx context.Context, stream string) (MaintainReport, error) {
	defer heartbeats(ctx)()
	const day = 24 * time.Hour
	var report MaintainReport
	table, err := l.Tables(ctx, false)
	if errors.Is(err, lake.ErrNoTable) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	report.Dropped, err = table.PlanDropPartitions(ctx, l.Config.Keep)
	report.fail(err)
	report.fail(table.PlanExpiry(ctx, cmp.Or(l.Config.KeepSnapshots, 7*day), 1))
	report.Orphans, err = table.RemoveOrphans(ctx, max(cmp.Or(l.Config.KeepOrphans, day), MinKeepOrphans))
	report.fail(err)
	logs, err := landing.Logs(ctx, l.Store, stream)
	report.fail(err)
	for _, log := range logs {
		n, err := table.TruncateLog(ctx, log, cmp.Or(l.Config.KeepSegments, 7*day))
		report.Tombstones += n
		if err != nil {
			report.fail(fmt.Errorf("shard %s: %w", log.Shard, err))
		}
	}
	report.pass(ctx, table)
	return report, ctx.Err()
}

// DeliveryStream is a folder to which a delivery stream (Firehose) adds objects of readings in the legacy format;
// see ingest.Ingestion.
type DeliveryStream struct {
	Prefix string `json:"prefix"`
	Bucket string `json:"bucket,omitempty"` // "" = the lake's own
	Zone   string `json:"zone,omitempty"`   // IANA zone of a TIME without zone; "" = UTC
}

// Ingestion returns the ingestion of the delivery stream into the landing log of stream. bucket opens Bucket; own is
// the lake's.
func (d DeliveryStream) Ingestion(own objstore.Store, bucket func(string) objstore.Store,
	stream string) (*ingest.Ingestion, error) {
	zone, err := time.LoadLocation(d.Zone)
	if err != nil {
		return nil, fmt.Errorf("ingest: zone: %w", err)
	}
	in := &ingest.Ingestion{From: own, Bucket: d.Bucket, Prefix: d.Prefix, To: own, Stream: stream, Zone: zone}
	if d.Bucket != "" {
		in.From = bucket(d.Bucket)
	}
	return in, in.CheckPrefix()
}

// Ingest lands the objects of the delivery stream that are not landed yet. Running it again, or twice at once, lands
// none twice: the landing log says which it holds.
func (l *Lake) Ingest(ctx context.Context, stream string, from DeliveryStream) (ingest.Result, error) {
	defer heartbeats(ctx)()
	if from.Bucket != "" && l.Bucket == nil {
		return ingest.Result{}, fmt.Errorf("ingest: this worker reads no bucket but the lake's, not %s", from.Bucket)
	}
	in, err := from.Ingestion(l.Store, l.Bucket, stream)
	if err != nil {
		return ingest.Result{}, err
	}
	return in.Run(ctx, nil)
}

// DifferencesNamed is the largest number of fans that one reconciliation names.
const DifferencesNamed = 100

// Reconciliation is the result of one reconciliation.
type Reconciliation struct {
	Fans        int          `json:"fans"`                  // number of fans that were compared
	Readings    int          `json:"readings"`              // number of readings that were landed
	Differences []Difference `json:"differences,omitempty"` // by fan, at most DifferencesNamed
	Segments    int          `json:"segments"`              // segments of the landing log that were read
	Why         string       `json:"why,omitempty"`         // why everything was counted anew; "" = it was not
	Parts                    // Failed names readings that wait for the table for too long
}

// Difference is a fan of whose readings the lake lacks some, or has some twice.
type Difference struct {
	Fan string `json:"fan"` // "" when the rows name no fan
	Why string `json:"why"` // one sentence
}

// Reconcile compares acknowledgements, landing log and table. It continues where the last one ended and changes only
// the tally that says where. Readings that wait for the table for too long are a failed part, not a difference.
func (l *Lake) Reconcile(ctx context.Context, stream string) (Reconciliation, error) {
	defer heartbeats(ctx)()
	table, err := l.Tables(ctx, false)
	if errors.Is(err, lake.ErrNoTable) {
		return Reconciliation{}, nil
	}
	if err != nil {
		return Reconciliation{}, err
	}
	logs, err := landing.Logs(ctx, l.Store, stream)
	if err != nil {
		return Reconciliation{}, err
	}
	c, err := table.Count(ctx, logs, lake.CountOptions{Keep: true})
	if err != nil {
		return Reconciliation{}, err
	}
	r := Reconciliation{Fans: len(c.Accounts), Segments: c.Segments, Why: workflowText(c.Why)}
	waiting, late, longest := 0, 0, time.Duration(0)
	for _, a := range c.Accounts {
		r.Readings += a.Landed
		switch {
		case a.Differs && len(r.Differences) < DifferencesNamed:
			r.Differences = append(r.Differences, Difference{a.Fan, a.Verdict})
		case !a.OK && !a.Differs:
			waiting, late, longest = waiting+a.Pending, late+1, max(longest, a.Waiting)
		}
	}
	if late > 0 {
		r.fail(fmt.Errorf("%d readings of %d fans wait for the table, the first for %s: see the workflow "+
			"lake/committer and fanwatch lake status", waiting, late, longest.Round(time.Second)))
	}
	return r, nil
}

// heartbeats records a heartbeat of the activity every 5 s until stop is called.
func heartbeats(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		t := time.NewTicker(5 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return cancel
}
