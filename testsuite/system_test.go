package testsuite

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch"
	"fanwatch/local"
)

// bin is where the task named build puts the programs.
const bin = "../bin"

// system is the local system as a user runs it: fanwatch-local in a process group of its own, and the CLI.
type system struct {
	local.Endpoints
	t   testing.TB
	cmd *exec.Cmd
	out *bytes.Buffer
}

// start runs fanwatch-local up on free ports; env are extra variables, such as failpoints.
func start(t testing.TB, dir string, env []string, args ...string) *system {
	t.Helper()
	s, err := tryStart(t, dir, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryStart(t testing.TB, dir string, env []string, args ...string) (*system, error) {
	t.Helper()
	for _, p := range []string{"fanwatch", "fanwatch-local", "fanwatch-temporal", "fanwatch-s3"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			t.Skipf("%s is not built: run go tool task build", p)
		}
	}
	s := &system{t: t, out: &bytes.Buffer{}}
	s.cmd = exec.Command(filepath.Join(bin, "fanwatch-local"), append([]string{"up", "--json", "--dir", dir, "--ports",
		"free", "--canary-every", "-1s"}, args...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Stderr = s.out
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		_ = s.cmd.Wait() // its exit status is part of what it says
		return s, fmt.Errorf("fanwatch-local did not come up: %s", s.out)
	}
	if err := json.Unmarshal(line, &s.Endpoints); err != nil {
		t.Fatalf("endpoints %q: %v", line, err)
	}
	return s, nil
}

// kill ends the whole process group at once, as a power cut of the processes would.
func (s *system) kill() {
	if s.cmd.Process != nil && s.cmd.ProcessState == nil {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
		_ = s.cmd.Wait()
	}
}

// cli runs the operator's CLI.
func (s *system) cli(args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "fanwatch"), append([]string{"--dir", s.Dir}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("fanwatch %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// ask runs the CLI with --json and decodes what it prints.
func ask[T any](s *system, args ...string) T {
	s.t.Helper()
	var v T
	out, err := s.cli(append(args, "--json")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// until polls until ok, and fails with what was seen last when that takes longer than the deadline.
func (s *system) until(deadline time.Duration, what string, ok func() (bool, string)) {
	s.t.Helper()
	end := time.Now().Add(deadline)
	seen := ""
	for {
		var done bool
		if done, seen = ok(); done {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not within %s: %s; last seen: %s\n%s", deadline, what, seen, s.logTail())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *system) logTail() string {
	b, _ := os.ReadFile(filepath.Join(s.Dir, "fanwatch.log")) // for the failure's message only
	return string(b[max(0, len(b)-3000):])
}

// inbox gives the subjects of the messages about a fan, oldest first.
func (s *system) inbox(fan string) []string {
	s.t.Helper()
	return s.messages(func(attributes map[string]string) bool { return attributes["fan"] == fan })
}

// subjects gives the subjects of all messages, oldest first.
func (s *system) subjects() []string {
	s.t.Helper()
	return s.messages(func(map[string]string) bool { return true })
}

func (s *system) messages(which func(attributes map[string]string) bool) []string {
	s.t.Helper()
	var page struct {
		Entries []struct {
			To, Subject string
			Attributes  map[string]string
		}
	}
	resp, err := http.Get(s.Inbox + ".json?limit=1000")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for i := len(page.Entries) - 1; i >= 0; i-- {
		if e := page.Entries[i]; which(e.Attributes) {
			out = append(out, strings.TrimSuffix(e.To, "@fanwatch.local")+" "+e.Subject)
		}
	}
	return out
}

// provision makes a key and CSR as openssl would, has the CSR signed by the CLI, and gives the files.
func (s *system) provision(fan string, args ...string) (cert, key string) {
	s.t.Helper()
	dir := s.t.TempDir()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: fan}},
		k)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	request := filepath.Join(dir, "csr.pem")
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	write(key, "EC PRIVATE KEY", der)
	write(request, "CERTIFICATE REQUEST", csr)
	if _, err := s.cli(append([]string{"provision", fan, "--csr", request, "--out", cert}, args...)...); err != nil {
		s.t.Fatal(err)
	}
	return cert, key
}

// connect connects an MQTT client that shares no code with the edge: paho with its defaults.
func (s *system) connect(clientID, cert, key string) (mqtt.Client, error) {
	return s.dial(clientID, cert, key, s.MQTT)
}

// dial connects to the broker at an address that leads to it.
func (s *system) dial(clientID, cert, key, address string) (mqtt.Client, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		s.t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + address).SetClientID(clientID).SetAutoReconnect(
		false).SetConnectTimeout(5 * time.Second).
		SetTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12,
			// Sent whatever authorities the broker asks for: a list of Certificates would leave out a foreign one.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}))
	token := c.Connect()
	if !token.WaitTimeout(10 * time.Second) {
		return nil, context.DeadlineExceeded
	}
	if token.Error() == nil {
		s.t.Cleanup(func() { c.Disconnect(0) })
	}
	return c, token.Error()
}

func mustConnect(s *system, clientID, cert, key string) mqtt.Client {
	s.t.Helper()
	c, err := s.connect(clientID, cert, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// demo publishes the demo's object and waits for its PUBACK. It keeps to the 100 messages a second that AWS
// IoT Core takes from one connection.
func demo(t testing.TB, c mqtt.Client, fan string, at time.Time, rpm float64) {
	t.Helper()
	token := c.Publish("IoT_TOPIC/recieve", 1, false, fmt.Sprintf(`{"TIME": %q,"FANID": %q,"FREQ": %g,"RPM": %g}`,
		at.UTC().Format("2006-01-02T15:04:05.000000Z"), fan, rpm/30, rpm))
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("no PUBACK for %s at %s: %v", fan, at, token.Error())
	}
	time.Sleep(12 * time.Millisecond)
}

// openAlert waits for the fan's open alert.
func (s *system) openAlert(fan string, deadline time.Duration) fanwatch.Alert {
	s.t.Helper()
	var found fanwatch.Alert
	s.until(deadline, "an open alert of "+fan, func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		for _, a := range alerts {
			if a.Fan == fan && a.State == fanwatch.AlertOpen {
				found = a
				return true, ""
			}
		}
		return false, fmt.Sprint(alerts)
	})
	return found
}
