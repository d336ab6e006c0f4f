package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
