package fanwatch

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// throughRule does what the IoT rule does: it adds arrived and client, over whatever stands there.
func throughRule(t testing.TB, payload []byte, client string) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	m["arrived"] = json.RawMessage("1780000000123")
	m["client"], _ = json.Marshal(client)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBatchComesBackAsItWasSent(t *testing.T) {
	at := time.Date(2026, 5, 28, 20, 26, 40, 123456000, time.UTC)
	sent := []Reading{
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 41}, Time: at, RPM: 1800.0000000000002, Hz: 60, Jitter: 0.001, Edges: 60,
			Glitch: 1, Lost: 2, PWM: NewDuty(0.4235), State: StateRunning},
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 42}, Time: at.Add(time.Second), PWM: NewDuty(0), State: StateStalled,
			Unsynch: true},
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 43}, Time: at.Add(2 * time.Second), State: StateRunning},
	}
	data, err := json.Marshal(NewBatch(sent, 40, 3, at.Add(5*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := DecodeRecord(throughRule(t, data, "fan-07"))
	if err != nil {
		t.Fatal(err)
	}
	if rec.Client != "fan-07" || rec.Acked != 40 || rec.Dropped != 3 || !rec.Arrived.Equal(time.UnixMilli(1780000000123)) {
		t.Errorf("record %+v", rec)
	}
	for i, r := range rec.Readings {
		if r.Reading != sent[i] {
			t.Errorf("reading %d:\n got %+v\nsent %+v", i, r.Reading, sent[i])
		}
	}
	if rec.Readings[1].Age != 4*time.Second {
		t.Errorf("age %s, want 4s", rec.Readings[1].Age)
	}
}

func TestTheLegacyFormatIsReadThroughTheRule(t *testing.T) {
	rec, err := DecodeRecord(throughRule(t,
		[]byte(`{"TIME":"2026-05-28 22:26:40","FANID":"ABC123456","FREQ":60,"RPM":1800}`), "new_Client"))
	if err != nil {
		t.Fatal(err)
	}
	r := rec.Readings[0]
	if rec.Fan != "ABC123456" || rec.Client != "new_Client" || r.RPM != 1800 || r.Hz != 60 ||
		r.Legacy != "2026-05-28 22:26:40" || r.Run != 0 {
		t.Errorf("%+v", rec)
	}
}

func TestOnlyTheControlPlaneConfigures(t *testing.T) {
	d := Device{V: DeviceVersion, Revision: 2, Fan: "fan-07", Limits: Limits{MinRPM: 600}}
	data, err := EncodeDevice(d)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := DecodeRecord(data)
	if err != nil || rec.Device == nil || rec.Device.Limits != d.Limits {
		t.Fatalf("%+v, %v", rec, err)
	}
	rec, err = DecodeRecord(throughRule(t, data, "fan-07"))
	if err == nil || rec.Device != nil {
		t.Fatalf("a device configured itself: %+v", rec)
	}
}

// encoding/json matches keys without regard to case; a device that spells the rule's fields otherwise must
// not pass for the control plane, wherever its key ends up beside the rule's.
func TestADeviceCannotPassForTheControlPlane(t *testing.T) {
	device, err := EncodeDevice(Device{V: DeviceVersion, Revision: 9, Fan: "fan-01", Clients: []string{"thief"}})
	if err != nil {
		t.Fatal(err)
	}
	inner := strings.TrimPrefix(string(device), "{")
	for _, key := range []string{"CLIENT", "Client", "cLient"} {
		for _, record := range []string{
			`{"client":"thief","` + key + `":null,` + inner,
			`{"` + key + `":null,"client":"thief",` + inner,
			`{"client":null,` + inner,
			`{"client":"thief","` + key + `":null,"clientId":"x","base64OriginalPayload":"aGVsbG8="}`,
		} {
			if rec, err := DecodeRecord([]byte(record)); err == nil || rec.Device != nil || rec.Refused != "" {
				t.Errorf("%s was taken for the control plane's: %+v, %v", record, rec, err)
			}
		}
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	for _, c := range []struct{ name, record, why string }{
		{"no JSON", `hello`, "not a JSON object"},
		{"NaN", `{"TIME":"2026-05-28T20:26:40Z","FANID":"A","RPM":NaN}`, "not a JSON object"},
		{"array", `[1]`, "is a JSON array, not an object"},
		{"null", `null`, "clientid()"},
		{"RPM in a batch as text", `{"client":"c","v":1,"readings":[{"rpm":"fast"}]}`, "field readings.rpm holds a string"},
		{"no client", `{"FANID":"A","RPM":1}`, "clientid()"},
		{"no FANID", `{"client":"c","TIME":"2026-05-28T20:26:40Z","RPM":1}`, "FANID is missing"},
		{"no RPM", `{"client":"c","TIME":"2026-05-28T20:26:40Z","FANID":"A"}`, "RPM is missing"},
		{"no TIME", `{"client":"c","RPM":2,"FANID":"A"}`, "TIME is missing"},
		{"FANID with a slash", `{"client":"c","TIME":"x","RPM":2,"FANID":"a/b"}`, "fan name"},
		{"RPM as text", `{"client":"c","TIME":"x","RPM":"fast","FANID":"A"}`, "field RPM holds a string"},
		{"future version", `{"client":"c","v":2,"fan":"A","run":"1"}`, "batch version 2"},
		{"no readings", `{"client":"c","v":1,"fan":"A","run":"0000000000000001","readings":[]}`, "batch of 0 readings"},
		{"run 0", `{"client":"c","v":1,"fan":"A","run":"0"}`, "run"},
		{"two objects", `{"client":"c"}{}`, "more than one"},
	} {
		if _, err := DecodeRecord([]byte(c.record)); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.why)
		}
	}
}

func TestRuleErrorKeepsThePayload(t *testing.T) {
	rec, err := DecodeRecord([]byte(`{"ruleName":"fanwatch_legacy","topic":"IoT_TOPIC/recieve","clientId":"new_Client",
		"base64OriginalPayload":"aGVsbG8=",
		"failures":[{"failedAction":"KinesisAction","errorMessage":"the payload is not JSON"}]}`))
	if err != nil || string(rec.Payload) != "hello" || rec.Client != "new_Client" ||
		!strings.Contains(rec.Refused, "the payload is not JSON") {
		t.Fatalf("%+v, %v", rec, err)
	}
}

func TestATimeIsReadInItsZoneOrTheFans(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no zone database on this machine: ", err)
	}
	want := time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)
	for _, s := range []string{"2026-05-28T20:26:40Z", "2026-05-28T22:26:40", "2026-05-28 22:26:40", "2026/05/28 22:26:40",
		"1780000000", "1780000000000", "2026-05-28T22:26:40+02:00"} {
		if got, err := ParseTime(s, berlin, time.Time{}); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "yesterday", "NaN", "-5", "1e300"} {
		if got, err := ParseTime(s, time.UTC, time.Time{}); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

// TestTheRepeatedHourIsDatedByItsArrival: of the two instants of a TIME without zone the one nearer to its arrival is
// meant, in zones on both sides of Greenwich and where the clock is put back by half an hour; elsewhere arrival
// changes nothing.
func TestTheRepeatedHourIsDatedByItsArrival(t *testing.T) {
	for _, c := range []struct {
		zone, from string // the UTC instant at which the hour before the change begins
		step       time.Duration
	}{
		{"Europe/Berlin", "2026-10-25T00:00:00Z", time.Hour},
		{"America/New_York", "2026-11-01T05:00:00Z", time.Hour},
		{"Australia/Sydney", "2026-04-04T15:00:00Z", time.Hour},
		{"Australia/Lord_Howe", "2026-04-04T14:30:00Z", 30 * time.Minute},
		{"UTC", "2026-10-25T00:00:00Z", time.Hour},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Skip("no zone database on this machine: ", err)
		}
		from, _ := time.Parse(time.RFC3339, c.from)
		for at := from.Add(-2 * time.Hour); at.Before(from.Add(4 * time.Hour)); at = at.Add(97 * time.Second) {
			for _, lag := range []time.Duration{0, time.Second, 10 * time.Minute} {
				got, err := ParseTime(at.In(loc).Format("2006-01-02T15:04:05"), loc, at.Add(lag))
				if err != nil || !got.Equal(at) {
					t.Fatalf("%s: %s was read as %s, %v", c.zone, at, got, err)
				}
			}
		}
	}
}

