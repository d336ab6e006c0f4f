package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkRun measures the program itself, as it is installed, at one reading a second with a broker that takes
// them: the processor time that it uses, of one core, and its memory. The fan is simulated, so that its edges are
// computed in the same process.
func BenchmarkRun(b *testing.B) {
	const start, span = 5 * time.Second, 30 * time.Second
	program := filepath.Join(b.TempDir(), "fanwatch-edge")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	d := newDevice(b)
	for b.Loop() {
		run := exec.Command(program, "run", "--config", d.config)
		must(b, run.Start())
		time.Sleep(start) // the handshake is no part of what it costs from then on
		before := processorTime(b, run.Process.Pid)
		time.Sleep(span)
		used := processorTime(b, run.Process.Pid) - before
		rss := residentBytes(b, run.Process.Pid)
		must(b, run.Process.Signal(os.Interrupt))
		must(b, run.Wait())
		if d.published.Load() == 0 {
			b.Fatal("nothing was published")
		}
		b.ReportMetric(100*used.Seconds()/span.Seconds(), "edge.cpu-%")
		b.ReportMetric(rss, "edge.rss-B")
		b.ReportMetric(0, "ns/op") // says nothing: it is the span
	}
}

// BenchmarkBinary measures the size of the program for the first Raspberry Pi and the Zero.
func BenchmarkBinary(b *testing.B) {
	program := filepath.Join(b.TempDir(), "fanwatch-edge")
	for b.Loop() {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=arm", "GOARM=6")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	st, err := os.Stat(program)
	must(b, err)
	b.ReportMetric(float64(st.Size()), "edge.binary.armv6-B")
	b.ReportMetric(0, "ns/op") // says nothing: it is the compiler's
}

// processorTime adds up what all threads have run, from /proc/PID/task/TID/schedstat
// (Documentation/scheduler/sched-stats.rst).
func processorTime(b *testing.B, pid int) (sum time.Duration) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(b, err)
	for _, path := range threads {
		text, err := os.ReadFile(path)
		must(b, err)
		var ran int64
		_, err = fmt.Sscan(string(text), &ran)
		must(b, err)
		sum += time.Duration(ran)
	}
	return sum
}

// residentBytes returns the largest resident set so far.
func residentBytes(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(b, err)
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscan(rest, &kilobytes); !found || err != nil {
		b.Fatalf("VmHWM: %v", err)
	}
	return kilobytes * 1024
}
