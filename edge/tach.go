package edge

import (
	"math"
	"slices"
	"time"

	"fanwatch"
)

// Edge is one falling edge of a tacho signal.
type Edge struct {
	At time.Duration // monotonic time since boot, as the kernel stamped it
	// counts the edges of this line, wrapping; a gap means that the kernel dropped some. 0 throughout: not known
	Seq uint32
}

// TachConfig says how a fan's pulses are to be read.
type TachConfig struct {
	Pulses int     // pulses per revolution, 1..64; 0 = 2, as PC fans have
	MinRPM float64 // slower than this is standing still; 0 = 60. A stall shows after 60/(Pulses*MinRPM) seconds
	MaxRPM float64 // faster than this is never real; 0 = 60,000. Edges closer than 60/(Pulses*MaxRPM) seconds are glitches
}

// defaultMinRPM is what a TachConfig without MinRPM takes for standing still.
const defaultMinRPM = 60

// recent is how many periods the running period (their median) and, at low speed, the jitter look at.
const recent = 8

// Tach turns edges into readings by carry-over reciprocal counting: with n pulses from the last edge of
// the window before (t_prev) to the last edge of this one (t_last), at p pulses per revolution,
//
//	RPM = 60 n / (p (t_last - t_prev))
//
// No time between two windows goes uncounted, and the error is that of two edges alone: at most
// 2d / (T - 1/f) relative when every edge is within d of its ideal place, for windows of T at f pulses
// per second. Plain counting errs by 1/(Tf), the last period alone by 2df.
//
// A Tach is pure: it starts nothing, reads no clock and is not safe for concurrent use.
type Tach struct {
	pulses   float64
	stall    time.Duration
	shortest time.Duration

	seen    bool // an edge ever came
	turning bool // at least two edges since the last standstill
	last    Edge // the newest accepted edge
	prev    time.Duration
	n       uint64  // pulses from prev to last
	hz      float64 // what the last window gave, for windows without an edge

	rawSeq   uint32
	rawAt    time.Duration
	rejected uint64 // glitches since the last accepted edge
	streak   int    // raw intervals in a row that resemble one another
	interval time.Duration

	periods [recent]time.Duration
	filled  int
	place   int

	edges, glitches, lost uint64 // this window
	count, mean, m2       float64
}

// NewTach makes a Tach; values outside their range get the default.
func NewTach(c TachConfig) *Tach {
	t := new(Tach)
	t.limit(c)
	return t
}

// limit takes up another TachConfig, at best between two windows.
func (t *Tach) limit(c TachConfig) {
	if c.Pulses < 1 || c.Pulses > 64 {
		c.Pulses = 2
	}
	if !(c.MinRPM > 0 && c.MinRPM <= fanwatch.MaxRPM) {
		c.MinRPM = defaultMinRPM
	}
	if !(c.MaxRPM > c.MinRPM && c.MaxRPM <= fanwatch.MaxRPM) {
		c.MaxRPM = min(max(60_000, 10*c.MinRPM), fanwatch.MaxRPM)
	}
	period := func(rpm float64) time.Duration {
		return time.Duration(min(60/(float64(c.Pulses)*rpm), 3600) * float64(time.Second))
	}
	t.pulses, t.stall, t.shortest = float64(c.Pulses), period(c.MinRPM), max(period(c.MaxRPM), 1)
}

// Observe takes the next edge of the line.
func (t *Tach) Observe(e Edge) {
	t.edges++
	if !t.seen {
		t.seen = true
		t.standstill(e)
		return
	}
	gap := uint64(e.Seq - t.rawSeq)
	interval := e.At - t.rawAt
	if interval <= 0 || gap > math.MaxInt32 { // a clock or a counter that runs backwards
		t.glitches++
		return
	}
	gap = max(gap, 1)
	t.lost += gap - 1
	t.follow(interval, gap)
	t.rawSeq, t.rawAt = e.Seq, e.At

	dt := e.At - t.last.At
	switch usual := t.period(); {
	case dt > t.stall && (gap == 1 || !t.turning):
		t.standstill(e)
	case dt < t.shortest, usual > 0 && dt < usual/2 && !t.faster(usual):
		t.glitches++
		t.rejected++
	case usual > 0 && dt < usual/2: // the fan really became that fast: what was rejected since were pulses
		t.glitches -= min(t.glitches, t.rejected)
		gap += t.rejected
		t.filled = 0
		t.accept(e, gap, 0)
	default:
		t.accept(e, gap, usual)
	}
}

