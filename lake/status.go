package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// File is a data file of the table's current snapshot.
type File struct {
	Path  string    `json:"path"`
	Day   time.Time `json:"day"` // its partition, midnight UTC
	Rows  int64     `json:"rows"`
	Bytes int64     `json:"bytes"`
}

// Change is a snapshot of the table: one commit, swap or drop of days.
type Change struct {
	At        time.Time `json:"at"`
	Operation string    `json:"operation"` // append, replace or overwrite
	Files     string    `json:"files"`     // data files that were added and removed: "+1 -8"
	Rows      int64     `json:"rows"`      // rows that were added
}

// Status is the size and the newest changes of a table.
type Status struct {
	Table     string   `json:"table"` // namespace.name
	Rows      int64    `json:"rows"`
	Files     int      `json:"files"`
	Bytes     int64    `json:"bytes"` // size of the data files
	Days      int      `json:"days"`
	Snapshots int      `json:"snapshots"`
	Plans     int      `json:"plans"`    // plans that wait for the committer
	Metadata  string   `json:"metadata"` // location of the newest metadata, for readers without a catalog
	Changes   []Change `json:"changes"`  // the newest changes, newest first
}

// Lag is how far the table is behind one shard's landing log.
type Lag struct {
	Shard    string        `json:"shard"`
	Segments int           `json:"segments"` // segments that are not in the table
	Rows     int           `json:"rows"`     // readings of these segments
	Oldest   time.Duration `json:"oldest"`   // how long the first of their rows has waited; 0 without rows
	// OldSince is when the first reading was held back that still is (TableConfig.OldAfter); zero: none is.
	OldSince time.Time `json:"old_since,omitzero"`
}

// Files lists the data files of the table's current snapshot, by day and path.
func (t *iceTable) Files(ctx context.Context) ([]File, error) {
	_, live, err := t.loadFiles(ctx)
	if err != nil {
		return nil, err
	}
	files := make([]File, 0, len(live))
	for _, df := range live {
		day, err := dayOf(df)
		if err != nil {
			return nil, err
		}
		files = append(files, File{df.FilePath(), time.Unix(int64(day)*24*3600, 0).UTC(), df.Count(), df.FileSizeBytes()})
	}
	slices.SortFunc(files, func(a, b File) int {
		return strings.Compare(a.Day.Format(time.DateOnly)+a.Path, b.Day.Format(time.DateOnly)+b.Path)
	})
	return files, nil
}

// Status returns the table's status, with at most the newest changes snapshots. It reads metadata, no data file.
func (t *iceTable) Status(ctx context.Context, changes int) (Status, error) {
	s := Status{Table: strings.Join(t.ident, "."), Changes: []Change{}}
	waiting, _, err := t.waitingPlans(ctx)
	if err != nil {
		return s, err
	}
	files, err := t.Files(ctx)
	if err != nil {
		return s, err
	}
	days := make(map[time.Time]bool)
	for _, f := range files {
		s.Rows, s.Bytes = s.Rows+f.Rows, s.Bytes+f.Bytes
		days[f.Day] = true
	}
	tbl, err := t.load(ctx)
	if err != nil {
		return s, err
	}
	s.Metadata = tbl.MetadataLocation()
	snapshots := slices.Clone(tbl.Metadata().Snapshots())
	s.Files, s.Days, s.Plans, s.Snapshots = len(files), len(days), len(waiting), len(snapshots)
	slices.SortFunc(snapshots, func(a, b table.Snapshot) int { return int(b.SequenceNumber - a.SequenceNumber) })
	for _, n := range snapshots[:min(max(changes, 0), len(snapshots))] {
		c := Change{At: time.UnixMilli(n.TimestampMs).UTC()}
		if n.Summary != nil {
			c.Operation = string(n.Summary.Operation)
			c.Files = "+" + orNone(n.Summary.Properties["added-data-files"]) + " -" +
				orNone(n.Summary.Properties["deleted-data-files"])
			if c.Rows, err = strconv.ParseInt(orNone(n.Summary.Properties["added-records"]), 10, 64); err != nil {
				return s, fmt.Errorf("table %s: snapshot %d: added-records: %w", s.Table, n.SnapshotID, err)
			}
		}
		s.Changes = append(s.Changes, c)
	}
	return s, nil
}

func orNone(count string) string {
	if count == "" {
		return "0"
	}
	return count
}

// Lag returns how much of a landing log is not in the table yet. It reads the segments that are not.
func (t *iceTable) Lag(ctx context.Context, l landing.Log) (Lag, error) {
	lag := Lag{Shard: l.Shard}
	tbl, err := t.load(ctx)
	if err != nil {
		return lag, err
	}
	in, err := coverageOf(tbl, l)
	if err != nil {
		return lag, err
	}
	at := in.at
	if in.held != nil {
		lag.OldSince = in.held.Since
	}
	for {
		s, err := l.Next(ctx, at)
		if errors.Is(err, objstore.ErrNotFound) {
			return lag, nil
		}
		if err != nil {
			return lag, fmt.Errorf("lag: %w", err)
		}
		if s.Last.Compare(at) > 0 { // else it is a closed shard's last, and empty
			lag.Segments++
			lag.Rows += s.Counts.Readings()
		}
		if lag.Oldest == 0 && len(s.Rows) > 0 {
			lag.Oldest = t.cfg.Now().Sub(s.Rows[0].Arrived)
		}
		if at = s.Last; s.End {
			return lag, nil
		}
	}
}
