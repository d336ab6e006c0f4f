package testsuite

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/workflows"
)

// sound waits until nothing is on its way and fails unless fanwatch lake verify finds no fault.
func (s *system) sound() lake.VerifyReport {
	s.t.Helper()
	out, err := s.cli("lake", "verify", "--json")
	var v lake.VerifyReport
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
	begin := time.Now().UTC().Truncate(time.Microsecond)
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
	s.inPoints(p, begin)
	out, err := s.cli("lake", "export", "--format", "csv")
	if lines := strings.Count(out, "\n"); err != nil || lines != int(p.acked)+1 {
		t.Errorf("exported %d lines, %v", lines, err)
	}
	if out, err = s.cli("lake", "export", "--table", "alerts", "--format", "ndjson"); err != nil ||
		!strings.Contains(out, `"fan_id":"`+p.fan+`"`) {
		t.Errorf("alerts: %s, %v", out, err)
	}
	if _, err = s.cli("lake", "export", "--fan", p.fan, "--out", filepath.Join(t.TempDir(), "x.parquet")); err != nil {
		t.Error(err)
	}
}

// inPoints asks for all of the publisher's readings, published from begin on, and for the same in 50 points: these
// are what the readings of each fiftieth of the time come to.
func (s *system) inPoints(p *publisher, begin time.Time) {
	s.t.Helper()
	type point struct {
		From           time.Time
		Readings       int
		Min, Mean, Max float64
		Anomaly        string
	}
	const points = 50
	part := time.Since(begin).Truncate(points*time.Microsecond)/points + time.Microsecond
	query := func(points int) []point {
		s.t.Helper()
		return ask[[]point](s, "lake", "query", p.fan, "--from", begin.Format(time.RFC3339Nano), "--to",
			begin.Add(50*part).Format(time.RFC3339Nano), "--points", fmt.Sprint(points))
	}
	every := query(0)
	if len(every) != int(p.acked) {
		s.t.Errorf("%d readings of %d", len(every), p.acked)
	}
	var want []point
	for _, r := range every {
		from := begin.Add(r.From.Sub(begin) / part * part)
		if len(want) == 0 || want[len(want)-1].From != from {
			want = append(want, point{From: from, Min: r.Min, Max: r.Max})
		}
		w := &want[len(want)-1]
		w.Readings, w.Min, w.Max, w.Anomaly = w.Readings+1, min(w.Min, r.Min), max(w.Max, r.Max), cmp.Or(r.Anomaly, w.Anomaly)
		w.Mean += (r.Mean - w.Mean) / float64(w.Readings)
	}
	got := query(points)
	same := func(a, b point) bool {
		return a.From.Equal(b.From) && a.Readings == b.Readings && a.Min == b.Min && a.Max == b.Max &&
			a.Anomaly == b.Anomaly && math.Abs(a.Mean-b.Mean) < 1e-6
	}
	if len(got) > points || len(got) < 5 || !slices.EqualFunc(got, want, same) {
		s.t.Errorf("%d points of %d readings: %+v, want %+v", len(got), len(every), got, want)
	}
	slow := slices.ContainsFunc(got, func(g point) bool { return g.Min < 400 && g.Anomaly != "" })
	if !slow || !slices.ContainsFunc(got, func(g point) bool { return g.Max > 1700 }) {
		s.t.Errorf("the extremes are lost: %+v", got)
	}
}

