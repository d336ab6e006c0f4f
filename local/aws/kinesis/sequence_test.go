package kinesis

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestSequenceNumbersHave56DigitsAndComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		q := sequence{epoch: random.Uint64() & maxEpoch, counter: random.Uint64(), shard: random.Uint32()}
		text := q.String()
		if len(text) != 56 {
			t.Fatalf("%+v: %s has %d digits", q, text, len(text))
		}
		if back, ok := parseSequence(text); !ok || back != q {
			t.Fatalf("%+v came back as %+v, %v", q, back, ok)
		}
	}
}

func TestSequenceNumbersOrder(t *testing.T) {
	ascending := []sequence{{1, 0, 9}, {1, 1, 0}, {1, 1 << 44, 0}, {1, 1<<64 - 1, 0}, {2, 0, 0}, {2, 5, 3},
		{maxEpoch, 0, 0}}
	for i := 1; i < len(ascending); i++ {
		a, _ := new(big.Int).SetString(ascending[i-1].String(), 10)
		b, _ := new(big.Int).SetString(ascending[i].String(), 10)
		if a.Cmp(b) >= 0 {
			t.Errorf("%+v is not below %+v", ascending[i-1], ascending[i])
		}
	}
}

func FuzzParseSequence(f *testing.F) {
	for _, s := range []string{"", "0", "5", "-1", "007", sequence{5, 6, 7}.String(), sequence{5, 6, 7}.String() + "0",
		"49590338271490256608559692538361571095921575989136588898"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, ok := parseSequence(s); ok && q.String() != s {
			t.Errorf("%q was read as %+v, which is %s", s, q, q)
		}
	})
}

func TestEvenRangesCoverTheRing(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100} {
		next := hashKey{}
		for i := range n {
			start, end := evenRange(i, n)
			if start != next || end.less(start) {
				t.Fatalf("part %d of %d is %s to %s, want it to begin at %s", i, n, start, end, next)
			}
			next = end.plusOne()
		}
		if next != (hashKey{}) {
			t.Fatalf("%d parts end before %s", n, next)
		}
	}
	if _, end := evenRange(0, 2); end.String() != "170141183460469231731687303715884105727" {
		t.Errorf("the first half ends at %s", end)
	}
}

func TestHashOf(t *testing.T) {
	// RFC 1321, A.5: MD5 ("abc") = 900150983cd24fb0d6963f7d28e17f72
	want, _ := new(big.Int).SetString("900150983cd24fb0d6963f7d28e17f72", 16)
	if got := hashOf("abc"); got.String() != want.String() {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, s := range []string{"340282366920938463463374607431768211456", "-1", "", "01", "1e3"} {
		if h, err := parseHashKey(s); err == nil {
			t.Errorf("%q was read as %s", s, h)
		}
	}
	if h, err := parseHashKey("340282366920938463463374607431768211455"); err != nil || h != maxHashKey() {
		t.Errorf("2^128-1: %s, %v", h, err)
	}
}
