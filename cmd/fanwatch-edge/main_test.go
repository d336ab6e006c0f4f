package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// cli runs a command as the shell would.
func cli(args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = command(context.Background(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		out    string // expected in the output
		errs   string // expected in the errors
	}{
		{"", 2, "", "fanwatch-edge enroll"},
		{"--help", 0, "Exit status", ""},
		{"dance", 2, "", `no command "dance"`},
		{"version", 0, "fanwatch-edge ", ""},
		{"version --json", 0, `"commit":`, ""},
		{"version extra", 2, "", "extra"},
		{"run --help", 0, "version: 1", ""},
		{"run --help", 0, "lost-tacho", ""},
		{"enroll --help", 0, "never leaves", ""},
		{"check --help", 0, "mend", ""},
		{"run", 2, "", "--config FILE"},
		{"run --sim", 2, "", "--config FILE"},
		{"run --sim --dry-run --nonsense", 2, "", "nonsense"},
		{"run --sim --dry-run extra", 2, "", "extra"},
		{"run --sim --dry-run --fast --count 3", 0, "RPM", ""},
		{"run --sim --dry-run --fast --count 90 --seed 7 --fault stall,20s,60s,1", 0, "stalled", ""},
		{"run --sim --dry-run --fast --count 90 --fault pwm,20s,60s,0.4", 0, " 40 % PWM", ""},
		{"run --sim --dry-run --fault flood,1s,2s,1", 2, "", "there are [stall"},
		{"run --sim --dry-run --fault stall,1s", 2, "", "kind,from,to,severity"},
		{"run --sim --fast", 2, "", "--config FILE"},
		{"run --sim --dry-run --json --count 1", 0, `"seq":1,"t":`, ""},
		{"run --config /missing.yaml", 1, "", "missing.yaml"},
		{"check", 2, "", "--config FILE"},
		{"enroll", 2, "", "--fan NAME"},
		{"enroll --fan a/b", 2, "", "letters, digits"},
	} {
		status, out, errs := cli(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || c.errs == "" &&
			errs != "" {
			t.Errorf("fanwatch-edge %s: status %d\nout: %s\nerrors: %s", c.args, status, out, errs)
		}
	}
}

// device is an enrolled device with a broker to talk to, and its configuration file.
type device struct {
	dir, config, cert string
	sign              func(until time.Time) // renews the device's certificate
	broker            net.Listener
	refusal           atomic.Uint32 // the CONNACK's return code; 0 = accepted
	published         atomic.Uint64 // messages taken
}

func newDevice(t testing.TB) *device {
	t.Helper()
	d := &device{dir: t.TempDir()}
	d.config, d.cert = filepath.Join(d.dir, "fan.yaml"), filepath.Join(d.dir, "fan-21.pem")
	if status, _, errs := cli("enroll", "--fan", "fan-21", "--dir", d.dir); status != 0 {
		t.Fatal(errs)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	must(t, err)
	write(t, filepath.Join(d.dir, "ca.pem"), der)
	d.sign = func(until time.Time) {
		b, err := os.ReadFile(filepath.Join(d.dir, "fan-21.csr"))
		must(t, err)
		block, _ := pem.Decode(b)
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		must(t, err)
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: csr.Subject,
			NotBefore: time.Now().Add(-2 * time.Hour),
			NotAfter:  until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, root, csr.PublicKey, key)
		must(t, err)
		write(t, d.cert, der)
	}
	d.sign(time.Now().Add(time.Hour))
	pool := x509.NewCertPool()
	ca, err := x509.ParseCertificate(der)
	must(t, err)
	pool.AddCert(ca)
	d.broker, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(t, err)
	t.Cleanup(func() { d.broker.Close() })
	go func() {
		for {
			conn, err := d.broker.Accept()
			if err != nil {
				return
			}
			go d.serve(conn)
		}
	}()
	d.configure(t, "sim: {rpm: 1200}")
	return d
}

// serve is as much of a broker as the program sees: it acknowledges connections and messages.
func (d *device) serve(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			conn.Write([]byte{packets.Connack << 4, 2, 0, byte(d.refusal.Load())})
		case *packets.PublishPacket:
			d.published.Add(1)
			conn.Write([]byte{packets.Puback << 4, 2, byte(p.MessageID >> 8), byte(p.MessageID)})
		case *packets.PingreqPacket:
			conn.Write([]byte{packets.Pingresp << 4, 0})
		}
	}
}

