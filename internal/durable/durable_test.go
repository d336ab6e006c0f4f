package durable

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// holds fails the test unless the file at path has these bytes and its directory files of just these names.
func holds(t *testing.T, path, want string, names ...string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("the file holds %.20q, want %.20q (%v)", b, want, err)
	}
	lists(t, filepath.Dir(path), names...)
}

func lists(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, names) {
		t.Errorf("the directory holds %q, want %q", got, names)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteFileMakesAndReplacesWithTheModeGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, mode := range []fs.FileMode{0o600, 0o644, 0o600} {
		must(t, WriteFile(path, []byte(mode.String()), mode))
		holds(t, path, mode.String(), "f")
		info, err := os.Stat(path)
		must(t, err)
		if runtime.GOOS != "windows" && info.Mode()&0o700 != mode&0o700 {
			t.Errorf("mode %v, want %v", info.Mode(), mode)
		}
		if mode == 0o600 && runtime.GOOS != "windows" && info.Mode().Perm() != mode {
			t.Errorf("mode %v, want %v: what the file before allowed is not inherited", info.Mode(), mode)
		}
	}
}

// TestACrashBetweenTheStepsLeavesTheOldFile stops where a crash could, looks, and goes on as a restarted program does.
func TestACrashBetweenTheStepsLeavesTheOldFile(t *testing.T) {
	for name, crash := range map[string]func(temp string) error{
		"before the bytes are whole": func(temp string) error { return os.WriteFile(temp, []byte("n"), 0o644) },
		"before the rename":          func(temp string) error { return writeTemp(temp, []byte("new"), 0o644) },
	} {
		path := filepath.Join(t.TempDir(), "f")
		must(t, WriteFile(path, []byte("old"), 0o600))
		must(t, crash(path+tempSuffix))
		t.Log(name)
		holds(t, path, "old", "f", "f.tmp")
		must(t, WriteFile(path, []byte("newer"), 0o600))
		holds(t, path, "newer", "f")
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v): what a crash left gave its own", name, info.Mode(), err)
		}
	}
}

func TestAnErrorLeavesTheOldFileAndNoOther(t *testing.T) {
	t.Run("the name is a directory's", func(t *testing.T) {
		dir := t.TempDir()
		must(t, MkdirAll(filepath.Join(dir, "f", "inside"), 0o700))
		if err := WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o600); err == nil {
			t.Error("a directory was replaced")
		}
		lists(t, dir, "f")
		lists(t, filepath.Join(dir, "f"), "inside")
	})
	t.Run("the directory is missing", func(t *testing.T) {
		if err := WriteFile(filepath.Join(t.TempDir(), "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want %v", err, fs.ErrNotExist)
		}
	})
	mounted := func(t *testing.T) (dir string, mount func(options string) error) {
		dir = t.TempDir()
		mount = func(options string) error {
			out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w %s", err, bytes.TrimSpace(out))
			}
			return nil
		}
		if err := mount("size=64k"); err != nil {
			t.Skipf("cannot mount a small file system here: %v", err)
		}
		t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
		return dir, mount
	}
	t.Run("the disk is full", func(t *testing.T) {
		dir, _ := mounted(t)
		path := filepath.Join(dir, "f")
		must(t, WriteFile(path, []byte("old"), 0o600))
		if err := WriteFile(path, make([]byte, 1<<20), 0o600); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("error %v, want that there is no space", err)
		}
		holds(t, path, "old", "f")
		must(t, WriteFile(path, []byte("new"), 0o600))
		holds(t, path, "new", "f")
	})
	t.Run("the disk is read-only", func(t *testing.T) {
		dir, mount := mounted(t)
		path := filepath.Join(dir, "f")
		must(t, WriteFile(path, []byte("old"), 0o600))
		must(t, mount("remount,ro"))
		for name, err := range map[string]error{
			"WriteFile": WriteFile(path, []byte("new"), 0o600), "Rename": Rename(path, path+"2"),
			"Remove": Remove(path), "MkdirAll": MkdirAll(filepath.Join(dir, "d"), 0o700),
		} {
			if err == nil || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%s: error %v, want that the file system is read-only", name, err)
			}
		}
		holds(t, path, "old", "f")
	})
}

const killed = "DURABLE_KILLED_WRITER"

// TestAKillAtAnyTimeLeavesOneWholeFile kills a process that replaces a file without end: what it reported done is
// there, or what it was at next, and whole.
func TestAKillAtAnyTimeLeavesOneWholeFile(t *testing.T) {
	if path := os.Getenv(killed); path != "" {
		for n := 1; ; n++ {
			must(t, WriteFile(path, bytes.Repeat(fmt.Appendf(nil, "%08d", n), 1+n%4096), 0o600))
			fmt.Println("done", n)
		}
	}
	path := filepath.Join(t.TempDir(), "f")
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAKillAtAnyTimeLeavesOneWholeFile$")
		cmd.Env = append(os.Environ(), killed+"="+path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		done, lines := 0, bufio.NewScanner(out)
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "done "); ok {
				done, _ = strconv.Atoi(n)
			}
			if done == 20+7*round {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // it was killed
		b, err := os.ReadFile(path)
		must(t, err)
		n, err := strconv.Atoi(string(b[:8]))
		if err != nil || n < done || n > done+1 || !bytes.Equal(b, bytes.Repeat(b[:8], 1+n%4096)) {
			t.Fatalf("%d was reported done and the file holds %d bytes of %q", done, len(b), b[:8])
		}
	}
	must(t, WriteFile(path, []byte("after"), 0o600))
	holds(t, path, "after", "f")
}

func TestRemoveAndRenameAndMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	must(t, MkdirAll(deep, 0o700))
	must(t, MkdirAll(deep, 0o700)) // is there
	must(t, WriteFile(filepath.Join(deep, "f"), []byte("x"), 0o600))
	must(t, Rename(filepath.Join(deep, "f"), filepath.Join(dir, "g")))
	holds(t, filepath.Join(dir, "g"), "x", "a", "g")
	if err := MkdirAll(filepath.Join(dir, "g", "d"), 0o700); err == nil {
		t.Error("a directory was made in a file")
	}
	must(t, Remove(filepath.Join(dir, "g")))
	must(t, Remove(filepath.Join(dir, "g")))
	must(t, Remove(filepath.Join(dir, "none", "g")))
	if err := Remove(filepath.Join(dir, "a")); err == nil {
		t.Error("a directory that is not empty was removed")
	}
}
