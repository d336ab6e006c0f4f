package iotcore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

const (
	reportsQueued   = 256              // reports that wait for the stream; beyond it they are counted alone
	reportTries     = time.Minute      // for how long one report is tried
	reportPayload   = 4 << 10          // bytes of a refused payload that go to the stream
	reporterSweeps  = time.Second      // how often counted refusals are looked at
	reporterGoodbye = 2 * time.Second  // for what is left when the broker ends
	reporterPause   = 10 * time.Second // the longest between two tries
)

// reporter puts refusals on a stream, in the form in which the error action of a rule tells of a message that it could
// not handle, so that they are kept and listed with those. It stands beside the connections: a stream that hangs costs
// reports, which are counted, and no connection waits for it.
type reporter struct {
	refusals *refusals
	put      func(ctx context.Context, key string, data []byte) error
	timeout  time.Duration // of one try
	pause    time.Duration // before the second try, doubled for each further one up to reporterPause
	log      *slog.Logger

	queue   chan report
	dropped atomic.Int64 // reports that were not written, and not yet told of
	stop    chan struct{}
	done    chan struct{}
}

func newReporter(r *refusals, log *slog.Logger, timeout, pause time.Duration,
	put func(ctx context.Context, key string, data []byte) error) *reporter {
	return &reporter{refusals: r, put: put, timeout: timeout, pause: pause, log: log,
		queue: make(chan report, reportsQueued), stop: make(chan struct{}), done: make(chan struct{})}
}

// offer queues a report, or counts it when the queue is full.
func (r *reporter) offer(f report) {
	select {
	case r.queue <- f:
	default:
		r.dropped.Add(1)
	}
}

// run writes reports until close is called.
func (r *reporter) run() {
	defer close(r.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-r.stop
		time.AfterFunc(reporterGoodbye, cancel)
	}()
	sweep := time.NewTicker(reporterSweeps)
	defer sweep.Stop()
	for {
		select {
		case f := <-r.queue:
			r.write(ctx, f)
		case <-sweep.C:
			r.refusals.sweep(false)
		case <-r.stop:
			r.refusals.sweep(true)
			for {
				select {
				case f := <-r.queue:
					r.write(ctx, f)
				default:
					return
				}
			}
		}
	}
}

// close writes what is left, for at most reporterGoodbye.
func (r *reporter) close() {
	close(r.stop)
	<-r.done
}

// write puts one report on the stream, or gives it up after reportTries, and then says how many were not written
// before it.
func (r *reporter) write(ctx context.Context, f report) {
	if err := r.try(ctx, f); err != nil {
		n := r.dropped.Add(1)
		r.log.Warn("a refusal could not be put on the stream, so that fanwatch refused does not list it",
			"client", f.ClientID, "kind", f.Kind, "err", err, "so far", n)
		return
	}
	n := r.dropped.Swap(0)
	if n == 0 {
		return
	}
	said := report{Refusal: Refusal{Time: f.Time, Reason: fmt.Sprintf(
		"%d refusals of the broker are not listed, because the stream did not take them in time: its log has them", n)}}
	if err := r.try(ctx, said); err != nil {
		r.dropped.Add(n)
	}
}

func (r *reporter) try(ctx context.Context, f report) error {
	data, err := json.Marshal(document(f))
	if err != nil {
		return err
	}
	key := f.fan // so that it lies beside the fan's readings
	if key == "" {
		key = "refused"
	}
	pause := r.pause
	for end := time.Now().Add(reportTries); ; pause = min(2*pause, reporterPause) {
		one, cancel := context.WithTimeout(ctx, r.timeout)
		err := r.put(one, key, data)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || !sleep(ctx, pause) {
			return err
		}
	}
}

// refusalDocument is an error document of no rule, with the fan whose certificate was used and when it came.
type refusalDocument struct {
	errorDocument
	Fan     string `json:"fan,omitempty"`
	Arrived int64  `json:"arrived"` // Unix milliseconds
}

func document(f report) refusalDocument {
	reason := f.reason()
	if !strings.Contains(reason, f.Topic) {
		reason = "on " + f.Topic + ": " + reason
	}
	payload := f.payload[:min(len(f.payload), reportPayload)]
	return refusalDocument{
		errorDocument: errorDocument{Topic: f.Topic, ClientID: f.ClientID,
			Payload:  base64.StdEncoding.EncodeToString(payload),
			Failures: []failure{{Action: "Broker", Resource: f.Topic, Message: reason}}},
		Fan: f.fan, Arrived: f.Time.UnixMilli(),
	}
}
