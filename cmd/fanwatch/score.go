package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"fanwatch/rcf"
)

// scoreOptions are the flags of fanwatch score.
type scoreOptions struct {
	columns                                      []string
	trees, sampleSize, shingle, timeDecay, learn int
	seed                                         uint64
	preset, format                               string
	separator, decimal                           string
	views                                        []string // of the detector, by the names of viewNames
	threshold                                    float64  // 0: the detector's own
	normalize                                    rcf.Normalization
	explain, strict                              bool
}

func (a *app) score() *cobra.Command {
	var o scoreOptions
	var normalize bool
	c := &cobra.Command{
		Use:   "score --columns NAME[,NAME...] [flags] < IN > OUT",
		Short: "Score any stream of numbers, CSV or NDJSON, for anomalies", Args: scoreArgs,
		Long: `Score any stream of numbers, CSV or NDJSON, for anomalies.

Reads rows on standard input and writes the same rows on standard output as they come, with columns appended. No
running system is needed. The columns named by --columns, one number each, together make the point that is judged.

  anomaly_score       how much the point stands out, by one Random Cut Forest: about 1 is usual, log2(--sample-size + 1)
                      the most. 0 for the first quarter of --sample-size. --trees, --sample-size, --shingle,
                      --time-decay and --preset are about this forest.
  anomaly_grade       0, or at an alert from 0.5 to below 1: the detector, which weighs the point and
                      rolling statistics against their past, alerts once and then rests for 120 rows.
  anomaly_confidence  0 to 1: how much of its memory the detector has filled.
  anomaly_state       1 as long as the trouble lasts, from its first row until rows are usual again; else 0.

--learn N says that the first N rows are normal: they are learned, and nothing more, so that a fault of any length
stays one. N is at least 128, better several hundred. Without it the detector learns for ever, and a level that has
lasted for about 1000 rows is usual. Large values lose nothing: what is judged is the difference to the first row's
(with --preset kda where that is 65536 or more). Differences beyond 16 million are rounded: of a counter that grows
for long, give the increments.

--threshold is how far anomaly_grade and anomaly_state wait: by how many standard deviations the scores of the last
three rows exceed their past. Lower finds more and errs more often: try 1.5 where a miss is dear, 3 where a false alert
is. --views says what the detector looks at, a forest for each:

  point    the row by itself: spikes, and steps of the level
  rolling  mean and deviation of the last 48 rows: shifts of level, unrest that grows or dies down
  shingle  the last 48 rows at once: shapes that come at the wrong time or break; takes four times as long, needs 47
           rows more before it begins, and --learn 175 or more

What only one of several views shows counts for less, so that more views are not always better.

By default columns are scaled where there are several: each is taken in deviations from its mean, both running, or as
--learn found them, since otherwise the column with the largest numbers hides the others. --normalize scales a single
column too (a slow drift is then no news), --normalize=false none. --preset kda scales only with --normalize.

--explain also appends, for each NAME, anomaly_high_NAME and anomaly_low_NAME: the parts of anomaly_score that are
owed to NAME being higher, and lower, than usual. They add up to anomaly_score.

--preset kda scores as RANDOM_CUT_FOREST of Amazon Kinesis Data Analytics did, with the parameters
numberOfTrees = --trees, subSampleSize = --sample-size, timeDecay = --time-decay and shingleSize = --shingle: 0 for the
first --sample-size rows, then up to log2(--sample-size). Of RANDOM_CUT_FOREST_WITH_EXPLANATION, ATTRIBUTION_SCORE is
high + low, STRENGTH their difference, and DIRECTION the larger. There, --learn is for the other columns only.

CSV needs a header. --separator auto takes the first of comma, semicolon, tab and | that makes the header have all
--columns, and --decimal auto takes a comma for the decimal mark where the first number that has a mark has one and the
separator is another; appended numbers are written in the same way.
Of NDJSON the fields of each object are the columns; a.b is field b in object a. Objects may stand on one line or
span up to 1000, with white space or commas between, and in an array. What was there stays as it is, byte by byte.
A row without a usable number in each column gets empty columns (null in NDJSON), teaches nothing and is counted on
standard error at the end; --strict stops at the first one, with exit status 1. Where not one row was scored, the exit
status is 1 and standard error says why.`,
		Example: `  fanwatch score --columns value < readings.csv > scored.csv
  fanwatch score --columns rpm,temperature --explain < fan.ndjson
  fanwatch score --columns value --preset kda < stream.csv
  fanwatch score --columns Current,Pressure,Voltage --learn 400 < pump.csv
  fanwatch score --columns beats --views point,rolling,shingle --threshold 1.5 < heart.csv
  fanwatch score --columns Drehzahl --separator ';' --decimal comma < messwerte.csv
  fanwatch score --columns data.value < nested.ndjson
  tail -f readings.csv | fanwatch score --columns rpm --shingle 8`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("normalize") {
				o.normalize = rcf.NormalizeOff
				if normalize {
					o.normalize = rcf.NormalizeOn
				}
			}
			s, err := newScorer(o)
			if err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			s.progress = newProgress(cmd.ErrOrStderr())
			return s.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.columns, "columns", nil, "names of the columns to score together, with commas between")
	f.IntVar(&o.trees, "trees", 100, "number of the forest's trees")
	f.IntVar(&o.sampleSize, "sample-size", 256, "number of points that each tree holds")
	f.IntVar(&o.shingle, "shingle", 1, "number of consecutive rows that are judged together")
	f.IntVar(&o.timeDecay, "time-decay", 100_000, "number of the latest rows, about, that the forest remembers")
	f.IntVar(&o.learn, "learn", 0, "number of rows at the beginning that are normal and all that is learned, 128 or "+
		"more; 0: learn for ever")
	f.Float64Var(&o.threshold, "threshold", 0, "standard deviations at which the detector alerts, above 0; 0: 2, and 3 "+
		"with --learn")
	f.StringSliceVar(&o.views, "views", []string{"point", "rolling"}, "what the detector looks at, with commas between: "+
		"point, rolling, shingle")
	f.BoolVar(&normalize, "normalize", false, "scale columns by their deviation, =false: none; left out: scale where "+
		"there are several")
	f.StringVar(&o.separator, "separator", "auto", "what stands between the fields of CSV: one character, tab, or auto: "+
		"found by the header")
	f.StringVar(&o.decimal, "decimal", "auto", "decimal mark of numbers in CSV: point, comma, or auto: found by the "+
		"numbers")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all random choices: with one seed the same input gives the same output")
	f.StringVar(&o.preset, "preset", "", "kda: score as Kinesis Data Analytics did; empty: as this program does")
	f.StringVar(&o.format, "format", "auto", "format of the input: csv, ndjson, or auto: by the first character "+
		"that is not white space")
	f.BoolVar(&o.explain, "explain", false, "append columns with what each column of --columns owes to the score")
	f.BoolVar(&o.strict, "strict", false, "stop at the first row that cannot be scored")
	_ = c.MarkFlagRequired("columns") // the flag exists
	return c
}

