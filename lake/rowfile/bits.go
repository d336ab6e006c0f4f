package rowfile

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

// The encodings of the table's files (Apache Parquet format, "Encodings.md"): bit packing, the run length / bit packing
// hybrid of dictionary indices and levels, and DELTA_BINARY_PACKED. A merge spends its time in them, so they are not
// the library's: they work on whole columns, into buffers that are used again, and no count that they read makes them
// allocate or write beyond dst. Tests compare them with the library.

// errPage says that the parts of a page contradict each other.
var errPage = errors.New("damaged Parquet file: a page does not hang together")

// padding is how many bytes must lie behind the encoded ones in a buffer that is decoded, so that every value
// can be loaded as a word.
const padding = 16

// packBits appends the low width bits (0..64) of each value, least significant first. The bits above must be 0.
func packBits[T uint32 | uint64](dst []byte, values []T, width int) []byte {
	var word uint64
	fill := 0
	add := func(v uint64, width int) {
		word |= v << (fill & 63)
		if fill += width; fill >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, word)
			fill -= 64
			word = v >> (width - fill)
		}
	}
	// Narrow values are joined first, because add takes longer than joining.
	w := width & 63
	switch {
	case width <= 16:
		for ; len(values) >= 4; values = values[4:] {
			low, high := uint64(values[0])|uint64(values[1])<<w, uint64(values[2])|uint64(values[3])<<w
			add(low|high<<(2*w&63), 4*width)
		}
	case width <= 32:
		for ; len(values) >= 2; values = values[2:] {
			add(uint64(values[0])|uint64(values[1])<<w, 2*width)
		}
	}
	for _, v := range values {
		add(uint64(v), width)
	}
	for ; fill > 0; fill -= 8 {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst
}

// unpackBits reads len(dst) values of width bits (0..64) from padded data.
func unpackBits[T uint32 | uint64](dst []T, data []byte, width int) {
	mask := ^uint64(0) >> (64 - width)
	at, w := 0, width&63
	switch { // a word holds 4 narrow values, wherever in a byte they begin
	case width <= 14:
		for ; len(dst) >= 4; dst = dst[4:] {
			word := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
			dst[0], dst[1] = T(word&mask), T(word>>w&mask)
			word >>= 2 * w & 63
			dst[2], dst[3] = T(word&mask), T(word>>w&mask)
			at += 4 * width
		}
	case width <= 28:
		for ; len(dst) >= 2; dst = dst[2:] {
			word := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
			dst[0], dst[1] = T(word&mask), T(word>>w&mask)
			at += 2 * width
		}
	}
	for i := range dst {
		v := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
		dst[i] = T((v | uint64(data[at>>3+8])<<(64-at&7)) & mask)
		at += width
	}
}

// appendHybrid appends values of width bits as runs (of 8 equal values or more) and bit-packed groups of 8.
func appendHybrid(dst []byte, values []uint32, width int) []byte {
	for len(values) > 0 {
		if n := runLength(values); n >= 8 || n == len(values) {
			dst = appendRun(dst, values[0], n, width)
			values = values[n:]
			continue
		}
		n := 8
		for n < len(values) && runLength(values[n:min(n+9, len(values))]) < 9 {
			n += 8
		}
		n = min(n, len(values))
		dst = appendGroups(dst, values[:n], width)
		values = values[n:]
	}
	return dst
}

// appendRun appends a run of n equal values of width bits.
func appendRun(dst []byte, value uint32, n, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for w := 0; w < width; w += 8 {
		dst = append(dst, byte(value>>w))
	}
	return dst
}