// s3 gives the bucket through the S3 server.
func (s *system) s3() objstore.Store {
	s.t.Helper()
	text, err := os.ReadFile(s.Keys)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := strings.Fields(string(text))
	cfg, err := cloud.Config(s.t.Context(), cloud.Settings{Region: s.Region, Local: true, AccessKey: keys[0],
		SecretKey: keys[1], Endpoints: []string{s.S3}})
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
	logs, err := landing.Logs(t.Context(), store, "fanwatch")
	if err != nil {
		t.Fatal(err)
	}
	var sound landing.Segment
	at := -1
	for _, l := range logs {
		if err := l.Walk(t.Context(), "0", func(seg landing.Segment) error {
			if i := slices.IndexFunc(seg.Rows, func(r fanwatch.Row) bool { return r.Kind == fanwatch.RowScored }); i >= 0 {
				sound, at = seg, i
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(seg landing.Segment) {
		t.Helper()
		data, err := landing.EncodeSegment(&seg)
		if err == nil {
			err = store.Put(t.Context(), fmt.Sprintf("landing/stream=fanwatch/shard=%s/after=%s.parquet", seg.Shard,
				seg.After.Pad()), data, false)
		}
		if err == nil {
			err = s.temporal().ScheduleClient().GetHandle(t.Context(), workflows.ScheduleCount).Trigger(t.Context(),
				client.ScheduleTriggerOptions{})
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
	if a.Kind != fanwatch.KindDifference ||
		!strings.Contains(a.Why, "1 in the landing log and due, but not in the table") {
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

// TestIngestOfADeliveryStream lands an object as Firehose leaves it, twice over, and finds it in the table once; and
// has a schedule do the same with a folder that fills, also behind a restart.
func TestIngestOfADeliveryStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, nil, "--fans", "0")
	object := func(s *system, key, fan string, minutes int) {
		t.Helper()
		var text strings.Builder
		for i := range 60 * minutes {
			fmt.Fprintf(&text, `{"TIME":"2026-03-01T00:%02d:%02d","FANID":"%s","FREQ":60,"RPM":1800}`, i/60, i%60, fan)
		}
		if err := s.s3().Put(t.Context(), key, []byte(text.String()+"rubbish"), true); err != nil {
			t.Fatal(err)
		}
	}
	object(s, "firehose/2026/03/01/00/fans-1-2026-03-01-00-05-00-x", "ABC123456", 8)
	if r := ask[ingest.Result](s, "lake", "ingest", "firehose/"); !reflect.DeepEqual(r, ingest.Result{Objects: 1,
		Readings: 480, Quarantined: 1}) {
		t.Fatalf("%+v", r)
	}
	if r := ask[ingest.Result](s, "lake", "ingest", "firehose/"); !reflect.DeepEqual(r, ingest.Result{}) {
		t.Fatalf("again: %+v", r)
	}
	// in front of the others
	if err := s.s3().Put(t.Context(), "firehose/a.zip", []byte("PK\x03\x04 and so on"), true); err != nil {
		t.Fatal(err)
	}
	object(s, "firehose/later", "ABC123457", 1)
	out, err := s.cli("lake", "ingest", "firehose/", "--json")
	var r ingest.Result
	if jsonErr := json.Unmarshal([]byte(out), &r); err == nil || jsonErr != nil || r.Readings != 60 || r.PassedOver != 1 ||
		r.Passed[0].Key != "firehose/a.zip" || !strings.Contains(r.Passed[0].Why, "ZIP") {
		t.Fatalf("%v: %s", err, out)
	}
	if r := ask[ingest.Result](s, "lake", "ingest", "firehose/", "--give-up", "firehose/a.zip"); !reflect.DeepEqual(r,
		ingest.Result{Quarantined: 1}) {
		t.Fatalf("given up: %+v", r)
	}
	object(s, "delivery/1", "DEF123456", 2) // nobody is told of this folder yet
	s.reconciled("ABC123456", 480)
	if out, err := s.cli("lake", "query", "DEF123456", "--points", "0", "--from", ""); strings.Contains(out, "1800") {
		t.Errorf("it was landed without a schedule: %v\n%s", err, out)
	}
	s.kill()

	s = start(t, dir, nil, "--fans", "0", "--ingest", "delivery/")
	s.reconciled("DEF123456", 120)
	s.kill()
	s = start(t, dir, nil, "--fans", "0", "--ingest", "delivery/")
	object(s, "delivery/2", "GHI123456", 3)
	s.reconciled("GHI123456", 180)
	if r := ask[ingest.Result](s, "lake", "ingest", "delivery/"); !reflect.DeepEqual(r, ingest.Result{}) {
		t.Errorf("the schedule left %+v to be ingested", r)
	}
	if v := s.sound(); v.Tables[0].Rows != 480+60+120+180 {
		t.Errorf("%d rows", v.Tables[0].Rows)
	}
}
