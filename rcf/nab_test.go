package rcf

import (
	"math"
	"slices"
)

// The score of the Numenta Anomaly Benchmark (Lavin and Ahmad, 2015): the first detection within a labelled window
// counts by how early it is, further ones there do not, every detection elsewhere costs, and so does a window that is
// missed; 0 is the score of a detector that finds nothing, 100 that of one that finds every window at its first row.

// nabSeries is what one detector said about one series.
type nabSeries struct {
	scores   []float64
	labelled []bool // within a window
}

// nabProfile weighs hits, false alarms and misses.
type nabProfile struct {
	name             string
	hit, alarm, miss float64
}

var nabProfiles = [...]nabProfile{{"standard", 1, 0.11, 1}, {"low-FP", 1, 0.22, 1}, {"low-FN", 1, 0.11, 2}}

// nabBest is the score at the threshold that is best over all series together, and that threshold.
func nabBest(all []nabSeries, p nabProfile) (score, threshold float64) {
	type event struct{ score, gain float64 }
	var events []event
	windows := 0
	for _, s := range all {
		gains := nabGains(s.labelled, p)
		for i := nabProbation(len(s.scores)); i < len(s.scores); i++ {
			if !s.labelled[i] {
				events = append(events, event{s.scores[i], gains[i]})
			}
		}
		for begin, end := range nabWindows(s.labelled) {
			windows++
			// Going down with the threshold, a window's gain changes each time that an earlier row is detected.
			best := -p.miss
			order := make([]int, 0, end-begin)
			for i := begin; i < end; i++ {
				order = append(order, i)
			}
			slices.SortStableFunc(order, func(a, b int) int { return descending(s.scores[a], s.scores[b]) })
			for _, i := range order {
				if gains[i] > best {
					events = append(events, event{s.scores[i], gains[i] - best})
					best = gains[i]
				}
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return descending(a.score, b.score) })
	nothing := -p.miss * float64(windows)
	at := nothing
	best := nothing
	threshold = math.Inf(1)
	for i, e := range events {
		at += e.gain
		if (i+1 == len(events) || events[i+1].score != e.score) && at > best {
			best, threshold = at, e.score
		}
	}
	return 100 * (best - nothing) / (p.hit*float64(windows) - nothing), threshold
}

func descending(a, b float64) int {
	return int(math.Copysign(1, b-a)) * b2i(a != b)
}

// nabProbation is the number of rows at the beginning that do not count.
func nabProbation(rows int) int { return min(rows*15/100, 750) }

// nabGains is what a detection at each row gives.
func nabGains(labelled []bool, p nabProfile) []float64 {
	gains := make([]float64, len(labelled))
	for i := range gains {
		gains[i] = -p.alarm
	}
	previous := [2]int{-1, -1}
	place := func(until int) { // false alarms soon after a window cost less
		if begin, end := previous[0], previous[1]; end > 0 {
			for i := end; i < until; i++ {
				gains[i] = p.alarm * nabSigmoid(float64(i-(end-1))/float64(max(1, end-begin-1)))
			}
		}
	}
	for begin, end := range nabWindows(labelled) {
		place(begin)
		for i := begin; i < end; i++ {
			gains[i] = p.hit * nabSigmoid(-float64(end-i)/float64(end-begin)) / nabSigmoid(-1)
		}
		previous = [2]int{begin, end}
	}
	place(len(labelled))
	return gains
}

// nabSigmoid goes from nearly 1 at the beginning of a window, -1, over 0 at its end, 0, to -1 far behind it.
func nabSigmoid(position float64) float64 {
	if position > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*position)) - 1
}

// nabWindows yields the runs of labelled rows.
func nabWindows(labelled []bool) func(yield func(begin, end int) bool) {
	return func(yield func(begin, end int) bool) {
		for i := 0; i < len(labelled); {
			j := i
			for j < len(labelled) && labelled[j] {
				j++
			}
			if j > i && !yield(i, j) {
				return
			}
			i = max(j, i+1)
		}
	}
}
