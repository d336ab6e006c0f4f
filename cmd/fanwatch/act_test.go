package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

// fails runs the command, which must fail as a mistake of its caller before it looks for a system: there is none.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	c := command()
	c.SetArgs(args)
	c.SetOut(&bytes.Buffer{})
	err := c.ExecuteContext(t.Context())
	if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("fanwatch %q: %v, want %q", args, err, want)
	}
}

// TestProvisionReadsTheCSRBeforeItSendsIt guards against a request that the system is left to find out about.
func TestProvisionReadsTheCSRBeforeItSendsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("# fanwatch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, "--csr "+file+": it is not PEM", "provision", "fan-x1", "--csr", file)
	for _, c := range []string{"provision", "show", "retire"} {
		args := []string{c, ""}
		if c == "provision" {
			args = append(args, "--csr", file)
		}
		fails(t, `fan name ""`, args...)
	}
}

// TestAckRefusesWhatForgesLists guards against names and notes that write rows of their own into every terminal.
func TestAckRefusesWhatForgesLists(t *testing.T) {
	const alert = "alert/fan-07/stall/20260528T202640.000000Z"
	fails(t, "names nobody", "ack", alert, "--by", "   ")
	fails(t, "by has 101 bytes", "ack", alert, "--by", strings.Repeat("a", 101))
	fails(t, "note has 1001 bytes", "ack", alert, "--by", "ada", "--note", strings.Repeat("a", 1001))
	fails(t, "control characters", "ack", alert, "--by", "ada\nbob")
	fails(t, "control characters", "ack", alert, "--by", "ada", "--note", "on my way\x1b[2J")
	fails(t, "control characters", "ack", alert, "--by", "ada", "--note", "on my way\xff")
}

