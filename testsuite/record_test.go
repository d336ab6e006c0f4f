package testsuite

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	enums "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
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
	s.until(time.Minute, "the end of the alert",
		func() (bool, string) { return len(ask[[]fanwatch.Alert](s, "alerts")) == 0, "" })
	for name, id := range map[string]string{"committer": workflows.CommitterID, "shard": workflows.ShardID("fanwatch",
		"shardId-000000000000")} {
		s.record(name, id)
	}
}

// TestRecordFan3 is TestRecordHistories for the runs of Fan that began with the third version and of Stream with the
// second: a fan's whole life. The histories fan, fan-2 and stream in testdata are of earlier versions, which no program
// writes any more.
func TestRecordFan3(t *testing.T) {
	if os.Getenv("FANWATCH_RECORD") == "" {
		t.Skip("records new histories for workflows/testdata only with FANWATCH_RECORD=1")
	}
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-r", "--client", "old", "--min-rpm", "900", "--silence", "-1s")
	c := mustConnect(s, "fan-r", cert, key)
	at := time.Now().Add(-time.Minute)
	publish := func(c mqtt.Client, rpm float64, n int) {
		for range n {
			at = at.Add(time.Second)
			demo(t, c, "fan-r", at, rpm)
		}
	}
	publish(c, 1800, 10)
	publish(c, 300, 3)
	a := s.openAlert("fan-r", 20*time.Second)
	for _, args := range [][]string{{"ack", a.ID, "--by", "ada", "--normal"},
		{"configure", "fan-r", "--max-rpm", "2500"}, {"revoke", "fan-r"}} {
		if _, err := s.cli(args...); err != nil {
			t.Fatal(err)
		}
	}
	cert, key = s.provision("fan-r")
	publish(mustConnect(s, "fan-r", cert, key), 1800, 20)
	s.until(20*time.Second, "that it is normal", func() (bool, string) {
		return ask[fanwatch.FanStatus](s, "show", "fan-r").Last.Anomaly.Kind == fanwatch.KindNone, a.ID
	})
	s.until(2*time.Minute, "the end of the alert",
		func() (bool, string) { return len(ask[[]fanwatch.Alert](s, "alerts")) == 0, "" })
	if _, err := s.cli("ack", a.ID, "--by", "bob", "--fault"); err != nil {
		t.Fatal(err)
	}
	if err := s.temporal().SignalWorkflow(t.Context(), workflows.StreamID("fanwatch"), "", workflows.SignalShards,
		nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.cli("retire", "fan-r"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // rounds of the stream's workflow
	s.record("fan-3", workflows.FanID("fan-r"))
	s.record("stream-2", workflows.StreamID("fanwatch"))
}

// TestRecordFan4 is TestRecordHistories for a Fan that is suggested its hours, which are accepted.
func TestRecordFan4(t *testing.T) {
	if os.Getenv("FANWATCH_RECORD") == "" {
		t.Skip("records new histories for workflows/testdata only with FANWATCH_RECORD=1")
	}
	s := start(t, t.TempDir(), nil, "--fans", "0")
	s.suggests(t)
	if _, err := s.cli("retire", "fan-n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // the end of its alerts
	s.record("fan-4", workflows.FanID("fan-n"))
}

// TestRecordMaintenance is TestRecordHistories for a Maintenance that repeats, ends early and is cancelled.
func TestRecordMaintenance(t *testing.T) {
	if os.Getenv("FANWATCH_RECORD") == "" {
		t.Skip("records new histories for workflows/testdata only with FANWATCH_RECORD=1")
	}
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-r", "--min-rpm", "900", "--silence", "-1s")
	c := mustConnect(s, "fan-r", cert, key)
	for n := range 3 {
		demo(t, c, "fan-r", time.Now().Add(time.Duration(n-5)*time.Second), 300)
	}
	s.openAlert("fan-r", 20*time.Second)
	m := ask[fanwatch.MaintenanceStatus](s, "maintenance", "add", "--fan", "fan-r", "--for", "1h", "--repeat", "daily",
		"--by", "ada", "--why", "filters")
	time.Sleep(5 * time.Second) // its beginning
	ask[fanwatch.MaintenanceStatus](s, "maintenance", "end", m.ID, "--by", "ada")
	s.until(time.Minute, "the summary", func() (bool, string) {
		all := s.inbox("fan-r")
		return len(all) > 0 && strings.Contains(all[len(all)-1], "has ended"), strings.Join(all, "\n")
	})
	ask[fanwatch.MaintenanceStatus](s, "maintenance", "end", m.ID, "--by", "ada")
	time.Sleep(2 * time.Second)
	s.record("maintenance", m.ID)
}

// record writes the history of the newest run.
func (s *system) record(name, id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var h historypb.History
	events := s.temporal().GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	b, err := protojson.MarshalOptions{Indent: " "}.Marshal(&h)
	if err != nil {
		s.t.Fatal(err)
	}
	b = identity.ReplaceAll(b, []byte(`"identity": "recorder"`)) // it names the machine
	if err := os.WriteFile(filepath.Join("..", "workflows", "testdata", name+".json"), b, 0o644); err != nil {
		s.t.Fatal(err)
	}
}
