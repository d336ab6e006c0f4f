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
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()),
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
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
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
		io.WriteString(w, `{"v":1,"entries":[{"id":1,"time":"2026-11-24T12:00:00Z","to":"first@line.example","subject":"fan-07 stalled","body":"The rotor has stopped: <b>no pulse</b> for 3 s.\nStep 1 of 2.","topic":"arn:aws:sns:eu-west-1:0:first-line","copies":1}]}`)
	}))
	defer mail.Close()
	s, url := open(t, Config{Operator: p, InboxURL: mail.URL, TemporalUI: "http://127.0.0.1:8233", Now: time.Now})
	s.Publish(rows)

	do(t, ctx, theme("light"), chromedp.Navigate(url+"/"), shows("fan-07"), shows("Live"), shows("In trouble 4"), picture("fleet"))
	first := get(t, ctx, chromedp.Text("tbody tr:first-child"))
	if !strings.Contains(first, "fan-07") || !strings.Contains(first, "Stalled") {
		t.Errorf("the first line is %q, want the stalled fan", first)
	}
	do(t, ctx, chromedp.SendKeys("input[type=search]", "fan-20"), holds(`document.querySelectorAll("tbody tr").length === 1`),
		chromedp.SendKeys("input[type=search]", strings.Repeat(kb.Backspace, len("fan-20"))), holds(`document.querySelectorAll("tbody tr").length === 21`))

	t.Log("one fan")
	do(t, ctx, chromedp.Click(`a[href="#/fan/fan-07"]`), shows("Lowest RPM allowed"), shows("no pulse for 3 s"), shows("RPM is missing"),
		chromedp.WaitVisible(".u-over"), holds(`document.querySelectorAll(".uplot canvas").length === 2`), picture("fan"))

	t.Log("acknowledge")
	do(t, ctx, chromedp.Navigate(url+"/#/alerts"), shows("Step 1 of 2"), picture("alerts"),
		chromedp.SendKeys("form.ack:not([hidden]) input[name=by]", "Ada"), chromedp.SendKeys("form.ack:not([hidden]) input[name=note]", "on my way"),
		chromedp.Click("form.ack:not([hidden]) button"), shows("by Ada"))
	p.change(func() {
		if len(p.acked) != 1 || !strings.HasSuffix(p.acked[0], "by Ada: on my way") {
			t.Errorf("the operator was told %q", p.acked)
		}
	})

	t.Log("inbox: text, not markup")
	do(t, ctx, chromedp.Click(`a[href="#/inbox"]`), shows("<b>no pulse</b>"), picture("inbox"),
		chromedp.Click(`a[href="#/refused"]`), shows("RPM is missing"), picture("refused"))

	t.Log("phone, dark")
	do(t, ctx, theme("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), chromedp.Navigate(url+"/#/"), shows("fan-07"), fits(), picture("phone-fleet"),
		chromedp.Navigate(url+"/#/fan/fan-09"), shows("Lowest RPM allowed"), chromedp.WaitVisible(".u-over"), fits(), picture("phone-fan"),
		chromedp.Navigate(url+"/#/alerts"), shows("by Ada"), fits(), picture("phone-alerts"), chromedp.Navigate(url+"/#/inbox"), shows("no pulse"), fits())
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url+"/#/fan/fan-09"), shows("Lowest RPM allowed"), chromedp.WaitVisible(".u-over"), picture("dark-fan"))
}

func TestBrowserComesBackAfterTheServer(t *testing.T) {
	ctx := browser(t)
	p, rows := busyPlant(time.Now().Truncate(time.Second))
	s, err := New(Config{Operator: p})
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(rows)
	var now atomic.Pointer[Server]
	now.Store(s)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) }))
	defer web.Close()
	do(t, ctx, chromedp.Navigate(web.URL), shows("fan-07"), shows("Live"))
	s.Close() // its streams end, and new ones at once
	do(t, ctx, shows("Connection lost"), shows("No connection"), picture("lost"))
	again, err := New(Config{Operator: p})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	p.change(func() { p.fans["fan-99"] = status("fan-99", fanwatch.Well) })
	now.Store(again)
	do(t, ctx, shows("fan-99"), shows("Live"), holds(`!document.body.innerText.includes("Connection lost")`))
}

