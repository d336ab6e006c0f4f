package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/objstore"
	"fanwatch/operator"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The tests in this file drive the built page in a real Chromium. With FANWATCH_SCREENSHOTS naming a
// directory they leave pictures there.

// browser starts Chromium, or skips the test with the reason.
func browser(t *testing.T) context.Context {
	t.Helper()
	if _, err := fs.Stat(built(), "index.html"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the page is not built: run go tool task ui")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not on the PATH: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1280, 900))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil { // starts it
		t.Fatalf("start %s: %v", path, err)
	}
	said, read := chromedp.Console(ctx), make(chan struct{})
	go func() {
		defer close(read)
		for m, err := range said {
			if err == nil && (m.IsException() || m.Source == "security" || strings.Contains(m.Text, "Content Security Policy")) {
				t.Errorf("the page's script failed: %s", m)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-read })
	return ctx
}

// do runs the steps, and on failure tells what the page showed.
func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	get(t, ctx, chromedp.Steps(steps...))
}

// get runs a step that gives a value.
func get[T any](t *testing.T, ctx context.Context, step chromedp.Action[T]) T {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	v, err := chromedp.Run(limit, step)
	if err != nil {
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
		t.Fatalf("%v; the page shows:\n%s", err, text)
	}
	return v
}

// holds waits until the JavaScript expression is true.
func holds(js string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](js, chromedp.WithPollingInterval(50*time.Millisecond))
}

// shows waits until the page's text contains s.
func shows(s string) chromedp.Action[chromedp.Void] {
	return holds(fmt.Sprintf(`document.body.innerText.includes(%q)`, s))
}

// picture leaves a screenshot of the whole page where FANWATCH_SCREENSHOTS says.
func picture(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		dir := os.Getenv("FANWATCH_SCREENSHOTS")
		if dir == "" {
			return nil
		}
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	})
}

func theme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// fits waits until the page is no wider than the window.
func fits() chromedp.Action[chromedp.Void] {
	return holds(`document.documentElement.scrollWidth <= innerWidth`)
}

