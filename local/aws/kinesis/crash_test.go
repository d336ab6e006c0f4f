package kinesis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanwatch/local/aws/kinesis"
)

// crashDir makes the test binary a server of that directory, which the test kills.
const crashDir = "FANWATCH_TEST_KINESIS_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, serve(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serve(dir string) error {
	// Small segments, so that kills also hit the change from one to the next.
	s, err := kinesis.New(kinesis.Config{Dir: dir, SegmentSize: 8 << 10})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { // ends with the test, however that ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	fmt.Println(l.Addr())
	return http.Serve(l, s)
}

// Every record that a writer had an answer for is there after kill -9, in order, and numbers go on growing.
func TestKillKeepsEveryAcknowledgedRecord(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[string]string) // sequence number -> data
	shardOf := make(map[string]string)
	last := make(map[string]string) // by shard
	for round := range 6 {
		child, addr := startChild(t, dir)
		c := client(t, "http://"+addr)
		create(t, c, "fans", 2)
		go func() { // in the midst of the writing below
			time.Sleep(time.Duration(20+40*round) * time.Millisecond)
			_ = child.Process.Kill()
		}()
		for n := 0; ; n++ {
			data := fmt.Sprintf("round %d record %d %s", round, n, strings.Repeat("x", n%700))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			out, err := putOnce(ctx, c, "fans", strconv.Itoa(n), data)
			cancel()
			if err != nil {
				break
			}
			seq := *out.SequenceNumber
			if last[*out.ShardId] >= seq { // all have 56 digits
				t.Fatalf("round %d: %s does not come behind %s", round, seq, last[*out.ShardId])
			}
			acknowledged[seq], shardOf[seq], last[*out.ShardId] = data, *out.ShardId, seq
		}
		_ = child.Wait()
	}
	_, addr := startChild(t, dir)
	c := client(t, "http://"+addr)
	found := make(map[string]string)
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
		previous := ""
		for _, r := range drain(t, c, "fans", shard) {
			if *r.SequenceNumber <= previous {
				t.Errorf("%s comes behind %s", *r.SequenceNumber, previous)
			}
			previous = *r.SequenceNumber
			found[previous] = string(r.Data)
		}
	}
	for seq, data := range acknowledged {
		if found[seq] != data {
			t.Errorf("%s in %s: %q was acknowledged, %q is there", seq, shardOf[seq], data, found[seq])
		}
	}
	if len(acknowledged) < 100 {
		t.Errorf("only %d records were acknowledged before the kills: this test shows little", len(acknowledged))
	}
	t.Logf("%d acknowledged, %d found", len(acknowledged), len(found))
}

func startChild(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the server did not start")
	}
	return cmd, lines.Text()
}
