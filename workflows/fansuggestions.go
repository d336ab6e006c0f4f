package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// This file has what Fan does with what the fan's readings suggest.

// observed is accept for an observation as it comes. What it suggests is kept apart from the states, unless one of
// these is of a later position.
func (f *fan) observed(ctx workflow.Context, o fanwatch.Observation) bool {
	suggestions := o.Suggestions
	o.Suggestions = nil
	if !f.accept(o) {
		return false
	}
	for _, family := range workflow.DeterministicKeys(f.Status.Families) {
		if f.Status.Families[family].Last.Position.Compare(o.Position) > 0 {
			return true
		}
	}
	f.suggest(ctx, suggestions)
	return true
}

// suggest keeps what is suggested, but for what was dismissed or holds already.
func (f *fan) suggest(ctx workflow.Context, all []fanwatch.Suggestion) {
	f.Status.Suggestions = slices.DeleteFunc(slices.Clone(all), func(s fanwatch.Suggestion) bool {
		return s.V != fanwatch.SuggestionVersion || workflow.Now(ctx).Before(f.Status.Dismissed[s.Kind]) ||
			holds(s.Change.Apply(f.Status.Device), f.Status.Device.Clamped())
	})
}

// holds reports whether the device has what is suggested: suggestions are of hours and silence alone.
func holds(suggested, d fanwatch.Device) bool {
	return suggested.Hours == d.Hours && suggested.Silence == d.Silence
}

// checkAnswer returns an error when nothing stands that the answer is about, or the fan cannot take it.
func (f *fan) checkAnswer(a fanwatch.SuggestionAnswer) error {
	all, err := a.Of(f.Status.Device.Fan, f.Status.Suggestions)
	if err != nil {
		return temporal.NewNonRetryableApplicationError(err.Error(), TypeNotSuggested, nil)
	}
	if a.Accept {
		return f.check(changed(f.Status.Device, all))
	}
	return nil
}

// changed returns the device with what is suggested.
func changed(d fanwatch.Device, all []fanwatch.Suggestion) fanwatch.Device {
	for _, s := range all {
		d = s.Change.Apply(d)
	}
	return d
}

// answer configures what the suggestions say, or dismisses them for fanwatch.DismissedFor.
func (f *fan) answer(ctx workflow.Context, a fanwatch.SuggestionAnswer) (d fanwatch.Device, err error) {
	err = f.locked(ctx, func(ctx workflow.Context) error {
		if err := f.checkAnswer(a); err != nil { // answered by another meanwhile
			return err
		}
		all, _ := a.Of(f.Status.Device.Fan, f.Status.Suggestions) // as checkAnswer found them
		d = f.Status.Device
		if a.Accept {
			var err error
			if d, err = f.set(ctx, changed(d, all)); err != nil {
				return err
			}
		}
		for _, s := range all {
			if a.Accept {
				delete(f.Status.Dismissed, s.Kind)
				continue
			}
			if f.Status.Dismissed == nil {
				f.Status.Dismissed = map[fanwatch.SuggestionKind]time.Time{}
			}
			f.Status.Dismissed[s.Kind] = workflow.Now(ctx).Add(fanwatch.DismissedFor).UTC()
		}
		f.suggest(ctx, slices.DeleteFunc(slices.Clone(f.Status.Suggestions), func(s fanwatch.Suggestion) bool {
			return slices.ContainsFunc(all, func(x fanwatch.Suggestion) bool { return x.Kind == s.Kind })
		}))
		f.show(ctx)
		return nil
	})
	return d, err
}
