package rcf

// lanes is how many trees are walked at once. A walk waits for memory at each step; walks in several trees wait together.
const lanes = 4

// step holds where the walks in several trees are: four refs, that of lane i in the bits from 16*i.
type step uint64

// atLeaf has the bits that mark a ref as a leaf's.
const atLeaf step = 1<<48 | 1<<32 | 1<<16 | 1

// lane is where the walk in one tree is.
func (s step) lane(i int) ref { return ref(s >> (16 * i & 63)) }

// walk descends in several trees at once to the leaves whose cells hold the query with the given sortable
// coordinates. path[i] then is where the walks were after i steps; a walk that has arrived at its leaf stays there.
// The lanes of depth are how many steps each walk needed.
func walk(trees *[lanes]*tree, query []int32, path []step) (depth step) {
	a, b, c, d := trees[0].root, trees[1].root, trees[2].root, trees[3].root
	as, bs, cs, ds := trees[0].slots, trees[1].slots, trees[2].slots, trees[3].slots
	var rests step // in its lane, how many steps a walk has stood at its leaf
	if len(query) == 1 {
		x := query[0]
		for i := range path {
			at := step(a) | step(b)<<16 | step(c)<<32 | step(d)<<48
			path[i] = at
			if at&atLeaf == atLeaf {
				return step(i)*atLeaf - rests
			}
			rests += at & atLeaf
			a, b, c, d = next(as, a, x), next(bs, b, x), next(cs, c, x), next(ds, d, x)
		}
		return 0 // not reached: path is as long as a tree may be deep
	}
	ad, bd, cd, dd := trees[0].cutDim, trees[1].cutDim, trees[2].cutDim, trees[3].cutDim
	for i := range path {
		at := step(a) | step(b)<<16 | step(c)<<32 | step(d)<<48
		path[i] = at
		if at&atLeaf == atLeaf {
			return step(i)*atLeaf - rests
		}
		rests += at & atLeaf
		a, b = next(as, a, query[ad[a>>1]]), next(bs, b, query[bd[b>>1]])
		c, d = next(cs, c, query[cd[c>>1]]), next(ds, d, query[dd[d>>1]])
	}
	return 0
}

// next is the child of a node on whose side x is.
func next(slots []slot, at ref, x int32) ref {
	s := &slots[at]
	return s.child[b2i(x > s.cut)]
}
