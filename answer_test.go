package fanwatch_test

import (
	"strings"
	"testing"
	"time"

	"fanwatch"
)

var asked = time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)

// TestAnAnswerThatCannotBeTakenSaysWhatToMend: of each rule one answer that breaks it.
func TestAnAnswerThatCannotBeTakenSaysWhatToMend(t *testing.T) {
	for _, c := range []struct {
		answer fanwatch.Answer
		want   string // part of the error; "" = it is taken
	}{
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: " ada "}, ""},
		{fanwatch.Answer{Action: fanwatch.ActionUnacknowledge, By: "ada"}, ""},
		{fanwatch.Answer{Action: fanwatch.ActionNote, By: "ada", Note: "on my way"}, ""},
		{fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: asked.Add(time.Hour)}, ""},
		{fanwatch.Answer{Action: fanwatch.ActionHand, By: "ada", To: "bob"}, ""},
		{fanwatch.Answer{V: 2, Action: fanwatch.ActionAcknowledge, By: "ada"}, "version 2 is unknown"},
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge}, "say who takes care"},
		{fanwatch.Answer{Action: "close", By: "ada"}, `"close" is unknown`},
		{fanwatch.Answer{By: "ada"}, `"" is unknown`},
		{fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada"}, "from now on"},
		{fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: asked}, "from now on"},
		{fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: asked.Add(31 * 24 * time.Hour)}, "30 days"},
		{fanwatch.Answer{Action: fanwatch.ActionHand, By: "ada", To: " "}, "to whom"},
		{fanwatch.Answer{Action: fanwatch.ActionNote, By: "ada"}, "note is empty"},
		{fanwatch.Answer{Action: fanwatch.ActionResolve, By: "ada"}, "without a reason"},
		{fanwatch.Answer{Action: fanwatch.ActionHand, By: "ada", To: "b\nob"}, "control characters"},
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", From: "\x1b[2J"}, "control characters"},
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", Token: strings.Repeat("x", 101)}, "at most 100"},
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", Note: strings.Repeat("x", 1001)}, "at most 1000"},
		{fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", Verdict: "maybe"}, "neither normal nor fault"},
	} {
		err := c.answer.Trim().Check(asked)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.answer, err, c.want)
		}
	}
}

// FuzzAnswerLegible: whatever a signal carries, what is kept of it can be listed, in one line each and within bounds.
func FuzzAnswerLegible(f *testing.F) {
	f.Add("ada", "cli", "bob", "on my way", "abc", "snooze")
	f.Add("ada\nfan-08\x1b[2J", "", strings.Repeat("\u00e9", 80), "", "\xff", "")
	f.Fuzz(func(t *testing.T, by, from, to, note, token, action string) {
		a := fanwatch.Answer{By: by, From: from, To: to, Note: note, Token: token, Action: fanwatch.Action(action)}.Legible()
		if again := a.Legible(); again != a {
			t.Fatalf("%+v, the second time %+v", a, again)
		}
		a.Action = fanwatch.ActionUnacknowledge
		if err := a.Check(asked); err != nil && a.By != "" {
			t.Fatalf("%+v: %v", a, err)
		}
	})
}
