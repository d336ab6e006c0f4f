package workflows

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// This file has what Fan keeps of each family of trouble: FanStatus.Families.

// load takes over the states with which the run begins. An alert may have been ended from outside; then signalling it
// opens the next.
func (f *fan) load() {
	if len(f.Status.Families) == 0 {
		f.Status.Families = map[fanwatch.Family]fanwatch.FamilyStatus{
			"": {Last: f.Status.Last, Since: f.Status.Since, Alert: f.Status.Alert}}
	}
	if !f.single {
		f.divide()
	}
	if f.old {
		return
	}
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		s := f.Status.Families[family]
		f.pending[family] = s.Alert != "" && s.Last.V != 0
	}
}

// divide gives the one state that a run of an earlier program kept, with its alert, to the family of its trouble or
// else of its alert. The others have not been in trouble up to that position.
func (f *fan) divide() {
	one := f.Status.Families[""]
	family := cmp.Or(one.Last.Of(), familyOf(one.Alert))
	if family == "" {
		return
	}
	all := one
	all.Alert, all.Last.Anomaly, all.Last.Family = "", fanwatch.Anomaly{}, ""
	one.Last.Family = family
	f.Status.Families[family], f.Status.Families[""] = one, all
	f.pending[family], f.again[family] = f.pending[""], f.again[""]
	delete(f.pending, "")
	delete(f.again, "")
}

// familyOf returns the family of the kind in an alert's ID; "" for no ID.
func familyOf(alert string) fanwatch.Family {
	if part := strings.Split(alert, "/"); len(part) == 4 {
		return fanwatch.Kind(part[2]).Family()
	}
	return ""
}

// accept sets the state of the observation's family, or of all, and reports whether it is later than the last: a scorer
// sends again after a crash, and a superseded attempt may send old ones.
func (f *fan) accept(o fanwatch.Observation) bool {
	if o.V != fanwatch.ObservationVersion || f.Status.Phase == fanwatch.PhaseRetired {
		return false
	}
	if family := o.Of(); family != "" && !f.single {
		s, ok := f.Status.Families[family]
		if !ok {
			s = f.Status.Families[""]
		}
		return f.advance(family, s, o)
	}
	accepted := false
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		if !f.advance(family, f.Status.Families[family], o) {
			continue
		}
		accepted = true
		if family != "" && f.Status.Families[family].Alert == "" { // it does not differ from the one at "" now
			delete(f.Status.Families, family)
			delete(f.pending, family)
			delete(f.again, family)
		}
	}
	return accepted
}

// advance sets the family's state, which was s, to o, if o is later.
func (f *fan) advance(family fanwatch.Family, s fanwatch.FamilyStatus, o fanwatch.Observation) bool {
	if !o.After(s.Last) {
		return false
	}
	if o.Anomaly.Kind != s.Last.Anomaly.Kind {
		s.Since = o.Time
	}
	s.Last = o
	f.Status.Families[family] = s
	f.pending[family] = true
	delete(f.resolved, family)
	return true
}

// over removes an alert that is over from its family.
func (f *fan) over(alert string) {
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		if alert != "" && f.Status.Families[family].Alert == alert {
			f.setAlert(family, "")
			f.again[family] = true
		}
	}
}

// resolvedByHand has the family of an alert that a person resolved wait for the next observation of trouble, for
// resolvedFor at most.
func (f *fan) resolvedByHand(ctx workflow.Context, a fanwatch.Alert) {
	if a.EndedBy == "" || workflow.GetVersion(ctx, changeByHand, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	if family := familyOf(a.ID); family != "" {
		f.resolved[family] = workflow.Now(ctx).Add(resolvedFor)
	}
}

// reopenAfter returns the time after which the first family whose alert was resolved by hand may have another; 0: none
// waits.
func (f *fan) reopenAfter(ctx workflow.Context) (first time.Duration) {
	for _, family := range workflow.DeterministicKeys(f.resolved) {
		left := f.resolved[family].Sub(workflow.Now(ctx))
		if left <= 0 {
			delete(f.resolved, family)
		} else if first == 0 || left < first {
			first = left
		}
	}
	return first
}

func (f *fan) setAlert(family fanwatch.Family, id string) {
	s := f.Status.Families[family]
	s.Alert = id
	f.Status.Families[family] = s
	f.changed = true
}

// alerted reports whether an alert of the fan is open.
func (f *fan) alerted() bool {
	return slices.ContainsFunc(workflow.DeterministicKeys(f.Status.Families), func(family fanwatch.Family) bool {
		return f.Status.Families[family].Alert != ""
	})
}

// forget ends the trouble of every family, and what is suggested.
func (f *fan) forget() {
	f.Status.Suggestions, f.Status.Dismissed = nil, nil
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		s := f.Status.Families[family]
		s.Last.Anomaly = fanwatch.Anomaly{}
		f.Status.Families[family] = s
	}
}

// enter sets the fan's phase, which begins now.
func (f *fan) enter(ctx workflow.Context, p fanwatch.Phase) {
	s := f.Status.Families[""]
	s.Since = workflow.Now(ctx)
	f.Status.Phase, f.Status.Families[""] = p, s
}

// summarise sets the fields of the status that tell of the gravest trouble.
func (f *fan) summarise() {
	s := &f.Status
	best := s.Families[""]
	if troubles := s.Troubles(); len(troubles) > 0 {
		best = troubles[0]
	}
	for _, family := range workflow.DeterministicKeys(s.Families) {
		x := s.Families[family]
		if best.Last.Anomaly.Kind == fanwatch.KindNone {
			if x.Last.After(best.Last) {
				best.Last = x.Last
			}
			if x.Since.After(best.Since) {
				best.Since = x.Since
			}
		}
		best.Alert = cmp.Or(best.Alert, x.Alert)
	}
	s.Last, s.Since, s.Alert = best.Last, best.Since, best.Alert
}
