package activities

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
	"fanwatch/lake"
)

// Lake brings the landing log into the table, keeps the table's files few, and removes what nobody needs.
type Lake struct {
	Table  Table
	Store  lake.Store
	Bucket func(name string) lake.Store // opens another bucket, for Ingest; nil = there is none
	Config LakeConfig
}

// LakeConfig says what is merged and how long things stay. Zero values mean the defaults.
type LakeConfig struct {
	Compact lake.CompactConfig
	Keep    lake.Retention // days in the tables; the zero value keeps them for ever
	// KeepSnapshots is how long a reader may go on with a version of the table that it has begun to read, and
	// how far back queries by snapshot reach; 0 = 7 days.
	KeepSnapshots time.Duration
	// KeepOrphans is the age at which a file that no snapshot refers to is removed. It must exceed the time
	// that the longest commit or compaction takes; 0 = 1 day.
	KeepOrphans time.Duration
	// KeepSegments is the age at which a segment of the landing log that nobody needs loses its rows, which
	// are in the table by then; 0 = 7 days.
	KeepSegments time.Duration
}

// Table is the lake's tables; *lake.Tables is the one.
type Table interface {
	Commit(ctx context.Context, logs []lake.Log) (lake.CommitResult, error)
	Apply(ctx context.Context) (lake.Applied, error)
	PlanCompaction(ctx context.Context, cfg lake.CompactConfig) (lake.CompactResult, error)
	PlanExpiry(ctx context.Context, olderThan time.Duration, keep int) error
	PlanRetirement(ctx context.Context, keep lake.Retention) (int, error)
	RemoveOrphans(ctx context.Context, olderThan time.Duration) (int, error)
	Expire(ctx context.Context, l lake.Log, olderThan time.Duration) (int, error)
	Reconcile(ctx context.Context, logs []lake.Log) ([]lake.Account, error)
}

// CommitReport says what one round of the committer brought.
type CommitReport struct {
	Segments  int `json:"segments"`
	Rows      int `json:"rows"`
	Files     int `json:"files"`
	Applied   int `json:"applied"`   // plans of compaction and maintenance
	Discarded int `json:"discarded"` // plans that the table had passed
}

// LandAlert leaves an alert that is over for the committer. Left twice it is one row of the table.
func (l *Lake) LandAlert(ctx context.Context, a fanwatch.Alert) error {
	return lake.PutAlert(ctx, l.Store, a)
}

// CompactReport says what one compaction planned.
type CompactReport struct {
	Days     int `json:"days"`
	FilesIn  int `json:"files_in"`
	FilesOut int `json:"files_out"`
	Rows     int `json:"rows"`
}

// Commit appends the new segments of all shards of the stream to the tables and applies the plans that wait.
// Running it again adds nothing: the tables themselves hold how far they have come.
func (l *Lake) Commit(ctx context.Context, stream string) (CommitReport, error) {
	defer heartbeats(ctx)()
	logs, err := lake.Logs(ctx, l.Store, stream)
	if err != nil {
		return CommitReport{}, err
	}
	var report CommitReport
	for more := true; more; {
		r, err := l.Table.Commit(ctx, logs)
		if err != nil {
			return report, err
		}
		report.Segments, report.Rows, report.Files = report.Segments+r.Segments, report.Rows+r.Rows, report.Files+r.Files
		more = r.More
	}
	a, err := l.Table.Apply(ctx)
	report.Applied, report.Discarded = a.Swaps+a.Expiries+a.Retired+a.Marks, a.Discarded
	return report, err
}

// Compact merges the small files of each day and leaves the plans for the committer. Running it again finds
// nothing to merge.
func (l *Lake) Compact(ctx context.Context) (CompactReport, error) {
	defer heartbeats(ctx)()
	var report CompactReport
	for more := true; more; {
		r, err := l.Table.PlanCompaction(ctx, l.Config.Compact)
		if err != nil {
			return report, err
		}
		report.Days, report.FilesIn, report.FilesOut, report.Rows = report.Days+r.Days, report.FilesIn+r.FilesIn, report.FilesOut+r.FilesOut, report.Rows+r.RowsOut
		more = r.More
	}
	return report, nil
}

// MaintainReport says what one round of maintenance removed, and planned to remove.
type MaintainReport struct {
	Orphans    int `json:"orphans"`    // files that no snapshot of the tables refers to
	Tombstones int `json:"tombstones"` // segments of the landing log that lost their rows
	Retired    int `json:"retired"`    // files of days past retention, for the committer to remove
}

