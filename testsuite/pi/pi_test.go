// Package pi holds the tests of what a Raspberry Pi gets: the programs for its processors, the Debian package, the
// service and its hardening.
package pi

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"fanwatch"
)

// architectures are Debian's names, with the emulator that runs their programs. qemu's arm1176 is the ARMv6 core of the
// first Raspberry Pi and the Zero.
var architectures = []struct {
	name     string
	emulator []string
}{
	{"armhf", []string{"qemu-arm", "-cpu", "arm1176"}},
	{"arm64", []string{"qemu-aarch64"}},
}

// packages builds programs and packages by the command that the guide tells.
var packages = sync.OnceValues(func() (map[string]string, error) {
	cmd := exec.Command("go", "tool", "task", "deb")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go tool task deb: %w\n%s", err, out)
	}
	debs := map[string]string{}
	for _, arch := range architectures {
		found, err := filepath.Glob(filepath.Join("..", "..", "bin", "fanwatch-edge_*_"+arch.name+".deb"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("no package for %s: %v", arch.name, err)
		}
		newest := found[0]
		for _, f := range found { // earlier commits' are there too
			if modified(f) > modified(newest) {
				newest = f
			}
		}
		debs[arch.name] = newest
	}
	return debs, nil
})

func modified(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.ModTime().UnixNano()
}

func built(t *testing.T) map[string]string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: cross-compiling takes two minutes the first time")
	}
	debs, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return debs
}

func program(arch string) string {
	return filepath.Join("..", "..", "bin", "pi", arch, "fanwatch-edge")
}

// TestProgramsAreStaticAndSmall: no dynamic loader, no libraries, and under 8 MB.
func TestProgramsAreStaticAndSmall(t *testing.T) {
	built(t)
	for _, arch := range architectures {
		info, err := os.Stat(program(arch.name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= 8_000_000 {
			t.Errorf("%s: %d bytes, want under 8 MB", arch.name, info.Size())
		}
		f, err := elf.Open(program(arch.name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
			t.Errorf("%s: links %v, %v: want a static program", arch.name, libs, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: needs a dynamic loader", arch.name)
			}
		}
		t.Logf("%s: %d bytes", arch.name, info.Size())
	}
}

// TestProgramsRun measures a simulated fan on each processor, emulated: the whole way but the network.
func TestProgramsRun(t *testing.T) {
	built(t)
	for _, arch := range architectures {
		t.Run(arch.name, func(t *testing.T) {
			if _, err := exec.LookPath(arch.emulator[0]); err != nil {
				t.Skipf("%s is missing: apt-get install qemu-user", arch.emulator[0])
			}
			out := run(t, append(arch.emulator, program(arch.name), "run", "--sim", "--dry-run", "--json", "--count", "3")...)
			readings := json.NewDecoder(strings.NewReader(out))
			for seq := uint64(1); seq <= 3; seq++ {
				var r fanwatch.WireReading
				if err := readings.Decode(&r); err != nil || r.Seq != seq || r.State != fanwatch.StateRunning ||
					math.Abs(r.RPM-1800) > 40 {
					t.Errorf("of a fan at 1800 RPM: %v\n%s", err, out)
				}
			}
			dir := t.TempDir()
			run(t, append(arch.emulator, program(arch.name), "enroll", "--fan", "fan-21", "--dir", dir)...)
			if st, err := os.Stat(filepath.Join(dir, "fan-21.key")); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the key: %v %v", st, err)
			}
		})
	}
}

// TestPackage: what is in it, where, and whose.
func TestPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is missing: it comes with Debian")
	}
	for arch, deb := range built(t) {
		if got := run(t, "dpkg-deb", "--field", deb, "Architecture"); strings.TrimSpace(got) != arch {
			t.Errorf("%s is for %s", deb, got)
		}
		contents := run(t, "dpkg-deb", "--contents", deb)
		for _, want := range []string{"-rwxr-xr-x root/root", "./usr/bin/fanwatch-edge",
			"./usr/lib/systemd/system/fanwatch-edge@.service",
			"./usr/lib/udev/rules.d/60-fanwatch-gpio.rules", "./etc/fanwatch/example.yaml",
			"./usr/share/doc/fanwatch-edge/README.md", "./usr/share/doc/fanwatch-edge/copyright"} {
			if !strings.Contains(contents, want) {
				t.Errorf("%s: no %s in\n%s", arch, want, contents)
			}
		}
		if strings.Contains(contents, "private") || strings.Contains(contents, ".key") {
			t.Errorf("%s holds a key:\n%s", arch, contents)
		}
		if conffiles := run(t, "dpkg-deb", "--info", deb, "conffiles"); conffiles != "/etc/fanwatch/example.yaml\n" {
			t.Errorf("%s: conffiles %q", arch, conffiles)
		}
	}
}

