package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch/lake"
)

// Lake brings the landing log into the table and keeps the table's files few.
type Lake struct {
	Table  Table
	Store  lake.Store
	Stream Stream
	Config lake.CompactConfig
}

// Table is the Iceberg table; *lake.Table is the one.
type Table interface {
	Commit(ctx context.Context, logs []lake.Log) (lake.CommitResult, error)
	Compact(ctx context.Context, cfg lake.CompactConfig) (lake.CompactResult, error)
}

// CommitReport says what one commit brought.
type CommitReport struct {
	Segments int `json:"segments"`
	Rows     int `json:"rows"`
	Files    int `json:"files"`
}

// CompactReport says what one compaction did.
type CompactReport struct {
	Days     int `json:"days"`
	FilesIn  int `json:"files_in"`
	FilesOut int `json:"files_out"`
	Rows     int `json:"rows"`
}

// Commit appends the new segments of all shards of the stream to the table. Running it again adds nothing:
// the table itself holds how far it has come.
func (l *Lake) Commit(ctx context.Context, stream string) (CommitReport, error) {
	defer heartbeats(ctx)()
	shards, err := l.Stream.Shards(ctx, stream)
	if err != nil {
		return CommitReport{}, err
	}
	logs := make([]lake.Log, len(shards))
	for i, sh := range shards {
		logs[i] = lake.Log{Store: l.Store, Stream: stream, Shard: sh.ID}
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
	return report, nil
}

// Compact merges the small files of each day. Running it again finds nothing to merge.
func (l *Lake) Compact(ctx context.Context) (CompactReport, error) {
	defer heartbeats(ctx)()
	var report CompactReport
	for more := true; more; {
		r, err := l.Table.Compact(ctx, l.Config)
		if err != nil {
			return report, err
		}
		report.Days, report.FilesIn, report.FilesOut, report.Rows = report.Days+r.Days, report.FilesIn+r.FilesIn, report.FilesOut+r.FilesOut, report.Rows+r.RowsOut
		more = r.More
	}
	return report, nil
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
