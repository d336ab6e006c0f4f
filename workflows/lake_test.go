package workflows

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
	"fanwatch/lake"
)

type committerRun struct {
	*testsuite.TestWorkflowEnvironment
	lake    *activities.Lake
	rounds  []time.Duration // when each round began, from the start
	streams []string
	failing int // so many rounds fail for good
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
	env.OnActivity(r.lake.Commit, anything, anything).Return(func(_ context.Context, stream string) (activities.CommitReport, error) {
		r.rounds, r.streams = append(r.rounds, env.Now().Sub(opened).Round(time.Second)), append(r.streams, stream)
		if r.failing > 0 {
			r.failing--
			return activities.CommitReport{}, temporal.NewNonRetryableApplicationError("the catalog is gone", "Gone", nil)
		}
		return activities.CommitReport{Rows: 5}, nil
	})
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
	if in := r.run(t); in != (CommitterInput{"a", time.Minute}) {
		t.Errorf("goes on with %+v", in)
	}
	if len(r.rounds) != commitsPerRun || r.rounds[0] != 0 || r.rounds[1] != time.Minute || r.rounds[299] != 299*time.Minute {
		t.Errorf("%d rounds, at %v ...", len(r.rounds), r.rounds[:4])
	}
}

func TestCommitterMakesARoundWhenAsked(t *testing.T) {
	r := newCommitterRun(t)
	r.RegisterDelayedCallback(func() { r.SignalWorkflow(SignalCommit, nil) }, 90*time.Second)
	r.RegisterDelayedCallback(func() { r.SignalWorkflow(SignalCommit, CommitterInput{"b", 2 * time.Minute}) }, 160*time.Second)
	if in := r.run(t); in != (CommitterInput{"b", 2 * time.Minute}) {
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

// TestPlannersHandIn sees that a plan is handed to the Committer, that one who finds nothing keeps quiet, and
// that a lake without a Committer fails nobody.
func TestPlannersHandIn(t *testing.T) {
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
	r.OnActivity(r.lake.Ingest, anything, "readings", from).Return(lake.Ingested{Objects: 2, Readings: 7, PassedOver: 1, Passed: []lake.PassedOver{{Key: "firehose/x", Why: "it is a ZIP archive"}}}, nil).Once()
	r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(func(_, _, _, _ string, _ any) error { signals++; return nil })
	r.ExecuteWorkflow(Ingest, "readings", from)
	var failed *temporal.ApplicationError
	var got lake.Ingested
	if err := r.GetWorkflowError(); !errors.As(err, &failed) || failed.Type() != IngestIncomplete || failed.Message() != `ingest of firehose/: 1 object is not landed: "firehose/x": it is a ZIP archive` {
		t.Fatal(err)
	}
	if err := failed.Details(&got); err != nil || got.Readings != 7 || got.PassedOver != 1 || signals != 1 {
		t.Errorf("%+v, %d signals, %v", got, signals, err)
	}
}

// TestIngestHandsIn: what has landed is brought into the tables at once, and nothing is no reason to.
func TestIngestHandsIn(t *testing.T) {
	from := activities.DeliveryStream{Prefix: "firehose/", Bucket: "old", Zone: "Asia/Tokyo"}
	for objects, want := range map[int]int{0: 0, 3: 1} {
		r := newCommitterRun(t)
		signals := 0
		r.RegisterWorkflow(Ingest)
		r.OnActivity(r.lake.Ingest, anything, "readings", from).Return(lake.Ingested{Objects: objects, Readings: 100 * objects}, nil).Once()
		r.OnSignalExternalWorkflow("default-test-namespace", CommitterID, "", SignalCommit, anything).Return(func(_, _, _, _ string, _ any) error { signals++; return nil }).Maybe()
		r.ExecuteWorkflow(Ingest, "readings", from)
		var got lake.Ingested
		if err := errors.Join(r.GetWorkflowError(), r.GetWorkflowResult(&got)); err != nil || got.Readings != 100*objects || signals != want {
			t.Errorf("%d objects: %+v, %d signals, %v", objects, got, signals, err)
		}
	}
}
