package rcf

// walk is walkGeneric in assembly, which has all walks in registers and takes half of the time.
func walk(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool {
	if len(queries[0]) == 1 {
		return walkOnLine(trees, queries, path, depth)
	}
	return walkInSpace(trees, queries, path, depth)
}

// walkOnLine is walk for one coordinate.
//
//go:noescape
func walkOnLine(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool

// walkInSpace is walk for any number of coordinates.
//
//go:noescape
func walkInSpace(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool
