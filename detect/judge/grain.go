package judge

import "math"

const (
	grainWindow  = 512  // readings over which the grain is found
	grainFirst   = 16   // readings after which it is found first
	grainProofs  = 3    // differences that confirm it
	grainOften   = 0.9  // part of the differences that are whole steps
	grainNear    = 0.02 // of a step: how far from a whole number of steps that may be
	grainLeast   = 1e-4 // of the speed: a smaller step does not matter
	grainLargest = 0.04 // of the speed: the largest step that one difference alone can show
)

// grain finds the step in which a publisher's speeds come, such as 30 RPM where it counts the pulses of one second at
// two a turn.
type grain struct {
	Q       float64 // RPM; 0 = the speeds come in no steps
	Last    float64 // newest speed, RPM
	Least   float64 // smallest difference of two successive speeds that is not 0; 0 = none
	Proofs  float64 // differences of one step
	Whole   float64 // differences of a whole number of steps, 0 too
	N       float64 // differences of the window
	Smaller float64 // a smaller difference that is not confirmed yet; 0 = none
	Doubts  float64 // differences like it
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
		g.Whole++
	case g.Least == 0:
		g.Least, g.Proofs = d, 1
		g.Whole++
	case d < float64(0.75*g.Least):
		g.doubt(d)
	default:
		steps := math.Floor(float64(d/g.Least) + 0.5)
		if math.Abs(float64(d/g.Least)-steps) <= grainNear {
			g.Whole++
			g.Proofs += float64(b2u(steps == 1))
		}
	}
	if g.N == grainFirst || g.N >= grainWindow {
		g.find(rpm)
	}
	if g.N >= grainWindow {
		g.N, g.Whole, g.Proofs, g.Doubts = g.N/2, g.Whole/2, g.Proofs/2, g.Doubts/4
		if g.Proofs < 0.25 {
			g.Least = 0
		}
	}
}

// doubt takes a difference smaller than a step. It replaces the step when it is confirmed as well.
func (g *grain) doubt(d float64) {
	if g.Smaller == 0 || d < float64(0.98*g.Smaller) || d > float64(1.02*g.Smaller) {
		g.Smaller, g.Doubts = d, 0
	}
	g.Doubts++
	if g.Proofs < grainProofs || g.Doubts >= grainProofs {
		g.Least, g.Proofs, g.Smaller, g.Doubts = d, 1, 0, 0
		g.Whole = g.N / 2
	}
}

// find sets the grain where nearly all differences are whole steps. Of a speed that hardly ever changes one difference
// shows it, if it is small.
func (g *grain) find(rpm float64) {
	constant := g.Whole-g.Proofs > float64(0.8*g.N) && g.Least < float64(grainLargest*rpm)
	switch {
	case g.Least > 0 && g.Whole < float64(grainOften*g.N), g.Least < float64(grainLeast*rpm) && g.Least > 0:
		g.Q = 0
	case g.Least > 0 && (g.Proofs >= grainProofs || constant):
		g.Q = g.Least
	}
}

// of returns the grain as a fraction of a speed.
func (g *grain) of(rpm float64) float64 {
	if g.Q == 0 {
		return 0
	}
	return min(g.Q/max(rpm, 1), 0.25)
}
