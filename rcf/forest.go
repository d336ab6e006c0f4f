package rcf

import (
	"errors"
	"fmt"
	"math"
)

// Forest is a random cut forest; New makes one. The zero Forest is good only for UnmarshalBinary. A Forest must
// not be copied and is not safe for concurrent use: Score and Attribute too use its scratch memory.
type Forest struct {
	config  Config // defaults applied
	seen    uint64 // points given to Update
	clock   clock
	store   store
	trees   []tree
	scratch scratch
	kda     bool         // points that equal sampled ones score as in Kinesis Data Analytics
	in      surroundings // of the trees: parts of store and scratch
	line    []uint16     // zeros: the coordinates that are cut, if there is one
}

// scratch is memory that calls reuse; it holds nothing between them.
type scratch struct {
	query   []float32 // the window that a point completes
	keys    []int32   // its coordinates as sortable
	wide    []float64 // its coordinates for calculations
	box     []side    // the box of a node that keeps none
	path    []ref     // the way to a leaf, as long as a tree may be deep
	steps   []step    // the same for several trees
	growth  []growth  // what a climb finds, per level
	leave   leavers   // samples that are still in their trees
	leaving []int32   // the coordinates of some of them as sortable
	unseen  []float64 // unseen[depth] is 1/(depth+1), the value of a point that is separated at that depth
	logs    [2]logOf  // the last logarithms, of odd and of even numbers
	share   []float64 // attribution of one tree, low and high per coordinate
	impute  imputer   // of Impute and its kin
}

// ErrPoint is wrapped by the errors about a point, of Score, Update and all others that are given one.
var ErrPoint = errors.New("rcf: unusable point")

// New returns an empty forest. An error wraps ErrConfig.
func New(config Config) (*Forest, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	f := &Forest{
		config: config,
		clock:  newClock(config.decay()),
		store:  store{d: config.Dimensions, k: config.Shingle},
		trees:  make([]tree, config.Trees),
	}
	seeds := splitMix(config.Seed)
	for i := range f.trees {
		f.trees[i].sample.random = splitMix(seeds.next())
	}
	return f, nil
}

// Config returns the forest's configuration, defaults filled in.
func (f *Forest) Config() Config { return f.config }

// Seen returns the number of points that Update has taken.
func (f *Forest) Seen() uint64 { return f.seen }

// Ready reports whether Score returns scores: OutputAfter points have been seen, and enough for a whole window.
func (f *Forest) Ready() bool {
	return f.seen >= uint64(f.config.OutputAfter) && f.seen >= uint64(f.config.Shingle)
}

// Process scores a point and then learns it, as Score followed by Update.
func (f *Forest) Process(point []float64) (float64, error) {
	if err := f.take(point); err != nil {
		return 0, err
	}
	return f.pass(f.Ready(), true), nil
}

// Score says how much point would stand out as the next point of the stream: 0 until the forest is Ready, then
// a finite positive number (see the package comment). The forest does not learn the point. A point with the
// wrong number of values, or a value that is NaN, infinite or beyond float32, is an error that wraps ErrPoint.
func (f *Forest) Score(point []float64) (float64, error) {
	if err := f.take(point); err != nil {
		return 0, err
	}
	if !f.Ready() {
		return 0, nil
	}
	return f.pass(true, false), nil
}

// Follow scores a point as Score does and makes it the newest point of the stream, but the trees do not learn it: for
// a forest that has learned what is usual and is to judge all else by it.
func (f *Forest) Follow(point []float64) (float64, error) {
	score, err := f.Score(point)
	if err != nil {
		return 0, err
	}
	f.passOver()
	return score, nil
}

// Update makes point the newest point of the stream. Errors are those of Score and leave the forest unchanged.
func (f *Forest) Update(point []float64) error {
	if err := f.take(point); err != nil {
		return err
	}
	f.pass(false, true)
	return nil
}

