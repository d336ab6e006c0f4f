package trial

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"fanwatch/testsuite/worlds"
)

// groups are the rows of the summary that stand for faults.
var groups = []struct {
	text   string
	faults []string
}{
	{"stall", []string{"stall", "stall-no-signal", "starts-not", "early-stall"}},
	{"10 to 25 % slower at once", []string{"drop-25", "drop-12", "drop-10", "early-drop-25", "early-drop-10"}},
	{"3 to 5 % slower at once", []string{"drop-5", "drop-3", "early-drop-5"}},
	{"10 % faster at once", []string{"rise-10"}},
	{"6 % slower over an hour", []string{"ramp-6"}},
	{"10 % slower over 12 h", []string{"drift-10"}},
	{"5 % slower over 6 h", []string{"drift-5"}},
	{"8 % slower over 30 h", []string{"drift-8"}},
	{"2 to 6 times the jitter at once", []string{"jitter-2", "jitter-2.5", "jitter-6"}},
	{"jitter grows to 4 times in 10 h", []string{"jitter-grows"}},
	{"surges, short stops", []string{"surges-4", "stops"}},
	{"does not follow its duty, slow at each", []string{"follows-not", "slow-at-each"}},
	{"where it is moved untold: 10 % slower, 6 times the jitter", []string{"known-drop-10", "known-jitter-6"}},
}

// writeSummary writes the table of the README.
func (r *Results) writeSummary(to io.Writer) {
	fmt.Fprintf(to, "\n| | %s |\n|---%s|\n", strings.Join(r.Judges, " | "), strings.Repeat("|---", len(r.Judges)))
	row := func(text string, cell func(judge string) string) {
		line := "| " + text
		empty := true
		for _, judge := range r.Judges {
			c := cell(judge)
			empty = empty && c == ""
			line += " | " + c
		}
		if !empty {
			fmt.Fprintln(to, line+" |")
		}
	}
	sum := func(judge string, regime worlds.Regime) (t Healthy) {
		for i := range r.Healthy {
			if h := &r.Healthy[i]; h.Judge == judge && h.World.Regime == regime {
				t.Fans, t.Days, t.Alerts, t.Pages = t.Fans+h.Fans, t.Days+h.Days, t.Alerts+h.Alerts, t.Pages+h.Pages
			}
		}
		return t
	}
	row("false alerts per fan and day", func(judge string) string {
		t := sum(judge, worlds.Announced)
		return ratio(float64(t.Alerts), t.Days)
	})
	row("of them pages, in 1,000 fan-days", func(judge string) string {
		t := sum(judge, worlds.Announced)
		return ratio(1000*float64(t.Pages), t.Days)
	})
	row("alerts per fan, moved untold (2 are allowed)", func(judge string) string {
		t := sum(judge, worlds.Unannounced)
		return ratio(float64(t.Alerts), float64(t.Fans))
	})
	row("alerts per fan, moved untold and called normal at the first (1 is allowed)", func(judge string) string {
		t := sum(judge, worlds.Said)
		return ratio(float64(t.Alerts), float64(t.Fans))
	})
	row("alerts per fan, off each of six nights untold (6 are allowed)", func(judge string) string {
		t := sum(judge, worlds.Nights)
		return ratio(float64(t.Alerts), float64(t.Fans))
	})
	for _, g := range groups {
		row(g.text, func(judge string) string { return r.group(judge, g.faults) })
	}
}

// ratio writes a/b with two digits, and nothing where b is 0.
func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	if x := a / b; x < 100 {
		return fmt.Sprintf("%.2g", x)
	}
	return fmt.Sprintf("%.0f", a/b)
}

// group writes how many of some faults a judge found, in what time, and how many of them its usual alerts would find.
func (r *Results) group(judge string, faults []string) string {
	var found, fans int
	var chance float64
	var delays []time.Duration
	for _, name := range faults {
		if f := r.faulty(name, judge); f != nil {
			found, fans, chance, delays = found+f.Found, fans+f.Fans, chance+f.Chance, append(delays, f.Delays...)
		}
	}
	if fans == 0 {
		return ""
	}
	text := fmt.Sprintf("%d/%d", found, fans)
	if found > 0 {
		slices.Sort(delays)
		text += ", " + short(middle(delays))
	}
	if chance >= 0.5 {
		text += fmt.Sprintf(" (%.0f by chance)", chance)
	}
	return text
}
