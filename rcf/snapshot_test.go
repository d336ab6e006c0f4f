package rcf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// fed returns a forest that has learned n points of uniform values with some repetition.
func fed(t testing.TB, c Config, n int) *Forest {
	f := newForest(t, c)
	r := rand.New(rand.NewPCG(5, uint64(n)))
	point := make([]float64, f.config.Dimensions)
	for range n {
		for j := range point {
			point[j] = math.Floor(r.Float64() * 50)
		}
		process(t, f, point)
	}
	return f
}

func snapshotOf(t testing.TB, f *Forest) []byte {
	data, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sealed returns data with the checksum that its contents have.
func sealed(data []byte) []byte {
	data = bytes.Clone(data)
	body := len(data) - 4
	binary.LittleEndian.PutUint32(data[body:], checksum(data[:body]))
	return data
}

func TestAppendBinaryAppends(t *testing.T) {
	f := fed(t, configs[4], 100)
	data, err := f.AppendBinary([]byte("prefix"))
	if err != nil || !bytes.Equal(data, append([]byte("prefix"), snapshotOf(t, f)...)) {
		t.Errorf("not prefix and snapshot (%v)", err)
	}
}

// Any damage is noticed, and leaves the forest as it was.
func TestADamagedSnapshotIsRefused(t *testing.T) {
	data := snapshotOf(t, fed(t, configs[4], 100))
	f := fed(t, configs[0], 30)
	before := snapshotOf(t, f)
	refuse := func(what string, at int, damaged []byte) {
		t.Helper()
		if err := f.UnmarshalBinary(damaged); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s %d: %v", what, at, err)
		}
	}
	for i := range data {
		refuse("cut at", i, data[:i])
		for bit := range 8 {
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << bit
			refuse("flipped a bit at", i, damaged)
		}
	}
	refuse("extended by", 1, append(bytes.Clone(data), 0))
	refuse("extended and sealed by", 4, sealed(append(bytes.Clone(data), 0, 0, 0, 0)))
	if !bytes.Equal(before, snapshotOf(t, f)) {
		t.Error("a refused snapshot changed the forest")
	}
}

// Small inputs that claim to be large cost little.
func TestHostileSnapshotsAllocateLittle(t *testing.T) {
	data := snapshotOf(t, fed(t, Config{Trees: 2, SampleSize: 4, OutputAfter: 1}, 12))
	claim := func(offset int, value uint32) []byte {
		hostile := bytes.Clone(data)
		binary.LittleEndian.PutUint32(hostile[offset:], value)
		return hostile
	}
	var hostile [][]byte
	for offset := 6; offset+4 < len(data); offset++ {
		for _, value := range []uint32{math.MaxUint32, 1 << 31, 1 << 24, 1 << 15, 4096, 0x7fff7fff, 0} {
			hostile = append(hostile, sealed(claim(offset, value)))
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, h := range hostile {
		var f Forest
		_ = f.UnmarshalBinary(h)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(hostile)); each > 16<<10 {
		t.Errorf("%d bytes allocated for a snapshot of %d", each, len(data))
	}
}

// FuzzUnmarshal: whatever the bytes, an error or a forest that is sound and lives on.
func FuzzUnmarshal(f *testing.F) {
	for _, c := range configs {
		for _, n := range []int{0, 1, 7, 60} {
			f.Add(snapshotOf(f, fed(f, c, n)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4 {
			return
		}
		data = sealed(data)
		var forest Forest
		if err := forest.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		reference := &referenceForest{config: forest.config}
		point := make([]float64, forest.config.Dimensions)
		for i := range 20 {
			point[0] = float64(i % 7)
			if score := process(t, &forest, point); math.IsNaN(score) || math.IsInf(score, 0) || score < 0 {
				t.Fatalf("score %v", score)
			}
			if _, err := forest.Attribute(point); err != nil {
				t.Fatal(err)
			}
		}
		for i := range forest.trees {
			if forest.trees[i].leaves < 300 {
				reference.checkTree(t, &forest, &forest.trees[i])
			}
		}
		again := snapshotOf(t, &forest)
		var second Forest
		if err := second.UnmarshalBinary(again); err != nil || !bytes.Equal(again, snapshotOf(t, &second)) {
			t.Fatalf("its own snapshot is not restored: %v", err)
		}
	})
}

// TestTheLargestTreesNameEveryNode: trees of the largest SampleSize have as many nodes as a ref can name, whichever
// keep their boxes.
func TestTheLargestTreesNameEveryNode(t *testing.T) {
	f := newForest(t, Config{Dimensions: 2, Trees: 1, SampleSize: MaxSampleSize, Seed: 1})
	compact := newForest(t, Config{Dimensions: 2, Trees: 1, SampleSize: MaxSampleSize, Seed: 1, Compact: true})
	r := rand.New(rand.NewPCG(1, 2))
	random := func() []float64 { return []float64{r.Float64(), r.Float64()} }
	for range 2 * MaxSampleSize {
		point := random()
		if a, b := process(t, f, point), process(t, compact, point); a != b {
			t.Fatalf("after %d points: score %v, compact %v", f.Seen(), a, b)
		}
	}
	for _, one := range []*Forest{f, compact} {
		if n := len(one.trees[0].order()); n != 2*MaxSampleSize-1 {
			t.Errorf("the tree has %d nodes and leaves, want %d", n, 2*MaxSampleSize-1)
		}
		var restored Forest
		if err := restored.UnmarshalBinary(snapshotOf(t, one)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			point := random()
			if a, b := process(t, one, point), process(t, &restored, point); a != b {
				t.Fatalf("score %v, restored %v", a, b)
			}
		}
	}
}

// TestASampleWithTheSmallestKeyIsRestored: a sample with the smallest key there is can be restored.
func TestASampleWithTheSmallestKeyIsRestored(t *testing.T) {
	f := fed(t, configs[0], 30)
	sample := &f.trees[0].sample
	for place := range sample.key {
		if key := &sample.key[place]; key.held() && !key.shared() {
			*key = keyOf(smallestKey)
			sample.regroup(f.trees[0].rows)
			break
		}
	}
	var restored Forest
	if err := restored.UnmarshalBinary(snapshotOf(t, f)); err != nil {
		t.Error(err)
	}
}
