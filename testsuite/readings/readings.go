// Package readings makes what a fleet of fans leaves behind in the landing log, for tests and benchmarks that
// need millions of rows as they really are: speeds from the edge's own simulator and estimator, scores from a
// forest, times as a scheduler wakes, arrivals in batches.
package readings

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/edge"
	"fanwatch/rcf"
)

// kinds is how many fans are simulated. The others are of the same make, but at another place in the series.
const kinds = 8

// batch is how many readings a publisher sends at once.
const batch = 10

// Fleet is a fleet's readings, one a second of each fan. Safe for concurrent use.
type Fleet struct {
	start  time.Time
	series [kinds][]measured
	runs   []uint64
}

type measured struct {
	fanwatch.Reading
	score  float64
	judged fanwatch.Judged
}

// New simulates fans from start on: a window a second. The same seed gives the same fleet.
func New(fans, windows int, start time.Time, seed uint64) (*Fleet, error) {
	f := &Fleet{start: start.UTC()}
	rng := rand.New(rand.NewPCG(seed, 0x666c656574))
	for range fans {
		f.runs = append(f.runs, 1+rng.Uint64()>>1)
	}
	var failed [kinds]error
	var simulating sync.WaitGroup
	for k := range min(kinds, fans) {
		simulating.Go(func() { f.series[k], failed[k] = simulate(k, windows, seed) })
	}
	simulating.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func simulate(kind, windows int, seed uint64) ([]measured, error) {
	fan, err := edge.NewSim(edge.SimConfig{Seed: seed + uint64(kind), RPM: 1200 + 150*float64(kind)}, 0)
	if err != nil {
		return nil, err
	}
	forest, err := rcf.New(rcf.Config{Seed: seed + uint64(kind)})
	if err != nil {
		return nil, err
	}
	tach := edge.NewTach(edge.TachConfig{})
	series := make([]measured, windows)
	var usual, square float64
	for i := range series {
		now := time.Duration(i+1) * time.Second
		if err := fan.Edges(now, tach.Observe); err != nil {
			return nil, err
		}
		series[i].Reading = tach.Window(now)
		if series[i].score, err = forest.Process([]float64{series[i].RPM}); err != nil {
			return nil, err
		}
		if i == 0 {
			usual = series[i].RPM
		}
		off := series[i].RPM - usual
		usual += off / 900
		square += (off*off - square) / float64(min(i+1, 6*3600))
		series[i].judged = judge(usual, math.Sqrt(square))
	}
	return series, nil
}

// judge returns what a judge that has known the fan for long would say of it: a band of 1.5 % or six standard
// deviations.
func judge(usual, sd float64) fanwatch.Judged {
	tenth := func(rpm float64) float64 { return math.Round(rpm*10) / 10 }
	band := max(0.015*usual, 6*sd)
	return fanwatch.Judged{Expected: tenth(usual), Low: tenth(usual - band), High: tenth(usual + band), Verdict: "normal"}
}

// Fans is how many fans there are.
func (f *Fleet) Fans() int { return len(f.runs) }

// Name is a fan's name.
func (f *Fleet) Name(fan int) string { return fmt.Sprintf("fan-%04d", fan) }

// Shard is where a fan's readings land.
func (f *Fleet) Shard(fan int) string { return fmt.Sprintf("shardId-%012d", fan%2) }

// Row is what the landing log has of a fan's window, counted from 0.
func (f *Fleet) Row(fan, window int) fanwatch.Row {
	series := f.series[fan%kinds]
	m := series[(window+fan/kinds*7919)%len(series)]
	r := fanwatch.Row{Kind: fanwatch.RowScored, Reading: m.Reading, Position: fanwatch.Position{Shard: f.Shard(fan)},
		Client: f.Name(fan), Score: m.score, Judged: m.judged}
	r.Fan, r.Run, r.Seq, r.Time = f.Name(fan), f.runs[fan], uint64(window+1), f.end(fan, window)
	last := window - window%batch + batch - 1
	r.Arrived = f.end(fan, last).Add(3 * time.Millisecond).Truncate(time.Millisecond)
	return r
}

// end is when a window ended: on its second, which each fan's clock has elsewhere, and as much later as the
// scheduler took.
func (f *Fleet) end(fan, window int) time.Time {
	rng := rand.New(rand.NewPCG(uint64(fan), uint64(window)))
	late := time.Duration(min(rng.ExpFloat64()*80, 5000)) * time.Microsecond
	return f.start.Add(time.Duration(window+1)*time.Second + time.Duration(fan*7919%1000)*time.Millisecond + late)
}
