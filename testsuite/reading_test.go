package testsuite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"fanwatch"
	"fanwatch/local"
)

// TestDemoPublisherIsScoredAlertedAndAcknowledged walks the path as the 2019 demo's device does: a client
// that is none of ours, the client ID new_Client, the demo's object on the demo's topic. One alert goes
// unanswered to its second step; each way to acknowledge keeps another from getting there.
func TestDemoPublisherIsScoredAlertedAndAcknowledged(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	ways := map[string]func(*testing.T, fanwatch.Alert) error{
		"CLI":    func(_ *testing.T, a fanwatch.Alert) error { _, err := s.cli("ack", a.ID, "--by", "ada"); return err },
		"signal": func(_ *testing.T, a fanwatch.Alert) error { return s.signalAcknowledge(a) },
		"page":   func(_ *testing.T, a fanwatch.Alert) error { return s.postAcknowledge(a) },
		"button": s.clickAcknowledge,
	}
	unanswered := s.demoAlert("ABCunanswered")
	answered := map[string]fanwatch.Alert{}
	for way, acknowledge := range ways {
		t.Run(way, func(t *testing.T) {
			a := s.demoAlert("ABC" + way)
			if err := acknowledge(t, a); err != nil {
				t.Fatal(err)
			}
			s.until(10*time.Second, "the acknowledgement by "+way, func() (bool, string) {
				for _, b := range ask[[]fanwatch.Alert](s, "alerts") {
					if b.ID == a.ID {
						return b.State == fanwatch.AlertAcknowledged && b.AckedBy == "ada", fmt.Sprintf("%+v", b)
					}
				}
				return false, "no such alert"
			})
			answered[way] = a
		})
	}
	last := s.demoAlert("ABClast") // opened after all that were answered: they had time to go as far
	for _, a := range []fanwatch.Alert{unanswered, last} {
		s.until(90*time.Second, "step two of "+a.ID, func() (bool, string) {
			step := s.stepOf(a)
			return step == 2, fmt.Sprintf("step %d", step)
		})
	}
	for way, a := range answered {
		if step := s.stepOf(a); step != 1 {
			t.Errorf("acknowledged by %s, and still it is at step %d", way, step)
		}
	}
	if _, err := s.cli("ack", unanswered.ID, "--by", "ada"); err != nil {
		t.Errorf("acknowledge after the last step: %v", err)
	}
}

// stepOf returns the step that an open alert has reached.
func (s *system) stepOf(a fanwatch.Alert) int {
	for _, b := range ask[[]fanwatch.Alert](s, "alerts") {
		if b.ID == a.ID {
			return b.Step
		}
	}
	return 0
}

// demoAlert provisions a fan of a site of its own, so that its alert is part of no incident, with a legacy client ID,
// has it turn and then drag, and gives the alert.
func (s *system) demoAlert(fan string) fanwatch.Alert {
	s.t.Helper()
	cert, key := s.provision(fan, "--client", "new_Client_"+fan, "--min-rpm", "900", "--site", "Hall "+fan)
	c := mustConnect(s, "new_Client_"+fan, cert, key)
	at := time.Now().Add(-30 * time.Second)
	publish := func(n int, rpm float64) {
		for range n {
			at = at.Add(time.Second)
			demo(s.t, c, fan, at, rpm)
		}
	}
	publish(10, 1800)
	publish(3, 300)
	a := s.openAlert(fan, 20*time.Second)
	if want := fan + " turns too slowly: 300 RPM, below the limit of 900 RPM."; a.Why != want ||
		a.Kind != fanwatch.KindUnderspeed {
		s.t.Errorf("the alert says %q, want %q", a.Why, want)
	}
	return a
}

