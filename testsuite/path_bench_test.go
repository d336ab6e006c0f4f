package testsuite

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	enums "go.temporal.io/api/enums/v1"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/workflows"
)

// BenchmarkPath measures the whole local system from outside: how many readings a second go all the way from a
// publisher to the landing log, and how long after the publish of a drop in speed the fan's workflow has the
// signal; and what a storm of alerts costs. Publishers, broker, stream, scoring, Temporal and S3 share this
// machine's cores.
func BenchmarkPath(b *testing.B) {
	b.Run("Throughput", benchmarkThroughput)
	b.Run("PublishToSignal", benchmarkSignal)
	b.Run("Storm", benchmarkStorm)
}

// benchmarkStorm has 1,000 fans of one hall stop within a second, and turn again once all are part of an incident.
func benchmarkStorm(b *testing.B) {
	const fans = 1000
	var f stormFigures
	for range b.N {
		s := newStorm(b, fans)
		f, _ = s.stops()
		s.ends(&f)
		s.kill()
	}
	b.ReportMetric(float64(f.pages), "pages")
	b.ReportMetric(f.first.Seconds(), "s-to-first-page")
	b.ReportMetric(f.all.Seconds(), "s-to-all-alerts")
	b.ReportMetric(float64(f.largest), "largest-workflow-events")
	b.ReportMetric(0, "ns/op")
}

const benchFans = 20

// benchPublisher is a fan's connection and its place in its run.
type benchPublisher struct {
	fan string
	c   mqtt.Client
	seq uint64
	rng *rand.Rand
}

func benchPublishers(b *testing.B, s *system, n int) []*benchPublisher {
	all := make([]*benchPublisher, n)
	for i := range all {
		fan := fmt.Sprintf("bench-%03d", i)
		cert, key := s.provision(fan, "--min-rpm", "900", "--silence", "-1s")
		all[i] = &benchPublisher{fan: fan, c: mustConnect(s, fan, cert, key), rng: rand.New(rand.NewPCG(uint64(i), 1))}
	}
	return all
}

// publish publishes a batch, a second of measured time per reading, and waits for its PUBACK.
func (p *benchPublisher) publish(n int, rpm float64) error {
	readings := make([]fanwatch.Reading, n)
	now := time.Now().UTC()
	for i := range readings {
		p.seq++
		readings[i] = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: p.fan, Run: 1, Seq: p.seq},
			Time: now.Add(time.Duration(i-n) * time.Millisecond),
			RPM:  rpm + 4*p.rng.NormFloat64(), Hz: 60, Jitter: 0.002, State: fanwatch.StateRunning}
	}
	body, err := json.Marshal(fanwatch.NewBatch(readings, p.seq-uint64(n), 0, now))
	if err != nil {
		return err
	}
	token := p.c.Publish("$aws/rules/fanwatch_readings/"+p.fan, 1, false, body)
	if !token.WaitTimeout(30 * time.Second) {
		return fmt.Errorf("%s: no PUBACK within 30 s", p.fan)
	}
	return token.Error()
}

// landedRows counts scored rows as they appear in the landing log.
type landedRows struct {
	logs []landing.Log
	at   []fanwatch.SequenceNumber
	n    int

	before int // those that were there when counting began
}

func newLandedRows(b *testing.B, s *system) *landedRows {
	store := s.store()
	logs, err := landing.Logs(b.Context(), store, s.Stream)
	if err != nil {
		b.Fatal(err)
	}
	l := &landedRows{logs: logs, at: make([]fanwatch.SequenceNumber, len(logs))}
	l.read(b)
	l.before, l.n = l.n, 0
	return l
}

func (l *landedRows) read(b *testing.B) {
	for i := range l.logs {
		err := l.logs[i].Walk(b.Context(), l.at[i], func(seg landing.Segment) error {
			l.n += seg.Counts.Scored
			l.at[i] = seg.Last
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkThroughput(b *testing.B) {
	const batch, batches = 100, 250 // of each fan
	s := start(b, b.TempDir(), nil, "--fans", "0")
	fans := benchPublishers(b, s, benchFans)
	for _, p := range fans {
		if err := p.publish(1, 1800); err != nil {
			b.Fatal(err)
		}
	}
	s.until(30*time.Second, "both shards landing", func() (bool, string) {
		logs, err := landing.Logs(b.Context(), s.store(), s.Stream)
		return len(logs) == 2, fmt.Sprint(len(logs), err)
	})
	const rows = benchFans * batch * batches
	b.ResetTimer()
	for range b.N {
		landed := newLandedRows(b, s)
		began := time.Now()
		var wg sync.WaitGroup
		for _, p := range fans {
			wg.Go(func() {
				for range batches {
					if err := p.publish(batch, 1800); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		acked := time.Since(began)
		s.until(5*time.Minute, fmt.Sprint(rows, " readings landed"), func() (bool, string) {
			landed.read(b)
			return landed.n >= rows, fmt.Sprint(landed.n)
		})
		b.ReportMetric(rows/acked.Seconds(), "acknowledged-readings/s")
		b.ReportMetric(rows/time.Since(began).Seconds(), "landed-readings/s")
	}
	b.ReportMetric(0, "ns/op")
}

func benchmarkSignal(b *testing.B) {
	s := start(b, b.TempDir(), nil, "--fans", "20", "--no-faults") // the usual load beside it
	fans := benchPublishers(b, s, 100)
	for _, p := range fans {
		if err := p.publish(20, 1800); err != nil {
			b.Fatal(err)
		}
	}
	// A fan is told of a change at most once a second: its first one, which says that it is there, must be over.
	s.until(30*time.Second, "the first readings landed", func() (bool, string) {
		l := newLandedRows(b, s)
		return l.before >= 20*len(fans), fmt.Sprint(l.before)
	})
	c := s.temporal()
	for b.Loop() {
		b.StopTimer()
		var latencies []time.Duration
		for _, p := range fans {
			published := time.Now()
			if err := p.publish(5, 300); err != nil {
				b.Fatal(err)
			}
			var latency time.Duration
			s.until(30*time.Second, "the signal to "+p.fan, func() (bool, string) {
				events := c.GetWorkflowHistory(b.Context(), workflows.FanID(p.fan), "", false,
					enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
				for events.HasNext() {
					e, err := events.Next()
					if err != nil {
						return false, err.Error()
					}
					if e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == workflows.SignalObserve &&
						e.EventTime.AsTime().After(published) {
						latency = e.EventTime.AsTime().Sub(published)
					}
				}
				return latency > 0, ""
			})
			latencies = append(latencies, latency)
			if err := p.publish(30, 1800); err != nil { // normal again before the next round
				b.Fatal(err)
			}
		}
		slices.Sort(latencies)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(ms(latencies[len(latencies)/2]), "p50-ms")
		b.ReportMetric(ms(latencies[len(latencies)*99/100]), "p99-ms")
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op")
}