// TestFormsThatAreClearlyMeantAreRead: numbers as text, zones as strftime, Java and Go write them, any unit of Unix
// time, integers as some encoders write them, and keys of other kinds of record beside those of the legacy format.
func TestFormsThatAreClearlyMeantAreRead(t *testing.T) {
	want := time.Date(2026, 11, 30, 13, 22, 5, 0, time.UTC)
	for _, form := range []string{`"2026-11-30T14:22:05+0100"`, `"2026-11-30T14:22:05+01"`, `"2026-11-30T14:22:05 +01:00"`,
		`"2026-11-30T13:22:05+0000"`,
		`"2026-11-30 13:22:05 UTC"`, `"2026-11-30 13:22:05 +0000 UTC"`, `"2026-11-30T13:22:05z"`, `"2026-11-30T13:22:05GMT"`,
		`"2026-11-30T13:21:65Z"`,
		`1796044925`, `"1796044925"`, `1796044925000`, `1796044925000000`, `1796044925000000000`, `1.796044925e9`,
		`20261130132205`, `"20261130132205"`,
		`"2026-11-30T13:22:05,000"`, `" 2026/11/30 13:22:05 "`} {
		rec, err := DecodeRecord([]byte(`{"client":"c","TIME":` + form + `,"FANID":"A","FREQ":60,"RPM":1800}`))
		if form == `"2026-11-30T13:21:65Z"` { // there is no second 65
			if _, err := ParseTime(rec.Readings[0].Legacy, time.UTC, time.Time{}); err == nil {
				t.Errorf("%s was read", form)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if got, err := ParseTime(rec.Readings[0].Legacy, time.UTC, time.Time{}); err != nil || !got.Equal(want) {
			t.Errorf("%s was read as %s, %v", form, got, err)
		}
	}
	for s, want := range map[string]time.Time{"2026-11-30T13:22Z": want.Truncate(time.Minute),
		"2016-12-31T23:59:60Z": time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := ParseTime(s, time.UTC, time.Time{}); err != nil || !got.Equal(want) {
			t.Errorf("%s was read as %s, %v", s, got, err)
		}
	}
	for _, keys := range []string{`"FREQ":60,"RPM":"1800"`, `"FREQ":"60","RPM":1800`, `"FREQ":"60","RPM":" 1800.0 "`,
		`"FREQ":60,"RPM":1800,"v":12.1`, `"FREQ":60,"RPM":1800,"v":"1.0.2"`,
		`"FREQ":60,"RPM":1800,"fan":1`, `"FREQ":60,"RPM":1800,"run":17`, `"FREQ":60,"RPM":1800,"readings":5`,
		`"FREQ":60,"RPM":1800,"dropped":-1,"acked":"x","backlog":[]`,
		`"FREQ":60,"RPM":1800,"failures":0,"ruleName":1,"clientId":{},"base64OriginalPayload":2,"device":"esp32"`} {
		for _, fan := range []string{"A", `A\r\n`, " A"} {
			record := `{"client":"c","arrived":1796044925100,"TIME":"2026-11-30T13:22:05Z","FANID":"` + fan + `",` + keys + `}`
			rec, err := DecodeRecord([]byte("\xef\xbb\xbf" + record))
			if err != nil || rec.Fan != "A" || rec.Client != "c" || rec.Readings[0].RPM != 1800 || rec.Readings[0].Hz != 60 ||
				rec.Readings[0].State != StateRunning || rec.Acked != 0 {
				t.Errorf("%s: %+v, %v", record, rec, err)
			}
		}
	}
	if rec, err := DecodeRecord([]byte(`{"client":"c","TIME":1,"FANID":"A","FREQ":"","RPM":"0"}`)); err != nil ||
		rec.Readings[0].Hz != 0 || rec.Readings[0].State != StateStalled {
		t.Errorf("%+v, %v", rec, err)
	}
	rec, err := DecodeRecord([]byte(`{"client":"c","v":1.0,"fan":"A","run":"00000000000000ff","acked":3.0,
		"readings":[{"seq":4.0,"t":1.796044925e15,"n":60.0,"rpm":1800,"hz":60,"st":"running"}]}`))
	if err != nil || rec.Acked != 3 || rec.Readings[0].Seq != 4 || rec.Readings[0].Edges != 60 ||
		!rec.Readings[0].Time.Equal(want) {
		t.Errorf("%+v, %v", rec, err)
	}
	for _, arrived := range []string{`"2026-11-30T13:22:05Z"`, `1796044925`, `1796044925000`, `"1796044925000"`} {
		rec, err := DecodeLegacy([]byte(`{"TIME":1,"FANID":"A","RPM":1,"client":{"id":1},"arrived":` + arrived + `}`))
		if err != nil || !rec.Arrived.Equal(want) || rec.Client != "" {
			t.Errorf("arrived %s: %+v, %v", arrived, rec, err)
		}
	}
}

// TestARefusedRecordNamesFanAndClient whatever is wrong with it, and never a name that no fan can have.
func TestARefusedRecordNamesFanAndClient(t *testing.T) {
	for _, record := range []string{
		`{"client":"c","FANID":"A","TIME":"2026-05-28T20:26:40Z","RPM":"fast"}`,
		`{"client":"c","FANID":"A","TIME":"2026-05-28T20:26:40Z","RPM":{}}`,
		`{"client":"c","FANID":"A","TIME":"2026-05-28T20:26:40Z","RPM":1e999}`,
		`{"client":"c","FANID":"A","TIME":"2026-05-28T20:26:40Z","RPM":1,"FREQ":true}`,
		`{"client":"c","FANID":"A","RPM":1}`,
		`{"client":"c","fan":"A","v":2}`,
		`{"client":"c","fan":"A","v":"1.0.2"}`,
		`{"client":"c","fan":"A","v":1.5}`,
		`{"client":"c","fan":"A","v":1,"run":17}`,
		`{"client":"c","fan":"A","v":1,"run":"1","acked":-1}`,
		`{"client":"c","fan":"A","v":1,"run":"1","readings":5}`,
		`{"client":"c","fan":"A","v":1,"run":"1","readings":[{"seq":-1}]}`,
		`{"client":"c","fan":"A","v":1,"run":"1","readings":[{"seq":1.5}]}`,
	} {
		rec, err := DecodeRecord([]byte(record))
		if err == nil || rec.Fan != "A" || rec.Client != "c" {
			t.Errorf("%s: fan %q, client %q, %v", record, rec.Fan, rec.Client, err)
		}
	}
	for _, record := range []string{`{"client":"c","FANID":"\u001b[2Jx","TIME":1,"RPM":1}`,
		`{"client":"c","fan":"\u001b[2Jx","v":1}`, `{"device":{"v":1,"fan":"\u001b[2Jx"}}`} {
		rec, err := DecodeRecord([]byte(record))
		if err == nil || rec.Fan != "" || !strings.Contains(err.Error(), `"\x1b[2Jx"`) {
			t.Errorf("%s: fan %q, %v", record, rec.Fan, err)
		}
	}
}

func TestCountsOfAPublisherAreBounded(t *testing.T) {
	rec, err := DecodeRecord([]byte(`{"client":"c","v":1,"fan":"A","run":"01","acked":18446744073709551615,
		"dropped":9223372036854775808,"backlog":7,"readings":[{"seq":1}]}`))
	if err != nil || rec.Acked != math.MaxInt64 || rec.Dropped != math.MaxInt64 || rec.Backlog != 7 {
		t.Errorf("%+v, %v", rec, err)
	}
}

func TestAReadingWithANumberOutOfRangeIsRefused(t *testing.T) {
	good := Reading{RPM: 1800, Hz: 60, State: StateRunning}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Reading{{RPM: math.NaN(), State: StateRunning}, {RPM: -1, State: StateRunning},
		{RPM: math.Inf(1), State: StateRunning}, {RPM: 2e6, State: StateRunning}, {RPM: 1, State: "odd"},
		{Hz: -1, State: StateRunning}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"TIME":"2026-05-28T20:26:40Z","FANID":"ABC123456","FREQ":60,"RPM":1800,
		"arrived":1780000000123,"client":"new_Client"}`))
	f.Add([]byte(`{"v":1,"fan":"fan-07","run":"00000000000000ff","acked":1,
		"readings":[{"seq":1,"t":1,"rpm":1,"hz":1,"st":"running"}],"client":"fan-07"}`))
	f.Add([]byte(`{"ruleName":"r","base64OriginalPayload":"aGVsbG8=","failures":[]}`))
	f.Add([]byte(`{"v":1,"device":{"v":1,"fan":"fan-07"}}`))
	f.Add([]byte(`{"v":1,"pause":{"v":1,"fan":"fan-07","maintenance":"maintenance/a","from":"2026-05-28T20:00:00Z",
		"to":"2026-05-28T22:00:00Z","at":"2026-05-28T20:00:00Z"}}`))
	f.Add([]byte(`{"client":"c","v":1.0,"fan":"A","run":"ff","acked":1e3,"backlog":2,
		"readings":[{"seq":1.0,"t":1.7e15,"n":6.0}]}`))
	f.Add([]byte("\xef\xbb\xbf" +
		`{"client":{},"arrived":"x","TIME":"20261130132205","FANID":"A ","FREQ":"","RPM":"1e3","v":"1.0.2"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := DecodeRecord(data)
		if rec.Fan != "" && CheckFan(rec.Fan) != nil || max(rec.Acked, rec.Dropped, rec.Backlog) > math.MaxInt64 {
			t.Fatalf("%+v", rec)
		}
		if err != nil {
			return
		}
		kinds := 0
		for _, set := range []bool{rec.Device != nil, rec.Label != nil, rec.Pause != nil, rec.Refused != "",
			len(rec.Readings) > 0} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			t.Fatalf("a record says %d things: %+v", kinds, rec)
		}
		if (rec.Device != nil || rec.Pause != nil) && rec.Client != "" {
			t.Fatal("a client configured a device, or paused its models")
		}
	})
}