// appendGroups appends bit-packed groups of 8 values, the last one filled up with zeros.
func appendGroups(dst []byte, values []uint32, width int) []byte {
	groups := (len(values) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	dst = packBits(dst, values, width)
	return append(dst, make([]byte, groups*width-(len(values)*width+7)/8)...)
}

func runLength(values []uint32) int {
	first := values[0]
	for i, v := range values {
		if v != first {
			return i
		}
	}
	return len(values)
}

// decodeHybrid fills dst from the n bytes at the start of padded data.
func decodeHybrid(dst []uint32, data []byte, n, width int) error {
	if width > 32 {
		return errPage
	}
	mask := uint32(1<<width - 1)
	for at := 0; len(dst) > 0; {
		head, size := binary.Uvarint(data[at:n])
		if size <= 0 || head>>1 == 0 {
			return errPage
		}
		at += size
		if head&1 == 0 {
			if at += (width + 7) / 8; at > n {
				return errPage
			}
			v := binary.LittleEndian.Uint32(data[at-(width+7)/8:]) & mask
			run := dst[:min(uint64(len(dst)), head>>1)]
			for i := range run {
				run[i] = v
			}
			dst = dst[len(run):]
			continue
		}
		group := dst[:min(uint64(len(dst)), head>>1*8)]
		if (len(group)*width+7)/8 > n-at {
			return errPage
		}
		unpackBits(group, data[at:], width)
		dst = dst[len(group):]
		at += int(min(head>>1*uint64(width), uint64(n-at)))
	}
	return nil
}

// The sizes of blocks of DELTA_BINARY_PACKED that are written; the library and most other writers have the same.
const (
	deltaBlock     = 128
	deltaMinis     = 4
	deltaMiniBlock = deltaBlock / deltaMinis
)

// appendDelta appends int64 values (as their bits) in DELTA_BINARY_PACKED.
func appendDelta(dst []byte, values []uint64) []byte {
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaMinis)
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	if len(values) == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(values[0]))
	last := values[0]
	var block [deltaBlock]uint64
	for rest := values[1:]; len(rest) > 0; {
		n := min(len(rest), deltaBlock)
		least := int64(rest[0] - last)
		deltas := block[:n]
		for i, v := range rest[:n] {
			delta := v - last
			deltas[i], last = delta, v
			least = min(least, int64(delta))
		}
		dst = binary.AppendVarint(dst, least)
		var widths [deltaMinis]int
		for m := range widths {
			var all uint64
			mini := block[min(m*deltaMiniBlock, n):min((m+1)*deltaMiniBlock, n)]
			for i, delta := range mini {
				mini[i] = delta - uint64(least)
				all |= delta - uint64(least)
			}
			widths[m] = bits.Len64(all)
			dst = append(dst, byte(widths[m]))
		}
		clear(block[n:])
		for m := range (n + deltaMiniBlock - 1) / deltaMiniBlock {
			dst = packBits(dst, block[m*deltaMiniBlock:(m+1)*deltaMiniBlock], widths[m])
		}
		rest = rest[n:]
	}
	return dst
}

// decodeDelta fills dst from the n bytes at the start of padded data, which must hold exactly len(dst) values.
func decodeDelta(dst []uint64, data []byte, n int) error {
	var head [3]uint64 // block size, mini-blocks, values
	at := 0
	for i := range head {
		v, size := binary.Uvarint(data[at:n])
		if size <= 0 {
			return errPage
		}
		head[i], at = v, at+size
	}
	first, size := binary.Varint(data[at:n])
	// A mini-block is a multiple of 32 values by the format; so it fills whole bytes.
	if size <= 0 || head[2] != uint64(len(dst)) || head[0] == 0 || head[0] > 1<<20 || head[1] == 0 ||
		head[1] > head[0]/32 || head[0]%head[1] != 0 || head[0]/head[1]%32 != 0 {
		return errPage
	}
	at += size
	if len(dst) == 0 {
		return nil
	}
	minis, mini := int(head[1]), int(head[0]/head[1])
	last := uint64(first)
	dst[0] = last
	for dst = dst[1:]; len(dst) > 0; {
		least, size := binary.Varint(data[at:n])
		if size <= 0 || minis > n-at-size {
			return errPage
		}
		widths := data[at+size : at+size+minis]
		at += size + minis
		for _, w := range widths {
			if len(dst) == 0 {
				break
			}
			values := dst[:min(len(dst), mini)]
			width := int(w)
			if width > 64 || (len(values)*width+7)/8 > n-at {
				return errPage
			}
			last = unpackDeltas(values, data[at:], width, last, uint64(least))
			dst = dst[len(values):]
			at = min(at+mini*width/8, n)
		}
	}
	return nil
}

// unpackDeltas fills dst with sums: each is the one before, at first last, plus least plus a value of unpackBits. It
// returns the last sum.
func unpackDeltas(dst []uint64, data []byte, width int, last, least uint64) uint64 {
	if width > 28 {
		unpackBits(dst, data, width)
		for i, v := range dst {
			last += v + least
			dst[i] = last
		}
		return last
	}
	mask, at, w := uint64(1)<<width-1, 0, width&63
	for ; len(dst) >= 2; dst = dst[2:] { // a word holds two, wherever in a byte they begin
		word := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
		first := least + word&mask + last
		last = 2*least + word&mask + word>>w&mask + last
		dst[0], dst[1] = first, last
		at += 2 * width
	}
	if len(dst) > 0 {
		last += least + binary.LittleEndian.Uint64(data[at>>3:])>>(at&7)&mask
		dst[0] = last
	}
	return last
}

// padded returns data[:n] with padding readable bytes behind it: data itself where it goes on long enough,
// otherwise a copy in spare, which it grows.
func padded(data []byte, n int, spare *[]byte) []byte {
	if cap(data) >= n+padding {
		return data[:n+padding]
	}
	*spare = append(append((*spare)[:0], data[:n]...), make([]byte, padding)...)
	return *spare
}

// grown returns a slice of n elements, s itself where it is large enough. The elements are arbitrary.
func grown[T any](s []T, n int) []T {
	return slices.Grow(s[:0], n)[:n]
}
