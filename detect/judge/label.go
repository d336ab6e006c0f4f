package judge

import "fanwatch"

// Label applies what a person knows of trouble. Normal makes the speed at which the fan is, or the level that it
// visited then, known at once; a fault keeps it from being learned.
func (f *Fan) Label(l fanwatch.Label) {
	if l.Kind.Family() != fanwatch.FamilySpeed || l.Kind == fanwatch.KindStall {
		f.labelOther(l)
		return
	}
	t := &f.s.Level
	at := -1
	switch {
	case t.Away && (l.To.IsZero() || l.To.UnixMicro() >= t.Since):
		if t.Heading < 0 {
			t.Heading = int8(t.slot())
			t.Table[t.Heading] = level{Offset: t.Candidate, Seconds: t.Held}
		}
		at = int(t.Heading)
	default:
		at = f.visited(l)
	}
	if at < 0 {
		return
	}
	x := &t.Table[at]
	if !l.Normal {
		x.Fault, x.Known = true, at == 0
		return
	}
	x.Fault, x.Known = false, true
	t.lower(x.Offset)
	f.s.Limits.Half = 0
	if t.Away && int(t.Heading) == at {
		t.Heading = -1
		t.arrive(at)
	}
}

// visited returns the level other than the first whose newest visit ended within the time of the label, or -1.
func (f *Fan) visited(l fanwatch.Label) int {
	s := &f.s
	best := -1
	for i := range s.Level.Table[:s.Level.Count] {
		at := &s.Level.Table[i]
		ended := s.Last - int64((s.Age-at.Last)*1e6)
		if i != 0 && ended >= l.From.UnixMicro()-60e6 && (l.To.IsZero() || ended <= l.To.UnixMicro()+60e6) &&
			(best < 0 || at.Last > s.Level.Table[best].Last) {
			best = i
		}
	}
	return best
}

// labelOther applies a label of texture and drift: what is now is usual.
func (f *Fan) labelOther(l fanwatch.Label) {
	if !l.Normal {
		return
	}
	s := &f.s
	switch l.Kind {
	case fanwatch.KindJitter:
		s.Jitter = jitter{}
	case fanwatch.KindWobble:
		s.Wobble = wobble{}
	case fanwatch.KindHunting:
		s.Level.Usual = max(s.Level.Usual, s.Level.Changes)
	case fanwatch.KindDrift:
		s.Drift = drift{}
		s.Level.Slow = s.Level.Base
	}
}
