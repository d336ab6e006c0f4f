package rcf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBoxes compares what vectors make of boxes with what Go does.
func TestBoxes(t *testing.T) {
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
			encloseInGo(same[:n], a)
			if !slices.Equal(box, same) {
				t.Fatalf("enclose: %v, in Go %v", box, same)
			}
			encloseBox(box[:n], other)
			encloseBoxInGo(same[:n], other)
			if !slices.Equal(box, same) {
				t.Fatalf("encloseBox: %v, in Go %v", box, same)
			}
			pairBox(box[:n], a, b)
			pairBoxInGo(same[:n], a, b)
			if !slices.Equal(box, same) {
				t.Fatalf("pairBox: %v, in Go %v", box, same)
			}
			if r.IntN(3) > 0 { // often in one number only
				copy(other, box)
				other[r.IntN(n)][r.IntN(2)] += float32(r.IntN(2))
			}
			changed, changedInGo := replaceBox(box[:n], other), replaceBoxInGo(same[:n], other)
			if changed != changedInGo || !slices.Equal(box, same) {
				t.Fatalf("replaceBox: %v, %v, in Go %v, %v", changed, box, changedInGo, same)
			}
		}
	}
}
