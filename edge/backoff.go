package edge

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	twinAfter  = 3  // connections that end as a takeover does within twinWithin mean another publisher
	twinWithin = 30 // times Config.BackoffMax
	twinPause  = 5  // times Config.BackoffMax: the longest pause then
)

// ending is how a connection that the broker had taken ended.
type ending struct {
	lasted time.Duration
	closed bool // by the broker, and not by a network that failed
	owed   bool // the broker had not answered all it was sent: it may have hung up because of that
	acked  bool // it had acknowledged a message
}

// backoff is how long a publisher waits before the next connection. The pauses double, with jitter, from
// Config.BackoffMin to Config.BackoffMax. A connection that lasted Config.Settled begins anew, and so does one that
// worked until the network failed. One that the broker closed earlier does not, whatever it had acknowledged: AWS
// IoT closes a connection when another one comes with its client ID, and two publishers that return at once would
// take it from each other for ever. When that is how it looks, pauses grow to twinPause times BackoffMax, and the
// one that had the connection for long waits for BackoffMax: each then has it in turn, and long enough to empty its
// spool.
type backoff struct {
	c     Config
	rng   *rand.Rand
	pause time.Duration // the next one, before jitter
	cuts  []time.Time   // when the last connections ended as a takeover does, at most twinAfter
	twin  bool          // there is another publisher, it seems
}

func newBackoff(c Config, rng *rand.Rand) *backoff {
	return &backoff{c: c, rng: rng, pause: c.BackoffMin}
}

// lost notes how a connection ended at now, and gives an error when another publisher seems to be the reason.
func (b *backoff) lost(now time.Time, e ending) error {
	if e.closed && !e.owed {
		b.cuts = append(b.cuts[max(len(b.cuts)-twinAfter+1, 0):], now)
	}
	b.twin = e.closed && len(b.cuts) == twinAfter && now.Sub(b.cuts[0]) <= twinWithin*b.c.BackoffMax
	switch {
	case e.lasted >= b.c.Settled && b.twin:
		b.pause = b.c.BackoffMax // the other one has waited, and its spool is full
	case e.lasted >= b.c.Settled, !e.closed && e.acked:
		b.pause = b.c.BackoffMin
	}
	if !b.twin {
		return nil
	}
	return fmt.Errorf("another publisher is connected as %s, it seems: %s closed %d connections within %s, and "+
		"none because of a "+
		"message: find the other device (a copied card, a test, a standby), or give it its own fan and certificate",
		b.c.ClientID, b.c.Broker, twinAfter, now.Sub(b.cuts[0]).Round(time.Second))
}

// refused notes that a connection could not be made, which is another reason for those that were closed.
func (b *backoff) refused() { b.cuts, b.twin = nil, false }

// next returns the pause before the next connection.
func (b *backoff) next() time.Duration {
	wait := b.pause/2 + time.Duration(b.rng.Int64N(int64(b.pause/2)+1))
	limit := b.c.BackoffMax
	if b.twin {
		limit *= twinPause
	}
	b.pause = min(2*b.pause, limit)
	return wait
}