// Maintain removes orphaned files, turns segments of the landing log that nobody needs into tombstones, and
// leaves plans for the committer: to remove days past retention and to drop old snapshots. Running it again
// removes nothing more.
func (l *Lake) Maintain(ctx context.Context, stream string) (MaintainReport, error) {
	defer heartbeats(ctx)()
	const day = 24 * time.Hour
	var report MaintainReport
	var err error
	if report.Retired, err = l.Table.PlanRetirement(ctx, l.Config.Keep); err != nil {
		return report, err
	}
	if err := l.Table.PlanExpiry(ctx, cmp.Or(l.Config.KeepSnapshots, 7*day), 1); err != nil {
		return report, err
	}
	if report.Orphans, err = l.Table.RemoveOrphans(ctx, cmp.Or(l.Config.KeepOrphans, day)); err != nil {
		return report, err
	}
	logs, err := lake.Logs(ctx, l.Store, stream)
	if err != nil {
		return report, err
	}
	for _, log := range logs {
		n, err := l.Table.Expire(ctx, log, cmp.Or(l.Config.KeepSegments, 7*day))
		report.Tombstones += n
		if err != nil {
			return report, err
		}
	}
	return report, nil
}

// DeliveryStream is a folder that somebody keeps filling with readings in the demo's format; see lake.Ingestion.
type DeliveryStream struct {
	Prefix string `json:"prefix"`
	Bucket string `json:"bucket,omitempty"` // "" = the lake's own
	Zone   string `json:"zone,omitempty"`   // IANA name, of a TIME without zone; "" = UTC
}

// Ingestion says how the delivery stream is brought into the landing log of stream.
func (d DeliveryStream) Ingestion(own lake.Store, bucket func(string) lake.Store, stream string) (*lake.Ingestion, error) {
	zone, err := time.LoadLocation(d.Zone)
	if err != nil {
		return nil, fmt.Errorf("ingest: zone: %w", err)
	}
	in := &lake.Ingestion{From: own, Bucket: d.Bucket, Prefix: d.Prefix, To: own, Stream: stream, Zone: zone}
	if d.Bucket != "" {
		in.From = bucket(d.Bucket)
	}
	return in, in.CheckPrefix()
}

// Ingest lands the objects of the delivery stream that are not landed yet. Running it again, or beside another,
// lands none twice: the landing log says which it holds.
func (l *Lake) Ingest(ctx context.Context, stream string, from DeliveryStream) (lake.Ingested, error) {
	defer heartbeats(ctx)()
	if from.Bucket != "" && l.Bucket == nil {
		return lake.Ingested{}, fmt.Errorf("ingest: this worker reads no bucket but the lake's, not %s", from.Bucket)
	}
	in, err := from.Ingestion(l.Store, l.Bucket, stream)
	if err != nil {
		return lake.Ingested{}, err
	}
	return in.Run(ctx, nil)
}

// DifferencesNamed is how many fans one reconciliation names at most.
const DifferencesNamed = 100

// Reconciliation is what one reconciliation found.
type Reconciliation struct {
	Fans        int          `json:"fans"` // fans that were looked at
	Readings    int          `json:"readings"`
	Differences []Difference `json:"differences,omitempty"` // by fan; the first hundred
}

// Difference says of which fan the lake lacks readings or has some twice.
type Difference struct {
	Fan string `json:"fan"` // "" where it could not be told
	Why string `json:"why"` // a sentence
}

// Reconcile holds acknowledgements, landing log and table against each other. It changes nothing.
func (l *Lake) Reconcile(ctx context.Context, stream string) (Reconciliation, error) {
	defer heartbeats(ctx)()
	logs, err := lake.Logs(ctx, l.Store, stream)
	if err != nil {
		return Reconciliation{}, err
	}
	accounts, err := l.Table.Reconcile(ctx, logs)
	if err != nil {
		return Reconciliation{}, err
	}
	r := Reconciliation{Fans: len(accounts)}
	for _, a := range accounts {
		r.Readings += a.Landed
		if !a.OK && len(r.Differences) < DifferencesNamed {
			r.Differences = append(r.Differences, Difference{a.Fan, a.Verdict})
		}
	}
	return r, nil
}

// heartbeats tells the server every five seconds that the activity lives, until the function it gives is
// called.
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
