package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"fanwatch"
)

const asProgram = "FANWATCH_TEST_AS_PROGRAM"

// TestMain makes the test binary the program itself, for the tests of what only a process has: signals, exit statuses.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	m.Run()
}

// program is a fanwatch of its own process.
func program(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

func TestVersionAsTextAndAsJSON(t *testing.T) {
	if out, err := inProcess(t, "version"); err != nil || !strings.HasPrefix(out, "fanwatch ") ||
		!strings.Contains(out, "commit ") {
		t.Errorf("%q, %v", out, err)
	}
	var b fanwatch.Build
	if out, err := inProcess(t, "version", "--json"); err != nil || json.Unmarshal([]byte(out), &b) != nil ||
		b != fanwatch.RunningBuild() {
		t.Errorf("%q, %v", out, err)
	}
}
