package rcf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrSnapshot is wrapped by every error of UnmarshalBinary: the bytes are damaged, of another version or no
// snapshot at all. The mend is an older snapshot and a replay of the points since.
var ErrSnapshot = errors.New("rcf: unreadable snapshot")

// UnmarshalBinary replaces the forest by the one in a snapshot, which from then on behaves as the original in
// every bit. On an error, which wraps ErrSnapshot, the forest is as it was. Bytes that are no snapshot cannot make it
// panic, nor allocate more than the trees that they spell out need: about 16 bytes per leaf and coordinate.
func (f *Forest) UnmarshalBinary(data []byte) error {
	restored, err := decode(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	*f = *restored
	f.deepen(0) // f.in is about f now
	return nil
}

// decode reads a whole snapshot.
func decode(data []byte) (*Forest, error) {
	if len(data) < snapshotHeader+4 {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	if string(data[:4]) != snapshotMagic {
		return nil, errors.New("it does not begin as a snapshot does")
	}
	if v := binary.LittleEndian.Uint16(data[4:]); v != snapshotVersion {
		return nil, fmt.Errorf("format version %d, this program reads version %d", v, snapshotVersion)
	}
	body := data[:len(data)-4]
	if binary.LittleEndian.Uint32(data[len(body):]) != checksum(body) {
		return nil, errors.New("the checksum does not fit, bytes are damaged or missing")
	}
	return decodeForest(body[6:])
}

// decodeForest reads what stands between version and checksum.
func decodeForest(data []byte) (*Forest, error) {
	var c Config
	for _, field := range [...]*int{&c.Dimensions, &c.Shingle, &c.Trees, &c.SampleSize, &c.OutputAfter} {
		*field, data = int(binary.LittleEndian.Uint32(data)), data[4:]
	}
	c.TimeDecay = math.Float64frombits(binary.LittleEndian.Uint64(data))
	c.InitialAcceptFraction = math.Float64frombits(binary.LittleEndian.Uint64(data[8:]))
	c.Seed = binary.LittleEndian.Uint64(data[16:])
	c.Compact = data[24] != 0
	if err := c.check(); err != nil {
		return nil, err
	}
	if data[24] > 1 {
		return nil, fmt.Errorf("Compact is %d", data[24])
	}
	data = data[25:]
	f := &Forest{config: c, seen: binary.LittleEndian.Uint64(data), clock: newClock(c.decay())}
	f.clock.epoch = binary.LittleEndian.Uint64(data[8:])
	if f.seen >= 1<<62 || f.clock.epoch > f.seen || f.clock.elapsed(f.seen) > maxElapsed+2 {
		return nil, fmt.Errorf("%d points seen, epoch %d", f.seen, f.clock.epoch)
	}
	rows := int(binary.LittleEndian.Uint32(data[16:]))
	r := &unpacker{in: data[20:]}
	if err := f.decodeStore(r, rows); err != nil {
		return nil, err
	}
	if r.left() < c.Trees*snapshotTree {
		return nil, fmt.Errorf("%d bits are too few for %d trees", r.left(), c.Trees)
	}
	f.trees = make([]tree, c.Trees)
	for i := range f.trees {
		if err := f.decodeTree(r, &f.trees[i]); err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
	}
	if left := r.left(); left >= 8 || r.unpack(left) != 0 {
		return nil, errors.New("there is something behind the last tree")
	}
	return f, nil
}

// decodeStore reads the rows.
func (f *Forest) decodeStore(r *unpacker, rows int) error {
	d, k := f.config.Dimensions, f.config.Shingle
	if uint64(rows) < min(f.seen, uint64(k-1)) || uint64(rows) > f.seen {
		return fmt.Errorf("%d rows after %d points", rows, f.seen)
	}
	if rows > r.left()/(smallestFloat*d) {
		return fmt.Errorf("%d bits are too few for %d rows", r.left(), rows)
	}
	f.store = store{d: d, k: k}
	f.store.grow(rows)
	f.store.n, f.store.values = rows, f.store.values[:rows*d]
	exponents := exponents(d)
	for i := range f.store.values {
		v := r.float(&exponents[i%d])
		if !finite(v) {
			return fmt.Errorf("value %v", v)
		}
		f.store.values[i] = v
	}
	return r.err()
}

// decodeTree reads one tree and checks that it is one that inserting points could have made.
func (f *Forest) decodeTree(r *unpacker, t *tree) error {
	samples, leaves := int(r.unpack(16)), int(r.unpack(16))
	t.sample.random = splitMix(r.unpack64())
	t.sample.next = r.unpack64()
	if err := r.err(); err != nil {
		return err
	}
	size := f.config.SampleSize
	if samples > size || leaves > samples || leaves == 0 && samples > 0 || uint64(samples) > f.seen {
		return fmt.Errorf("%d leaves for %d samples after %d points", leaves, samples, f.seen)
	}
	if samples == size && t.sample.next < f.seen {
		return fmt.Errorf("next acceptance at %d, after %d points", t.sample.next, f.seen)
	}
	if leaves == 0 {
		if f.seen >= uint64(f.config.Shingle) {
			return errors.New("it is empty") // a tree takes the first window that it is offered
		}
		return nil
	}
	// What is allocated is in proportion to the input.
	if r.left() < smallestFloat*(samples+leaves-1) {
		return errTruncated
	}
	f.resize([]*tree{t}, samples+1)
	under, err := decodeShape(r, leaves)
	if err != nil {
		return err
	}
	refs := make([]ref, len(under))
	if err := f.decodeNodes(r, t, under, refs); err != nil {
		return err
	}
	if err := f.decodeLeaves(r, t, samples, under, refs); err != nil {
		return err
	}
	t.leaves = uint16(leaves)
	return f.decodeBoxes(t, under, refs)
}

// decodeShape reads which nodes hang where, and returns for each node and leaf, in preorder, how many leaves are
// under it.
func decodeShape(r *unpacker, leaves int) ([]uint16, error) {
	under := make([]uint16, 2*leaves-1) // 1 for a leaf, first 0 for a node
	open := 1                           // subtrees that are yet to come
	for i := range under {
		if open == 0 {
			return nil, errors.New("its shape ends early")
		}
		if r.unpack(1) == 0 {
			under[i] = 1
			open--
		} else {
			open++
		}
	}
	if open > 0 {
		return nil, errors.New("its shape does not close")
	}
	for i := len(under) - 1; i >= 0; i-- {
		if under[i] == 0 {
			under[i] = under[i+1] + under[rightOf(under, i)]
		}
	}
	return under, r.err()
}

// rightOf returns the right child of node i in preorder; the left one is i+1.
func rightOf(under []uint16, i int) int { return i + 2*int(under[i+1]) }

// decodeNodes reads the cuts.
func (f *Forest) decodeNodes(r *unpacker, t *tree, under []uint16, refs []ref) error {
	coordinates, least := f.config.coordinates(), f.config.leastBoxed()
	exponent := uint8(exponentOfOne)
	for i, n := range under {
		if n == 1 {
			continue
		}
		dim, cut := int(r.unpack(width(coordinates))), r.float(&exponent)
		if dim >= coordinates || !finite(cut) {
			return fmt.Errorf("cut at %v in coordinate %d of %d", cut, dim, coordinates)
		}
		node := t.newNode(int(n) >= least)
		refs[i] = nodeRef(node)
		t.slots[node].cut = sortable(cut)
		t.cutDim[node] = uint16(dim)
	}
	return r.err()
}

// decodeLeaves reads the samples.
func (f *Forest) decodeLeaves(r *unpacker, t *tree, samples int, under []uint16, refs []ref) error {
	exponent, smallest := uint8(exponentOfOne), keyOf(smallestKey)
	leastKey := smallest.value()
	for i, n := range under {
		if n > 1 {
			continue
		}
		row, mass := uint32(r.unpack(width(f.store.rows()))), int(r.gamma())
		if int(row)+f.store.k > f.store.rows() {
			return fmt.Errorf("window at row %d of %d", row, f.store.rows())
		}
		if mass > samples-int(t.sample.n) {
			return fmt.Errorf("more than %d samples", samples)
		}
		refs[i] = leafRef(int(t.sample.n))
		above := float32(math.MaxFloat32)
		for range mass {
			key := r.magnitude(&exponent)
			if !(key >= leastKey && key <= above) {
				return fmt.Errorf("sample with key %v", key)
			}
			above = key
			place := int(t.sample.n)
			t.setRow(place, row)
			t.sample.put(key)
			if mass > 1 {
				t.sample.key[place].share()
			}
			t.sample.push(t.rows)
		}
	}
	if int(t.sample.n) != samples {
		return fmt.Errorf("%d of %d samples", t.sample.n, samples)
	}
	return r.err()
}

// decodeBoxes puts the tree together, computes the boxes and checks that every cut separates its node's children.
func (f *Forest) decodeBoxes(t *tree, under []uint16, refs []ref) error {
	coordinates := f.config.coordinates()
	t.root = refs[0]
	var boxes []side // of the subtrees that are done and whose parents are not
	for i := len(under) - 1; i >= 0; i-- {
		if under[i] == 1 {
			boxes = append(boxes, make([]side, coordinates)...)
			pointBox(boxes[len(boxes)-coordinates:], f.store.window(t.row(refs[i].index())))
			continue
		}
		n, node := len(boxes)-coordinates, refs[i].index()
		left, box := boxes[n:], boxes[n-coordinates:n]
		slot, dim := &t.slots[node], t.cutDim[node]
		if sortable(left[dim][1]) > slot.cut || sortable(box[dim][0]) <= slot.cut {
			return fmt.Errorf("a node has points on the wrong side of its cut in coordinate %d", dim)
		}
		slot.child = [2]ref{refs[i+1], refs[rightOf(under, i)]}
		encloseBox(box, left)
		boxes = boxes[:n]
		if t.keepsBox(node) {
			copy(t.boxOf(node, coordinates), box)
		}
	}
	return nil
}
