package failpoint

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	got, err := parse("landing.put.before=kill@3 commit.after=pause:2s")
	if err != nil || got[LandingPutBefore].visit != 3 || got[LandingPutBefore].pause != 0 || got[CommitAfter].visit != 1 ||
		got[CommitAfter].pause != 2*time.Second {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []string{"nowhere=kill", "commit.after", "commit.after=kill@0", "commit.after=kill@x",
		"commit.after=pause:-1s", "commit.after=pause:soon", "commit.after=explode"} {
		if _, err := parse(bad); err == nil || !strings.Contains(err.Error(), Environment) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range Names() {
		if seen[n] {
			t.Errorf("%s stands twice", n)
		}
		seen[n] = true
	}
}

// TestKill runs this test binary again, armed, and sees it die at the second visit and no earlier.
func TestKill(t *testing.T) {
	if os.Getenv("FAILPOINT_CHILD") != "" {
		Hit(CommitBefore)
		os.Stdout.WriteString("one\n")
		Hit(CommitBefore)
		os.Stdout.WriteString("two\n")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", Environment+"=commit.before=kill@2")
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), "one") || strings.Contains(string(out), "two") {
		t.Fatalf("output %q, error %v: want death between one and two", out, err)
	}
}
