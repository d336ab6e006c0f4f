package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/workflows"
)

// fails runs the command, which must fail as a mistake of its caller before it looks for a system: there is none.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	c := command()
	c.SetArgs(args)
	c.SetOut(&bytes.Buffer{})
	err := c.ExecuteContext(t.Context())
	if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("fanwatch %q: %v, want %q", args, err, want)
	}
}

// TestProvisionReadsTheCSRBeforeItSendsIt guards against a request that the system is left to find out about.
func TestProvisionReadsTheCSRBeforeItSendsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("# fanwatch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, "--csr "+file+": it is not PEM", "provision", "fan-x1", "--csr", file)
	for _, c := range []string{"provision", "show", "retire"} {
		args := []string{c, ""}
		if c == "provision" {
			args = append(args, "--csr", file)
		}
		fails(t, `fan name ""`, args...)
	}
}

// TestAckRefusesWhatForgesLists guards against names and notes that write rows of their own into every terminal.
func TestAckRefusesWhatForgesLists(t *testing.T) {
	const alert = "alert/fan-07/stall/20260528T202640.000000Z"
	fails(t, "names nobody", "ack", alert, "--by", "   ")
	fails(t, "by has 101 bytes", "ack", alert, "--by", strings.Repeat("a", 101))
	fails(t, "note has 1001 bytes", "ack", alert, "--by", "ada", "--note", strings.Repeat("a", 1001))
	fails(t, "control characters", "ack", alert, "--by", "ada\nbob")
	fails(t, "control characters", "ack", alert, "--by", "ada", "--note", "on my way\x1b[2J")
	fails(t, "control characters", "ack", alert, "--by", "ada", "--note", "on my way\xff")
}

// TestAckTellsWhoWasFirst guards against a second answer that reads like a success and loses its note.
func TestAckTellsWhoWasFirst(t *testing.T) {
	a := fanwatch.Alert{ID: "alert/x", State: fanwatch.Acknowledged, AckedBy: "Ada", Note: "on my way", AckedAt: time.Date(2026, 5, 28, 20, 0, 0, 0, time.Local)}
	for k, want := range map[workflows.Acknowledgement]string{
		{By: "Ada", Note: "on my way"}: "alert/x is acknowledged by Ada",
		{By: "bob"}:                    "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so",
		{By: "bob", Note: "mine"}:      "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so, and the note of bob was not kept",
		{By: "Ada", Note: "again"}:     "alert/x was acknowledged before, by Ada at 2026-05-28 20:00:00: it stays so, and the note of Ada was not kept",
	} {
		if got := taken(a, k); got != want {
			t.Errorf("%+v: %q, want %q", k, got, want)
		}
	}
}
