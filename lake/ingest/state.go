package ingest

import (
	"cmp"
	"context"
	"encoding/json"
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

// doneWhole marks an object that is landed to its end.
const doneWhole = -1

// ingestState is what an ingestion remembers. All but the undamaged of Passed follows from its log; a snapshot of it
// spares reading the log from its start.
type ingestState struct {
	V    int            `json:"v"`
	Done map[string]int `json:"done"` // parts of each object that are landed, or doneWhole
	// Seen has the times of the last day of each fan's readings, ascending: the first in Unix microseconds, then the
	// steps from one to the next.
	Seen map[string][]int64 `json:"seen"`
	// Passed has the objects that were passed over. The log has those that are damaged.
	Passed map[string]*passedObject `json:"passed,omitempty"`

	recent  map[string]*recentReadings // by fan
	changed bool                       // Passed differs from the newest snapshot's
}

// passedObject is what is remembered of an object that was passed over.
type passedObject struct {
	Why      string    `json:"why"`
	Since    time.Time `json:"since"`             // when it was first passed over
	Size     int64     `json:"size"`              // bytes, when it was last tried
	Modified time.Time `json:"modified"`          // when it was last tried
	Tries    int       `json:"tries,omitempty"`   // reads in a row that the store has refused
	Next     time.Time `json:"next,omitzero"`     // when it is tried again; zero: when it was rewritten
	Damaged  bool      `json:"damaged,omitempty"` // the log has a row that says so
	Sum      []byte    `json:"sum,omitempty"`     // SHA-256 of the landed parts of a damaged object
}

// rewritten reports whether the object was written since it was passed over.
func (p *passedObject) rewritten(o objstore.Object) bool {
	return o.Size != p.Size || !o.Modified.Equal(p.Modified)
}

// retryDue reports whether the object is to be tried again.
func (p *passedObject) retryDue(o objstore.Object, now time.Time) bool {
	return p.rewritten(o) || !p.Next.IsZero() && !now.Before(p.Next)
}

// pass remembers an object that is passed over, or with nil forgets it.
func (s *ingestState) pass(key string, p *passedObject) {
	s.changed = true
	if p == nil {
		delete(s.Passed, key)
		return
	}
	s.Passed[key] = p
}

// firstPause is how long after the first failed read an object is tried again. The pause doubles with each failure, up
// to maxPause.
const (
	firstPause = time.Minute
	maxPause   = 6 * time.Hour
)

// passUnread passes over an object that the store did not return.
func (r *ingestRun) passUnread(o objstore.Object, why error) {
	p := passedObject{}
	if was := r.state.Passed[o.Key]; was != nil {
		p = *was
	}
	p.Since = cmp.Or(p.Since, r.Now().UTC())
	p.Why, p.Size, p.Modified = oneLine(why.Error()), o.Size, o.Modified
	p.Next = r.Now().UTC().Add(min(firstPause<<min(p.Tries, 16), maxPause))
	p.Tries++
	r.state.pass(o.Key, &p)
}

// passUseless passes over an object whose bytes are of no use. sum is the SHA-256 of its landed parts, nil where it is
// not damaged but of another format.
func (r *ingestRun) passUseless(o objstore.Object, why string, sum []byte) {
	p := &passedObject{Why: oneLine(why), Since: r.Now().UTC(), Size: o.Size, Modified: o.Modified,
		Damaged: sum != nil, Sum: sum}
	if was := r.state.Passed[o.Key]; was != nil && !was.rewritten(o) {
		p.Since = was.Since
	}
	r.state.pass(o.Key, p)
}

// passedOver returns the number of objects that are passed over and the first MaxPassed of them.
func (s *ingestState) passedOver() (n int, named []PassedOver) {
	for _, key := range slices.Sorted(maps.Keys(s.Passed)) {
		if len(named) < MaxPassed {
			p := s.Passed[key]
			named = append(named, PassedOver{Key: key, Why: p.Why, Since: p.Since, Next: p.Next})
		}
	}
	return len(s.Passed), named
}

// oneLine returns text as one printable line of at most 300 bytes.
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

// recentReadings has the times of the last day of a fan's readings, in Unix microseconds.
type recentReadings struct {
	times  map[int64]struct{}
	newest int64
	pruned int64 // newest when times was last pruned
}

// addIfNew reports whether a fan's reading is new, and remembers it.
func (s *ingestState) addIfNew(fan string, micros int64) bool {
	f := s.recent[fan]
	if f == nil {
		f = &recentReadings{times: make(map[int64]struct{})}
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

// applySources notes what a segment has of each object.
func (s *ingestState) applySources(sources []landing.Source) {
	for _, src := range sources {
		s.Done[src.Key] = src.Upto
		switch was := s.Passed[src.Key]; {
		case src.Done:
			s.Done[src.Key] = doneWhole
			if was != nil {
				s.pass(src.Key, nil)
			}
		case src.Damaged != "" && (was == nil || !was.Damaged):
			s.pass(src.Key, &passedObject{Why: src.Damaged, Damaged: true}) // without Size it is read once more
		}
	}
}

// load restores the state from the newest snapshot and the segments behind it.
func (r *ingestRun) load(ctx context.Context) error {
	r.at = "0"
	r.state = ingestState{V: ingestStateVersion, Done: make(map[string]int), Passed: make(map[string]*passedObject),
		recent: make(map[string]*recentReadings)}
	newest, err := r.log.LatestSnapshot(ctx)
	if err != nil {
		return err
	}
	if newest.At != "" {
		if err := r.state.decode(newest.Data); err != nil {
			return err
		}
		r.at = newest.At
	}
	return r.log.Walk(ctx, r.at, func(s landing.Segment) error {
		if s.Tombstone {
			return fmt.Errorf("shard %s: the segment after %s is a tombstone and no snapshot covers it", s.Shard, s.After)
		}
		for i := range s.Rows {
			if s.Rows[i].Kind == fanwatch.RowLate {
				r.state.addIfNew(s.Rows[i].Fan, int64(s.Rows[i].Seq))
			}
		}
		r.state.applySources(s.Sources)
		r.at = s.Last
		return nil
	})
}

// save stores a snapshot of the state.
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
			s.addIfNew(fan, t)
		}
	}
	s.Seen = nil
	return nil
}
