package rcf

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Scores are the same bits on other processors: the golden tests run there too, under QEMU's user mode. arm64 has an
// instruction that multiplies and adds with one rounding; armv6 has 32 bits, in which a hostile length can be negative.
func TestScoresAreTheRecordedBitsOnOtherProcessors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for other processors take a while")
	}
	for _, other := range []struct {
		name     string
		env      []string
		emulator []string // any of these
	}{
		{"arm64", []string{"GOARCH=arm64"}, []string{"qemu-aarch64", "qemu-aarch64-static"}},
		{"armv6", []string{"GOARCH=arm", "GOARM=6"}, []string{"qemu-arm", "qemu-arm-static"}},
	} {
		t.Run(other.name, func(t *testing.T) {
			t.Parallel()
			emulator := firstInPath(other.emulator)
			if emulator == "" {
				t.Skipf("none of %q is installed; Debian's package qemu-user has them", other.emulator)
			}
			binary := filepath.Join(t.TempDir(), "rcf.test")
			build := exec.Command("go", "test", "-c", "-o", binary, ".")
			build.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), other.env...)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("go test -c: %v\n%s", err, out)
			}
			out, err := exec.Command(emulator, binary, "-test.run",
				"^(TestScoresAreTheRecordedBits|TestCompactIsTheSame|TestHostile.*)$",
				"-test.v").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", emulator, err, out)
			}
			if !regexp.MustCompile(`(?m)^--- PASS: TestScoresAreTheRecordedBits `).Match(out) {
				t.Fatalf("the golden test has not run:\n%s", out)
			}
		})
	}
}

func firstInPath(names []string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// No product is fused with a sum: the Go compiler may do so unless the product is converted explicitly (Go spec,
// "Floating-point operators"), and the last bit of a score would depend on the processor. Package detect adds to what a
// forest is given, so that the same holds there.
func TestNothingFuses(t *testing.T) {
	fused := regexp.MustCompile(`(?m)^.*\tF(N?M(ADD|SUB))[SD]\t.*$`)
	for _, pkg := range []string{"fanwatch/rcf", "fanwatch/detect", "fanwatch/detect/judge"} {
		build := exec.Command("go", "build", "-gcflags="+pkg+"=-S", pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
		out, err := build.CombinedOutput() // the build cache replays the listing
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !regexp.MustCompile(`\tFMULD\t`).Match(out) {
			t.Fatalf("%s: no assembly, or none with a multiplication", pkg)
		}
		for _, line := range fused.FindAll(out, -1) {
			t.Errorf("%s", line)
		}
	}
}
