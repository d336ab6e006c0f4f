package testsuite

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/failpoint"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/workflows"
)

// publisher publishes batches of a run of one fan and remembers what was acknowledged. Like an edge it
// repeats what was not, so that the system sees duplicates.
type publisher struct {
	t         testing.TB
	fan       string
	cert, key string
	run       uint64
	sent      uint64 // sequence number up to which readings were published
	acked     uint64 // and acknowledged
	rng       *rand.Rand
	rpm       float64
}

// publish sends batches until n more readings are acknowledged or the system is gone.
func (p *publisher) publish(s *system, n int) {
	c, err := s.connect(p.fan, p.cert, p.key)
	if err != nil {
		return
	}
	defer c.Disconnect(0)
	for want := p.acked + uint64(n); p.acked < want; {
		if !p.batch(c) {
			return
		}
		time.Sleep(12 * time.Millisecond) // AWS IoT Core takes 100 messages a second from a connection
	}
}

func (p *publisher) batch(c mqtt.Client) bool {
	var readings []fanwatch.Reading
	for seq := p.acked + 1; seq <= p.acked+5; seq++ {
		readings = append(readings, fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: p.fan, Run: p.run, Seq: seq},
			Time: time.Now().UTC(),
			RPM:  p.rpm + 4*p.rng.NormFloat64(), Hz: 60, Jitter: 0.002, State: fanwatch.StateRunning})
	}
	body, err := json.Marshal(fanwatch.NewBatch(readings, p.acked, 0, time.Now()))
	if err != nil {
		p.t.Error(err)
		return false
	}
	p.sent = p.acked + 5
	token := c.Publish("$aws/rules/fanwatch_readings/"+p.fan, 1, false, body)
	// paho completes a token without error when the connection is closed in order; only a live connection
	// shows that there was a PUBACK.
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil || !c.IsConnectionOpen() {
		return false
	}
	p.acked = p.sent
	return true
}

// store gives the bucket of the S3 server, whose directory holds objects as plain files.
func (s *system) store() objstore.Store { return storeIn(s.t, s.Dir) }

