package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// making is one of the streams that have had the same name. A stream that is deleted and made again numbers its shards
// and records anew, so the shards of each making have a suffix of their own in the log, in positions and in workflows.
// Makings are stored under consecutive numbers and never changed.
type making struct {
	V       int       `json:"v"`
	Created time.Time `json:"created,omitzero"` // creation time of the stream; zero: not known
	Suffix  string    `json:"suffix"`           // "" of the first making, else "." and Unix milliseconds
}

const makingVersion = 1

// makings caches the newest stored making of each stream. Safe for concurrent use.
type makings struct {
	mu    sync.Mutex
	found map[string]foundMaking
}

type foundMaking struct {
	making
	number int // from 1
}

func makingKey(stream string, number int) string {
	return fmt.Sprintf("state/stream=%s/made=%06d.json", stream, number)
}

// sameMaking is the largest difference between two creation times of one making, which AWS calls approximate. To
// delete a stream and make it again takes longer.
const sameMaking = time.Second

// current returns the making of the stream that exists, and stores it if it is new.
func (s *Scorer) current(ctx context.Context, stream string) (making, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	created, err := s.Stream.Created(ctx, stream)
	if err != nil {
		return making{}, fmt.Errorf("stream %s: %w", stream, err)
	}
	newest, err := s.newestMaking(ctx, stream)
	if errors.Is(err, objstore.ErrNotFound) {
		newest, err = s.firstMaking(ctx, stream, created)
	}
	if err != nil {
		return making{}, err
	}
	apart := created.Sub(newest.Created).Abs()
	if created.IsZero() || !newest.Created.IsZero() && apart <= sameMaking {
		return newest.making, nil
	}
	return s.nextMaking(ctx, stream, newest, created)
}

// newestMaking returns the newest stored making. The error wraps objstore.ErrNotFound when there is none.
func (s *Scorer) newestMaking(ctx context.Context, stream string) (foundMaking, error) {
	s.makings.mu.Lock()
	newest := s.makings.found[stream]
	s.makings.mu.Unlock()
	for {
		data, err := s.Store.Get(ctx, makingKey(stream, newest.number+1))
		if errors.Is(err, objstore.ErrNotFound) && newest.number > 0 {
			return newest, nil
		}
		if err != nil {
			return newest, fmt.Errorf("makings of stream %s: %w", stream, err)
		}
		m := foundMaking{number: newest.number + 1}
		if err := json.Unmarshal(data, &m.making); err != nil {
			return newest, fmt.Errorf("%s: %w", makingKey(stream, m.number), err)
		}
		if m.V != makingVersion {
			return newest, fmt.Errorf("%s: version %d, this program knows %d: run a newer one",
				makingKey(stream, m.number), m.V, makingVersion)
		}
		newest = m
		s.remember(stream, m)
	}
}

func (s *Scorer) remember(stream string, m foundMaking) {
	s.makings.mu.Lock()
	defer s.makings.mu.Unlock()
	if s.makings.found == nil {
		s.makings.found = map[string]foundMaking{}
	}
	s.makings.found[stream] = m
}

// firstMaking stores the first making of a stream. Logs that programs without makings wrote are of this stream unless
// one has a lower sequence number than its shard's first.
func (s *Scorer) firstMaking(ctx context.Context, stream string, created time.Time) (foundMaking, error) {
	shards, err := s.Stream.Shards(ctx, stream)
	if err != nil {
		return foundMaking{}, fmt.Errorf("list shards of %s: %w", stream, err)
	}
	first := making{V: makingVersion, Created: created}
	for _, sh := range shards {
		h, err := landing.Log{Store: s.Store, Stream: stream, Shard: sh.ID}.NextHeader(ctx, "0")
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return foundMaking{}, err
		}
		if sh.First != "" && h.Last != "0" && h.Last.Compare(sh.First) < 0 {
			first.Created = time.Unix(1, 0).UTC() // of a stream before this one
		}
	}
	return s.putMaking(ctx, stream, 1, first)
}

func (s *Scorer) nextMaking(ctx context.Context, stream string, before foundMaking, created time.Time) (making, error) {
	if before.Created.IsZero() { // the stream did not say when it was made, and says it now
		known := making{V: makingVersion, Created: created, Suffix: before.Suffix}
		m, err := s.putMaking(ctx, stream, before.number+1, known)
		return m.making, err
	}
	ms := created.UnixMilli()
	if last, err := lastMilli(before.Suffix); err == nil {
		ms = max(ms, last+1)
	}
	next := making{V: makingVersion, Created: created, Suffix: fmt.Sprintf(".%d", ms)}
	m, err := s.putMaking(ctx, stream, before.number+1, next)
	if err == nil {
		s.Log.Warn("the stream was deleted and made again: it is read from its beginning, with the models as they are",
			"stream", stream, "created", m.Created, "suffix", m.Suffix)
	}
	return m.making, err
}

func lastMilli(suffix string) (ms int64, err error) {
	_, err = fmt.Sscanf(suffix, ".%d", &ms)
	return ms, err
}

// renew stores another making when the one with the suffix is over, though the stream's creation time is the same.
func (s *Scorer) renew(ctx context.Context, stream, suffix string) error {
	newest, err := s.newestMaking(ctx, stream)
	if err != nil || newest.Suffix != suffix {
		return err // another shard noted it
	}
	created := newest.Created
	if created.IsZero() {
		created = s.Now().UTC().Truncate(time.Millisecond)
		newest.Created = created
	}
	_, err = s.nextMaking(ctx, stream, newest, created)
	return err
}

// putMaking stores a making and returns it, or the one that another attempt has stored under the number.
func (s *Scorer) putMaking(ctx context.Context, stream string, number int, m making) (foundMaking, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return foundMaking{}, err
	}
	err = s.Store.Put(ctx, makingKey(stream, number), data, true)
	if errors.Is(err, objstore.ErrExists) {
		return s.newestMaking(ctx, stream)
	}
	if err != nil {
		return foundMaking{}, fmt.Errorf("making of stream %s: %w", stream, err)
	}
	found := foundMaking{making: m, number: number}
	s.remember(stream, found)
	return found, nil
}

// RunnableShards returns the shards that can be scored now: those that have not ended and whose parents have, so that a
// child never judges a fan before its parent's last reading. Running it again stores nothing new.
func (s *Scorer) RunnableShards(ctx context.Context, stream string) ([]Shard, error) {
	made, err := s.current(ctx, stream)
	if err != nil {
		return nil, err
	}
	shards, err := s.Stream.Shards(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("list shards of %s: %w", stream, err)
	}
	ended := make(map[string]bool, len(shards))
	listed := make(map[string]bool, len(shards))
	for i := range shards {
		sh := &shards[i]
		sh.ID += made.Suffix
		for p := range sh.Parents {
			sh.Parents[p] += made.Suffix
		}
		listed[sh.ID] = true
		if ended[sh.ID], err = (landing.Log{Store: s.Store, Stream: stream, Shard: sh.ID}).Ended(ctx); err != nil {
			return nil, err
		}
	}
	var runnable []Shard
	for _, sh := range shards {
		ready := !ended[sh.ID]
		for _, p := range sh.Parents {
			ready = ready && (ended[p] || !listed[p]) // a parent that is no longer listed has expired
		}
		if ready {
			runnable = append(runnable, sh)
		}
	}
	return runnable, nil
}