func TestBrowserBearsTenThousandFans(t *testing.T) {
	ctx := browser(t)
	now := time.Now()
	p := newPlant()
	var rows []fanwatch.Row
	for i := range 10_000 {
		st := status(fmt.Sprintf("fan-%05d", i), fanwatch.Well)
		if i == 7777 {
			st.Last.Anomaly.Kind = fanwatch.Overspeed
		}
		p.fans[st.Device.Fan] = st
		r := row(st.Device.Fan, 1, 1800)
		r.Time = now
		rows = append(rows, r)
	}
	s, url := open(t, Config{Operator: p, Now: time.Now})
	s.Publish(rows)
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
	took := get(t, ctx, chromedp.Evaluate[float64](`(() => { const s = document.querySelector("input[type=search]"); s.value = ""; const t = performance.now(); s.dispatchEvent(new Event("input")); return performance.now() - t })()`))
	t.Logf("drawing the fleet of 10,000 anew took %.0f ms", took)
}

// busyPlant is a fleet of 21 with a fan in each kind of trouble, and its last ten minutes of readings.
func busyPlant(now time.Time) (*plant, []fanwatch.Row) {
	p, rng := newPlant(), rand.New(rand.NewPCG(7, 7))
	var rows []fanwatch.Row
	why := map[fanwatch.Kind]string{
		fanwatch.Stall: "The rotor has stopped: no pulse for 3 s, though it turned at 1795 RPM before.", fanwatch.Underspeed: "The fan turns at 1010 RPM, below its limit of 1200.",
		fanwatch.Silent: "No reading has arrived for 45 s.", fanwatch.Unusual: "Within every limit, but the jitter of 0.21 is like nothing seen before.", fanwatch.Well: "",
	}
	kinds := map[int]fanwatch.Kind{7: fanwatch.Stall, 9: fanwatch.Unusual, 12: fanwatch.Underspeed, 15: fanwatch.Silent}
	for i := range 21 {
		name, kind := fmt.Sprintf("fan-%02d", i+1), kinds[i+1]
		st := status(name, kind)
		st.Since, st.Last.Anomaly.Why, st.Last.Anomaly.Threshold = now.Add(-2*time.Minute), why[kind], 2.5
		st.Device.Site, st.Device.Revision, st.Device.Clients = fmt.Sprintf("Hall %d, row %c", i%4+1, 'A'+i%3), 3, []string{"new_Client"}
		if kind != fanwatch.Well {
			a := alert(name, fanwatch.Open, now.Add(-2*time.Minute))
			a.Kind, a.Why, a.Site, st.Alert, st.Alerts = kind, why[kind], st.Device.Site, a.ID, 1
			a.ID = fmt.Sprintf("alert/%s/%s/%d", name, kind, a.Opened.Unix())
			if i == 14 {
				a.State, a.AckedBy, a.AckedAt, a.Note = fanwatch.Acknowledged, "Grace", now.Add(-time.Minute), "the access point is down"
			}
			p.alerts[a.ID] = a
		}
		if i == 20 {
			st.Phase, st.Since = fanwatch.Provisioning, time.Time{}
			p.fans[name] = st
			continue
		}
		p.fans[name] = st
		for n := range 600 {
			r := row(name, n+1, 1800+10*math.Sin(float64(n)/40+float64(i))+4*rng.NormFloat64())
			r.Time, r.Score = now.Add(time.Duration(n-600)*time.Second), 0.8+0.1*rng.Float64()
			if bad := n >= 480; bad && kind == fanwatch.Stall {
				r.RPM, r.Score, r.State, r.Anomaly = 0, 6, fanwatch.Stalled, kind
			} else if bad && kind == fanwatch.Underspeed {
				r.RPM, r.Score, r.Anomaly = 1010+8*rng.NormFloat64(), 4, kind
			} else if bad && kind == fanwatch.Unusual {
				r.RPM, r.Score, r.Anomaly = r.RPM+60*rng.NormFloat64(), 3+rng.Float64(), kind
			} else if n >= 555 && kind == fanwatch.Silent {
				break
			}
			rows = append(rows, r)
		}
	}
	done := alert("fan-03", fanwatch.Resolved, now.Add(-5*time.Minute))
	done.EndedAt = done.Opened.Add(95 * time.Second)
	p.alerts[done.ID] = done
	rows = append(rows, fanwatch.Row{Kind: fanwatch.Quarantined, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-07"}}, Client: "new_Client",
		Arrived: now.Add(-time.Minute), Reason: "RPM is missing", Payload: []byte(`{"TIME":"2026-11-24T12:00:00Z","FANID":"fan-07","FREQ":60}`)})
	return p, rows
}
