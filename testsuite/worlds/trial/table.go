package trial

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fanwatch/testsuite/worlds"
)

// Write writes two tables, of healthy worlds and of faults, a short one for the README, then a line "figure NAME VALUE
// UNIT" for each figure. The project's judge has no name in its figures; the others' end with theirs.
func (r *Results) Write(to io.Writer) error {
	for _, line := range r.Skipped {
		fmt.Fprintf(to, "skipped %s\n", line)
	}
	if len(r.Healthy) > 0 {
		if err := r.writeHealthy(to); err != nil {
			return err
		}
	}
	if len(r.Faulty) > 0 {
		if err := r.writeFaulty(to); err != nil {
			return err
		}
	}
	r.writeSummary(to)
	r.writeFigures(to)
	return nil
}

// Rate returns the alerts per fan and day, or per fan in all where some are allowed.
func (h *Healthy) Rate() float64 {
	if h.World.Regime.Allowed() > 0 {
		return float64(h.Alerts) / float64(h.Fans)
	}
	return float64(h.Alerts) / h.Days
}

func (r *Results) healthy(world, judge string) *Healthy {
	for i := range r.Healthy {
		if h := &r.Healthy[i]; h.World.Name == world && h.Judge == judge {
			return h
		}
	}
	return nil
}

func (r *Results) faulty(fault, judge string) *Faulty {
	for i := range r.Faulty {
		if f := &r.Faulty[i]; f.Fault.Name == fault && f.Judge == judge {
			return f
		}
	}
	return nil
}

