package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fanwatch"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

var night = time.Date(2026, 12, 1, 2, 14, 5, 0, time.UTC) // 03:14 in Berlin

func berlin(t testing.TB) *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func stall() fanwatch.Alert {
	return fanwatch.Alert{V: 2, ID: "alert/fan-07/stall/20261201T021405.000000Z", Fan: "fan-07", Site: "Hall A",
		Kind: fanwatch.KindStall, Severity: fanwatch.SeverityCritical, Opened: night, State: fanwatch.AlertOpen, Steps: 3,
		Why:     "fan-07 stands still: 0 RPM, 2900 were expected.",
		Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindStall, Expected: 2900, Low: 2850, High: 2950}}
}

var links = fanwatch.Links{Dashboard: "https://fans.example.com/#fan-07", Runbook: "https://wiki.example.com/stall",
	Temporal: "https://temporal.example.com/w/1", Answer: "https://fans.example.com/a/x1"}

// messages returns a message of each event, and of an incident.
func messages() map[string]Message {
	all := map[string]Message{}
	add := func(name string, e fanwatch.Event, after time.Duration, change func(m *Message)) {
		m := Message{V: MessageVersion, Key: "alert/fan-07#0.1.0/ops-mail", Event: e, Alert: stall(), Step: 1, Steps: 3,
			Links: links, At: night.Add(after),
			Next: []fanwatch.Next{{At: night.Add(10 * time.Minute), To: []string{"grace"}}}}
		change(&m)
		all[name] = m
	}
	acked := func(m *Message) {
		m.Alert.State, m.Alert.AckedBy, m.Alert.AckedAt = fanwatch.AlertAcknowledged, "ada", night.Add(3*time.Minute)
		m.Alert.Note, m.By, m.Told = "on my way", "ada", []string{"ops-mail", "grace"}
	}
	add("page", fanwatch.EventPage, 2*time.Second, func(*Message) {})
	add("page-step2", fanwatch.EventPage, 5*time.Minute, func(m *Message) {
		m.Step, m.Told = 2, []string{"ops-mail"}
	})
	add("repeat", fanwatch.EventRepeat, 26*time.Hour, func(m *Message) {
		m.Step, m.Repeat, m.Told, m.Next = 3, 2, []string{"ops-mail", "grace"}, nil
	})
	add("flapping", fanwatch.EventFlapping, 9*time.Minute, func(m *Message) { m.Alert.Returns = 4 })
	add("acknowledged", fanwatch.EventAcknowledged, 3*time.Minute, func(m *Message) {
		acked(m)
		m.Next = []fanwatch.Next{{At: night.Add(33 * time.Minute), To: []string{"grace"}}}
	})
	add("lapsed", fanwatch.EventLapsed, 33*time.Minute, func(m *Message) {
		acked(m)
		m.Alert.State, m.Step = fanwatch.AlertOpen, 3
	})
	add("snooze-ended", fanwatch.EventLapsed, 63*time.Minute, func(m *Message) {
		acked(m)
		m.Alert.State, m.Step, m.Alert.SnoozedUntil = fanwatch.AlertOpen, 3, night.Add(63*time.Minute)
	})
	over := func(m *Message) {
		acked(m)
		m.Alert.State, m.Alert.NormalFrom = fanwatch.AlertResolved, night.Add(7*time.Minute+12*time.Second)
		m.Alert.EndedAt, m.Next = night.Add(8*time.Minute+12*time.Second), nil
	}
	add("over", fanwatch.EventOver, 8*time.Minute, over)
	add("resolved-by-hand", fanwatch.EventOver, 8*time.Minute, func(m *Message) {
		over(m)
		m.Alert.NormalFrom, m.Alert.EndedBy = time.Time{}, "grace"
	})
	incident := func(m *Message) {
		a := &m.Alert
		a.ID, a.Kind, a.Fan = "alert/Hall-A/incident/20261201T021405.000000Z", fanwatch.KindIncident, ""
		a.Site, a.Troubled, a.Joined, a.Fans = "Hall A, rack 3", 37, 37, 40
		a.Anomaly, a.Why = fanwatch.Anomaly{}, "37 of 40 fans in Hall A, rack 3 fail at once."
		for i := range 37 {
			kind := []fanwatch.Kind{fanwatch.KindStall, fanwatch.KindSilent}[i%2]
			a.Members = append(a.Members, fanwatch.Member{Alert: "alert/x", Fan: "fan-" + string(rune('a'+i%26)), Kind: kind,
				Opened: night.Add(time.Duration(i) * time.Second)})
		}
		a.Members[1].Over = night.Add(2 * time.Minute)
	}
	add("incident", fanwatch.EventPage, 20*time.Second, incident)
	add("incident-over", fanwatch.EventOver, 8*time.Minute, func(m *Message) {
		over(m)
		incident(m)
		m.Alert.Troubled = 0
	})
	add("test", fanwatch.EventTest, 0, func(m *Message) {
		*m = Message{V: 1, Key: "test/1", Event: fanwatch.EventTest, At: night,
			Alert: fanwatch.Alert{Why: "This is a test of fanwatch by ada. No fan is in trouble."}}
	})
	add("earlier-program", "", time.Minute, func(m *Message) {
		m.Subject, m.Body = "[fanwatch] CRITICAL fan-07: stall (step 1 of 2)", "fan-07 stands still.\n\nSince: 2026\n"
	})
	add("digest", fanwatch.EventDigest, 0, func(m *Message) {
		*m = Message{V: 1, Key: "digest/1", Event: fanwatch.EventDigest, At: night, Subject: "[fanwatch] 2 fans were odd",
			Body: "fan-01: wobble\nfan-02: drift\n"}
	})
	return all
}

