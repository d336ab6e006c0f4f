package rowfile

import (
	"encoding/binary"
	"sort"
)

// Most columns have the same value in row after row: a fan's name, its run, its shard, flags, counters that rarely
// change. A merge keeps such a column in runs from its inputs' pages to those of its output, and never has a value for
// each row of it.

// leastRun is how many rows a column's runs must have on average for it to be kept in runs.
const leastRun = 8

// noRuns returns a vector of no runs, in v's memory.
func (v vector) noRuns() vector {
	if v.ends == nil {
		v.ends = []uint32{}
	}
	return vector{v.numbers[:0], v.tags[:0], v.ends[:0]}
}

// len returns the number of v's values: one for each run, or one for each row.
func (v vector) len() int { return len(v.numbers) + len(v.tags) }

// rows returns the number of v's rows.
func (v vector) rows() int {
	switch n := len(v.ends); {
	case v.ends == nil:
		return v.len()
	case n == 0:
		return 0
	default:
		return int(v.ends[n-1])
	}
}

// runAt returns the run that has the row.
func (v vector) runAt(row int) int {
	return sort.Search(len(v.ends), func(i int) bool { return int(v.ends[i]) > row })
}

// runAtHint is runAt with a hint: it returns guess if that run has the row, and searches otherwise.
func (v vector) runAtHint(row, guess int) int {
	if guess >= 0 && guess < len(v.ends) && int(v.ends[guess]) > row && (guess == 0 || int(v.ends[guess-1]) <= row) {
		return guess
	}
	return v.runAt(row)
}

// value returns the value of run i, or of row i of a vector without runs.
func (v vector) value(k kind, i int) uint64 {
	if k.numeric() {
		return v.numbers[i]
	}
	return uint64(v.tags[i])
}

// add appends rows of one value to v's runs.
func (v *vector) add(k kind, value uint64, rows int) {
	last := len(v.ends) - 1
	if last >= 0 && v.value(k, last) == value {
		v.ends[last] += uint32(rows)
		return
	}
	if k.numeric() {
		v.numbers = append(v.numbers, value)
	} else {
		v.tags = append(v.tags, uint32(value))
	}
	v.ends = append(v.ends, uint32(v.rows()+rows))
}

// addRuns appends the rows from..to-1 of o, of which the first is in run i, to v's runs.
func (v *vector) addRuns(k kind, o vector, i, from, to int) {
	for ; from < to; i++ {
		end := min(int(o.ends[i]), to)
		v.add(k, o.value(k, i), end-from)
		from = end
	}
}

// addValues appends the rows from..to-1 of o, which is not in runs, to v's runs.
func (v *vector) addValues(k kind, o vector, from, to int) {
	for ; from < to; from++ {
		v.add(k, o.value(k, from), 1)
	}
}

// part returns the rows from..to-1 of v and the place of their first value in v. It uses the memory of ends.
func (v vector) part(k kind, from, to int, ends *[]uint32) (part vector, first int) {
	if v.ends == nil {
		return v.slice(k, from, to), from
	}
	if from == to { // a page of nulls alone has no run, and from may be behind the last one
		return vector{}, 0
	}
	first = v.runAt(from)
	*ends = (*ends)[:0]
	for i := first; from+rowsBefore(*ends) < to; i++ {
		*ends = append(*ends, uint32(min(int(v.ends[i]), to)-from))
	}
	part = v.slice(k, first, first+len(*ends))
	part.ends = *ends
	return part, first
}

// rowsBefore returns the number of rows of runs with these ends.
func rowsBefore(ends []uint32) int { return vector{ends: ends}.rows() }

// expand returns v with one value for each row, in the memory of spare.
func (v vector) expand(k kind, spare vector) vector {
	if v.ends == nil {
		return v
	}
	to := spare.sized(k, v.rows()).slice(k, 0, v.rows())
	from := uint32(0)
	for i, end := range v.ends {
		if k.numeric() {
			fill(to.numbers[from:end], v.numbers[i])
		} else {
			fill(to.tags[from:end], v.tags[i])
		}
		from = end
	}
	return to
}

// appendHybridRuns is appendHybrid for values in runs; the bytes are the same.
func appendHybridRuns(dst []byte, tags, ends []uint32, width int) []byte {
	var packed []uint32
	at := 0
	for i := 0; i < len(ends); {
		if left := int(ends[i]) - at; left >= 8 || i == len(ends)-1 {
			dst = appendRun(dst, tags[i], left, width)
			at = int(ends[i])
			i++
			continue
		}
		packed = packed[:0]
		for i < len(ends) && (len(packed)%8 != 0 || len(packed) == 0 || int(ends[i])-at < 9) {
			packed = append(packed, tags[i])
			if at++; at == int(ends[i]) {
				i++
			}
		}
		dst = appendGroups(dst, packed, width)
	}
	return dst
}

// decodeHybridRuns appends the first rows values of padded data, of n bytes, to runs of tags. fits is false where these
// are more than limit.
func decodeHybridRuns(to *vector, data []byte, n, width, rows, limit int) (fits bool, err error) {
	if width > 32 {
		return false, errPage
	}
	mask := uint32(1<<width - 1)
	var group [64]uint32
	for at := 0; rows > 0; {
		if len(to.ends) > limit {
			return false, nil
		}
		head, size := binary.Uvarint(data[at:n])
		if size <= 0 || head>>1 == 0 {
			return false, errPage
		}
		at += size
		if head&1 == 0 {
			if at += (width + 7) / 8; at > n {
				return false, errPage
			}
			run := int(min(uint64(rows), head>>1))
			to.add(texts, uint64(binary.LittleEndian.Uint32(data[at-(width+7)/8:])&mask), run)
			rows -= run
			continue
		}
		values := int(min(uint64(rows), head>>1*8))
		if (values*width+7)/8 > n-at {
			return false, errPage
		}
		for done := 0; done < values; done += len(group) {
			part := group[:min(len(group), values-done)]
			unpackBits(part, data[at+done*width/8:], width)
			for _, v := range part {
				to.add(texts, uint64(v), 1)
			}
			if len(to.ends) > limit {
				return false, nil
			}
		}
		rows -= values
		at += int(min(head>>1*uint64(width), uint64(n-at)))
	}
	return true, nil
}

// appendBitRuns appends runs of flags, one bit for each row.
func appendBitRuns(dst []byte, tags, ends []uint32) []byte {
	from, begin := uint32(0), len(dst)
	dst = append(dst, make([]byte, (rowsBefore(ends)+7)/8)...)
	for i, end := range ends {
		for ; tags[i] == 1 && from < end; from++ {
			if from%8 == 0 && end-from >= 8 {
				dst[begin+int(from/8)] = 0xFF
				from += 7
				continue
			}
			dst[begin+int(from/8)] |= 1 << (from % 8)
		}
		from = end
	}
	return dst
}

// decodeBitRuns appends rows flags, each one bit of padded data, to runs.
func decodeBitRuns(to *vector, data []byte, rows int) {
	for at := 0; at < rows; at += 64 {
		word, n := binary.LittleEndian.Uint64(data[at/8:]), min(64, rows-at)
		if word == 0 || word == ^uint64(0) {
			to.add(flags, word&1, n)
			continue
		}
		for i := range n {
			to.add(flags, word>>i&1, 1)
		}
	}
}
