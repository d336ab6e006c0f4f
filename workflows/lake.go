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

// CommitterInput names the stream whose landing log feeds the tables, and how often.
type CommitterInput struct {
	Stream string        `json:"stream"`
	Every  time.Duration `json:"every"` // 0 = 1 min

	State CommitterState `json:"state,omitzero"` // from one run to the next; signals do not have it
}

// CommitterStateVersion is the version of CommitterState that this program writes.
const CommitterStateVersion = 1

// CommitterState is how the Committer does, in its memo. While all goes well it is at most stateEvery and a round old.
type CommitterState struct {
	V      int       `json:"v"`
	Done   time.Time `json:"done,omitzero"`   // the end of the last good round; zero: there was none
	Failed time.Time `json:"failed,omitzero"` // since when rounds fail, or parts of them; zero: they do not
	Why    string    `json:"why,omitempty"`   // of the newest failure, in one line
}

// commitsPerRun is how many rounds a Committer makes before it continues as new: a round costs eleven events.
const commitsPerRun = 300

// stateEvery is how old the Committer's memo may become while nothing changes.
const stateEvery = 5 * time.Minute

// Committer is the only one that changes the lake's tables. Its workflow ID is one per lake, so there is
// never a second; even an attempt of its activity that Temporal has given up, and that lives on, cannot do
// harm, for every change states which version of the table it was made for. In each round it brings the new
// segments of the landing log into the tables, and then applies the plans that compaction and maintenance
// have left in the Store. Long work is theirs: a merge delays no commit.
//
// A round that fails, or a part of it, is told in the details and the memo, and made again at its next time.
// SignalCommit makes a round at once, and changes the input.
func Committer(ctx workflow.Context, in CommitterInput) error {
	in.Every = cmp.Or(in.Every, time.Minute)
	asked := workflow.GetSignalChannelWithOptions(ctx, SignalCommit, workflow.SignalChannelOptions{
		Description: "Make a round now: there is a plan to apply. Input: nothing, or {\"stream\": ..., \"every\": " +
			"nanoseconds} to change the settings"})
	in.take(asked) // the settings with which it was started
	var shown time.Time
	for range commitsPerRun {
		r, err := commit(ctx, in.Stream)
		if temporal.IsCanceledError(err) {
			return err
		}
		if err == nil {
			err = r.Err()
		}
		workflow.SetCurrentDetails(ctx, told(ctx, in, r, err))
		if shown, err = in.State.show(ctx, shown, err); err != nil {
			return err
		}
		if err := in.wait(ctx, asked); err != nil {
			return err
		}
	}
	in.take(asked)
	return workflow.NewContinueAsNewError(ctx, Committer, in)
}

// show takes a round's outcome in, and puts the state into the memo when it has changed from good to bad or back, or
// was shown too long ago. It gives when it was shown last. Runs that began before there was a memo go on without.
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

// cause returns what an activity's error says, without Temporal's names and numbers around it.
func cause(err error) string {
	var said *temporal.ApplicationError
	if errors.As(err, &said) {
		return said.Message()
	}
	return err.Error()
}

// wait lets the time of one round pass, or less when a signal asks for a commit.
func (in *CommitterInput) wait(ctx workflow.Context, asked workflow.ReceiveChannel) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: in.Every,
		TimerOptions: workflow.TimerOptions{Summary: "until the next round"}},
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
	if err != nil && len(r.Failed) == 0 {
		return fmt.Sprintf("The round of %s failed, the next is in %s: %v", at, in.Every, err)
	}
	text := fmt.Sprintf("Round of %s: %d readings from %d segments in %d files; %d plans applied, %d discarded.", at,
		r.Rows, r.Segments, r.Files, r.Applied, r.Discarded)
	return text + partly(r.Parts)
}

// partly says which parts of a work failed and what was passed over.
func partly(p activities.Parts) string {
	text := ""
	if len(p.Failed) > 0 {
		text += " Failed: " + strings.Join(p.Failed, "; ") + "."
	}
	if len(p.Passed) > 0 {
		text += " Passed over: " + strings.Join(p.Passed, "; ") + "."
	}
	return text
}

// TypeParts is the type of the error with which a workflow ends that did what it could while parts of its work
// failed. Its details hold the result.
const TypeParts = "PartsFailed"

// ended returns the error of a work of which parts failed, or nil. What the schedule's last run came to is what people
// and programs look at.
func ended(what string, p activities.Parts, result any) error {
	if len(p.Failed) == 0 {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(what+" failed in part, the rest is done: "+
		strings.Join(p.Failed, "; "), TypeParts, nil, result)
}

// Compact merges small files of the tables and hands the plans to the Committer. A schedule runs it. It fails at its
// end where parts of it did.
func Compact(ctx workflow.Context) (activities.CompactReport, error) {
	r, err := compact(ctx)
	if err == nil && r.FilesIn > 0 {
		err = handIn(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d files are to become %d.", r.FilesIn, r.FilesOut)+partly(r.Parts))
		err = ended("compaction", r.Parts, r)
	}
	return r, err
}

// Maintain removes what the lake no longer needs: orphaned files, the rows of landing segments past retention;
// and hands the Committer the plans to drop snapshots and days past retention. A schedule runs it. It fails at its
// end where parts of it did.
func Maintain(ctx workflow.Context, stream string) (activities.MaintainReport, error) {
	r, err := maintain(ctx, stream)
	if err == nil {
		err = handIn(ctx)
	}
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d orphaned files removed, %d landing segments emptied, %d files "+
			"of days past retention to go.", r.Orphans, r.Tombstones, r.Dropped)+partly(r.Parts))
		err = ended("maintenance", r.Parts, r)
	}
	return r, err
}

// Ingest lands what a delivery stream has written since the last time, and asks the Committer to bring it into the
// tables. A schedule runs it. Objects that are not landed, for they cannot be read, are told in the details and fail
// the workflow once all others are: its error is of the type IngestIncomplete and carries the ingest.Result.
func Ingest(ctx workflow.Context, stream string, from activities.DeliveryStream) (ingest.Result, error) {
	r, err := ingestFolder(ctx, stream, from)
	if err == nil && r.Objects+r.Readings+r.Quarantined > 0 {
		err = handIn(ctx)
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

// handIn tells the Committer that there is something for it. Without a Committer that waits in the Store.
func handIn(ctx workflow.Context) error {
	err := workflow.SignalExternalWorkflow(ctx, CommitterID, "", SignalCommit, CommitterInput{}).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	return nil
}