// TestEachEventReadsAsItStandsInTestdata holds subject, SMS line and text of each event, in the reader's zone. After a
// change that is meant run the tests with -update and read the difference.
func TestEachEventReadsAsItStandsInTestdata(t *testing.T) {
	for name, m := range messages() {
		r := Render(m, berlin(t))
		got := "Subject: " + r.Subject + "\nSMS: " + r.Line + "\n\n" + r.Text
		file := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

func TestASubjectSaysSeverityFanSiteAndKind(t *testing.T) {
	r := Render(messages()["page"], time.UTC)
	if r.Subject != "[fanwatch] CRITICAL fan-07 (Hall A): stall" {
		t.Error(r.Subject)
	}
	if first, _, _ := strings.Cut(r.Text, "\n"); first != stall().Why {
		t.Errorf("the first line is %q, not the sentence", first)
	}
}

func TestTimesAreInTheReadersZoneAndNameIt(t *testing.T) {
	zone := func(name string) *time.Location {
		l, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		zone string
		at   time.Time
		want string
	}{
		{"Europe/Berlin", night, "03:14 CET"},
		{"Asia/Dubai", night, "06:14 UTC+04"},
		{"America/New_York", night, "21:14 EST"},
		{"Europe/Berlin", night.Add(-24 * time.Hour), "Mon 30 Nov 03:14 CET"},
		{"Europe/Berlin", night.AddDate(0, -5, 0), "Wed 1 Jul 04:14 CEST"},
		{"Europe/Berlin", night.AddDate(0, 1, 0), "Fri 1 Jan 2027 03:14 CET"},
		{"Europe/Berlin", time.Time{}, "an unknown time"},
	} {
		if got := (page{zone: zone(c.zone), at: night}).clock(c.at); got != c.want {
			t.Errorf("%s: %s, want %s", c.zone, got, c.want)
		}
	}
}

func TestADurationIsInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0 s", 42 * time.Second: "42 s", 7 * time.Minute: "7 min",
		2 * time.Hour: "2 h", 125 * time.Minute: "2 h 5 min", 76 * time.Hour: "3 d 4 h", 48 * time.Hour: "2 d"} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t testing.TB, s *jsonschema.Schema, document []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, document)
	}
}

func TestEachDocumentIsAsTheSchemaSays(t *testing.T) {
	s := schema(t)
	for _, m := range messages() {
		d := Render(m, time.UTC).Document
		d.Picture = []byte("png")
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		valid(t, s, b)
	}
}

func TestTheSchemaNamesEveryFieldOfTheDocument(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	text, err := os.ReadFile("schema.json")
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := reflect.TypeFor[Document]()
	if len(s.Properties) != d.NumField() {
		t.Errorf("the schema has %d properties, Document %d fields", len(s.Properties), d.NumField())
	}
	for i := range d.NumField() {
		name, _, _ := strings.Cut(d.Field(i).Tag.Get("json"), ",")
		if s.Properties[name] == nil {
			t.Errorf("the schema does not name %s", name)
		}
	}
}

