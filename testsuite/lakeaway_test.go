package testsuite

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"

	"fanwatch"
	"fanwatch/workflows"
)

// TestALakeThatIsAwayKeepsNothingFromStarting deletes the newest metadata of the table of readings and starts the
// system again: a fan that drags is told of all the same, the committer's memo and the CLI name the table, and when
// the file is back all that landed meanwhile is in the table once.
func TestALakeThatIsAwayKeepsNothingFromStarting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 200)
	s.reconciled(p.fan, 200)
	s.kill()

	files, err := filepath.Glob(filepath.Join(dir, "s3", "*", "tables", "fanwatch", "readings", "metadata",
		"*.metadata.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	slices.Sort(files) // their names begin with their number
	newest := files[len(files)-1]
	if err := os.Rename(newest, newest+".away"); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, nil, "--fans", "0")
	p.rpm = 300
	p.publish(s, 100)
	if a := s.openAlert(p.fan, 30*time.Second); a.Kind != fanwatch.KindUnderspeed {
		t.Errorf("%+v", a)
	}
	var state workflows.CommitterState
	s.until(60*time.Second, "the committer's word", func() (bool, string) {
		d, err := s.temporal().DescribeWorkflowExecution(context.Background(), workflows.CommitterID, "")
		if err != nil {
			return false, err.Error()
		}
		memo := d.GetWorkflowExecutionInfo().GetMemo().GetFields()[workflows.MemoCommitter]
		if memo == nil {
			return false, "no memo"
		}
		err = converter.GetDefaultDataConverter().FromPayload(memo, &state)
		return err == nil && !state.Failed.IsZero(), state.Why
	})
	if !strings.Contains(state.Why, "table fanwatch.readings") {
		t.Errorf("%+v", state)
	}
	for _, args := range [][]string{{"lake", "status"}, {"reconcile"}} {
		if out, err := s.cli(args...); err == nil || !strings.Contains(err.Error(), "table fanwatch.readings: load") {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	if err := os.Rename(newest+".away", newest); err != nil {
		t.Fatal(err)
	}
	s.reconciled(p.fan, int(p.acked))
	s.sound()
}
