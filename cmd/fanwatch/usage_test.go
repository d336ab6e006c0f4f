package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

// inProcess runs a command in this process.
func inProcess(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	return runs(t.Context(), append([]string{"--dir", t.TempDir()}, args...)...)
}

// runs runs the command line as it is.
func runs(ctx context.Context, args ...string) (out string, err error) {
	var o bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetOut(&o)
	c.SetErr(&o)
	err = c.ExecuteContext(ctx)
	return o.String(), err
}

// refuses wants the one line that says what was not understood.
func refuses(t *testing.T, args, want string) {
	t.Helper()
	out, err := inProcess(t, strings.Fields(args)...)
	if out != "" || !errors.Is(err, errUsage) || err.Error() != want {
		t.Errorf("%s: %v (usage: %v), want %s; output %q", args, err, errors.Is(err, errUsage), want, out)
	}
}

// Negative numbers made refused and lake status panic, and a worker take every age for too old.
func TestNegativeFlags(t *testing.T) {
	refuses(t, "refused --limit -5", "--limit is -5, give 1 or more (see --help)")
	refuses(t, "refused --limit 0", "--limit is 0, give 1 or more (see --help)")
	refuses(t, "lake status --commits -3", "--commits is -3, give 0 or more (see --help)")
	for _, flag := range []string{"keep-readings", "keep-events", "keep-segments", "keep-snapshots", "keep-orphans",
		"ingest-every"} {
		refuses(t, "worker --account 1 --bucket b --"+flag+" -48h", "--"+flag+" is -48h0m0s, give 0 or more (see --help)")
	}
	refuses(t, "worker --account 1 --bucket b --shards 0", "--shards is 0, give 1 or more (see --help)")
}

func TestNotUnderstood(t *testing.T) {
	for args, want := range map[string]string{
		"nonsense":             `fanwatch has no command "nonsense"`,
		"alert":                `fanwatch has no command "alert", do you mean alerts?`,
		"lake nonsense":        `fanwatch lake has no command "nonsense"`,
		"lake stats":           `fanwatch lake has no command "stats", do you mean status?`,
		"lake --json nonsense": `fanwatch lake has no command "nonsense"`,
		"help nonsense":        `fanwatch has no command "nonsense"`,
		"help lake nonsense":   `fanwatch lake has no command "nonsense"`,
		"completion nonsense":  `fanwatch completion has no command "nonsense"`,
		"show":                 "arguments are missing, write fanwatch show FAN [flags]",
		"show a b":             `the arguments "a", "b" do not fit, write fanwatch show FAN [flags]`,
		"fans extra":           `the arguments "extra" do not fit, write fanwatch fans [flags]`,
		"ack":                  "no alert is named: name one, or give --site or --all",
		"provision fan-1":      `required flag(s) "csr" not set`,
		"worker":               `required flag(s) "account", "bucket" not set`,
		"score":                `required flag(s) "columns" not set`,
		"score readings.csv": `score reads standard input, not "readings.csv": ` +
			`write fanwatch score --columns NAME < FILE`,
		"fans --nonsense":                     "unknown flag: --nonsense",
		"lake query fan-07 --from 2130-01-01": "--from 2130-01-01 is not before now, the end of the period without --to",
	} {
		refuses(t, args, want+" (see --help)")
	}
}

// Help that is asked for is no error.
func TestHelp(t *testing.T) {
	for _, args := range []string{"", "help", "help lake", "help lake status", "help show fan-07", "lake", "lake --help",
		"completion", "completion bash --help"} {
		if out, err := inProcess(t, strings.Fields(args)...); err != nil || len(out) < 100 {
			t.Errorf("%q: %v, output %q", args, err, out)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for args, want := range map[string]int{"": 0, "nonsense": 2, "lake nonsense": 2, "help nonsense": 2, "show": 2,
		"score": 2, "alerts": 1} {
		c := program(append([]string{"--dir", t.TempDir()}, strings.Fields(args)...)...)
		if _ = c.Run(); c.ProcessState.ExitCode() != want {
			t.Errorf("%q: exit status %d, want %d", args, c.ProcessState.ExitCode(), want)
		}
	}
}