// TestAVerdictIsOneOfTwo: normal and fault exclude each other, and the answer says which was taken.
func TestAVerdictIsOneOfTwo(t *testing.T) {
	fails(t, "give one of them", "ack", "fan-07", "--by", "ada", "--normal", "--fault")
	a := fanwatch.Alert{ID: "alert/x", State: fanwatch.AlertResolved, Label: fanwatch.VerdictFault, LabelledBy: "ada"}
	k := fanwatch.Acknowledgement{By: "ada", Verdict: fanwatch.VerdictFault}
	if got := taken(a, k); got != "alert/x is resolved; ada says: it is a fault" {
		t.Error(got)
	}
	a.State, a.Label, k.Verdict = fanwatch.AlertAcknowledged, fanwatch.VerdictNormal, fanwatch.VerdictNormal
	for kind, want := range map[fanwatch.Kind]bool{fanwatch.KindStall: true, fanwatch.KindSilent: true,
		fanwatch.KindSpeed: false, fanwatch.KindJitter: false} {
		a.Kind = kind
		if got := taken(a, k); strings.HasSuffix(got, "it stays quiet until it ends") != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// TestAckTellsWhoWasFirst guards against a second answer that reads like a success and loses its note.
func TestAckTellsWhoWasFirst(t *testing.T) {
	a := fanwatch.Alert{ID: "alert/x", State: fanwatch.AlertAcknowledged, AckedBy: "Ada", Note: "on my way",
		AckedAt: time.Date(2026, 5, 28, 20, 0, 0, 0, time.Local)}
	for k, want := range map[fanwatch.Acknowledgement]string{
		{By: "Ada", Note: "on my way"}: "alert/x is acknowledged by Ada",
		{By: "bob"}:                    "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so",
		{By: "bob", Note: "mine"}: "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so, " +
			"and the note of bob was not kept",
		{By: "Ada", Note: "again"}: "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so, " +
			"and the note of Ada was not kept",
	} {
		if got := taken(a, k); got != want {
			t.Errorf("%+v: %q, want %q", k, got, want)
		}
	}
}

// csrOf writes a request of that common name and gives its file.
func csrOf(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "csr.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestACSROfAnotherFanIsNotSent guards against a mistyped name, which would end the certificate of a fan that works.
func TestACSROfAnotherFanIsNotSent(t *testing.T) {
	file := csrOf(t, "fan-08")
	fails(t, `--csr `+file+`: it is made for "fan-08" (its subject's common name), not for fan-07: `+
		`make one with fanwatch-edge enroll --fan fan-07`, "provision", "fan-07", "--csr", file)
	for _, name := range []string{"", "fan-07", "new_Client"} { // these are sent, to no system
		_, err := inProcess(t, "provision", "fan-07", "--csr", csrOf(t, name), "--client", "new_Client")
		if err == nil || !strings.HasPrefix(err.Error(), "nothing runs in ") {
			t.Errorf("a CSR of %q: %v", name, err)
		}
	}
}

// TestWhatNoFanCanBeIsRefusedBeforeItIsSent asks both commands that set something.
func TestWhatNoFanCanBeIsRefusedBeforeItIsSent(t *testing.T) {
	file := csrOf(t, "fan-07")
	for _, c := range []struct{ want, flag, value string }{
		{"which would stand for other clients too", "--client", "*"},
		{"which would stand for other clients too", "--client", "fan-${iot:ClientId}"},
		{"control characters", "--site", "Hall\x1b[2J"},
		{"use 15s or more", "--silence", "1s"},
		{"not an IANA time zone", "--zone", "Mars"},
		{"min_rpm 9 is not below", "--max-rpm=8", "--min-rpm=9"},
		{"is none of [2-wire", "--kind", "turbine"},
		{"outside 0..", "--nominal", "-1"},
		{"write them as 06:00-22:00", "--hours", "by day"},
		{"none of info, warning, critical", "--forest-severity", "loud"},
		{"outside 0..100", "--forest-score", "101"},
	} {
		fails(t, c.want, "provision", "fan-07", "--csr", file, c.flag, c.value)
		fails(t, c.want, "configure", "fan-07", c.flag, c.value)
	}
	fails(t, "nothing is named that is to change", "configure", "fan-07")
	fails(t, `fan name "a/b"`, "configure", "a/b", "--site", "x")
	fails(t, `fan name "a/b"`, "revoke", "a/b")
	fails(t, "its ID is 64 hexadecimal digits", "revoke", "arn:aws:iot:x:y:cert/12")
	fails(t, "arguments are missing", "revoke")
}

// TestOnlyNamedFlagsAreChanges guards against a default that is sent as if it had been asked for.
func TestOnlyNamedFlagsAreChanges(t *testing.T) {
	var s settings
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags(f)
	if err := f.Parse([]string{"--min-rpm", "0", "--client", "a", "--client", "b", "--silence", "-1s",
		"--kind", "4-wire", "--forest-score", "6"}); err != nil {
		t.Fatal(err)
	}
	before := fanwatch.Device{Fan: "fan-07", Site: "Hall A", Zone: "Europe/Berlin", Limits: fanwatch.Limits{MinRPM: 500,
		MaxRPM: 3000}, Policy: "night", Clients: []string{"old"}, Hours: "06:00-22:00",
		Forest: fanwatch.ForestRule{Severity: fanwatch.SeverityWarning}}
	want := before
	want.Kind, want.Forest.Score = fanwatch.FanFourWire, 6
	want.Limits.MinRPM, want.Clients, want.Silence = 0, []string{"a", "b"}, fanwatch.Duration(-time.Second)
	if got := s.change(f).Apply(before); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestAFansNameMeansItsOpenAlert guards against an ID of 44 characters that has to be copied, and against a guess.
func TestAFansNameMeansItsOpenAlert(t *testing.T) {
	alert := func(id, fan string, s fanwatch.AlertState) fanwatch.Alert {
		return fanwatch.Alert{ID: id, Fan: fan, State: s, Kind: fanwatch.KindStall}
	}
	look := func(id, fan string) fanwatch.Alert {
		return fanwatch.Alert{ID: id, Fan: fan, State: fanwatch.AlertOpen, Kind: fanwatch.KindJitter}
	}
	alerts := []fanwatch.Alert{alert("alert/1", "one", fanwatch.AlertOpen), alert("alert/2", "two", fanwatch.AlertOpen),
		alert("alert/3", "two", fanwatch.AlertOpen),
		alert("alert/4", "acked", fanwatch.AlertAcknowledged), alert("alert/5", "both", fanwatch.AlertAcknowledged),
		alert("alert/6", "both", fanwatch.AlertOpen),
		alert("alert/7", "gone", fanwatch.AlertTerminated), look("alert/8", "look"), look("alert/9", "one")}
	for fan, want := range map[string]string{"one": "alert/1", "acked": "alert/4", "both": "alert/6", "look": "alert/8"} {
		if id, err := alertAmong(alerts, fan); id != want || err != nil {
			t.Errorf("%s: %q, %v", fan, id, err)
		}
	}
	if _, err := alertAmong(alerts, "two"); err == nil ||
		err.Error() != "fan two has 2 open alerts, name one of alert/2, alert/3" {
		t.Error(err)
	}
	for _, fan := range []string{"none", "gone"} {
		if _, err := alertAmong(alerts, fan); !errors.Is(err, operator.ErrUnknown) {
			t.Errorf("%s: %v", fan, err)
		}
	}
}

// TestRetireSaysWhatHolds tells a fan whose certificates are ended from one whose certificates are not yet.
func TestRetireSaysWhatHolds(t *testing.T) {
	for want, r := range map[string]workflows.RetireAnswer{
		"x is retired": {},
		"x is retired; alert/x/stall/1 has ended": {
			Alert: "alert/x/stall/1"},
		"x is retired; its certificates are active still (no answer), and are ended as soon as that can be": {
			Pending: "no answer"},
	} {
		if got := ended("x", r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
