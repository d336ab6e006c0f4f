package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// This file has how Fan announces what persons know of its alerts.

// announceAgain is the time between two tries of a label that could not be announced.
const announceAgain = time.Minute

// checkLabel returns an error when the label is not valid, or not of this fan.
func (f *fan) checkLabel(l fanwatch.Label) error {
	if l.Fan != f.Status.Device.Fan {
		return f.otherFan(l.Fan)
	}
	return l.Check()
}

// takeLabels takes the labels that wait. One that is not valid is dropped: Alert makes them.
func (f *fan) takeLabels(ctx workflow.Context) {
	var l fanwatch.Label
	for f.labels.ReceiveAsync(&l) {
		f.signalCount++
		if f.checkLabel(l) == nil {
			f.addLabel(ctx, l)
		}
		l = fanwatch.Label{}
	}
}

// addLabel has the label announced, unless it says what the newest one of its alert says.
func (f *fan) addLabel(ctx workflow.Context, l fanwatch.Label) {
	if l.At.IsZero() {
		l.At = workflow.Now(ctx).UTC()
	}
	for _, before := range slices.Backward(f.Status.Labels) {
		if before.Alert != l.Alert {
			continue
		}
		if before.Normal == l.Normal && before.By == l.By && before.Note == l.Note {
			return
		}
		break
	}
	f.Labels = append(f.Labels, l)
	all := append(slices.Clone(f.Status.Labels), l)
	f.Status.Labels = all[max(0, len(all)-fanwatch.MaxLabels):]
	f.changed, f.poke = true, true
}

// announceLabels begins to announce the oldest label that waits, for which nothing else does. It returns the time after
// which to call it again, 0 = not.
func (f *fan) announceLabels(ctx workflow.Context) time.Duration {
	if len(f.Labels) == 0 || f.announcing {
		return 0
	}
	if now := workflow.Now(ctx); now.Before(f.announceAt) {
		return f.announceAt.Sub(now)
	}
	f.announcing = true
	l := f.Labels[0]
	workflow.GoNamed(ctx, "announce a label", func(ctx workflow.Context) {
		if err := announceLabel(ctx, l); err != nil {
			workflow.GetLogger(ctx).Error("a label is not on the stream, tried again in 1 min", "fan", l.Fan, "err", err)
			f.announceAt = workflow.Now(ctx).Add(announceAgain)
		} else {
			f.Labels = f.Labels[1:]
		}
		f.announcing, f.poke = false, true
	})
	return 0
}

// labelled takes the label of an alert that is over, and returns when it is on the stream.
func (f *fan) labelled(ctx workflow.Context, l fanwatch.Label) error {
	f.addLabel(ctx, l)
	ok, err := workflow.AwaitWithTimeout(ctx, time.Minute, func() bool { return len(f.Labels) == 0 })
	if err == nil && !ok {
		err = fmt.Errorf("the stream does not take the label of %s yet: it is tried again until it does", l.Alert)
	}
	return err
}
