package rowfile

import (
	"cmp"
	"slices"
	"sort"
)

// rowKeys hold what gives rows their order and identity, beside fan and run: (time, seq). Where two rows tie in
// all, tie says which comes first; 0: they are alike for all that tells copies apart.
type rowKeys struct {
	time   []uint64 // int64
	seq    []uint64 // int64
	runIDs []uint64 // int64, each once
	tie    func(a, b int) int

	known map[uint64]uint32
}

// compare orders row a of a run before or behind row b of another.
func (k *rowKeys) compare(a, runA, b, runB uint32) int {
	if c := cmp.Compare(int64(k.time[a]), int64(k.time[b])); c != 0 {
		return c
	}
	if runA != runB {
		return cmp.Compare(int64(k.runIDs[runA]), int64(k.runIDs[runB]))
	}
	if c := cmp.Compare(int64(k.seq[a]), int64(k.seq[b])); c != 0 || a == b {
		return c
	}
	return k.tie(int(a), int(b))
}

// runPlace returns a run's place in runs.
func (k *rowKeys) runPlace(run uint64) uint32 {
	if k.known == nil {
		k.known = make(map[uint64]uint32)
	}
	p, ok := k.known[run]
	if !ok {
		p = uint32(len(k.runIDs))
		k.known[run], k.runIDs = p, append(k.runIDs, run)
	}
	return p
}

// RowRange is the rows From, From+1, ... To-1.
type RowRange struct{ From, To uint32 }

// sortedRange is a range of rows of one fan's run, in order.
type sortedRange struct {
	RowRange
	fan uint32
	run uint32 // place in rowKeys.runs
}

// addSortedRanges appends the sorted ranges of the rows that begin at base, of which fan and run are given, in
// runs. A row that is out of order begins a range of its own, so that a file that is not sorted as it should be is
// merged all the same.
func (k *rowKeys) addSortedRanges(to []sortedRange, fans, runs vector, base int) []sortedRange {
	from := uint32(base)
	for f, r := 0, 0; f < len(fans.ends); {
		end := min(fans.ends[f], runs.ends[r])
		s := sortedRange{RowRange{from, uint32(base) + end}, fans.tags[f], k.runPlace(runs.numbers[r])}
		for i := s.From + 1; i < s.To; i++ {
			if int64(k.time[i-1]) >= int64(k.time[i]) && k.compare(i-1, s.run, i, s.run) > 0 {
				to = append(to, sortedRange{RowRange{s.From, i}, s.fan, s.run})
				s.From = i
			}
		}
		to, from = append(to, s), s.To
		if fans.ends[f] == end {
			f++
		}
		if runs.ends[r] == end {
			r++
		}
	}
	return to
}

// mergePlan says in which order rows come out of a merge, each (fan, run, seq) once.
type mergePlan struct {
	keys       *rowKeys
	ranges     []RowRange
	rows       int
	duplicates []RowRange
	dropped    int // rows of duplicates

	heads []mergeHead // heap of what is left of the fan's ranges
	seen  map[uint32]*seqSet
}

// planMerge merges sorted ranges, by the fans' names.
func planMerge(keys *rowKeys, ranges []sortedRange, dict *textDict) *mergePlan {
	p := &mergePlan{keys: keys, seen: make(map[uint32]*seqSet)}
	slices.SortStableFunc(ranges, func(a, b sortedRange) int {
		if a.fan == b.fan {
			return 0
		}
		return cmp.Compare(dict.texts[a.fan], dict.texts[b.fan])
	})
	for len(ranges) > 0 {
		n := 1
		for n < len(ranges) && ranges[n].fan == ranges[0].fan {
			n++
		}
		p.mergeFan(ranges[:n])
		ranges = ranges[n:]
	}
	return p
}

// mergeHead is what is left of a sorted range, with the times of its first and its last row: most of what a merge asks
// can be told by these, without a look at rows that lie far apart in memory.
type mergeHead struct {
	RowRange
	run         uint32
	first, last int64
}

