package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	fails(t, `fan name ""`, "provision", "", "--csr", file)
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

func TestACellStaysInItsRow(t *testing.T) {
	if got := cell("Hall A\nfan-08\twell\x1b[2J"); got != "Hall A fan-08 well [2J" {
		t.Errorf("%q", got)
	}
}
