package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch/deploy/local"
)

// TestEveryListedCommandWorks: what --help lists was refused as unknown.
func TestEveryListedCommandWorks(t *testing.T) {
	for args, want := range map[string]string{"help": "completion", "help up": "--ports", "completion bash --help": "autocompletion", "version": "fanwatch-local ", "up --help": "--ingest"} {
		var out bytes.Buffer
		c := command()
		if _, _, err := c.Find(strings.Fields(args)); err != nil { // as main does
			t.Errorf("%s: %v", args, err)
		}
		c.SetOut(&out)
		c.SetArgs(strings.Fields(args))
		if err := c.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, %.100q", args, err, out.String())
		}
	}
	if _, _, err := command().Find([]string{"dance"}); err == nil {
		t.Error("a command that is not there is found")
	}
}

// TestTheHintsReachTheSystem: pasted into a shell, they name the state directory where it is not the default one.
func TestTheHintsReachTheSystem(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	for dir, want := range map[string]string{
		filepath.Join(home, ".fanwatch"): "./bin/fanwatch fans\n",
		"/tmp/fw":                        "./bin/fanwatch --dir /tmp/fw fans\n",
		"/tmp/a b/it's":                  `./bin/fanwatch --dir '/tmp/a b/it'\''s' fans` + "\n",
	} {
		var out strings.Builder
		banner(&out, local.Endpoints{Dir: dir}, "nothing", time.Second)
		_, line, _ := strings.Cut(out.String(), "try:  ")
		line, _, _ = strings.Cut(line, "\n")
		if line+"\n" != want {
			t.Errorf("%s: %q, want %q", dir, line, want)
		}
	}
	got, err := exec.Command("sh", "-c", "printf %s "+quoted("/tmp/a $b/it's")).Output()
	if err != nil || string(got) != "/tmp/a $b/it's" {
		t.Errorf("a shell reads %q, %v", got, err)
	}
}
