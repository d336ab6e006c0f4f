package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"fanwatch"
)

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {Operator: newPlant(), InboxURL: "127.0.0.1:80"}, {Operator: newPlant(),
		TemporalUI: "ftp://x"}} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want one sentence", c, err)
		}
	}
}

// The page takes a missing list for a broken server.
func TestEmptyListsAreNotNull(t *testing.T) {
	_, u := open(t, Config{Operator: newPlant()})
	var alerts struct{ Alerts []fanwatch.Alert }
	var refused struct{ Refused []refusal }
	getJSON(t, u+"/api/alerts", &alerts)
	getJSON(t, u+"/api/refused", &refused)
	if alerts.Alerts == nil || refused.Refused == nil {
		t.Errorf("alerts %v, refused %v", alerts.Alerts, refused.Refused)
	}
}

func TestFanTellsAllOfIt(t *testing.T) {
	s, u := open(t, Config{Operator: newPlant(status("fan-01", fanwatch.KindNone)), TemporalUI: "http://127.0.0.1:8233/"})
	s.board.publish([]fanwatch.Row{
		row("fan-01", 1, 1800), row("stray", 1, 900),
		{Kind: fanwatch.RowQuarantined, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-01"}}, Client: "c",
			Arrived: noon, Reason: "RPM is missing", Payload: []byte("{\"a\":\x00\"\xff\"}")},
		{Kind: fanwatch.RowQuarantined, Arrived: noon, Reason: "the message is not a JSON object",
			Payload: []byte(strings.Repeat("x", 3000))},
	})
	var one struct {
		Status  *fanwatch.FanStatus
		Refused []refusal
	}
	if code := getJSON(t, u+"/api/fans/fan-01", &one); code != 200 || one.Status == nil ||
		one.Status.Device.Limits.MaxRPM != 2400 {
		t.Fatalf("%d %+v", code, one)
	}
	if len(one.Refused) != 1 || one.Refused[0].Payload != `{"a":\x00"\xff"}` {
		t.Errorf("refused: %+v", one.Refused)
	}
	if code := getJSON(t, u+"/api/fans/stray", &one); code != 200 || one.Status != nil {
		t.Errorf("a fan without a workflow: %d %+v", code, one.Status)
	}
	if code := getJSON(t, u+"/api/fans/nobody", nil); code != 404 {
		t.Errorf("unknown fan: %d", code)
	}
	if code := getJSON(t, u+"/api/fans/a%2Fb", nil); code != 400 {
		t.Errorf("impossible name: %d", code)
	}
	var all struct{ Refused []refusal }
	if getJSON(t, u+"/api/refused", &all); len(all.Refused) != 2 || !all.Refused[0].Cut ||
		len(all.Refused[0].Payload) != maxPayload {
		t.Errorf("all refused: %+v", all.Refused)
	}
	var about struct{ Workflows string }
	if getJSON(t, u+"/api/about", &about); about.Workflows != "http://127.0.0.1:8233/namespaces/default/workflows/" {
		t.Errorf("workflows: %q", about.Workflows)
	}
}