func (r *Results) writeHealthy(to io.Writer) error {
	for _, regime := range []worlds.Regime{worlds.Announced, worlds.Unannounced, worlds.Said, worlds.Nights} {
		names := r.namesOf(regime)
		if len(names) == 0 {
			continue
		}
		unit := "alerts (of them pages) per fan and day; to be at most 0.01"
		if n := regime.Allowed(); n > 0 {
			unit = fmt.Sprintf("alerts (of them pages) per fan in all; at most %d are allowed", n)
		}
		fmt.Fprintf(to, "\nhealthy fans, %s regime: %s\n", regime, unit)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(w, "world\tfan-days\t%s\t\n", strings.Join(r.Judges, "\t"))
		for _, name := range names {
			row := []string{name, ""}
			for _, judge := range r.Judges {
				h := r.healthy(name, judge)
				if h == nil {
					row = append(row, "-")
					continue
				}
				row[1] = cmp.Or(row[1], fmt.Sprintf("%.3g", h.Days))
				cell := fmt.Sprintf("%.3g (%.3g)", h.Rate(), h.Rate()*float64(h.Pages)/max(1, float64(h.Alerts)))
				if h.Over > 0 {
					cell += fmt.Sprintf(" %d over", h.Over)
				}
				row = append(row, cell)
			}
			fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Results) namesOf(regime worlds.Regime) []string {
	var names []string
	for _, h := range r.Healthy {
		if h.World.Regime == regime && !slices.Contains(names, h.World.Name) {
			names = append(names, h.World.Name)
		}
	}
	return names
}

func (r *Results) writeFaulty(to io.Writer) error {
	fmt.Fprint(to, "\nfaults: found of those that can be seen, median and worst delay; late: found after the delay "+
		"wanted;\npaged: how many became a page, median delay; size: of the fault when it was found; hidden: below a "+
		"step, the noise or the interval;\nbefore: alerts per fan and day before it; chance: how many those alone "+
		"would find\n")
	for _, judge := range r.Judges {
		fmt.Fprintf(to, "\n%s\n", judge)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "fault\tfound\tmedian\tworst\tlate\tpaged\tafter\tat size\tworst\thidden\tbefore\tchance\tfound as\t")
		for i := range worlds.Faults() {
			f := r.faulty(worlds.Faults()[i].Name, judge)
			if f == nil {
				continue
			}
			median, worst, page, size, largest := "-", "-", "-", "-", "-"
			if len(f.Pages) > 0 {
				page = short(middle(f.Pages))
			}
			if f.Found > 0 {
				median, worst = short(f.Median()), short(f.Delays[len(f.Delays)-1])
				if f.Fault.Ramp > 0 {
					a, b := f.sizes()
					size, largest = fmt.Sprintf("x%.2f", a), fmt.Sprintf("x%.2f", b)
				}
			}
			fmt.Fprintf(w, "%s\t%d/%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%.2g\t%.1f\t%s\t\n", f.Fault.Name, f.Found,
				f.Fans, median, worst, f.Late, len(f.Pages), page, size, largest, f.Hidden,
				float64(f.Before)/max(1e-9, f.Days), f.Chance, kindsText(f.Kinds))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for i := range worlds.Faults() {
			if f := r.faulty(worlds.Faults()[i].Name, judge); f != nil && len(f.Missed) > 0 && judge == Project {
				fmt.Fprintf(to, "  not found: %s on %s\n", f.Fault.Name, strings.Join(f.Missed, " "))
			}
		}
	}
	return nil
}

// Median returns the median delay of the faults that were found; 0 when none was.
func (f *Faulty) Median() time.Duration {
	if len(f.Delays) == 0 {
		return 0
	}
	return middle(f.Delays)
}

// middle returns the median of sorted delays, of which there is at least one.
func middle(sorted []time.Duration) time.Duration {
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// sizes returns the median and the furthest factor at which a slow fault was found.
func (f *Faulty) sizes() (median, worst float64) {
	s := slices.Clone(f.Sizes)
	slices.Sort(s)
	if s[0] < 1 { // a speed: the smaller, the worse
		slices.Reverse(s)
	}
	return s[len(s)/2], s[len(s)-1]
}

func kindsText(kinds map[string]int) string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(kinds[b]-kinds[a], strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", kinds[name], name)
	}
	return strings.Join(names, ", ")
}

// short writes a delay with two digits or so.
func short(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

func (r *Results) writeFigures(to io.Writer) {
	fmt.Fprintln(to)
	suffix := func(judge string) string {
		if judge == Project {
			return ""
		}
		return "." + judge
	}
	type total struct{ alerts, pages, days float64 }
	totals := map[string]total{}
	for i := range r.Healthy {
		h := &r.Healthy[i]
		unit := "alerts/fan-day"
		if h.World.Regime.Allowed() > 0 {
			unit = "alerts/fan"
		} else {
			t := totals[h.Judge]
			totals[h.Judge] = total{t.alerts + float64(h.Alerts), t.pages + float64(h.Pages), t.days + h.Days}
		}
		fmt.Fprintf(to, "figure detect.false.%s%s %.4g %s\n", h.World.Name, suffix(h.Judge), h.Rate(), unit)
	}
	for _, judge := range r.Judges {
		if t, ok := totals[judge]; ok {
			fmt.Fprintf(to, "figure detect.false%s %.4g alerts/fan-day\n", suffix(judge), t.alerts/t.days)
			fmt.Fprintf(to, "figure detect.false_pages%s %.4g pages/1000-fan-days\n", suffix(judge), 1000*t.pages/t.days)
			fmt.Fprintf(to, "figure detect.fan_days%s %.4g days\n", suffix(judge), t.days)
		}
	}
	for _, judge := range r.Judges {
		over, fans := 0, 0
		for i := range r.Healthy {
			if h := &r.Healthy[i]; h.Judge == judge && h.World.Regime.Allowed() > 0 {
				over, fans = over+h.Over, fans+h.Fans
			}
		}
		if fans > 0 {
			fmt.Fprintf(to, "figure detect.fans_over%s %d of-%d-fans\n", suffix(judge), over, fans)
		}
	}
	for i := range r.Faulty {
		f := &r.Faulty[i]
		if f.Fans == 0 {
			continue
		}
		name := f.Fault.Name + suffix(f.Judge)
		fmt.Fprintf(to, "figure detect.found.%s %.4g %%\n", name, 100*float64(f.Found)/float64(f.Fans))
		if f.Found > 0 {
			fmt.Fprintf(to, "figure detect.delay.%s %.4g s\n", name, f.Median().Seconds())
			fmt.Fprintf(to, "figure detect.delay_worst.%s %.4g s\n", name, f.Delays[len(f.Delays)-1].Seconds())
			if f.Fault.Jitter > 0 && f.Fault.Ramp > 0 {
				_, worst := f.sizes()
				fmt.Fprintf(to, "figure detect.factor_worst.%s %.4g x\n", name, worst)
			}
		}
	}
}