func (d *device) configure(t testing.TB, source string) {
	t.Helper()
	must(t, os.WriteFile(d.config, fmt.Appendf(nil, "version: 1\nfan: fan-21\nbroker: %s\nca: ca.pem\ncert: "+
		"fan-21.pem\nkey: fan-21.key\nspool: spool\nsource:\n  %s\npulses: 2\nmin_rpm: 300\n",
		d.broker.Addr(), source), 0o600))
}

func TestCheckFindsWhatIsWrongAndSaysHowToMendIt(t *testing.T) {
	d := newDevice(t)
	status, out, _ := cli("check", "--config", d.config)
	if status != 0 || strings.Count(out, "ok ") != 8 {
		t.Fatalf("a healthy device: status %d\n%s", status, out)
	}
	wrong := func(what, say string) {
		t.Helper()
		status, out, errs := cli("check", "--config", d.config)
		if status != 1 || !strings.Contains(out, say) || !strings.Contains(errs, "wrong") {
			t.Errorf("%s: status %d\n%s%s", what, status, out, errs)
		}
	}
	must(t, os.Chmod(filepath.Join(d.dir, "fan-21.key"), 0o644))
	wrong("open key", "chmod 600")
	must(t, os.Chmod(filepath.Join(d.dir, "fan-21.key"), 0o600))
	d.sign(time.Now().Add(-time.Minute))
	wrong("expired certificate", "has expired")
	wrong("expired certificate", "tls: expired certificate")
	must(t, os.Remove(d.cert))
	wrong("no certificate", "fanwatch provision fan-21")
	must(t, os.WriteFile(d.cert, []byte("nonsense"), 0o600))
	wrong("no certificate", "is not PEM")
	d.sign(time.Now().Add(time.Hour))
	d.refusal.Store(5) // MQTT 3.1.1: not authorized
	wrong("no policy", "the broker refuses this client")
	wrong("no policy", "See that the certificate is ACTIVE and that its policy allows this client ID, or provision "+
		"the fan again.")
	d.refusal.Store(0)
	if status, out, _ := cli("check", "--json", "--config", d.config); status != 0 ||
		strings.Count(out, `"ok":true`) != 8 {
		t.Errorf("as JSON: status %d\n%s", status, out)
	}
	d.broker.Close()
	wrong("no broker", "refused")
	if status, out, _ := cli("check", "--json", "--config", d.config); status != 1 ||
		strings.Count(out, `"ok":true`) != 7 || !strings.Contains(out, `"mend":"Nothing listens there`) {
		t.Errorf("as JSON: status %d\n%s", status, out)
	}
	d.configure(t, "gpio: {chip: no-such-chip, line: GPIO17}")
	wrong("no chip", "no-such-chip")
}

func TestEnrollKeepsTheKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	read := func() string {
		status, out, errs := cli("enroll", "--fan", "fan-21", "--dir", dir)
		if status != 0 || !strings.Contains(out, "fanwatch provision fan-21 --csr fan-21.csr") {
			t.Fatalf("status %d\n%s%s", status, out, errs)
		}
		b, err := os.ReadFile(filepath.Join(dir, "fan-21.key"))
		must(t, err)
		return string(b)
	}
	if first, second := read(), read(); first != second {
		t.Error("the second enroll made another key")
	}
	if st, _ := os.Stat(filepath.Join(dir, "fan-21.key")); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
}

