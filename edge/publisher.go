package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"fanwatch"
)

// publisher takes readings from the spool to the broker. A connection is used until anything at all goes
// wrong with it, then thrown away: the next one starts from the cursor. So what the broker gets of a run
// is in order, complete, and repeated only where an acknowledgement was lost.
type publisher struct {
	c     Config
	spool *Spool
	rng   *rand.Rand
	flush chan struct{}

	now    atomic.Pointer[Settings] // what holds at present
	shadow *shadow

	mu sync.Mutex
	st Status
}

func newPublisher(c Config, s *Spool, run uint64) *publisher {
	p := &publisher{c: c, spool: s, rng: rand.New(rand.NewPCG(run, 1)), flush: make(chan struct{}, 1)}
	settings := c.settings()
	p.now.Store(&settings)
	p.shadow = newShadow(c, &p.now, p.hurry)
	return p
}

// hurry has everything in the spool published at once.
func (p *publisher) hurry() {
	select {
	case p.flush <- struct{}{}:
	default:
	}
}

func (p *publisher) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.st
}

// run connects and publishes until ctx ends, and then over the connection it has for Config.Drain.
func (p *publisher) run(ctx context.Context) {
	log := p.c.Log.With("fan", p.c.Fan, "broker", p.c.Broker)
	pauses := newBackoff(p.c, p.rng)
	for ctx.Err() == nil {
		conn, err := dial(ctx, p.c)
		if err == nil {
			log.Info("connected", "spooled", p.spool.Stats().Spooled)
			p.connected(true, nil)
			s := session{p: p, conn: conn, mirror: p.shadow.attach(conn), due: time.Now()}
			began := time.Now()
			err = s.run(ctx)
			conn.close()
			p.shadow.detach(s.mirror)
			p.spool.Rewind()
			if err == nil {
				p.connected(false, nil)
				return
			}
			now := time.Now()
			twin := pauses.lost(now, ending{lasted: now.Sub(began), closed: byPeer(err), acked: s.acked,
				owed: len(s.window) > 0 || s.mirror.awaited()})
			if twin != nil {
				err = twin
			}
			p.connected(false, err)
			log.Warn("connection lost", "err", err)
		} else if ctx.Err() != nil {
			return
		} else {
			pauses.refused()
			p.connected(false, err)
			log.Warn("cannot connect", "err", err)
		}
		wait := pauses.next()
		log.Info("back-off", "pause", wait.Round(time.Millisecond))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (p *publisher) connected(is bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if is {
		p.st.Connects++
	}
	if is != p.st.Connected {
		p.st.Since = time.Now().UTC()
	}
	p.st.Connected = is
	if err != nil {
		p.st.LastError = err.Error()
	}
}

// session is the use of one connection.
type session struct {
	p      *publisher
	conn   *connection
	mirror *mirror
	window []sent    // in flight, oldest first
	due    time.Time // when what waits must go out; zero: nothing waits
	next   time.Time // when the next message may go out
	acked  bool
}

type sent struct {
	batch *Batch
	token token
	at    time.Time
}

// run publishes until the connection fails, or ctx has ended and all is published or Drain is over (nil).
func (s *session) run(ctx context.Context) error {
	c, spool := s.p.c, s.p.spool
	done, until := ctx.Done(), time.Time{}
	for {
		if err := s.collect(); err != nil {
			return s.reason(err)
		}
		ending := !until.IsZero()
		look, err := s.send(ending)
		if err != nil {
			return err
		}
		if ending && (len(s.window) == 0 && spool.Unsent() == 0 || !time.Now().Before(until)) {
			return nil
		}
		var first <-chan struct{}
		if len(s.window) > 0 {
			first = s.window[0].token.Done()
			look = earlier(look, s.window[0].at.Add(c.AckTimeout))
		}
		timer := time.NewTimer(time.Until(earlier(look, until)))
		if look.IsZero() && until.IsZero() {
			timer.Stop()
		}
		select {
		case <-first:
		case err = <-s.conn.lost:
			_ = s.collect() // what was acknowledged before the end counts
		case <-spool.Wake():
		case <-s.p.flush:
			s.due = time.Now()
		case <-s.mirror.wake:
			s.mirror.handle()
		case <-done:
			done, until = nil, time.Now().Add(c.Drain)
		case <-timer.C:
		}
		timer.Stop()
		if err != nil {
			return fmt.Errorf("%s closed the connection: %w", c.Broker, err)
		}
	}
}

// reason returns why the connection ended, where a message in flight failed because of it and is noticed first.
func (s *session) reason(err error) error {
	if s.conn.client.IsConnectionOpen() {
		return err
	}
	select {
	case lost := <-s.conn.lost:
		return fmt.Errorf("%s closed the connection: %w", s.p.c.Broker, lost)
	case <-time.After(time.Second): // paho tells of it right behind
		return err
	}
}

// collect takes the acknowledgements in the order of sending.
func (s *session) collect() error {
	for len(s.window) > 0 {
		first := s.window[0]
		select {
		case <-first.token.Done():
		default:
			if time.Since(first.at) >= s.p.c.AckTimeout {
				return fmt.Errorf("%s did not acknowledge a message within %s: is %s allowed to publish to %s?", s.p.c.Broker,
					s.p.c.AckTimeout, s.p.c.ClientID, s.p.c.Topic)
			}
			return nil
		}
		if err := first.token.Error(); err != nil {
			return fmt.Errorf("publish to %s: %w", s.p.c.Topic, err)
		}
		s.p.spool.Ack(first.batch)
		s.window, s.acked = s.window[1:], true
	}
	return nil
}

// send puts messages on the wire as far as window, pace and batching let it, and says when to look
// again; zero when only news can change anything.
func (s *session) send(all bool) (look time.Time, err error) {
	c, spool, settings := s.p.c, s.p.spool, s.p.now.Load()
	for len(s.window) < c.Window {
		now, unsent := time.Now(), spool.Unsent()
		if unsent == 0 {
			s.due = time.Time{}
			return time.Time{}, nil
		}
		if s.due.IsZero() {
			s.due = now.Add(settings.flushEvery())
		}
		if unsent < settings.Batch && now.Before(s.due) && !all {
			return s.due, nil
		}
		if now.Before(s.next) {
			return s.next, nil
		}
		batch := spool.Next(settings.Batch)
		if batch == nil {
			return time.Time{}, nil
		}
		payload, err := json.Marshal(s.p.envelope(batch))
		if err != nil {
			return time.Time{}, fmt.Errorf("batch of %s: %w", batch.Records[0].ReadingID, err)
		}
		s.window = append(s.window, sent{batch, s.conn.publish(c.Topic, payload), now})
		s.next = now.Add(time.Duration(float64(time.Second) / c.Rate))
	}
	return time.Time{}, nil
}

// envelope makes the batch as it is sent, with what waits behind it. A reading whose wall clock was wrong is dated by
// its age on the boot clock. When the wall clock is right by now, that is the reading's time, and it is flagged no
// longer. From before a reboot, when the boot clock began anew, it can only be dated by the time of the reboot.
func (p *publisher) envelope(b *Batch) fanwatch.Batch {
	now, boot, synchronised := p.c.Clock.Wall(), p.c.Clock.Boot(), p.c.Synchronised()
	readings := make([]fanwatch.Reading, len(b.Records))
	for i, r := range b.Records {
		readings[i] = r.Reading
		if r.Unsynch {
			age := boot
			if b.Boot == p.spool.boot {
				age = max(boot-r.Boot, 0)
				readings[i].Unsynch = !synchronised
			}
			readings[i].Time = now.Add(-age)
		}
	}
	out := fanwatch.NewBatch(readings, b.Acked, b.Dropped, now)
	out.Backlog = uint64(p.spool.Unsent())
	return out
}

// earlier returns the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