func TestBrowser(t *testing.T) {
	ctx := browser(t)
	p, rows := busyPlant(time.Now().Truncate(time.Second))
	mail := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w,
			`{"v":1,"entries":[{"id":1,"time":"2026-11-24T12:00:00Z","to":"first@line.example",
			"subject":"fan-07 stalled","body":"The rotor has stopped: <b>no pulse</b> for 3 s.\nStep 1 of 2.",
			"topic":"arn:aws:sns:eu-west-1:0:first-line","copies":1}]}`)
	}))
	defer mail.Close()
	s, url := open(t, Config{Operator: p, InboxURL: mail.URL, TemporalUI: "http://127.0.0.1:8233", Now: time.Now})
	s.board.publish(rows)

	do(t, ctx, theme("light"), chromedp.Navigate(url+"/"), shows("fan-07"), shows("Live"), shows("In trouble 3"),
		shows("Worth a look 1"), picture("fleet"))
	first := get(t, ctx, chromedp.Text("tbody tr:first-child"))
	if !strings.Contains(first, "fan-07") || !strings.Contains(first, "Stalled") || !strings.Contains(first, "Jitter") {
		t.Errorf("the first line is %q, want the stalled fan, which shakes beside it", first)
	}
	do(t, ctx, chromedp.SendKeys("input[type=search]", "fan-20"),
		holds(`document.querySelectorAll("tbody tr").length === 1`),
		chromedp.SendKeys("input[type=search]", strings.Repeat(kb.Backspace, len("fan-20"))),
		holds(`document.querySelectorAll("tbody tr").length === 21`))

	t.Log("one fan")
	do(t, ctx, chromedp.Click(`a[href="#/fan/fan-07"]`), shows("Lowest RPM allowed"), shows("no pulse for 3 s"),
		shows("RPM is missing"),
		chromedp.WaitVisible(".u-over"), holds(`document.querySelectorAll(".uplot canvas").length === 2`), picture("fan"))

	t.Log("the score's threshold is the forest's alone, not a hard rule's RPM")
	const score = `document.querySelectorAll(".chart")[1].getAttribute("aria-label")`
	for fan, want := range map[string]bool{"fan-12": false, "fan-09": true} {
		do(t, ctx, chromedp.Navigate(url+"/#/fan/"+fan), shows("Lowest RPM allowed"), chromedp.WaitVisible(".u-over"),
			holds(score+`.includes("now ")`), picture("threshold-"+fan))
		if label := get(t, ctx, chromedp.Evaluate[string](score)); strings.Contains(label, "threshold") != want {
			t.Errorf("%s: the score's chart is called %q", fan, label)
		}
	}

	t.Log("acknowledge; what is worth a look is counted apart and below")
	do(t, ctx, chromedp.Navigate(url+"/#/alerts"), shows("Step 1 of 2"),
		holds(`document.querySelector("#nav a[href='#/alerts'] .count").innerText === "2"`),
		holds(`document.querySelector("section[aria-label='Worth a look'] .count").innerText === "2"`),
		shows("told in the morning"), picture("alerts"),
		chromedp.SendKeys("form.ack:not([hidden]) input[name=by]", "Ada"),
		chromedp.SendKeys("form.ack:not([hidden]) input[name=note]", "on my way"),
		chromedp.Click("form.ack:not([hidden]) button"), shows("by Ada"))
	p.change(func() {
		if len(p.acked) != 1 || !strings.HasSuffix(p.acked[0], "by Ada: on my way") {
			t.Errorf("the operator was told %q", p.acked)
		}
	})

	t.Log("and say of one that is over that it was normal")
	do(t, ctx, chromedp.Click("section[aria-label=Over] button.opener"),
		chromedp.Click("section[aria-label=Over] button[value=normal]"), shows("cannot be made normal"),
		shows("This is normal, by Ada"))

	t.Log("a suggestion is confirmed where it is shown")
	p.change(func() {
		st, hours := p.fans["fan-12"], "06:00-22:00"
		st.Suggestions = []fanwatch.Suggestion{{V: 1, Fan: "fan-12", Kind: fanwatch.SuggestionHours, Text: "It stands still.",
			Change: fanwatch.DeviceChange{Hours: &hours}, Since: time.Now()}}
		p.fans["fan-12"] = st
	})
	do(t, ctx, chromedp.Navigate(url+"/#/fan/fan-12"), shows("It stands still. Set its hours to 06:00-22:00?"),
		picture("suggestion"), chromedp.Click(".suggestion .primary"), shows("Configured."))
	p.change(func() {
		if p.fans["fan-12"].Device.Hours != "06:00-22:00" {
			t.Errorf("configured: %+v", p.fans["fan-12"].Device)
		}
	})

	t.Log("inbox: text, not markup")
	do(t, ctx, chromedp.Click(`a[href="#/inbox"]`), shows("<b>no pulse</b>"), picture("inbox"),
		chromedp.Click(`a[href="#/refused"]`), shows("RPM is missing"), picture("refused"))

	t.Log("phone, dark")
	do(t, ctx, theme("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), chromedp.Navigate(url+"/#/"),
		shows("fan-07"), fits(), picture("phone-fleet"),
		chromedp.Navigate(url+"/#/fan/fan-09"), shows("Lowest RPM allowed"), chromedp.WaitVisible(".u-over"), fits(),
		picture("phone-fan"),
		chromedp.Navigate(url+"/#/alerts"), shows("by Ada"), fits(), picture("phone-alerts"), chromedp.Navigate(url+
			"/#/inbox"), shows("no pulse"), fits())
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url+"/#/fan/fan-09"), shows("Lowest RPM allowed"),
		chromedp.WaitVisible(".u-over"), picture("dark-fan"))
}

// library is a History whose answers change while the page is open.
type library func(fan string, from, to time.Time, points int) ([]lake.Point, error)

func (l library) Query(_ context.Context, fan string, from, to time.Time, points int) ([]lake.Point, error) {
	return l(fan, from, to, points)
}

