package rcf

// lanes is how many trees are walked at once. A walk waits for memory at each step; walks in several trees wait
// together.
const lanes = 8

// step holds where the walks in several trees are.
type step [lanes]ref

// walkGeneric descends in several trees at once to the leaves whose cells hold their queries, points in sortable
// coordinates. path[i] then is where the walks were after i steps; a walk that has arrived at its leaf stays there.
// depth is how many steps each walk needed. It returns false if path is too short.
//
// It is walk for processors without assembly.
func walkGeneric(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool {
	for first := 0; first < lanes; first += 4 { // the registers have room for four
		if !walkFour((*[4]*tree)(trees[first:]), (*[4][]int32)(queries[first:]), path, first, (*[4]uint16)(depth[first:])) {
			return false
		}
	}
	return true
}

// walkFour is walkGeneric in four trees, whose places in a step begin at first. Rows of path behind their arrival are
// left as they were.
func walkFour(trees *[4]*tree, queries *[4][]int32, path []step, first int, depth *[4]uint16) bool {
	a, b, c, d := trees[0].root, trees[1].root, trees[2].root, trees[3].root
	as, bs, cs, ds := trees[0].slots, trees[1].slots, trees[2].slots, trees[3].slots
	ad, bd, cd, dd := trees[0].cutDim, trees[1].cutDim, trees[2].cutDim, trees[3].cutDim
	aq, bq, cq, dq := queries[0], queries[1], queries[2], queries[3]
	*depth = [4]uint16{}
	for i := range path {
		at := (*[4]ref)(path[i][first:])
		at[0], at[1], at[2], at[3] = a, b, c, d
		if a&b&c&d&leafBit != 0 {
			return true
		}
		depth[0] += uint16(^a >> 15)
		depth[1] += uint16(^b >> 15)
		depth[2] += uint16(^c >> 15)
		depth[3] += uint16(^d >> 15)
		a, b = next(as, a, aq[ad[a.index()]]), next(bs, b, bq[bd[b.index()]])
		c, d = next(cs, c, cq[cd[c.index()]]), next(ds, d, dq[dd[d.index()]])
	}
	return false
}

// next returns the child of a node on whose side x is, and for a leaf the leaf, so that walks in several trees go on
// together until all have arrived. It has no branch: for a leaf it reads some node's slot and ignores it.
func next(slots []slot, at ref, x int32) ref {
	s := &slots[at.index()]
	child := s.child[0] ^ (s.child[0]^s.child[1])&ref((int64(s.cut)-int64(x))>>63)
	stay := ref(int16(at) >> 15) // all bits if at is a leaf
	return child ^ (child^at)&stay
}
