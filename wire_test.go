package fanwatch

import (
	"encoding/json"
	"math"
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
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 41}, Time: at, RPM: 1800.0000000000002, Hz: 60, Jitter: 0.001, Edges: 60, Glitch: 1, Lost: 2, PWM: NewDuty(0.4235), State: Running},
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 42}, Time: at.Add(time.Second), PWM: NewDuty(0), State: Stalled, Unsynch: true},
		{ReadingID: ReadingID{"fan-07", 1<<63 - 1, 43}, Time: at.Add(2 * time.Second), State: Running},
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

func TestDemoObject(t *testing.T) {
	rec, err := DecodeRecord(throughRule(t, []byte(`{"TIME":"2026-05-28 22:26:40","FANID":"ABC123456","FREQ":60,"RPM":1800}`), "new_Client"))
	if err != nil {
		t.Fatal(err)
	}
	r := rec.Readings[0]
	if rec.Fan != "ABC123456" || rec.Client != "new_Client" || r.RPM != 1800 || r.Hz != 60 || r.Legacy != "2026-05-28 22:26:40" || r.Run != 0 {
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
	rec, err := DecodeRecord([]byte(`{"ruleName":"fanwatch_legacy","topic":"IoT_TOPIC/recieve","clientId":"new_Client","base64OriginalPayload":"aGVsbG8=","failures":[{"failedAction":"KinesisAction","errorMessage":"the payload is not JSON"}]}`))
	if err != nil || string(rec.Payload) != "hello" || rec.Client != "new_Client" || !strings.Contains(rec.Refused, "the payload is not JSON") {
		t.Fatalf("%+v, %v", rec, err)
	}
}

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no zone database on this machine: ", err)
	}
	want := time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)
	for _, s := range []string{"2026-05-28T20:26:40Z", "2026-05-28T22:26:40", "2026-05-28 22:26:40", "2026/05/28 22:26:40", "1780000000", "1780000000000", "2026-05-28T22:26:40+02:00"} {
		if got, err := ParseTime(s, berlin); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "yesterday", "NaN", "-5", "1e300"} {
		if got, err := ParseTime(s, time.UTC); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func TestReadingCheck(t *testing.T) {
	good := Reading{RPM: 1800, Hz: 60, State: Running}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Reading{{RPM: math.NaN(), State: Running}, {RPM: -1, State: Running}, {RPM: math.Inf(1), State: Running}, {RPM: 2e6, State: Running}, {RPM: 1, State: "odd"}, {Hz: -1, State: Running}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"TIME":"2026-05-28T20:26:40Z","FANID":"ABC123456","FREQ":60,"RPM":1800,"arrived":1780000000123,"client":"new_Client"}`))
	f.Add([]byte(`{"v":1,"fan":"fan-07","run":"00000000000000ff","acked":1,"readings":[{"seq":1,"t":1,"rpm":1,"hz":1,"st":"running"}],"client":"fan-07"}`))
	f.Add([]byte(`{"ruleName":"r","base64OriginalPayload":"aGVsbG8=","failures":[]}`))
	f.Add([]byte(`{"v":1,"device":{"v":1,"fan":"fan-07"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := DecodeRecord(data)
		if err != nil {
			return
		}
		kinds := 0
		for _, set := range []bool{rec.Device != nil, rec.Refused != "", len(rec.Readings) > 0} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			t.Fatalf("a record says %d things: %+v", kinds, rec)
		}
		if rec.Device != nil && rec.Client != "" {
			t.Fatal("a client configured a device")
		}
	})
}

func TestDuty(t *testing.T) {
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
		if err := (Reading{State: Running, PWM: NewDuty(bad)}).Check(); err == nil {
			t.Errorf("a duty of %g was taken", bad)
		}
	}
	if err := (Reading{State: Running, PWM: NewDuty(1)}).Check(); err != nil {
		t.Error(err)
	}
}

func TestDecodeDemo(t *testing.T) {
	rec, err := DecodeDemo([]byte(`{"TIME":"2019-10-01T00:00:01","FANID":"ABC123456","FREQ":60.5,"RPM":1815,"ANOMALY_SCORE":0.9}`))
	if err != nil || rec.Fan != "ABC123456" || len(rec.Readings) != 1 || !rec.Arrived.IsZero() || rec.Client != "" {
		t.Fatalf("%+v, %v", rec, err)
	}
	if r := rec.Readings[0]; r.Legacy != "2019-10-01T00:00:01" || r.RPM != 1815 || r.Hz != 60.5 || r.Run != 0 || r.State != Running {
		t.Errorf("%+v", r)
	}
	rec, err = DecodeDemo([]byte(`{"arrived":1569888001500,"client":"new_Client","TIME":1569888001,"FANID":"ABC123456","RPM":0}`))
	if err != nil || rec.Client != "new_Client" || rec.Arrived.UnixMilli() != 1569888001500 || rec.Readings[0].State != Stalled {
		t.Errorf("%+v, %v", rec, err)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"FANID":"a/b","TIME":1,"RPM":2}`, `{"FANID":"a","RPM":2}`, `{"FANID":"a","TIME":1}`, `{"v":1,"fan":"a","readings":[]}`, `{"FANID":"a","TIME":1,"RPM":"x"}`} {
		if rec, err := DecodeDemo([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, rec)
		}
	}
}
