//go:build !linux

package lake

// onLargePages is for Linux, which has to be asked.
func onLargePages(numbers []uint64) []uint64 { return numbers }