// A retired fan is in no list of the Operator's, and readings from before may still be on their way: it must not
// pass for a fan that was never registered, nor for one that nobody has heard of.
func TestRetiredFan(t *testing.T) {
	p := newPlant(status("fan-18", fanwatch.KindNone))
	s, u := open(t, Config{Operator: p}, brisk)
	line := func(u string) (fanView, int) {
		t.Helper()
		var all update
		getJSON(t, u+"/api/fans", &all)
		if f := all.fan("fan-18"); f != nil {
			return *f, len(all.Latest.Name)
		}
		return fanView{}, len(all.Latest.Name)
	}
	retired := func(u string) {
		t.Helper()
		var one struct {
			Fan    fanView
			Status *fanwatch.FanStatus
		}
		if code := getJSON(t, u+"/api/fans/fan-18", &one); code != 200 || one.Status == nil ||
			one.Status.Phase != fanwatch.PhaseRetired || one.Fan.Phase != fanwatch.PhaseRetired ||
			one.Fan.Since != noon.UnixMilli() {
			t.Errorf("%d %+v", code, one)
		}
	}
	s.board.publish([]fanwatch.Row{row("fan-18", 1, 1800)})
	if f, _ := line(u); f.Phase != fanwatch.PhaseActive {
		t.Fatalf("before: %+v", f)
	}
	p.change(func() {
		st := p.fans["fan-18"]
		st.Phase, st.Since = fanwatch.PhaseRetired, noon
		p.fans["fan-18"] = st
	})
	line(u)
	s.board.publish([]fanwatch.Row{row("fan-18", 2, 1800)})
	if f, readings := line(u); f.Phase != fanwatch.PhaseRetired || readings != 1 {
		t.Errorf("after: %+v, %d readings", f, readings)
	}
	retired(u)

	s, u = open(t, Config{Operator: p}, brisk) // a restart: the landing log tells of readings from before
	retired(u)
	var none chart
	if code := getJSON(t, u+"/api/fans/fan-18/readings", &none); code != 200 || none.T == nil || len(none.T) > 0 {
		t.Errorf("its readings: %d %+v", code, none)
	}
	if code := getJSON(t, u+"/api/fans/nobody/readings", nil); code != 404 {
		t.Errorf("the readings of nobody: %d", code)
	}
	s.board.publish([]fanwatch.Row{row("fan-18", 1, 1800), row("stray", 1, 900)})
	if f, readings := line(u); f.Phase != fanwatch.PhaseRetired || readings != 2 {
		t.Errorf("after a restart: %+v, %d readings", f, readings)
	}
	p.change(func() { p.fans["fan-18"] = status("fan-18", fanwatch.KindNone) })
	if f, _ := line(u); f.Phase != fanwatch.PhaseActive {
		t.Errorf("provisioned again: %+v", f)
	}
	p.change(func() { p.broken = errors.New("no worker answers") })
	if code := getJSON(t, u+"/api/fans/nobody", nil); code != 502 {
		t.Errorf("while the operator does not answer, a fan that the dashboard does not know: %d", code)
	}
}

func TestReadings(t *testing.T) {
	s, u := open(t, Config{Operator: newPlant()})
	rows := []fanwatch.Row{row("fan-01", 1, 1800), row("fan-01", 2, 1810), row("fan-01", 4, 300),
		row("fan-01", 5, math.NaN())}
	rows[2].Anomaly = fanwatch.KindStall
	rows[1].Judged = fanwatch.Judged{Expected: 1805.3, Low: 1778.2, High: 1832.4, Verdict: "normal"}
	late := row("fan-01", 3, 1790)
	late.Kind, late.Position.Sequence = fanwatch.RowLate, "2000"
	s.board.publish(append(rows, late))
	s.board.publish(rows) // a tailer that starts over
	var c chart
	if code := getJSON(t, u+"/api/fans/fan-01/readings", &c); code != 200 ||
		!slices.Equal(c.RPM, []float32{1800, 1810, 1790, 300}) {
		t.Fatalf("%d %+v", code, c)
	}
	if want := []turn{{noon.Add(time.Second).UnixMilli(), ""}, {noon.Add(4 * time.Second).UnixMilli(),
		fanwatch.KindStall}}; !slices.Equal(c.Kinds, want) {
		t.Errorf("kinds %v, want %v", c.Kinds, want)
	}
	if !slices.Equal(c.Expected, []float64{0, 1805.3, 0, 0}) || !slices.Equal(c.Low, []float64{0, 1778.2, 0, 0}) ||
		!slices.Equal(c.High, []float64{0, 1832.4, 0, 0}) {
		t.Errorf("expected %+v", c.judged)
	}
	if getJSON(t, u+"/api/fans/fan-01/readings?seconds=2", &c); len(c.T) != 3 {
		t.Errorf("the last two seconds hold %v", c.T)
	}
	var all update
	if getJSON(t, u+"/api/fans", &all); all.rpm("fan-01") != 300 {
		t.Errorf("a late reading passes for the newest: %+v", all.Latest)
	}
	for _, q := range []string{"0", "-1", "86401", "x", "1e3"} {
		if code := getJSON(t, u+"/api/fans/fan-01/readings?seconds="+q, nil); code != 400 {
			t.Errorf("seconds=%s: %d", q, code)
		}
	}
}

