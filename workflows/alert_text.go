package workflows

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// why returns the sentences of the alert: what is wrong now, what was at the gravest, and that it comes and goes.
func (a *alert) why(now string) string {
	text := now
	if now != a.Worst {
		text += " Before: " + a.Worst
	}
	if a.Returns >= flapping {
		text += fmt.Sprintf(" %s comes and goes: %d times since %s.", a.Fan, a.Returns, a.Opened.UTC().Format(time.RFC3339))
	}
	return text
}

// subject returns the subject of a notification of the given step or, when the alert is over, of the last one.
func (a *alert) subject(step int) string {
	switch {
	case a.State != fanwatch.AlertResolved:
		return fmt.Sprintf("[fanwatch] %s %s: %s (step %d of %d)", strings.ToUpper(string(a.Weighed())), a.Fan, a.Kind,
			step, a.Steps)
	case a.End != nil:
		return fmt.Sprintf("[fanwatch] %s: the alert is over", a.Fan)
	}
	return "[fanwatch] " + a.end()
}

// end says that the trouble is over. Others of the fan may go on.
func (a *alert) end() string {
	if a.Kind.Family() == fanwatch.FamilySystem {
		return a.Fan + " is normal again"
	}
	return fmt.Sprintf("%s: %s is over", a.Fan, a.Kind)
}

func (a *alert) body(step int) string {
	return a.Why + "\n\n" + a.facts() + fmt.Sprintf("Step:  %d of %d\n\nAcknowledge:\n  fanwatch ack %s\n", step, a.Steps,
		a.ID)
}

func (a *alert) endBody() string {
	end, why := cmp.Or(a.NormalFrom, a.EndedAt), a.NormalWhy
	if a.End != nil {
		end, why = a.EndedAt, a.End.Anomaly.Why
	}
	text := cmp.Or(why, a.end()+".") + "\n\nIt was: " + a.Why + "\n" + a.facts()
	return text + fmt.Sprintf("Until: %s, %s in all\n", end.UTC().Format(time.RFC3339),
		max(0, end.Sub(a.Opened)).Round(time.Second))
}

// facts returns the lines that all notifications share.
func (a *alert) facts() string {
	text := ""
	if a.Site != "" {
		text = "Where: " + a.Site + "\n"
	}
	text += "Severity: " + string(a.Weighed()) + "\nSince: " + a.Opened.UTC().Format(time.RFC3339) + "\n"
	for _, line := range a.history() {
		text += line + "\n"
	}
	return text
}

// history returns a line for each acknowledgement and each topic that could not be notified.
func (a *alert) history() []string {
	var lines []string
	if a.Before.By != "" {
		lines = append(lines, fmt.Sprintf("%s acknowledged before at %s.", a.Before.By,
			a.Before.At.UTC().Format(time.RFC3339)))
	}
	if a.AckedBy != "" {
		line := fmt.Sprintf("Acknowledged by %s at %s", a.AckedBy, a.AckedAt.UTC().Format(time.RFC3339))
		if a.Note != "" {
			line += ": " + a.Note
		}
		lines = append(lines, line)
	}
	if a.Label != "" {
		lines = append(lines, fmt.Sprintf("%s said at %s: %s", a.LabelledBy, a.LabelledAt.UTC().Format(time.RFC3339),
			verdicts[a.Label]))
	}
	for _, x := range a.Answers {
		if x.Action != fanwatch.ActionAcknowledge {
			lines = append(lines, said(x))
		}
	}
	for _, f := range a.Failed {
		lines = append(lines, fmt.Sprintf("Could not be told: %s: %s", f.To, f.Why))
	}
	return lines
}

// said returns a line for an answer.
func said(x fanwatch.Answer) string {
	line := fmt.Sprintf("%s at %s: %s", x.By, x.At.UTC().Format(time.RFC3339), x.Action)
	switch x.Action {
	case fanwatch.ActionSnooze:
		line += " until " + x.Until.UTC().Format(time.RFC3339)
	case fanwatch.ActionHand:
		line += " to " + x.To
	}
	if x.Note != "" {
		line += ": " + x.Note
	}
	return line
}

var verdicts = map[fanwatch.Verdict]string{
	fanwatch.VerdictNormal: "this is normal.",
	fanwatch.VerdictFault:  "it is a fault.",
}

// next returns what the alert waits for.
func (a *alert) next() string {
	due, timed := a.due()
	at := due.UTC().Format(time.DateTime)
	switch {
	case a.State == fanwatch.AlertResolved:
		return "the end"
	case !a.NormalFrom.IsZero():
		return "normal since " + a.NormalFrom.UTC().Format(time.DateTime) + ", over at " + at + " if that holds"
	case a.Known == nil:
		return "an escalation policy"
	case a.State == fanwatch.AlertAcknowledged && !a.SnoozedUntil.IsZero():
		return "the end of the snooze at " + at
	case a.State == fanwatch.AlertOpen && a.Incident != "":
		return "the incident " + a.Incident + ", which tells in its place"
	case a.State == fanwatch.AlertOpen && timed && due.Equal(a.NotBefore):
		return "the next step to be told at " + at + ", not before: " + a.Because
	case !timed && (a.State == fanwatch.AlertAcknowledged || a.look()):
		return "the fan to be normal"
	case !timed:
		return "an acknowledgement, or the fan to be normal: every step was told, nobody is told again"
	case a.State == fanwatch.AlertAcknowledged:
		return "the last step to be told at " + at + " unless the fan is normal"
	case len(a.Turns) == 0:
		return "the topics that failed to be tried again at " + at
	}
	return "the next step to be told at " + at
}

// show writes the alert to search attributes and memo, which lists read without a worker, and to the details of the
// Temporal Web UI.
func (a *alert) show(ctx workflow.Context) {
	a.dirty = false
	a.index(ctx)
	// never fails: an Alert encodes
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoAlert: a.Alert})
	details := fmt.Sprintf("**%s**: %s\n\n%s, step %d of %d. Waits for %s.", a.Fan, a.Why, a.State, a.Step, a.Steps,
		a.next())
	for _, line := range a.history() {
		details += "\n\n" + line
	}
	if a.State == fanwatch.AlertOpen {
		details += "\n\nTo acknowledge, send the signal `acknowledge` with your name as JSON text."
	}
	workflow.SetCurrentDetails(ctx, details)
}

// index writes the search attributes. The state of an alert that is over stays the one before: that its workflow has
// ended says the same and costs nothing.
func (a *alert) index(ctx workflow.Context) {
	if !a.planned {
		// never fails: the attributes were registered at start
		_ = workflow.UpsertTypedSearchAttributes(ctx, SearchFan.ValueSet(a.Fan), SearchState.ValueSet(string(a.State)))
		return
	}
	want := []searched{{SearchFan, a.Fan}}
	if a.State != fanwatch.AlertResolved {
		want = append(want, searched{SearchState, string(a.State)})
	}
	if a.searched {
		want = append(want, searched{SearchSite, a.Site}, searched{SearchSeverity, string(a.Weighed())},
			searched{SearchKind, string(a.Kind)})
	}
	index(ctx, want...)
}
