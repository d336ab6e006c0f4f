package main

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"fanwatch"
	"fanwatch/lake"
)

// hostile is what a device may send where a name is expected.
const hostile = "x\x1b[2J\u202eevil\u2066\nfan-99  well\tcell\r\u2028\u0085\x9b1m\xff"

// filled gives a T in which all text is hostile and each list has one element.
func filled[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type() != reflect.TypeFor[time.Time]() && v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	}
}

// TestNoTableShowsRawWhatADeviceSent prints each table with hostile text in every field: no row may be forged, no
// escape code and no turn of the writing may reach the terminal.
func TestNoTableShowsRawWhatADeviceSent(t *testing.T) {
	a, now := &app{}, time.Now()
	open := filled[fanwatch.Alert]()
	open.Steps, open.Returns, open.NormalFrom = 2, 1, now
	fan := fanDetails{fanLine: filled[fanLine](), Reading: new(filled[lastReading]())}
	fan.Last.V, fan.Phase = 1, fanwatch.PhaseActive
	alerts := map[string]fanwatch.Alert{fan.Alert: open}
	for name, c := range map[string]struct {
		lines int
		print func(io.Writer) error
	}{
		"fans":        {2, func(w io.Writer) error { return printFans(w, []fanLine{fan.fanLine}, now) }},
		"alerts":      {2, func(w io.Writer) error { return printAlerts(w, []fanwatch.Alert{open}, now) }},
		"show":        {28, func(w io.Writer) error { return showFan(w, fan, alerts, now) }},
		"maintenance": {2, func(w io.Writer) error { return printMaintenances(w, fan.Maintenances) }},
		"refused":     {2, func(w io.Writer) error { return printRefusals(w, filled[[]refusal]()) }},
		"query":       {2, func(w io.Writer) error { return printBuckets(w, filled[[]bucket]()) }},
		"reconcile":   {2, func(w io.Writer) error { return a.printAccounts(w, filled[[]lake.Account]()) }},
		"by hour":     {2, func(w io.Writer) error { return a.printHours(w, filled[[]lake.HourAccount]()) }},
		"lake status": {8, func(w io.Writer) error { return printState(w, filled[lakeState]()) }},
		"lake verify": {5, func(w io.Writer) error { return a.printVerdict(w, filled[lake.VerifyReport]()) }},
		"a sentence":  {1, func(w io.Writer) error { say(w, "%s", hostile); return nil }},
	} {
		var out strings.Builder
		if err := c.print(&out); err != nil && err != errDifference && err != errUnsound {
			t.Errorf("%s: %v", name, err)
		}
		if n := strings.Count(out.String(), "\n"); n != c.lines {
			t.Errorf("%s: %d lines, want %d:\n%q", name, n, c.lines, out.String())
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool {
			return r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf,
				unicode.Zl, unicode.Zp)
		}); i >= 0 {
			t.Errorf("%s: %q reaches the terminal", name, out.String()[i:min(i+10, out.Len())])
		}
	}
}

// TestATableFitsTheTerminal: what is for people is cut, what is copied into another command is not.
func TestATableFitsTheTerminal(t *testing.T) {
	const id = "alert/fan-07/stall/20260528T202640.000000Z"
	lines := func() [][]string {
		return [][]string{{"OPENED", "WHY", "ALERT"}, {"2026-05-28 20:26:40", strings.Repeat("The rotor has stopped. ", 9),
			id}, {"2026-05-28 20:26:41", "short", id}}
	}
	for width, want := range map[int]int{0: 207, 120: 55, 100: 35, 40: least} { // in characters of the sentence
		l := lines()
		fit(l[0], l, width)
		if got := len(l[1][1]); got != want || l[1][2] != id || l[2][1] != "short" || want < 207 &&
			!strings.HasSuffix(l[1][1], "...") {
			t.Errorf("width %d: %d characters, want %d: %q", width, got, want, l)
		}
	}
}