func FuzzReadings(f *testing.F) {
	s, err := New(Config{Operator: newPlant()})
	if err != nil {
		f.Fatal(err)
	}
	s.board.publish([]fanwatch.Row{row("fan-01", 1, 1800)})
	f.Add("fan-01", "seconds=60", "1")
	f.Add("fan-01", "seconds=%zz&seconds=9", "")
	f.Add("../..", "fan=%00", "-1")
	f.Add("", "", "99999999999999999999")
	f.Fuzz(func(t *testing.T, fan, query, host string) {
		for _, p := range []string{"/api/fans/" + url.PathEscape(fan) + "/readings", "/api/fans/" + url.PathEscape(fan),
			"/api/refused", "/assets/" + url.PathEscape(fan)} {
			r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
			r.URL = &url.URL{Path: p, RawQuery: query}
			r.Host = "localhost"
			if host != "" {
				r.Host = host
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s?%s: %d %s", p, query, w.Code, w.Body)
			}
			if typ := w.Header().Get("Content-Type"); typ == "application/json" && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s?%s: not JSON: %s", p, query, w.Body)
			}
		}
	})
}

func TestAcknowledge(t *testing.T) {
	p := newPlant()
	a, over := alert("fan-01", fanwatch.AlertOpen, noon), alert("fan-02", fanwatch.AlertResolved, noon)
	p.alerts[a.ID], p.alerts[over.ID] = a, over
	_, u := open(t, Config{Operator: p})
	post := func(contentType, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(u+"/api/alerts/ack", contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	const js = "application/json"
	for _, c := range []struct {
		typ, body string
		want      int
	}{
		{"text/plain", `{"id":"x","by":"Ada"}`, 415},
		{"", `{"id":"x","by":"Ada"}`, 415},
		{js, `{"id":`, 400},
		{js, `[]`, 400},
		{js, `{"id":"x","by":"Ada"} {}`, 400},
		{js, `{"id":"x","by":"  "}`, 400},
		{js, `{"by":"Ada"}`, 400},
		{js, `{"id":"x","by":"A\u0000da"}`, 400},
		{js, `{"id":"x","by":"Ada","note":"` + strings.Repeat("n", 1001) + `"}`, 400},
		{js, `{"id":"x","by":"Ada","note":"` + strings.Repeat("n", 20<<10) + `"}`, 400},
		{js, `{"id":"alert/none","by":"Ada"}`, 404},
		{js, `{"id":"` + over.ID + `","by":"Ada"}`, 409},
		{js, `{"id":"` + a.ID + `","by":"Ada","note":"on my\nway"}`, 400},
		{js + "; charset=utf-8", `{"id":"` + a.ID + `","by":" Ada ","note":"on my way "}`, 200},
	} {
		code, body := post(c.typ, c.body)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(body), &e); err != nil || code != c.want || (code != 200) != (e.Error != "") {
			t.Errorf("%s %.60s: %d %s, want %d", c.typ, c.body, code, body, c.want)
		}
	}
	if want := []string{a.ID + " by Ada: on my way"}; !slices.Equal(p.acked, want) {
		t.Errorf("acknowledged %q, want %q", p.acked, want)
	}
	p.change(func() { p.broken = errors.New("the cluster\nis away") })
	if code, body := post(js, `{"id":"x","by":"Ada"}`); code != 502 || !strings.Contains(body, "the cluster is away") {
		t.Errorf("%d %s", code, body)
	}
	if code := getJSON(t, u+"/api/alerts/ack", nil); code != 405 {
		t.Errorf("GET acknowledges: %d", code)
	}
}

// TestASuggestionIsShownAndAnswered once, in JSON alone, and for the one that was seen.
func TestASuggestionIsShownAndAnswered(t *testing.T) {
	p := newPlant()
	hours := "06:00-22:00"
	p.fans["fan-01"] = fanwatch.FanStatus{V: 3, Phase: fanwatch.PhaseActive, Device: fanwatch.Device{V: 1, Fan: "fan-01"},
		Suggestions: []fanwatch.Suggestion{{V: 1, Fan: "fan-01", Kind: fanwatch.SuggestionHours, Text: "off at night",
			Change: fanwatch.DeviceChange{Hours: &hours}, Since: noon}}}
	_, u := open(t, Config{Operator: p})
	var d struct{ Status fanwatch.FanStatus }
	if code := getJSON(t, u+"/api/fans/fan-01", &d); code != 200 || len(d.Status.Suggestions) != 1 ||
		*d.Status.Suggestions[0].Change.Hours != hours {
		t.Fatalf("%d %+v", code, d)
	}
	since := noon.Format(time.RFC3339Nano)
	for _, c := range []struct {
		fan, typ, body string
		want           int
	}{
		{"fan-01", "text/plain", `{"kind":"hours","accept":true}`, 415},
		{"fan-01", "application/json", `{"accept":true}`, 400},
		{"fan-01", "application/json", `{"kind":"hours","since":"now"}`, 400},
		{"fan-01", "application/json", `{"kind":"interval","accept":true}`, 404},
		{"fan-01", "application/json", `{"kind":"hours","since":"2020-01-01T00:00:00Z","accept":true}`, 404},
		{"fan-09", "application/json", `{"kind":"hours","accept":true}`, 404},
		{"fan-01", "application/json", `{"kind":"hours","since":"` + since + `","accept":true}`, 200},
		{"fan-01", "application/json", `{"kind":"hours","since":"` + since + `"}`, 404},
	} {
		resp, err := http.Post(u+"/api/fans/"+c.fan+"/suggestion", c.typ, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s %s: %d, want %d", c.fan, c.typ, c.body, resp.StatusCode, c.want)
		}
	}
	if p.fans["fan-01"].Device.Hours != hours || len(p.acked) != 1 {
		t.Errorf("%+v, answered %q", p.fans["fan-01"], p.acked)
	}
}

func TestForeignPagesAndHostsAreRefused(t *testing.T) {
	p := newPlant()
	a := alert("fan-01", fanwatch.AlertOpen, noon)
	p.alerts[a.ID] = a
	_, u := open(t, Config{Operator: p, Hosts: []string{"Watch.example"}})
	ask := func(method, host string, header ...string) int {
		t.Helper()
		req, err := http.NewRequest(method, u+map[string]string{"GET": "/api/fans", "POST": "/api/alerts/ack"}[method],
			strings.NewReader(`{"id":"`+a.ID+`","by":"Eve"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, h := range []string{"evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example",
		"10.0.0.1", "[2001:db8::1]:80", "0.0.0.0"} {
		if got := ask("GET", h); got != 421 {
			t.Errorf("host %s: %d, want 421", h, got)
		}
	}
	for _, h := range []string{"localhost", "localhost:8080", "127.0.0.1", "127.8.9.1:1", "[::1]:8080", "watch.example",
		"WATCH.example:443", "fan.localhost"} {
		if got := ask("GET", h); got != 200 {
			t.Errorf("host %s: %d, want 200", h, got)
		}
	}
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"}, {"Origin", "null"}} {
		if got := ask("POST", "localhost", h...); got != 403 {
			t.Errorf("post with %v: %d, want 403", h, got)
		}
	}
	if len(p.acked) != 0 {
		t.Errorf("acknowledged all the same: %v", p.acked)
	}
	if got := ask("POST", "localhost", "Sec-Fetch-Site", "same-origin"); got != 200 {
		t.Errorf("post by the page itself: %d", got)
	}
}

func TestInbox(t *testing.T) {
	var serve http.HandlerFunc
	sns := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r) }))
	defer sns.Close()
	_, without := open(t, Config{Operator: newPlant()})
	_, u := open(t, Config{Operator: newPlant(), InboxURL: sns.URL + "/"})
	var e struct{ Error string }
	if code := getJSON(t, without+"/api/inbox", &e); code != 404 || e.Error == "" {
		t.Errorf("without an inbox: %d %q", code, e.Error)
	}
	serve = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/inbox.json" {
			t.Errorf("asked for %s", r.URL)
		}
		io.WriteString(w, `{"v":1,"entries":[{"id":1,"subject":"fan-01 stalled"}]}`)
	}
	var got struct{ Entries []struct{ Subject string } }
	if code := getJSON(t, u+"/api/inbox", &got); code != 200 || len(got.Entries) != 1 ||
		got.Entries[0].Subject != "fan-01 stalled" {
		t.Errorf("%d %+v", code, got)
	}
	for name, h := range map[string]http.HandlerFunc{
		"not JSON": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"failing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"too much": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `"`+strings.Repeat("x", 5<<20)+`"`) },
	} {
		serve = h
		if code := getJSON(t, u+"/api/inbox", &e); code != 502 || !strings.HasPrefix(e.Error, "inbox: ") {
			t.Errorf("%s: %d %q", name, code, e.Error)
		}
	}
	sns.Close()
	if code := getJSON(t, u+"/api/inbox", &e); code != 502 {
		t.Errorf("away: %d %q", code, e.Error)
	}
}

func TestPageBuiltAndNot(t *testing.T) {
	s, u := open(t, Config{Operator: newPlant()})
	get := func(p string) (int, http.Header, string) {
		t.Helper()
		resp, err := http.Get(u + p)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(b)
	}
	s.page = fstest.MapFS{".gitkeep": {}}
	if code, _, body := get("/"); code != 503 || !strings.Contains(body, "go tool task ui") {
		t.Errorf("unbuilt: %d %s", code, body)
	}
	s.page = fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "assets/a-1.js": {Data: []byte("1")},
		"secret": {Data: []byte("no")}}
	if code, h, _ := get("/"); code != 200 || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") ||
		h.Get("Cache-Control") != "no-store" {
		t.Errorf("index: %d %v", code, h)
	}
	if code, h, _ := get("/assets/a-1.js"); code != 200 || h.Get("Content-Type") != "text/javascript; charset=utf-8" ||
		!strings.Contains(h.Get("Cache-Control"), "immutable") {
		t.Errorf("asset: %d %v", code, h)
	}
	for _, p := range []string{"/assets/", "/assets/none.js", "/assets/..%2Fsecret", "/secret", "/api/none"} {
		if code, _, body := get(p); code != 404 || !strings.Contains(body, `"error"`) {
			t.Errorf("%s: %d %s", p, code, body)
		}
	}
	if code, _, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
}

func TestCloseEndsTheStreams(t *testing.T) {
	s, err := New(Config{Operator: newPlant()})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	defer web.Close()
	w := watch(t, web.URL, "")
	if _, ok := w.next(); !ok {
		t.Fatal("the stream tells nothing")
	}
	s.Close()
	if _, ok := w.next(); ok {
		t.Error("the stream goes on")
	}
}

func TestRingKeepsTheLast(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r ring
	var all []sample
	limit := 10
	for i := range 5000 {
		if rng.IntN(20) == 0 {
			limit = 1 + rng.IntN(30)
		}
		if len(all) > limit { // a lower limit forgets at the next add
			all = all[len(all)-limit:]
		}
		s := sample{t: int64(i)}
		r.add(s, limit)
		if all = append(all, s); len(all) > limit {
			all = all[len(all)-limit:]
		}
		if !slices.Equal(r.all(), all) {
			t.Fatalf("after %d: %v, want %v", i, r.all(), all)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := newBoard(func() time.Time { return noon })
	var rows []fanwatch.Row
	for n := range 2 * keepReadings {
		rows = append(rows, row("fan-01", n, 1))
	}
	for n := range 5000 {
		q := fanwatch.Row{Kind: fanwatch.RowQuarantined, Client: "noisy", Reason: fmt.Sprint(n)}
		if n%2 == 0 {
			q.Client = fmt.Sprint("client ", n/10)
		}
		rows = append(rows, q)
	}
	b.publish(rows)
	if n := len(b.fans["fan-01"].ring.all()); n != keepReadings {
		t.Errorf("%d readings kept, want %d", n, keepReadings)
	}
	noisy := 0
	for _, r := range b.refused {
		if r.Client == "noisy" {
			noisy++
		}
	}
	if len(b.refused) != maxRefused || noisy > maxRefusedFan || b.refused[len(b.refused)-1].Reason != "4999" {
		t.Errorf("%d refusals kept, %d of one client, the newest %+v", len(b.refused), noisy, b.refused[len(b.refused)-1])
	}
	if most := allowance(10_000) * 10_000; most > keepInAll {
		t.Errorf("10,000 fans may keep %d readings", most)
	}
	for i := range 2 * maxRemoved {
		b.setFans([]fanwatch.FanStatus{status(fmt.Sprint("fan", i), "")})
	}
	if len(b.removed) > maxRemoved {
		t.Errorf("%d departures remembered", len(b.removed))
	}
}
