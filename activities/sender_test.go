package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

// TestOneFanThatCannotBeToldHoldsUpNoOther: one fan's signals hang, another's are refused, a third's workflow is gone.
func TestOneFanThatCannotBeToldHoldsUpNoOther(t *testing.T) {
	r := newRig(t)
	r.cfg.SendWithin = 50 * time.Millisecond
	r.cfg.Senders = 2
	a := r.prepare(1, Shard{ID: "shard-0"})
	r.told.failing(func(o fanwatch.Observation) error {
		switch o.Fan {
		case "hangs":
			time.Sleep(50 * time.Millisecond)
			return context.DeadlineExceeded
		case "refuses":
			return fmt.Errorf("fan %s: %w", o.Fan, ErrRefused)
		case "retired":
			return fmt.Errorf("fan %s: %w", o.Fan, ErrNoFan)
		}
		return nil
	})
	a.sender.start(t.Context())
	for _, fan := range []string{"hangs", "refuses", "retired"} {
		a.sender.enqueue(fanwatch.Device{}, fanwatch.Observation{Fan: fan,
			Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindStall}})
	}
	for i := range 50 {
		a.sender.enqueue(fanwatch.Device{}, fanwatch.Observation{Fan: fmt.Sprintf("fan-%02d", i),
			Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindStall}})
	}
	r.until("fifty fans told", func() bool { return len(r.told.all()) == 50 })
	r.until("the answers noted", func() bool {
		return strings.Contains(a.sender.trouble(), "no workflow takes the change")
	})
	if a.sender.sentUpTo(1) {
		t.Error("the change that hangs counts as told")
	}
	r.told.failing(nil)
	r.until("the last one told", func() bool { return a.sender.sentUpTo(53) && r.told.has("hangs", fanwatch.KindStall) })
}

// TestAfterAnOutageTheNewestChangeIsTold: a fan that stalled and ran again while it could not be told hears the end of
// it, once.
func TestAfterAnOutageTheNewestChangeIsTold(t *testing.T) {
	r := newRig(t)
	a := r.prepare(1, Shard{ID: "shard-0"})
	a.sender.start(t.Context())
	answers, tried := make(chan error), make(chan bool)
	r.told.failing(func(fanwatch.Observation) error {
		tried <- true
		return <-answers
	})
	change := func(seq int, kind fanwatch.Kind) {
		a.sender.enqueue(fanwatch.Device{}, fanwatch.Observation{Fan: "a", Family: fanwatch.FamilySpeed,
			Position: fanwatch.Position{Sequence: fanwatch.SequenceNumber(fmt.Sprint(seq))},
			Anomaly:  fanwatch.Anomaly{Kind: kind}})
	}
	change(1, fanwatch.KindStall)
	<-tried
	change(2, fanwatch.KindNone)
	change(3, fanwatch.KindOverspeed)
	answers <- errors.New("Temporal is away")
	<-tried // of the newest, 3; meanwhile:
	change(4, fanwatch.KindUnderspeed)
	answers <- nil
	<-tried
	if a.sender.sentUpTo(1) {
		t.Error("the first change counts as told though what superseded it was not")
	}
	answers <- nil
	r.until("it told", func() bool { return a.sender.sentUpTo(4) })
	var kinds []fanwatch.Kind
	for _, o := range r.told.all() {
		kinds = append(kinds, o.Anomaly.Kind)
	}
	if !slices.Equal(kinds, []fanwatch.Kind{fanwatch.KindOverspeed, fanwatch.KindUnderspeed}) {
		t.Errorf("told %v", kinds)
	}
}

// TestAfterAnOutageTheNewestChangeOfEachFamilyIsTold, and landing waits for all of them.
func TestAfterAnOutageTheNewestChangeOfEachFamilyIsTold(t *testing.T) {
	r := newRig(t)
	a := r.prepare(1, Shard{ID: "shard-0"})
	a.sender.start(t.Context())
	answers, tried := make(chan error), make(chan bool)
	r.told.failing(func(fanwatch.Observation) error {
		tried <- true
		return <-answers
	})
	change := func(seq int, family fanwatch.Family, kind fanwatch.Kind) {
		a.sender.enqueue(fanwatch.Device{}, fanwatch.Observation{Fan: "a", Family: family,
			Position: fanwatch.Position{Sequence: fanwatch.SequenceNumber(fmt.Sprint(seq))},
			Anomaly:  fanwatch.Anomaly{Kind: kind}})
	}
	change(1, "", fanwatch.KindNone)
	<-tried
	change(2, fanwatch.FamilySpeed, fanwatch.KindSpeed)
	change(3, fanwatch.FamilyTexture, fanwatch.KindJitter)
	change(4, fanwatch.FamilySpeed, fanwatch.KindStall)
	answers <- errors.New("Temporal is away")
	for range 2 {
		<-tried
		answers <- nil
	}
	<-tried
	if a.sender.sentUpTo(2) {
		t.Error("the stall counts as told")
	}
	answers <- nil
	r.until("all told", func() bool { return a.sender.sentUpTo(4) })
	var kinds []fanwatch.Kind
	for _, o := range r.told.all() {
		kinds = append(kinds, o.Anomaly.Kind)
	}
	if want := []fanwatch.Kind{fanwatch.KindNone, fanwatch.KindJitter, fanwatch.KindStall}; !slices.Equal(kinds, want) {
		t.Errorf("told %v, want %v", kinds, want)
	}
}

