package rcf

import "math"

// The standard library's Exp and Log are written in assembly on some platforms and may fuse multiplication
// and addition on others, so their last bits differ. The forest needs the same bits everywhere, but not the
// last digit of accuracy; these functions use plain IEEE operations in a fixed order, each product
// explicitly rounded (Go spec, "Floating-point operators": an explicit conversion prevents fusion).
// Relative error is below 1e-14.

const (
	// ln2Hi has trailing zeros so that its product with an exponent is exact; ln2Hi + ln2Lo is ln 2.
	ln2Hi = 0x1.62e42fee00000p-1
	ln2Lo = 0x1.a39ef35793c76p-33
)

// Log returns the natural logarithm of x, which must be positive, finite and normal, with the same bits on every
// platform. It is for features of points that are to score alike everywhere; the last bits of math.Log differ.
func Log(x float64) float64 { return ln(x) }

// Exp returns e to the x, with the same bits on every processor. Beyond +-700 it saturates.
func Exp(x float64) float64 { return exp(x) }

// ln returns the natural logarithm of x, which must be positive, finite and normal.
func ln(x float64) float64 {
	bits := math.Float64bits(x)
	exponent := int(bits>>52) - 1023
	m := math.Float64frombits(bits&(1<<52-1) | 1023<<52)
	if m > math.Sqrt2 {
		m /= 2
		exponent++
	}
	// ln m = 2 artanh(r), r = (m-1)/(m+1), |r| < 0.1716
	e := float64(exponent)
	return float64(e*ln2Hi) + (artanh2((m-1)/(m+1)) + float64(e*ln2Lo))
}

// artanh2 returns 2 artanh(r) = 2r (1 + r^2/3 + r^4/5 + ...) for |r| < 0.18. Every other term is summed by itself,
// so that a processor can do two at once.
func artanh2(r float64) float64 {
	z := float64(r * r)
	w := float64(z * z)
	even, odd := 1.0/21, 1.0/23
	for k := 17; k >= 1; k -= 4 {
		even = float64(even*w) + reciprocal[k]
		odd = float64(odd*w) + reciprocal[k+2]
	}
	return float64(2 * r * (even + float64(odd*z)))
}

// log1p returns ln(1+x) for x > -1.
func log1p(x float64) float64 {
	if x > -0.15 && x < 0.15 {
		return artanh2(x / (2 + x))
	}
	return ln(1 + x)
}

// exp returns e to the x; beyond +-700 it saturates, so that it is always finite and never 0.
func exp(x float64) float64 {
	x = math.Max(-700, math.Min(700, x))
	n := math.Floor(float64(x/math.Ln2) + 0.5)
	r := (x - float64(n*ln2Hi)) - float64(n*ln2Lo)
	sum := 1.0
	for k := 14; k >= 1; k-- {
		sum = 1 + float64(float64(r*sum)*reciprocal[k])
	}
	return float64(math.Float64frombits(uint64(int(n)+1023)<<52) * sum)
}

// expm1 returns exp(x)-1 without cancellation near 0.
func expm1(x float64) float64 {
	if math.Abs(x) > 0.35 {
		return exp(x) - 1
	}
	sum := 1.0
	for k := 15; k >= 2; k-- {
		sum = 1 + float64(float64(x*sum)*reciprocal[k])
	}
	return float64(x * sum)
}

// reciprocal holds 1/k, so that the series multiply instead of dividing.
var reciprocal = [...]float64{0, 1, 1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9, 1. / 10, 1. / 11,
	1. / 12, 1. / 13, 1. / 14, 1. / 15, 1. / 16, 1. / 17, 1. / 18, 1. / 19, 1. / 20, 1. / 21, 1. / 22, 1. / 23}

// splitMix is Steele, Lea and Flood's SplitMix64 generator (OOPSLA 2014): its state is one word, which makes a
// generator per tree cheap to keep and to store.
type splitMix uint64

// next returns 64 random bits.
func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a number in the open interval (0, 1).
func (s *splitMix) uniform() float64 {
	return (float64(s.next()>>12) + 0.5) * (1.0 / (1 << 52))
}

// exponential returns a number with the exponential distribution of mean 1.
func (s *splitMix) exponential() float64 { return -ln(s.uniform()) }