func storeIn(t testing.TB, dir string) objstore.Store {
	t.Helper()
	store, err := objstore.OpenDir(filepath.Join(dir, "s3", "fanwatch-lake"))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// landed reads the whole landing log.
func landed(t testing.TB, dir string) map[string][]fanwatch.Row {
	t.Helper()
	store := storeIn(t, dir)
	logs, err := landing.Logs(t.Context(), store, "fanwatch")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]fanwatch.Row{}
	for _, l := range logs {
		err := l.Walk(t.Context(), "0", func(seg landing.Segment) error {
			rows[l.Shard] = append(rows[l.Shard], seg.Rows...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// count says how often each sequence number of the run was landed.
func (p *publisher) count(rows map[string][]fanwatch.Row) map[uint64]int {
	n := map[uint64]int{}
	for _, shard := range rows {
		for _, r := range shard {
			if r.Fan == p.fan && r.Run == p.run && r.Kind != fanwatch.RowConfigured {
				n[r.Seq]++
			}
		}
	}
	return n
}

// landed waits until everything that the publisher had acknowledged is in the landing log.
func (s *system) landed(p *publisher) {
	s.t.Helper()
	s.until(60*time.Second, "every acknowledged reading landed", func() (bool, string) {
		n := p.count(landed(p.t, s.Dir))
		missing := 0
		for seq := uint64(1); seq <= p.acked; seq++ {
			if n[seq] == 0 {
				missing++
			}
		}
		return missing == 0, fmt.Sprintf("%d of %d missing", missing, p.acked)
	})
}

// check waits until everything acknowledged has landed, and holds the log against the promises: exactly
// once, and every score the one that an undisturbed run gives, bit for bit.
func (p *publisher) check(s *system) {
	p.t.Helper()
	s.landed(p)
	rows := landed(p.t, s.Dir)
	once := p.count(rows)
	for seq, n := range once {
		if n != 1 {
			p.t.Errorf("reading %d of %s was landed %d times", seq, p.fan, n)
		}
	}
	s.reconciled(p.fan, len(once))
	replay(p.t, rows, nil)
}

// replay computes every score from the first row on, as a run that was never disturbed does, and compares
// it with the score that was landed. A shard that has parents begins with their models.
func replay(t testing.TB, rows map[string][]fanwatch.Row, parents map[string][]string) {
	t.Helper()
	models := map[string]*detect.Models{}
	for _, shard := range slices.Sorted(maps.Keys(rows)) { // parents have lower numbers than their children
		m := detect.New(detect.Config{Seed: 1})
		for _, parent := range parents[shard] {
			m.Adopt(models[parent], func(fan string) bool {
				return slices.ContainsFunc(rows[shard], func(r fanwatch.Row) bool { return r.Fan == fan })
			})
		}
		if err := m.Replay(rows[shard]); err != nil {
			t.Errorf("shard %s: %v", shard, err)
		}
		models[shard] = m
	}
}

func newPublisher(t testing.TB, s *system, seed uint64) *publisher {
	p := &publisher{t: t, fan: "fan-k", run: 1 + seed, rng: rand.New(rand.NewPCG(seed, 3)), rpm: 1800}
	p.cert, p.key = s.provision(p.fan, "--min-rpm", "900", "--silence", "-1s")
	return p
}

// steps checks that the inbox holds the fan's escalation without a gap: no step before the one below it,
// no message twice.
func (s *system) steps(fan string) {
	s.t.Helper()
	seen := map[string]int{}
	highest := 0
	for _, m := range s.inbox(fan) {
		seen[m]++
		n := 1 // the first step is not named, and no repeat's
		if step := strings.Index(m, ", step "); step >= 0 {
			n = int(m[step+len(", step ")] - '0')
		}
		if n > highest+1 {
			s.t.Errorf("step %d was told before step %d: %v", n, highest+1, s.inbox(fan))
		}
		highest = max(highest, n)
	}
	for m, n := range seen {
		if n > 1 {
			s.t.Errorf("%q was told %d times", m, n)
		}
	}
}

// TestKillEverythingAtRandom kills the whole process group at random moments and starts it again.
func TestKillEverythingAtRandom(t *testing.T) {
	for seed := range uint64(seeds(2, 30)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel() // it mostly waits
			dir := t.TempDir()
			rng := rand.New(rand.NewPCG(seed, 77))
			s := start(t, dir, nil, "--fans", "2", "--no-faults", "--snapshot-every", "5s")
			p := newPublisher(t, s, seed)
			p.publish(s, 50)
			p.rpm = 300 // the alert stays open through all that follows
			p.publish(s, 20)
			alert := s.openAlert(p.fan, 30*time.Second)
			for range 2 {
				dead := make(chan struct{})
				time.AfterFunc(time.Duration(rng.IntN(6000))*time.Millisecond, func() { s.kill(); close(dead) })
				p.publish(s, 1<<30)
				<-dead
				s = start(t, dir, nil, "--fans", "2", "--no-faults", "--snapshot-every", "5s")
			}
			p.publish(s, 100)
			p.check(s)
			s.until(2*time.Minute, "step two of the alert that was open", func() (bool, string) {
				in := s.inbox(p.fan)
				return len(in) > 0 && strings.Contains(in[len(in)-1], "step 2 of 2"), fmt.Sprint(in)
			})
			if a := s.openAlert(p.fan, 10*time.Second); a.ID != alert.ID {
				t.Errorf("another alert is open: %s, was %s", a.ID, alert.ID)
			}
			s.steps(p.fan)
			s.sound()
		})
	}
}

// TestKillAtEveryFailpoint kills the process between two durable steps, at each named place on the path.
func TestKillAtEveryFailpoint(t *testing.T) {
	for _, at := range failpoint.Names() {
		t.Run(at, func(t *testing.T) {
			if strings.HasPrefix(at, "retire.") {
				t.Skip("a day is past retention a day after its end at the earliest; TestAKilledLakeHasEveryRowOnce of " +
					"package lake comes by here")
			}
			t.Parallel() // it mostly waits
			dir := t.TempDir()
			visit, args := "2", []string{"--fans", "2", "--no-faults", "--snapshot-every", "2s"}
			tombstones := strings.HasPrefix(at, "tombstone.")
			if tombstones {
				args = append(args, "--keep-segments", "1s")
			}
			if strings.HasPrefix(at, "compact.") || strings.HasPrefix(at, "expire.") {
				visit = "1" // twice a minute at most
			}
			recovers := strings.HasPrefix(at, "alert.put.")
			if recovers {
				visit = "1" // an alert has to end
			}
			s := start(t, dir, nil, args...)
			p := newPublisher(t, s, 1)
			p.publish(s, 40)
			s.kill()
			s, err := tryStart(t, dir, []string{failpoint.Environment + "=" + at + "=kill@" + visit}, args...)
			if err == nil {
				p.rpm = 300
				p.publish(s, 20)
				if recovers {
					s.openAlert(p.fan, 30*time.Second)
					p.rpm = 1800
				}
				p.publish(s, 2000) // until it dies
				gone := make(chan struct{})
				go func() { _, _ = s.cmd.Process.Wait(); close(gone) }()
				select {
				case <-gone:
				case <-time.After(2 * time.Minute):
					t.Fatalf("nobody came by %s\n%s", at, s.logTail())
				}
			}
			s.kill()
			s = start(t, dir, nil, args...)
			p.rpm = 300
			p.publish(s, 50)
			if tombstones { // the log has given rows away: what counts is the account
				s.reconciled(p.fan, int(p.acked))
			} else {
				p.check(s)
			}
			s.sound()
			s.openAlert(p.fan, 30*time.Second)
			if !recovers { // else there were two alerts
				s.steps(p.fan)
			}
		})
	}
}

// TestZombieScorerChangesNothing freezes the process for longer than its scorers' heartbeat time-out, while Temporal
// goes on. When it wakes up its attempts are superseded: others begin beside them.
func TestZombieScorerChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "2", "--no-faults", "--snapshot-every", "5s")
	p := newPublisher(t, s, 1)
	p.publish(s, 300)
	attempts := func() (n int32) {
		for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
			d, err := s.temporal().DescribeWorkflowExecution(t.Context(), workflows.ShardID("fanwatch", shard), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range d.GetPendingActivities() {
				n = max(n, a.GetAttempt())
			}
		}
		return n
	}
	before := attempts()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.until(60*time.Second, "another attempt", func() (bool, string) { n := attempts(); return n > before, fmt.Sprint(n) })
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.publish(s, 200)
	p.check(s)
}

// seeds gives how many runs a kill test makes: a few in test, the count in test:long.
func seeds(few, many int) int {
	if os.Getenv("FANWATCH_LONG") != "" {
		return many
	}
	return few
}
