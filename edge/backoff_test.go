package edge

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBackOffBeginsAnew: after a connection that lasted, and after one that worked until the network failed; not after one that the
// broker closed soon, though it had acknowledged messages.
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
		if err := b.lost(x.ending); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.next() <= time.Second; got != x.anew {
			t.Errorf("%s: begins anew: %t", name, got)
		}
	}
}

// TestOnlyTakeoversLookLikeTakeovers: a message that the broker hangs up on, a network that fails and a broker that is away
// are no other publisher.
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
	} {
		b, found := newBackoff(c, rand.New(rand.NewPCG(1, 1))), false
		for range 10 {
			found = b.lost(x.ending) != nil || found
			if x.away {
				b.refused()
			}
		}
		if found != x.want {
			t.Errorf("%s: taken for another publisher: %t", name, found)
		}
	}
}

// TestTwoPublishersShareOneNameForADay, in virtual time: they do not take the connection from each other once a second, each has it
// often and long enough, and both say why.
func TestTwoPublishersShareOneNameForADay(t *testing.T) {
	c := Config{Fan: "twin"}
	c.fill()
	for seed := range uint64(20) {
		type twin struct {
			*backoff
			due, since time.Duration // when it connects next; since when it is connected
			held       time.Duration
			longest    time.Duration // without the connection
			left       time.Duration
			said       time.Duration
		}
		var twins [2]*twin
		for i := range twins {
			twins[i] = &twin{backoff: newBackoff(c, rand.New(rand.NewPCG(seed, uint64(i)))), due: time.Duration(i) * time.Second}
		}
		var holder *twin
		takeovers, hour := 0, 0
		for now := time.Duration(0); now < 24*time.Hour; {
			next := twins[0]
			if holder == twins[0] || holder == nil && twins[1].due < twins[0].due {
				next = twins[1]
			}
			now = next.due
			if holder != nil {
				lasted := now - holder.since
				holder.held += lasted
				if err := holder.lost(ending{lasted: lasted, closed: true, acked: lasted > 100*time.Millisecond}); err != nil && holder.said == 0 {
					holder.said = now
				}
				holder.left, holder.due = now, now+holder.next()
				if takeovers++; now < time.Hour {
					hour++
				}
			}
			next.longest = max(next.longest, now-next.left)
			next.since, holder = now, next
		}
		if hour > 60 || takeovers > 24*40 {
			t.Errorf("seed %d: %d takeovers in the first hour, %d in the day", seed, hour, takeovers)
		}
		for i, w := range twins {
			if w.longest > 6*time.Minute || w.held < 2*time.Hour {
				t.Errorf("seed %d: twin %d was without the connection for %s, and had it for %s of a day", seed, i, w.longest, w.held)
			}
			if w.said == 0 || w.said > 5*time.Minute {
				t.Errorf("seed %d: twin %d said after %s that there is another", seed, i, w.said)
			}
		}
		if seed == 0 {
			t.Logf("%d takeovers in the first hour, %d in a day; said after %s and %s; held %s and %s; longest without %s and %s", hour, takeovers,
				twins[0].said, twins[1].said, twins[0].held, twins[1].held, twins[0].longest, twins[1].longest)
		}
	}
}
