package edge

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBackOffBeginsAnew: after a connection that lasted, and after one that worked until the network failed; not after
// one that the broker closed soon, though it had acknowledged messages.
func TestBackOffBeginsAnew(t *testing.T) {
	c := Config{}
	c.fill()
	for name, x := range map[string]struct {
		ending
		anew bool
	}{
		"lasted":                      {ending{lasted: time.Minute, closed: true}, true},
		"network failed after an ack": {ending{lasted: time.Second, acked: true}, true},
		"network failed without":      {ending{lasted: time.Second}, false},
		"closed after an ack":         {ending{lasted: 59 * time.Second, closed: true, acked: true}, false},
		"closed with one awaited":     {ending{lasted: time.Second, closed: true, acked: true, owed: true}, false},
	} {
		b := newBackoff(c, rand.New(rand.NewPCG(1, 1)))
		for range 6 {
			b.next()
		}
		if err := b.lost(time.Now(), x.ending); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.next() <= time.Second; got != x.anew {
			t.Errorf("%s: begins anew: %t", name, got)
		}
	}
}

// TestOnlyTakeoversLookLikeTakeovers: a message that the broker hangs up on, a network that fails and a broker that is
// away are no other publisher.
func TestOnlyTakeoversLookLikeTakeovers(t *testing.T) {
	c := Config{Fan: "fan-01"}
	c.fill()
	for name, x := range map[string]struct {
		ending
		away bool
		want bool
	}{
		"taken over":          {ending{lasted: 2 * time.Second, closed: true, acked: true}, false, true},
		"before any message":  {ending{lasted: time.Millisecond, closed: true}, false, true},
		"message hung up on":  {ending{lasted: time.Second, closed: true, owed: true}, false, false},
		"network failed":      {ending{lasted: time.Second, acked: true}, false, false},
		"broker is restarted": {ending{lasted: time.Second, closed: true}, true, false},
		"lasts":               {ending{lasted: time.Hour, closed: true}, false, false},
		"the other one waits": {ending{lasted: 4 * time.Minute, closed: true}, false, true},
	} {
		b, found, now := newBackoff(c, rand.New(rand.NewPCG(1, 1))), false, time.Now()
		for range 10 {
			now = now.Add(x.lasted)
			found = b.lost(now, x.ending) != nil || found
			if x.away {
				b.refused()
			}
		}
		if found != x.want {
			t.Errorf("%s: taken for another publisher: %t", name, found)
		}
	}
}

// TestTwoPublishersShareOneNameForADay, in virtual time: they do not take the connection from each other once a
// second, each has it often and long enough, and both say why; also when one comes to the other later, or drains a
// large spool.
func TestTwoPublishersShareOneNameForADay(t *testing.T) {
	for _, x := range []struct {
		name   string
		later  time.Duration // the second one comes
		drains bool          // the second one has messages in flight whenever it is cut off within half a minute
		saidIn time.Duration
	}{
		{"together", time.Second, false, time.Minute},
		{"later", 2 * time.Hour, false, 5 * time.Minute},
		{"drains", time.Second, true, 30 * time.Minute},
		{"later, drains", 2 * time.Hour, true, 30 * time.Minute},
	} {
		t.Run(x.name, func(t *testing.T) {
			for seed := range uint64(20) {
				share(t, seed, x.later, x.drains, x.saidIn)
			}
		})
	}
}

// twin is one of two publishers; times are since the beginning.
type twin struct {
	*backoff
	due, since    time.Duration // when it connects next; since when it is connected
	left, longest time.Duration // when it lost its connection last; the longest time without
	held, said    time.Duration // how long it had a connection in all; when it said first that there is another
	drains        bool
}

func share(t *testing.T, seed uint64, later time.Duration, drains bool, saidIn time.Duration) {
	t.Helper()
	c := Config{Fan: "twin"}
	c.fill()
	start := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	holder := &twin{backoff: newBackoff(c, rand.New(rand.NewPCG(seed, 0)))}
	other := &twin{backoff: newBackoff(c, rand.New(rand.NewPCG(seed, 1))), due: later, left: later, drains: drains}
	twins := []*twin{holder, other}
	takeovers, hour := 0, 0
	for now := other.due; now < later+24*time.Hour; now = other.due {
		lasted := now - holder.since
		e := ending{lasted: lasted, closed: true, acked: true, owed: holder.drains && lasted < 30*time.Second}
		if err := holder.lost(start.Add(now), e); err != nil && holder.said == 0 {
			holder.said = now
		}
		holder.held += lasted
		holder.left, holder.due = now, now+holder.next()
		other.longest, other.since = max(other.longest, now-other.left), now
		holder, other = other, holder
		if takeovers++; now < later+time.Hour {
			hour++
		}
	}
	if hour > 60 || takeovers > 24*50 {
		t.Errorf("seed %d: %d takeovers in the first hour, %d in the day", seed, hour, takeovers)
	}
	for i, w := range twins {
		if w.longest > 6*time.Minute || w.held < 2*time.Hour {
			t.Errorf("seed %d: twin %d was without the connection for %s, and had it for %s", seed, i, w.longest, w.held)
		}
		if w.said == 0 || w.said > later+saidIn {
			t.Errorf("seed %d: twin %d said after %s that there is another", seed, i, w.said-later)
		}
	}
	if seed == 0 {
		t.Logf("%d takeovers in the first hour, %d in a day; said after %s and %s; held %s and %s; longest without %s and %s",
			hour,
			takeovers, twins[0].said-later, twins[1].said-later, twins[0].held, twins[1].held, twins[0].longest,
			twins[1].longest)
	}
}
