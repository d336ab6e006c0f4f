//go:build unix

// Package torture kills publishers and brokers, real processes all, in random order with kill -9, and counts what comes
// out at the far end: nothing lost, nothing reordered, and nothing repeated but what QoS 1 allows.
package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fanwatch"
)

// fans at ten readings a second each (edge's shortest interval) are the 50 readings a second of the promise.
const fans = 5

// broker is a broker in a process of its own that keeps its address through kills.
type broker interface {
	start() // returns when it takes connections
	hang()  // stands still until it is killed: what is sent to it stays in flight
	kill()  // kill -9; what it had acknowledged is then where arrived finds it
	identity(fan string) identity
	arrived() []fanwatch.Batch // whatever it has acknowledged, in the order of arrival; some may not have been
}

// identity is what a publisher needs to know to be a fan.
type identity struct{ Broker, CA, Cert, Key, Topic string }

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "publisher":
		os.Exit(publish())
	case "iotcore":
		os.Exit(serveIoTCore())
	}
	os.Exit(m.Run())
}

func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a quarter of a minute for each seed")
	}
	seeds, span := 2, 12*time.Second
	if os.Getenv("FANWATCH_LONG") != "" {
		seeds, span = 10, time.Minute
	}
	for name, make := range map[string]func(*testing.T) broker{"mosquitto": newMosquitto, "iotcore": newIoTCore} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/seed %d", name, seed), func(t *testing.T) {
				t.Parallel() // it mostly waits
				torture(t, make(t), uint64(seed), span)
			})
		}
	}
}

func torture(t *testing.T, b broker, seed uint64, span time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 4711))
	between := func(low, high int) time.Duration { return time.Duration(low+rng.IntN(high-low)) * time.Millisecond }
	b.start()
	p := newPublisher(t, b)
	p.start("")
	brokers, publishers := 0, 0
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(between(100, 1500)) {
		switch rng.IntN(5) {
		case 0, 1:
			if rng.IntN(2) == 0 {
				b.hang()
				time.Sleep(between(1, 800))
			}
			b.kill()
			brokers++
			time.Sleep(between(1, 800))
			b.start()
		case 2, 3:
			p.kill()
			publishers++
			time.Sleep(between(1, 300))
			p.start("")
		case 4: // the publisher ends itself between an acknowledgement and the move of its cursor
			p.kill()
			p.start(fmt.Sprintf("spool.ack.before=kill@%d", 1+rng.IntN(10)))
			publishers++
			b.kill()
			brokers++
			b.start()
			p.waitForDeath(10 * time.Second)
			p.start("")
		}
	}
	p.finish()
	b.kill()
	truth, order := p.truth()
	judge(t, truth, order, b.arrived(), fmt.Sprintf("%d kills of the broker, %d of the publisher", brokers, publishers))
}

// judge holds what arrived against what was measured: truth gives how many readings of a run were completed for
// certain, order each fan's runs in the order of their beginning.
func judge(t *testing.T, truth map[run]uint64, order map[string][]uint64, batches []fanwatch.Batch, log string) {
	t.Helper()
	next := map[run]uint64{}    // the sequence number that must come next
	place := map[string]int{}   // which of the fan's runs it is at
	highest := map[run]uint64{} // the acknowledgements that the publisher knew of
	var readings, again, lost, reordered int
	for _, batch := range batches {
		number, err := fanwatch.ParseRun(batch.Run)
		if err != nil {
			t.Fatal(err)
		}
		r := run{batch.Fan, number}
		if batch.Dropped != 0 {
			t.Errorf("%v says that it dropped %d", r, batch.Dropped)
		}
		if batch.Readings[0].Seq <= batch.Acked || batch.Acked < highest[r] {
			t.Errorf("%v repeats reading %d, and knew that %d were acknowledged", r, batch.Readings[0].Seq,
				max(batch.Acked, highest[r]))
		}
		highest[r] = batch.Acked
		for _, reading := range batch.Readings {
			switch want := max(next[r], 1); {
			case reading.Seq < want:
				again++
				continue
			case reading.Seq > want:
				lost += int(reading.Seq - want)
				t.Errorf("%v: %d to %d never arrived", r, want, reading.Seq-1)
			}
			for place[r.Fan] < len(order[r.Fan]) && order[r.Fan][place[r.Fan]] != r.Run {
				place[r.Fan]++
			}
			if place[r.Fan] == len(order[r.Fan]) {
				reordered++
				place[r.Fan] = 0
			}
			next[r] = reading.Seq + 1
			readings++
		}
	}
	for r, completed := range truth {
		if got := max(next[r], 1) - 1; got < completed {
			lost += int(completed - got)
			t.Errorf("%v: %d readings were completed, %d arrived", r, completed, got)
		}
	}
	if lost != 0 || reordered != 0 || readings == 0 {
		t.Errorf("lost %d, reordered %d of %d", lost, reordered, readings)
	}
	t.Logf("%s: %d readings of %d runs arrived, lost %d, reordered %d, repeated %d", log, readings, len(next), lost,
		reordered, again)
}

// run names one life of a fan's publisher.
type run struct {
	Fan string
	Run uint64
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 60 s for %s", what)
		}
	}
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
