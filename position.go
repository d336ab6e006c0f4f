package fanwatch

import (
	"errors"
	"fmt"
	"strings"
)

// SequenceNumber is a Kinesis sequence number: a decimal integer as text, without leading zeros. The
// API allows 129 digits; AWS gives out 56. "0" stands before the first record of every shard.
type SequenceNumber string

// sequenceWidth is how wide Pad makes a sequence number. AWS has given out 56 digits since 2013.
const sequenceWidth = 64

// ErrSequenceNumber says that a text is not a sequence number.
var ErrSequenceNumber = errors.New("not a sequence number (a decimal integer of at most 64 digits)")

// ParseSequenceNumber checks s and strips leading zeros, so that what Pad wrote comes back unchanged.
func ParseSequenceNumber(s string) (SequenceNumber, error) {
	if s == "" || len(s) > sequenceWidth || strings.Trim(s, "0123456789") != "" {
		return "", fmt.Errorf("%w: %.80q", ErrSequenceNumber, s)
	}
	if s = strings.TrimLeft(s, "0"); s == "" {
		s = "0"
	}
	return SequenceNumber(s), nil
}

// Compare orders a and b as integers: -1, 0 or +1. The empty number orders as "0".
func (a SequenceNumber) Compare(b SequenceNumber) int {
	if a == "" {
		a = "0"
	}
	if b == "" {
		b = "0"
	}
	if len(a) != len(b) {
		if len(a) < len(b) {
			return -1
		}
		return 1
	}
	return strings.Compare(string(a), string(b))
}

// Pad returns the number zero-padded to 64 digits, so that object keys sort as the numbers do.
func (a SequenceNumber) Pad() string {
	if len(a) >= sequenceWidth {
		return string(a)
	}
	return strings.Repeat("0", sequenceWidth-len(a)) + string(a)
}

// Position says where a reading stood on the stream: one Kinesis record holds several readings, so the
// record's sequence number alone does not tell them apart. Index counts from 0 within the record.
type Position struct {
	Shard    string         `json:"shard"`
	Sequence SequenceNumber `json:"sequence"`
	Index    int            `json:"index"`
}

// Compare orders positions of one fan by sequence number and index. The shard does not count: after a reshard a fan
// lives on a child, whose sequence numbers are all above its parents'. But a stream that was deleted and made again
// numbers anew: what stands behind the "." of its shards' names, a number that grows, orders before all else.
func (p Position) Compare(q Position) int {
	if p.Shard != q.Shard {
		_, a, _ := strings.Cut(p.Shard, ".")
		_, b, _ := strings.Cut(q.Shard, ".")
		if c := SequenceNumber(a).Compare(SequenceNumber(b)); c != 0 {
			return c
		}
	}
	if c := p.Sequence.Compare(q.Sequence); c != 0 {
		return c
	}
	switch {
	case p.Index < q.Index:
		return -1
	case p.Index > q.Index:
		return 1
	}
	return 0
}

// String returns shard/sequence/index.
func (p Position) String() string { return fmt.Sprintf("%s/%s/%d", p.Shard, p.Sequence, p.Index) }
