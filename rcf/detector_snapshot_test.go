package rcf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// detectorConfigs are small enough for what tests do with every snapshot.
var detectorConfigs = []DetectorConfig{
	{Trees: 3, SampleSize: 16, Window: 4, Rest: 5, Seed: 1},
	{Dimensions: 2, Trees: 2, SampleSize: 8, Window: 3, Tolerance: []float64{0, 0.5}, TimeDecay: 0.1, Rest: NoRest,
		Seed: 2},
	{Views: []View{ShingleView, RollingView, ShingleView}, Trees: 2, SampleSize: 8, Window: 3, Threshold: 0.5, Seed: 3},
	{Dimensions: 2, Trees: 2, SampleSize: 8, Window: 3, Learn: 140, Threshold: 0.5, Views: []View{PointView, ShingleView},
		Seed: 4},
	{Trees: 2, SampleSize: 8, Window: 3, Normalize: NormalizeOn, Threshold: 0.4, Seed: 5},
}

// detectorPoint is the i-th point of a stream with repetitions, steps and spikes.
func detectorPoint(random *splitMix, d, i int) []float64 {
	point := make([]float64, d)
	for j := range point {
		point[j] = goldenValue(random, i)
		if i%70 == 69 {
			point[j] *= 10
		}
	}
	return point
}

// fedDetector has seen n points, which random continues.
func fedDetector(t testing.TB, c DetectorConfig, n int) (d *Detector, random splitMix) {
	d, random = newDetectorOf(t, c), splitMix(7)
	for i := range n {
		judge(t, d, detectorPoint(&random, d.config.Dimensions, i)...)
	}
	return d, random
}