// Window ends the measuring window at now and gives its numbers: everything in a Reading but who, when
// and the clock's state.
func (t *Tach) Window(now time.Duration) fanwatch.Reading {
	r := fanwatch.Reading{Edges: clip(t.edges), Glitch: clip(t.glitches), Lost: clip(t.lost)}
	idle := max(now-t.last.At, 0)
	switch {
	case !t.seen:
		r.State = fanwatch.StateNoSignal
	case idle > t.stall:
		r.State, t.turning, t.hz, t.filled = fanwatch.StateStalled, false, 0, 0
		t.n, t.prev = 0, t.last.At
	case !t.turning:
		r.State = fanwatch.StateStarting
	default:
		r.State = fanwatch.StateRunning
		// While no pulse comes the fan cannot turn faster than one pulse in the time waited. What counts
		// as waiting has some room, or uneven poles would pull a slow fan's reading down and a bad
		// bearing's long period, or an edge that the kernel dropped, any fan's.
		room := 1.25
		if t.n > 0 {
			t.hz, room = float64(t.n)/(t.last.At-t.prev).Seconds(), 3
		}
		if limit := 1 / idle.Seconds(); limit*room < t.hz {
			t.hz = limit
		}
		r.Hz = round(t.hz, 1e4)
		r.RPM = min(round(60*t.hz/t.pulses, 1e3), fanwatch.MaxRPM)
		r.Jitter = round(t.jitter(), 1e6)
	}
	if t.n > 0 {
		t.prev, t.n = t.last.At, 0
	}
	t.edges, t.glitches, t.lost = 0, 0, 0
	t.count, t.mean, t.m2 = 0, 0, 0
	return r
}

// standstill begins anew at e: what came before says nothing about the speed from here on.
func (t *Tach) standstill(e Edge) {
	t.last, t.prev, t.n, t.hz = e, e.At, 0, 0
	t.rawSeq, t.rawAt = e.Seq, e.At
	t.turning, t.filled, t.rejected, t.streak = false, 0, 0, 0
}

// accept counts e as gap pulses after the last one. When edges were dropped and the gap does not fit
// the usual period (the dropped ones were glitches too), the time that passed says how many they were.
func (t *Tach) accept(e Edge, gap uint64, usual time.Duration) {
	dt := e.At - t.last.At
	least := max(usual/2, t.shortest)
	if gap > uint64(dt/least) {
		gap = 1
		if usual > 0 {
			gap = uint64(max((dt+usual/2)/usual, 1))
		}
	}
	period := dt / time.Duration(gap)
	t.periods[t.place] = period
	t.place = (t.place + 1) % recent
	t.filled = min(t.filled+1, recent)
	if gap == 1 {
		x := period.Seconds()
		t.count++
		d := x - t.mean
		t.mean += d / t.count
		t.m2 += d * (x - t.mean)
	}
	t.n += gap
	t.last, t.turning, t.rejected = e, true, 0
}

// period returns the running period: the median of the last few, 0 while fewer than 3 are known.
func (t *Tach) period() time.Duration {
	if t.filled < 3 {
		return 0
	}
	sorted := t.known()
	slices.Sort(sorted[:t.filled])
	return sorted[t.filled/2]
}

// known returns the newest periods, in no order, in its first t.filled places.
func (t *Tach) known() [recent]time.Duration {
	var out [recent]time.Duration
	for i := range t.filled {
		out[i] = t.periods[(t.place-1-i+2*recent)%recent]
	}
	return out
}

// follow counts how many raw intervals in a row are alike (within a quarter).
func (t *Tach) follow(interval time.Duration, gap uint64) {
	alike := gap == 1 && interval >= t.shortest && interval*5 > t.interval*4 && interval*4 < t.interval*5
	if t.streak++; !alike {
		t.streak = 1
	}
	t.interval = interval
}

// faster tells a fan that sped up from glitches: four regular intervals, all far shorter than usual.
// A glitch stands alone or in an irregular burst.
func (t *Tach) faster(usual time.Duration) bool { return t.streak >= 4 && t.interval < usual*3/5 }

// jitter returns the standard deviation of the window's periods over their mean; a slow fan has few in a
// window, then the last ones count.
func (t *Tach) jitter() float64 {
	count, mean, m2 := t.count, t.mean, t.m2
	if count < recent {
		count, mean, m2 = 0, 0, 0
		known := t.known()
		for _, p := range known[:t.filled] {
			count++
			d := p.Seconds() - mean
			mean += d / count
			m2 += d * (p.Seconds() - mean)
		}
	}
	if count < 3 || mean <= 0 || m2 <= 0 {
		return 0
	}
	return math.Sqrt(m2/count) / mean
}

func round(x, per float64) float64 { return math.Round(x*per) / per }

func clip(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
