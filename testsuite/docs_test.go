package testsuite

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentsNameWhatExists: each file, folder and test that the documents below point to by `name` is there.
func TestDocumentsNameWhatExists(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "grep", "-hoE", "^func (Test|Fuzz|Benchmark)[A-Za-z0-9_]+", "--",
		"*_test.go").Output()
	if err != nil {
		t.Skipf("the source is no git checkout: %v", err)
	}
	tests := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		tests[strings.TrimPrefix(strings.TrimSpace(line), "func ")] = true
	}
	quoted := regexp.MustCompile("`([^`\n]+)`")
	aTest := regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
	aFile := regexp.MustCompile(`^[\w.@-]+(/[\w.@-]+)*(\.(go|md|yaml|yml|sh|mod|py|service|txt)|/)$`)
	for _, document := range []string{"README.md", "ARCHITECTURE.md", "SECURITY.md", "testsuite/README.md",
		"docs/GLOSSARY.md",
		"docs/lake.md", "rcf/DESIGN.md", "deploy/pi/README.md"} {
		text, err := os.ReadFile(filepath.Join("..", document))
		if err != nil {
			t.Error(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			switch name := m[1]; {
			case aTest.MatchString(name):
				if !tests[name] {
					t.Errorf("%s names %s, which is no test", document, name)
				}
			case aFile.MatchString(name):
				if strings.HasPrefix(name, ".fanwatch/") || strings.HasPrefix(name, "bin/") { // made by running and building
					continue
				}
				_, atRoot := os.Stat(filepath.Join("..", name))
				_, beside := os.Stat(filepath.Join("..", filepath.Dir(document), name))
				if atRoot != nil && beside != nil {
					t.Errorf("%s names %s, which does not exist", document, name)
				}
			}
		}
	}
}
