package rcf

import (
	"math/bits"
	"slices"
)

// store keeps the values of the stream that are still needed, each once. A row is one point as it was given
// to Update (d values); a window is k rows in a row, named by the number of its first: the point that
// trees hold. Windows of neighbouring points overlap and share rows.
//
// Rows are only ever appended. When the buffer is full, compact closes the gaps left by rows that no tree and
// no future window needs, which renumbers windows but keeps their order.
type store struct {
	d, k   int
	n      int       // rows held
	room   int       // rows that fit
	values []float32 // rows * d
	kept   []uint64  // bitmap used by compact: the rows that stay
	rank   []uint32  // per word of kept: how many rows before it stay
}

// rows returns the number of rows held.
func (s *store) rows() int { return s.n }

// window returns the k*d coordinates of the window that begins at row.
func (s *store) window(row uint32) []float32 {
	at := int(row) * s.d
	return s.values[at : at+s.d*s.k : at+s.d*s.k]
}

// full reports whether append would have to grow the buffer.
func (s *store) full() bool { return s.n == s.room }

// append adds a row. The newest k-1 rows together with the next one make the next window.
func (s *store) append(point []float32) {
	s.values = append(s.values, point...)
	s.n++
}

// unmark begins the search for the rows that must stay. The caller then marks the windows that trees hold, and settle
// finds the rows.
func (s *store) unmark() {
	words := (s.n + 63) / 64
	if cap(s.kept) < words {
		s.kept = make([]uint64, (s.room+63)/64)
		s.rank = make([]uint32, (s.room+63)/64)
	}
	s.kept, s.rank = s.kept[:words], s.rank[:words]
	clear(s.kept)
}

// mark notes that a window is needed.
func (s *store) mark(row uint32) { s.kept[row/64] |= 1 << (row % 64) }

// settle finds the rows that must stay: those of marked windows and the newest k-1, of which the next window
// will be made. It returns their number; newRow then answers where a window moves.
func (s *store) settle() int {
	if s.k > 1 {
		needed := 0 // rows below this one belong to a marked window
		for row := range s.n {
			word, bit := &s.kept[row/64], uint64(1)<<(row%64)
			if *word&bit != 0 {
				needed = row + s.k
			}
			if row < needed || row > s.n-s.k {
				*word |= bit
			}
		}
	}
	count := 0
	for i, word := range s.kept {
		s.rank[i] = uint32(count)
		count += bits.OnesCount64(word)
	}
	return count
}

// newRow returns the number that a kept row has after compact.
func (s *store) newRow(row uint32) uint32 {
	below := s.kept[row/64] & (1<<(row%64) - 1)
	return s.rank[row/64] + uint32(bits.OnesCount64(below))
}

// compact moves the kept rows together. Windows keep their rows adjacent, since all of them stay.
func (s *store) compact() {
	to := 0
	for i, word := range s.kept {
		for ; word != 0; word &= word - 1 {
			row := 64*i + bits.TrailingZeros64(word)
			if to != row {
				copy(s.values[to*s.d:(to+1)*s.d], s.values[row*s.d:(row+1)*s.d])
			}
			to++
		}
	}
	s.n = to
	s.values = s.values[:to*s.d]
}

// grow makes room for that many rows or a few more.
func (s *store) grow(rows int) {
	if rows > s.room {
		s.values = append(slices.Grow([]float32(nil), rows*s.d), s.values...)
		s.room = cap(s.values) / s.d
		s.kept, s.rank = nil, nil
	}
}
