package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake/ingest"
)

// CommitterInput is the input of [Committer] and of SignalCommit, where zero values change nothing.
type CommitterInput struct {
	Stream string        `json:"stream"`
	Every  time.Duration `json:"every"` // time between two commits; 0 = 1 min

	State CommitterState `json:"state,omitzero"` // set when the Committer continues as new, not by signals
}

// CommitterStateVersion is the version of CommitterState that this program writes.
const CommitterStateVersion = 1

// CommitterState is the state of the Committer, in its memo. While nothing changes it is up to 5 min and a commit old.
type CommitterState struct {
	V      int       `json:"v"`
	Done   time.Time `json:"done,omitzero"`   // end of the last commit without failure; zero: there was none
	Failed time.Time `json:"failed,omitzero"` // since when commits, or parts of them, fail; zero: they do not
	Why    string    `json:"why,omitempty"`   // reason of the newest failure, in one line
}

// commitsPerRun is the number of commits after which a Committer continues as new; each costs eleven events.
const commitsPerRun = 300

// stateEvery is the largest age of the Committer's memo while nothing changes.
const stateEvery = 5 * time.Minute

// Committer is the only workflow that changes the lake's tables. Its workflow ID is one per lake, so that no second
// one runs; an attempt of its activity that Temporal has given up changes nothing, because every change names the
// version of the table that it was made for. Every in.Every it commits the new segments of the landing log to the
// tables, and then applies the plans that compaction and maintenance have stored, so that a merge delays no commit.
//
// A failure of a commit, or of a part of it, is shown in details and memo, and the next commit comes at its time.
// SignalCommit makes a commit at once, and changes the input.
func Committer(ctx workflow.Context, in CommitterInput) error {
	in.Every = cmp.Or(in.Every, time.Minute)
	asked := workflow.GetSignalChannelWithOptions(ctx, SignalCommit, workflow.SignalChannelOptions{
		Description: "Make a round now: there is a plan to apply. Input: nothing, or {\"stream\": ..., \"every\": " +
			"nanoseconds} to change the settings"})
	in.receive(asked) // the start comes with a signal
	var shown time.Time
	for range commitsPerRun {
		r, err := commit(ctx, in.Stream)
		if temporal.IsCanceledError(err) {
			return err
		}
		if err == nil {
			err = r.Err()
		}
		workflow.SetCurrentDetails(ctx, roundText(ctx, in, r, err))
		if shown, err = in.State.show(ctx, shown, err); err != nil {
			return err
		}
		if err := in.wait(ctx, asked); err != nil {
			return err
		}
	}
	in.receive(asked)
	return workflow.NewContinueAsNewError(ctx, Committer, in)
}

// show records the result of a commit, and writes the state to the memo when it has changed between failing and not, or
// is older than stateEvery. It returns when the memo was last written. Runs that began without a memo have none.
func (s *CommitterState) show(ctx workflow.Context, shown time.Time, failed error) (time.Time, error) {
	now := workflow.Now(ctx).UTC()
	changed := s.Failed.IsZero() != (failed == nil)
	s.V = CommitterStateVersion
	switch {
	case failed == nil:
		s.Done, s.Failed, s.Why = now, time.Time{}, ""
	case s.Failed.IsZero():
		s.Failed = now
	}
	if failed != nil {
		s.Why = fanwatch.Legible(cause(failed), 1000)
	}
	if !changed && now.Before(shown.Add(stateEvery)) || workflow.GetVersion(ctx, "committer-memo", workflow.DefaultVersion,
		1) == workflow.DefaultVersion {
		return shown, nil
	}
	return now, workflow.UpsertMemo(ctx, map[string]any{MemoCommitter: *s})
}

// cause returns the text of an activity's error without Temporal's names and numbers.
func cause(err error) string {
	var said *temporal.ApplicationError
	if errors.As(err, &said) {
		return said.Message()
	}
	return err.Error()
}

// wait waits for in.Every, or until a signal asks for a commit.
func (in *CommitterInput) wait(ctx workflow.Context, asked workflow.ReceiveChannel) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: in.Every,
		TimerOptions: workflow.TimerOptions{Summary: "until the next round"}},
		func() bool { return asked.Len() > 0 })
	in.receive(asked)
	return err
}

