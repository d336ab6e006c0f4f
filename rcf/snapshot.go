package rcf

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
)

// A snapshot is one forest in bytes. Up to the rows, numbers are little-endian and floats IEEE; from there to the
// checksum they are packed, see pack.go.
//
//	magic          4 bytes "RCFs"
//	version        uint16, 2
//	config         Dimensions, Shingle, Trees, SampleSize, OutputAfter uint32; TimeDecay,
//	               InitialAcceptFraction float64; Seed uint64; Compact one byte, 0 or 1
//	seen, epoch    uint64
//	rows           uint32, and packed as many rows of Dimensions floats: the values that windows need, oldest first
//	per tree       samples, leaves 16 bits; generator, next acceptance 64 bits; and if there are leaves:
//	  shape        the tree in preorder, one bit each: 1 an inner node, 0 a leaf
//	  nodes        per inner node in preorder: its cut coordinate and its cut
//	  leaves       per leaf in preorder: the row where its point begins, its mass in gamma code, and the keys of as
//	               many samples, largest first; keys of more than 24 bits, which earlier versions wrote, are cut
//	checksum       uint32, CRC32C of all before; packed numbers are padded with zeros to a whole byte before it
//
// A row, a coordinate takes as many bits as the largest needs. Exponents are told by the difference to the one
// before of the same dimension (rows), of the same tree's cuts, or of its keys; the first by that of 1.
//
// Boxes are computed anew from the points. Two forests in the same state have the same snapshot.

const (
	snapshotMagic   = "RCFs"
	snapshotVersion = 2
	snapshotHeader  = 4 + 2 + 5*4 + 3*8 + 1 + 2*8 + 4
	snapshotTree    = 16 + 16 + 64 + 64 // bits
	exponentOfOne   = 127
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
	rows := f.markRows()
	dst = binary.LittleEndian.AppendUint32(dst, uint32(rows))
	w := packer{out: dst}
	f.store.packKept(&w)
	for i := range f.trees {
		f.packTree(&w, &f.trees[i], rows)
	}
	w.flush()
	return binary.LittleEndian.AppendUint32(w.out, checksum(w.out[begin:])), nil
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
	dst = binary.LittleEndian.AppendUint64(dst, c.Seed)
	return append(dst, byte(b2i(c.Compact)))
}

// exponents returns what the first of n kinds of packed floats are told by.
func exponents(n int) []uint8 {
	out := make([]uint8, n)
	for i := range out {
		out[i] = exponentOfOne
	}
	return out
}

// packKept writes the rows that settle has found.
func (s *store) packKept(w *packer) {
	exponents := exponents(s.d)
	for row := range s.n {
		if s.kept[row/64]>>(row%64)&1 == 0 {
			continue
		}
		for i, v := range s.values[row*s.d : (row+1)*s.d] {
			w.float(v, &exponents[i])
		}
	}
}

// packTree writes one tree; rows is the number of rows in the snapshot.
func (f *Forest) packTree(w *packer, t *tree, rows int) {
	w.pack(uint64(t.sample.n), 16)
	w.pack(uint64(t.leaves), 16)
	w.pack64(uint64(t.sample.random))
	w.pack64(t.sample.next)
	if t.leaves == 0 {
		return
	}
	order, coordinates := t.order(), f.config.coordinates()
	for _, r := range order {
		w.pack(uint64(b2i(!r.isLeaf())), 1)
	}
	exponent := exponents(2)
	for _, r := range order {
		if !r.isLeaf() {
			w.pack(uint64(t.cutDim[r.index()]), width(coordinates))
			w.float(unsortable(t.slots[r].cut), &exponent[0])
		}
	}
	samples := t.byRow()
	for _, r := range order {
		if r.isLeaf() {
			w.pack(uint64(f.store.newRow(t.row(r.index()))), width(rows))
			w.keys(t.samplesAt(r.index(), samples), &exponent[1])
		}
	}
}

// sampleOf is a sample for sorting.
type sampleOf struct {
	row uint32
	key float32
}

// byRow lists those samples of the tree that may share their leaf, sorted by their windows, larger keys first.
func (t *tree) byRow() []sampleOf {
	var out []sampleOf
	for place, key := range t.sample.held() {
		if key.held() && key.shared() {
			out = append(out, sampleOf{t.row(place), key.value()})
		}
	}
	slices.SortFunc(out, func(a, b sampleOf) int {
		if a.row != b.row {
			return int(int64(a.row) - int64(b.row))
		}
		return b2i(a.key < b.key) - b2i(a.key > b.key)
	})
	return out
}

// samplesAt lists the samples of a leaf, largest key first. shared is what byRow gives.
func (t *tree) samplesAt(leaf int, shared []sampleOf) []sampleOf {
	row, key := t.row(leaf), t.sample.key[leaf]
	if !key.shared() {
		return []sampleOf{{row, key.value()}}
	}
	first, _ := slices.BinarySearchFunc(shared, row,
		func(s sampleOf, row uint32) int { return int(int64(s.row) - int64(row)) })
	last := first
	for last < len(shared) && shared[last].row == row {
		last++
	}
	return shared[first:last]
}

// keys appends a leaf's mass and the keys of its samples.
func (p *packer) keys(samples []sampleOf, exponent *uint8) {
	p.gamma(uint64(len(samples)))
	for _, s := range samples {
		p.magnitude(s.key, exponent)
	}
}

// order lists the tree's nodes and leaves in preorder.
func (t *tree) order() []ref {
	out := make([]ref, 0, 2*int(t.leaves)-1)
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
