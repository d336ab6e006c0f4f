package judge

import "math"

const (
	grainWindow  = 512  // readings over which the grain is found
	grainFirst   = 16   // readings after which it is found first
	grainProofs  = 3    // differences that confirm it
	grainLargest = 0.04 // of the speed: the largest grain that one difference alone can show
)

// grain finds the step in which a publisher's speeds come, such as 30 RPM where it counts the pulses of one second at
// two a turn.
type grain struct {
	Q       float64 // RPM; 0 = the speeds come in no steps
	Last    float64 // newest speed, RPM
	Least   float64 // smallest difference of two successive speeds that is not 0; 0 = none
	Proofs  float64 // differences within a quarter of Least
	Repeats float64 // readings that repeat the one before
	N       float64 // readings of the window
}

func (g *grain) add(rpm float64) {
	d := math.Abs(rpm - g.Last)
	first := g.Last == 0
	g.Last = rpm
	if first {
		return
	}
	g.N++
	switch {
	case d < 1e-9*rpm:
		g.Repeats++
	case g.Least == 0 || d < float64(0.75*g.Least):
		g.Least, g.Proofs = d, 1
	case d <= float64(1.25*g.Least):
		g.Proofs++
	}
	if g.N == grainFirst || g.N >= grainWindow || float64(g.Repeats*5) > float64(4*g.N) && g.N > grainFirst {
		g.find(rpm)
	}
	if g.N >= grainWindow {
		g.N, g.Repeats, g.Proofs = g.N/2, g.Repeats/2, g.Proofs/2
		if g.Proofs < 1 {
			g.Least = 0
		}
	}
}

// find sets the grain where more than a fifth of the readings repeat. Of a speed that hardly ever changes one
// difference shows it, if it is small.
func (g *grain) find(rpm float64) {
	often := float64(g.Repeats*5) > g.N
	constant := float64(g.Repeats*5) > float64(4*g.N) && g.Least < float64(grainLargest*rpm)
	switch {
	case often && (g.Proofs >= grainProofs || constant):
		g.Q = g.Least
	case !often || g.N >= grainWindow:
		g.Q = 0
	}
}

// of returns the grain as a fraction of a speed.
func (g *grain) of(rpm float64) float64 {
	if g.Q == 0 {
		return 0
	}
	return min(g.Q/max(rpm, 1), 0.25)
}
