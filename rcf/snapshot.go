package rcf

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
)

// A snapshot is one forest in bytes. Numbers are little-endian, floats IEEE; "packed" fields are numbers of a fixed
// count of bits, lowest bit first, padded with zeros to a whole byte at the end of the group.
//
//	magic          4 bytes "RCFs"
//	version        uint16, 1
//	config         Dimensions, Shingle, Trees, SampleSize, OutputAfter uint32; TimeDecay,
//	               InitialAcceptFraction float64; Seed uint64
//	seen, epoch    uint64
//	rows           uint32, and as many rows of Dimensions float32: the values that windows need, oldest first
//	per tree       samples, leaves uint16; generator, next acceptance uint64; and if there are leaves:
//	  shape        packed: the tree in preorder, 1 an inner node, 0 a leaf
//	  cut coords   packed, per inner node in preorder
//	  windows      packed, per leaf in preorder: the row where its point begins
//	  cuts         float32 per inner node in preorder
//	  keys         float32 per sample, in the order of the reservoir's heap
//	  holders      packed, per sample: the number of its leaf
//	checksum       uint32, CRC32C of all before
//
// Boxes, spans and masses are computed anew from the points. Two forests in the same state have the same snapshot.

const (
	snapshotMagic   = "RCFs"
	snapshotVersion = 1
	snapshotHeader  = 4 + 2 + 5*4 + 3*8 + 2*8 + 4
	snapshotTree    = 2 + 2 + 8 + 8
)

// MarshalBinary returns a snapshot of the forest. Its error is always nil.
func (f *Forest) MarshalBinary() ([]byte, error) {
	return f.AppendBinary(nil)
}

// AppendBinary appends a snapshot of the forest to dst. Its error is always nil. A forest that UnmarshalBinary makes
// of it behaves as this one in every bit.
func (f *Forest) AppendBinary(dst []byte) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, snapshotVersion)
	dst = f.config.append(dst)
	dst = binary.LittleEndian.AppendUint64(dst, f.seen)
	dst = binary.LittleEndian.AppendUint64(dst, f.clock.epoch)
	rows := f.store.mark()
	dst = f.store.appendKept(dst, rows)
	w := packer{out: dst}
	for i := range f.trees {
		f.appendTree(&w, &f.trees[i], rows)
	}
	dst = w.out
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[begin:])), nil
}

// checksum is CRC32C (RFC 3720, B.4).
func checksum(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

func (c Config) append(dst []byte) []byte {
	for _, v := range [...]int{c.Dimensions, c.Shingle, c.Trees, c.SampleSize, c.OutputAfter} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.TimeDecay))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.InitialAcceptFraction))
	return binary.LittleEndian.AppendUint64(dst, c.Seed)
}

// appendKept appends the rows that mark has found, count of them.
func (s *store) appendKept(dst []byte, count int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(count))
	for row := range s.refs {
		if s.kept[row/64]>>(row%64)&1 == 0 {
			continue
		}
		for _, v := range s.values[row*s.d : (row+1)*s.d] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// appendTree writes one tree; rows is the number of rows in the snapshot.
func (f *Forest) appendTree(w *packer, t *tree, rows int) {
	w.out = binary.LittleEndian.AppendUint16(w.out, uint16(len(t.sample.key)))
	w.out = binary.LittleEndian.AppendUint16(w.out, uint16(t.leaves))
	w.out = binary.LittleEndian.AppendUint64(w.out, uint64(t.sample.random))
	w.out = binary.LittleEndian.AppendUint64(w.out, t.sample.next)
	if t.leaves == 0 {
		return
	}
	nodes, leaves := t.preorder()
	coordinates := f.config.coordinates()
	for _, r := range t.order() {
		w.pack(uint64(b2i(!r.isLeaf())), 1)
	}
	w.flush()
	for _, n := range nodes {
		w.pack(uint64(t.cutDim[n]), width(coordinates))
	}
	w.flush()
	number := make([]uint16, len(t.mass))
	for i, leaf := range leaves {
		number[leaf] = uint16(i)
		w.pack(uint64(f.store.newRow(t.row(leaf))), width(rows))
	}
	w.flush()
	for _, n := range nodes {
		w.out = binary.LittleEndian.AppendUint32(w.out, math.Float32bits(unsortable(t.slots[nodeRef(n)].cut)))
	}
	for _, key := range t.sample.key {
		w.out = binary.LittleEndian.AppendUint32(w.out, math.Float32bits(key))
	}
	for _, leaf := range t.sample.leaf {
		w.pack(uint64(number[leaf]), width(t.leaves))
	}
	w.flush()
}

// order lists the tree's nodes and leaves in preorder.
func (t *tree) order() []ref {
	out := make([]ref, 0, 2*t.leaves-1)
	for stack := []ref{t.root}; len(stack) > 0; {
		r := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, r)
		if !r.isLeaf() {
			stack = append(stack, t.slots[r].child[1], t.slots[r].child[0])
		}
	}
	return out
}

// preorder lists the indexes of nodes and of leaves in preorder.
func (t *tree) preorder() (nodes, leaves []int) {
	for _, r := range t.order() {
		if r.isLeaf() {
			leaves = append(leaves, r.index())
		} else {
			nodes = append(nodes, r.index())
		}
	}
	return nodes, leaves
}

// width is how many bits a number below n needs.
func width(n int) int { return bits.Len(uint(max(n, 1) - 1)) }

// packer appends numbers of a few bits each.
type packer struct {
	out  []byte
	bits uint64
	n    int
}

// pack appends the lowest width bits of v, at most 32.
func (p *packer) pack(v uint64, width int) {
	p.bits |= v << p.n
	for p.n += width; p.n >= 8; p.n -= 8 {
		p.out = append(p.out, byte(p.bits))
		p.bits >>= 8
	}
}

// flush pads to a whole byte.
func (p *packer) flush() {
	if p.n > 0 {
		p.out = append(p.out, byte(p.bits))
	}
	p.bits, p.n = 0, 0
}