// TestBrowserShowsTheTable chooses the ranges that only the table can answer. Its answers are like nothing that the
// dashboard remembers, and the chart must show them: in words, under the cursor, and as a band between least and
// greatest.
func TestBrowserShowsTheTable(t *testing.T) {
	ctx := browser(t)
	p, rows := busyPlant(time.Now().Truncate(time.Second))
	type question struct {
		fan          string
		length, part time.Duration
	}
	asked, failed := make(chan question, 10), atomic.Bool{}
	hold := make(chan struct{}) // answers to the first question wait for it
	s, url := open(t, Config{Operator: p, Now: time.Now, History: library(func(fan string, from, to time.Time,
		points int) ([]lake.Point, error) {
		length := to.Sub(from)
		asked <- question{fan, length, length / time.Duration(points)}
		switch {
		case length == time.Hour:
			<-hold
		case length == 24*time.Hour && failed.Load():
			return nil, errors.New("the table is gone")
		case length == 30*24*time.Hour:
			return nil, nil
		}
		var answer []lake.Point
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range points {
			if i > points/4 && i < points/3 {
				continue // the fan stood still
			}
			slow := 60*math.Sin(float64(i)/30) + 4*rng.NormFloat64()
			pt := lake.Point{From: from.Add(time.Duration(i) * length / time.Duration(points)), Count: 10,
				RPM:   lake.Stats{Min: 3100 + slow, Max: 3900 + slow, Mean: 3500 + slow},
				Score: lake.Stats{Min: 0.6, Max: 1.4, Mean: 0.9}}
			if i == points/2 {
				pt.RPM.Max, pt.Score.Max, pt.Anomaly = 4321, 7.5, fanwatch.KindOverspeed
			}
			answer = append(answer, pt)
		}
		return answer, nil
	})})
	s.board.publish(rows)
	wantAsked := func(length, part time.Duration) {
		t.Helper()
		select {
		case got := <-asked:
			if got != (question{"fan-07", length, part}) {
				t.Errorf("the page asked for %+v, want %v in parts of %v", got, length, part)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the page asked for nothing")
		}
	}
	choice := func(label string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("[aria-label='Time shown'] button")].find(b => b.innerText === %q)`,
			label)
	}
	press := func(label string) chromedp.Action[chromedp.Void] { // with the keyboard
		return chromedp.Steps(holds(choice(label)+` && (`+choice(label)+`.focus(), true)`), chromedp.KeyEvent(kb.Enter),
			holds(choice(label)+`.getAttribute("aria-pressed") === "true"`))
	}
	const label = `document.querySelector(".chart").getAttribute("aria-label")`
	do(t, ctx, theme("light"), chromedp.Navigate(url+"/#/fan/fan-07"), chromedp.WaitVisible(".u-over"),
		holds(label+`.includes("now 0")`), holds(
			`document.querySelectorAll("[aria-label='Time shown'] button").length === 6`))
	if live := get(t, ctx, chromedp.Evaluate[string](label)); strings.Contains(live, "4321") {
		t.Fatalf("live shows the table: %s", live)
	}

	t.Log("loading")
	do(t, ctx, press("1 h"), shows("Loading the history"), holds(`document.querySelector(".charts").hidden`))
	wantAsked(time.Hour, 10*time.Second)
	close(hold)
	do(t, ctx, chromedp.WaitVisible(".u-over"), holds(label+`.includes("highest 4321")`),
		holds(`!document.body.innerText.includes("Loading")`), picture("fan-hour"))

	t.Log("a week, as it is drawn")
	do(t, ctx, press("7 d"))
	wantAsked(7*24*time.Hour, 20*time.Minute)
	do(t, ctx, holds(label+`.includes("Lowest 30")`),
		holds(`[...document.querySelectorAll(".u-legend .u-label")].some(l => l.innerText === "lowest")`))
	over := `document.querySelector(".u-over")`
	do(t, ctx, holds(`(() => { const r = `+over+`.getBoundingClientRect(); `+over+
		`.dispatchEvent(new MouseEvent("mousemove", {bubbles: true, clientX: r.left + r.width * 0.75,
			clientY: r.top + r.height / 2})); return true })()`),
		holds(`(() => {
			const values = [...document.querySelectorAll(".chart:first-of-type .u-value")].slice(0, 4);
			const [x, mean, hi, lo] = values.map(v => parseFloat(v.innerText));
			return Math.abs(hi - mean - 400) < 1 && Math.abs(mean - lo - 400) < 1 })()`), picture("fan-week"))
	// Above the mean, where the limits leave room, only the band is drawn: its colour covers much of the canvas.
	tinted := get(t, ctx, chromedp.Evaluate[float64](
		`(() => {
			const c = document.querySelector(".uplot canvas");
			const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
			let n = 0;
			for (let i = 3; i < d.length; i += 4) if (d[i] > 50 && d[i] < 80) n++;
			return 4 * n / d.length })()`))
	if tinted < 0.1 {
		t.Errorf("the band covers %.3f of the chart", tinted)
	}
	do(t, ctx, chromedp.Click("details:has(tbody) > summary"), shows("The last 20 parts of 20 min as a table"),
		holds(`document.querySelector("details tbody").innerText.includes(" to ")`))

	t.Log("failed, and again")
	failed.Store(true)
	do(t, ctx, press("24 h"), shows("could not be had: the table is gone"), shows("Try again"),
		holds(`document.querySelector("details tbody").innerText === ""`), picture("fan-failed"))
	wantAsked(24*time.Hour, 3*time.Minute)
	failed.Store(false)
	do(t, ctx,
		holds(`[...document.querySelectorAll("button")].find(b => b.innerText === "Try again").focus() === undefined`),
		chromedp.KeyEvent(kb.Enter),
		holds(label+`.includes("highest 4321")`), holds(`document.activeElement === `+choice("24 h")),
		holds(`!document.body.innerText.includes("Try again")`), picture("fan-day"))
	wantAsked(24*time.Hour, 3*time.Minute)

	t.Log("empty, and back to live")
	do(t, ctx, press("30 d"), shows("The table has no reading of this fan in the last 30 d"),
		holds(`document.querySelector(".charts").hidden`), picture("fan-empty"))
	wantAsked(30*24*time.Hour, 2*time.Hour)
	do(t, ctx, press("Live 5 min"), holds(label+`.includes("now 0")`),
		holds(`document.querySelectorAll(".chart:first-of-type .u-series").length === 2`))

	t.Log("phone, dark")
	do(t, ctx, theme("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), press("7 d"),
		holds(label+`.includes("highest 4321")`), fits(), picture("phone-fan-week"))
}

// TestBrowserDrawsWhatWasExpected, and the band around it, of live readings and of parts of the table.
func TestBrowserDrawsWhatWasExpected(t *testing.T) {
	ctx := browser(t)
	p, _ := busyPlant(time.Now().Truncate(time.Second))
	judged := func(at time.Time) fanwatch.Judged {
		expected := 1800 + 60*math.Sin(float64(at.Unix())/100)
		return fanwatch.Judged{Expected: expected, Low: expected - 27, High: expected + 27, Verdict: "normal"}
	}
	s, url := open(t, Config{Operator: p, Now: time.Now, History: library(func(_ string, from, to time.Time,
		points int) (answer []lake.Point, _ error) {
		for i := range points {
			at := from.Add(time.Duration(i) * to.Sub(from) / time.Duration(points))
			pt := lake.Point{From: at, Count: 10, RPM: lake.Stats{Min: 1780, Max: 1820, Mean: 1801}}
			if j := judged(at); i > points/3 { // an earlier program expected nothing
				pt.Expected, pt.Low, pt.High = j.Expected, j.Low, j.High
			}
			answer = append(answer, pt)
		}
		return answer, nil
	})})
	now, rng := time.Now().Truncate(time.Second), rand.New(rand.NewPCG(1, 1))
	for n := range 600 {
		r := row("fan-03", n, 0)
		r.Time = now.Add(time.Duration(n-600) * time.Second)
		if r.Judged = judged(r.Time); n < 350 {
			r.Judged = fanwatch.Judged{Verdict: "learning"}
		}
		r.RPM = judged(r.Time).Expected + 5*rng.NormFloat64()
		if n > 560 {
			r.RPM -= 90
		}
		s.board.publish([]fanwatch.Row{r})
	}
	const label = `document.querySelector(".chart").getAttribute("aria-label")`
	const legend = `[...document.querySelectorAll(".chart:first-of-type .u-label")].map(l => l.innerText).join()`
	do(t, ctx, theme("light"), chromedp.Navigate(url+"/#/fan/fan-03"), chromedp.WaitVisible(".u-over"),
		holds(label+`.includes("Expected 1")`), holds(legend+`.endsWith("RPM,Band, upper end,Band, lower end,Expected")`),
		picture("expected-live"))
	do(t, ctx, holds(`[...document.querySelectorAll("[aria-label='Time shown'] button")].find(b => b.innerText === "1 h")`+
		`.click() === undefined`), holds(legend+`.includes("lowest,Band, upper end")`), picture("expected-hour"),
		theme("dark"), picture("expected-dark"))
}

func TestBrowserComesBackAfterTheServer(t *testing.T) {
	ctx := browser(t)
	p, rows := busyPlant(time.Now().Truncate(time.Second))
	s, err := New(Config{Operator: p})
	if err != nil {
		t.Fatal(err)
	}
	s.board.publish(rows)
	var now atomic.Pointer[Server]
	now.Store(s)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now.Load().ServeHTTP(w,
			r)
	}))
	defer web.Close()
	do(t, ctx, chromedp.Navigate(web.URL), shows("fan-07"), shows("Live"))
	s.Close() // its streams end, and new ones at once
	do(t, ctx, shows("Connection lost"), shows("No connection"), picture("lost"))
	again, err := New(Config{Operator: p})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	p.change(func() { p.fans["fan-99"] = status("fan-99", fanwatch.KindNone) })
	now.Store(again)
	do(t, ctx, shows("fan-99"), shows("Live"), holds(`!document.body.innerText.includes("Connection lost")`))
}

func TestBrowserShowsARetiredFan(t *testing.T) {
	ctx := browser(t)
	now := time.Now()
	p := newPlant(status("fan-18", fanwatch.KindNone), status("fan-19", fanwatch.KindNone))
	r := row("fan-18", 1, 1800)
	r.Time = now
	s, url := open(t, Config{Operator: p, Now: time.Now})
	s.board.publish([]fanwatch.Row{r})
	do(t, ctx, chromedp.Navigate(url+"/#/fan/fan-18"),
		holds(`document.querySelector(".fan .badge").innerText.includes("Normal")`), shows("Lowest RPM allowed"))
	p.change(func() {
		st := p.fans["fan-18"]
		st.Phase, st.Since, st.Device.Retired = fanwatch.PhaseRetired, now, true
		p.fans["fan-18"] = st
	})
	retired := func() chromedp.Action[chromedp.Void] {
		return chromedp.Steps(shows("Retired since"),
			holds(`document.querySelector(".fan .badge").innerText.includes("Retired")`),
			holds(`!document.body.innerText.includes("No workflow knows")`), shows("Lowest RPM allowed"))
	}
	do(t, ctx, retired(), chromedp.WaitVisible(".u-over"), picture("retired"),
		chromedp.Navigate(url+"/#/"), shows("All 1"), holds(`!document.body.innerText.includes("fan-18")`))

	t.Log("after a restart")
	_, url = open(t, Config{Operator: p, Now: time.Now})
	do(t, ctx, chromedp.Navigate(url+"/#/fan/fan-18"), retired(), shows("no longer remembered"),
		picture("retired-restart"),
		chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), fits(), picture("phone-retired"),
		chromedp.Navigate(url+"/#/fan/nobody"), shows("No fan of this name is known"))
}

// TestBrowserClaimsNothing looks where the page once said more than it knew.
func TestBrowserClaimsNothing(t *testing.T) {
	ctx := browser(t)
	p := newPlant(status("fan-01", fanwatch.KindNone), status("fan-02", fanwatch.KindStall))
	p.judged = map[string]operator.Judgement{"fan-01": {Judging: operator.JudgingNever}}
	fresh := p.fans["fan-01"]
	fresh.Since = time.Now()
	p.fans["fan-01"] = fresh
	stalled := row("fan-02", 1, 0)
	stalled.Score, stalled.State, stalled.Anomaly, stalled.Time = 0, fanwatch.StateStalled, fanwatch.KindStall, time.Now()
	s, err := New(Config{Operator: p, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.board.publish([]fanwatch.Row{stalled})
	var down atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		s.ServeHTTP(w, r)
	}))
	defer web.Close()
	defer s.Close() // first, for its streams keep web from closing

	t.Log("a score that is none, a fan without a reading")
	for fan, want := range map[string]string{"fan-01": "No reading yet", "fan-02": "learning"} {
		do(t, ctx, chromedp.Navigate(web.URL+"/#/"), holds(`document.querySelectorAll("tbody tr").length === 2`),
			picture("learning"))
		line := get(t, ctx, chromedp.Evaluate[string](
			fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find(l => l.innerText.includes(%q)).innerText`, fan)))
		if !strings.Contains(line, want) || strings.Contains(line, "Normal") {
			t.Errorf("%s is listed as %q, want %q", fan, line, want)
		}
		do(t, ctx, chromedp.Navigate(web.URL+"/#/fan/"+fan), shows("Lowest RPM allowed"), shows(want))
	}

	t.Log("an address that leads to nothing")
	for _, path := range []string{"bogus", "fan"} {
		do(t, ctx, chromedp.Navigate(web.URL+"/#/"+path), shows("No such page"),
			holds(`!document.querySelector("nav [aria-current]") && !document.querySelector("table")`), picture("bogus"))
	}

	t.Log("refused messages, while the server is away")
	do(t, ctx, chromedp.Navigate(web.URL+"/#/refused"), shows("Not known: no landing log is read here"),
		holds(`!document.body.innerText.includes("No message was refused")`))
	store, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	go s.Follow(t.Context(), store, "fans", 10*time.Millisecond)
	do(t, ctx, chromedp.Navigate(web.URL+"/#/alerts"), shows("Nobody is working on an alert"))
	down.Store(true)
	web.CloseClientConnections()
	do(t, ctx, chromedp.Click(`a[href="#/refused"]`), shows("The server does not answer."), picture("refused-down"))
	if text := get(t, ctx, chromedp.Text("main")); strings.Contains(text, "No message was refused") {
		t.Errorf("the page claims to know: %s", text)
	}
	down.Store(false)
	do(t, ctx, shows("No message was refused"), holds(`!document.body.innerText.includes("does not answer")`))
}

