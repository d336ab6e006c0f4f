package fanwatch

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSequenceNumbersOrderAsIntegers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := number(rng), number(rng)
		x, _ := new(big.Int).SetString(string(a), 10)
		y, _ := new(big.Int).SetString(string(b), 10)
		if got, want := a.Compare(b), x.Cmp(y); got != want {
			t.Fatalf("%s against %s: %d, want %d", a, b, got, want)
		}
		if got, want := slices.Compare([]byte(a.Pad()), []byte(b.Pad())), x.Cmp(y); got != want {
			t.Fatalf("padded %s against %s: %d, want %d", a, b, got, want)
		}
		if back, err := ParseSequenceNumber(a.Pad()); err != nil || back != a {
			t.Fatalf("%s comes back as %s, %v", a, back, err)
		}
	}
}

func number(rng *rand.Rand) SequenceNumber {
	digits := make([]byte, 1+rng.IntN(56))
	for i := range digits {
		digits[i] = byte('0' + rng.IntN(10))
	}
	n, err := ParseSequenceNumber(string(digits))
	if err != nil {
		panic(err)
	}
	return n
}

func TestParseSequenceNumberRefuses(t *testing.T) {
	for _, s := range []string{"", "-1", "1.5", "abc", " 1", string(make([]byte, 65))} {
		if n, err := ParseSequenceNumber(s); err == nil {
			t.Errorf("%q passes as %s", s, n)
		}
	}
}

func TestSilenceIsLaterThanTheReadingItFollows(t *testing.T) {
	p := Position{"shard-0", "100", 3}
	normal := Observation{Position: p}
	silent := Observation{Position: p, Anomaly: Anomaly{Kind: KindSilent}}
	next := Observation{Position: Position{"shard-1", "99999999999", 0}}
	for _, c := range []struct {
		name string
		o, p Observation
		want bool
	}{
		{"silence after its reading", silent, normal, true},
		{"the reading again after silence", normal, silent, false},
		{"silence twice", silent, silent, false},
		{"the same twice", normal, normal, false},
		{"a later reading on a child shard", next, silent, true},
		{"an older reading", normal, next, false},
		{"the first ever", normal, Observation{}, true},
	} {
		if got := c.o.After(c.p); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestPositionsOfAStreamMadeAnewAreLater(t *testing.T) {
	first := Position{"shardId-000000000007", "99999", 3}
	second := Position{"shardId-000000000000.1780000000000", "5", 0}
	third := Position{"shardId-000000000001.1790000000000", "4", 0}
	for i, p := range []Position{{}, first, second, third} {
		for j, q := range []Position{{}, first, second, third} {
			if got := p.Compare(q); (got > 0) != (i > j) || (got < 0) != (i < j) {
				t.Errorf("%s against %s: %d", p, q, got)
			}
		}
	}
}
