package kinesis

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
)

// sequence is what a sequence number says: the shard, its epoch (grows from parent to child, so that every
// number of a child is above all of its parents') and a counter that grows within the shard. As an integer
// it has 188 bits, which makes 56 decimal digits like those of AWS:
//
//	bits 184-187: 2 | 148-183: epoch | 84-147: counter | 36-83: zero | 4-35: shard | 0-3: 2
type sequence struct {
	epoch   uint64 // 36 bits; seconds since 1970 at which the shard was made, or its parents' highest plus 1
	counter uint64 // microseconds since 1970 at arrival, or the counter before plus 1
	shard   uint32
}

const (
	sequenceMark  = 2
	maxEpoch      = 1<<36 - 1
	maxShardIndex = 1<<31 - 1
)

// String returns the decimal number.
func (q sequence) String() string {
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], sequenceMark<<56|q.epoch<<20|q.counter>>44)
	binary.BigEndian.PutUint64(b[8:], q.counter<<20)
	binary.BigEndian.PutUint64(b[16:], uint64(q.shard)<<4|sequenceMark)
	return new(big.Int).SetBytes(b[:]).String()
}

// parseSequence reads what String wrote; ok is false for any other text.
func parseSequence(s string) (q sequence, ok bool) {
	if !isDecimal(s, 129) {
		return q, false
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.BitLen() > 192 {
		return q, false
	}
	var b [24]byte
	n.FillBytes(b[:])
	top, mid, low := binary.BigEndian.Uint64(b[0:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	if top>>56 != sequenceMark || mid&(1<<20-1) != 0 || low>>36 != 0 || low&15 != sequenceMark {
		return q, false
	}
	return sequence{epoch: top >> 20 & maxEpoch, counter: top<<44 | mid>>20, shard: uint32(low >> 4)}, true
}

// isDecimal reports whether s is 0 or a decimal integer without leading zeros of at most max digits.
func isDecimal(s string, max int) bool {
	if s == "" || len(s) > max || (s[0] == '0' && len(s) > 1) {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// hashKey is a point of the ring of 2^128 hash keys that shards divide among them.
type hashKey struct{ hi, lo uint64 }

func maxHashKey() hashKey { return hashKey{^uint64(0), ^uint64(0)} }

// hashOf maps a partition key to its hash key: the MD5 sum as a big-endian integer.
func hashOf(partitionKey string) hashKey {
	sum := md5.Sum([]byte(partitionKey))
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// parseHashKey reads a decimal hash key from 0 to 2^128-1.
func parseHashKey(s string) (hashKey, error) {
	if isDecimal(s, 39) {
		if n, ok := new(big.Int).SetString(s, 10); ok && n.BitLen() <= 128 {
			var b [16]byte
			n.FillBytes(b[:])
			return hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, nil
		}
	}
	return hashKey{}, fmt.Errorf("hash key %.50q: not a decimal integer from 0 to 2^128-1", s)
}

// evenRange returns part i of the ring cut into n equal parts; the last takes the remainder.
func evenRange(i, n int) (start, end hashKey) {
	ring := new(big.Int).Lsh(big.NewInt(1), 128)
	part := new(big.Int).Div(ring, big.NewInt(int64(n)))
	at := func(i int) hashKey {
		var b [16]byte
		new(big.Int).Mul(part, big.NewInt(int64(i))).FillBytes(b[:])
		return hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	}
	if i == n-1 {
		return at(i), maxHashKey()
	}
	return at(i), at(i + 1).minusOne()
}

func (h hashKey) less(g hashKey) bool { return h.hi < g.hi || (h.hi == g.hi && h.lo < g.lo) }

func (h hashKey) plusOne() hashKey {
	lo, carry := bits.Add64(h.lo, 1, 0)
	return hashKey{h.hi + carry, lo}
}

func (h hashKey) minusOne() hashKey {
	lo, borrow := bits.Sub64(h.lo, 1, 0)
	return hashKey{h.hi - borrow, lo}
}

// String returns the key in decimal.
func (h hashKey) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], h.hi)
	binary.BigEndian.PutUint64(b[8:], h.lo)
	return new(big.Int).SetBytes(b[:]).String()
}

// MarshalText writes the key in decimal.
func (h hashKey) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads a key in decimal.
func (h *hashKey) UnmarshalText(b []byte) (err error) {
	*h, err = parseHashKey(string(b))
	return err
}
