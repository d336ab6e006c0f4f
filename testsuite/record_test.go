package testsuite

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	enums "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"fanwatch"
	"fanwatch/workflows"
)

var identity = regexp.MustCompile(`"identity":\s*"[^"]*"`)

// TestRecordHistories writes the histories that the replay test of package workflows replays. It runs by
// hand, when a workflow has changed in a way that running ones survive: FANWATCH_RECORD=1.
func TestRecordHistories(t *testing.T) {
	if os.Getenv("FANWATCH_RECORD") == "" {
		t.Skip("records new histories for workflows/testdata only with FANWATCH_RECORD=1")
	}
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-r", "--client", "old", "--min-rpm", "900")
	c := mustConnect(s, "fan-r", cert, key)
	at := time.Now().Add(-time.Minute)
	publish := func(rpm float64, n int) {
		for range n {
			at = at.Add(time.Second)
			demo(t, c, "fan-r", at, rpm)
		}
	}
	publish(1800, 10)
	publish(300, 3)
	a := s.openAlert("fan-r", 20*time.Second)
	s.until(time.Minute, "step two", func() (bool, string) { in := s.inbox("fan-r"); return len(in) > 3, "" })
	if _, err := s.cli("ack", a.ID, "--by", "ada"); err != nil {
		t.Fatal(err)
	}
	publish(1800, 10)
	s.until(time.Minute, "the end of the alert", func() (bool, string) { return len(ask[[]fanwatch.Alert](s, "alerts")) == 0, "" })
	tc := s.temporal()
	for name, id := range map[string]string{"fan": workflows.FanID("fan-r"), "stream": workflows.StreamID("fanwatch"), "committer": workflows.CommitterID, "shard": workflows.ShardID("fanwatch", "shardId-000000000000")} {
		record(t, tc, id, name)
	}
}

// record writes the history of a workflow to the testdata of package workflows. The alerts of there were recorded when
// their code was the newest; TestAnEscalationGetsThrough records that of today.
func record(t *testing.T, c client.Client, id, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var h historypb.History
	events := c.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	b, err := protojson.MarshalOptions{Indent: " "}.Marshal(&h)
	if err != nil {
		t.Fatal(err)
	}
	b = identity.ReplaceAll(b, []byte(`"identity": "recorder"`)) // it names the machine
	if err := os.WriteFile(filepath.Join("..", "workflows", "testdata", name+".json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
