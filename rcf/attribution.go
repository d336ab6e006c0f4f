package rcf

// Attribution divides a score among the coordinates of the point, by direction: High[i] is the part owed to
// coordinate i being higher than the points it was compared with, Low[i] to being lower. All parts are at
// least 0 and add up to the score.
//
// Both slices have Dimensions*Shingle values in the order of time: the last Dimensions values belong to the
// point itself, those before to the point before it, and so on.
type Attribution struct {
	High, Low []float64
}

// Sum returns the attributed score.
func (a Attribution) Sum() float64 {
	var sum float64
	for i := range a.High {
		sum += a.High[i] + a.Low[i]
	}
	return sum
}

// Fold adds up the parts of each dimension over the shingle and returns an attribution with one High and one Low
// per dimension. dimensions is Config.Dimensions; a number that is not positive counts as 1.
func (a Attribution) Fold(dimensions int) Attribution {
	dimensions = max(1, dimensions)
	folded := Attribution{High: make([]float64, dimensions), Low: make([]float64, dimensions)}
	for i := range a.High {
		folded.High[i%dimensions] += a.High[i]
		folded.Low[i%dimensions] += a.Low[i]
	}
	return folded
}

// Attribute explains the score that Score gives for the same point, and takes as little notice of it: all parts are 0
// until the forest is Ready. Errors are those of Score.
//
// A point that equals sampled ones is judged in comparison with the other points of the sample. A tree in which there
// are none follows the trees in which there are; if none has any, the score is shared out evenly.
func (f *Forest) Attribute(point []float64) (Attribution, error) {
	if err := f.take(point); err != nil {
		return Attribution{}, err
	}
	coordinates := f.config.coordinates()
	a := Attribution{High: make([]float64, coordinates), Low: make([]float64, coordinates)}
	if !f.Ready() {
		return a, nil
	}
	if len(f.scratch.share) != 2*coordinates {
		f.scratch.share = make([]float64, 2*coordinates)
	}
	var unexplained float64
	for i := range f.trees {
		scale, explained := f.attributeIn(&f.trees[i])
		scale /= float64(len(f.trees))
		if !explained {
			unexplained += scale
			continue
		}
		for j := range coordinates {
			a.Low[j] += float64(f.scratch.share[2*j] * scale)
			a.High[j] += float64(f.scratch.share[2*j+1] * scale)
		}
	}
	if unexplained > 0 {
		a.spread(unexplained)
	}
	return a, nil
}

// spread adds score to the parts in proportion to them, or evenly if they are all 0.
func (a Attribution) spread(score float64) {
	sum := a.Sum()
	for i := range a.High {
		if sum == 0 {
			a.High[i] = score / float64(2*len(a.High))
			a.Low[i] = a.High[i]
		} else {
			a.High[i] += float64(a.High[i] / sum * score)
			a.Low[i] += float64(a.Low[i] / sum * score)
		}
	}
}

// attributeIn fills scratch.share with one tree's attribution, low and high per coordinate, and returns the
// factor that makes it add up to the tree's score. It follows scoreIn, coordinate by coordinate. A tree that holds
// nothing but the query has a score but nothing to explain it: the factor then is the score.
func (f *Forest) attributeIn(t *tree) (factor float64, explained bool) {
	query, share, path, in := f.scratch.query, f.scratch.share, f.scratch.path, &f.in
	clear(share)
	leaf, depth := t.descend(query, path)
	f.deepen(depth + 1)
	twin := f.store.window(t.row(leaf))
	size := int(t.sample.n)
	if distance := distanceToPoint(query, twin); distance > 0 {
		pointBox(f.scratch.box, twin)
		addShares(share, query, f.scratch.box, f.scratch.unseen[depth]/distance)
		below := leafRef(leaf)
		for level := depth - 1; level >= 0; level-- {
			t.encloseSibling(in.box, path[level], below, &f.store)
			below = path[level]
			if !f.mixShares(level, in.box, spanOf(in.box)) {
				break
			}
		}
		return f.log2(size + 1), true
	}
	value := f.seenValue(depth, t.mass(leaf), size)
	if depth == 0 {
		return float64(value * f.log2(size+1)), false
	}
	f.shareWithoutLeaf(t, leaf, depth)
	var sum float64
	for _, v := range share {
		sum += v
	}
	return float64(value*f.log2(size+1)) / sum, true
}

// shareWithoutLeaf fills scratch.share as if the tree did not have the leaf at depth, not 0, that equals the query.
func (f *Forest) shareWithoutLeaf(t *tree, leaf, depth int) {
	query, share, box := f.scratch.query, f.scratch.share, f.scratch.box
	below := leafRef(leaf)
	for level := depth - 1; level >= 0; level-- {
		if level == depth-1 {
			for i := range box {
				box[i] = nowhere()
			}
		}
		t.encloseSibling(box, f.scratch.path[level], below, &f.store)
		if level == depth-1 {
			addShares(share, query, box, f.scratch.unseen[level]/distanceToBox(query, box))
		} else if !f.mixShares(level, box, spanOf(box)) {
			return
		}
		below = f.scratch.path[level]
	}
}

// mixShares blends into scratch.share the value that the query has if it is separated at a node of the given
// depth with the given box; it returns false if the box contains the query.
func (f *Forest) mixShares(depth int, box []side, span float64) bool {
	distance := distanceToBox(f.scratch.query, box)
	if distance == 0 {
		return false
	}
	stay := 1 - distance/(span+distance)
	for i := range f.scratch.share {
		f.scratch.share[i] *= stay
	}
	addShares(f.scratch.share, f.scratch.query, box, f.scratch.unseen[depth]/(span+distance))
	return true
}

// addShares adds to each coordinate's share by how much the query is outside the box, times scale.
func addShares(share []float64, query []float32, box []side, scale float64) {
	for i, x := range query {
		if distance := box[i].distance(x); x < box[i][0] {
			share[2*i] += float64(distance * scale)
		} else {
			share[2*i+1] += float64(distance * scale)
		}
	}
}
