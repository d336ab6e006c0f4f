package testsuite

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/workflows"
)

// sound waits until nothing is on its way and fails unless fanwatch lake verify finds no fault.
func (s *system) sound() lake.Verdict {
	s.t.Helper()
	out, err := s.cli("lake", "verify", "--json")
	var v lake.Verdict
	if jsonErr := json.Unmarshal([]byte(out), &v); err != nil || jsonErr != nil || !v.OK {
		s.t.Fatalf("verify: %v, %v\n%s", err, v.Faults, out)
	}
	return v
}

type lakeState struct {
	Tables []lake.Status
	Lags   []lake.Lag
}

func TestLakeOfARunningSystem(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 300)
	p.rpm = 300
	p.publish(s, 100)
	s.openAlert(p.fan, 30*time.Second)
	p.rpm = 1800
	s.until(2*time.Minute, "the alert in the table", func() (bool, string) {
		p.publish(s, 20)
		var st lakeState
		out, err := s.cli("lake", "status", "--json")
		if err == nil {
			err = json.Unmarshal([]byte(out), &st)
		}
		if err != nil {
			return false, err.Error() // nothing has landed yet
		}
		return st.Tables[3].Rows == 1 && st.Tables[1].Rows >= 100, fmt.Sprintf("%+v", st.Tables)
	})
	s.reconciled(p.fan, int(p.acked))
	v := s.sound()
	if v.Compared != int(p.acked) || v.Tables[0].Rows != int64(p.acked) {
		t.Errorf("compared %d readings of %d, the table has %d", v.Compared, p.acked, v.Tables[0].Rows)
	}
	for command, want := range map[string]string{"status": "append", "verify": "the lake is sound"} {
		out, err := s.cli("lake", command)
		if err != nil || !strings.Contains(out, "fanwatch.readings") || !strings.Contains(out, want) {
			t.Errorf("lake %s: %v\n%s", command, err, out)
		}
		t.Logf("lake %s\n%s", command, out)
	}
	buckets := ask[[]struct {
		Readings  int
		Min, Mean float64
		Anomaly   string
	}](s, "lake", "query", p.fan, "--from", "15m", "--points", "20000")
	n := 0
	slow := false
	for _, b := range buckets {
		n += b.Readings
		slow = slow || b.Mean < 400 && b.Anomaly != ""
	}
	if n != int(p.acked) || len(buckets) > 20000 || !slow {
		t.Errorf("%d readings in %d points, of %d: %+v", n, len(buckets), p.acked, buckets)
	}
	out, err := s.cli("lake", "export", "--format", "csv")
	if lines := strings.Count(out, "\n"); err != nil || lines != int(p.acked)+1 {
		t.Errorf("exported %d lines, %v", lines, err)
	}
	if out, err = s.cli("lake", "export", "--table", "alerts", "--format", "ndjson"); err != nil || !strings.Contains(out, `"fan_id":"`+p.fan+`"`) {
		t.Errorf("alerts: %s, %v", out, err)
	}
	if _, err = s.cli("lake", "export", "--fan", p.fan, "--out", filepath.Join(t.TempDir(), "x.parquet")); err != nil {
		t.Error(err)
	}
}

// s3 gives the bucket through the S3 server.
func (s *system) s3() lake.Store {
	s.t.Helper()
	text, err := os.ReadFile(s.Keys)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := strings.Fields(string(text))
	cfg, err := cloud.Config(s.t.Context(), cloud.Settings{Region: s.Region, Local: true, AccessKey: keys[0], SecretKey: keys[1], Endpoints: []string{s.S3}})
	if err != nil {
		s.t.Fatal(err)
	}
	return cloud.NewS3(cfg, s.S3, s.Bucket)
}

// TestADifferenceWakesSomebody gives one reading of the landing log another number, so that the table lacks one
// and has one too many, and wants an alert; and its end when the log is as it was.
func TestADifferenceWakesSomebody(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 200)
	s.reconciled(p.fan, 200)
	store := s.s3()
	logs, err := lake.Logs(t.Context(), store, "fanwatch")
	if err != nil {
		t.Fatal(err)
	}
	var sound lake.Segment
	at := -1
	for _, l := range logs {
		if err := l.Walk(t.Context(), "0", func(seg lake.Segment) error {
			if i := slices.IndexFunc(seg.Rows, func(r fanwatch.Row) bool { return r.Kind == fanwatch.Scored }); i >= 0 {
				sound, at = seg, i
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(seg lake.Segment) {
		t.Helper()
		data, err := lake.EncodeSegment(&seg)
		if err == nil {
			err = store.Put(t.Context(), fmt.Sprintf("landing/stream=fanwatch/shard=%s/after=%s.parquet", seg.Shard, seg.After.Pad()), data, false)
		}
		if err == nil {
			err = s.temporal().ScheduleClient().GetHandle(t.Context(), workflows.ScheduleCount).Trigger(t.Context(), client.ScheduleTriggerOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	spoilt := sound
	spoilt.Rows = slices.Clone(sound.Rows)
	spoilt.Rows[at].Seq += 1_000_000
	put(spoilt)
	a := s.openAlert(p.fan, 60*time.Second)
	if a.Kind != fanwatch.Difference || !strings.Contains(a.Why, "1 in the landing log and due, but not in the table") {
		t.Errorf("%+v", a)
	}
	out, err := s.cli("reconcile", "--by-hour", "--json")
	if err == nil || !strings.Contains(out, `"lost": 1`) {
		t.Errorf("by hour: %v\n%s", err, out)
	}
	if out, err = s.cli("lake", "verify"); err == nil || !strings.Contains(out, "FAULT: fan-k") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	put(sound)
	s.until(60*time.Second, "the end of the alert", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		return len(alerts) == 0, fmt.Sprint(alerts)
	})
	s.sound()
}

// TestIngestOfADeliveryStream lands an object as Firehose leaves it, twice over, and finds it in the table once.
func TestIngestOfADeliveryStream(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, `{"TIME":"2026-03-01T00:%02d:%02d","FANID":"ABC123456","FREQ":60,"RPM":1800}`, i/60, i%60)
	}
	if err := s.s3().Put(t.Context(), "firehose/2026/03/01/00/fans-1-2026-03-01-00-05-00-x", []byte(text.String()+"rubbish"), true); err != nil {
		t.Fatal(err)
	}
	if r := ask[lake.Ingested](s, "lake", "ingest", "firehose/"); r != (lake.Ingested{Objects: 1, Readings: 500, Quarantined: 1}) {
		t.Fatalf("%+v", r)
	}
	if r := ask[lake.Ingested](s, "lake", "ingest", "firehose/"); r != (lake.Ingested{}) {
		t.Fatalf("again: %+v", r)
	}
	s.reconciled("ABC123456", 500)
	s.sound()
}