func TestADutyComesBackWithinItsStep(t *testing.T) {
	for i := range 256 {
		want := float64(i) / 255
		got, known := NewDuty(want).Fraction()
		if !known || math.Abs(got-want) > 0.00005 || NewDuty(got) != NewDuty(want) {
			t.Errorf("duty %g came back as %g, %t", want, got, known)
		}
	}
	if _, known := Duty(0).Fraction(); known {
		t.Error("the zero Duty is known")
	}
	for _, bad := range []float64{-0.001, 1.001, math.NaN(), math.Inf(1)} {
		if err := (Reading{State: StateRunning, PWM: NewDuty(bad)}).Check(); err == nil {
			t.Errorf("a duty of %g was taken", bad)
		}
	}
	if err := (Reading{State: StateRunning, PWM: NewDuty(1)}).Check(); err != nil {
		t.Error(err)
	}
}

func TestTheLegacyFormatIsReadWithoutTheRule(t *testing.T) {
	rec, err := DecodeLegacy([]byte(
		`{"TIME":"2019-10-01T00:00:01","FANID":"ABC123456","FREQ":60.5,"RPM":1815,"ANOMALY_SCORE":0.9}`))
	if err != nil || rec.Fan != "ABC123456" || len(rec.Readings) != 1 || !rec.Arrived.IsZero() || rec.Client != "" {
		t.Fatalf("%+v, %v", rec, err)
	}
	if r := rec.Readings[0]; r.Legacy != "2019-10-01T00:00:01" || r.RPM != 1815 || r.Hz != 60.5 || r.Run != 0 ||
		r.State != StateRunning {
		t.Errorf("%+v", r)
	}
	rec, err = DecodeLegacy([]byte(
		`{"arrived":1569888001500,"client":"new_Client","TIME":1569888001,"FANID":"ABC123456","RPM":0}`))
	if err != nil || rec.Client != "new_Client" || rec.Arrived.UnixMilli() != 1569888001500 ||
		rec.Readings[0].State != StateStalled {
		t.Errorf("%+v, %v", rec, err)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"FANID":"a/b","TIME":1,"RPM":2}`, `{"FANID":"a","RPM":2}`,
		`{"FANID":"a","TIME":1}`, `{"v":1,"fan":"a","readings":[]}`, `{"FANID":"a","TIME":1,"RPM":"x"}`} {
		if rec, err := DecodeLegacy([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, rec)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-10-25T02:30:00", "2026-10-25 02:30:00 +0000 UTC", "20261025023000", "1796044925000",
		"2016-12-31T23:59:60Z", "9999-12-31 23:59", "2026-10-25T02:30:00-11:59"} {
		f.Add(s, int64(1792888200))
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Skip("no zone database on this machine: ", err)
	}
	f.Fuzz(func(t *testing.T, s string, arrived int64) {
		got, err := ParseTime(s, berlin, time.Unix(arrived, 0))
		if err != nil {
			return
		}
		if got.Location() != time.UTC || got.Nanosecond()%1000 != 0 {
			t.Fatalf("%q: %v", s, got)
		}
		if TimeHasZone(s) {
			if again, err := ParseTime(s, time.UTC, time.Time{}); err != nil || !again.Equal(got) {
				t.Fatalf("%q has a zone and is %v in Berlin, %v in UTC, %v", s, got, again, err)
			}
		}
	})
}

// TestObjectsOfPublicReportsAreRead: their meaning is clear.
func TestObjectsOfPublicReportsAreRead(t *testing.T) {
	for _, file := range []string{"06-forms-clearly-meant.ndjson", "12-ingest-arrived-as-text.json",
		"12-ingest-extra-client-object.json"} {
		data, err := os.ReadFile(filepath.Join("..", "shared", "faults", file))
		if err != nil {
			t.Skip("the reports' objects are not on this machine: ", err)
		}
		for line := range strings.Lines(string(data)) {
			decode := DecodeLegacy
			if strings.Contains(line, `"readings":[`) {
				decode = DecodeRecord
			}
			rec, err := decode([]byte(line))
			if err != nil || len(rec.Readings) != 1 || rec.Readings[0].RPM != 1800 {
				t.Errorf("%s: %s: %+v, %v", file, line, rec, err)
				continue
			}
			if legacy := rec.Readings[0].Legacy; legacy != "" {
				if _, err := ParseTime(legacy, time.UTC, rec.Arrived); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}
