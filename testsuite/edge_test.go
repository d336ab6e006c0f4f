package testsuite

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestThePisProgram cross-compiles fanwatch-edge for the Raspberry Pis: static, and under 8 MB.
func TestThePisProgram(t *testing.T) {
	const limit = 8_000_000
	for _, arch := range []string{"arm", "arm64"} {
		out := filepath.Join(t.TempDir(), "fanwatch-edge")
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, "./cmd/fanwatch-edge")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "GOARM=6", "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", arch, err, b)
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= limit {
			t.Errorf("%s: %d bytes, want under %d", arch, info.Size(), limit)
		}
		f, err := elf.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
			t.Errorf("%s: links %v, %v: want a static program", arch, libs, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: needs a dynamic loader", arch)
			}
		}
		t.Logf("%s: %d bytes", arch, info.Size())
	}
}
