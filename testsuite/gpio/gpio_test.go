// Package gpio runs the tests of package edge that need a kernel's GPIO character device, in a virtual machine: Debian's
// kernel and its GPIO simulator under qemu, which emulates the processor, so that neither root nor KVM is needed.
package gpio

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// modules are what kernel.sh leaves beside vmlinuz.
var modules = []string{"configfs.ko", "irq_sim.ko", "gpio-sim.ko"}

// TestEdgeOnTheKernelsGPIO boots the machine, lets its init run edge's TestKernel... tests and reads their verdicts from the
// serial console. Under -icount the machine's clock counts instructions: a busy host makes it slower, not its edges late.
func TestEdgeOnTheKernelsGPIO(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: booting a kernel without KVM takes half a minute")
	}
	kernel := filepath.Join("..", "..", "bin", "gpio")
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is missing: install qemu-system-x86")
	}
	if _, err := os.Stat(filepath.Join(kernel, "version")); err != nil {
		t.Skip("no kernel is prepared: testsuite/gpio/kernel.sh bin/gpio does it (go tool task test:gpio calls it)")
	}
	dir := t.TempDir()
	build(t, "build", "-o", filepath.Join(dir, "init"), "./testsuite/gpio/init")
	build(t, "test", "-c", "-o", filepath.Join(dir, "edge.test"), "./edge")
	files := []string{filepath.Join(dir, "init"), filepath.Join(dir, "edge.test")}
	for _, m := range modules {
		files = append(files, filepath.Join(kernel, m))
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, files); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var console bytes.Buffer
	machine := exec.CommandContext(ctx, qemu, "-accel", "tcg", "-icount", "shift=auto,sleep=off", "-cpu", "max", "-m", "512", "-no-reboot",
		"-display", "none", "-nodefaults", "-serial", "stdio", "-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init")
	machine.Stdout, machine.Stderr = &console, &console
	began := time.Now()
	if err := machine.Run(); err != nil {
		t.Fatalf("qemu: %v\n%s", errors.Join(err, ctx.Err()), console.String())
	}
	t.Logf("the machine ran for %s\n%s", time.Since(began).Round(time.Second/10), console.String())
	judge(t, console.String())
}

// judge holds what the console says against the tests that there are.
func judge(t *testing.T, console string) {
	t.Helper()
	want := regexp.MustCompile(`(?m)^func (TestKernel\w+)\(`)
	source, err := os.ReadFile(filepath.Join("..", "..", "edge", "gpio_kernel_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := want.FindAllStringSubmatch(string(source), -1)
	if len(names) == 0 {
		t.Fatal("edge has no TestKernel... tests")
	}
	for _, name := range names {
		if !strings.Contains(console, "--- PASS: "+name[1]+" ") {
			t.Errorf("%s did not pass in the machine", name[1])
		}
	}
	if !strings.Contains(console, "GPIO TESTS EXIT STATUS 0") {
		t.Error("the tests in the machine did not end well")
	}
}

// build runs the go command for the machine.
func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// writeInitrd packs files into the root of an initial RAM disk: a cpio archive in the "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst), compressed with gzip.
func writeInitrd(path string, files []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	entry := func(name string, mode int, content []byte) error {
		header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		for _, part := range [][]byte{pad([]byte(header + name + "\x00")), pad(content)} {
			if _, err := z.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := entry(filepath.Base(file), 0o100755, content); err != nil {
			return err
		}
	}
	if err := entry("TRAILER!!!", 0, nil); err != nil {
		return err
	}
	return errors.Join(z.Close(), f.Close())
}

// pad lengthens b to a multiple of 4 bytes.
func pad(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }
