package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

const (
	newShards   = 2 * time.Second  // how often shards are looked for that a split or merge has brought
	remembered  = 15 * time.Minute // of the landing log are read at the start
	followFresh = 10 * time.Second // a log that could not be read for this long makes what is shown old
)

// follower reads the landing logs of all shards.
type follower struct {
	now     fanwatch.Clock
	log     *slog.Logger
	publish func([]fanwatch.Row)

	mu      sync.Mutex
	stream  string            // "" before Follow
	listed  time.Time         // when the logs were last listed; until then, when that began
	failed  string            // why they cannot be; "" = they can
	shards  map[string]*trail // by shard
	started time.Time
}

// trail is how one log is read.
type trail struct {
	read   time.Time // when it was last read to its end; until then, when reading began
	caught bool      // it was once
	since  time.Time // what landed since then was read; zero: all
	failed string
	ended  bool
}

// Follow reads the landing logs of all shards of a stream, each from a quarter of an hour ago on and then every new
// segment, and publishes the rows until ctx ends. It only reads: the dashboard may stop and start at any time. It is to
// be called once.
func (s *Server) Follow(ctx context.Context, store objstore.Store, stream string, every time.Duration) {
	f := s.log
	f.mu.Lock()
	f.stream, f.started, f.listed, f.shards = stream, f.now(), f.now(), map[string]*trail{}
	f.mu.Unlock()
	for ctx.Err() == nil {
		listing, cancel := context.WithTimeout(ctx, askFor)
		logs, err := landing.Logs(listing, store, stream)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("the landing logs cannot be listed; will try again", "stream", stream, "err", err)
		}
		for _, l := range f.found(logs, err) {
			go f.follow(ctx, l, every)
		}
		s.board.setLogs(f.trouble())
		select {
		case <-ctx.Done():
		case <-time.After(newShards):
		}
	}
}

// found notes how listing the logs went and gives those that are new.
func (f *follower) found(logs []landing.Log, err error) (fresh []landing.Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed = ""; err != nil {
		f.failed = oneLine(err)
	} else {
		f.listed = f.now()
	}
	for _, l := range logs {
		if f.shards[l.Shard] == nil {
			f.shards[l.Shard] = &trail{read: f.now()}
			fresh = append(fresh, l)
		}
	}
	return fresh
}

func (f *follower) follow(ctx context.Context, l landing.Log, every time.Duration) {
	var at fanwatch.SequenceNumber
	for ended := false; !ended; {
		walk, cancel := context.WithTimeout(ctx, time.Minute) // and goes on where it was
		err := f.begin(walk, l, &at)
		if err == nil {
			err = l.Walk(walk, at, func(s landing.Segment) error {
				f.publish(s.Rows)
				at, ended = s.Last, s.End
				return nil
			})
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			f.log.Warn("the landing log cannot be read; will try again", "shard", l.Shard, "err", err)
		}
		f.walked(l.Shard, ended, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// begin finds where to begin, unless that is known.
func (f *follower) begin(ctx context.Context, l landing.Log, at *fanwatch.SequenceNumber) error {
	if *at != "" {
		return nil
	}
	place, since, err := l.Recent(ctx, f.started.Add(-remembered))
	if err != nil {
		return err
	}
	*at = place
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shards[l.Shard].since = since
	return nil
}

func (f *follower) walked(shard string, ended bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.shards[shard]
	if t.ended, t.failed = ended, ""; err != nil {
		t.failed = oneLine(err)
		return
	}
	t.read, t.caught = f.now(), true
}

// trouble says why what is shown of readings is old; "" when it is fresh.
func (f *follower) trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream == "" {
		return ""
	}
	if f.now().Sub(f.listed) > followFresh {
		return fmt.Sprintf("the landing logs of %s cannot be listed since %s: %s", f.stream,
			f.listed.UTC().Format(time.RFC3339), f.failed)
	}
	for shard, t := range f.shards {
		if !t.ended && f.now().Sub(t.read) > followFresh {
			return fmt.Sprintf("the landing log of shard %s is not read since %s: %s", shard, t.read.UTC().Format(time.RFC3339),
				t.failed)
		}
	}
	return ""
}

// complete says from when on all that landed has been read; zero: all of it. Its error says why that does not hold up
// to now.
func (f *follower) complete() (since time.Time, err error) {
	if why := f.trouble(); why != "" {
		err = errors.New(why)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream == "" {
		return f.now(), errors.New("no landing log is read here")
	}
	for shard, t := range f.shards {
		if t.since.After(since) {
			since = t.since
		}
		if !t.caught && err == nil {
			err = fmt.Errorf("the landing log of shard %s is still being read", shard)
		}
	}
	return since, err
}
