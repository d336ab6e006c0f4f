package activities

// Holds gives the test whether a fan's records go to the shard, or an error when its hash range is not two numbers.
func (sh Shard) Holds() (func(fan string) bool, error) { return hashRange(sh) }
