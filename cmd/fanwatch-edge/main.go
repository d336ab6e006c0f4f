// Command fanwatch-edge runs beside the fan, on a Raspberry Pi: it measures the speed from the tacho's
// pulses and publishes it, and keeps every reading until the broker has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"fanwatch"
	"fanwatch/failpoint"
)

const usage = `fanwatch-edge measures a fan and publishes its readings.

  fanwatch-edge enroll --fan NAME --dir DIR   make this device's key and a request for its certificate
  fanwatch-edge check  --config FILE          say what is wrong with files, certificate, clock, line and endpoint
  fanwatch-edge run    --config FILE          measure and publish until the process is told to end
  fanwatch-edge run    --sim --dry-run        print the readings of a simulated fan
  fanwatch-edge version [--json]              print version, commit, date, Go version and platform of this program

Each takes --help. Exit status: 0 done; 1 it failed; 2 the command was not understood.
`

// errUsage is a command line that was not understood; what is wrong with it has been printed.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one command and gives the exit status.
func command(ctx context.Context, args []string, out, errs io.Writer) int {
	if err := failpoint.Check(); err != nil {
		fmt.Fprintln(errs, "fanwatch-edge:", err)
		return 2
	}
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "enroll":
		err = enroll(args, out, errs)
	case "check":
		err = check(ctx, args, out, errs)
	case "run":
		err = run(ctx, args, out, errs)
	case "version", "--version":
		err = version(args, out, errs)
	case "help", "--help", "-h":
		fmt.Fprint(out, usage)
	case "":
		fmt.Fprint(errs, usage)
		err = errUsage
	default:
		fmt.Fprintf(errs, "fanwatch-edge: there is no command %q\n\n%s", name, usage)
		err = errUsage
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(errs, "fanwatch-edge:", err)
	return 1
}

func version(args []string, out, errs io.Writer) error {
	f := flags("version", `Print version, commit, date, Go version and platform of this program.

  fanwatch-edge version --json
`, errs)
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args, out); err != nil {
		return err
	}
	return fanwatch.RunningBuild().Print(out, "fanwatch-edge", *asJSON)
}

// flags makes a command's flag set; help is what --help prints above the flags.
func flags(name, help string, errs io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("fanwatch-edge "+name, flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		w := f.Output()
		fmt.Fprint(w, help, "\nFlags:\n")
		f.PrintDefaults()
	}
	return f
}

// parse reads a command's flags; there are no other arguments.
func parse(f *flag.FlagSet, args []string, out io.Writer) error {
	for _, a := range args {
		if a == "-h" || a == "-help" || a == "--help" {
			f.SetOutput(out) // what was asked for is no error
		}
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() > 0 {
		return wrong(f, "does not take %q", f.Arg(0))
	}
	return nil
}

// wrong prints what is wrong with the command line.
func wrong(f *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(f.Output(), "%s: %s (see --help)\n", f.Name(), fmt.Sprintf(format, args...))
	return errUsage
}