// mergeFan merges the sorted ranges of one fan by a heap of their heads. The one in front is taken up to where the
// next one begins: files of different minutes do not overlap, and then that is all of it.
func (p *mergePlan) mergeFan(ranges []sortedRange) {
	for _, s := range p.seen {
		s.reset()
	}
	p.heads = p.heads[:0]
	for _, s := range ranges {
		p.heads = append(p.heads, mergeHead{s.RowRange, s.run, int64(p.keys.time[s.From]), int64(p.keys.time[s.To-1])})
	}
	slices.SortFunc(p.heads, p.compare)
	for len(p.heads) > 1 {
		top := p.heads[0]
		second := p.heads[1]
		if len(p.heads) > 2 && p.compare(p.heads[2], second) < 0 {
			second = p.heads[2]
		}
		end := p.gallop(top, second)
		p.emit(RowRange{top.From, end}, top.run)
		if end < top.To {
			p.heads[0].From, p.heads[0].first = end, int64(p.keys.time[end])
		} else {
			p.heads[0] = p.heads[len(p.heads)-1]
			p.heads = p.heads[:len(p.heads)-1]
		}
		p.siftDown()
	}
	p.emit(p.heads[0].RowRange, p.heads[0].run)
}

// compare orders heads by their first rows.
func (p *mergePlan) compare(a, b mergeHead) int {
	if a.first != b.first {
		return cmp.Compare(a.first, b.first)
	}
	return p.keys.compare(a.From, a.run, b.From, b.run)
}

func (p *mergePlan) siftDown() {
	at := 0
	for child := 1; child < len(p.heads); child = 2*at + 1 {
		if child+1 < len(p.heads) && p.compare(p.heads[child+1], p.heads[child]) < 0 {
			child++
		}
		if p.compare(p.heads[child], p.heads[at]) >= 0 {
			return
		}
		p.heads[at], p.heads[child] = p.heads[child], p.heads[at]
		at = child
	}
}

// gallop returns the end of the rows of h, at least one, that come before the first of next or tie with it.
func (p *mergePlan) gallop(h, next mergeHead) uint32 {
	before := func(row uint32) bool { return p.keys.compare(row, h.run, next.From, next.run) <= 0 }
	if h.last < next.first || before(h.To-1) {
		return h.To
	}
	step := uint32(1)
	for h.From+step < h.To && before(h.From+step) {
		step *= 2
	}
	from, to := h.From+step/2, min(h.From+step, h.To)
	return from + 1 + uint32(sort.Search(int(to-from-1), func(i int) bool { return !before(from + 1 + uint32(i)) }))
}

// emit takes rows of a run over, but for duplicates.
func (p *mergePlan) emit(r RowRange, run uint32) {
	set := p.seen[run]
	if set == nil {
		set = &seqSet{}
		p.seen[run] = set
	}
	seq := p.keys.seq
	for i := r.From; i < r.To; {
		end := i + 1
		for end < r.To && seq[end] == seq[end-1]+1 {
			end++
		}
		if set.append(int64(seq[i]), int64(seq[end-1])) {
			i = end
			continue
		}
		for ; i < end; i++ {
			if !set.add(int64(seq[i])) {
				p.take(RowRange{r.From, i})
				p.drop(i)
				r.From = i + 1
			}
		}
	}
	p.take(r)
}

func (p *mergePlan) drop(row uint32) {
	p.dropped++
	if n := len(p.duplicates); n > 0 && p.duplicates[n-1].To == row {
		p.duplicates[n-1].To++
		return
	}
	p.duplicates = append(p.duplicates, RowRange{row, row + 1})
}

func (p *mergePlan) take(r RowRange) {
	if r.From == r.To {
		return
	}
	p.rows += int(r.To - r.From)
	if n := len(p.ranges); n > 0 && p.ranges[n-1].To == r.From {
		p.ranges[n-1].To = r.To
		return
	}
	p.ranges = append(p.ranges, r)
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

// append takes the numbers lo..hi in; false: they do not lie behind all that are there.
func (s *seqSet) append(lo, hi int64) bool {
	n := len(s.spans)
	if lo > hi || n > 0 && lo <= s.spans[n-1].hi { // lo > hi: as one wraps around to the other
		return false
	}
	if n > 0 && lo-1 == s.spans[n-1].hi {
		s.spans[n-1].hi = hi
	} else {
		s.spans = append(s.spans, seqSpan{lo, hi})
	}
	return true
}

// add takes a number in; false: it was there.
func (s *seqSet) add(seq int64) bool {
	if s.append(seq, seq) {
		return true
	}
	n := len(s.spans)
	if seq >= s.spans[n-1].lo {
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