// scoreArgs says how a file is given, which is not by its name.
func scoreArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("score reads standard input, not %.40q: write fanwatch score --columns NAME < FILE (%w)", args[0],
			errUsage)
	}
	return nil
}

func (o scoreOptions) check() error {
	if len(o.columns) == 0 || slices.Contains(o.columns, "") {
		return errors.New("--columns needs names")
	}
	for i, name := range o.columns {
		if slices.Contains(o.columns[:i], name) {
			return fmt.Errorf("--columns names %q twice", name)
		}
	}
	if o.timeDecay < 1 {
		return fmt.Errorf("--time-decay is %d, give 1 or more", o.timeDecay)
	}
	for _, least := range []struct { // 0 is the library's default, not a number of the user's
		flag  string
		value int
	}{{"--trees", o.trees}, {"--sample-size", o.sampleSize}, {"--shingle", o.shingle}} {
		if least.value < 1 {
			return fmt.Errorf("%s is %d, give 1 or more", least.flag, least.value)
		}
	}
	if len(o.views) == 0 {
		return errors.New("--views needs names, give point, rolling, shingle")
	}
	for _, name := range o.views {
		if _, ok := viewNames[name]; !ok {
			return fmt.Errorf("--views names %.40q, give point, rolling, shingle", name)
		}
	}
	if o.preset != "" && o.preset != "kda" {
		return fmt.Errorf("--preset is %q, give kda or leave it out", o.preset)
	}
	for _, choice := range []struct{ flag, value, one, other string }{{"--format", o.format, "csv", "ndjson"},
		{"--decimal", o.decimal, "point", "comma"}} {
		if !slices.Contains([]string{"auto", choice.one, choice.other}, choice.value) {
			return fmt.Errorf("%s is %q, give %s, %s or auto", choice.flag, choice.value, choice.one, choice.other)
		}
	}
	if o.separator != "auto" && o.separatorByte() == 0 {
		return fmt.Errorf("--separator is %q, give one character that numbers and names do without, such as ';', or tab, "+
			"or auto", o.separator)
	}
	return nil
}

