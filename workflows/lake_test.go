package workflows

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
	"fanwatch/lake/ingest"
)

type committerRun struct {
	*testsuite.TestWorkflowEnvironment
	lake    *activities.Lake
	rounds  []time.Duration // when each round began, from the start
	streams []string
	failing int // so many rounds fail for good
	partly  int // of so many rounds behind these a part fails
	memos   []CommitterState
	shown   []time.Duration // when each was shown
}

func (in CommitterInput) settings() CommitterInput {
	return CommitterInput{Stream: in.Stream, Every: in.Every}
}

func newCommitterRun(t *testing.T) *committerRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	env.SetStartTime(opened)
	r := &committerRun{TestWorkflowEnvironment: env, lake: &activities.Lake{}}
	env.RegisterWorkflow(Committer)
	env.RegisterActivity(r.lake)
	env.OnActivity(r.lake.Commit, anything, anything).Return(func(_ context.Context,
		stream string) (activities.CommitReport, error) {
		r.rounds, r.streams = append(r.rounds, env.Now().Sub(opened).Round(time.Second)), append(r.streams, stream)
		if r.failing > 0 {
			r.failing--
			return activities.CommitReport{}, temporal.NewNonRetryableApplicationError("the catalog is gone", "Gone", nil)
		}
		if r.partly > 0 {
			r.partly--
			return activities.CommitReport{Rows: 5,
				Parts: activities.Parts{Failed: []string{"table quarantine: its metadata is gone"}}}, nil
		}
		return activities.CommitReport{Rows: 5}, nil
	})
	env.OnUpsertMemo(anything).Return(nil).Run(func(args mock.Arguments) {
		r.memos, r.shown = append(r.memos, args.Get(0).(map[string]any)[MemoCommitter].(CommitterState)),
			append(r.shown, env.Now().Sub(opened).Round(time.Second))
	}).Maybe()
	return r
}

// run lets the Committer make all rounds of a run and gives the input of the next.
func (r *committerRun) run(t *testing.T) CommitterInput {
	t.Helper()
	r.ExecuteWorkflow(Committer, CommitterInput{Stream: "a"})
	var next *workflow.ContinueAsNewError
	if !asContinue(r.GetWorkflowError(), &next) {
		t.Fatalf("ended by %v", r.GetWorkflowError())
	}
	var in CommitterInput
	if err := decode(next, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestCommitterMakesARoundAMinute(t *testing.T) {
	r := newCommitterRun(t)
	r.failing = 3
	if in := r.run(t); in.settings() != (CommitterInput{Stream: "a", Every: time.Minute}) {
		t.Errorf("goes on with %+v", in)
	}
	if len(r.rounds) != commitsPerRun || r.rounds[0] != 0 || r.rounds[1] != time.Minute ||
		r.rounds[299] != 299*time.Minute {
		t.Errorf("%d rounds, at %v ...", len(r.rounds), r.rounds[:4])
	}
}

// TestTheCommitterSaysHowItDoes: its memo says at once that rounds fail, or parts of them, since when and why, and
// that they are normal again; and while nothing changes it is a few minutes old.
func TestTheCommitterSaysHowItDoes(t *testing.T) {
	r := newCommitterRun(t)
	r.failing, r.partly = 2, 2
	in := r.run(t)
	if len(r.memos) < 5 || r.shown[0] != 0 || r.shown[1] != 4*time.Minute || r.shown[2] != 9*time.Minute {
		t.Fatalf("shown at %v", r.shown)
	}
	if m := r.memos[0]; m.V != 1 || !m.Failed.Equal(opened) || !m.Done.IsZero() || m.Why != "the catalog is gone" {
		t.Errorf("%+v", m)
	}
	if m := r.memos[1]; !m.Failed.IsZero() || m.Why != "" || !m.Done.Equal(opened.Add(4*time.Minute)) {
		t.Errorf("%+v", m)
	}
	if in.State.Done.IsZero() || !in.State.Failed.IsZero() {
		t.Errorf("goes on with %+v", in)
	}
	parts := newCommitterRun(t)
	parts.partly = 1000
	parts.run(t)
	if m := parts.memos[len(parts.memos)-1]; !m.Failed.Equal(opened) || m.Why != "table quarantine: its metadata is gone" {
		t.Errorf("%+v", m)
	}
}

func TestCommitterMakesARoundWhenAsked(t *testing.T) {
	r := newCommitterRun(t)
	r.RegisterDelayedCallback(func() { r.SignalWorkflow(SignalCommit, nil) }, 90*time.Second)
	r.RegisterDelayedCallback(func() {
		r.SignalWorkflow(SignalCommit, CommitterInput{Stream: "b",
			Every: 2 * time.Minute})
	}, 160*time.Second)
	if in := r.run(t); in.settings() != (CommitterInput{Stream: "b", Every: 2 * time.Minute}) {
		t.Errorf("goes on with %+v", in)
	}
	want := []time.Duration{0, time.Minute, 90 * time.Second, 150 * time.Second, 160 * time.Second, 280 * time.Second}
	for i, at := range want {
		if r.rounds[i] != at {
			t.Fatalf("rounds at %v, want %v", r.rounds[:len(want)], want)
		}
	}
	if r.streams[3] != "a" || r.streams[4] != "b" {
		t.Errorf("streams %v", r.streams[:6])
	}
}

func TestCommitterEndsWhenCancelled(t *testing.T) {
	r := newCommitterRun(t)
	r.RegisterDelayedCallback(r.CancelWorkflow, 90*time.Second)
	r.ExecuteWorkflow(Committer, CommitterInput{Stream: "a"})
	if err := r.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "cancel") || len(r.rounds) != 2 {
		t.Errorf("%v after %d rounds", err, len(r.rounds))
	}
}

// TestPlannersNotifyTheCommitter sees that a plan is signalled to the Committer, that finding nothing signals
// nothing, and that without a Committer nothing fails.
func TestPlannersNotifyTheCommitter(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   int
		signals int
		gone    error
	}{{"a plan", 5, 1, nil}, {"nothing to merge", 0, 0, nil}, {"no committer", 5, 1, errors.New("there is none")}} {
		t.Run(c.name, func(t *testing.T) {
			r := newCommitterRun(t)
			signals := 0
			r.RegisterWorkflow(Compact)
			r.OnActivity(r.lake.Compact, anything).Return(activities.CompactReport{FilesIn: c.files, FilesOut: 1}, nil)
			r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(
				func(_, _, _, _ string, _ any) error { signals++; return c.gone }).Maybe()
			r.ExecuteWorkflow(Compact)
			if err := r.GetWorkflowError(); err != nil || signals != c.signals {
				t.Errorf("%d signals, %v", signals, err)
			}
		})
	}
}

