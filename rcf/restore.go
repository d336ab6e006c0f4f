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
// panic, nor allocate more than the trees that they spell out need: about 8 bytes per leaf and coordinate.
func (f *Forest) UnmarshalBinary(data []byte) error {
	restored, err := decode(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	*f = *restored
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
	r := &unpacker{in: body[6:]}
	f, err := decodeForest(r)
	if err != nil {
		return nil, err
	}
	if len(r.in) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(r.in))
	}
	return f, nil
}

// decodeForest reads what stands between version and checksum.
func decodeForest(r *unpacker) (*Forest, error) {
	var c Config
	for _, field := range [...]*int{&c.Dimensions, &c.Shingle, &c.Trees, &c.SampleSize, &c.OutputAfter} {
		*field = int(r.uint32())
	}
	c.TimeDecay = math.Float64frombits(r.uint64())
	c.InitialAcceptFraction = math.Float64frombits(r.uint64())
	c.Seed = r.uint64()
	if err := c.check(); err != nil {
		return nil, err
	}
	f := &Forest{config: c, seen: r.uint64(), clock: newClock(c.decay())}
	f.clock.epoch = r.uint64()
	if f.seen >= 1<<62 || f.clock.epoch > f.seen || f.clock.elapsed(f.seen) > maxElapsed+2 {
		return nil, fmt.Errorf("%d points seen, epoch %d", f.seen, f.clock.epoch)
	}
	if err := f.decodeStore(r); err != nil {
		return nil, err
	}
	if len(r.in) < c.Trees*snapshotTree {
		return nil, fmt.Errorf("%d bytes are too few for %d trees", len(r.in), c.Trees)
	}
	f.trees = make([]tree, c.Trees)
	for i := range f.trees {
		if err := f.decodeTree(r, &f.trees[i]); err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
	}
	return f, nil
}

// decodeStore reads the rows.
func (f *Forest) decodeStore(r *unpacker) error {
	d, k := f.config.Dimensions, f.config.Shingle
	rows := int(r.uint32())
	if uint64(rows) < min(f.seen, uint64(k-1)) || uint64(rows) > f.seen {
		return fmt.Errorf("%d rows after %d points", rows, f.seen)
	}
	if rows > len(r.in)/(4*d) {
		return fmt.Errorf("%d bytes are too few for %d rows", len(r.in), rows)
	}
	f.store = store{d: d, k: k}
	if rows > 0 {
		f.store.grow(rows)
	}
	f.store.refs = f.store.refs[:rows]
	f.store.values = f.store.values[:rows*d]
	return r.floats(f.store.values)
}

// decodeTree reads one tree and checks that it is one that inserting points could have made.
func (f *Forest) decodeTree(r *unpacker, t *tree) error {
	if len(r.in) < snapshotTree {
		return errTruncated
	}
	samples, leaves := int(r.uint16()), int(r.uint16())
	t.freeNode, t.freeLeaf = noIndex, noIndex
	t.sample.random = splitMix(r.uint64())
	t.sample.next = r.uint64()
	if samples > f.config.SampleSize || leaves > samples || leaves == 0 && samples > 0 || uint64(samples) > f.seen {
		return fmt.Errorf("%d leaves for %d samples after %d points", leaves, samples, f.seen)
	}
	if full := t.sample.full(f.config.SampleSize); full && t.sample.next < f.seen {
		return fmt.Errorf("next acceptance at %d, after %d points", t.sample.next, f.seen)
	}
	if leaves == 0 {
		if f.seen >= uint64(f.config.Shingle) {
			return errors.New("it is empty") // a tree takes the first window that it is offered
		}
		return nil
	}
	// Every leaf costs at least a cut or a key, so that the input bounds what is allocated.
	if len(r.in) < 4*(leaves-1)+4*samples {
		return errTruncated
	}
	t.sample.reserve(samples)
	t.reserve(leaves, f.config.coordinates())
	f.fitScratch(samples + 1)
	if err := t.decodeShape(r, leaves, f.config.coordinates()); err != nil {
		return err
	}
	if err := t.decodeLeaves(r, &f.store); err != nil {
		return err
	}
	if err := t.decodeBoxes(r, &f.store); err != nil {
		return err
	}
	return t.decodeSample(r, samples, f.config.SampleSize, f.seen)
}

