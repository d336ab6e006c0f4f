package detect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect/judge"
)

const (
	keptPauses = 32                  // pauses of a fan; of more, those that end first are dropped
	pauseFor   = 30 * 24 * time.Hour // after its end, in which readings of a pause may still come from a spool
)

// kept is what a fan had learned when a pause began. The readings of the pause are judged on a copy, which is thrown
// away at its end, so that the fan is judged then as if they had never come. The forest is not copied: it is scored by
// and does not learn.
type kept struct {
	since  int64 // of the first reading that is not learned, Unix microseconds
	judge  *judge.Fan
	forest forestState
}

// pause takes a pause, or another end of one that is known.
func (f *fan) pause(p fanwatch.Pause) {
	s := &f.st
	same := slices.IndexFunc(s.Pauses, func(x fanwatch.Pause) bool {
		return x.Maintenance == p.Maintenance && x.From.Equal(p.From)
	})
	switch {
	case same < 0:
		s.Pauses = append(s.Pauses, p)
	case p.At.After(s.Pauses[same].At):
		s.Pauses[same] = p
	}
	s.Pauses = slices.DeleteFunc(s.Pauses, func(x fanwatch.Pause) bool { return x.To.Before(p.At.Add(-pauseFor)) })
	slices.SortFunc(s.Pauses, func(a, b fanwatch.Pause) int {
		return cmp.Or(a.To.Compare(b.To), a.From.Compare(b.From), cmp.Compare(a.Maintenance, b.Maintenance))
	})
	s.Pauses = s.Pauses[max(0, len(s.Pauses)-keptPauses):]
}

// paused returns the pause in which t lies that ends last; nil when there is none.
func (f *fan) paused(t time.Time) *fanwatch.Pause {
	for i := len(f.st.Pauses) - 1; i >= 0; i-- {
		if p := &f.st.Pauses[i]; !t.Before(p.From) && t.Before(p.To) {
			return p
		}
	}
	return nil
}

// turn sets aside what was learned when a reading at t is the first of a pause, and takes it back when t is the first
// after one.
func (f *fan) turn(t time.Time) {
	switch p := f.paused(t); {
	case p != nil && f.kept == nil:
		learned := *f.judge
		f.kept = &kept{since: t.UnixMicro(), judge: &learned, forest: f.st.Forest}
	case p == nil && f.kept != nil:
		f.judge, f.st.Forest, f.kept = f.kept.judge, f.kept.forest, nil
	}
}

// judges calls do with the judge of the fan and, in a pause, with the one that was set aside.
func (f *fan) judges(do func(*judge.Fan)) {
	do(f.judge)
	if f.kept != nil {
		do(f.kept.judge)
	}
}

// keptHeader is a kept in a snapshot.
type keptHeader struct {
	Since  int64       `json:"since"`
	Judge  []byte      `json:"judge"`
	Forest forestState `json:"forest"`
}

func (k *kept) header() (*keptHeader, error) {
	if k == nil {
		return nil, nil
	}
	data, err := k.judge.MarshalBinary()
	return &keptHeader{Since: k.since, Judge: data, Forest: k.forest}, err
}

func (h *keptHeader) restore(d fanwatch.Device) (*kept, error) {
	if h == nil {
		return nil, nil
	}
	k := &kept{since: h.Since, judge: judge.New(d), forest: h.Forest}
	if err := k.judge.UnmarshalBinary(h.Judge); err != nil {
		return nil, fmt.Errorf("%w: fan %s: %w", ErrSnapshot, d.Fan, err)
	}
	if min(h.Forest.N, h.Forest.Learned, h.Forest.Odd) < 0 {
		return nil, fmt.Errorf("%w: fan %s: negative counts", ErrSnapshot, d.Fan)
	}
	return k, nil
}
