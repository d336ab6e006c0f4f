package servers_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// greet waits for a name by update or signal and greets.
func greet(ctx workflow.Context) (string, error) {
	name := ""
	err := workflow.SetUpdateHandler(ctx, "name", func(_ workflow.Context, n string) (int, error) {
		name = n
		return len(n), nil
	})
	if err != nil {
		return "", err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		workflow.GetSignalChannel(ctx, "name").Receive(ctx, &name)
	})
	err = workflow.Await(ctx, func() bool { return name != "" })
	return "hello " + name, err
}

func TestTemporalGoesOnAfterKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"--db", filepath.Join(t.TempDir(), "temporal.db"), "--port", "0", "--search-attribute",
		"TestFan=Keyword"}
	fan := temporal.NewSearchAttributeKeyKeyword("TestFan")

	p := start(t, "temporal", args...)
	c, stop := connect(t, p)
	started := client.StartWorkflowOptions{ID: "a", TaskQueue: "q",
		TypedSearchAttributes: temporal.NewSearchAttributes(fan.ValueSet("fan-01"))}
	waiting, err := c.ExecuteWorkflow(ctx, started, greet)
	if err != nil {
		t.Fatal(err)
	}
	if got := finish(ctx, t, c, "b", "Ada"); got != "hello Ada" {
		t.Fatalf("got %q", got)
	}
	ns, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "fanwatch"})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); got != 72*time.Hour {
		t.Errorf("retention %s, want 72h", got)
	}
	p.kill()
	stop()

	// The second start also adds a search attribute to the namespace that exists by now.
	p = start(t, "temporal", append(args, "--search-attribute", "TestOpened=Datetime")...)
	c, stop = connect(t, p)
	defer stop()
	if err := c.SignalWorkflow(ctx, waiting.GetID(), waiting.GetRunID(), "name", "Bob"); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := c.GetWorkflow(ctx, waiting.GetID(), waiting.GetRunID()).Get(ctx, &got); err != nil || got != "hello Bob" {
		t.Errorf("got %q, %v after the kill", got, err)
	}
	if err := c.GetWorkflow(ctx, "b", "").Get(ctx, &got); err != nil || got != "hello Ada" {
		t.Errorf("the closed workflow says %q, %v after the kill", got, err)
	}
	opened := temporal.NewSearchAttributeKeyTime("TestOpened")
	started.ID, started.TypedSearchAttributes = "c", temporal.NewSearchAttributes(opened.ValueSet(time.Unix(1e9, 0)))
	if _, err := c.ExecuteWorkflow(ctx, started, greet); err != nil {
		t.Errorf("a search attribute that was added later: %v", err)
	}
	for query, want := range map[string]int64{`TestFan = "fan-01"`: 1, `TestOpened > "2001-01-01T00:00:00Z"`: 1} {
		if n := count(ctx, t, c, query, want); n != want {
			t.Errorf("%s finds %d workflows, want %d", query, n, want)
		}
	}

	// No attribute may change its type.
	p.kill()
	said := refused(t, "temporal", append(args[:4:4], "--log-level", "error", "--search-attribute", "TestFan=Int")...)
	if !strings.Contains(said, "TestFan exists as Keyword") {
		t.Errorf("another type was answered with %q", said)
	}
}

func TestTemporalOneServerPerFile(t *testing.T) {
	args := []string{"--db", filepath.Join(t.TempDir(), "temporal.db"), "--port", "0"}
	start(t, "temporal", args...)
	if said := refused(t, "temporal", args...); !strings.Contains(said, "another process has it open") {
		t.Errorf("a second server on the same file was told %q", said)
	}
}

func TestTemporalWebUI(t *testing.T) {
	// a free one
	p := start(t, "temporal", "--db", filepath.Join(t.TempDir(), "temporal.db"), "--port", "0", "--ui-port", "-1")
	for path, want := range map[string]string{"/": "<!doctype html>", "/api/v1/namespaces/fanwatch": `"name":"fanwatch"`} {
		resp, err := http.Get("http://" + p.ready["ui"] + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK ||
			!strings.Contains(strings.ToLower(strings.ReplaceAll(string(body), `": "`, `":"`)), want) {
			t.Errorf("%s: status %d, %v, %.300s", path, resp.StatusCode, err, body)
		}
	}
}

// connect returns a client with a worker on task queue q; stop ends both.
func connect(t *testing.T, p *process) (c client.Client, stop func()) {
	t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: p.ready["addr"], Namespace: p.ready["namespace"],
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(c, "q", worker.Options{})
	w.RegisterWorkflow(greet)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	return c, func() { w.Stop(); c.Close() }
}

// finish runs one workflow to its end through update-with-start.
func finish(ctx context.Context, t *testing.T, c client.Client, id, name string) (greeting string) {
	t.Helper()
	h, err := c.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: c.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID: id, TaskQueue: "q", WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		}, greet),
		UpdateOptions: client.UpdateWorkflowOptions{UpdateName: "name", Args: []any{name},
			WaitForStage: client.WorkflowUpdateStageCompleted},
	})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := h.Get(ctx, &n); err != nil || n != len(name) {
		t.Fatalf("the update says %d, %v", n, err)
	}
	if err := c.GetWorkflow(ctx, id, "").Get(ctx, &greeting); err != nil {
		t.Fatal(err)
	}
	return greeting
}

// count polls a visibility query, which follows the workflows after a moment, until it finds want.
func count(ctx context.Context, t *testing.T, c client.Client, query string, want int64) int64 {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if resp.GetCount() == want || time.Now().After(deadline) {
			return resp.GetCount()
		}
	}
}