// TestPackageInstalls installs, installs again, removes and purges the package by dpkg, in an overlay over this
// machine's own root directory, of which nothing is left afterwards.
func TestPackageInstalls(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount an overlay")
	}
	for _, tool := range []string{"dpkg", "unshare", "adduser"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: this is not Debian", tool)
		}
	}
	debs := built(t)
	dir := t.TempDir()
	script := `set -e
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root" || exit 77
cp "$1" "$0/root/package.deb"
mount -t proc proc "$0/root/proc"
exec chroot "$0/root" sh -e -c "$2"`
	const steps = `
dpkg --force-architecture --force-depends --install /package.deb
id fanwatch; getent group gpio
stat -c '%U %a %n' /etc/fanwatch /usr/bin/fanwatch-edge
echo "version: 1 # changed by hand" > /etc/fanwatch/example.yaml
echo secret > /etc/fanwatch/fan-21.key; mkdir -p /var/lib/fanwatch/fan-21
dpkg --force-architecture --force-depends --force-confold --install /package.deb
grep "changed by hand" /etc/fanwatch/example.yaml
systemd-analyze verify /usr/lib/systemd/system/fanwatch-edge@.service 2>&1 | grep fanwatch && exit 1
echo UNIT VERIFIED
dpkg --remove fanwatch-edge
test ! -e /usr/bin/fanwatch-edge; cat /etc/fanwatch/fan-21.key; ls -d /var/lib/fanwatch/fan-21
dpkg --purge fanwatch-edge
test ! -e /etc/fanwatch; test ! -e /var/lib/fanwatch; getent passwd fanwatch || echo NO USER LEFT`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script, dir, debs["armhf"], steps)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("cannot mount an overlay here: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"(fanwatch)", "(gpio)", "gpio:x:", "fanwatch 750 /etc/fanwatch",
		"root 755 /usr/bin/fanwatch-edge", "changed by hand", "UNIT VERIFIED", "secret", "/var/lib/fanwatch/fan-21",
		"NO USER LEFT"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat("/usr/bin/fanwatch-edge"); err == nil {
		t.Error("the overlay let the installation through to this machine")
	}
}

// TestServiceIsHardened holds the unit to an exposure of at most 1.5 of 10 by systemd's own count, and to the
// device and the system call that it must keep.
func TestServiceIsHardened(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", "pi", "fanwatch-edge@.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type=notify\n", "WatchdogSec=", "DevicePolicy=closed\nDeviceAllow=char-gpiochip rw\n",
		"adjtimex\n"} {
		if !bytes.Contains(unit, []byte(want)) {
			t.Errorf("the unit does not say %q", want)
		}
	}
	if n := bytes.Count(unit, []byte("DeviceAllow=")); n != 1 {
		t.Errorf("the unit allows %d kinds of devices", n)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is missing: apt-get install systemd")
	}
	path := filepath.Join(t.TempDir(), "fanwatch-edge@fan-21.service")
	if err := os.WriteFile(path, unit, 0o644); err != nil {
		t.Fatal(err)
	}
	out := run(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", path)
	t.Log(strings.TrimSpace(out[strings.LastIndex(out, "Overall"):]))
}

// TestServiceAllowsWhatTheProgramCalls holds the system calls that the program makes against the unit's filter: a
// refused one shows only on the Raspberry Pi, and then as something else (an adjtimex that fails as a clock that is
// never right).
func TestServiceAllowsWhatTheProgramCalls(t *testing.T) {
	for _, tool := range []string{"strace", "systemd-analyze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install strace systemd", tool)
		}
	}
	dir := t.TempDir()
	edge, trace, config := filepath.Join(dir, "fanwatch-edge"), filepath.Join(dir, "trace"), filepath.Join(dir, "fan.yaml")
	build := exec.Command("go", "build", "-o", edge, "./cmd/fanwatch-edge")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := "version: 1\nfan: fan-21\nbroker: localhost:1\nca: c\ncert: c\nkey: fan-21.key\nspool: spool\nsource: " +
		"{gpio: {line: GPIO17}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, args := range [][]string{
		{"enroll", "--fan", "fan-21", "--dir", dir},
		{"check", "--config", config}, // most of it is wrong, but tried
		{"run", "--sim", "--dry-run", "--count", "2"},
	} {
		cmd := exec.Command("strace", append([]string{"-f", "-qq", "-o", trace, edge}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil && args[0] != "check" {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		b, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(`).FindAllSubmatch(b, -1) {
			called[string(m[1])] = true
		}
	}
	for _, must := range []string{"adjtimex", "fsync", "openat", "clone"} {
		if !called[must] && !(must == "clone" && called["clone3"]) {
			t.Errorf("the trace has no %s: it does not show what it should", must)
		}
	}
	allowed := map[string]bool{}
	unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", "pi", "fanwatch-edge@.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllSubmatch(unit, -1) {
		for _, name := range strings.Fields(string(m[2])) {
			for _, call := range calls(t, name) {
				allowed[call] = len(m[1]) == 0
			}
		}
	}
	for call := range called {
		if !allowed[call] {
			t.Errorf("the program calls %s, which the unit refuses", call)
		}
	}
	t.Logf("%d different calls, %d are allowed", len(called), len(allowed))
}

// calls gives the system calls of one of systemd's sets.
func calls(t *testing.T, name string) (out []string) {
	t.Helper()
	if !strings.HasPrefix(name, "@") {
		return []string{name}
	}
	for line := range strings.Lines(run(t, "systemd-analyze", "--no-pager", "syscall-filter", name)) {
		line = strings.TrimSpace(line)
		if line != "" && line != name && !strings.HasPrefix(line, "#") {
			out = append(out, calls(t, line)...)
		}
	}
	return out
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}
