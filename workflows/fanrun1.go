package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// This file has the code of runs of Fan that began before changeFan2. It replays their histories and runs until
// operator.Client.Start, at the start of a worker, has them renewed.

// watchRun1 takes signals one by one until the run ends or is to renew itself.
func (f *fan) watchRun1(ctx workflow.Context, cancelled func() bool) error {
	full := func() bool {
		return f.signalCount >= f.PerRun || workflow.GetInfo(ctx).GetContinueAsNewSuggested() || f.ended()
	}
	for {
		var o fanwatch.Observation
		var a fanwatch.Alert
		switch {
		case cancelled() || f.renewing(ctx):
			f.old, f.renewed = false, true
			return f.watch(ctx, cancelled)
		case f.observations.ReceiveAsync(&o):
			f.signalCount++
			if err := f.locked(ctx, func(ctx workflow.Context) error { return f.observeRun1(ctx, o) }); err != nil {
				return err
			}
		case f.overs.ReceiveAsync(&a):
			f.signalCount++
			if err := f.locked(ctx, func(ctx workflow.Context) error { return f.overRun1(ctx, a) }); err != nil {
				return err
			}
		case full() && workflow.AllHandlersFinished(ctx):
			return nil
		default:
			if err := workflow.Await(ctx, func() bool {
				return f.observations.Len() > 0 || f.overs.Len() > 0 || f.renew.Len() > 0 || cancelled() ||
					(full() && workflow.AllHandlersFinished(ctx))
			}); err != nil {
				return err
			}
		}
	}
}

// renewing reports whether the run is asked to renew itself. Each request has a version marker of its own: one that an
// earlier worker passed over has none in the history, and stays passed over in replay.
func (f *fan) renewing(ctx workflow.Context) bool {
	for f.renew.ReceiveAsync(nil) {
		f.asked++
		if workflow.GetVersion(ctx, fmt.Sprintf("fan-renew-%d", f.asked), workflow.DefaultVersion,
			1) != workflow.DefaultVersion {
			return true
		}
	}
	return false
}

func (f *fan) observeRun1(ctx workflow.Context, o fanwatch.Observation) error {
	if !f.observed(ctx, o) {
		return nil
	}
	var err error
	switch {
	case o.Anomaly.Kind != fanwatch.KindNone && !f.alerted():
		err = f.openRun1(ctx, o)
	case o.Anomaly.Kind != fanwatch.KindNone:
		err = f.signalRun1(ctx, SignalObserve, o)
	case f.alerted():
		err = f.signalRun1(ctx, SignalResolve, o)
	}
	f.show(ctx)
	return err
}

func (f *fan) openRun1(ctx workflow.Context, o fanwatch.Observation) error {
	at := o.Time
	if o.Anomaly.Kind == fanwatch.KindSilent {
		at = workflow.Now(ctx).UTC()
	}
	id, started, err := f.start(ctx, o, at)
	if started {
		f.setAlert("", id)
		f.Status.Alerts++
	}
	return err
}

func (f *fan) overRun1(ctx workflow.Context, a fanwatch.Alert) error {
	one := f.Status.Families[""]
	if one.Alert != a.ID {
		return nil
	}
	f.setAlert("", "")
	var err error
	if one.Last.Anomaly.Kind != fanwatch.KindNone {
		err = f.openRun1(ctx, one.Last)
	}
	f.show(ctx)
	return err
}

func (f *fan) signalRun1(ctx workflow.Context, signal string, o fanwatch.Observation) error {
	runs, err := f.signal(ctx, f.Status.Families[""].Alert, signal, o)
	if err != nil || runs {
		return err
	}
	f.setAlert("", "")
	if signal == SignalObserve {
		return f.openRun1(ctx, o)
	}
	return nil
}

func (f *fan) retireRun1(ctx workflow.Context) error {
	return f.locked(ctx, func(ctx workflow.Context) error {
		d := f.next(ctx, f.Status.Device)
		d.Retired = true
		if err := announce(ctx, d); err != nil {
			return err
		}
		f.Status.Device = d
		f.enter(ctx, fanwatch.PhaseRetired)
		f.show(ctx)
		return nil
	})
}
