// Command generate writes the readings of a fan that does not exist, with the truth beside each; docs/worlds.md
// describes the worlds, the faults and the columns. What it writes is free to use for any purpose.
//
//	go run ./testsuite/worlds/cmd/generate -world day -seed 7 -days 14 -fault drift-5 -onset 200h > day-7.csv
package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"fanwatch"
	"fanwatch/testsuite/worlds"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1)
	}
}

// columns are the names of the columns, in the order of values.
var columns = []string{"time", "fan", "run", "seq", "rpm", "hz", "jitter", "edges", "glitch", "pwm", "state",
	"true_rpm", "healthy_rpm", "duty", "celsius", "fault", "factor", "note"}

// label is what is known of the whole series.
type label struct {
	World    string          `json:"world"`
	Seed     uint64          `json:"seed"`
	Interval string          `json:"interval"`
	Device   fanwatch.Device `json:"device"`
	Regime   worlds.Regime   `json:"regime"`
	Fault    string          `json:"fault,omitempty"`
	Onset    time.Time       `json:"onset,omitzero"`   // when the fault was put on
	Visible  time.Time       `json:"visible,omitzero"` // of the first window in which it had an effect
	Hidden   string          `json:"hidden,omitempty"` // why it cannot be told from a healthy fan
	Readings int             `json:"readings"`
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	name := flags.String("world", "steady", "name of the world")
	seed := flags.Uint64("seed", 1, "seed: another one is another fan")
	days := flags.Float64("days", 0, "length of the series (default the world's own, 3 to 6)")
	interval := flags.Duration("interval", 0, "time between two readings, whole seconds (default the world's own)")
	fan := flags.Int("fan", 1, "number of the fan, in a world of several")
	faultName := flags.String("fault", "", "fault to put on, the first fan where there are several (default none)")
	onset := flags.Duration("onset", 48*time.Hour, "when, after the first reading")
	format := flags.String("format", "csv", "csv or ndjson")
	labels := flags.String("labels", "", "file for one line of JSON on the whole series (default none)")
	list := flags.Bool("list", false, "list the worlds and faults")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *list {
		return worlds.List(out)
	}
	world, err := worlds.Find(*name)
	if err != nil {
		return err
	}
	o := worlds.Options{Seed: *seed, Span: time.Duration(*days * 24 * float64(time.Hour)), Interval: *interval}
	if *faultName != "" {
		if o.Fault, err = worlds.FindFault(*faultName); err != nil {
			return err
		}
		o.Onset = *onset
	}
	if *interval < 0 || *interval%time.Second != 0 || *days < 0 || *onset < 0 || flags.NArg() > 0 ||
		*format != "csv" && *format != "ndjson" {
		return errors.New("arguments not understood: see -help")
	}
	all := world.Open(o)
	if *fan < 1 || *fan > len(all) {
		return fmt.Errorf("world %s has %d fans: give -fan 1 to %d", world.Name, len(all), len(all))
	}
	s := all[*fan-1]
	buffered := bufio.NewWriterSize(out, 1<<16)
	n, err := write(buffered, s, *format, *faultName)
	if err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil || *labels == "" {
		return err
	}
	line, err := json.Marshal(label{World: world.Name, Seed: *seed, Interval: s.Interval().String(), Device: s.Device(),
		Regime: world.Regime, Fault: *faultName, Onset: s.Onset(), Visible: s.Visible, Hidden: s.Hidden(), Readings: n})
	if err != nil {
		return err
	}
	return os.WriteFile(*labels, append(line, '\n'), 0o644)
}

// write writes all readings of a stream and returns their number.
func write(out *bufio.Writer, s *worlds.Stream, format, fault string) (n int, err error) {
	if format == "csv" {
		w := csv.NewWriter(out)
		if err := w.Write(columns); err != nil {
			return 0, err
		}
		for s.Next() {
			n++
			if err := w.Write(values(s, fault)); err != nil {
				return n, err
			}
		}
		w.Flush()
		return n, w.Error()
	}
	for s.Next() {
		n++
		line := []byte{'{'}
		for i, v := range values(s, fault) {
			if v == "" {
				continue
			}
			if len(line) > 1 {
				line = append(line, ',')
			}
			line = append(strconv.AppendQuote(line, columns[i]), ':')
			switch columns[i] {
			case "time", "fan", "run", "state", "fault", "note":
				line = strconv.AppendQuote(line, v)
			default:
				line = append(line, v...)
			}
		}
		if _, err := out.Write(append(line, '}', '\n')); err != nil {
			return n, err
		}
	}
	return n, nil
}

// values returns a reading's values; "" stands for none.
func values(s *worlds.Stream, fault string) []string {
	r, t := &s.Reading, &s.Truth
	number := func(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	pwm, jitter := "", ""
	if duty, known := r.PWM.Fraction(); known {
		pwm = number(duty, 4)
	}
	if r.Jitter > 0 {
		jitter = number(r.Jitter, 5)
	}
	if !t.Fault {
		fault = ""
	}
	return []string{r.Time.Format("2006-01-02T15:04:05.000000Z"), r.Fan, fanwatch.FormatRun(r.Run),
		strconv.FormatUint(r.Seq, 10), number(r.RPM, 2), number(r.Hz, 3), jitter,
		strconv.FormatUint(uint64(r.Edges), 10), strconv.FormatUint(uint64(r.Glitch), 10), pwm, string(r.State),
		number(t.Speed, 2), number(t.Healthy, 2), number(t.Duty, 4), number(t.Temp, 3), fault, number(t.Factor, 4), t.Note}
}