// hostile are names and texts as a device or a person may choose them.
var hostile = []string{"fan\r\nBcc: all@example.com", "<script>alert(1)</script>",
	"<!channel> <https://evil.example|ok>",
	"[ok](https://evil.example)", "\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "a\xff\xfe", strings.Repeat("x", 5000),
	"{{.}}", "javascript:alert(1)", "\" onmouseover=\"x"}

func hostileMessage(e fanwatch.Event, text string) Message {
	m := messages()["acknowledged"]
	m.Event, m.By, m.Told, m.Alert.Fan, m.Alert.Site, m.Alert.Why = e, text, []string{text}, text, text, text
	m.Alert.AckedBy, m.Alert.Note, m.Alert.EndedBy, m.Key, m.Alert.Kind = text, text, text, text, fanwatch.Kind(text)
	m.Alert.ID, m.Next = "alert/"+text, []fanwatch.Next{{At: night, To: []string{text}}}
	m.Alert.Answers = []fanwatch.Answer{{Action: fanwatch.ActionNote, By: text, Note: text, At: night}}
	m.Links = fanwatch.Links{Dashboard: text, Runbook: "javascript:" + text, Answer: "https://a.example/" + text}
	return m
}

// checkHarmless holds what no text may do to a message.
func checkHarmless(t testing.TB, m Message) {
	t.Helper()
	r := Render(m, time.UTC)
	for _, one := range []string{r.Subject, r.Line} {
		if fanwatch.OneLine(one) != one || !utf8.ValidString(one) || strings.ContainsAny(one, "\r\n") {
			t.Errorf("no line: %q", one)
		}
	}
	if len(r.Line) > maxLine || len(r.Subject) > 250 {
		t.Errorf("%d and %d bytes", len(r.Line), len(r.Subject))
	}
	for l := range strings.SplitSeq(r.Text, "\n") {
		if fanwatch.OneLine(l) != l {
			t.Errorf("not legible: %q", l)
		}
	}
	rest := r.HTML
	for _, tag := range []string{"<script", "<!channel", "onmouseover=\"", "href=\"javascript"} {
		if strings.Contains(strings.ToLower(rest), tag) {
			t.Errorf("HTML has %s", tag)
		}
	}
	for name, v := range map[string]any{"slack": slackMessage(m, r), "teams": teamsMessage(m, r),
		"pagerduty": pagerMessage(m, r), "document": r.Document} {
		b, err := json.Marshal(v)
		if err != nil || !utf8.Valid(b) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := slackMessage(m, r); strings.ContainsAny(s.Text, "<>") {
		t.Errorf("Slack reads markup: %s", s.Text)
	}
	if len(r.Text) > 64<<10 {
		t.Errorf("%d bytes of text", len(r.Text))
	}
}

func TestNothingOfADeviceReachesAReaderRaw(t *testing.T) {
	for _, text := range hostile {
		for _, e := range []fanwatch.Event{fanwatch.EventPage, fanwatch.EventRepeat, fanwatch.EventFlapping,
			fanwatch.EventAcknowledged, fanwatch.EventLapsed, fanwatch.EventOver, fanwatch.EventTest, ""} {
			m := hostileMessage(e, text)
			checkHarmless(t, m)
			m.Subject, m.Body = text, text
			checkHarmless(t, m)
			m.Alert.Kind = fanwatch.KindIncident
			m.Alert.Members = []fanwatch.Member{{Fan: text, Kind: fanwatch.Kind(text)}}
			checkHarmless(t, m)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, text := range hostile {
		f.Add("page", text)
	}
	f.Add("over", "fan-07")
	f.Fuzz(func(t *testing.T, event, text string) {
		checkHarmless(t, hostileMessage(fanwatch.Event(event), text))
	})
}

func TestLinksThatLeadNowhereAreLeftOut(t *testing.T) {
	m := messages()["page"]
	m.Links = fanwatch.Links{Dashboard: "javascript:alert(1)", Runbook: "file:///etc/passwd",
		Temporal: "https://ok.example/"}
	r := Render(m, time.UTC)
	if strings.Contains(r.Text, "javascript") || strings.Contains(r.Text, "file:") ||
		!strings.Contains(r.Text, "History: https://ok.example/") || r.Document.Links.Dashboard != "" {
		t.Error(r.Text)
	}
}