// decodeShape reads which nodes hang where and which coordinates they cut. Nodes and leaves are numbered in preorder.
func (t *tree) decodeShape(r *unpacker, leaves, coordinates int) error {
	open := make([]*ref, 0, 64) // places to fill, next on top
	open = append(open, &t.root)
	nodes := 0
	for range 2*leaves - 1 {
		if len(open) == 0 {
			return errors.New("its shape ends early")
		}
		place := open[len(open)-1]
		open = open[:len(open)-1]
		if r.unpack(1) == 0 {
			if t.leaves == leaves {
				return errors.New("its shape has too many leaves")
			}
			*place = leafRef(t.newLeaf(0))
			continue
		}
		if nodes == leaves-1 {
			return errors.New("its shape has too many nodes")
		}
		n := nodeRef(t.newNode())
		nodes++
		*place = n
		open = append(open, &t.slots[n].child[1], &t.slots[n].child[0])
	}
	r.align()
	if len(open) > 0 || t.leaves != leaves {
		return errors.New("its shape does not close")
	}
	for n := range nodes {
		dim := int(r.unpack(width(coordinates)))
		if dim >= coordinates {
			return fmt.Errorf("cut in coordinate %d of %d", dim, coordinates)
		}
		t.cutDim[n] = uint16(dim)
	}
	r.align()
	return r.err()
}

// decodeLeaves reads the leaves' windows.
func (t *tree) decodeLeaves(r *unpacker, s *store) error {
	for leaf := range t.mass {
		row := uint32(r.unpack(width(s.rows())))
		if int(row)+s.k > s.rows() {
			return fmt.Errorf("window at row %d of %d", row, s.rows())
		}
		t.slots[leafRef(leaf)].cut = int32(row)
		t.mass[leaf] = 0
		s.refs[row]++
	}
	r.align()
	return r.err()
}

// decodeBoxes reads the cuts, computes the boxes and checks that every cut separates its node's children.
func (t *tree) decodeBoxes(r *unpacker, s *store) error {
	nodes := t.leaves - 1
	for n := range nodes {
		t.slots[nodeRef(n)].cut = sortable(math.Float32frombits(r.uint32()) + 0)
	}
	coordinates := s.d * s.k
	other := make([]side, coordinates)
	for n := nodes - 1; n >= 0; n-- { // children have higher numbers
		box, dim, slot := t.boxOf(n, coordinates), t.cutDim[n], t.slots[nodeRef(n)]
		t.boxOfChild(box, slot.child[0], s)
		t.boxOfChild(other, slot.child[1], s)
		if sortable(box[dim][1]) > slot.cut || sortable(other[dim][0]) <= slot.cut {
			return fmt.Errorf("node %d has points on the wrong side of its cut", n)
		}
		t.encloseChild(box, slot.child[1], s)
		t.keepSpan(n, box)
	}
	return r.err()
}

// decodeSample reads the reservoir.
func (t *tree) decodeSample(r *unpacker, samples, size int, seen uint64) error {
	t.sample.key = t.sample.key[:samples]
	t.sample.leaf = t.sample.leaf[:samples]
	if err := r.floats(t.sample.key); err != nil {
		return err
	}
	for i, key := range t.sample.key {
		if key < smallestKey || i > 0 && t.sample.key[(i-1)/2] < key {
			return errors.New("its sample is out of order")
		}
		leaf := r.unpack(width(t.leaves))
		if int(leaf) >= t.leaves {
			return fmt.Errorf("sample in leaf %d of %d", leaf, t.leaves)
		}
		t.sample.leaf[i] = uint16(leaf)
		t.mass[leaf]++
	}
	r.align()
	for leaf, mass := range t.mass {
		if mass == 0 {
			return fmt.Errorf("leaf %d without a sample", leaf)
		}
	}
	return r.err()
}

var errTruncated = errors.New("it ends early")

// unpacker reads numbers from the front of in. Beyond its end it gives zeros and remembers that it did.
type unpacker struct {
	in    []byte
	bits  uint64
	n     int
	short bool
}

// err tells whether the input was too short so far.
func (u *unpacker) err() error {
	if u.short {
		return errTruncated
	}
	return nil
}

// bytes takes n bytes, at most 8.
func (u *unpacker) bytes(n int) []byte {
	if len(u.in) < n {
		u.short = true
		u.in = nil
		return make([]byte, 8)[:n]
	}
	b := u.in[:n]
	u.in = u.in[n:]
	return b
}

func (u *unpacker) uint16() uint16 { return binary.LittleEndian.Uint16(u.bytes(2)) }
func (u *unpacker) uint32() uint32 { return binary.LittleEndian.Uint32(u.bytes(4)) }
func (u *unpacker) uint64() uint64 { return binary.LittleEndian.Uint64(u.bytes(8)) }

// floats fills dst with finite float32s.
func (u *unpacker) floats(dst []float32) error {
	for i := range dst {
		v := math.Float32frombits(u.uint32())
		if !(math.Abs(float64(v)) <= math.MaxFloat32) {
			return fmt.Errorf("value %v", v)
		}
		dst[i] = v + 0 // no negative zero
	}
	return u.err()
}

// unpack takes a number of width bits, at most 32.
func (u *unpacker) unpack(width int) uint64 {
	for u.n < width {
		u.bits |= uint64(u.bytes(1)[0]) << u.n
		u.n += 8
	}
	v := u.bits & (1<<width - 1)
	u.bits >>= width
	u.n -= width
	return v
}

// align drops the rest of a byte.
func (u *unpacker) align() { u.bits, u.n = 0, 0 }