func detectorBytes(t testing.TB, d *Detector) []byte {
	t.Helper()
	data, err := d.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A detector restored at any point of a stream goes on in every bit as if nothing had happened.
func TestDetectorResumes(t *testing.T) {
	for n, c := range detectorConfigs {
		original, random := fedDetector(t, c, 0)
		for i := range 260 {
			data := detectorBytes(t, original)
			var restored Detector
			if err := restored.UnmarshalBinary(data); err != nil {
				t.Fatalf("config %d after %d points: %v", n, i, err)
			}
			if !bytes.Equal(data, detectorBytes(t, &restored)) {
				t.Fatalf("config %d after %d points: the copy's snapshot differs", n, i)
			}
			point := detectorPoint(&random, original.config.Dimensions, i)
			if got, want := judge(t, &restored, point...), judge(t, original, point...); got != want {
				t.Fatalf("config %d after %d points: %+v, want %+v", n, i, got, want)
			}
			if i%20 == 0 { // far ahead, without moving the original
				var other Detector
				if err := other.UnmarshalBinary(detectorBytes(t, original)); err != nil {
					t.Fatal(err)
				}
				compareAhead(t, &restored, &other, random, i)
			}
		}
	}
}

func compareAhead(t *testing.T, a, b *Detector, random splitMix, at int) {
	t.Helper()
	for i := range 150 {
		point := detectorPoint(&random, a.config.Dimensions, at+1+i)
		if got, want := judge(t, a, point...), judge(t, b, point...); got != want {
			t.Fatalf("restored after %d points, %d later: %+v, want %+v", at, i, got, want)
		}
	}
}

// Any damage is noticed, and leaves the detector as it was.
func TestADamagedDetectorSnapshotIsRefused(t *testing.T) {
	for _, c := range detectorConfigs {
		d, _ := fedDetector(t, c, 100)
		data := detectorBytes(t, d)
		victim, _ := fedDetector(t, detectorConfigs[0], 30)
		before := detectorBytes(t, victim)
		refuse := func(what string, at int, damaged []byte) {
			t.Helper()
			if err := victim.UnmarshalBinary(damaged); !errors.Is(err, ErrSnapshot) {
				t.Errorf("%s %d: %v", what, at, err)
			}
		}
		for i := range data {
			refuse("cut at", i, data[:i])
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << (i % 8)
			refuse("flipped a bit at", i, damaged)
		}
		refuse("extended and sealed by", 4, sealed(append(bytes.Clone(data), 0, 0, 0, 0)))
		wrong := bytes.Clone(data)
		wrong[4] = 9
		refuse("sealed as version", 9, sealed(wrong))
		forest := snapshotOf(t, d.views[0].forest)
		refuse("a forest's snapshot", 0, forest)
		if !bytes.Equal(before, detectorBytes(t, victim)) {
			t.Error("a refused snapshot changed the detector")
		}
		var f Forest
		if err := f.UnmarshalBinary(data); !errors.Is(err, ErrSnapshot) {
			t.Errorf("a forest takes a detector's snapshot: %v", err)
		}
	}
}

// Small inputs that claim to be large cost little.
func TestHostileDetectorSnapshotsAllocateLittle(t *testing.T) {
	d, _ := fedDetector(t, detectorConfigs[0], 12)
	data := detectorBytes(t, d)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tries := uint64(0)
	for offset := 6; offset+4 < len(data); offset++ {
		for _, value := range []uint32{math.MaxUint32, math.MaxInt32, 1 << 24, 4096, 16, 0} {
			hostile := bytes.Clone(data)
			binary.LittleEndian.PutUint32(hostile[offset:], value)
			var d Detector
			_ = d.UnmarshalBinary(sealed(hostile))
			tries++
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / tries; each > 32<<10 {
		t.Errorf("%d bytes allocated for a snapshot of %d", each, len(data))
	}
}

// The same results bit for bit on every platform. A change of the algorithm changes them; then record what the test
// prints.
func TestADetectorsResultsAreTheRecordedBits(t *testing.T) {
	for i, want := range []recordedBits{
		{"-0x1.da7761fd4d723p-02", 0xc6c92446},
		{"0x1.48577700d8733p-03", 0x37370461},
		{"-0x1.1593be556eaafp-02", 0x4a062220},
		{"-0x1.bbe3a87e5d3d3p-02", 0x0427fe2a},
		{"-0x1.07ebd1b7834e5p-01", 0x21c5bd0e},
	} {
		d, random := fedDetector(t, detectorConfigs[i], 0)
		states := 0
		if got := bitsOf(t, d, &random, 0, &states); got != want {
			t.Errorf("config %d: {%q, %#08x},", i, got.level, got.all)
		}
		if states == 0 || states == 2000 {
			t.Errorf("config %d: State is true at %d points", i, states)
		}
	}
}

// recordedBits are the last Level of a stream of 2000 points and the checksum of all results.
type recordedBits struct {
	level string
	all   uint32
}

// bitsOf feeds the points from the from-th on and counts those where State is true.
func bitsOf(t *testing.T, d *Detector, random *splitMix, from int, states *int) recordedBits {
	t.Helper()
	var all []byte
	var r Result
	for j := from; j < 2000; j++ {
		r = judge(t, d, detectorPoint(random, d.config.Dimensions, j)...)
		all = appendFloats(all, r.Score, r.Level, r.Grade, r.Confidence)
		*states += b2i(r.State)
	}
	return recordedBits{strconv.FormatFloat(r.Level, 'x', -1, 64), checksum(all)}
}

// A detector whose snapshot the version before wrote, after 150 points, goes on in the bits of its program, also when
// it is snapshot again.
func TestADetectorOfVersion1GoesOnInItsBits(t *testing.T) {
	for i, want := range []recordedBits{
		{"-0x1.63d9897dfa15ap-01", 0x139bbfc0},
		{"-0x1.739cdb190f77cp-04", 0xb38364b7},
		{"-0x1.a05d9d8026006p-02", 0xe1c18918},
	} {
		data, err := os.ReadFile(fmt.Sprintf("testdata/detector-version1-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		var d, again Detector
		if err := d.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalBinary(detectorBytes(t, &d)); err != nil {
			t.Fatal(err)
		}
		random := splitMix(7)
		for j := range 150 {
			detectorPoint(&random, d.config.Dimensions, j)
		}
		for _, d := range []*Detector{&d, &again} {
			random, states := random, 0
			if got := bitsOf(t, d, &random, 150, &states); got != want || states == 0 {
				t.Errorf("config %d: %+v and %d points of State, want %+v", i, got, states, want)
			}
		}
	}
}

// FuzzDetectorUnmarshal: whatever the bytes, an error or a detector that is sound and lives on.
func FuzzDetectorUnmarshal(f *testing.F) {
	for _, c := range detectorConfigs {
		for _, n := range []int{0, 1, 70, 150} {
			d, _ := fedDetector(f, c, n)
			f.Add(detectorBytes(f, d))
		}
	}
	for i := range 3 {
		data, err := os.ReadFile(fmt.Sprintf("testdata/detector-version1-%d", i))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4 {
			return
		}
		// The innermost checksums are those of the forests; without sealing them too, little would pass.
		data = sealedForests(data)
		var d Detector
		if err := d.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		point := make([]float64, d.config.Dimensions)
		for i := range 20 {
			point[0] = float64(i % 7)
			r := judge(t, &d, point...)
			if math.IsNaN(r.Level) || math.IsInf(r.Level, 0) || !(r.Grade >= 0 && r.Grade < 1 && r.Confidence >= 0 &&
				r.Confidence <= 1) {
				t.Fatalf("%+v", r)
			}
		}
		again := detectorBytes(t, &d)
		var second Detector
		if err := second.UnmarshalBinary(again); err != nil || !bytes.Equal(again, detectorBytes(t, &second)) {
			t.Fatalf("its own snapshot is not restored: %v", err)
		}
	})
}

// sealedForests returns data with the checksums that its contents have, those of the forests inside included where
// they can be found.
func sealedForests(data []byte) []byte {
	data = bytes.Clone(data)
	end := len(data) - 4
	for at := bytes.LastIndex(data[:end], []byte(snapshotMagic)); at > 4; at = bytes.LastIndex(data[:at],
		[]byte(snapshotMagic)) {
		if length := int(binary.LittleEndian.Uint32(data[at-4:])); length >= 4 && length <= end-at {
			copy(data[at:], sealed(data[at:at+length]))
		}
	}
	return sealed(data)
}