// TestManyFansOfOneShardAreAllTold: so many fans whose signals take 20 ms each come through the start, a snapshot
// and the end of an attempt without a pause between heartbeats of half the activity's heartbeat time-out, 10 s.
// With FANWATCH_LONG 9,000, as many as a shard's 1,000 records a second carry in batches.
func TestManyFansOfOneShardAreAllTold(t *testing.T) {
	fans := 600
	if os.Getenv("FANWATCH_LONG") != "" {
		fans = 9000
	}
	r := newRig(t)
	r.cfg.Heartbeat = 100 * time.Millisecond
	r.told.failing(func(fanwatch.Observation) error { time.Sleep(20 * time.Millisecond); return nil })
	for i := range fans {
		r.device(fmt.Sprintf("fan-%04d", i), 900)
		r.tape.put(fmt.Appendf(nil, `{"TIME":%q,"FANID":"fan-%04d","RPM":1800,"client":"fan-%04d"}`,
			begin.Add(time.Duration(len(r.tape.records))*time.Second).Format(time.RFC3339), i, i))
	}
	r.tape.closed = true
	for n := int32(1); n <= 2; n++ { // the second recovers from what the first leaves
		a := r.prepare(n, Shard{ID: "shard-0"})
		var mu sync.Mutex
		last, worst, beats := time.Now(), time.Duration(0), 0
		a.pulse.beat = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			worst, last = max(worst, time.Since(last)), time.Now()
			beats++
		}
		begun := time.Now()
		out, err := a.score(t.Context())
		if err != nil || !out.Ended {
			t.Fatalf("%+v, %v", out, err)
		}
		mu.Lock()
		t.Logf("attempt %d of %d fans: %s, %d heartbeats, the longest pause %s", n, fans,
			time.Since(begun).Round(time.Millisecond), beats, worst.Round(time.Millisecond))
		if worst > 5*time.Second {
			t.Errorf("a pause of %s between heartbeats, want at most 5s", worst)
		}
		mu.Unlock()
		if n == 1 {
			if took, alone := time.Since(begun), time.Duration(fans)*20*time.Millisecond; fans < 1000 && took > alone {
				t.Errorf("telling took %s, one after the other %s", took, alone)
			}
			if n := len(r.told.all()); n != fans {
				t.Errorf("%d fans were told, want %d", n, fans)
			}
		}
	}
}

// TestAnAttemptThatHangsDoesNotLookAlive: a read that never answers ends the attempt with the reason.
func TestAnAttemptThatHangsDoesNotLookAlive(t *testing.T) {
	r := newRig(t)
	r.cfg.Heartbeat, r.cfg.Stuck = 5*time.Millisecond, 100*time.Millisecond
	a := r.prepare(1, Shard{ID: "shard-0"})
	a.Stream = hung{r.tape}
	var mu sync.Mutex
	var last Progress
	a.pulse.beat = func(p Progress) { mu.Lock(); last = p; mu.Unlock() }
	if _, err := a.score(t.Context()); !errors.Is(err, errStuck) || strings.Contains(err.Error(), "\n") {
		t.Errorf("ended with %v, want errStuck in one line", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(last.Trouble, "nothing was read or judged") || !last.Through.IsZero() {
		t.Errorf("the last heartbeat says %+v", last)
	}
}

type hung struct{ *tape }

func (hung) Open(string, string, fanwatch.SequenceNumber) ShardReader { return hungReader{} }

type hungReader struct{}

func (hungReader) Next(ctx context.Context) (Batch, error) { <-ctx.Done(); return Batch{}, ctx.Err() }

// TestProgressNamesTheTimeUpToWhichAllWasJudged: Through is zero before the first read, stands where the stream
// cannot be read, and is Behind behind the clock otherwise.
func TestProgressNamesTheTimeUpToWhichAllWasJudged(t *testing.T) {
	r := newRig(t)
	r.tape.reading(1800)
	a := r.attempt(1)
	if x, _ := a.pulse.compose(); !x.Through.IsZero() || x.V != ProgressVersion || !x.Now.Equal(r.now()) {
		t.Errorf("before the first read: %+v", x)
	}
	script := &scripted{batches: []Batch{{Behind: 40 * time.Second, Records: r.tape.records},
		{Trouble: "Kinesis does not answer"}}}
	a.reader = script
	a.reported = time.Time{}
	r.steps(a, 1)
	want := r.now().Add(-40 * time.Second)
	if x, _ := a.pulse.compose(); !x.Through.Equal(want) || x.Fans != 1 || x.Readings != 2 || x.Behind != 40*time.Second {
		t.Errorf("behind: %+v", x)
	}
	r.later(time.Minute)
	r.steps(a, 1)
	x, _ := a.pulse.compose()
	if !x.Through.Equal(want) || x.Trouble != "Kinesis does not answer" || len(x.Unjudged) != 1 ||
		x.Unjudged[0].Fan != "a" {
		t.Errorf("while it cannot be read: %+v", x)
	}
	if r.told.has("a", fanwatch.KindSilent) {
		t.Error("a fan was called silent though nothing was read")
	}
}

type scripted struct {
	batches []Batch
	err     error // behind them
}

func (s *scripted) Next(context.Context) (Batch, error) {
	if len(s.batches) == 0 {
		return Batch{}, s.err
	}
	b := s.batches[0]
	s.batches = s.batches[1:]
	return b, nil
}