// TestIngestSaysWhatIsNotLanded, and has what is landed brought into the tables before it fails.
func TestIngestSaysWhatIsNotLanded(t *testing.T) {
	r := newCommitterRun(t)
	signals := 0
	from := activities.DeliveryStream{Prefix: "firehose/"}
	r.RegisterWorkflow(Ingest)
	r.OnActivity(r.lake.Ingest, anything, "readings", from).Return(ingest.Result{Objects: 2, Readings: 7, PassedOver: 1,
		Passed: []ingest.PassedOver{{Key: "firehose/x", Why: "it is a ZIP archive"}}}, nil).Once()
	r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(func(_, _, _,
		_ string, _ any) error {
		signals++
		return nil
	})
	r.ExecuteWorkflow(Ingest, "readings", from)
	var failed *temporal.ApplicationError
	var got ingest.Result
	if err := r.GetWorkflowError(); !errors.As(err, &failed) || failed.Type() != IngestIncomplete ||
		failed.Message() != `ingest of firehose/: 1 object is not landed: "firehose/x": it is a ZIP archive` {
		t.Fatal(err)
	}
	if err := failed.Details(&got); err != nil || got.Readings != 7 || got.PassedOver != 1 || signals != 1 {
		t.Errorf("%+v, %d signals, %v", got, signals, err)
	}
}

// TestPartsThatFailEndTheRun: compaction and maintenance do what they can, hand it in, and then fail, with the parts
// named.
func TestPartsThatFailEndTheRun(t *testing.T) {
	failed := activities.Parts{Failed: []string{"table readings: day 2026-03-01: a file"}}
	for name, start := range map[string]func(r *committerRun){
		"compact": func(r *committerRun) {
			r.OnActivity(r.lake.Compact, anything).Return(activities.CompactReport{FilesIn: 5, FilesOut: 1, Parts: failed}, nil)
			r.ExecuteWorkflow(Compact)
		},
		"maintain": func(r *committerRun) {
			r.OnActivity(r.lake.Maintain, anything, "a").Return(activities.MaintainReport{Orphans: 2, Parts: failed}, nil)
			r.ExecuteWorkflow(Maintain, "a")
		},
	} {
		r := newCommitterRun(t)
		signals := 0
		r.RegisterWorkflow(Compact)
		r.RegisterWorkflow(Maintain)
		r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(func(_, _, _,
			_ string, _ any) error {
			signals++
			return nil
		})
		start(r)
		if err := r.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "day 2026-03-01: a file") ||
			signals != 1 {
			t.Errorf("%s: %v, %d signals", name, err, signals)
		}
	}
}

// TestIngestNotifiesTheCommitter: what has landed is brought into the tables at once, and nothing is no reason to.
func TestIngestNotifiesTheCommitter(t *testing.T) {
	from := activities.DeliveryStream{Prefix: "firehose/", Bucket: "old", Zone: "Asia/Tokyo"}
	for objects, want := range map[int]int{0: 0, 3: 1} {
		r := newCommitterRun(t)
		signals := 0
		r.RegisterWorkflow(Ingest)
		r.OnActivity(r.lake.Ingest, anything, "readings", from).Return(ingest.Result{Objects: objects,
			Readings: 100 * objects}, nil).Once()
		r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(func(_, _, _,
			_ string, _ any) error {
			signals++
			return nil
		}).Maybe()
		r.ExecuteWorkflow(Ingest, "readings", from)
		var got ingest.Result
		if err := errors.Join(r.GetWorkflowError(), r.GetWorkflowResult(&got)); err != nil || got.Readings != 100*objects ||
			signals != want {
			t.Errorf("%d objects: %+v, %d signals, %v", objects, got, signals, err)
		}
	}
}
