package rcf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBoxesByVectorsEqualTheGeneric compares what vectors make of boxes with what Go does.
func TestBoxesByVectorsEqualTheGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	value := func() float32 { return float32(r.IntN(7)-3) * 1.5 }
	for n := 1; n <= 40; n++ {
		for range 100 {
			a, b := make([]float32, n), make([]float32, n)
			for i := range a {
				a[i], b[i] = value(), value()
			}
			beyond := side{-5, 5}
			boxes := func() (box, same, other []side) {
				box, same, other = make([]side, n+1), make([]side, n+1), make([]side, n)
				box[n], same[n] = beyond, beyond
				for i := range n {
					x, y, u, v := value(), value(), value(), value()
					box[i], other[i] = side{min(x, y), max(x, y)}, side{min(u, v), max(u, v)}
					same[i] = box[i]
				}
				return box, same, other
			}
			box, same, other := boxes()
			enclose(box[:n], a)
			encloseGeneric(same[:n], a)
			if !slices.Equal(box, same) {
				t.Fatalf("enclose: %v, generic %v", box, same)
			}
			encloseBox(box[:n], other)
			encloseBoxGeneric(same[:n], other)
			if !slices.Equal(box, same) {
				t.Fatalf("encloseBox: %v, generic %v", box, same)
			}
			pairBox(box[:n], a, b)
			pairBoxGeneric(same[:n], a, b)
			if !slices.Equal(box, same) {
				t.Fatalf("pairBox: %v, generic %v", box, same)
			}
			if r.IntN(3) > 0 { // often in one number only
				copy(other, box)
				other[r.IntN(n)][r.IntN(2)] += float32(r.IntN(2))
			}
			changed, changedGeneric := replaceBox(box[:n], other), replaceBoxGeneric(same[:n], other)
			if changed != changedGeneric || !slices.Equal(box, same) {
				t.Fatalf("replaceBox: %v, %v, generic %v, %v", changed, box, changedGeneric, same)
			}
		}
	}
}
