package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParseAccessKey(f *testing.F) {
	f.Add("AKID\nsecret\n")
	f.Add("AKID\r\nsec/ret=\r\n")
	f.Add("")
	f.Add("one line")
	f.Add("a b\nc")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseAccessKey(text)
		if err != nil {
			if key != (accessKey{}) {
				t.Fatal("an error came with a key")
			}
			return
		}
		again, err := parseAccessKey(key.access + "\n" + key.secret + "\n")
		if err != nil || again != key {
			t.Fatalf("%q reads as another key when written back: %v", text, err)
		}
	})
}

func TestSweepTakesOnlyLeftovers(t *testing.T) {
	dir := t.TempDir()
	files := map[string]bool{ // path: stays
		"b/landing/after=0.parquet":                             true,
		"b/landing/.after=0.parquet.sgwtmp.1700000000000000000": false,
		"b/landing/.hidden":                                     true,
		"b/landing/.x.sgwtmp.12":                                true,
		"b/.sgwtmp/multipart/.x.sgwtmp.1700000000000000000":     true,
	}
	for name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	for name, stays := range files {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: stays %v, want %v", name, err == nil, stays)
		}
	}
}

func TestSyncOfPathsThatAreGone(t *testing.T) {
	d := &durable{dir: t.TempDir()}
	bucket, key := "none", strings.Repeat("deep/", 20)+"x"
	if err := d.sync(&bucket, &key); err != nil {
		t.Fatal(err)
	}
}
