package detect

import (
	"fmt"

	"fanwatch"
	"fanwatch/rcf"
)

const (
	repeatsKnown   = 200    // readings after which a fan's rate of repeats is known
	repeatsFade    = 20_000 // readings at which the counts are halved
	frozenLeast    = 30     // repeats in a row that a frozen value needs at least
	frozenLonger   = 3      // times the longest streak so far that a frozen value needs at least
	frozenOften    = 0.999  // rate of repeats from which on no value counts as frozen
	frozenUnlikely = 27.631 // -log of the probability of the streak that a frozen value needs: 1e-12
)

// repeats counts the readings of a turning fan that equal the reading before to the digit.
type repeats struct {
	RPM     float64 `json:"rpm"`     // of the newest reading; 0 when there is none to compare with
	Hz      float64 `json:"hz"`      // of the newest reading
	Jitter  float64 `json:"jitter"`  // of the newest reading
	Streak  int     `json:"streak"`  // repeats in a row up to the newest reading
	Same    int     `json:"same"`    // repeats in the streaks that have ended
	Pairs   int     `json:"pairs"`   // Same and the readings that ended the streaks
	Longest int     `json:"longest"` // the longest streak that has ended
}

// add counts a reading and reports whether it equals the one before. A streak that was found frozen does not count for
// the fan's rate.
func (p *repeats) add(r fanwatch.Reading) (same bool) {
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

// frozen reports whether the streak is improbably long for the fan's rate of repeats.
func (p *repeats) frozen() bool {
	if p.Streak < max(frozenLeast, frozenLonger*p.Longest) || p.Pairs < repeatsKnown {
		return false
	}
	rate := float64(p.Same+1) / float64(p.Pairs+2)
	return rate < frozenOften && float64(-float64(p.Streak)*rcf.Log(rate)) > frozenUnlikely
}

// sentence returns what a frozen value says to people, after the fan's name.
func (p *repeats) sentence(rpm float64) string {
	return fmt.Sprintf("reports %.1f RPM again and again (%d times, to the digit) where it used to vary: its "+
		"publisher may "+
		"repeat an old value while the fan stands still.", rpm, p.Streak+1)
}
