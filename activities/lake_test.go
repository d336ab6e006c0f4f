package activities_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// TestADeliveryStreamIsLandedOnceByTwoIngestions lands the same folder of two buckets beside each other, each
// object once, with times of a zone.
func TestADeliveryStreamIsLandedOnceByTwoIngestions(t *testing.T) {
	own, old := openDir(t), openDir(t)
	object := func(store objstore.Store, key, fan string, n int) {
		t.Helper()
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, `{"TIME":"2026-03-01T09:00:%02d","FANID":"%s","FREQ":60,"RPM":1800}`, i, fan)
		}
		if err := store.Put(t.Context(), key, []byte(text.String()), true); err != nil {
			t.Fatal(err)
		}
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	l := &activities.Lake{Store: own, Bucket: func(name string) objstore.Store {
		if name != "old" {
			t.Errorf("bucket %s was opened", name)
		}
		return old
	}}
	env.RegisterActivity(l)
	run := func(from activities.DeliveryStream, want ingest.Result) {
		t.Helper()
		v, err := env.ExecuteActivity(l.Ingest, "readings", from)
		var got ingest.Result
		if err == nil {
			err = v.Get(&got)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v: %+v, want %+v, %v", from, got, want, err)
		}
	}
	here, there := activities.DeliveryStream{Prefix: "firehose/"}, activities.DeliveryStream{Prefix: "firehose/",
		Bucket: "old", Zone: "Asia/Tokyo"}
	object(own, "firehose/1", "fan-a", 10)
	object(old, "firehose/1", "fan-b", 20) // another object, though of the same name
	run(here, ingest.Result{Objects: 1, Readings: 10})
	run(there, ingest.Result{Objects: 1, Readings: 20})
	run(here, ingest.Result{})
	object(old, "firehose/2", "fan-b", 30)
	run(there, ingest.Result{Objects: 1, Readings: 10, Duplicates: 20})
	run(there, ingest.Result{})

	times := make(map[string]time.Time)
	logs, err := landing.Logs(t.Context(), own, "readings")
	if err != nil || len(logs) != 2 {
		t.Fatalf("%d logs, %v", len(logs), err)
	}
	for _, shard := range logs {
		if err := shard.Walk(t.Context(), "0", func(s landing.Segment) error {
			for _, r := range s.Rows {
				if r.Kind != fanwatch.RowLate {
					t.Errorf("%+v", r)
				}
				if times[r.Fan].IsZero() {
					times[r.Fan] = r.Time
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if nine := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC); !times["fan-a"].Equal(nine) ||
		!times["fan-b"].Equal(nine.Add(-9*time.Hour)) {
		t.Errorf("times %v", times)
	}
	for _, bad := range []activities.DeliveryStream{{Prefix: "landing/"}, {},
		{Prefix: "firehose/", Zone: "Nowhere/Land"}} {
		if _, err := env.ExecuteActivity(l.Ingest, "readings", bad); err == nil {
			t.Errorf("%+v was ingested", bad)
		}
	}
	alone := suite.NewTestActivityEnvironment()
	alone.RegisterActivity(&activities.Lake{Store: own})
	if _, err := alone.ExecuteActivity(l.Ingest, "readings", there); err == nil {
		t.Error("a worker without buckets read one")
	}
}

func openDir(t *testing.T) *objstore.Dir {
	t.Helper()
	dir, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestALakeThatIsAwayFailsAlone: without tables a commit says why, and alerts are left for it all the same. With one
// that fails the others' work is done, and the report names it.
func TestALakeThatIsAwayFailsAlone(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	store := openDir(t)
	var tables *lake.Tables
	failed := errors.New("the lake's tables cannot be opened: the catalog does not answer")
	l := &activities.Lake{Store: store, Tables: func(context.Context, bool) (activities.Table, error) {
		return tables,
			failed
	}}
	env.RegisterActivity(l)
	if _, err := env.ExecuteActivity(l.Commit, "readings"); err == nil ||
		!strings.Contains(err.Error(), "the catalog does not answer") {
		t.Errorf("%v", err)
	}
	for _, a := range []any{l.Maintain, l.Reconcile} {
		if _, err := env.ExecuteActivity(a, "readings"); err == nil {
			t.Error("no error")
		}
	}
	if _, err := env.ExecuteActivity(l.LandAlert, fanwatch.Alert{V: 1, ID: "alert/a/stall/1",
		Opened: time.Unix(1, 0)}); err != nil {
		t.Error(err)
	}
	failed = fmt.Errorf("no: %w", lake.ErrNoTable)
	if _, err := env.ExecuteActivity(l.Compact); err != nil {
		t.Errorf("before the first commit: %v", err)
	}
	failed = nil
	cat, done, err := lake.OpenSQLite(filepath.Join(t.TempDir(), "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	if tables, err = lake.OpenTables(t.Context(), lake.TableConfig{Catalog: cat, Store: store, Location: "file://" +
		store.Root()}); err != nil {
		t.Fatal(err)
	}
	for key, text := range map[string]string{
		"tables/fanwatch/readings/plans/0.json": `{"v":1,"why":"bad","removed":[],"set":{"a":"b"},"added":[{"path":""}]}`,
		"alerts/waiting/notes.txt":              "?"} {
		if err := store.Put(t.Context(), key, []byte(text), true); err != nil {
			t.Fatal(err)
		}
	}
	v, err := env.ExecuteActivity(l.Commit, "readings")
	var r activities.CommitReport
	if err == nil {
		err = v.Get(&r)
	}
	if err != nil || len(r.Failed) != 1 || !strings.Contains(r.Failed[0], "table readings: plan 0.json (bad)") ||
		len(r.Passed) != 1 || !strings.HasPrefix(r.Passed[0], "alerts/waiting/notes.txt: ") {
		t.Errorf("%+v, %v", r, err)
	}
	if rows, err := tables.Alerts(t.Context(), time.Time{}, time.Time{}); err != nil || len(rows) != 1 {
		t.Errorf("%d alerts, %v", len(rows), err)
	}
}

// TestOrphansStayForAsLongAsAMergeMayTake: settings that would remove what is about to be committed are refused.
func TestOrphansStayForAsLongAsAMergeMayTake(t *testing.T) {
	for keep, ok := range map[time.Duration]bool{0: true, time.Second: false, 59 * time.Minute: false, time.Hour: true} {
		if err := (activities.LakeConfig{KeepOrphans: keep}).Check(); (err == nil) != ok {
			t.Errorf("%s: %v", keep, err)
		}
	}
}
