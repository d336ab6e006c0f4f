//go:build !amd64

package rcf

// walk is walkInGo.
func walk(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool {
	return walkInGo(trees, queries, path, depth)
}
