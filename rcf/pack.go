package rcf

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// A snapshot's numbers are packed: each takes some bits, the lowest first, with no gaps between.
//
// A float32 is packed as its sign, its exponent and its 23 bits of mantissa. The exponent is told by the difference
// to that of an earlier number of the same kind, which tends to be small: differences 0, -1, 1, -2, ... count 1, 2,
// 3, ... and these numbers are in Elias's gamma code (IEEE Trans. Inf. Theory, 1975): n bits follow n-1 zeros.

// packer appends packed numbers to out.
type packer struct {
	out  []byte
	bits uint64
	n    int
}

// pack appends the lowest width bits of v, at most 32; the others are zeros.
func (p *packer) pack(v uint64, width int) {
	p.bits |= v << p.n
	p.n += width
	if p.n >= 32 {
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(p.bits))
		p.bits >>= 32
		p.n -= 32
	}
}

// pack64 appends 64 bits.
func (p *packer) pack64(v uint64) {
	p.pack(v&math.MaxUint32, 32)
	p.pack(v>>32, 32)
}

// gamma appends a number from 1 to 65535.
func (p *packer) gamma(v uint64) {
	n := bits.Len64(v) - 1
	p.pack(0, n)
	p.pack(1|(v&^(1<<n))<<1, n+1)
}

// magnitude appends a positive float32, or 0. exponent is that of an earlier one.
func (p *packer) magnitude(v float32, exponent *uint8) {
	b := math.Float32bits(v)
	now := uint8(b >> 23)
	difference := int(now) - int(*exponent)
	*exponent = now
	p.gamma(uint64(difference<<1^difference>>63) + 1)
	p.pack(uint64(b&(1<<23-1)), 23)
}

// float appends any finite float32.
func (p *packer) float(v float32, exponent *uint8) {
	b := math.Float32bits(v)
	p.pack(uint64(b>>31), 1)
	p.magnitude(math.Float32frombits(b&^(1<<31)), exponent)
}

// flush pads to a whole byte with zeros.
func (p *packer) flush() {
	for ; p.n > 0; p.n -= 8 {
		p.out = append(p.out, byte(p.bits))
		p.bits >>= 8
	}
	p.bits, p.n = 0, 0
}

var errTruncated = errors.New("it ends early")

// smallestFloat is how many bits a packed float takes at least.
const smallestFloat = 24

// unpacker takes packed numbers from the front of in. Beyond its end it gives zeros and remembers that it did.
type unpacker struct {
	in    []byte
	bits  uint64
	n     int
	short bool
}

// err reports whether the input was too short so far.
func (u *unpacker) err() error {
	if u.short {
		return errTruncated
	}
	return nil
}

// left returns the number of bits not taken yet.
func (u *unpacker) left() int { return 8*len(u.in) + u.n }

// unpack takes a number of width bits, at most 32.
func (u *unpacker) unpack(width int) uint64 {
	if u.n < width {
		u.fill(width)
	}
	v := u.bits & (1<<width - 1)
	u.bits >>= width
	u.n -= width
	return v
}

// fill sees to it that bits holds at least n, at most 32.
func (u *unpacker) fill(n int) {
	if len(u.in) >= 4 {
		u.bits |= uint64(binary.LittleEndian.Uint32(u.in)) << u.n
		u.in = u.in[4:]
		u.n += 32
		return
	}
	for _, b := range u.in {
		u.bits |= uint64(b) << u.n
		u.n += 8
	}
	u.in = nil
	if u.n < n {
		u.short = true
		u.n = n
	}
}

// unpack64 takes 64 bits.
func (u *unpacker) unpack64() uint64 {
	low := u.unpack(32)
	return low | u.unpack(32)<<32
}

// gamma takes a number that packer.gamma has appended. There are at most 15 zeros in front of one.
func (u *unpacker) gamma() uint64 {
	if u.n < 31 {
		u.fill(min(31, u.left()))
	}
	n := bits.TrailingZeros64(u.bits | 1<<16)
	if n > 15 {
		u.short, u.in, u.bits, u.n = true, nil, 0, 0
		return 1
	}
	u.unpack(n + 1)
	return u.unpack(n) | 1<<n
}

// magnitude takes a number that packer.magnitude has appended, or something that is not finite.
func (u *unpacker) magnitude(exponent *uint8) float32 {
	zigzag := int(u.gamma()) - 1
	*exponent += uint8(zigzag>>1 ^ -(zigzag & 1))
	return math.Float32frombits(uint32(*exponent)<<23 | uint32(u.unpack(23)))
}

// float takes a number that packer.float has appended. A negative zero, which is not one of a forest's, becomes zero.
func (u *unpacker) float(exponent *uint8) float32 {
	sign := uint32(u.unpack(1)) << 31
	return math.Float32frombits(sign|math.Float32bits(u.magnitude(exponent))) + 0
}

// finite reports whether v is neither infinite nor NaN.
func finite(v float32) bool { return math.Abs(float64(v)) <= math.MaxFloat32 }

// width returns how many bits a number below n needs.
func width(n int) int { return bits.Len(uint(max(n, 1) - 1)) }
