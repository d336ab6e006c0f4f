package lake

import (
	"cmp"
	"slices"
	"sort"
)

// rowKeys hold what gives rows their order and identity, beside the fan: (time, run, seq). Where two rows tie in
// all three, tie says which comes first; 0: they are alike for all that tells copies apart.
type rowKeys struct {
	time []uint64 // int64
	seq  []uint64 // int64
	run  []uint32 // place in runs
	runs []uint64 // int64, each once
	tie  func(a, b int) int

	known map[uint64]uint32
}

func (k *rowKeys) compare(a, b int) int {
	if c := cmp.Compare(int64(k.time[a]), int64(k.time[b])); c != 0 {
		return c
	}
	if c := cmp.Compare(int64(k.runs[k.run[a]]), int64(k.runs[k.run[b]])); c != 0 {
		return c
	}
	if c := cmp.Compare(int64(k.seq[a]), int64(k.seq[b])); c != 0 || a == b {
		return c
	}
	return k.tie(a, b)
}

// setRuns sets the places of some rows' runs.
func (k *rowKeys) setRuns(places []uint32, runs []uint64) {
	if k.known == nil {
		k.known = make(map[uint64]uint32)
	}
	for i, run := range runs {
		if i > 0 && run == runs[i-1] {
			places[i] = places[i-1]
			continue
		}
		p, ok := k.known[run]
		if !ok {
			p = uint32(len(k.runs))
			k.known[run], k.runs = p, append(k.runs, run)
		}
		places[i] = p
	}
}

// rowRange is rows from, from+1, ... to-1.
type rowRange struct{ from, to uint32 }

// segment is a range of rows of one fan, in order.
type segment struct {
	rowRange
	fan uint32
}

// addSegments appends the segments of the rows that begin at base and whose fans are given. A row that is out of
// order begins a segment of its own, so that a file that is not sorted as it should be is merged all the same.
func (k *rowKeys) addSegments(to []segment, fans []uint32, base int) []segment {
	for i, fan := range fans {
		row := base + i
		if i > 0 && fan == fans[i-1] && (int64(k.time[row-1]) < int64(k.time[row]) || k.compare(row-1, row) <= 0) {
			to[len(to)-1].to++
			continue
		}
		to = append(to, segment{rowRange{uint32(row), uint32(row + 1)}, fan})
	}
	return to
}

// mergePlan says in which order rows come out of a merge, each (fan, run, seq) once.
type mergePlan struct {
	keys       *rowKeys
	runs       []rowRange
	rows       int
	duplicates []uint32

	heads []rowRange // heap of what is left of the fan's segments
	seen  map[uint32]*seqSet
}

// planMerge merges segments, by the fans' names.
func planMerge(keys *rowKeys, segments []segment, table *textTable) *mergePlan {
	p := &mergePlan{keys: keys, seen: make(map[uint32]*seqSet)}
	slices.SortStableFunc(segments, func(a, b segment) int {
		if a.fan == b.fan {
			return 0
		}
		return cmp.Compare(table.texts[a.fan], table.texts[b.fan])
	})
	for len(segments) > 0 {
		n := 1
		for n < len(segments) && segments[n].fan == segments[0].fan {
			n++
		}
		p.mergeFan(segments[:n])
		segments = segments[n:]
	}
	return p
}

// mergeFan merges the segments of one fan by a heap of their heads. The one in front is taken up to where the
// next one begins: files of different minutes do not overlap, and then that is all of it.
func (p *mergePlan) mergeFan(segments []segment) {
	for _, s := range p.seen {
		s.reset()
	}
	p.heads = p.heads[:0]
	for _, s := range segments {
		p.heads = append(p.heads, s.rowRange)
	}
	slices.SortFunc(p.heads, func(a, b rowRange) int { return p.keys.compare(int(a.from), int(b.from)) })
	for len(p.heads) > 1 {
		top := p.heads[0]
		second := p.heads[1]
		if len(p.heads) > 2 && p.less(2, 1) {
			second = p.heads[2]
		}
		end := p.gallop(top, int(second.from))
		p.emit(rowRange{top.from, end})
		if end < top.to {
			p.heads[0].from = end
		} else {
			p.heads[0] = p.heads[len(p.heads)-1]
			p.heads = p.heads[:len(p.heads)-1]
		}
		p.siftDown()
	}
	p.emit(p.heads[0])
}

func (p *mergePlan) less(a, b int) bool {
	return p.keys.compare(int(p.heads[a].from), int(p.heads[b].from)) < 0
}

func (p *mergePlan) siftDown() {
	for at := 0; ; {
		child := 2*at + 1
		if child >= len(p.heads) {
			return
		}
		if child+1 < len(p.heads) && p.less(child+1, child) {
			child++
		}
		if !p.less(child, at) {
			return
		}
		p.heads[at], p.heads[child] = p.heads[child], p.heads[at]
		at = child
	}
}

// gallop gives the end of the rows of r, at least one, that come before row next or tie with it.
func (p *mergePlan) gallop(r rowRange, next int) uint32 {
	if p.keys.compare(int(r.to)-1, next) <= 0 {
		return r.to
	}
	step := uint32(1)
	for r.from+step < r.to && p.keys.compare(int(r.from+step), next) <= 0 {
		step *= 2
	}
	from, to := r.from+step/2, min(r.from+step, r.to)
	return from + 1 + uint32(sort.Search(int(to-from-1), func(i int) bool { return p.keys.compare(int(from)+1+i, next) > 0 }))
}

// emit takes rows over, but for duplicates.
func (p *mergePlan) emit(r rowRange) {
	keys := p.keys
	run, set := ^uint32(0), (*seqSet)(nil)
	for i := r.from; i < r.to; i++ {
		if keys.run[i] != run {
			run = keys.run[i]
			if set = p.seen[run]; set == nil {
				set = &seqSet{}
				p.seen[run] = set
			}
		}
		if !set.add(int64(keys.seq[i])) {
			p.take(rowRange{r.from, i})
			p.duplicates = append(p.duplicates, i)
			r.from = i + 1
		}
	}
	p.take(r)
}

func (p *mergePlan) take(r rowRange) {
	if r.from == r.to {
		return
	}
	p.rows += int(r.to - r.from)
	if n := len(p.runs); n > 0 && p.runs[n-1].to == r.from {
		p.runs[n-1].to = r.to
		return
	}
	p.runs = append(p.runs, r)
}

// seqSet is a set of sequence numbers, which mostly come in ascending order and without gaps.
type seqSet struct {
	spans  []seqSpan // ascending
	strays map[int64]struct{}
}

type seqSpan struct{ lo, hi int64 }

func (s *seqSet) reset() {
	s.spans = s.spans[:0]
	clear(s.strays)
}

// add takes a number in; false: it was there.
func (s *seqSet) add(seq int64) bool {
	n := len(s.spans)
	switch {
	case n == 0 || seq > s.spans[n-1].hi:
		if n > 0 && seq == s.spans[n-1].hi+1 {
			s.spans[n-1].hi = seq
			return true
		}
		s.spans = append(s.spans, seqSpan{seq, seq})
		return true
	case seq >= s.spans[n-1].lo:
		return false
	}
	at := sort.Search(n, func(i int) bool { return s.spans[i].hi >= seq })
	if s.spans[at].lo <= seq {
		return false
	}
	if _, ok := s.strays[seq]; ok {
		return false
	}
	if s.strays == nil {
		s.strays = make(map[int64]struct{})
	}
	s.strays[seq] = struct{}{}
	return true
}
