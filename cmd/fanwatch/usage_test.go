package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// inProcess runs a command in this process.
func inProcess(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var o bytes.Buffer
	c := command()
	c.SetArgs(append([]string{"--dir", t.TempDir()}, args...))
	c.SetOut(&o)
	c.SetErr(&o)
	err = c.ExecuteContext(t.Context())
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
	for _, flag := range []string{"keep-readings", "keep-events", "keep-segments", "keep-snapshots", "keep-orphans", "ingest-every"} {
		refuses(t, "worker --account 1 --bucket b --"+flag+" -48h", "--"+flag+" is -48h0m0s, give 0 or more (see --help)")
	}
	refuses(t, "worker --account 1 --bucket b --shards 0", "--shards is 0, give 1 or more (see --help)")
}