func TestBrowserBearsTenThousandFans(t *testing.T) {
	ctx := browser(t)
	now := time.Now()
	p := newPlant()
	var rows []fanwatch.Row
	for i := range 10_000 {
		st := status(fmt.Sprintf("fan-%05d", i), fanwatch.KindNone)
		if i == 7777 {
			st.Last.Anomaly.Kind = fanwatch.KindOverspeed
		}
		p.fans[st.Device.Fan] = st
		r := row(st.Device.Fan, 1, 1800)
		r.Time = now
		rows = append(rows, r)
	}
	s, url := open(t, Config{Operator: p, Now: time.Now})
	s.board.publish(rows)
	do(t, ctx, chromedp.Navigate(url), shows("All 10000"), shows("200 of 10000 shown"))
	if lines := get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("tbody tr").length`)); lines != 200 {
		t.Errorf("%d lines in the document, want 200", lines)
	}
	first := get(t, ctx, chromedp.Text("tbody tr:first-child"))
	do(t, ctx, chromedp.SendKeys("input[type=search]", "09999"), shows("fan-09999"),
		holds(`document.querySelectorAll("tbody tr").length === 1`))
	if !strings.Contains(first, "fan-07777") {
		t.Errorf("the first line is %q, want the fan in trouble", first)
	}
	took := get(t, ctx, chromedp.Evaluate[float64](
		`(() => {
			const s = document.querySelector("input[type=search]");
			s.value = "";
			const t = performance.now();
			s.dispatchEvent(new Event("input"));
			return performance.now() - t })()`))
	t.Logf("drawing the fleet of 10,000 anew took %.0f ms", took)
}

// busyPlant is a fleet of 21 with a fan in each kind of trouble, and its last ten minutes of readings.
func busyPlant(now time.Time) (*plant, []fanwatch.Row) {
	p, rng := newPlant(), rand.New(rand.NewPCG(7, 7))
	var rows []fanwatch.Row
	why := map[fanwatch.Kind]string{
		fanwatch.KindStall:      "The rotor has stopped: no pulse for 3 s, though it turned at 1795 RPM before.",
		fanwatch.KindUnderspeed: "The fan turns at 1010 RPM, below its limit of 1200.",
		fanwatch.KindSilent:     "No reading has arrived for 45 s.",
		fanwatch.KindUnusual:    "Within every limit, but the jitter of 0.21 is like nothing seen before.",
		fanwatch.KindNone:       "",
	}
	kinds := map[int]fanwatch.Kind{7: fanwatch.KindStall, 9: fanwatch.KindUnusual, 12: fanwatch.KindUnderspeed,
		15: fanwatch.KindSilent}
	for i := range 21 {
		name, kind := fmt.Sprintf("fan-%02d", i+1), kinds[i+1]
		st := status(name, kind)
		st.Since, st.Last.Anomaly.Why = now.Add(-2*time.Minute), why[kind]
		st.Last.Anomaly.Threshold = map[fanwatch.Kind]float64{fanwatch.KindUnderspeed: 1200, fanwatch.KindUnusual: 2.5}[kind]
		st.Device.Site, st.Device.Revision, st.Device.Clients = fmt.Sprintf("Hall %d, row %c", i%4+1, 'A'+i%3), 3,
			[]string{"new_Client"}
		if kind != fanwatch.KindNone {
			a := alert(name, fanwatch.AlertOpen, now.Add(-2*time.Minute))
			a.Kind, a.Why, a.Site, st.Alert, st.Alerts = kind, why[kind], st.Device.Site, a.ID, 1
			a.ID = fmt.Sprintf("alert/%s/%s/%d", name, kind, a.Opened.Unix())
			if i == 14 {
				a.State, a.AckedBy, a.AckedAt, a.Note = fanwatch.AlertAcknowledged, "Grace", now.Add(-time.Minute),
					"the access point is down"
			}
			p.alerts[a.ID] = a
		}
		if kind == fanwatch.KindStall {
			jitter := st.Last
			jitter.Anomaly = fanwatch.Anomaly{Kind: fanwatch.KindJitter, Why: "It shakes three times as much as usual."}
			a := alert(name, fanwatch.AlertOpen, now.Add(-time.Hour))
			a.ID, a.Kind, a.Severity, a.Why = "alert/fan-07/jitter/1", fanwatch.KindJitter, fanwatch.SeverityInfo,
				jitter.Anomaly.Why
			p.alerts[a.ID] = a
			st.Families = map[fanwatch.Family]fanwatch.FamilyStatus{
				fanwatch.FamilySpeed:   {Last: st.Last, Since: st.Since, Alert: st.Alert},
				fanwatch.FamilyTexture: {Last: jitter, Since: a.Opened, Alert: a.ID}}
		}
		if i == 20 {
			st.Phase, st.Since = fanwatch.PhaseProvisioning, time.Time{}
			p.fans[name] = st
			continue
		}
		p.fans[name] = st
		for n := range 600 {
			r := row(name, n+1, 1800+10*math.Sin(float64(n)/40+float64(i))+4*rng.NormFloat64())
			r.Time, r.Score = now.Add(time.Duration(n-600)*time.Second), 0.8+0.1*rng.Float64()
			if bad := n >= 480; bad && kind == fanwatch.KindStall {
				r.RPM, r.Score, r.State, r.Anomaly = 0, 6, fanwatch.StateStalled, kind
			} else if bad && kind == fanwatch.KindUnderspeed {
				r.RPM, r.Score, r.Anomaly = 1010+8*rng.NormFloat64(), 4, kind
			} else if bad && kind == fanwatch.KindUnusual {
				r.RPM, r.Score, r.Anomaly = r.RPM+60*rng.NormFloat64(), 3+rng.Float64(), kind
			} else if n >= 555 && kind == fanwatch.KindSilent {
				break
			}
			rows = append(rows, r)
		}
	}
	done := alert("fan-03", fanwatch.AlertResolved, now.Add(-5*time.Minute))
	done.EndedAt = done.Opened.Add(95 * time.Second)
	p.alerts[done.ID] = done
	rows = append(rows, fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-07"}}, Client: "new_Client",
		Arrived: now.Add(-time.Minute), Reason: "RPM is missing",
		Payload: []byte(`{"TIME":"2026-11-24T12:00:00Z","FANID":"fan-07","FREQ":60}`)})
	return p, rows
}

// TestBrowserShowsNothingAsNormalFromOldNews: a fan that is silent or not judged shows no speed as that of now, and
// with the server hung nothing stays green, no duration goes on, and the page says from when it is.
func TestBrowserShowsNothingAsNormalFromOldNews(t *testing.T) {
	ctx := browser(t)
	now := time.Now().Truncate(time.Second)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	p := newPlant(status("fan-01", fanwatch.KindNone), status("fan-02", fanwatch.KindSilent),
		status("fan-03", fanwatch.KindNone), status("fan-04", fanwatch.KindNone), status("fan-05", fanwatch.KindNone))
	for name, st := range p.fans {
		st.Device.Limits.MinRPM, st.Last.V, st.Last.RPM, st.Last.Time, st.Since = 0, 1, 1801, ago(6*time.Minute),
			ago(6*time.Minute)
		p.fans[name] = st
	}
	p.judged = map[string]operator.Judgement{
		"fan-02": {Judging: operator.JudgingStopped, At: ago(44 * time.Second), Since: ago(44 * time.Second)},
		"fan-03": {Judging: operator.JudgingUnread, Since: ago(90 * time.Second),
			Why: "shard s-1 is not read: access denied"},
		"fan-04": {Judging: operator.JudgingStopped, At: ago(5 * time.Minute), Since: ago(5 * time.Minute)},
	}
	pipe, gone := alert("shard s-1", fanwatch.AlertOpen, ago(time.Minute)), alert("fan-05", fanwatch.AlertTerminated,
		ago(time.Hour))
	pipe.Kind, pipe.Why, pipe.NormalFrom, pipe.Returns, pipe.Round = fanwatch.KindPipeline, "Shard s-1 is not read.",
		ago(10*time.Second), 3, 1
	pipe.Failed = []fanwatch.Failure{{Step: 1, To: "arn:aws:sns:us-east-1:1:pager", Why: "NotFound",
		At: ago(30 * time.Second)}}
	p.alerts[pipe.ID], p.alerts[gone.ID] = pipe, gone
	s, err := New(Config{Operator: p, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	read := func(fan string, at time.Time) fanwatch.Row {
		r := row(fan, 1, 1801)
		r.Time = at
		return r
	}
	s.board.publish([]fanwatch.Row{read("fan-01", now), read("fan-02", ago(44*time.Second)),
		read("fan-03", ago(90*time.Second))})
	var hung atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hung.Load() {
			<-r.Context().Done()
			return
		}
		s.ServeHTTP(&stopped{ResponseWriter: w, hung: &hung}, r)
	}))
	defer web.Close()
	defer s.Close()

	line := func(fan string) string {
		t.Helper()
		return get(t, ctx, chromedp.Evaluate[string](
			fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find(l => l.innerText.includes(%q)).innerText`, fan)))
	}
	do(t, ctx, chromedp.Navigate(web.URL+"/#/"), holds(`document.querySelectorAll("tbody tr").length === 5`),
		shows("Live"), picture("judged"))
	for fan, want := range map[string][]string{
		"fan-01": {"Normal", "1,801", "now"}, "fan-02": {"Silent", "\u2013", "s ago"}, "fan-03": {"Not judged", "\u2013",
			"not since"}, "fan-04": {"Not judged", "\u2013", "min"}, "fan-05": {"Normal", "now"},
	} {
		for _, w := range want {
			if l := line(fan); !strings.Contains(l, w) || fan != "fan-01" && strings.Contains(l, "1,801") {
				t.Errorf("%s is listed as %q, want %q", fan, l, want)
			}
		}
	}
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), fits(), picture("phone-judged"),
		chromedp.EmulateViewport(1280, 900))
	do(t, ctx, chromedp.Navigate(web.URL+"/#/fan/fan-02"), shows("half of its usual speed"), shows(": 1,801 RPM"),
		holds(`!document.querySelector(".now").innerText.includes("running")`), picture("silent"),
		chromedp.Navigate(web.URL+"/#/fan/fan-03"), shows("nothing would be noticed. Shard s-1 is not read: access denied."),
		picture("unjudged"),
		chromedp.Navigate(web.URL+"/#/fan/fan-04"), shows("remembers no reading"), shows(": 1,801 RPM"),
		holds(`!document.body.innerText.includes("none yet")`))
	do(t, ctx, chromedp.Navigate(web.URL+"/#/alerts"), shows("Fanwatch itself"), shows("round 2"), shows("pager"),
		shows("step 1: NotFound"), shows("closes when that has held"), shows("Came back"), shows("3 times"),
		shows("ended from outside"), holds(`!document.querySelector(".card h3 a[href*=shard]")`), picture("alert-fields"))

	do(t, ctx, chromedp.Navigate(web.URL+"/#/"), holds(`document.querySelectorAll("tbody tr").length === 5`),
		shows("Live"))
	hung.Store(true)
	stop := time.Now()
	do(t, ctx, shows("Connection lost"))
	if took := time.Since(stop); took > 13*time.Second { // ten, and what a busy machine takes
		t.Errorf("a hung server is noticed after %v", took)
	}
	do(t, ctx, shows("No connection"), holds(
		`![...document.querySelectorAll("tbody tr")].some(l => l.innerText.includes("Normal"))`), shows("Not known"),
		picture("hung"))
	before := line("fan-01")
	do(t, ctx, chromedp.Sleep(1500*time.Millisecond))
	if after := line("fan-01"); after != before || strings.Contains(after, "1,801") {
		t.Errorf("durations go on without news: %q, then %q", before, after)
	}
	dated := get(t, ctx, chromedp.Evaluate[float64](`Date.parse(document.querySelector("#banners time").dateTime) / 1000`))
	if off := time.UnixMilli(int64(dated * 1000)).Sub(stop); off > time.Second || off < -5*time.Second {
		t.Errorf("the page says that it is from %v after the server hung", off)
	}
	hung.Store(false)
	do(t, ctx, shows("Live"),
		holds(`[...document.querySelectorAll("tbody tr")].some(l => l.innerText.includes("Normal"))`))
}

// stopped is a ResponseWriter that takes what is written and sends none of it while hung.
type stopped struct {
	http.ResponseWriter
	hung *atomic.Bool
}

func (s *stopped) Write(b []byte) (int, error) {
	if s.hung.Load() {
		return len(b), nil
	}
	return s.ResponseWriter.Write(b)
}

func (s *stopped) Unwrap() http.ResponseWriter { return s.ResponseWriter }
