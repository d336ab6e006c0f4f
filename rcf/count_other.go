//go:build !amd64

package rcf

// count is countInGo.
func count(rows []uint16, row uint16) int { return countInGo(rows, row) }