func TestDryRunReadsTheConfiguration(t *testing.T) {
	d := newDevice(t)
	status, out, errs := cli("run", "--config", d.config, "--dry-run", "--count", "1")
	if status != 0 || !strings.Contains(out, "fan-21") || !strings.Contains(out, "running") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	for change, want := range map[string]string{
		"bogus: 1":                "bogus",
		"pulses: 99":              "pulses",
		"version: 7":              "version 7",
		"fan: a/b":                "letters, digits",
		"source: {}":              "gpio and sim",
		"min_rpm: .nan":           "min_rpm",
		"batch: 501":              "batch of 501",
		"jump: -1":                "jump -1",
		"pwm: /no/such/pwm":       "no such file",
		"fans: [{fan: fan-22}]":   "move it to the fan's entry",
		"interval: 3 weeks":       "number and a unit",
		"interval: 2m":            "over a minute",
		"interval: 1ms":           "under 100ms",
		"source: {sim: {rpm: 1}}": "rpm 1 is outside",
	} {
		b, err := os.ReadFile(d.config)
		must(t, err)
		text := string(b)
		key, _, _ := strings.Cut(change, ":")
		if i := strings.Index("\n"+text, "\n"+key+":"); i >= 0 { // replace the field, with what is indented below it
			end := i + strings.Index(text[i:], "\n") + 1
			for strings.HasPrefix(text[end:], " ") {
				end += strings.Index(text[end:], "\n") + 1
			}
			text = text[:i] + text[end:]
		}
		path := filepath.Join(d.dir, "bad.yaml")
		must(t, os.WriteFile(path, []byte(text+change+"\n"), 0o600))
		if status, _, errs := cli("run", "--config", path, "--dry-run", "--count", "1"); status != 1 ||
			!strings.Contains(errs, want) {
			t.Errorf("%s: status %d %s", change, status, errs)
		}
	}
}

// TestSeveralFans: one file, one process, each fan with its own certificate, spool, limits and faults.
func TestSeveralFans(t *testing.T) {
	d := newDevice(t)
	const common = "version: 1\nbroker: %s\nca: ca.pem\nspool: spools\ninterval: 200ms\n"
	const fans = "fans:\n- {fan: fan-21, source: {sim: {rpm: 1200}}}\n- {fan: fan-22, cert: other.pem, spool: " +
		"there, pulses: 4, source: {sim: {rpm: 3000, pwm: 0.5, faults: [{kind: stall, from: 1s, to: 9s}]}}}\n"
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(d.config, fmt.Appendf(nil, text, d.broker.Addr()), 0o600))
	}
	write(common + fans)
	configs, err := load(d.config)
	must(t, err)
	a, b := configs[0], configs[1]
	at := func(name string) string { return filepath.Join(d.dir, name) }
	if len(configs) != 2 || a.Cert != at("fan-21.pem") || a.Key != at("fan-21.key") || a.Spool != at("spools/fan-21") ||
		b.Cert != at("other.pem") || b.Key != at("fan-22.key") ||
		b.Spool != at("there") || b.Pulses != 4 || time.Duration(b.Interval) != 200*time.Millisecond ||
		a.edge().Shadow != "fanwatch" {
		t.Fatalf("%+v", configs)
	}
	status, out, errs := cli("run", "--config", d.config, "--dry-run", "--fast", "--count", "20", "--truth",
		at("truth.jsonl"))
	if status != 0 || strings.Count(out, "fan-21") != 20 || strings.Count(out, "fan-22") != 20 ||
		!strings.Contains(out, "stalled") || !strings.Contains(out, " 50 % PWM") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if truth, err := os.ReadFile(at("truth.jsonl")); err != nil || strings.Count(string(truth), "\n") != 1 ||
		!strings.Contains(string(truth), `"fan":"fan-22","fault":"stall"`) {
		t.Errorf("truth %s %v", truth, err)
	}
	status, out, errs = cli("check", "--config", d.config)
	if status != 1 || strings.Count(out, "ok ") < 8 || !strings.Contains(out, "other.pem") ||
		!strings.Contains(errs, "of 16 things") {
		t.Errorf("check: status %d\n%s%s", status, out, errs)
	}
	for text, want := range map[string]string{
		common +
			"fans:\n- {fan: a, source: {sim: {}}}\n- {fan: a, source: {sim: {}}}\n": "fan a is there twice",
		common +
			"fans:\n- {fan: a, spool: x, source: {sim: {}}}\n" +
			"- {fan: b, spool: ./x, source: {sim: {}}}\n": "fan b has the spool of a",
		common + "fans:\n- {fan: a}\n":                                               "fan a: source",
		common + "fans:\n- {fan: a, source: {sim: {}}, interval: 1s}\n":              "interval",
		common + "pulses: 2\nfans:\n- {fan: a, source: {sim: {}}}\n":                 "move it",
		common + "fan: a\nsource: {sim: {}}\n---\nfan: b\n":                          "more than one YAML document",
		"version: 1\nbroker: %s\nca: ca.pem\nfans:\n- {fan: a, source: {sim: {}}}\n": "fan a: spool is missing",
	} {
		write(text)
		if status, _, errs := cli("run", "--config", d.config, "--dry-run", "--count", "1"); status != 1 ||
			!strings.Contains(errs, want) {
			t.Errorf("%s: status %d %s", text, status, errs)
		}
	}
}

