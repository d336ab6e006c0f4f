//go:build unix

package torture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/edge"
	"fanwatch/local/aws/iotcore"
)

// serveIoTCore is the broker's process: the local IoT Core, whose stream is a file with a line for each record. A
// line is written before the publish is acknowledged.
func serveIoTCore() int {
	var c iotcore.Config
	if err := json.Unmarshal([]byte(os.Getenv(setting)), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, "stream"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c.Kinesis = stream{f}
	s, err := iotcore.New(c)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(s.RESTAddr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent kills this process, or ends
	return 0
}

type stream struct{ f *os.File }

func (s stream) Put(_ context.Context, name, _ string, data []byte) error {
	// one write, so that a kill leaves all or nothing of it
	_, err := s.f.Write(append([]byte(name+" "+string(data)), '\n'))
	return err
}

// localCore is that process as the test sees it.
type localCore struct {
	t       *testing.T
	dir     string
	setting string
	addr    string
	cmd     *exec.Cmd
	control *cloud.IoT
}

func newIoTCore(t *testing.T) broker {
	l := &localCore{t: t, dir: t.TempDir(), addr: freePort(t)}
	text, err := json.Marshal(map[string]string{"Dir": l.dir, "MQTTAddr": l.addr})
	if err != nil {
		t.Fatal(err)
	}
	l.setting = string(text)
	t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	return l
}

func (l *localCore) start() {
	l.t.Helper()
	l.cmd = exec.Command(os.Args[0])
	l.cmd.Env = append(os.Environ(), role+"=iotcore", setting+"="+l.setting)
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		_, err = l.cmd.StdinPipe()
	}
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		l.t.Fatal("the local IoT Core did not start")
	}
	if l.control == nil {
		l.control = cloud.NewIoT(aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(
			"local", "local", "")}, "http://"+lines.Text())
		l.must(l.control.PutRule(l.t.Context(), cloud.Rule{Name: "fanwatch_readings", SQL: "SELECT * FROM 'never'",
			Stream: "readings", PartitionKey: "${fan}",
			RoleARN: "arn:aws:iam::000000000000:role/fanwatch", ErrorStream: "errors"}))
		l.must(l.control.PutPolicy(l.t.Context(), "fan", `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect",
  "Resource":"arn:aws:iot:us-east-1:000000000000:client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":"iot:Publish",
  "Resource":"arn:aws:iot:us-east-1:000000000000:topic/$aws/rules/fanwatch_readings/`+
			`${iot:Connection.Thing.ThingName}"}]}`))
	}
}

func (l *localCore) hang() { _ = l.cmd.Process.Signal(syscall.SIGSTOP) }

func (l *localCore) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
}

// identity provisions the fan, in the broker's first life.
func (l *localCore) identity(fan string) identity {
	l.t.Helper()
	id := identity{Broker: l.addr, CA: filepath.Join(l.dir, "ca.pem"), Key: filepath.Join(l.dir, fan+".device.key")}
	key, err := edge.NewKey(id.Key)
	l.must(err)
	csr, err := edge.CSR(key, fan)
	l.must(err)
	ctx := l.t.Context()
	l.must(l.control.CreateThing(ctx, fan, nil))
	cert, err := l.control.CertificateFromCSR(ctx, fan, csr)
	l.must(err)
	l.must(l.control.AttachPolicy(ctx, "fan", cert.ARN))
	l.must(l.control.AttachCertificate(ctx, fan, cert.ARN))
	id.Cert = write(l.t, l.dir, fan+".device.pem", []byte(cert.PEM))
	return id
}

func (l *localCore) arrived() []fanwatch.Batch {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "stream"))
	l.must(err)
	var batches []fanwatch.Batch
	for line := range bytes.Lines(b) {
		name, data, _ := bytes.Cut(line, []byte(" "))
		var batch fanwatch.Batch
		if err := json.Unmarshal(data, &batch); err != nil || string(name) != "readings" {
			l.t.Fatalf("on the stream %s: %v: %s", name, err, data)
		}
		batches = append(batches, batch)
	}
	return batches
}

func (l *localCore) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}
