package rcf

import "math/bits"

// store keeps the values of the stream that are still needed, each once. A row is one point as it was given
// to Update (d values); a window is k rows in a row, named by the number of its first: the point that
// trees hold. Windows of neighbouring points overlap and share rows.
//
// Rows are only ever appended. When the buffer is full, compact closes the gaps left by rows that no tree and
// no future window needs, which renumbers windows.
type store struct {
	d, k   int
	values []float32 // rows * d
	refs   []uint16  // per row: how many leaves hold the window that begins there
	kept   []uint64  // bitmap used by compact: the rows that stay
	rank   []uint32  // per word of kept: how many rows before it stay
}

// rows is the number of rows held.
func (s *store) rows() int { return len(s.refs) }

// window returns the k*d coordinates of the window that begins at row.
func (s *store) window(row uint32) []float32 {
	at := int(row) * s.d
	return s.values[at : at+s.d*s.k : at+s.d*s.k]
}

// full says whether append would have to grow the buffer.
func (s *store) full() bool { return len(s.refs) == cap(s.refs) }

// append adds a row. The newest k-1 rows together with the next one make the next window.
func (s *store) append(point []float32) {
	s.values = append(s.values, point...)
	s.refs = append(s.refs, 0)
}

// mark finds the rows that must stay: those of referenced windows and the newest k-1, of which the next window
// will be made. It returns their number; newRow then answers where a window moves.
func (s *store) mark() int {
	n := len(s.refs)
	words := (n + 63) / 64
	if cap(s.kept) < words {
		s.kept = make([]uint64, words, (cap(s.refs)+63)/64)
		s.rank = make([]uint32, words, (cap(s.refs)+63)/64)
	}
	s.kept, s.rank = s.kept[:words], s.rank[:words]
	clear(s.kept)
	needed := 0 // rows below this one belong to a referenced window
	for row := range n {
		if s.refs[row] > 0 {
			needed = row + s.k
		}
		if row < needed || row > n-s.k {
			s.kept[row/64] |= 1 << (row % 64)
		}
	}
	count := 0
	for i, word := range s.kept {
		s.rank[i] = uint32(count)
		count += bits.OnesCount64(word)
	}
	return count
}

// newRow is the number that a kept row has after compact.
func (s *store) newRow(row uint32) uint32 {
	below := s.kept[row/64] & (1<<(row%64) - 1)
	return s.rank[row/64] + uint32(bits.OnesCount64(below))
}

// compact moves the marked rows together. Windows keep their rows adjacent, since all of them stay.
func (s *store) compact() {
	to := 0
	for row := range s.refs {
		if s.kept[row/64]>>(row%64)&1 == 0 {
			continue
		}
		if to != row {
			copy(s.values[to*s.d:(to+1)*s.d], s.values[row*s.d:])
			s.refs[to] = s.refs[row]
		}
		to++
	}
	s.refs = s.refs[:to]
	s.values = s.values[:to*s.d]
}

// grow makes room for rows rows.
func (s *store) grow(rows int) {
	if rows <= cap(s.refs) {
		return
	}
	values := make([]float32, len(s.values), rows*s.d)
	copy(values, s.values)
	refs := make([]uint16, len(s.refs), rows)
	copy(refs, s.refs)
	s.values, s.refs = values, refs
}
