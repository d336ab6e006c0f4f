package dashboard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
	links "fanwatch/answer"

	"github.com/chromedp/chromedp"
)

// outside is a server of answers in front of a plant, with its clock.
type outside struct {
	*plant
	answers *Answers
	keys    *links.Keys
	clock   *hands
	url     string
}

const (
	pagerDutySecret = "pd-secret-of-the-test"
	slackSecret     = "slack-secret-of-the-test"
)

func openOutside(t *testing.T, alerts ...fanwatch.Alert) *outside {
	t.Helper()
	o := &outside{plant: newPlant(), clock: &hands{t: noon.Add(time.Hour)}}
	for _, a := range alerts {
		o.alerts[a.ID] = a
	}
	var err error
	if o.keys, err = links.OpenKeys(filepath.Join(t.TempDir(), "keys"), o.clock.now); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FANWATCH_TEST_PAGERDUTY", pagerDutySecret)
	t.Setenv("FANWATCH_TEST_SLACK", slackSecret)
	o.answers, err = NewAnswers(AnswersConfig{Operator: o, Keys: o.keys, PublicURL: "https://fans.example.org",
		PagerDuty: "env:FANWATCH_TEST_PAGERDUTY", Slack: "env:FANWATCH_TEST_SLACK", Now: o.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(o.answers)
	t.Cleanup(web.Close)
	o.url = web.URL
	return o
}

// link makes a link to the test's server.
func (o *outside) link(t *testing.T, c links.Claim) string {
	t.Helper()
	u, err := o.keys.Link(o.url, c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// token of a link.
func token(link string) string { _, t, _ := strings.Cut(link, "?t="); return t }

func ask(t *testing.T, req *http.Request, err error) (int, string, http.Header) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func (o *outside) get(t *testing.T, link string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, link, nil)
	return ask(t, req, err)
}

// send posts the page's form.
func (o *outside) send(t *testing.T, fields ...string) (int, string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, o.url+"/answer", strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "null")
	}
	code, body, _ := ask(t, req, err)
	return code, body
}

// told lists what the alerts were told.
func (o *outside) told() (all []string) {
	o.change(func() { all = slices.Clone(o.acked) })
	return all
}

func (o *outside) untold(t *testing.T, when string) {
	t.Helper()
	if all := o.told(); len(all) != 0 {
		t.Errorf("%s: the alert was told %q", when, all)
	}
}

func TestALinkAnswersOnceAndSaysSo(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	a.Why = `The rotor has stopped: <b>no pulse</b> for 3 s.`
	o := openOutside(t, a)
	link := o.link(t, links.Claim{Alert: a.ID, To: "ada"})
	code, page, h := o.get(t, link)
	for _, want := range []string{"fan-07", "&lt;b&gt;no pulse", "Tue 24 Nov 12:00 UTC, 1 h 0 min ago",
		"no one takes care",
		`value="ada"`, "Acknowledge", "Snooze 1 h", "Resolve"} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("the page (%d) lacks %q", code, want)
		}
	}
	if h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" ||
		!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") ||
		strings.Contains(page, "<script") {
		t.Errorf("headers %v", h)
	}
	o.untold(t, "a look at the page")
	code, page = o.send(t, "t", token(link), "by", "ada", "note", "on my\r\nway", "action", "acknowledge")
	if code != 200 || !strings.Contains(page, "ada takes care") || strings.Contains(page, "<form") {
		t.Errorf("%d %s", code, page)
	}
	want := []string{"acknowledge " + a.ID + " by ada from link: on my way"}
	for range 2 {
		if code, page = o.send(t, "t", token(link), "by", "eve", "action", "snooze"); code != 409 ||
			!strings.Contains(page, "was used at") || !strings.Contains(page, "by ada") {
			t.Errorf("replayed: %d %s", code, page)
		}
		if code, page, _ = o.get(t, link); code != 200 || !strings.Contains(page, "was used at") || strings.Contains(page,
			"<form") {
			t.Errorf("looked at again: %d %s", code, page)
		}
	}
	if got := o.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	code, page, _ = o.get(t, o.link(t, links.Claim{Alert: a.ID, To: "bob"}))
	if code != 200 || !strings.Contains(page, "acknowledged by ada") || !strings.Contains(page, "Take over") {
		t.Errorf("the next link: %d %s", code, page)
	}
}

