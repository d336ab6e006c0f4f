package activities

import (
	"crypto/md5"
	"fmt"
	"math/big"

	"fanwatch"
)

// Shard is one shard of the stream.
type Shard struct {
	ID        string   `json:"id"`
	Parents   []string `json:"parents,omitempty"`
	StartHash string   `json:"start_hash"` // lower end of the range of hash keys; decimal, inclusive
	EndHash   string   `json:"end_hash"`   // upper end of the range of hash keys; decimal, inclusive

	First fanwatch.SequenceNumber `json:"first,omitempty"` // lower bound of the sequence numbers; "" = not known
}

// Holds returns a function that reports whether a fan's records go to the shard. Kinesis puts a record on the shard
// whose range holds the MD5 of its partition key, which is the fan's name. The error is for a hash range that is not
// two decimal numbers.
func (sh Shard) Holds() (func(fan string) bool, error) {
	low, ok1 := new(big.Int).SetString(sh.StartHash, 10)
	high, ok2 := new(big.Int).SetString(sh.EndHash, 10)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("shard %s: hash range %q to %q is not two decimal numbers", sh.ID, sh.StartHash, sh.EndHash)
	}
	return func(fan string) bool {
		h := partitionHash(fan)
		return h.Cmp(low) >= 0 && h.Cmp(high) <= 0
	}, nil
}

// partitionHash returns the hash key of a partition key, a number of 128 bits.
func partitionHash(key string) *big.Int {
	sum := md5.Sum([]byte(key))
	return new(big.Int).SetBytes(sum[:])
}
