package testsuite

import (
	"strings"
	"testing"
	"time"
)

// TestANameThatDoesNotExistIsNoGoodNews: a typing error was answered with "nothing was refused" and exit status 0.
func TestANameThatDoesNotExistIsNoGoodNews(t *testing.T) {
	s := start(t, t.TempDir(), nil, "--fans", "2", "--no-faults")
	s.until(60*time.Second, "something lands", func() (bool, string) {
		out, err := s.cli("lake", "query", "fan-01")
		return err == nil && strings.Contains(out, "READINGS"), out
	})
	for _, args := range []string{"refused nofan", "lake query nofan", "show nofan"} {
		out, err := s.cli(strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), "nofan") ||
			!strings.Contains(err.Error(), "asked the local system in "+s.Dir) {
			t.Errorf("%s: %v, %q", args, err, out)
		}
	}
	for args, want := range map[string]string{"refused fan-01": "nothing was refused\n",
		"lake query fan-01 --from 2020-01-01 --to 2020-01-02": "the table has no readings of fan-01 in this period\n"} {
		if out, err := s.cli(strings.Fields(args)...); err != nil || out != want {
			t.Errorf("%s: %v, %q, want %q", args, err, out, want)
		}
	}
}
