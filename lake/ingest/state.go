package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// doneWhole marks an object of which nothing is left.
const doneWhole = -1

// ingestState is what an ingestion remembers: a function of its log, which snapshots save reading again.
type ingestState struct {
	V    int            `json:"v"`
	Done map[string]int `json:"done"` // parts landed of each object; doneWhole
	// Seen has, by fan, the times of a day's readings in Unix microseconds, ascending, each as the step from the
	// one before.
	Seen map[string][]int64 `json:"seen"`
	// Passed has the objects that were passed over. The log has those that are damaged.
	Passed map[string]*passed `json:"passed,omitempty"`

	recent  map[string]*recent
	changed bool // Passed is not what the newest snapshot has
}

// passed is what is remembered of an object that was passed over.
type passed struct {
	Why      string    `json:"why"`
	Since    time.Time `json:"since"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Tries    int       `json:"tries,omitempty"`   // that the store has refused, since the last it has not
	Next     time.Time `json:"next,omitzero"`     // when it is tried again; zero: when it is another
	Damaged  bool      `json:"damaged,omitempty"` // the log has a row that says so
	Sum      []byte    `json:"sum,omitempty"`     // of what is landed, SHA-256, where it is damaged
}

// another reports whether the object was written since.
func (p *passed) another(o objstore.Object) bool {
	return o.Size != p.Size || !o.Modified.Equal(p.Modified)
}

// due reports whether the object is to be tried again.
func (p *passed) due(o objstore.Object, now time.Time) bool {
	return p.another(o) || !p.Next.IsZero() && !now.Before(p.Next)
}

// pass remembers an object that is passed over; nil: it is not any more.
func (s *ingestState) pass(key string, p *passed) {
	s.changed = true
	if p == nil {
		delete(s.Passed, key)
		return
	}
	s.Passed[key] = p
}

// The pauses after which an object is tried again that the store did not give: doubled each time.
const (
	firstPause = time.Minute
	maxPause   = 6 * time.Hour
)

// passUnread passes over an object that the store did not give.
func (r *ingestRun) passUnread(o objstore.Object, why error) {
	p := passed{}
	if was := r.state.Passed[o.Key]; was != nil {
		p = *was
	}
	p.Since = cmp.Or(p.Since, r.Now().UTC())
	p.Why, p.Size, p.Modified = oneLine(why.Error()), o.Size, o.Modified
	p.Next = r.Now().UTC().Add(min(firstPause<<min(p.Tries, 16), maxPause))
	p.Tries++
	r.state.pass(o.Key, &p)
}

// passUseless passes over an object whose bytes are of no use as they are. sum is of what is landed of it.
func (r *ingestRun) passUseless(o objstore.Object, why string, sum []byte) {
	p := &passed{Why: oneLine(why), Since: r.Now().UTC(), Size: o.Size, Modified: o.Modified,
		Damaged: sum != nil, Sum: sum}
	if was := r.state.Passed[o.Key]; was != nil && !was.another(o) {
		p.Since = was.Since
	}
	r.state.pass(o.Key, p)
}

// passedOver counts what is passed over, and names the first.
func (s *ingestState) passedOver() (n int, named []PassedOver) {
	for _, key := range slices.Sorted(maps.Keys(s.Passed)) {
		if len(named) < MaxPassed {
			p := s.Passed[key]
			named = append(named, PassedOver{Key: key, Why: p.Why, Since: p.Since, Next: p.Next})
		}
	}
	return len(s.Passed), named
}

// oneLine makes text fit for a line of a terminal, of at most 300 bytes.
func oneLine(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:297], "") + "..."
	}
	return text
}

const ingestStateVersion = 1

// dayMicros is a day in microseconds.
const dayMicros = 24 * 3600 * 1_000_000

// recent are the times of the last day of a fan's readings.
type recent struct {
	times  map[int64]struct{}
	newest int64
	pruned int64 // newest when times was last pruned
}

// first reports whether a fan's reading is new, and remembers it.
func (s *ingestState) first(fan string, micros int64) bool {
	f := s.recent[fan]
	if f == nil {
		f = &recent{times: make(map[int64]struct{})}
		s.recent[fan] = f
	}
	if _, ok := f.times[micros]; ok {
		return false
	}
	f.newest = max(f.newest, micros)
	if micros > f.newest-dayMicros {
		f.times[micros] = struct{}{}
	}
	if f.newest-f.pruned > dayMicros/4 {
		f.pruned = f.newest
		maps.DeleteFunc(f.times, func(t int64, _ struct{}) bool { return t <= f.newest-dayMicros })
	}
	return true
}

func (s *ingestState) take(sources []landing.Source) {
	for _, src := range sources {
		s.Done[src.Key] = src.Upto
		switch was := s.Passed[src.Key]; {
		case src.Done:
			s.Done[src.Key] = doneWhole
			if was != nil {
				s.pass(src.Key, nil)
			}
		case src.Damaged != "" && (was == nil || !was.Damaged):
			s.pass(src.Key, &passed{Why: src.Damaged, Damaged: true}) // read once more, for it is of another size
		}
	}
}

// load makes the state from the newest snapshot and the segments behind it.
func (r *ingestRun) load(ctx context.Context) error {
	r.at = "0"
	r.state = ingestState{V: ingestStateVersion, Done: make(map[string]int), Passed: make(map[string]*passed),
		recent: make(map[string]*recent)}
	at, data, err := r.log.LatestSnapshot(ctx)
	var damaged *landing.DamagedSnapshots
	switch {
	case errors.Is(err, objstore.ErrNotFound):
	case err != nil && !errors.As(err, &damaged):
		return err
	default:
		if err := r.state.decode(data); err != nil {
			return err
		}
		r.at = at
	}
	return r.log.Walk(ctx, r.at, func(s landing.Segment) error {
		if s.Tombstone {
			return fmt.Errorf("segment %s after %s was emptied, but no snapshot holds what it said", s.Shard, s.After)
		}
		for i := range s.Rows {
			if s.Rows[i].Kind == fanwatch.RowLate {
				r.state.first(s.Rows[i].Fan, int64(s.Rows[i].Seq))
			}
		}
		r.state.take(s.Sources)
		r.at = s.Last
		return nil
	})
}

func (r *ingestRun) save(ctx context.Context) error {
	r.state.Seen = make(map[string][]int64)
	for fan, f := range r.state.recent {
		times, before := slices.Sorted(maps.Keys(f.times)), int64(0)
		for i, t := range times {
			times[i], before = t-before, t
		}
		r.state.Seen[fan] = times
	}
	data, err := json.Marshal(&r.state)
	if err != nil {
		return err
	}
	if err := r.log.PutSnapshot(ctx, r.at, data); err != nil {
		return err
	}
	r.state.changed = false
	return nil
}

func (s *ingestState) decode(data []byte) error {
	if err := json.Unmarshal(data, s); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if s.V != ingestStateVersion {
		return fmt.Errorf("snapshot of version %d is unknown, this program knows %d", s.V, ingestStateVersion)
	}
	for fan, steps := range s.Seen {
		t := int64(0)
		for _, step := range steps {
			t += step
			s.first(fan, t)
		}
	}
	s.Seen = nil
	return nil
}