// TestProgramsThatLookAtMailAnswerNothing: they ask for every link of a message, some with odd methods.
func TestProgramsThatLookAtMailAnswerNothing(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	link := o.link(t, links.Claim{Alert: a.ID, To: "ada", Action: fanwatch.ActionAcknowledge})
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 405, "PUT": 405, "DELETE": 405,
		"PATCH": 405,
		"POST":  403} {
		req, err := http.NewRequest(method, link+"&action=acknowledge&by=scanner", nil)
		if code, body, _ := ask(t, req, err); code != want || method == "HEAD" && body != "" {
			t.Errorf("%s: %d, want %d", method, code, want)
		}
	}
	// A form whose fields stand in the address.
	req, err := http.NewRequest("POST", link+"&action=acknowledge&by=scanner", strings.NewReader(""))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if code, _, _ := ask(t, req, err); code != 404 {
		t.Errorf("a POST without a form: %d", code)
	}
	o.untold(t, "prefetched")
	if code, _ := o.send(t, "t", token(link), "action", "acknowledge"); code != 200 {
		t.Errorf("the link afterwards: %d", code)
	}
}

func TestAWrongOldOrForeignLinkSaysSoAndDoesNothing(t *testing.T) {
	a, over := alert("fan-07", fanwatch.AlertOpen, noon), alert("fan-08", fanwatch.AlertResolved, noon)
	over.EndedAt = noon.Add(time.Minute)
	o := openOutside(t, a, over)
	good := token(o.link(t, links.Claim{Alert: a.ID, To: "ada"}))
	old := token(o.link(t, links.Claim{Alert: a.ID, To: "ada", Expires: o.clock.now().Add(time.Second)}))
	o.clock.move(2 * time.Second)
	for _, c := range []struct {
		name, token string
		get, post   int
		say         string
	}{
		{"none", "", 404, 404, "not made by this system"},
		{"noise", "x", 404, 404, "not made by this system"},
		{"cut", good[:len(good)-1], 404, 404, "cut or changed"},
		{"changed", "B" + good[1:], 404, 404, "cut or changed"},
		{"markup", "<script>", 404, 404, "not made by this system"},
		{"too old", old, 410, 410, "fanwatch ack " + a.ID},
		{"of an alert that is over", token(o.link(t, links.Claim{Alert: over.ID, To: "ada"})), 200, 409, "over"},
		{"of an alert that is unknown", token(o.link(t, links.Claim{Alert: "alert/fan-09/stall/1"})), 404, 404, "not known"},
	} {
		code, page, _ := o.get(t, o.url+"/answer?t="+url.QueryEscape(c.token))
		if code != c.get || !strings.Contains(page, c.say) || strings.Contains(page, "<script") {
			t.Errorf("%s: GET %d, want %d and %q in %s", c.name, code, c.get, c.say, page)
		}
		code, page = o.send(t, "t", c.token, "by", "ada", "action", "acknowledge")
		if code != c.post || !strings.Contains(page, c.say) || strings.Contains(page, "<form") {
			t.Errorf("%s: POST %d, want %d and %q in %s", c.name, code, c.post, c.say, page)
		}
	}
	o.change(func() { o.broken = errors.New("no worker answers") })
	if code, page := o.send(t, "t", good, "by", "ada", "action", "acknowledge"); code != 502 || !strings.Contains(page,
		"not certain") {
		t.Errorf("while Temporal is away: %d %s", code, page)
	}
	o.untold(t, "links that cannot be used")
}

