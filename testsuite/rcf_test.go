package testsuite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheForestIsUsableOutsideThisCheckout does both ways that README names, word for word, without a network and with
// an empty module cache.
func TestTheForestIsUsableOutsideThisCheckout(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	const marker = "### From another module\n"
	_, section, ok := strings.Cut(string(readme), marker)
	if !ok {
		t.Fatalf("README has no section %q", marker)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	parts := strings.Split(section, "```")
	if len(parts) != 7 {
		t.Fatalf("README's section has %d blocks of code, not 3: the program, the replace and the copy", (len(parts)-1)/2)
	}
	program := strings.TrimPrefix(parts[1], "go\n")
	for name, c := range map[string]struct{ program, commands string }{
		"replace": {program, parts[3]},
		"copy":    {strings.Replace(program, `"fanwatch/rcf"`, `"example.com/mine/rcf"`, 1), parts[5]},
	} {
		dir := t.TempDir()
		write := func(file, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("main.go", c.program)
		write("go.mod", "module example.com/mine\n\ngo 1.26\n")
		shell := exec.Command("sh", "-e", "-c", strings.ReplaceAll(c.commands, "/path/to/fanwatch", "'"+checkout+"'"))
		shell.Dir = dir
		shell.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOMODCACHE="+t.TempDir(), "GOWORK=off")
		out, err := shell.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "score 8.0 <nil>\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
