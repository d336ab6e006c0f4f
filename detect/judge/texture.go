package judge

import (
	"math"

	"fanwatch/rcf"
)

const (
	jitterAdd    = 0.0001   // keeps the logarithm of a jitter of 0 finite
	jitterBins   = 24       // of speed
	jitterBin    = 0.15     // width of a bin, logarithm of the speed
	jitterBinMin = 120.0    // s in a bin after which it is judged
	jitterTau    = 15.0     // s
	jitterFactor = 0.405465 // least excess of the logarithm: a factor of 1.5
	jitterSigma  = 5.0
	jitterFor    = 10.0      // s
	jitterBegin  = 600.0     // s in which the usual jitter is a plain mean
	jitterKeep   = 1_209_600 // s, longest memory of the usual jitter

	wobbleN      = 16     // readings over which wobble is averaged
	wobbleFloor  = 0.005  // of the speed: least wobble that is trouble
	wobbleTimes  = 3.0    // times the usual
	wobbleLeast  = 0.0017 // of the speed
	wobbleFor    = 10.0   // s
	wobbleTau    = 86_400 // s
	wobbleBegins = 300.0  // s of learning before it is judged
)

// jitter judges the period jitter by its usual, which depends on the speed.
type jitter struct {
	Usual float64 // of the logarithm
	N     float64 // s learned
	Fast  float64 // excess over the usual, mean of jitterTau
	Mean  spread  // of Fast
	Each  spread  // of the excess of one reading
	Bins  [jitterBins]jitterAt
	Out   lasting
	On    bool
}

type jitterAt struct {
	D float64 // difference from Usual at this speed
	N float64 // s
}

// bin returns the two bins between which a speed lies, and the weight of the upper one.
func bin(log float64) (lower, upper int, w float64) {
	p := log / jitterBin
	i := math.Floor(p)
	return int(i) % jitterBins, (int(i) + 1) % jitterBins, p - i
}

// excess is what jitter makes of one reading.
type excess struct {
	judged bool
	usual  float64 // as a fraction of the period
	ratio  float64 // logarithm of the mean over the usual
	bar    float64
	z      float64 // excess of the reading in usual deviations
}

// add judges and learns the jitter of a reading at a steady speed.
func (j *jitter) add(value, log, dt float64, learn bool) (x excess) {
	lower, upper, w := bin(max(log, 0))
	a, b := &j.Bins[lower], &j.Bins[upper]
	n := float64((1-w)*a.N) + float64(w*b.N)
	at := float64((1-w)*a.D) + float64(w*b.D)
	usual := j.Usual + at
	lx := rcf.Log(min(value, 10) + jitterAdd)
	e := lx - usual
	if j.N < 60 || n < jitterBinMin {
		j.Out, j.On = lasting{}, false
		if learn {
			j.learn(e, a, b, w, dt)
		}
		return x
	}
	ew(&j.Fast, clip(e, 1.5), dt, jitterTau)
	sd := j.Mean.sd(0.15, 1800)
	each := j.Each.sd(0.3, 600)
	x = excess{judged: true, usual: max(0, rcf.Exp(usual)-jitterAdd), ratio: j.Fast, z: e / each}
	x.bar = float64(max(jitterFactor, float64(jitterSigma*sd)) * math.Sqrt(1+600/n+1800/(j.N+60)))
	if j.On {
		x.bar = float64(0.8 * x.bar)
	}
	j.On = j.Out.add(j.Fast > x.bar, dt, jitterFor, 3) || j.On && j.Fast > x.bar
	if learn && j.Fast <= x.bar {
		j.Mean.add(j.Fast, sd, dt, 86_400)
		j.Each.add(e, each, dt, 86_400)
		j.learn(clip(e, float64(3*each)), a, b, w, dt)
	}
	return x
}

// learn moves the usual jitter by an excess e.
func (j *jitter) learn(e float64, a, b *jitterAt, w, dt float64) {
	j.N = min(j.N+dt, jitterKeep)
	gain := min(1, dt/j.N)
	if j.N > jitterBegin {
		gain = dt / (j.N + 3600)
	}
	j.Usual += float64(gain * e)
	for _, q := range []struct {
		at *jitterAt
		w  float64
	}{{a, 1 - w}, {b, w}} {
		if q.w <= 0 {
			continue
		}
		q.at.N = min(q.at.N+float64(dt*q.w), jitterKeep)
		if q.at.N > 0 {
			q.at.D += float64(min(1, float64(dt*q.w)/(q.at.N+600)) * (e - float64(gain*e)))
		}
	}
}

// wobble judges how far the speed swings from reading to reading.
type wobble struct {
	Now   float64
	Usual float64 // mean
	N     float64 // s learned
	Out   lasting
	On    bool
}

// add judges and learns the wobble of a reading that lies d from the ones before. It returns the bar.
func (w *wobble) add(d, dt float64, learn bool) (bar float64) {
	d = min(d, float64(4*max(w.Usual, wobbleLeast)))
	w.Now += float64((d - w.Now) / wobbleN)
	bar = max(float64(wobbleTimes*w.Usual), wobbleFloor)
	out := w.N >= wobbleBegins && w.Now > bar
	w.On = w.Out.add(out, dt, wobbleFor, 5)
	if learn && !out {
		w.N = min(w.N+dt, wobbleTau)
		w.Usual += float64(dt / w.N * (d - w.Usual))
	}
	return bar
}
