package testsuite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/workers"
)

// s3Child is the S3 server as a child process that the test kills and starts again on the same port.
type s3Child struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd
}

func (c *s3Child) start() {
	c.t.Helper()
	port := "0"
	if _, p, ok := strings.Cut(c.addr, ":"); ok {
		port = p
	}
	c.cmd = exec.Command(filepath.Join(bin, "fanwatch-s3"), "--dir", filepath.Join(c.dir, "s3"), "--port", port,
		"--access-key-file", filepath.Join(c.dir, "keys"), "--bucket", "lake")
	if _, err := c.cmd.StdinPipe(); err != nil { // the server ends when its parent's end of the pipe closes
		c.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var ready struct{ Addr string }
	if err == nil {
		err = json.Unmarshal([]byte(strings.TrimPrefix(line, "ready ")), &ready)
	}
	if err != nil {
		c.t.Errorf("the S3 server says %q: %v", line, err)
		return
	}
	c.addr = ready.Addr
}

func (c *s3Child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	_ = c.cmd.Wait()
}

// TestS3IsKilled kills the S3 server at random moments while readings are landed, committed, compacted and
// expired, and makes every step that failed again. Then verify finds nothing wrong, and no row is lost or there
// twice.
func TestS3IsKilled(t *testing.T) {
	if _, err := os.Stat(filepath.Join(bin, "fanwatch-s3")); err != nil {
		t.Skip("fanwatch-s3 is not built: run go tool task build")
	}
	for seed := range uint64(seeds(2, 30)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel() // it mostly waits
			c := &s3Child{t: t, dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(c.dir, "keys"), []byte("localkey\nlocalsecret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.start()
			endpoint := "http://" + c.addr
			cfg, err := cloud.Config(t.Context(), cloud.Settings{Local: true, AccessKey: "localkey", SecretKey: "localsecret",
				Endpoints: []string{endpoint}})
			if err != nil {
				t.Fatal(err)
			}
			wc := workers.Config{AWS: cfg, Bucket: "lake", Endpoints: workers.Endpoints{S3: endpoint},
				Catalog: workers.Catalog{SQLite: filepath.Join(c.dir, "catalog.db")}}
			tables, done, err := workers.OpenTables(t.Context(), wc)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = done() }()
			over := make(chan struct{})
			var killer sync.WaitGroup
			kills := 0
			killer.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 5))
				for {
					select {
					case <-over:
						return
					case <-time.After(time.Duration(100+rng.IntN(900)) * time.Millisecond):
						c.kill()
						kills++
						time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
						c.start()
					}
				}
			})
			logs := lakeUnderFire(t, tables, cloud.NewS3(cfg, endpoint, "lake"))
			close(over)
			killer.Wait()
			defer c.kill()
			v, err := tables.Verify(t.Context(), logs, nil)
			if err != nil || !v.OK || v.Tables[0].Rows != 2*12*50 || v.Tables[1].Rows != 2*12 || v.Tables[4].Rows != 1 {
				t.Errorf("%+v, %v", v, err)
			}
			if kills < 3 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}

// lakeUnderFire lands twelve windows on each of two shards and makes all steps of the lake's life between them,
// each again until it is done.
func lakeUnderFire(t *testing.T, tables *lake.Tables, store objstore.Store) []landing.Log {
	again := func(what string, do func(context.Context) error) {
		t.Helper()
		var err error
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = do(ctx)
			cancel()
			if err == nil {
				return
			}
		}
		t.Fatalf("%s: %v", what, err)
	}
	logs := []landing.Log{{Store: store, Stream: "s", Shard: "0"}, {Store: store, Stream: "s", Shard: "1"}}
	for step := range 12 {
		for i, log := range logs {
			s := segmentOf(fmt.Sprint("fan-", i), step)
			again("land", func(ctx context.Context) error { return log.Append(ctx, s) })
			again("snapshot", func(ctx context.Context) error { return log.PutSnapshot(ctx, s.Last, []byte("model")) })
		}
		again("commit", func(ctx context.Context) error { _, err := tables.Commit(ctx, logs); return err })
		again("plan", func(ctx context.Context) error {
			_, err := tables.PlanCompaction(ctx, lake.CompactConfig{MinFiles: 1})
			return errors.Join(err, tables.PlanExpiry(ctx, 0, 1))
		})
		again("alert", func(ctx context.Context) error {
			return lake.PutAlert(ctx, store, fanwatch.Alert{V: 1, ID: "alert/fan-0/stall/x", Fan: "fan-0",
				Kind: fanwatch.KindStall, Opened: time.Unix(1e9, 0), EndedAt: time.Unix(1e9+60, 0)})
		})
		again("apply", func(ctx context.Context) error { _, err := tables.Apply(ctx); return err })
		for _, log := range logs {
			again("expire", func(ctx context.Context) error { _, err := tables.TruncateLog(ctx, log, time.Hour); return err })
		}
		again("orphans", func(ctx context.Context) error { _, err := tables.RemoveOrphans(ctx, time.Hour); return err })
	}
	again("the last commit", func(ctx context.Context) error { _, err := tables.Commit(ctx, logs); return err })
	again("the last apply", func(ctx context.Context) error { _, err := tables.Apply(ctx); return err })
	return logs
}

// segmentOf makes the window of fifty readings with which a shard's log goes on.
func segmentOf(fan string, step int) landing.Segment {
	number := func(n int) fanwatch.SequenceNumber { return fanwatch.SequenceNumber(fmt.Sprint(n)) }
	s := landing.Segment{Header: landing.Header{After: number(step * 50), Last: number(step*50 + 50),
		Writer: landing.Token{Scheduled: 1, Attempt: 1, Run: "r"}}}
	for i := range 50 {
		seq := step*50 + i + 1
		at := time.Unix(1e9+int64(seq), 0).UTC()
		s.Rows = append(s.Rows, fanwatch.Row{Kind: fanwatch.RowScored,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan, Run: 7, Seq: uint64(seq)}, Time: at, RPM: 1800,
				State: fanwatch.StateRunning},
			Position: fanwatch.Position{Sequence: number(seq)}, Arrived: at})
	}
	s.Rows[10].Anomaly = fanwatch.KindStall
	return s
}
