package main

import (
	"os"
	"os/exec"
	"testing"
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