// postAcknowledge sends what the page's button sends.
func (s *system) postAcknowledge(a fanwatch.Alert) error {
	body, err := json.Marshal(map[string]string{"id": a.ID, "by": "ada"})
	if err != nil {
		return err
	}
	resp, err := http.Post(s.Dashboard+"/api/alerts/ack", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// clickAcknowledge opens the page in a real browser and presses the alert's button.
func (s *system) clickAcknowledge(t *testing.T, a fanwatch.Alert) error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not on the PATH: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	form := fmt.Sprintf("article[aria-label^=%q] form.ack ", a.Fan)
	return chromedp.Do(ctx, chromedp.Navigate(s.Dashboard+"/#/alerts"), chromedp.SendKeys(form+"input[name=by]", "ada"),
		chromedp.Click(form+"button"),
		chromedp.Poll[chromedp.Void](fmt.Sprintf("document.querySelector(%q) === null", "article[aria-label^="+a.Fan+
			"] form.ack:not([hidden])")))
}

// TestMosquittoPub publishes with Debian's client, which shares no code with ours.
func TestMosquittoPub(t *testing.T) {
	pub, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("mosquitto_pub is not installed (Debian: mosquitto-clients)")
	}
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("ABC123456", "--client", "new_Client", "--min-rpm", "900")
	host, port, _ := strings.Cut(s.MQTT, ":")
	at := time.Now().Add(-10 * time.Second)
	for _, rpm := range []int{1800, 1800, 300, 300, 300} {
		at = at.Add(time.Second)
		message := fmt.Sprintf(`{"TIME": %q,"FANID": "ABC123456","FREQ": 60,"RPM": %d}`, at.UTC().Format(time.RFC3339), rpm)
		out, err := exec.Command(pub, "-h", host, "-p", port, "-i", "new_Client", "-q", "1", "-t", "IoT_TOPIC/recieve", "-m",
			message,
			"--cafile", s.CA, "--cert", cert, "--key", key).CombinedOutput()
		if err != nil {
			t.Fatalf("mosquitto_pub: %v: %s", err, out)
		}
	}
	a := s.openAlert("ABC123456", 20*time.Second)
	if !strings.Contains(a.Why, "turns too slowly: 300 RPM") {
		t.Errorf("the alert says %q", a.Why)
	}
}

// TestForestAloneRaisesAnAlert: ordinary readings, then two within every hard limit whose score passes the device's, as
// in 2019.
func TestForestAloneRaisesAnAlert(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-x", "--min-rpm", "900", "--max-rpm", "2700", "--forest-score", "4",
		"--forest-severity", "warning")
	c := mustConnect(s, "fan-x", cert, key)
	rng := rand.New(rand.NewPCG(1, 2))
	at := time.Now().Add(-20 * time.Minute)
	for i := range 902 {
		rpm := 1800 + 4*max(-3, min(3, rng.NormFloat64()))
		if i >= 900 {
			rpm += 300 * float64(2*(i%2)-1)
		}
		at = at.Add(time.Second)
		demo(t, c, "fan-x", at, rpm)
	}
	a := s.openAlert("fan-x", 20*time.Second)
	if a.Kind != fanwatch.KindUnusual || a.Severity != fanwatch.SeverityWarning {
		t.Errorf("%+v", a)
	}
}

// TestUpSaysWhatIsWrong: each of a user's mistakes gives one sentence and a status that is not zero.
func TestUpSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil, "--fans", "0")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// otherwise another program has it
	if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", local.DefaultPorts.Dashboard)); err == nil {
		defer l.Close()
	}
	for _, c := range []struct {
		name   string
		args   []string
		want   string
		status int
	}{
		{"in use", []string{"--dir", dir, "--ports", "free"}, "is in use by another fanwatch-local", 1},
		{"reset of one in use", []string{"--dir", dir, "--ports", "free", "--reset"}, "is in use by another fanwatch-local",
			1},
		{"reset and a mistake", []string{"--dir", dir, "--ports", "many", "--reset"}, "give default or free", 2},
		{"not a directory", []string{"--dir", file}, "choose another with --dir", 1},
		{"reset of a strange directory", []string{"--dir", filepath.Dir(file), "--reset"}, "is not a state directory", 1},
		{"programs missing", []string{"--dir", t.TempDir(), "--bin", dir}, "is not built: run go tool task build", 1},
		{"a taken port", []string{"--dir", t.TempDir(), "--fans", "0"}, "--ports free", 1},
		{"bad ports", []string{"--dir", t.TempDir(), "--ports", "many"}, "give default or free", 2},
		{"negative fans", []string{"--dir", t.TempDir(), "--fans", "-1"}, "--fans is -1", 2},
		{"negative age", []string{"--dir", t.TempDir(), "--keep-readings", "-48h"}, "--keep-readings is -48h", 2},
		{"unknown flag", []string{"--fanz", "1"}, "unknown flag: --fanz", 2},
		{"an argument", []string{"now"}, "unknown command", 2},
	} {
		out, err := exec.Command(filepath.Join(bin, "fanwatch-local"), append([]string{"up"}, c.args...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: error %v, output %q, want %q and status %d", c.name, err, out, c.want, c.status)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, local.EndpointsFile)); err != nil {
		t.Errorf("state of the running system: %v", err)
	}
	if _, err := s.cli("show", "nobody"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("an unknown fan: %v", err)
	}
}
