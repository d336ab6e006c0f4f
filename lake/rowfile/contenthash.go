package rowfile

import (
	"hash/maphash"
)

// A merge compares the rows that it read with those that it wrote by a content hash of each column.

// scramble mixes a number's bits: the multiplication carries each upwards, the shift carries the high ones down.
func scramble(n uint64) uint64 {
	n = (n ^ 0xA0761D6478BD642F) * 0xE7037ED1A0B428DB
	return n ^ n>>32
}

// identitySums has at i the sum mod 2^64 of the identities of rows 0..i-1; it has one element more than there are rows.
// An identity is a hash of a row's fan, run and sequence number.
type identitySums []uint64

// identityBuilder builds identitySums in place over a column of sequence numbers with one more element.
type identityBuilder struct {
	sums         identitySums // sums of the first rows; sequence numbers from element rows on
	rows         int          // rows that are done
	sum          uint64       // sum of their identities
	content      uint64       // content hash of their identities
	timesContent uint64       // content hash of their times
}

// add adds the rows before row end, which are of one fan's run. times are the times of all rows.
func (s *identityBuilder) add(fan, run uint64, end int, times []uint64) {
	run = scramble(fan ^ run)
	seqs := s.sums[s.rows:end]
	times = times[s.rows:end]
	sum, own, all := s.sum, s.content, s.timesContent
	for i, seq := range seqs {
		id := scramble(run ^ seq)
		seqs[i] = sum
		sum += id
		own += id * scramble(id)
		all += id * scramble(times[i])
	}
	s.rows, s.sum, s.content, s.timesContent = end, sum, own, all
	if end == len(s.sums)-1 {
		s.sums[end] = sum
	}
}

// content returns the content hash of the identities of the rows from..to-1.
func (s identitySums) content(from, to int) uint64 {
	var sum uint64
	for i, next := range s[from+1 : to+1] {
		id := next - s[from+i]
		sum += id * scramble(id)
	}
	return sum
}

// contentSum returns the content hash of the rows from..to-1 of a column: the sum of identity x hash of the value
// (multilinear hashing), which does not depend on the rows' order and binds each value to its row. Equal values that
// follow each other are one product: the sum of their identities x the hash.
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
		for i := v.runAt(from); from < to; i++ {
			end := min(int(v.ends[i]), to)
			sum += (ids[end] - ids[from]) * hash(i)
			from = end
		}
	case k.numeric():
		var near [513]uint64
		for ; from < to; from += len(near) - 1 {
			numbers := v.numbers[from:min(to, from+len(near)-1)]
			copy(near[:], ids[from:from+len(numbers)+1]) // far in memory: copy waits for several elements at once
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

// hash returns a hash of the text at a place. It is never 0.
func (t *textDict) hash(place uint32) uint64 {
	for n := len(t.hashes); n < len(t.texts); n++ {
		t.hashes = append(t.hashes, maphash.String(t.seed, t.texts[n])|1)
	}
	return t.hashes[place]
}
