// Command figures reads what go test -bench prints, on standard input, and gives a table for people and
// then a line "figure NAME VALUE UNIT" for each figure: the median over the runs of -count. The input's
// lines go to standard error as they come, as a sign of life.
//
// NAME is the package, the benchmark and its sub-benchmarks: BenchmarkScoreUpdate/d1/k1 of package rcf gives
// rcf.score_update.d1.k1 in ns, and .bytes and .allocs beside it; what testsuite and the packages in it measure has
// no package in front. A metric of the benchmark's own (ReportMetric) is named by its unit: "p50-ms" gives NAME.p50
// in ms, a unit without a dash NAME itself in that unit, and one with a dot before its dash is the whole of another
// figure's name: "edge.rss-B" gives edge.rss in B. That is for what must be measured from outside its package.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/perf/benchfmt"
)

func main() {
	if err := run(io.TeeReader(os.Stdin, os.Stderr), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "figures: %v\n", err)
		os.Exit(1)
	}
}

// figure is one measured quantity, with a value for each run.
type figure struct {
	name, unit string
	values     []float64
}

func run(in io.Reader, out io.Writer) error {
	figures, err := read(in)
	if err != nil {
		return err
	}
	if len(figures) == 0 {
		return errors.New("no benchmark has run")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tmedian\tmin\tmax\truns\tunit\t")
	for _, f := range figures {
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%d\t%s\t\n", f.name, median(f.values), slices.Min(f.values),
			slices.Max(f.values), len(f.values), f.unit)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, f := range figures {
		fmt.Fprintf(out, "figure %s %.6g %s\n", f.name, median(f.values), f.unit)
	}
	return nil
}

func read(in io.Reader) ([]*figure, error) {
	var figures []*figure
	known := make(map[string]*figure)
	r := benchfmt.NewReader(in, "standard input")
	for r.Scan() {
		res, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue // what benchmarks log, and lines of go test itself
		}
		for _, v := range res.Values {
			value, unit := v.Value, v.Unit
			if v.OrigUnit != "" {
				value, unit = v.OrigValue, v.OrigUnit
			}
			name, unit := nameOf(res.GetConfig("pkg"), string(res.Name.Full()), unit)
			f := known[name]
			if f == nil {
				f = &figure{name: name, unit: unit}
				known[name], figures = f, append(figures, f)
			}
			f.values = append(f.values, value)
		}
	}
	return figures, r.Err()
}

var (
	procs = regexp.MustCompile(`-\d+$`) // GOMAXPROCS, which go test appends
	upper = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// nameOf returns a figure's name and unit.
func nameOf(pkg, bench, unit string) (string, string) {
	bench = upper.ReplaceAllString(procs.ReplaceAllString(bench, ""), "${1}_${2}")
	name := strings.ToLower(strings.ReplaceAll(bench, "/", "."))
	if !strings.Contains(pkg, "/testsuite") {
		name = pkg[strings.LastIndex(pkg, "/")+1:] + "." + name
	}
	switch unit {
	case "ns/op":
		return name, "ns"
	case "B/op":
		return name + ".bytes", "B"
	case "allocs/op":
		return name + ".allocs", "allocs"
	}
	if i := strings.LastIndex(unit, "-"); i > 0 {
		if strings.Contains(unit[:i], ".") {
			return unit[:i], unit[i+1:]
		}
		return name + "." + unit[:i], unit[i+1:]
	}
	return name, unit
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
