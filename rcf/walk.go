package rcf

// lanes is how many trees are walked at once. A walk waits for memory at each step; walks in several trees wait together.
const lanes = 4

// step holds where the walks in several trees are: four refs, that of lane i in the bits from 16*i.
type step uint64

// atLeaf has the bits that mark a ref as a leaf's.
const atLeaf step = step(leafBit)<<48 | step(leafBit)<<32 | step(leafBit)<<16 | step(leafBit)

// lane is where the walk in one tree is.
func (s step) lane(i int) ref { return ref(s >> (16 * i & 63)) }

// walk descends in several trees at once to the leaves whose cells hold the query with the given sortable
// coordinates. path[i] then is where the walks were after i steps; a walk that has arrived at its leaf stays there.
// The lanes of depth are how many steps each walk needed. ok is false if path is too short.
func walk(trees *[lanes]*tree, query []int32, path []step) (depth step, ok bool) {
	a, b, c, d := trees[0].root, trees[1].root, trees[2].root, trees[3].root
	as, bs, cs, ds := trees[0].slots, trees[1].slots, trees[2].slots, trees[3].slots
	var rests step // in its lane, how many steps a walk has stood at its leaf
	if len(query) == 1 {
		x := query[0]
		for i := range path {
			at := step(a) | step(b)<<16 | step(c)<<32 | step(d)<<48
			path[i] = at
			if at&atLeaf == atLeaf {
				return step(i)*(atLeaf>>15) - rests, true
			}
			rests += at & atLeaf >> 15
			a, b, c, d = next(as, a, x), next(bs, b, x), next(cs, c, x), next(ds, d, x)
		}
		return 0, false
	}
	ad, bd, cd, dd := trees[0].cutDim, trees[1].cutDim, trees[2].cutDim, trees[3].cutDim
	for i := range path {
		at := step(a) | step(b)<<16 | step(c)<<32 | step(d)<<48
		path[i] = at
		if at&atLeaf == atLeaf {
			return step(i)*(atLeaf>>15) - rests, true
		}
		rests += at & atLeaf >> 15
		a, b = next(as, a, query[ad[a.index()]]), next(bs, b, query[bd[b.index()]])
		c, d = next(cs, c, query[cd[c.index()]]), next(ds, d, query[dd[d.index()]])
	}
	return 0, false
}

// walkEach is walk with a query of its own for each tree, a point in float32.
func walkEach(trees *[lanes]*tree, points *[lanes][]float32, path []step) (depth step, ok bool) {
	a, b, c, d := trees[0].root, trees[1].root, trees[2].root, trees[3].root
	as, bs, cs, ds := trees[0].slots, trees[1].slots, trees[2].slots, trees[3].slots
	ad, bd, cd, dd := trees[0].cutDim, trees[1].cutDim, trees[2].cutDim, trees[3].cutDim
	ap, bp, cp, dp := points[0], points[1], points[2], points[3]
	var rests step
	for i := range path {
		at := step(a) | step(b)<<16 | step(c)<<32 | step(d)<<48
		path[i] = at
		if at&atLeaf == atLeaf {
			return step(i)*(atLeaf>>15) - rests, true
		}
		rests += at & atLeaf >> 15
		a, b = next(as, a, sortable(ap[ad[a.index()]])), next(bs, b, sortable(bp[bd[b.index()]]))
		c, d = next(cs, c, sortable(cp[cd[c.index()]])), next(ds, d, sortable(dp[dd[d.index()]]))
	}
	return 0, false
}

// next is the child of a node on whose side x is; a leaf is its own, so that walks in several trees need not ask each
// other whether they have arrived. Any node's slot will do for a leaf then: there is no branch here.
func next(slots []slot, at ref, x int32) ref {
	s := &slots[at.index()]
	child := s.child[0] ^ (s.child[0]^s.child[1])&ref((int64(s.cut)-int64(x))>>63)
	stay := ref(int16(at) >> 15) // all bits if at is a leaf
	return child ^ (child^at)&stay
}
