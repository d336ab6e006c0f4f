package rowfile

import (
	"hash/maphash"
)

// The content hash of a merge's rows, column by column: a merge compares what it read with what it wrote.

// scramble mixes a number's bits: the multiplication carries each upwards, the shift back down.
func scramble(n uint64) uint64 {
	n = (n ^ 0xA0761D6478BD642F) * 0xE7037ED1A0B428DB
	return n ^ n>>32
}

// identitySums has in place i the sum of the identities of all rows before row i, and so one place more than there
// are rows. An identity is a hash of a row's fan, run and sequence number.
type identitySums []uint64

// identified is what becomes of sequence numbers, one place more than there are rows, row by row.
type identified struct {
	of    identitySums // of the first rows; behind these are sequence numbers yet
	rows  int
	sum   uint64 // of the identities
	own   uint64 // content hash of the identities
	times uint64 // content hash of the rows' times
}

// add goes on before row end: rows of one fan's run.
func (s *identified) add(fan, run uint64, end int, times []uint64) {
	run = scramble(fan ^ run)
	seqs := s.of[s.rows:end]
	times = times[s.rows:end]
	sum, own, all := s.sum, s.own, s.times
	for i, seq := range seqs {
		id := scramble(run ^ seq)
		seqs[i] = sum
		sum += id
		own += id * scramble(id)
		all += id * scramble(times[i])
	}
	s.rows, s.sum, s.own, s.times = end, sum, own, all
	if end == len(s.of)-1 {
		s.of[end] = sum
	}
}

// own is the content hash of rows' identities themselves.
func (s identitySums) own(from, to int) uint64 {
	var sum uint64
	for i, next := range s[from+1 : to+1] {
		id := next - s[from+i]
		sum += id * scramble(id)
	}
	return sum
}

// contentSum is the content hash of rows of a column. Sums of identity x hash of the value (multilinear hashing)
// do not depend on the rows' order, and bind each value to its row. Rows that share a value, one behind the other,
// are done at once: the sum of their identities x the hash.
func contentSum(k kind, v vector, from, to int, ids identitySums, dict *textDict) uint64 {
	var sum uint64
	hash := func(i int) uint64 {
		if k == texts {
			return dict.hash(v.tags[i])
		}
		return scramble(v.value(k, i))
	}
	switch {
	case v.ends != nil:
		for i := v.run(from); from < to; i++ {
			end := min(int(v.ends[i]), to)
			sum += (ids[end] - ids[from]) * hash(i)
			from = end
		}
	case k.numeric():
		var near [513]uint64
		for ; from < to; from += len(near) - 1 {
			numbers := v.numbers[from:min(to, from+len(near)-1)]
			copy(near[:], ids[from:from+len(numbers)+1]) // these come from far away: copy waits for several at once
			before, sums := near[0], near[1:][:len(numbers)]
			for i, n := range numbers {
				sum += (sums[i] - before) * scramble(n)
				before = sums[i]
			}
		}
	default:
		for from < to {
			first := from
			for from < to && v.tags[from] == v.tags[first] {
				from++
			}
			sum += (ids[from] - ids[first]) * hash(first)
		}
	}
	return sum
}

// hash returns a hash of the text at a place, which is never 0.
func (t *textDict) hash(place uint32) uint64 {
	for n := len(t.hashes); n < len(t.texts); n++ {
		t.hashes = append(t.hashes, maphash.String(t.seed, t.texts[n])|1)
	}
	return t.hashes[place]
}
