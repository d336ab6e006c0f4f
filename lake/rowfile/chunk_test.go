package rowfile

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// TestChunksAreReadAsTheyWereWritten writes and reads chunks of every kind of column, those too that the table does
// not have today: optional numbers and flags.
func TestChunksAreReadAsTheyWereWritten(t *testing.T) {
	for seed := range uint64(240) {
		rng := rand.New(rand.NewPCG(seed, 9))
		c := column{name: "c", kind: kind(seed % 4), optional: seed/4%2 == 1, delta: seed%4 == 0 && seed/8%2 == 1}
		rows, distinct := 1+rng.IntN(3*pageRows), 1+rng.IntN([]int{1, 5, 300, 1 << 20}[rng.IntN(4)])
		dict := newTextDict()
		for i := range min(distinct, 500) {
			dict.placeOf(fmt.Sprint("text-", i))
		}
		v := vector{}.sized(c.kind, rows)
		// the longest have pages of nothing but nulls between others
		stretch, until, n := 1+rng.IntN([]int{1, 40, 2 * pageRows}[seed/16%3]), 0, 0
		for i := range rows {
			if i == until {
				n, until = rng.IntN(distinct), i+1+rng.IntN(stretch)
				if i > 0 && rng.IntN(3) == 0 || c.optional && rng.IntN(4) == 0 {
					n = 0
				}
			}
			switch c.kind {
			case integers:
				v.numbers[i] = uint64(int64(n) - 2)
			case floats:
				v.numbers[i] = math.Float64bits(float64(n) / 7)
			case texts:
				v.tags[i] = uint32(n % len(dict.texts))
			case flags:
				v.tags[i] = uint32(n % 2)
			}
		}
		data, ch, err := newChunkWriter().write(nil, c, v, dict)
		if err != nil {
			t.Fatal(err)
		}
		index := chunkIndex{present: true, codec: format.Zstd, size: int64(len(data)), dictionary: ch.dictionary > 0}
		got := vector{}.sized(c.kind, rows)
		if err := newChunkReader(dict).read(got, c, &index, data); err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, c, err)
		}
		if !slices.Equal(got.numbers, v.numbers) || !slices.Equal(got.tags, v.tags) {
			t.Fatalf("seed %d, %+v, %d rows, %v: read back other values", seed, c, rows, ch.encoding)
		}
		if ch.size() != len(data) || len(ch.pages) != (rows+pageRows-1)/pageRows {
			t.Fatalf("seed %d: %d pages of %d bytes, want %d bytes", seed, len(ch.pages), ch.size(), len(data))
		}
		checkRuns(t, c, v, &index, data, dict)
		from := rng.IntN(rows)
		to := from + rng.IntN(rows-from) + 1
		first := from / pageRows
		part := vector{}.sized(c.kind, to-from)
		if err := newChunkReader(dict).readPart(part, c, &index, data[:ch.dictionary], data[ch.pages[first].offset:],
			from-ch.pages[first].row); err != nil {
			t.Fatalf("seed %d: rows %d to %d: %v", seed, from, to, err)
		}
		if want := v.slice(c.kind, from, to); !slices.Equal(part.numbers, want.numbers) ||
			!slices.Equal(part.tags, want.tags) {
			t.Fatalf("seed %d: rows %d to %d are others", seed, from, to)
		}
	}
}

// checkRuns writes and reads a column in runs: the bytes must be the same, and the values.
func checkRuns(t *testing.T, c column, v vector, index *chunkIndex, data []byte, dict *textDict) {
	t.Helper()
	runs, back := vector{}.noRuns(), vector{}.noRuns()
	runs.addValues(c.kind, v, 0, v.len())
	again, _, err := newChunkWriter().write(nil, c, runs, dict)
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("%+v: %d bytes from runs, want the %d from values: %v", c, len(again), len(data), err)
	}
	if fits, err := newChunkReader(dict).readRuns(&back, c, index, data, v.len(), v.len()); err != nil || !fits &&
		!c.kind.numeric() {
		t.Fatalf("%+v: %t, %v", c, fits, err)
	}
	if err := newChunkReader(dict).readAsRuns(&back, c, index, data, v.len()); err != nil ||
		!slices.Equal(back.ends, runs.ends) {
		t.Fatalf("%+v: %d runs, want %d: %v", c, len(back.ends), len(runs.ends), err)
	}
	if got := back.expand(c.kind, vector{}); !slices.Equal(got.numbers, v.numbers) || !slices.Equal(got.tags, v.tags) {
		t.Fatalf("%+v: read other values in runs", c)
	}
}

// TestContentHashesOfRunsAndOfRowsAreEqual holds the hash of some rows, in runs and not, against the sum over one
// row after the other.
func TestContentHashesOfRunsAndOfRowsAreEqual(t *testing.T) {
	dict := newTextDict()
	dict.placeOf("a text")
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 10))
		k, rows := kind(seed%4), 1+rng.IntN(2000)
		runs := vector{}.noRuns()
		for runs.rows() < rows {
			runs.add(k, rng.Uint64N(2), min(1+rng.IntN(1+rng.IntN(40)), rows-runs.rows()))
		}
		v := runs.expand(k, vector{})
		ids, sums := make([]uint64, rows), make(identitySums, rows+1)
		for i := range ids {
			ids[i] = rng.Uint64()
			sums[i+1] = sums[i] + ids[i]
		}
		from := rng.IntN(rows)
		to := from + rng.IntN(rows-from+1)
		var want uint64
		for i := from; i < to; i++ {
			hash := scramble(v.value(k, i))
			if k == texts {
				hash = dict.hash(v.tags[i])
			}
			want += ids[i] * hash
		}
		if inRuns, got := contentSum(k, runs, from, to, sums, dict), contentSum(k, v, from, to, sums, dict); inRuns != want ||
			got != want {
			t.Fatalf("seed %d: %x in runs, %x in values, want %x", seed, inRuns, got, want)
		}
	}
}

// TestAPageWithNaNHasNoBounds: with NaN among the values nothing can be said of a page, nor of its chunk.
func TestAPageWithNaNHasNoBounds(t *testing.T) {
	v := vector{numbers: make([]uint64, 2*pageRows)}
	for i := range v.numbers {
		v.numbers[i] = math.Float64bits(float64(i%50) - 20)
	}
	c := column{name: "c", kind: floats}
	_, ch, err := newChunkWriter().write(nil, c, v, nil)
	if err != nil || !ch.indexIsValid || math.Float64frombits(uint64(number(ch.lo))) != -20 ||
		math.Float64frombits(uint64(number(ch.hi))) != 29 {
		t.Fatalf("bounds %x to %x, %v", ch.lo, ch.hi, err)
	}
	v.numbers[7] = math.Float64bits(math.NaN())
	if _, ch, err = newChunkWriter().write(nil, c, v, nil); err != nil || ch.indexIsValid {
		t.Fatalf("with NaN: %v, valid %t", err, ch.indexIsValid)
	}
}