// receive takes all signals that wait; one commit answers them.
func (in *CommitterInput) receive(asked workflow.ReceiveChannel) {
	for {
		var next CommitterInput
		if !asked.ReceiveAsync(&next) {
			return
		}
		in.Stream, in.Every = cmp.Or(next.Stream, in.Stream), cmp.Or(next.Every, in.Every)
	}
}

func roundText(ctx workflow.Context, in CommitterInput, r activities.CommitReport, err error) string {
	at := workflow.Now(ctx).UTC().Format(time.DateTime)
	if err != nil && len(r.Failed) == 0 {
		return fmt.Sprintf("The round of %s failed, the next is in %s: %v", at, in.Every, err)
	}
	text := fmt.Sprintf("Round of %s: %d readings from %d segments in %d files; %d plans applied, %d discarded.", at,
		r.Rows, r.Segments, r.Files, r.Applied, r.Discarded)
	return text + partsText(r.Parts)
}

// partsText returns which parts of an activity failed and what was passed over.
func partsText(p activities.Parts) string {
	text := ""
	if len(p.Failed) > 0 {
		text += " Failed: " + strings.Join(p.Failed, "; ") + "."
	}
	if len(p.Passed) > 0 {
		text += " Passed over: " + strings.Join(p.Passed, "; ") + "."
	}
	return text
}

// TypeParts is the type of the error of a workflow of which parts failed while the rest was done. Its details hold the
// result.
const TypeParts = "PartsFailed"

// partsError returns the error of a workflow of which parts failed, or nil. Inspections look at the newest run of a
// schedule, so a failed part must fail the run.
func partsError(what string, p activities.Parts, result any) error {
	if len(p.Failed) == 0 {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(what+" failed in part, the rest is done: "+
		strings.Join(p.Failed, "; "), TypeParts, nil, result)
}

// Compact merges small files of the tables and notifies the Committer of the plans. A schedule runs it. When parts
// of it fail, it does the rest and then fails.
func Compact(ctx workflow.Context) (activities.CompactReport, error) {
	r, err := compact(ctx)
	if err == nil && r.FilesIn > 0 {
		err = notifyCommitter(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d files are to become %d.", r.FilesIn, r.FilesOut)+partsText(r.Parts))
		err = partsError("compaction", r.Parts, r)
	}
	return r, err
}

// Maintain removes orphaned files, truncates the landing log, and notifies the Committer of the plans to expire
// table snapshots and to drop days past retention. A schedule runs it. When parts of it fail, it does the rest and
// then fails.
func Maintain(ctx workflow.Context, stream string) (activities.MaintainReport, error) {
	r, err := maintain(ctx, stream)
	if err == nil {
		err = notifyCommitter(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d orphaned files removed, %d landing segments emptied, %d files "+
			"of days past retention to go.", r.Orphans, r.Tombstones, r.Dropped)+partsText(r.Parts))
		err = partsError("maintenance", r.Parts, r)
	}
	return r, err
}

// Ingest lands what a delivery stream has written since the last run, and notifies the Committer. A schedule runs it.
// When objects cannot be read, it lands all others and then fails with an error of the type [IngestIncomplete] that
// carries the ingest.Result.
func Ingest(ctx workflow.Context, stream string, from activities.DeliveryStream) (ingest.Result, error) {
	r, err := ingestFolder(ctx, stream, from)
	if err == nil && r.Objects+r.Readings+r.Quarantined > 0 {
		err = notifyCommitter(ctx)
	}
	if err != nil {
		return r, err
	}
	details := fmt.Sprintf("%d objects of %s: %d readings, %d passed over because they were there, %d values refused.",
		r.Objects, from.Prefix, r.Readings, r.Duplicates, r.Quarantined)
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

// notifyCommitter has the Committer commit at once. Without a Committer what it is to commit waits in the store.
func notifyCommitter(ctx workflow.Context) error {
	err := workflow.SignalExternalWorkflow(ctx, CommitterID, "", SignalCommit, CommitterInput{}).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	return nil
}
