package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// TestSeparatorsBetweenRecordsAreNotRefused: 300 readings are 300 readings and nothing is refused.
func TestSeparatorsBetweenRecordsAreNotRefused(t *testing.T) {
	for name, c := range map[string]struct{ before, between, after string }{
		"joined": {}, "lines": {"", "\n", "\n"}, "commas": {"", ",", ","}, "array": {"[", ",\n", "]"}, "BOM": {"\ufeff", "\n",
			""}, "BOM of joined files": {"\ufeff", "\n\ufeff", "\n"},
		"record separators": {"\x1e", "\n\x1e", ""}, "escaped line ends": {"", `\n`, `\n`},
		"zeros": {"", "\x00", strings.Repeat("\x00", 512)}, "arrays joined": {"[", "][", "]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := openWorld(t, t.TempDir(), nil)
			f := newFolder(t, w)
			var text strings.Builder
			for i := range 300 {
				text.WriteString([]string{c.before, c.between}[min(i, 1)] + legacyObject("fan-a", i))
			}
			put(t, w.store, "firehose/x", text.String()+c.after, name == "array")
			if r := f.run(t); r.Readings != 300 || r.Quarantined != 0 || r.PassedOver != 0 || r.Objects != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// TestReadingsOfAllGzipMembersAreLanded: one a record with line ends between, padded, packed twice; and what stands
// behind the last is kept as the payload.
func TestReadingsOfAllGzipMembersAreLanded(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	var lines strings.Builder
	for i := range 50 {
		lines.WriteString(zipped(t, legacyObject("fan-a", i)) + "\n")
	}
	put(t, w.store, "firehose/lines", lines.String(), false)
	put(t, w.store, "firehose/padded", zipped(t, legacyObject("fan-b", 0))+strings.Repeat("\x00", 4096), false)
	put(t, w.store, "firehose/twice", zipped(t, zipped(t, legacyObject("fan-c", 0))+"\r\n"+
		zipped(t, legacyObject("fan-c", 1))), false)
	if r := f.run(t); r.Readings != 53 || r.Objects != 3 || r.Quarantined != 0 || r.PassedOver != 0 {
		t.Fatalf("%+v", r)
	}
	put(t, w.store, "firehose/z", zipped(t, legacyObject("fan-d", 0))+"\nrubbish", false)
	if r := f.run(t); r.Readings != 1 || r.Quarantined != 1 || r.PassedOver != 1 {
		t.Fatalf("%+v", r)
	}
	rows := rowsOf(t, f.Log())
	if last := rows[len(rows)-1]; string(last.Payload) != "rubbish" ||
		!strings.Contains(last.Reason, `object "firehose/z": it cannot be read behind its 1. value`) {
		t.Errorf("%+v", last)
	}
}

// TestRowsOfJunkAreBounded: an object of garbage is named once, and however much stands between readings or is
// refused, the rows are few.
func TestRowsOfJunkAreBounded(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	garbage := make([]byte, 16<<20)
	rng := rand.NewChaCha8([32]byte{1})
	if _, err := rng.Read(garbage); err != nil {
		t.Fatal(err)
	}
	put(t, w.store, "firehose/a", string(garbage), false)
	if r := f.run(t); r.Quarantined != 0 || r.PassedOver != 1 || r.Objects != 0 || !strings.Contains(r.Passed[0].Why,
		"no JSON object") {
		t.Fatalf("%+v", r)
	}
	put(t, w.store, "firehose/b", "a\nb\nc\n"+legacyObject("fan-a", 0)+string(garbage)+"\n"+legacyObject("fan-a", 1),
		false)
	if r := f.run(t); r.Readings != 2 || r.Quarantined != 2 {
		t.Fatalf("%+v", r)
	}
	before := len(rowsOf(t, f.Log()))
	put(t, w.store, "firehose/c", strings.Repeat(`{"other":"program"}`+"\n", 50_000), false)
	if r := f.run(t); r.Quarantined != 50_000 || r.Objects != 1 {
		t.Fatalf("%+v", r)
	}
	rows := rowsOf(t, f.Log())[before:]
	if last := rows[len(rows)-1]; len(rows) != 101 ||
		last.Reason != `49900 values of object "firehose/c", the first: FANID is missing: say which fan this is` ||
		string(last.Payload) != `{"other":"program"}` {
		t.Errorf("%d rows, the last %+v", len(rows), last)
	}
	w.commit(t, f.Log())
	v, err := openTables(t, w, nil).Verify(t.Context(), []landing.Log{f.Log()}, nil)
	if err != nil || !v.OK {
		t.Errorf("%+v, %v", v.Faults, err)
	}
}

// TestTimesThatCannotBeAreRefused: before 1970 and after their arrival; what is refused is no duplicate of what comes.
func TestTimesThatCannotBeAreRefused(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	var text strings.Builder
	for _, at := range []string{"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", f.now.Add(time.Hour).UTC().Format("2006-01-02T15:04:05"),
		f.now.Add(10 * time.Minute).UTC().Format(time.RFC3339)} {
		fmt.Fprintf(&text, `{"TIME":"%s","FANID":"fan-a","RPM":1800}`, at)
	}
	// arrived by no clock
	sound := fmt.Sprintf(`{"TIME":"%s","FANID":"fan-a","RPM":1800,"arrived":7}`,
		f.now.Add(2*time.Minute).UTC().Format(time.RFC3339))
	put(t, w.store, "firehose/x", text.String()+sound, false)
	if r := f.run(t); r.Readings != 1 || r.Quarantined != 7 || r.PassedOver != 0 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"not after 1970", "not after 1970", "not after 1970", "not after 1970",
		"TIME 9999-12-31T23:59:59Z is later than its arrival", "--zone", "the clock was wrong"} {
		r := rowsOf(t, f.Log())[i]
		if !strings.Contains(r.Reason, want) || r.Kind != fanwatch.RowQuarantined || r.Fan != "fan-a" ||
			r.Arrived.Year() < 2000 {
			t.Errorf("%+v, want %q", r, want)
		}
		if strings.Contains(r.Reason, "--zone") != (i == 5) {
			t.Errorf("the zone is blamed: %q", r.Reason)
		}
	}
	wantTables := map[string]int{"fan-a": 1}
	w.commit(t, f.Log())
	wantCounts(t, w.counts(t), wantTables)
}

// TestReadingsThatFirehoseCouldNotProcessAreLanded: the readings in its processing-failed records are read, with
// their arrival.
func TestReadingsThatFirehoseCouldNotProcessAreLanded(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	f := newFolder(t, w)
	arrived := midnight.Add(5 * time.Second)
	record := func(raw, code string) string {
		text, err := json.Marshal(map[string]any{"attemptsMade": 4, "arrivalTimestamp": arrived.UnixMilli(),
			"errorCode": code, "errorMessage": "the function failed", "attemptEndingTimestamp": arrived.UnixMilli(),
			"rawData": base64.StdEncoding.EncodeToString([]byte(raw)), "lambdaArn": "arn:aws:lambda:x"})
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	put(t, w.store, "firehose/processing-failed/1", record(legacyObject("fan-a", 0), "Lambda.FunctionError")+
		record(legacyObject("fan-a", 1)+"\n"+legacyObject("fan-a", 2)+legacyObject("fan-a", 1), "Lambda.FunctionError")+
		record(zipped(t, legacyObject("fan-a", 3)), "Lambda.FunctionError")+record("hello", "Lambda.MissingRecordId")+
		record(`{"FANID":"fan-b"}`, "Lambda.MissingRecordId")+record("", "Lambda.MissingRecordId"), true)
	r := f.run(t)
	if r.Readings != 4 || r.Duplicates != 1 || r.Quarantined != 3 || r.PassedOver != 0 {
		t.Fatalf("%+v", r)
	}
	var refused []fanwatch.Row
	for _, row := range rowsOf(t, f.Log()) {
		if row.Kind == fanwatch.RowQuarantined {
			refused = append(refused, row)
		} else if !row.Arrived.Equal(arrived) {
			t.Errorf("%+v", row)
		}
	}
	for i, want := range []struct{ why, fan, payload string }{{"its rawData: it is no JSON object", "", "hello"},
		{"its rawData: RPM is missing", "fan-b", `{"FANID":"fan-b"}`}, {"its rawData: it is empty", "", ""}} {
		if r := refused[i]; !strings.HasPrefix(r.Reason, "Firehose could not process this record "+
			"(Lambda.MissingRecordId: the function failed)") || !strings.HasSuffix(r.Reason, want.why) || r.Fan != want.fan ||
			string(r.Payload) != want.payload {
			t.Errorf("%+v, want %v", r, want)
		}
	}
}

// TestArrivalDecidesInTheHourThatAutumnRepeats of a TIME without zone: the record's arrival, or else when the
// object was written; and in objects that were copied years later the order of the readings.
func TestArrivalDecidesInTheHourThatAutumnRepeats(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2025, 10, 25, 23, 30, 0, 0, time.UTC) // 01:30 of the summer's zone
	for _, name := range []string{"arrived", "written", "copied"} {
		t.Run(name, func(t *testing.T) {
			w := openWorld(t, t.TempDir(), nil)
			f := newFolder(t, w)
			f.Zone, f.From = berlin, &redated{Store: w.store, at: func(i int) time.Time {
				if name == "written" {
					return begin.Add(time.Duration(i+1) * 5 * time.Minute)
				}
				return begin.AddDate(0, 9, 0)
			}}
			want := make(map[int64]bool)
			for i := range 36 { // three hours of objects of five minutes
				var text strings.Builder
				for n := range 30 {
					at := begin.Add(time.Duration(i)*5*time.Minute + time.Duration(n)*10*time.Second)
					want[at.UnixMicro()] = true
					arrived := ""
					if name == "arrived" {
						arrived = fmt.Sprintf(`,"arrived":%d`, at.Add(300*time.Millisecond).UnixMilli())
					}
					fmt.Fprintf(&text, `{"TIME":"%s","FANID":"fan-a","RPM":1800%s}`, at.In(berlin).Format("2006-01-02T15:04:05"),
						arrived)
				}
				put(t, w.store, fmt.Sprintf("firehose/%02d", i), text.String(), false)
			}
			if r := f.run(t); r.Readings != len(want) || r.Duplicates != 0 || r.Quarantined != 0 {
				t.Fatalf("%+v, want %d", r, len(want))
			}
			for _, row := range rowsOf(t, f.Log()) {
				if !want[row.Time.UnixMicro()] {
					t.Fatalf("%+v", row)
				}
			}
		})
	}
}

// redated is a Store whose objects were written at other times, by their place in a listing.
type redated struct {
	objstore.Store
	at func(i int) time.Time
}

func (s *redated) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		i := 0
		for o, err := range s.Store.List(ctx, prefix, after) {
			o.Modified = s.at(i)
			if i++; !yield(o, err) {
				return
			}
		}
	}
}
