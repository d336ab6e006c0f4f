package fanwatch

import (
	"errors"
	"fmt"
	"strings"
)

// SequenceNumber is a Kinesis sequence number: a decimal integer as text, without leading zeros, at most 64 digits.
// "0" is the position before the first record of a shard. The API allows 129 digits; AWS has used 56 since 2013.
type SequenceNumber string

const sequenceWidth = 64 // digits

// ErrSequenceNumber says that a text is not a sequence number.
var ErrSequenceNumber = errors.New("not a sequence number (a decimal integer of at most 64 digits)")

// ParseSequenceNumber reads a sequence number, with or without the zeros that Pad adds. The error wraps
// [ErrSequenceNumber].
func ParseSequenceNumber(s string) (SequenceNumber, error) {
	if s == "" || len(s) > sequenceWidth || strings.Trim(s, "0123456789") != "" {
		return "", fmt.Errorf("%w: %.80q", ErrSequenceNumber, s)
	}
	if s = strings.TrimLeft(s, "0"); s == "" {
		s = "0"
	}
	return SequenceNumber(s), nil
}

// Compare compares a and b as integers and returns -1, 0 or +1. The empty number counts as "0".
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

// Position is the place of a reading on the stream: the Kinesis record, and the reading within it.
type Position struct {
	Shard    string         `json:"shard"`
	Sequence SequenceNumber `json:"sequence"` // of the record
	Index    int            `json:"index"`    // of the reading within the record, from 0
}

// Compare compares two positions of one fan and returns -1, 0 or +1. It compares the number behind the "." of the
// shards' names, which grows each time the stream is deleted and made again, then Sequence, then Index. The rest of
// the shard's name does not count: after a reshard the sequence numbers of a child exceed its parents'.
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
