// Package vm tests package edge where a real kernel must take part: its GPIO character device, and a disk whose
// power is cut. The machine is Debian's kernel under qemu, which emulates the processor, so that neither root nor
// KVM is needed.
package vm

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// kernel is where kernel.sh leaves what it makes.
var kernel = filepath.Join("..", "..", "bin", "vm")

// machine is a virtual machine that has been built but not started.
type machine struct {
	t      testing.TB
	initrd string
	disk   string   // an ext4 image, mounted at /disk; "" = none
	env    []string // of the command
	args   []string // the command
}

// newMachine makes a machine that will run edge's test binary with the arguments, or skips the test, saying why.
func newMachine(t testing.TB, args ...string) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: booting a kernel without KVM takes half a minute")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("qemu-system-x86_64 is missing: install qemu-system-x86")
	}
	if _, err := os.Stat(filepath.Join(kernel, "version")); err != nil {
		t.Skip("no kernel is prepared: testsuite/vm/kernel.sh bin/vm does it (go tool task test:gpio calls it)")
	}
	initrd, err := ramDisk()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t: t, initrd: initrd, args: append([]string{"/edge.test"}, args...)}
}

// format gives the machine an empty disk of some megabytes.
func (m *machine) format(megabytes int64) {
	m.t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/sbin/mkfs.ext4" // not on everybody's PATH
	}
	m.disk = filepath.Join(m.t.TempDir(), "disk")
	err = errors.Join(os.WriteFile(m.disk, nil, 0o600), os.Truncate(m.disk, megabytes<<20))
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := os.Stat(mkfs); err != nil {
		m.t.Skip("mkfs.ext4 is missing: install e2fsprogs")
	}
	if out, err := exec.Command(mkfs, "-q", "-F", m.disk).CombinedOutput(); err != nil {
		m.t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
}

// run boots the machine and gives each line of its console to listen until it ends or listen returns false, which
// is as if its plug were pulled. Its clock counts instructions, 4 ns each, and jumps over idle time (-icount):
// a busy host makes the machine slower, not its timers late, and an hour of waiting costs seconds.
func (m *machine) run(patience time.Duration, listen func(line string) bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args := []string{"-accel", "tcg", "-icount", "shift=2,sleep=off", "-cpu", "max", "-m", "512", "-no-reboot", "-display",
		"none", "-nodefaults",
		"-serial", "stdio", "-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", m.initrd,
		"-append", strings.Join(append(append([]string{"console=ttyS0", "quiet", "loglevel=3", "panic=-1", "rdinit=/init"},
			m.env...), append([]string{"--"}, m.args...)...), " ")}
	if m.disk != "" {
		args = append(args, "-drive", "if=virtio,format=raw,file="+m.disk)
	}
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var errs strings.Builder
	qemu.Stderr = &errs
	out, err := qemu.StdoutPipe()
	if err == nil {
		err = qemu.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	pulled := false
	for lines := bufio.NewScanner(out); !pulled && lines.Scan(); {
		if !listen(strings.TrimRight(lines.Text(), "\r")) {
			pulled = true
			_ = qemu.Process.Kill()
		}
	}
	err = qemu.Wait()
	if !pulled && err != nil {
		m.t.Fatalf("qemu: %v\n%s", errors.Join(err, ctx.Err()), errs.String())
	}
}

// ramDisk builds the machine's root: init, edge's test binary and the kernel's modules.
var ramDisk = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(kernel)
	if err != nil {
		return "", err
	}
	list, err := os.ReadFile(filepath.Join(dir, "modules"))
	if err != nil {
		return "", err
	}
	files := []string{filepath.Join(dir, "init"), filepath.Join(dir, "edge.test"), filepath.Join(dir, "modules")}
	for _, m := range strings.Fields(string(list)) {
		files = append(files, filepath.Join(dir, m))
	}
	for _, args := range [][]string{{"build", "-o", files[0], "./testsuite/vm/init"}, {"test", "-c", "-o", files[1],
		"./edge"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	path := filepath.Join(dir, "initrd")
	return path, writeArchive(path, files)
})

// writeArchive packs files into the root of an initial RAM disk: a cpio archive in the "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst), compressed with gzip.
func writeArchive(path string, files []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeEntry(z, filepath.Base(file), 0o100755, content); err != nil {
			return err
		}
	}
	return errors.Join(writeEntry(z, "TRAILER!!!", 0, nil), z.Close(), f.Close())
}

func writeEntry(w io.Writer, name string, mode int, content []byte) error {
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 0, mode, 0, 0, 1, 0, len(content),
		0, 0, 0, 0, len(name)+1, 0)
	for _, part := range [][]byte{[]byte(header + name + "\x00"), content} {
		part = append(part, make([]byte, (4-len(part)%4)%4)...) // each is padded to a multiple of 4 bytes
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
