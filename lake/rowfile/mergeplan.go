package rowfile

import (
	"cmp"
	"slices"
	"sort"
)

// rowKeys have the columns that, beside fan and run, give rows their order and identity.
type rowKeys struct {
	time   []uint64 // int64, by row
	seq    []uint64 // int64, by row
	runIDs []uint64 // int64, each run once, by place
	// tie orders rows whose (time, run, seq) are equal, by arrival and then shard; 0 if those are equal too.
	tie func(a, b int) int

	known map[uint64]uint32 // places in runIDs, by run
}

// compare orders row a of run runA and row b of run runB; runs are places in runIDs.
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

// runPlace returns a run's place in runIDs, where it adds a new one.
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
	run uint32 // place in rowKeys.runIDs
}

// addSortedRanges appends the sorted ranges of the rows that begin at base, whose fans and runs are in runs. A row that
// is out of order begins a new range, so that a file that is not sorted is merged too.
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

	heads []mergeHead        // heap of the rest of the fan's ranges
	seen  map[uint32]*seqSet // sequence numbers of the fan that are planned, by run
}

// planMerge plans the merge of sorted ranges, in the order of the fans' names.
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

// mergeHead is the rest of a sorted range, with the times of its first and its last row: most comparisons need these
// alone and not rows that are far apart in memory.
type mergeHead struct {
	RowRange
	run         uint32
	first, last int64
}

// mergeFan merges the sorted ranges of one fan by a heap of their heads. It takes the first head up to where the second
// begins: all of it where files are of different minutes and do not overlap.
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
		p.addRows(RowRange{top.From, end}, top.run)
		if end < top.To {
			p.heads[0].From, p.heads[0].first = end, int64(p.keys.time[end])
		} else {
			p.heads[0] = p.heads[len(p.heads)-1]
			p.heads = p.heads[:len(p.heads)-1]
		}
		p.siftDown()
	}
	p.addRows(p.heads[0].RowRange, p.heads[0].run)
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

// gallop returns the end of the rows of h, at least one, that are before the first of next or equal to it.
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

// addRows adds rows of a run to the plan, without duplicates.
func (p *mergePlan) addRows(r RowRange, run uint32) {
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
		if set.addBehind(int64(seq[i]), int64(seq[end-1])) {
			i = end
			continue
		}
		for ; i < end; i++ {
			if !set.add(int64(seq[i])) {
				p.keep(RowRange{r.From, i})
				p.drop(i)
				r.From = i + 1
			}
		}
	}
	p.keep(r)
}

// drop adds a row to the duplicates.
func (p *mergePlan) drop(row uint32) {
	p.dropped++
	if n := len(p.duplicates); n > 0 && p.duplicates[n-1].To == row {
		p.duplicates[n-1].To++
		return
	}
	p.duplicates = append(p.duplicates, RowRange{row, row + 1})
}

// keep adds rows to the ranges.
func (p *mergePlan) keep(r RowRange) {
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

// seqSet is a set of sequence numbers, which are mostly added in ascending order and without gaps.
type seqSet struct {
	spans  []seqSpan          // ascending
	strays map[int64]struct{} // numbers between the spans
}

// seqSpan is the sequence numbers lo to hi.
type seqSpan struct{ lo, hi int64 }

func (s *seqSet) reset() {
	s.spans = s.spans[:0]
	clear(s.strays)
}

// addBehind adds the numbers lo to hi and returns true, or false where they are not above all numbers of the set.
func (s *seqSet) addBehind(lo, hi int64) bool {
	n := len(s.spans)
	if lo > hi || n > 0 && lo <= s.spans[n-1].hi { // lo > hi: numbers that wrap around
		return false
	}
	if n > 0 && lo-1 == s.spans[n-1].hi {
		s.spans[n-1].hi = hi
	} else {
		s.spans = append(s.spans, seqSpan{lo, hi})
	}
	return true
}

// add adds a number and reports whether it is new.
func (s *seqSet) add(seq int64) bool {
	if s.addBehind(seq, seq) {
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