// separatorByte is the separator that --separator tells, 0 where it tells none.
func (o scoreOptions) separatorByte() byte {
	if o.separator == "tab" || o.separator == `\t` {
		return '\t'
	}
	if len(o.separator) != 1 || o.separator[0] >= 0x7f || strings.ContainsAny(o.separator, "\"\r\n+-._") ||
		unicode.IsLetter(rune(o.separator[0])) || unicode.IsDigit(rune(o.separator[0])) {
		return 0
	}
	return o.separator[0]
}

// viewNames are the names that --views takes.
var viewNames = map[string]rcf.View{"point": rcf.PointView, "rolling": rcf.RollingView, "shingle": rcf.ShingleView}

// names are the appended columns.
func (o scoreOptions) names() []string {
	names := []string{"anomaly_score", "anomaly_grade", "anomaly_confidence", "anomaly_state"}
	if o.explain {
		for _, column := range o.columns {
			names = append(names, "anomaly_high_"+column, "anomaly_low_"+column)
		}
	}
	return names
}

// run scores rows until the input or ctx ends. What has been written by then is whole rows, all that were
// scored. A closed output is no error.
func (s *scorer) run(ctx context.Context, in io.Reader, out, log io.Writer) error {
	t := newTable(in, out)
	// A read of standard input cannot be interrupted, so what waits for it is left behind.
	done := make(chan error, 1)
	go func() {
		t.mu.Lock()
		err := s.rows(t)
		t.mu.Unlock()
		done <- err
	}()
	var err, interrupted error
	select {
	case err = <-done:
	case <-ctx.Done():
		interrupted = context.Cause(ctx)
	}
	t.mu.Lock() // for good: what was left behind writes no more
	if e := t.out.Flush(); err == nil {
		err = e
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return interrupted
	}
	s.progress.end()
	if err == nil && interrupted == nil && s.unscored == s.seen {
		return s.nothing()
	}
	if err == nil && s.unscored > 0 {
		fmt.Fprintf(log, "fanwatch score: %d of %d rows could not be scored, first %v\n", s.unscored, s.seen, s.why)
	}
	return cmp.Or(err, interrupted)
}

// nothing says why not one row was scored.
func (s *scorer) nothing() error {
	if s.seen == 0 {
		return errors.New("not one row was scored: the input has none, rows of CSV behind the header or NDJSON are expected")
	}
	return fmt.Errorf("not one of %d rows could be scored, first %w", s.seen, s.why)
}

func (s *scorer) rows(t *rowTable) error {
	format, err := t.begin(s.options.format)
	if err != nil {
		return err
	}
	if format == "ndjson" {
		return s.ndjson(t)
	}
	return s.csv(t)
}

// progress tells people at a terminal how far the scoring is.
type progress struct {
	w           io.Writer // nil: no progress is shown
	start, last time.Time
	rows        int
}

// newProgress writes to w if that is a terminal.
func newProgress(w io.Writer) *progress {
	p := &progress{start: time.Now(), last: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	return p
}

// add counts a row and now and then, at most once a second, shows the count.
func (p *progress) add() {
	if p.rows++; p.w == nil || p.rows%256 != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.last) >= time.Second {
		p.last = now
		p.show(now, "")
	}
}

// end shows the last count, if any was shown.
func (p *progress) end() {
	if p.last != p.start && p.w != nil {
		p.show(time.Now(), "\n")
	}
}

func (p *progress) show(now time.Time, end string) {
	fmt.Fprintf(p.w, "\r%d rows, %.0f rows/s %s", p.rows, float64(p.rows)/now.Sub(p.start).Seconds(), end)
}

// listed joins names for an error message of one line.
func listed(names []string) string {
	const most = 20
	quoted := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		quoted = append(quoted, fmt.Sprintf("%.40q", name))
	}
	return strings.Join(quoted, ", ")
}
