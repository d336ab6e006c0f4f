package worlds

import (
	"math"

	"fanwatch/rcf"
)

// The functions of this file give the same bits on every processor: products are converted explicitly, so that none
// is fused with a sum, and no function of package math is used but those that IEEE 754 defines to the bit.

// source is a source of random numbers: SplitMix64, whose state is one word.
type source struct {
	state uint64
	spare float64
	full  bool
}

// newSource returns the source of a purpose. Each purpose has its own, so that a fault that draws numbers changes
// nothing of the noise.
func newSource(seed uint64, name, purpose string) source {
	h := uint64(0xcbf29ce484222325) // FNV-1a
	for _, text := range []string{name, "/", purpose} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 0x100000001b3
		}
	}
	s := source{state: h ^ (seed+1)*0x9e3779b97f4a7c15}
	s.next()
	return s
}

func (s *source) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a number in (0, 1).
func (s *source) uniform() float64 { return float64((float64(s.next()>>12) + 0.5) * (1.0 / (1 << 52))) }

// between returns a number in (low, high).
func (s *source) between(low, high float64) float64 { return low + float64((high-low)*s.uniform()) }

// ratio returns a number in (low, high) whose logarithm is uniform.
func (s *source) ratio(low, high float64) float64 {
	return float64(low * exp(float64(rcf.Log(high/low)*s.uniform())))
}

// below returns a whole number in [0, n).
func (s *source) below(n int) int { return int(s.next() >> 11 % uint64(n)) }

// chance returns true with probability p.
func (s *source) chance(p float64) bool { return p > 0 && s.uniform() < p }

// wait returns a number with the exponential distribution of the given mean.
func (s *source) wait(mean float64) float64 { return -float64(mean * rcf.Log(s.uniform())) }

// normal returns a number with the normal distribution of mean 0 and deviation 1, by Marsaglia's polar method.
func (s *source) normal() float64 {
	if s.full {
		s.full = false
		return s.spare
	}
	for {
		u, v := float64(2*s.uniform())-1, float64(2*s.uniform())-1
		q := float64(u*u) + float64(v*v)
		if q >= 1 || q == 0 {
			continue
		}
		f := math.Sqrt(float64(-2*rcf.Log(q)) / q)
		s.spare, s.full = float64(v*f), true
		return float64(u * f)
	}
}

// exp returns e to the x, which is bounded by +-700.
func exp(x float64) float64 {
	x = max(-700, min(700, x))
	n := math.Floor(float64(x*math.Log2E) + 0.5)
	r := x - float64(n*math.Ln2)
	sum := 1.0
	for k := 12; k >= 1; k-- {
		sum = 1 + float64(float64(r*sum)*inverse[k])
	}
	return float64(math.Float64frombits(uint64(int(n)+1023)<<52) * sum)
}

// inverse holds 1/k, so that the series of exp multiplies.
var inverse = [...]float64{0, 1, 1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9, 1. / 10, 1. / 11,
	1. / 12}

// pow returns x to the y for x >= 0.
func pow(x, y float64) float64 {
	if x <= 0 {
		return 0
	}
	return exp(float64(y * rcf.Log(x)))
}

// wave returns cos(2 pi x), with an error below 1e-6.
func wave(x float64) float64 {
	x -= math.Floor(x + 0.5)          // -0.5..0.5
	y := 0.5 - float64(2*math.Abs(x)) // cos(2 pi x) = sin(pi y), y in -0.5..0.5
	z := float64(math.Pi * y)
	q := float64(z * z)
	sum := 1 - float64(q*(1./110))
	sum = 1 - float64(float64(q*(1./72))*sum)
	sum = 1 - float64(float64(q*(1./42))*sum)
	sum = 1 - float64(float64(q*(1./20))*sum)
	sum = 1 - float64(float64(q*(1./6))*sum)
	return float64(z * sum)
}

// ramp goes smoothly from 0 at low to 1 at high.
func ramp(x, low, high float64) float64 {
	u := max(0, min(1, (x-low)/(high-low)))
	return float64(float64(u*u) * (3 - float64(2*u)))
}
