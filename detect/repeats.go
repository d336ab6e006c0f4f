package detect

import (
	"fanwatch"
	"fanwatch/rcf"
)

const (
	repeatsKnown   = 200    // readings after which a fan's own rate of repeats is known
	repeatsFade    = 20_000 // readings at which both counts are halved
	frozenLeast    = 30     // readings in a row
	frozenLonger   = 3      // times the longest run of equal readings so far: equal readings come in runs
	frozenOften    = 0.999  // a rate of repeats from which on nothing is frozen
	frozenUnlikely = 27.631 // -log of the probability of so many repeats, 1e-12
)

// repeats counts how often a turning fan's reading says the same as the one before, to the digit.
type repeats struct {
	RPM     float64 `json:"rpm"` // of the newest reading, 0 when there is none to compare with
	Hz      float64 `json:"hz"`
	Jitter  float64 `json:"jitter"`
	Streak  int     `json:"streak"`  // readings in a row that said the same as the one before
	Same    int     `json:"same"`    // in the streaks that have ended
	Pairs   int     `json:"pairs"`   // in the streaks that have ended, with the readings that ended them
	Longest int     `json:"longest"` // streak that has ended
}

// take counts a reading and tells whether it says the same as the one before. A streak that was found frozen is no
// part of the fan's own rate.
func (p *repeats) take(r fanwatch.Reading) (same bool) {
	known := p.RPM > 0 && r.RPM > 0
	same = known && r.RPM == p.RPM && r.Hz == p.Hz && r.Jitter == p.Jitter
	switch {
	case same:
		p.Streak++
	case known && !p.frozen():
		p.Pairs += p.Streak + 1
		p.Same += p.Streak
		p.Longest = max(p.Longest, p.Streak)
	}
	if !same {
		p.Streak = 0
	}
	if p.Pairs >= repeatsFade {
		p.Pairs, p.Same, p.Longest = p.Pairs/2, p.Same/2, p.Longest/2
	}
	p.RPM, p.Hz, p.Jitter = r.RPM, r.Hz, r.Jitter
	return same
}

// frozen reports whether the streak is longer than a fan that repeats itself as often as this one ever has.
func (p *repeats) frozen() bool {
	if p.Streak < max(frozenLeast, frozenLonger*p.Longest) || p.Pairs < repeatsKnown {
		return false
	}
	rate := float64(p.Same+1) / float64(p.Pairs+2)
	return rate < frozenOften && float64(-float64(p.Streak)*rcf.Log(rate)) > frozenUnlikely
}