func TestAFormThatCannotBeKeptLeavesTheLinkUsable(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	good := token(o.link(t, links.Claim{Alert: a.ID, To: "#ops"}))
	for name, c := range map[string][]string{
		"no action":               {"by", "ada"},
		"handed on":               {"by", "ada", "action", "hand"},
		"given back":              {"by", "ada", "action", "unacknowledge"},
		"resolved without reason": {"by", "ada", "action", "resolve", "note", " "},
		"too long a note":         {"by", "ada", "action", "acknowledge", "note", strings.Repeat("n", 1001)},
		"too long a name":         {"by", strings.Repeat("n", 101), "action", "acknowledge"},
		"control characters":      {"by", "a\x00da", "action", "acknowledge"},
	} {
		code, page := o.send(t, append(c, "t", good)...)
		if code != 400 || !strings.Contains(page, "Nothing was done yet") || !strings.Contains(page, "<form") {
			t.Errorf("%s: %d %s", name, code, page)
		}
	}
	for name, h := range map[string][2]string{"another site": {"Origin", "https://evil.example"}, "cross-site": {
		"Sec-Fetch-Site", "cross-site"}, "JSON": {"Content-Type", "application/json"}} {
		req, err := http.NewRequest("POST", o.url+"/answer", strings.NewReader("action=acknowledge&by=eve&t="+good))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set(h[0], h[1])
		}
		if code, page, _ := ask(t, req, err); code != 403 {
			t.Errorf("%s: %d %s", name, code, page)
		}
	}
	if code, _ := o.send(t, "t", good, "by", "ada", "action", "acknowledge", "note", strings.Repeat("n",
		20<<10)); code != 403 {
		t.Errorf("too long a form: %d", code)
	}
	o.untold(t, "refused forms")
	code, page := o.send(t, "t", good, "by", "ada", "action", "resolve", "note", "belt replaced")
	if want := "resolve " + a.ID + " by ada (link of #ops) from link: belt replaced"; code != 200 ||
		!slices.Equal(o.told(), []string{want}) {
		t.Errorf("%d %s, told %q", code, page, o.told())
	}
}

func TestOfManyPressesOfOneLinkOneCounts(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	good := token(o.link(t, links.Claim{Alert: a.ID, To: "ada"}))
	var all sync.WaitGroup
	codes := make([]int, 10)
	for i := range codes {
		all.Go(func() { codes[i], _ = o.send(t, "t", good, "action", "acknowledge") })
	}
	all.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 409 || codes[9] != 409 || len(o.told()) != 1 {
		t.Errorf("%v, told %q", codes, o.told())
	}
}