// take checks point and puts the window that it would complete into scratch.query.
func (f *Forest) take(point []float64) error {
	d, coordinates := f.config.Dimensions, f.config.coordinates()
	if len(point) != d {
		return fmt.Errorf("%w: it has %d values, this forest takes %d", ErrPoint, len(point), d)
	}
	if len(f.scratch.query) != coordinates {
		f.scratch.query = make([]float32, coordinates)
		f.scratch.keys = make([]int32, coordinates)
		f.scratch.leaving = make([]int32, lanes*coordinates)
		f.scratch.wide = make([]float64, coordinates)
		f.scratch.box = make([]side, coordinates)
		f.deepen(0)
	}
	newest := f.scratch.query[coordinates-d:]
	for i, v := range point {
		if !(math.Abs(v) <= math.MaxFloat32) {
			return fmt.Errorf("%w: value %d is %v, give a finite number within float32", ErrPoint, i, v)
		}
		newest[i] = float32(v) + 0 // no negative zero: equal values have equal bits
	}
	if f.seen >= uint64(f.config.Shingle)-1 {
		copy(f.scratch.query[:coordinates-d], f.store.values[len(f.store.values)-(coordinates-d):])
	}
	return nil
}

// pass scores the window in scratch.query in every tree, or has the trees learn it, or both; it returns the mean
// score. Both in one pass need only one walk in each tree.
func (f *Forest) pass(scored, learned bool) float64 {
	row := -1
	if learned {
		row = f.advance()
	}
	for i, v := range f.scratch.query {
		f.scratch.keys[i], f.scratch.wide[i] = sortable(v), float64(v)
	}
	var queries [lanes][]int32
	for lane := range queries {
		queries[lane] = f.scratch.keys
	}
	var sum float64
	var group group
	for i := range f.trees {
		t := &f.trees[i]
		var verdict verdict
		if row >= 0 {
			verdict = t.sample.offer(&f.clock, f.config.SampleSize, f.config.InitialAcceptFraction)
		}
		if t.leaves == 0 && verdict.accept {
			f.place(t, f.around(0), 0, 0, verdict, uint32(row))
		} else if scored || verdict.accept {
			group.add(t, verdict)
		}
		if group.n == lanes || i == len(f.trees)-1 {
			sum = f.visit(&group, &queries, scored, row, sum)
			group.n = 0
			f.takeLeave(lanes)
		}
	}
	f.takeLeave(1)
	return sum / float64(len(f.trees))
}

// group is some trees that are walked at once.
type group struct {
	n       int
	tree    [lanes]*tree
	verdict [lanes]verdict // on the window that is learned, if any
}

func (g *group) add(t *tree, v verdict) {
	g.tree[g.n], g.verdict[g.n] = t, v
	g.n++
}

// visit walks in the trees of a group, scores there and then puts the window at row where it was accepted. It
// adds the scores to sum. They are added in fours first: the last bit of a score, which may not change, depends on it.
func (f *Forest) visit(g *group, queries *[lanes][]int32, scored bool, row int, sum float64) float64 {
	if g.n == 0 {
		return sum
	}
	depth := f.walk(&g.tree, queries, g.n)
	boxedLine := len(f.scratch.query) == 1 && f.config.boxedShare() == 1
	for first := 0; first < g.n; first += 4 {
		var four float64
		var values [4]float64
		undecided := uint32(1<<4 - 1)
		if scored && boxedLine {
			undecided = f.climbFour((*[4]*tree)(g.tree[first:]), first, (*[4]uint16)(depth[first:]), &values)
		}
		for lane := first; lane < min(g.n, first+4); lane++ {
			t, accept := g.tree[lane], g.verdict[lane].accept
			if undecided>>(lane-first)&1 == 0 && !accept {
				four += f.scaled(values[lane-first], t)
				continue
			}
			d, in := int(depth[lane]), f.around(lane)
			value, top := f.climb(t, in, d)
			if scored {
				four += f.scoreIn(t, in, d, top, value)
			}
			if accept {
				f.place(t, in, d, top, g.verdict[lane], uint32(row))
			}
		}
		sum += four
	}
	return sum
}

