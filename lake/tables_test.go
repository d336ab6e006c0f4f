package lake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

func openTables(t testing.TB, w world, change func(*lake.TableConfig)) *lake.Tables {
	t.Helper()
	var tables *lake.Tables
	openWorld(t, w.dir, func(c *lake.TableConfig) {
		if change != nil {
			change(c)
		}
		var err error
		if tables, err = lake.OpenTables(t.Context(), *c); err != nil {
			t.Fatal(err)
		}
	})
	return tables
}

// eventful is a window of which every tenth reading is anomalous and every twentieth message was refused.
func eventful(after, first int) landing.Segment {
	s := window(after, "fan-a", 7, first, 100)
	for i := range s.Rows {
		switch {
		case i%20 == 0:
			s.Rows[i] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
				Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-a"}}, Position: s.Rows[i].Position,
				Arrived: s.Rows[i].Arrived,
				Client:  "old", Reason: "RPM is missing", Payload: fmt.Appendf(nil, `{"n":%d}`, i)}
		case i%10 == 5:
			s.Rows[i].Anomaly, s.Rows[i].Score = fanwatch.KindStall, 4.25
		case i%10 == 6:
			s.Rows[i].Kind, s.Rows[i].Anomaly = fanwatch.RowLate, fanwatch.KindStall // was not scored
		}
	}
	return s
}

// label is what a person said of a minute's trouble of fan-a.
var label = fanwatch.Label{V: fanwatch.LabelVersion, Fan: "fan-a", Alert: "alert/fan-a/speed/1",
	Kind: fanwatch.KindSpeed, Normal: true, From: midnight.Add(time.Minute), To: midnight.Add(2 * time.Minute),
	By: "ada", Note: "summer", At: midnight.Add(time.Hour)}

// labelled makes a segment of one label.
func labelled(t testing.TB, after int, l fanwatch.Label) landing.Segment {
	t.Helper()
	data, err := fanwatch.EncodeLabel(l)
	if err != nil {
		t.Fatal(err)
	}
	s := window(after, l.Fan, 7, 1, 1)
	s.Rows[0] = fanwatch.Row{Kind: fanwatch.RowLabelled,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: l.Fan}}, Position: s.Rows[0].Position,
		Arrived: l.At.Add(time.Second), Payload: data}
	return s
}