// TestThePublishedNameLeadsToAnswersAlone, on the dashboard and on a server of answers alone.
func TestThePublishedNameLeadsToAnswersAlone(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	good := token(o.link(t, links.Claim{Alert: a.ID, To: "ada"}))
	_, full := open(t, Config{Operator: o, Answers: o.answers})
	_, without := open(t, Config{Operator: o})
	for _, c := range []struct {
		server, method, path, host, forwarded string
		want                                  int
	}{
		{full, "GET", "/answer?t=" + good, "fans.example.org", "", 200},
		{full, "GET", "/answer?t=" + good, "FANS.example.org:443", "", 200},
		{full, "POST", "/hooks/slack", "fans.example.org", "", 401},
		{full, "GET", "/", "fans.example.org", "", 404},
		{full, "GET", "/api/fans", "fans.example.org", "", 404},
		{full, "GET", "/api/events", "fans.example.org", "", 404},
		{full, "POST", "/api/alerts/ack", "fans.example.org", "", 404},
		{full, "POST", "/api/alerts/answer", "fans.example.org:443", "", 404},
		{full, "GET", "/answer/../api/fans", "fans.example.org", "", 404},
		{full, "GET", "/hooks/../api/fans", "fans.example.org", "", 404},
		{full, "GET", "/api/fans", "127.0.0.1", "fans.example.org", 404},
		{full, "GET", "/answer?t=" + good, "127.0.0.1", "fans.example.org", 200},
		{full, "GET", "/answer?t=" + good, "localhost:8080", "", 200},
		{full, "GET", "/api/fans", "localhost:8080", "", 200},
		{full, "GET", "/answer?t=" + good, "evil.example", "", 421},
		{full, "GET", "/answer?t=" + good, "fans.example.org.evil.example", "", 421},
		{without, "GET", "/answer?t=" + good, "localhost", "", 404},
		{without, "GET", "/answer?t=" + good, "fans.example.org", "", 421},
		{o.url, "GET", "/answer?t=" + good, "fans.example.org", "", 200},
		{o.url, "GET", "/answer?t=" + good, "localhost", "", 200},
		{o.url, "GET", "/answer?t=" + good, "evil.example", "", 421},
		{o.url, "GET", "/api/fans", "localhost", "", 404},
		{o.url, "POST", "/api/alerts/answer", "localhost", "", 404},
	} {
		req, err := http.NewRequest(c.method, c.server+c.path, strings.NewReader(`{"ids":["`+a.ID+
			`"],"answer":{"action":"acknowledge","by":"Eve"}}`))
		if err == nil {
			req.URL.Opaque, req.URL.RawQuery = c.path, "" // as it stands
			req.Host = c.host
			req.Header.Set("Content-Type", "application/json")
			if c.forwarded != "" {
				req.Header.Set("X-Forwarded-Host", c.forwarded)
			}
		}
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if redirected := c.want == 404 && resp.StatusCode/100 == 3; resp.StatusCode != c.want && !redirected {
			t.Errorf("%s %s under %s (forwarded %q): %d, want %d", c.method, c.path, c.host, c.forwarded, resp.StatusCode,
				c.want)
		}
	}
	o.untold(t, "by the published name")
}

