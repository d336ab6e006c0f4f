package rowfile

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// TestHybridEncodingEqualsTheLibrarys compares our run length / bit packing hybrid with the Parquet library's, both
// ways.
func TestHybridEncodingEqualsTheLibrarys(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 2))
		width := 1 + int(seed%31)
		values := make([]uint32, rng.IntN(3000))
		for i := 0; i < len(values); {
			v := rng.Uint32() & (1<<width - 1)
			for range min(1+rng.IntN(1+rng.IntN(40)), len(values)-i) {
				values[i] = v
				i++
			}
		}
		signed := make([]int32, len(values))
		for i, v := range values {
			signed[i] = int32(v)
		}
		ours := appendHybrid(nil, values, width)
		runs := vector{}.noRuns()
		runs.addValues(texts, vector{tags: values}, 0, len(values))
		if inRuns := appendHybridRuns(nil, runs.tags, runs.ends, width); !slices.Equal(inRuns, ours) {
			t.Fatalf("seed %d: %d bytes from runs, want the %d from values", seed, len(inRuns), len(ours))
		}
		back, err := (&rle.Encoding{BitWidth: width}).DecodeInt32(nil, slices.Clone(ours))
		if err != nil || len(back) < len(signed) || !slices.Equal(back[:len(signed)], signed) {
			t.Fatalf("seed %d: the library reads other values: %v", seed, err)
		}
		theirs, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, signed)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{ours, theirs} {
			got := make([]uint32, len(values))
			if err := decodeHybrid(got, append(slices.Clone(data), make([]byte, padding)...), len(data), width); err != nil ||
				!slices.Equal(got, values) {
				t.Fatalf("seed %d: read back other values: %v", seed, err)
			}
			back := vector{}.noRuns()
			fits, err := decodeHybridRuns(&back, append(slices.Clone(data), make([]byte, padding)...), len(data), width,
				len(values), len(values))
			if err != nil || !fits || !slices.Equal(back.tags, runs.tags) || !slices.Equal(back.ends, runs.ends) {
				t.Fatalf("seed %d: read back other runs: %t, %v", seed, fits, err)
			}
		}
	}
}

// TestRunsOfFlagsArePackedAsTheirBits holds runs of flags against their bits, packed one by one.
func TestRunsOfFlagsArePackedAsTheirBits(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		values := make([]uint32, rng.IntN(2000))
		for i := 0; i < len(values); {
			v := rng.Uint32N(2)
			for range min(1+rng.IntN(1+rng.IntN(300)), len(values)-i) {
				values[i] = v
				i++
			}
		}
		runs, back := vector{}.noRuns(), vector{}.noRuns()
		runs.addValues(flags, vector{tags: values}, 0, len(values))
		data := appendBitRuns(nil, runs.tags, runs.ends)
		if want := packBits(nil, values, 1); !slices.Equal(data, want) {
			t.Fatalf("seed %d: other bits", seed)
		}
		decodeBitRuns(&back, append(data, make([]byte, padding)...), len(values))
		if !slices.Equal(back.tags, runs.tags) || !slices.Equal(back.ends, runs.ends) {
			t.Fatalf("seed %d: read back other runs", seed)
		}
	}
}

// TestDeltaEncodingEqualsTheLibrarys compares DELTA_BINARY_PACKED, with deltas of every width.
func TestDeltaEncodingEqualsTheLibrarys(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		values := make([]uint64, rng.IntN(700))
		signed := make([]int64, len(values))
		last := rng.Uint64()
		for i := range values {
			last += rng.Uint64() >> (seed % 64)
			values[i], signed[i] = last, int64(last)
		}
		ours := appendDelta(nil, values)
		back, err := (&delta.BinaryPackedEncoding{}).DecodeInt64(nil, slices.Clone(ours))
		if err != nil || !slices.Equal(back, signed) {
			t.Fatalf("seed %d: the library reads other values: %v", seed, err)
		}
		theirs, err := (&delta.BinaryPackedEncoding{}).EncodeInt64(nil, signed)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{ours, theirs} {
			got := make([]uint64, len(values))
			if err := decodeDelta(got, append(slices.Clone(data), make([]byte, padding)...), len(data)); err != nil ||
				!slices.Equal(got, values) {
				t.Fatalf("seed %d: read back other values: %v", seed, err)
			}
		}
	}
}

func FuzzPages(f *testing.F) {
	f.Add(appendHybrid(nil, []uint32{1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3}, 3), uint16(11), 3)
	f.Add(appendDelta(nil, []uint64{5, 6, 8, 1 << 60}), uint16(4), 0)
	f.Fuzz(func(t *testing.T, data []byte, values uint16, width int) {
		n := len(data)
		data = append(data, make([]byte, padding)...)
		plain, runs := make([]uint32, values), vector{}.noRuns()
		err := decodeHybrid(plain, data, n, width&63)
		fits, inRuns := decodeHybridRuns(&runs, data, n, width&63, int(values), int(values))
		if (err == nil) != (inRuns == nil && fits) || err == nil && !slices.Equal(runs.expand(texts, vector{}).tags, plain) {
			t.Errorf("%v, in runs %t, %v, or other values", err, fits, inRuns)
		}
		_ = decodeDelta(make([]uint64, values), data, n)
	})
}

func BenchmarkEncodings(b *testing.B) {
	const n = 16384
	rng := rand.New(rand.NewPCG(1, 4))
	index, times := make([]uint32, n), make([]uint64, n)
	for i := range n {
		index[i] = rng.Uint32() >> 18
		times[i] = uint64(i)*1_000_000 + rng.Uint64N(200)
	}
	packed, deltas := appendHybrid(nil, index, 14), appendDelta(nil, times)
	hn, dn := len(packed), len(deltas)
	packed, deltas = append(packed, make([]byte, padding)...), append(deltas, make([]byte, padding)...)
	var buf []byte
	for name, run := range map[string]func(){
		"HybridWrite": func() { buf = appendHybrid(buf[:0], index, 14) },
		"HybridRead":  func() { _ = decodeHybrid(index, packed, hn, 14) },
		"DeltaWrite":  func() { buf = appendDelta(buf[:0], times) },
		"DeltaRead":   func() { _ = decodeDelta(times, deltas, dn) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/value")
		})
	}
}
