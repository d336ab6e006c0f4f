package detect

import (
	"cmp"
	"slices"

	"fanwatch"
)

// seen is the set of readings of one fan that were landed: per run the intervals of sequence numbers, for the legacy
// format the times. Kinesis and MQTT QoS 1 both deliver at least once, so duplicates are ordinary.
type seen struct {
	Runs  []runSeen `json:"runs"`  // ascending by their newest reading, at most maxRuns
	Times []uint64  `json:"times"` // of readings with Run 0, ascending, Unix microseconds, at most maxTimes
}

type runSeen struct {
	Run  uint64     `json:"run,string"`
	Have []interval `json:"have"` // ascending, disjoint, not adjacent
}

type interval [2]uint64 // first and last sequence number, inclusive

const (
	// maxRuns is the number of runs that are remembered of a fan. A duplicate of an older run is landed again, and
	// dropped by the table's merge.
	maxRuns      = 1024
	maxIntervals = 16384 // intervals of one run
	maxGaps      = 65536 // intervals of all runs of one fan, checked when a run has a multiple of countGaps
	countGaps    = 1024
	maxTimes     = 4096 // more than an hour at 1 Hz
)

// top returns the highest sequence number of the run.
func (r *runSeen) top() uint64 { return r.Have[len(r.Have)-1][1] }

func (s *seen) run(run uint64) *runSeen {
	for i := len(s.Runs) - 1; i >= 0; i-- {
		if s.Runs[i].Run == run {
			return &s.Runs[i]
		}
	}
	return nil
}

func (s *seen) has(id fanwatch.ReadingID) bool {
	if id.Run == 0 {
		_, found := slices.BinarySearch(s.Times, id.Seq)
		return found
	}
	r := s.run(id.Run)
	if r == nil {
		return false
	}
	i, found := slices.BinarySearchFunc(r.Have, id.Seq, intervalHas)
	return found && i < len(r.Have)
}

// intervalHas compares an interval with a number: -1 when it lies below, 1 above, 0 when it holds the number.
func intervalHas(iv interval, seq uint64) int {
	switch {
	case iv[1] < seq:
		return -1
	case iv[0] > seq:
		return 1
	}
	return 0
}

// full reports whether a run has maxIntervals intervals.
func (s *seen) full(run uint64) bool {
	r := s.run(run)
	return r != nil && len(r.Have) >= maxIntervals
}

// add adds a reading. following says of a reading in the legacy format that its clock is the one that is followed.
func (s *seen) add(id fanwatch.ReadingID, following bool) {
	if id.Run == 0 {
		s.addTime(id.Seq, following)
		return
	}
	last := len(s.Runs) - 1
	at := last
	for at >= 0 && s.Runs[at].Run != id.Run {
		at--
	}
	if at < 0 {
		if len(s.Runs) == maxRuns {
			s.Runs = slices.Delete(s.Runs, 0, 1)
		}
		s.Runs = append(s.Runs, runSeen{Run: id.Run, Have: []interval{{id.Seq, id.Seq}}})
		return
	}
	if at != last {
		r := s.Runs[at]
		copy(s.Runs[at:], s.Runs[at+1:])
		s.Runs[last] = r
	}
	s.Runs[last].add(id.Seq)
	if len(s.Runs[last].Have)%countGaps == 0 {
		s.dropGaps()
	}
}

// dropGaps drops the runs with the oldest newest readings while there are more than maxGaps intervals.
func (s *seen) dropGaps() {
	gaps := 0
	for i := len(s.Runs) - 1; i >= 0; i-- {
		if gaps += len(s.Runs[i].Have); gaps > maxGaps {
			s.Runs = slices.Clone(s.Runs[i+1:])
			return
		}
	}
}

func (r *runSeen) add(seq uint64) {
	i, found := slices.BinarySearchFunc(r.Have, seq, intervalHas)
	if found {
		return
	}
	// The number at i may extend the interval before, the one behind, or join them.
	before := i > 0 && r.Have[i-1][1]+1 == seq
	behind := i < len(r.Have) && seq+1 == r.Have[i][0]
	switch {
	case before && behind:
		r.Have[i-1][1] = r.Have[i][1]
		r.Have = slices.Delete(r.Have, i, i+1)
	case before:
		r.Have[i-1][1] = seq
	case behind:
		r.Have[i][0] = seq
	default:
		r.Have = slices.Insert(r.Have, i, interval{seq, seq})
	}
}

// addTime adds a time. Of more than maxTimes it drops the oldest or, where the clock that is followed was put back,
// the newest when that is further away.
func (s *seen) addTime(t uint64, following bool) {
	i, found := slices.BinarySearchFunc(s.Times, t, cmp.Compare[uint64])
	switch {
	case found:
		return
	case len(s.Times) < maxTimes:
		s.Times = slices.Insert(s.Times, i, t)
	case following && i < len(s.Times) && s.Times[len(s.Times)-1]-t > t-min(t, s.Times[0]):
		s.Times = slices.Insert(s.Times[:len(s.Times)-1], i, t)
	case i > 0:
		copy(s.Times, s.Times[1:i])
		s.Times[i-1] = t
	}
}
