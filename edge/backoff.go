package edge

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	twinAfter = 3 // connections in a row that end as a takeover does mean another publisher
	twinPause = 5 // times Config.BackoffMax: the longest pause then
)

// ending is how a connection that the broker had taken ended.
type ending struct {
	lasted time.Duration
	closed bool // by the broker, and not by a network that failed
	owed   bool // the broker had not answered all it was sent: it may have hung up because of that
	acked  bool // it had acknowledged a message
}

// backoff is how long a publisher waits before the next connection. The pauses double, with jitter, from Config.BackoffMin to
// Config.BackoffMax. A connection that lasted Config.Settled begins anew, and so does one that worked until the network
// failed. One that the broker closed earlier does not, whatever it had acknowledged: AWS IoT closes a connection when another
// one comes with its client ID, and two publishers that return at once would take it from each other for ever. When that
// is how it looks, pauses grow to twinPause times BackoffMax, and who had the connection for long waits for BackoffMax: each
// then has it in turn, and long enough to empty its spool.
type backoff struct {
	c     Config
	rng   *rand.Rand
	pause time.Duration // the next one, before jitter
	cut   int           // connections in a row that ended as a takeover does
}

func newBackoff(c Config, rng *rand.Rand) *backoff {
	return &backoff{c: c, rng: rng, pause: c.BackoffMin}
}

// lost notes how a connection ended, and gives an error when another publisher seems to be the reason.
func (b *backoff) lost(e ending) error {
	contested := b.cut >= twinAfter && e.closed && e.lasted <= twinPause*b.c.BackoffMax // beyond it the other one has gone
	switch {
	case e.lasted >= b.c.Settled && contested:
		b.pause = b.c.BackoffMax // the other one has waited, and its spool is full
	case e.lasted >= b.c.Settled:
		b.pause, b.cut = b.c.BackoffMin, 0
	case !e.closed && e.acked:
		b.pause, b.cut = b.c.BackoffMin, 0
	case e.closed && !e.owed:
		b.cut++
	}
	if b.cut < twinAfter {
		return nil
	}
	return fmt.Errorf("another publisher is connected as %s, it seems: %s closed %d connections in a row soon after it had taken them, and none because of a message: "+
		"find the other device (a copied card, a test, a standby), or give it its own fan and certificate", b.c.ClientID, b.c.Broker, b.cut)
}

// refused notes that a connection could not be made.
func (b *backoff) refused() { b.cut = 0 }

// next gives the pause before the next connection.
func (b *backoff) next() time.Duration {
	wait := b.pause/2 + time.Duration(b.rng.Int64N(int64(b.pause/2)+1))
	limit := b.c.BackoffMax
	if b.cut >= twinAfter {
		limit *= twinPause
	}
	b.pause = min(2*b.pause, limit)
	return wait
}
