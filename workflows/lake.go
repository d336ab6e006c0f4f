package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
	"fanwatch/lake"
)

// CommitterInput names the stream whose landing log feeds the tables, and how often.
type CommitterInput struct {
	Stream string        `json:"stream"`
	Every  time.Duration `json:"every"` // 0 = 1 min
}

// commitsPerRun is how many rounds a Committer makes before it continues as new: a round costs eleven events.
const commitsPerRun = 300

// Committer is the only one that changes the lake's tables. Its workflow ID is one per lake, so there is
// never a second; even an attempt of its activity that Temporal has given up, and that lives on, cannot do
// harm, for every change states which version of the table it was made for. In each round it brings the new
// segments of the landing log into the tables, and then applies the plans that compaction and maintenance
// have left in the Store. Long work is theirs: a merge delays no commit.
//
// A round that fails is told in the details and made again at its next time. SignalCommit makes a round at
// once, and changes the input.
func Committer(ctx workflow.Context, in CommitterInput) error {
	in.Every = cmp.Or(in.Every, time.Minute)
	asked := workflow.GetSignalChannelWithOptions(ctx, SignalCommit, workflow.SignalChannelOptions{
		Description: "Make a round now: there is a plan to apply. Input: nothing, or {\"stream\": ..., \"every\": nanoseconds} to change the settings"})
	in.take(asked) // the settings with which it was started
	for range commitsPerRun {
		r, err := commit(ctx, in.Stream)
		if temporal.IsCanceledError(err) {
			return err
		}
		workflow.SetCurrentDetails(ctx, told(ctx, in, r, err))
		if err := in.wait(ctx, asked); err != nil {
			return err
		}
	}
	in.take(asked)
	return workflow.NewContinueAsNewError(ctx, Committer, in)
}

// wait lets the time of one round pass, or less when somebody asks.
func (in *CommitterInput) wait(ctx workflow.Context, asked workflow.ReceiveChannel) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: in.Every, TimerOptions: workflow.TimerOptions{Summary: "until the next round"}},
		func() bool { return asked.Len() > 0 })
	in.take(asked)
	return err
}

// take reads all signals that are there: one round answers them.
func (in *CommitterInput) take(asked workflow.ReceiveChannel) {
	for {
		var next CommitterInput
		if !asked.ReceiveAsync(&next) {
			return
		}
		in.Stream, in.Every = cmp.Or(next.Stream, in.Stream), cmp.Or(next.Every, in.Every)
	}
}

func told(ctx workflow.Context, in CommitterInput, r activities.CommitReport, err error) string {
	at := workflow.Now(ctx).UTC().Format(time.DateTime)
	if err != nil {
		return fmt.Sprintf("The round of %s failed, the next is in %s: %v", at, in.Every, err)
	}
	return fmt.Sprintf("Round of %s: %d readings from %d segments in %d files; %d plans applied, %d discarded.", at, r.Rows, r.Segments, r.Files, r.Applied, r.Discarded)
}

// Compact merges small files of the tables and hands the plans to the Committer. A schedule runs it.
func Compact(ctx workflow.Context) (activities.CompactReport, error) {
	r, err := compact(ctx)
	if err == nil && r.FilesIn > 0 {
		err = handIn(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d files are to become %d.", r.FilesIn, r.FilesOut))
	}
	return r, err
}

// Maintain removes what the lake no longer needs: orphaned files, the rows of landing segments past retention;
// and hands the Committer the plans to drop snapshots and days past retention. A schedule runs it.
func Maintain(ctx workflow.Context, stream string) (activities.MaintainReport, error) {
	r, err := maintain(ctx, stream)
	if err == nil {
		err = handIn(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d orphaned files removed, %d landing segments emptied, %d files of days past retention to go.", r.Orphans, r.Tombstones, r.Retired))
	}
	return r, err
}

// Ingest lands what a delivery stream has written since the last time, and asks the Committer to bring it into the
// tables. A schedule runs it. Objects that are not landed, for they cannot be read, are told in the details and fail
// the workflow once all others are: its error is of the type IngestIncomplete and carries the lake.Ingested.
func Ingest(ctx workflow.Context, stream string, from activities.DeliveryStream) (lake.Ingested, error) {
	r, err := ingest(ctx, stream, from)
	if err == nil && r.Objects+r.Readings+r.Quarantined > 0 {
		err = handIn(ctx)
	}
	if err != nil {
		return r, err
	}
	details := fmt.Sprintf("%d objects of %s: %d readings, %d passed over because they were there, %d values refused.", r.Objects, from.Prefix, r.Readings, r.Duplicates, r.Quarantined)
	failure := r.Failure()
	if failure != "" {
		details += " " + failure + "."
		err = temporal.NewNonRetryableApplicationError("ingest of "+from.Prefix+": "+failure, IngestIncomplete, nil, r)
	}
	workflow.SetCurrentDetails(ctx, details)
	return r, err
}

// IngestIncomplete is the type of Ingest's error where objects were passed over.
const IngestIncomplete = "IngestIncomplete"

// handIn tells the Committer that there is something for it. Without a Committer that waits in the Store.
func handIn(ctx workflow.Context) error {
	err := workflow.SignalExternalWorkflow(ctx, CommitterID, "", SignalCommit, CommitterInput{}).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	return nil
}
