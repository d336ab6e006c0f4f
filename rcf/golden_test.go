package rcf

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"
)

// TestScoresAreTheRecordedBits compares scores with recorded ones, bit by bit. They must be the same on every
// platform: forests move between machines. A change of the algorithm changes them too; then record what the test
// prints.
func TestScoresAreTheRecordedBits(t *testing.T) {
	for _, golden := range []struct {
		config Config
		score  string // the last score
		all    uint32 // CRC32C of all scores
		state  uint32 // the last snapshot's checksum
	}{
		{Config{Seed: 1}, "0x1.08f9e6ada6973p+00", 0x3b017aa9, 0x82cf7c8e},
		{Config{Trees: 10, SampleSize: 64, TimeDecay: NoTimeDecay, InitialAcceptFraction: 0.125, Seed: 2},
			"0x1.d0440ca4acfe6p+00", 0x26fe3cc0, 0x9a23973e},
		{Config{Dimensions: 3, Trees: 10, SampleSize: 100, TimeDecay: 0.01, Seed: 3}, "0x1.89a5288cdb4abp-01", 0x7a40b971,
			0x6819b54d},
		{Config{Dimensions: 2, Shingle: 5, Trees: 10, SampleSize: 128, TimeDecay: 0.5, Seed: 4}, "0x1.061161f923c94p+00",
			0x36832c08, 0xbcf57c83},
	} {
		f := newForest(t, golden.config)
		random := splitMix(golden.config.Seed)
		point := make([]float64, f.config.Dimensions)
		var scores []byte
		var score float64
		for i := range 3000 {
			for j := range point {
				point[j] = goldenValue(&random, i)
			}
			score = process(t, f, point)
			scores = binary.LittleEndian.AppendUint64(scores, math.Float64bits(score))
			if a, _ := f.Attribute(point); i%100 == 0 {
				for _, v := range append(a.High, a.Low...) {
					scores = binary.LittleEndian.AppendUint64(scores, math.Float64bits(v))
				}
			}
		}
		snapshot := snapshotOf(t, f)
		last, all := strconv.FormatFloat(score, 'x', -1, 64), checksum(scores)
		state := binary.LittleEndian.Uint32(snapshot[len(snapshot)-4:])
		if last != golden.score || all != golden.all || state != golden.state {
			t.Errorf("%+v:\n got %q, %#08x, %#08x\nwant %q, %#08x, %#08x", golden.config,
				last, all, state, golden.score, golden.all, golden.state)
		}
	}
}

// goldenValue makes a noisy sawtooth with steps and many repetitions, from operations that are exact.
func goldenValue(random *splitMix, i int) float64 {
	noise := float64(random.next()>>50) / 16 // below 1024
	return float64(i%60*16) + math.Floor(noise)/4 + float64(i/1000*300)
}
