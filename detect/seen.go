package detect

import (
	"cmp"
	"slices"

	"fanwatch"
)

// seen remembers which readings of one fan were landed: per run the intervals of sequence numbers, for
// the demo's readings their newest times. Kinesis delivers at least once and MQTT QoS 1 repeats, so
// duplicates are ordinary.
type seen struct {
	Runs  []runSeen `json:"runs"`  // in the order in which the runs were first seen; the last is the current one
	Times []uint64  `json:"times"` // of readings with Run 0, ascending Unix microseconds, the newest maxTimes
}

type runSeen struct {
	Run  uint64     `json:"run,string"`
	Have []interval `json:"have"` // ascending, disjoint, not adjacent
}

type interval [2]uint64 // first and last sequence number, inclusive

const (
	maxRuns      = 1024  // a publisher's restarts that are remembered; a duplicate out of an older run is landed again and dropped by the table's merge
	maxIntervals = 16384 // gaps within one run
	maxTimes     = 4096  // more than an hour at 1 Hz
)

// current gives the newest run, 0 before the first.
func (s *seen) current() uint64 {
	if len(s.Runs) == 0 {
		return 0
	}
	return s.Runs[len(s.Runs)-1].Run
}

// top gives the highest sequence number seen of the newest run.
func (s *seen) top() uint64 {
	if len(s.Runs) == 0 {
		return 0
	}
	have := s.Runs[len(s.Runs)-1].Have
	return have[len(have)-1][1]
}

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

// intervalHas orders an interval against a number: 0 when the number lies in it.
func intervalHas(iv interval, seq uint64) int {
	switch {
	case iv[1] < seq:
		return -1
	case iv[0] > seq:
		return 1
	}
	return 0
}

// full tells whether a run has so many gaps that no more can be remembered.
func (s *seen) full(run uint64) bool {
	r := s.run(run)
	return r != nil && len(r.Have) >= maxIntervals
}

func (s *seen) add(id fanwatch.ReadingID) {
	if id.Run == 0 {
		s.addTime(id.Seq)
		return
	}
	r := s.run(id.Run)
	if r == nil {
		if len(s.Runs) == maxRuns {
			s.Runs = slices.Delete(s.Runs, 0, 1)
		}
		s.Runs = append(s.Runs, runSeen{Run: id.Run, Have: []interval{{id.Seq, id.Seq}}})
		return
	}
	i, found := slices.BinarySearchFunc(r.Have, id.Seq, intervalHas)
	if found {
		return
	}
	// i is where the number would stand: it may extend the interval before, the one behind, or join them.
	before := i > 0 && r.Have[i-1][1]+1 == id.Seq
	behind := i < len(r.Have) && id.Seq+1 == r.Have[i][0]
	switch {
	case before && behind:
		r.Have[i-1][1] = r.Have[i][1]
		r.Have = slices.Delete(r.Have, i, i+1)
	case before:
		r.Have[i-1][1] = id.Seq
	case behind:
		r.Have[i][0] = id.Seq
	default:
		r.Have = slices.Insert(r.Have, i, interval{id.Seq, id.Seq})
	}
}

func (s *seen) addTime(t uint64) {
	i, found := slices.BinarySearchFunc(s.Times, t, cmp.Compare[uint64])
	if found || (i == 0 && len(s.Times) == maxTimes) {
		return
	}
	s.Times = slices.Insert(s.Times, i, t)
	if len(s.Times) > maxTimes {
		s.Times = slices.Delete(s.Times, 0, 1)
	}
}