// TestRunPublishesEveryFan: each fan has its readings in its own spool while the broker does not answer, and
// one that cannot start is named.
func TestRunPublishesEveryFan(t *testing.T) {
	d := newDevice(t)
	text := fmt.Sprintf("version: 1\nbroker: %s\nca: ca.pem\nspool: spools\ninterval: 100ms\nfans:\n- {fan: "+
		"fan-21, source: {sim: {}}}\n"+
		"- {fan: fan-22, cert: fan-21.pem, key: fan-21.key, source: {sim: {}}}\n", d.broker.Addr())
	must(t, os.WriteFile(d.config, []byte(text), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- command(ctx, []string{"run", "--config", d.config}, &out, &errs) }()
	spooled := func(fan string) bool {
		found, _ := filepath.Glob(filepath.Join(d.dir, "spools", fan, "*.seg"))
		for _, path := range found {
			if st, err := os.Stat(path); err == nil && st.Size() > 100 {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(30 * time.Second); !spooled("fan-21") ||
		!spooled("fan-22"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 30 s for both spools")
		}
	}
	// The spools are in use: another process gets none of them.
	if status, _, errs := cli("run", "--config", d.config); status != 1 ||
		!strings.Contains(errs, "another publisher uses it") {
		t.Errorf("a second process: status %d %s", status, errs)
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d %s", status, errs.String())
	}
	must(t, os.WriteFile(d.config, []byte(strings.ReplaceAll(text, "cert: fan-21.pem", "cert: missing.pem")), 0o600))
	if status, _, errs := cli("run", "--config", d.config); status != 1 ||
		!strings.Contains(errs, "fan fan-22: certificate") {
		t.Errorf("status %d %s", status, errs)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte("version: 1\nfan: fan-21\nbroker: b:8883\nca: a\ncert: b\nkey: c\nspool: d\nsource: {gpio: {line: " +
		"17}}\nmin_rpm: 300\n"))
	f.Add([]byte("version: 1\nsource: {sim: {faults: [{kind: stall, from: 1s, to: 2s}]}}\n"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("version: 1\nbroker: b:8883\nca: a\nspool: s\ninterval: 2s\nfans: [{fan: a, source: {gpio: {line: " +
		"17}}, pwm: p}, {fan: b, source: {sim: {pwm: 0.5}}}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		configs, err := decode(b)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, c := range configs {
			if c.check() != nil || names[c.Fan] || c.settings().Check() != nil {
				t.Errorf("taken: %+v", c)
			}
			names[c.Fan] = true
		}
		if len(configs) == 0 {
			t.Error("taken without a fan")
		}
	})
}

func write(t testing.TB, path string, der []byte) {
	t.Helper()
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