// walk goes down in the first n of several trees, in each to the leaf whose cell holds its query, and returns the
// depths of the leaves. The steps are in scratch. Unused lanes n..lanes-1 repeat lane 0; their depths are
// meaningless.
func (f *Forest) walk(trees *[lanes]*tree, queries *[lanes][]int32, n int) (depth [lanes]uint16) {
	for lane := n; lane < lanes; lane++ {
		trees[lane], queries[lane] = trees[0], queries[0]
	}
	for !walk(trees, queries, f.scratch.steps, &depth) {
		f.deepen(2 * len(f.scratch.steps))
	}
	return depth
}

// around returns the surroundings for the tree whose walk is in a lane.
func (f *Forest) around(lane int) *surroundings {
	f.in.lane = lane
	return &f.in
}

// advance makes the point at the end of scratch.query the newest of the stream, and returns the row of the window that
// it completes, or -1 if there have been too few points for one.
func (f *Forest) advance() int {
	f.makeRoom()
	query := f.scratch.query
	f.store.append(query[len(query)-f.config.Dimensions:])
	if age := f.clock.set(f.seen); age != 1 {
		for i := range f.trees {
			f.trees[i].sample.age(age, f.trees[i].rows)
		}
	}
	f.seen++
	return f.store.rows() - f.config.Shingle
}

// place puts the window at row, for which the tree has been walked to a leaf at depth and climbed to top, into the
// tree and its reservoir.
func (f *Forest) place(t *tree, in *surroundings, depth, top int, v verdict, row uint32) {
	f.makeRoomIn(t)
	place := int(t.sample.spare)
	t.sample.put(v.key)
	t.insert(place, f.scratch.query, row, depth, top, in)
	if v.evict {
		evicted, shared := t.sample.evict(t.rows)
		f.scratch.leave.add(leaver{t, evicted, shared})
	} else {
		t.sample.push(t.rows)
	}
	if t.sample.full(f.config.SampleSize) {
		t.sample.schedule(&f.clock)
	}
}

// leaver is a sample that has left its reservoir and is still in its tree. They are taken out together, since each
// takes a walk to its point.
type leaver struct {
	tree   *tree
	place  int
	shared bool // with others in its leaf, perhaps
}

type leavers struct {
	n    int
	each [2*lanes - 1]leaver
}

func (l *leavers) add(one leaver) {
	l.each[l.n] = one
	l.n++
}

// takeLeave takes the last of the leavers out of their trees, as many as are walked at once, if there are at least
// so many.
func (f *Forest) takeLeave(atLeast int) {
	l := &f.scratch.leave
	if l.n < atLeast {
		return
	}
	n := min(l.n, lanes)
	l.n -= n
	var trees [lanes]*tree
	var queries [lanes][]int32
	coordinates := len(f.scratch.query)
	for lane, one := range l.each[l.n : l.n+n] {
		query := f.scratch.leaving[lane*coordinates:][:coordinates]
		for i, v := range f.store.window(one.tree.row(one.place)) {
			query[i] = sortable(v)
		}
		trees[lane], queries[lane] = one.tree, query
	}
	depth := f.walk(&trees, &queries, n)
	for lane, one := range l.each[l.n : l.n+n] {
		one.tree.remove(one.place, one.shared, int(depth[lane]), f.around(lane))
	}
}

// logOf is a number with its logarithm to base 2.
type logOf struct {
	i    int
	log2 float64
}

// log2 returns log2(i), or 0 for 0. It remembers the last results, as the trees' common size is needed again and again.
func (f *Forest) log2(i int) float64 {
	known := &f.scratch.logs[i&1]
	if known.i != i {
		*known = logOf{i, log2Of(i)}
	}
	return known.log2
}

// log2Of returns log2(i), or 0 for 0.
func log2Of(i int) float64 {
	if i == 0 {
		return 0
	}
	return ln(float64(i)) / math.Ln2
}
