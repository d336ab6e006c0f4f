package dashboard

import (
	"cmp"
	"math"
	"slices"

	"fanwatch"
)

// Memory for readings is bounded twice: no fan keeps more than keepReadings, and all fans together no
// more than keepInAll (of 32 bytes each: 230 MB), so that 10,000 fans keep 12 minutes each.
const (
	keepReadings = 3600
	keepInAll    = 7_200_000
)

// allowance is how many readings each of n fans may keep.
func allowance(n int) int { return max(60, min(keepReadings, keepInAll/max(n, 1))) }

// sample is a reading as the charts need it.
type sample struct {
	t     int64 // Unix milliseconds
	rpm   float32
	score float32
	// expected, low and high are fanwatch.Judged's; 0 = nothing was expected.
	expected, low, high float32
	kind                uint8 // index into kinds
	rotor               uint8 // index into rotors
	late                bool
}

var (
	kinds = [...]fanwatch.Kind{fanwatch.KindNone, fanwatch.KindStall, fanwatch.KindUnderspeed, fanwatch.KindOverspeed,
		fanwatch.KindSilent, fanwatch.KindUnusual,
		fanwatch.KindFrozen, fanwatch.KindPublishers, fanwatch.KindSpeed, fanwatch.KindJitter, fanwatch.KindWobble,
		fanwatch.KindHunting, fanwatch.KindDrift, unknownKind}
	rotors = [...]fanwatch.State{"", fanwatch.StateRunning, fanwatch.StateStarting, fanwatch.StateStalled,
		fanwatch.StateNoSignal}
)

// sampled reduces a row; it reports false for numbers that JSON cannot carry.
func sampled(r fanwatch.Row) (sample, bool) {
	finite := func(f float64) bool { return !math.IsNaN(f) && math.Abs(f) <= math.MaxFloat32 }
	if !finite(r.RPM) || !finite(r.Score) {
		return sample{}, false
	}
	j := r.Judged
	if !finite(j.Expected) || !finite(j.Low) || !finite(j.High) || j.Expected == 0 {
		j = fanwatch.Judged{}
	}
	return sample{
		expected: float32(j.Expected), low: float32(j.Low), high: float32(j.High),
		t: r.Time.UnixMilli(), rpm: float32(r.RPM), score: float32(math.Round(r.Score*1000) / 1000),
		kind: kindIndex(r.Anomaly), rotor: uint8(max(0, slices.Index(rotors[:], r.State))),
		late: r.Kind == fanwatch.RowLate,
	}, true
}

// unknownKind stands for a kind that this program does not know: it must not pass for KindNone.
const unknownKind fanwatch.Kind = "unknown"

func kindIndex(k fanwatch.Kind) uint8 {
	if i := slices.Index(kinds[:], k); i >= 0 {
		return uint8(i)
	}
	return uint8(len(kinds) - 1)
}

// ring holds the last samples of one fan in order of arrival. The zero value is empty.
type ring struct {
	buf  []sample
	head int // index of the oldest once buf is full
}

// add takes s and forgets the oldest samples beyond limit, which is at least 1.
func (r *ring) add(s sample, limit int) {
	if len(r.buf) != limit && r.head != 0 || len(r.buf) > limit { // the limit has changed
		all := r.all()
		r.buf, r.head = slices.Clone(all[max(0, len(all)-limit):]), 0
	}
	if len(r.buf) < limit {
		r.buf = append(r.buf, s)
		return
	}
	r.buf[r.head] = s
	r.head = (r.head + 1) % len(r.buf)
}

// all returns a copy, oldest arrival first.
func (r *ring) all() []sample { return slices.Concat(r.buf[r.head:], r.buf[:r.head]) }

// since returns a copy of the samples of the last ms milliseconds before the newest, in order of time.
func (r *ring) since(ms int64) []sample {
	all := r.all()
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	if len(all) == 0 {
		return nil
	}
	from := all[len(all)-1].t - ms
	i, _ := slices.BinarySearchFunc(all, from, func(s sample, t int64) int { return cmp.Compare(s.t, t) })
	return all[i:]
}