func TestAnswersAreConfigured(t *testing.T) {
	o := openOutside(t)
	for _, c := range []AnswersConfig{{}, {Operator: o}, {Operator: o, Keys: o.keys, PublicURL: "fans.example.org"},
		{Operator: o, Keys: o.keys, PublicURL: "https://fans.example.org/below"}, {Operator: o, Keys: o.keys,
			PublicURL: "https://a:b@fans"},
		{Operator: o, Keys: o.keys, Slack: "the secret itself"}, {Operator: o, Keys: o.keys,
			PagerDuty: "env:FANWATCH_TEST_NONE"}} {
		if _, err := NewAnswers(c); err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(),
			"itself\"") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func signed(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	io.WriteString(h, text)
	return hex.EncodeToString(h.Sum(nil))
}

// pagerDutyBody is an event as PagerDuty's documentation shows it, without what is not read.
func pagerDutyBody(id, typ, at, agent, data string) string {
	return fmt.Sprintf(`{"event":{"id":%q,"event_type":%q,"resource_type":"incident","occurred_at":%q,"agent":%s,
		"client":null,"data":%s}}`, id, typ, at, agent, data)
}

func TestPagerDutyAnswersAlerts(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	const ada = `{"html_url":"https://x.pagerduty.com/users/P1","id":"P1","summary":"Ada\u0007 Lovelace",` +
		`"type":"user_reference"}`
	const own = `{"id":"P2","summary":"fanwatch","type":"events_api_v2_inbound_integration_reference"}`
	incident := `{"id":"Q1","type":"incident","incident_key":"` + a.ID + `","status":"acknowledged"}`
	note := `{"id":"N1","content":"belt\nis loose",` +
		`"incident":{"id":"Q1","type":"incident_reference"},"type":"incident_note"}`
	now, old := "2026-11-24T12:59:58Z", "2026-11-21T12:00:00Z"
	send := func(body, signature string) int {
		t.Helper()
		req, err := http.NewRequest("POST", o.url+"/hooks/pagerduty", strings.NewReader(body))
		if err == nil && signature != "" {
			req.Header.Set("X-PagerDuty-Signature", signature)
		}
		code, _, _ := ask(t, req, err)
		return code
	}
	good := func(body string) string {
		return "v1=" + signed("a former secret", body) + ", v1=" + signed(pagerDutySecret, body)
	}
	ack := pagerDutyBody("E1", "incident.acknowledged", now, ada, incident)
	for name, signature := range map[string]string{"none": "", "empty": "v1=", "other key": "v1=" + signed("x", ack),
		"other version": "v0=" + signed(pagerDutySecret, ack), "other body": "v1=" + signed(pagerDutySecret, ack+" "),
		"not hexadecimal": "v1=zz", "bare": signed(pagerDutySecret, ack)} {
		if code := send(ack, signature); code != 401 {
			t.Errorf("signature %s: %d", name, code)
		}
	}
	if big := strings.Repeat("x", maxHook+1); send(big, good(big)) != 413 {
		t.Error("a body of any length is read")
	}
	for name, body := range map[string]string{ // nothing is to follow, and no second try
		"not JSON": "{", "no event": "{}", "ping": `{"event":{"id":"E0","event_type":"pagey.ping","occurred_at":"` + now +
			`"}}`,
		"our own acknowledgement": pagerDutyBody("E2", "incident.acknowledged", now, own, incident),
		"resolved by no person":   pagerDutyBody("E3", "incident.resolved", now, "null", incident),
		"escalated":               pagerDutyBody("E4", "incident.escalated", now, ada, incident),
		"unknown alert": pagerDutyBody("E5", "incident.acknowledged", now, ada,
			`{"id":"Q5","incident_key":"alert/x/stall/1"}`),
		"another system's": pagerDutyBody("E6", "incident.acknowledged", now, ada,
			`{"id":"Q6","incident_key":"disk full"}`),
		"without a key": pagerDutyBody("E7", "incident.acknowledged", now, ada, `{"id":"Q7","incident_key":null}`),
		"a note on the unknown": pagerDutyBody("E8", "incident.annotated", now, ada,
			`{"content":"x","incident":{"id":"Q8"}}`),
		"three days old": pagerDutyBody("E9", "incident.acknowledged", old, ada, incident),
	} {
		if code := send(body, good(body)); code != 200 {
			t.Errorf("%s: %d, want 200", name, code)
		}
	}
	o.untold(t, "what no person did to an alert")
	for range 2 { // the second is a delivery that came twice
		if code := send(ack, good(ack)); code != 200 {
			t.Errorf("acknowledged: %d", code)
		}
	}
	for i, body := range []string{
		pagerDutyBody("F1", "incident.annotated", now, ada, note),
		pagerDutyBody("F2", "incident.unacknowledged", now, "null", incident),
		pagerDutyBody("F3", "incident.resolved", now, ada, incident),
	} {
		if code := send(body, good(body)); code != 200 {
			t.Errorf("%d: %d", i, code)
		}
	}
	want := []string{"acknowledge " + a.ID + " by Ada  Lovelace from pagerduty: ",
		"note " + a.ID + " by Ada  Lovelace from pagerduty: belt is loose", "unacknowledge " + a.ID +
			" by PagerDuty from pagerduty: ", "resolve " + a.ID + " by Ada  Lovelace from pagerduty: resolved in PagerDuty"}
	if got := o.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	o.change(func() { o.broken = errors.New("no worker answers") })
	again := pagerDutyBody("F4", "incident.acknowledged", now, ada, incident)
	if code := send(again, good(again)); code != 502 {
		t.Errorf("while Temporal is away PagerDuty is to try again: %d", code)
	}
}

func TestSlackAnswersAlerts(t *testing.T) {
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	o := openOutside(t, a)
	press := func(value string) string {
		return "payload=" + url.QueryEscape(fmt.Sprintf(`{"type":"block_actions","user":{"id":"U1","username":"ada.l",
			"name":"ada"},"actions":[{"action_id":"answer","value":%q,"action_ts":"1"}]}`, value))
	}
	send := func(body, stamp, signature string) int {
		t.Helper()
		req, err := http.NewRequest("POST", o.url+"/hooks/slack", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("X-Slack-Request-Timestamp", stamp)
			req.Header.Set("X-Slack-Signature", signature)
		}
		code, _, _ := ask(t, req, err)
		return code
	}
	stamp := func(d time.Duration) string { return fmt.Sprint(o.clock.now().Add(d).Unix()) }
	good := func(stamp, body string) string { return "v0=" + signed(slackSecret, "v0:"+stamp+":"+body) }
	ack, now := press("acknowledge "+a.ID), stamp(0)
	for name, c := range map[string][2]string{"none": {now, ""}, "another key's": {now, "v0=" + signed("x",
		"v0:"+now+":"+ack)},
		"of another time": {stamp(time.Second), good(now, ack)}, "without a time": {"", good(now, ack)},
		"6 minutes old":            {stamp(-6 * time.Minute), good(stamp(-6*time.Minute), ack)},
		"ahead of time":            {stamp(6 * time.Minute), good(stamp(6*time.Minute), ack)},
		"with a time that is none": {"now", good("now", ack)}, "of version 1": {now, "v1=" + signed(slackSecret,
			"v0:"+now+":"+ack)}} {
		if code := send(ack, c[0], c[1]); code != 401 {
			t.Errorf("a request %s: %d, want 401", name, code)
		}
	}
	for _, body := range []string{"", "payload=x", "payload=%zz", "payload=" + url.QueryEscape(`{"type":"view_closed"}`),
		press(""), press("acknowledge"), press("destroy " + a.ID), press("acknowledge alert/x/stall/1")} {
		if code := send(body, now, good(now, body)); code != 200 {
			t.Errorf("%s: %d, want 200", body, code)
		}
	}
	o.untold(t, "what names no action on an alert")
	for range 2 { // the second is a replay
		if code := send(ack, now, good(now, ack)); code != 200 {
			t.Errorf("pressed: %d", code)
		}
	}
	snooze := press("snooze " + a.ID)
	send(snooze, now, good(now, snooze))
	want := []string{"acknowledge " + a.ID + " by ada from slack: ", "snooze " + a.ID + " by ada from slack: "}
	if got := o.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	o.change(func() {
		if until := o.alerts[a.ID].SnoozedUntil; !until.Equal(o.clock.now().Add(time.Hour)) {
			t.Errorf("snoozed until %s", until)
		}
	})
}

func TestManyAlertsAreAnsweredAtOnce(t *testing.T) {
	p := newPlant()
	var ids []string
	for i := range 40 {
		a := alert(fmt.Sprintf("fan-%02d", i), fanwatch.AlertOpen, noon)
		p.alerts[a.ID] = a
		ids = append(ids, a.ID)
	}
	over := alert("fan-99", fanwatch.AlertResolved, noon)
	p.alerts[over.ID] = over
	_, u := open(t, Config{Operator: p})
	send := func(typ, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("POST", u+"/api/alerts/answer", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", typ)
		}
		code, text, _ := ask(t, req, err)
		return code, text
	}
	const js = "application/json"
	id := `{"ids":["` + ids[0] + `"],`
	for _, c := range []struct {
		typ, body string
		want      int
	}{
		{"text/plain", id + `"answer":{"action":"acknowledge","by":"ada"}}`, 415},
		{js, `{"ids":[],"answer":{"action":"acknowledge","by":"ada"}}`, 400},
		{js, `{"ids":[""],"answer":{"action":"acknowledge","by":"ada"}}`, 400},
		{js, `{"ids":["` + strings.Repeat(`x","`, 500) + `"],"answer":{"action":"acknowledge","by":"ada"}}`, 400},
		{js, id + `"answer":{"by":"ada"}}`, 400},
		{js, id + `"answer":{"action":"acknowledge","by":" "}}`, 400},
		{js, id + `"answer":{"action":"snooze","by":"ada"}}`, 400},
		{js, id + `"answer":{"action":"snooze","by":"ada","until":"2026-11-24T11:00:00Z"}}`, 400},
		{js, id + `"answer":{"action":"snooze","by":"ada","until":"2027-11-24T11:00:00Z"}}`, 400},
		{js, id + `"answer":{"action":"hand","by":"ada"}}`, 400},
		{js, id + `"answer":{"action":"note","by":"ada"}}`, 400},
		{js, id + `"answer":{"action":"resolve","by":"ada","note":" "}}`, 400},
		{js, `{"ids":["alert/none"],"answer":{"action":"acknowledge","by":"ada"}}`, 404},
		{js, `{"ids":["` + over.ID + `"],"answer":{"action":"acknowledge","by":"ada"}}`, 409},
		{js, id + `"answer":{"action":"snooze","by":"ada","until":"2026-11-24T14:00:00+01:00"}}`, 200},
		{js, id + `"answer":{"action":"hand","by":"ada","to":"bob","token":"forged","from":"cli"}}`, 200},
	} {
		if code, body := send(c.typ, c.body); code != c.want {
			t.Errorf("%.200s: %d %s, want %d", c.body, code, body, c.want)
		}
	}
	p.change(func() {
		a := p.alerts[ids[0]]
		if last := a.Answers[len(a.Answers)-1]; len(p.acked) != 2 || a.AckedBy != "bob" || last.From != "dashboard" ||
			last.Token != "" {
			t.Errorf("told %q, the last %+v", p.acked, last)
		}
		p.acked = nil
	})
	code, body := send(js, `{"ids":["`+strings.Join(append(ids, over.ID), `","`)+
		`"],"answer":{"action":"acknowledge","by":"ada","note":"hall is off"}}`)
	if code != 200 || !strings.Contains(body, over.ID) || !strings.Contains(body, "over already") || len(p.acked) != 40 {
		t.Errorf("%d %s, %d told", code, body, len(p.acked))
	}
}

// FuzzAnswer sends any bytes to everything that is published.
func FuzzAnswer(f *testing.F) {
	f.Setenv("FANWATCH_TEST_KEYS", strings.Repeat("k", 32))
	now := func() time.Time { return noon }
	keys, err := links.OpenKeys("env:FANWATCH_TEST_KEYS", now)
	if err != nil {
		f.Fatal(err)
	}
	p := newPlant()
	s, err := NewAnswers(AnswersConfig{Operator: p, Keys: keys, PagerDuty: "env:FANWATCH_TEST_KEYS",
		Slack: "env:FANWATCH_TEST_KEYS", Now: now})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("x", []byte("t=x&action=acknowledge"))
	f.Add("", []byte(pagerDutyBody("E1", "incident.acknowledged", "2026-11-24T12:00:00Z", "null",
		`{"incident_key":"alert/a"}`)))
	f.Add("",
		[]byte("payload=%7B%22type%22%3A%22block_actions%22%2C%22actions%22%3A%5B%7B%22value%22%3A%22a+b%22%7D%5D%7D"))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		stamp := fmt.Sprint(noon.Unix())
		for _, path := range []string{"/answer", "/hooks/pagerduty", "/hooks/slack"} {
			r := httptest.NewRequest("POST", "http://localhost"+path+"?t="+url.QueryEscape(text),
				strings.NewReader(string(body)))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-PagerDuty-Signature", "v1="+signed(strings.Repeat("k", 32), string(body)))
			r.Header.Set("X-Slack-Request-Timestamp", stamp)
			r.Header.Set("X-Slack-Signature", "v0="+signed(strings.Repeat("k", 32), "v0:"+stamp+":"+string(body)))
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code >= 500 || w.Code == 401 {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

func TestBrowserAnswersOnAPhone(t *testing.T) {
	ctx := browser(t)
	a := alert("fan-07", fanwatch.AlertOpen, noon)
	a.Site = "Hall 3"
	o := openOutside(t, a)
	link := o.link(t, links.Claim{Alert: a.ID, To: "ada"})
	do(t, ctx, theme("light"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), chromedp.Navigate(link),
		shows("The rotor of fan-07 has stopped"), fits(), picture("answer"), theme("dark"), picture("answer-dark"),
		chromedp.SendKeys("textarea[name=note]", "on my way"), chromedp.Click("button[value=acknowledge]"))
	eventually(t, "the page says that it was done", func() bool { // a poll within the page ends with it
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
		return err == nil && strings.Contains(text, "ada takes care")
	})
	do(t, ctx, fits(), picture("answer-done"))
	if got := o.told(); !slices.Equal(got, []string{"acknowledge " + a.ID + " by ada from link: on my way"}) {
		t.Errorf("told %q", got)
	}
	do(t, ctx, chromedp.Navigate(link), shows("This link was used"), fits(), picture("answer-used"),
		chromedp.Navigate(link+"x"), shows("not made by this system"), fits(), picture("answer-wrong"))
}

func TestBrowserAnswersAlerts(t *testing.T) {
	ctx := browser(t)
	p := newPlant()
	now := time.Now().Truncate(time.Second)
	for i, site := range []string{"Hall 3", "Hall 3", "Hall 3", "Hall 4"} {
		a := alert(fmt.Sprintf("fan-%02d", i), fanwatch.AlertOpen, now.Add(-time.Duration(5+i)*time.Minute))
		a.Site = site
		p.alerts[a.ID] = a
	}
	_, u := open(t, Config{Operator: p, Now: time.Now}, brisk)
	told := func(want string) {
		t.Helper()
		eventually(t, want, func() (found bool) {
			p.change(func() {
				found = slices.ContainsFunc(p.acked, func(s string) bool {
					return strings.HasPrefix(s, want[:strings.Index(want, " ")]+" alert/") && strings.HasSuffix(s,
						want[strings.Index(want,
							" ")+1:])
				})
			})
			return found
		})
	}
	do(t, ctx, theme("light"), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(u+"/#/alerts"),
		chromedp.Click(".many summary"), shows("Acknowledge 4 alerts"),
		chromedp.SetValue(".many select", "Hall 3"),
		holds(`document.querySelector(".many select").dispatchEvent(new Event("change"))`), shows("Acknowledge 3 alerts"),
		chromedp.SendKeys(".many input[name=by]", "ada"), chromedp.SendKeys(".many input[name=note]", "hall is off"),
		picture("alerts-many"), chromedp.Click(".many button"), shows("Acknowledged: 3."),
		holds(`document.querySelector("section[aria-label=Acknowledged] .count").innerText === "3"`))
	told("acknowledge by ada from dashboard: hall is off")

	opened := func(card string) chromedp.Action[chromedp.Void] { // the page's header may cover it
		return holds(`(document.querySelector("` + card + `details.other").open = true)`)
	}
	t.Log("take over and snooze one that is acknowledged")
	const first = "section[aria-label=Acknowledged] li.card:first-child "
	do(t, ctx, chromedp.Click(first+"button.opener"), chromedp.SetValue(first+"input[name=by]", "bob"),
		holds(`document.querySelector("`+first+`button.primary").innerText === "Take over"`),
		chromedp.Click(first+"button.primary"),
		shows("by bob"), opened(first), chromedp.Click(first+"button[value=act]"),
		shows("Snoozed until"))
	told("acknowledge by bob from dashboard: ")
	told("snooze by bob from dashboard: ")

	t.Log("resolve needs a reason; the key Enter hands over")
	const open = "section[aria-label=Open] li.card:first-child "
	choose := func(card, action string) chromedp.Action[chromedp.Void] {
		return chromedp.Steps(chromedp.SetValue(card+"select[name=action]", action), holds(
			`document.querySelector("`+card+`select[name=action]").dispatchEvent(new Event("change"))`))
	}
	do(t, ctx, opened(open), choose(open, "resolve"), chromedp.SetValue(open+"input[name=by]", "cy"),
		chromedp.Click(open+"button[value=act]"), shows("say why the alert is over"), picture("alerts-answered"),
		choose(open, "hand"), chromedp.SendKeys(open+"input[name=to]", "dan\r"), shows("cy handed over to dan"))
	told("hand by cy from dashboard: ")
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), shows("handed over"), fits(),
		picture("phone-alerts-answered"))
}
