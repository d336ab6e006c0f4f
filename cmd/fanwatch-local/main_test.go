package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch/local"
)

// TestEveryListedCommandWorks: what --help lists was refused as unknown.
func TestEveryListedCommandWorks(t *testing.T) {
	for args, want := range map[string]string{"help": "completion", "help up": "--ports",
		"completion bash --help": "autocompletion", "version": "fanwatch-local ", "version --json": `"commit":`,
		"up --help": "--ingest"} {
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

// TestUpRefusesAFolderOfTheLakesOwn at once, as a wrong flag and before a state directory is made.
func TestUpRefusesAFolderOfTheLakesOwn(t *testing.T) {
	for _, own := range []string{"landing/", "landing", "l", "tables/fanwatch/", "state/", "alerts"} {
		dir := filepath.Join(t.TempDir(), "state")
		c := command()
		c.SetArgs([]string{"up", "--ingest", own, "--dir", dir, "--ports", "free", "--bin", "/nonexistent"})
		c.SetOut(&bytes.Buffer{})
		err := c.ExecuteContext(t.Context())
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "--ingest: ingest: prefix") {
			t.Errorf("%s: %v", own, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the state directory was made: %v", own, err)
		}
	}
	if err := (options{ports: "free", ingest: "delivery/"}).check(); err != nil {
		t.Error(err)
	}
}