// TestALabelIsKeptInItsTable has what the person said, each time once; one whose record cannot be read stops nothing.
func TestALabelIsKeptInItsTable(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables, logs := openTables(t, w, nil), []landing.Log{w.log(0)}
	lasting := label
	lasting.Normal, lasting.From, lasting.To = false, midnight.Add(26*time.Hour), time.Time{}
	bad := labelled(t, 2, label)
	bad.Rows[0].Payload = []byte("{")
	for _, s := range []landing.Segment{labelled(t, 0, label), labelled(t, 1, lasting), bad} {
		w.append(t, 0, s)
		for range 2 {
			if _, err := tables.Commit(t.Context(), logs); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := tables.Labels(t.Context(), time.Time{}, time.Time{})
	want := []lake.LabelRow{{From: label.From.UnixMicro(), Fan: "fan-a", Alert: label.Alert, Kind: "speed",
		Label: lake.LabelNormal, To: label.To.UnixMicro(), By: "ada", Note: "summer", At: label.At.UnixMicro(),
		Arrived: label.At.Add(time.Second).UnixMicro(), Shard: w.log(0).Shard}}
	last := want[0]
	last.From, last.Label, last.To = lasting.From.UnixMicro(), lake.LabelFault, 0
	if want = append(want, last); err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	if some, err := tables.Labels(t.Context(), midnight.Add(24*time.Hour), time.Time{}); err != nil || len(some) != 1 {
		t.Errorf("of the second day: %+v, %v", some, err)
	}
	if v, err := tables.Verify(t.Context(), logs, nil); err != nil || !v.OK {
		t.Errorf("verify: %v, %v", v.Faults, err)
	}
}

func TestEachEventOfTheLogIsInItsTableOnce(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	w.append(t, 0, eventful(0, 1))
	w.commit(t, w.log(0)) // by a program that knew readings only
	tables := openTables(t, w, nil)
	logs := []landing.Log{w.log(0)}
	for i := 1; i < 4; i++ {
		w.append(t, 0, eventful(i*100, 1+i*100))
		for range 2 {
			if r, err := tables.Commit(t.Context(), logs); err != nil || r.Rows != 95 && r.Rows != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
	}
	check := func() {
		t.Helper()
		anomalies, err := tables.Anomalies(t.Context(), time.Time{}, time.Time{})
		if err != nil || len(anomalies) != 40 {
			t.Fatalf("%d anomalies, %v", len(anomalies), err)
		}
		seqs := map[int64]bool{}
		for _, a := range anomalies {
			seqs[a.Seq] = true
			if a.Fan != "fan-a" || a.Run != 7 || a.Kind != "stall" || a.Score != 4.25 ||
				a.Time != midnight.Add(time.Duration(a.Seq)*time.Second).UnixMicro() || a.State != "running" {
				t.Fatalf("%+v", a)
			}
		}
		refused, err := tables.Quarantine(t.Context(), time.Time{}, time.Time{})
		if err != nil || len(refused) != 20 || len(seqs) != 40 {
			t.Fatalf("%d refusals, %v", len(refused), err)
		}
		if r := refused[1]; r.Client != "old" || r.Reason != "RPM is missing" || string(r.Payload) != `{"n":20}` ||
			r.Sequence != "21" || r.Shard != w.log(0).Shard {
			t.Fatalf("%+v", r)
		}
	}
	check()
	if r, err := tables.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil || r.FilesOut != 3 ||
		r.Duplicates != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if a, err := tables.Apply(t.Context()); err != nil || a.Swaps != 3 {
		t.Fatalf("%+v, %v", a, err)
	}
	check()
	some, err := tables.Anomalies(t.Context(), midnight.Add(100*time.Second), midnight.Add(200*time.Second))
	if err != nil || len(some) != 10 {
		t.Fatalf("%d anomalies of a period, %v", len(some), err)
	}
	statuses, err := tables.Statuses(t.Context(), 3)
	if err != nil || len(statuses) != 5 || statuses[0].Rows != 380 || statuses[1].Rows != 40 || statuses[2].Rows != 20 ||
		statuses[1].Files != 1 {
		t.Fatalf("%+v, %v", statuses, err)
	}
}

// TestTombstonesWaitForAllTables sees that a segment keeps its rows until every table has them.
func TestTombstonesWaitForAllTables(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	w.append(t, 0, eventful(0, 1))
	if err := w.log(0).PutSnapshot(t.Context(), "100", []byte("model")); err != nil {
		t.Fatal(err)
	}
	tables := openTables(t, w, nil)
	logs := []landing.Log{w.log(0)}
	w.commit(t, logs...) // the readings alone
	if n, err := tables.TruncateLog(t.Context(), w.log(0), 0); err != nil || n != 0 {
		t.Fatalf("%d tombstones, %v", n, err)
	}
	if _, err := tables.Commit(t.Context(), logs); err != nil {
		t.Fatal(err)
	}
	if n, err := tables.TruncateLog(t.Context(), w.log(0), 0); err != nil || n != 1 {
		t.Fatalf("%d tombstones, %v", n, err)
	}
	if n, err := tables.PlanDropPartitions(t.Context(), lake.Retention{Events: 24 * time.Hour}); err != nil || n != 2 {
		t.Fatalf("%d files, %v", n, err)
	}
	if a, err := tables.Apply(t.Context()); err != nil || a.Retired != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	if left, err := tables.Anomalies(t.Context(), time.Time{}, time.Time{}); err != nil || len(left) != 0 {
		t.Fatalf("%d anomalies, %v", len(left), err)
	}
}

func TestAnAlertEntersItsTableOnce(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	alert := func(n int) fanwatch.Alert {
		opened := midnight.Add(time.Duration(n) * 9 * time.Hour)
		return fanwatch.Alert{V: 1, ID: fmt.Sprintf("alert/fan-%d/stall/%s", n, opened.Format("20060102T150405.000000Z")),
			Fan: fmt.Sprint("fan-", n), Kind: fanwatch.KindStall, Opened: opened, Why: "It stopped.",
			State: fanwatch.AlertResolved, Step: 2, Sent: make([]fanwatch.Notice, 3), Notices: 3 + n, AckedBy: "ada",
			AckedAt: opened.Add(time.Minute), EndedAt: opened.Add(time.Hour)}
	}
	for round := range 4 { // each time the alerts of the last time are put again
		for n := range round + 2 {
			if err := lake.PutAlert(t.Context(), w.store, alert(n)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tables.Commit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if left := list(t, w.store, "alerts/", ""); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
	}
	got, err := tables.Alerts(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(got) != 5 || !slices.IsSortedFunc(got,
		func(a, b lake.AlertRow) int { return int(a.Opened - b.Opened) }) {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got[1]; a.ID != "alert/fan-1/stall/20260301T090000.000000Z" || a.Told != 4 || a.AckedBy != "ada" ||
		a.AckedAt != midnight.Add(9*time.Hour+time.Minute).UnixMicro() ||
		a.Ended != midnight.Add(10*time.Hour).UnixMicro() || a.Note != "" {
		t.Fatalf("%+v", a)
	}
}

// TestTheNewestRefusalsAreReadFromTableAndLog come from the table's newest days and from what it does not have yet,
// without a walk through the whole log; and from the log alone where the table is away.
func TestTheNewestRefusalsAreReadFromTableAndLog(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	log := w.log(0)
	for day := range 5 {
		s := eventful(day*100, 1+day*100)
		for i := range s.Rows {
			s.Rows[i].Arrived = midnight.Add(time.Duration(day)*24*time.Hour + time.Duration(i)*time.Second)
		}
		w.append(t, 0, s)
		if day == 3 {
			if _, err := tables.Commit(t.Context(), []landing.Log{log}); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := &counting{Store: w.store}
	log.Store = reads
	rows, err := tables.Refused(t.Context(), []landing.Log{log}, "", 8)
	if err != nil || len(rows) != 8 || reads.gets > 2 || string(rows[7].Payload) != `{"n":80}` ||
		rows[7].Arrived != midnight.Add(4*24*time.Hour+80*time.Second).UnixMicro() ||
		rows[0].Arrived != midnight.Add(3*24*time.Hour+40*time.Second).UnixMicro() {
		t.Errorf("%d segments read: %+v, %v", reads.gets, rows, err)
	}
	if rows, err := tables.Refused(t.Context(), []landing.Log{log}, "fan-x", 8); err != nil || len(rows) != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
	var none *lake.Tables
	if all, err := none.Refused(t.Context(), []landing.Log{log}, "fan-a", 100); err != nil || len(all) != 25 {
		t.Errorf("%d without a table, %v", len(all), err)
	}
}

// counting counts what is read of a Store.
type counting struct {
	objstore.Store
	gets int
}

func (s *counting) Get(ctx context.Context, key string) ([]byte, error) {
	s.gets++
	return s.Store.Get(ctx, key)
}

// TestAnAlertsStoryIsInItsTable: severity, label, answers, whom it told, and how long it took until a person took care.
func TestAnAlertsStoryIsInItsTable(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	at := func(d time.Duration) time.Time { return midnight.Add(d) }
	if err := lake.PutAlert(t.Context(), w.store, fanwatch.Alert{V: 2, ID: "alert/fan-1/stall/1", Fan: "fan-1",
		Kind: fanwatch.KindStall, Opened: midnight, State: fanwatch.AlertResolved, EndedAt: at(time.Hour), EndedBy: "bob",
		Label: fanwatch.VerdictFault, Incident: "incident/Hall A/1", AckedBy: "bob", AckedAt: at(20 * time.Minute),
		Sent:   []fanwatch.Notice{{Key: "k", Step: 1, To: "ada-mail", At: at(time.Second), Detail: "250 Ok"}},
		Failed: []fanwatch.Failure{{Step: 2, To: "gone", Why: "NotFound", At: at(time.Minute)}},
		Answers: []fanwatch.Answer{{V: 1, Action: fanwatch.ActionNote, By: "eve", Note: "hm", At: at(time.Minute)},
			{V: 1, Action: fanwatch.ActionSnooze, By: "ada", At: at(90 * time.Second),
				Until: at(10 * time.Minute)}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tables.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	got, err := tables.Alerts(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	var notices []lake.AlertNotice
	var answers []fanwatch.Answer
	a := got[0]
	if json.Unmarshal([]byte(a.Notices), &notices) != nil || json.Unmarshal([]byte(a.Answers), &answers) != nil ||
		len(answers) != 2 || answers[1].By != "ada" || len(notices) != 2 || !notices[0].Taken ||
		notices[0].Result != "250 Ok" || notices[1].Taken || notices[1].Result != "NotFound" {
		t.Errorf("answers %s, notices %s", a.Answers, a.Notices)
	}
	if a.Severity != "critical" || a.Label != "fault" || a.AckSeconds != 90 || a.Incident != "incident/Hall A/1" ||
		a.EndedBy != "bob" {
		t.Errorf("%+v", a)
	}
}
