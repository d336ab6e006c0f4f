package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A local system that was killed leaves endpoints.json behind, whose addresses nobody listens at.
func TestKilledSystem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if gone(t.Context(), at) {
		t.Error("a listener is taken for dead")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := `{"v": 1, "pid": 1, "temporal": "` + at + `", "namespace": "fanwatch", "s3": "http://` + at +
		`", "keys": "keys"}`
	if err := os.WriteFile(filepath.Join(dir, "endpoints.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_ADDRESS", "")
	for _, args := range []string{"alerts", "show fan-07", "refused", "lake status", "reconcile"} {
		out, err := inProcess(t, append(strings.Fields(args), "--dir", dir)...)
		if err == nil || !strings.HasPrefix(err.Error(), "nothing runs in "+dir+
			": start the local system (go tool task up), or ") || out != "" {
			t.Errorf("%s: %v, output %q", args, err, out)
		}
	}
}
