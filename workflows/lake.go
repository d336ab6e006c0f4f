package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
)

// Commit brings the new segments of all shards of a stream into the table. A schedule runs it; a run that
// overlaps with another is skipped.
func Commit(ctx workflow.Context, stream string) (activities.CommitReport, error) {
	r, err := commit(ctx, stream)
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d readings from %d segments in %d files.", r.Rows, r.Segments, r.Files))
	}
	return r, err
}

// Compact merges small files of the table. A schedule runs it.
func Compact(ctx workflow.Context) (activities.CompactReport, error) {
	r, err := compact(ctx)
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d files of %d days became %d.", r.FilesIn, r.Days, r.FilesOut))
	}
	return r, err
}

// Maintain removes what the lake no longer needs: old snapshots of the table, orphaned files, the rows of
// landing segments past retention. A schedule runs it.
func Maintain(ctx workflow.Context, stream string) (activities.MaintainReport, error) {
	r, err := maintain(ctx, stream)
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d orphaned files removed, %d landing segments emptied.", r.Orphans, r.Tombstones))
	}
	return r, err
}
