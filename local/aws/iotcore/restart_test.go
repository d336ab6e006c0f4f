package iotcore_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"

	"fanwatch/local/aws/iotcore"
)

// childDir makes the test binary be a server instead, with its state there.
const childDir = "FANWATCH_TEST_IOTCORE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

func serve(dir string) {
	s, err := iotcore.New(iotcore.Config{Dir: dir, MQTTAddr: "127.0.0.1:0", Kinesis: &streams{}})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.RESTAddr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent kills this process, or ends
}

// TestKill: what the control plane has acknowledged is there after kill -9, and a device that was provisioned then
// connects.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var d device
	var things []string
	for round := range 3 {
		child, addr := start(t, dir)
		r := &rig{TB: t, iot: newClient(addr)}
		if round == 0 {
			d = r.provision("fan-01", open)
			r.rule("demo", "SELECT * FROM 'a'", "k")
		}
		done := time.AfterFunc(time.Duration(30*(round+1))*time.Millisecond, func() { _ = child.Process.Kill() })
		for i := 0; ; i++ {
			name := fmt.Sprintf("fan-%d-%d", round, i)
			_, err := r.iot.CreateThing(t.Context(), &iot.CreateThingInput{ThingName: &name},
				func(o *iot.Options) { o.RetryMaxAttempts = 1 })
			if err != nil {
				break
			}
			things = append(things, name)
		}
		done.Stop()
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	// What a kill in the middle of a write leaves behind must not be in the way.
	leftover := filepath.Join(dir, "things", "half.json.tmp")
	if err := os.WriteFile(leftover, []byte(`{"v":`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *iotcore.Config) { c.Dir = dir })
	for _, name := range things {
		if _, err := r.iot.DescribeThing(t.Context(), &iot.DescribeThingInput{ThingName: &name}); err != nil {
			t.Errorf("acknowledged, then lost: %v", err)
		}
	}
	t.Logf("%d things acknowledged in 3 lives", len(things))
	r.acknowledged(r.connect(d, "fan-01"), "a", `{"n":1}`)
	if n := len(r.streams.on("readings")); n != 1 {
		t.Errorf("%d records through the rule of before", n)
	}
	if _, err := os.Stat(leftover); !os.IsNotExist(err) {
		t.Errorf("%s is still there", leftover)
	}
}

func start(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		_, err = child.StdinPipe()
	}
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child did not start")
	}
	return child, lines.Text()
}

// TestCertificateRenewal: the server's certificate is replaced before it ends, the root stays.
func TestCertificateRenewal(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	serial := func(r *rig, d device) string {
		conn := r.raw(d)
		defer conn.Close()
		return conn.Conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	r := newRig(t, func(c *iotcore.Config) { c.Dir, c.Now = dir, func() time.Time { return now } })
	d := r.provision("fan-01", open)
	first := serial(r, d)
	root, err := os.ReadFile(r.server.CAFile())
	r.must(err)
	if again := serial(r, d); again != first {
		t.Error("another certificate without need")
	}
	// 370 days on, in the eyes of the server alone; the client's clock says now, when the new one is not valid yet.
	later := now.Add(370 * 24 * time.Hour)
	r2 := newRig(t, func(c *iotcore.Config) { c.Dir, c.Now = dir, func() time.Time { return later } })
	// only its serial is looked at
	conn, err := tls.Dial("tcp", r2.server.MQTTAddr(), &tls.Config{InsecureSkipVerify: true,
		Certificates: []tls.Certificate{d.pair}})
	r2.must(err)
	defer conn.Close()
	leaf := conn.ConnectionState().PeerCertificates[0]
	if leaf.SerialNumber.String() == first || leaf.NotAfter.Before(later.Add(300*24*time.Hour)) {
		t.Errorf("not renewed: ends %s", leaf.NotAfter)
	}
	after, err := os.ReadFile(r2.server.CAFile())
	if r.must(err); string(after) != string(root) {
		t.Error("the root has changed")
	}
}

// TestDamagedState: a record that cannot be read is named, not skipped.
func TestDamagedState(t *testing.T) {
	for content, want := range map[string]string{`{"v":1,`: "mend or delete",
		`{"v":9,"name":"x","data":{}}`: "format version 9"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "policies"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "policies", "x.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := iotcore.New(iotcore.Config{Dir: dir, Kinesis: &streams{}})
		if err == nil || !strings.Contains(err.Error(), "x.json") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", content, err)
		}
	}
}
