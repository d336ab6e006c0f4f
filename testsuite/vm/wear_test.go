package vm

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkBytesPerDay counts what a node at 1 Hz has written to its ext4 disk, journal and all, in two hours of the
// machine's time, and says how much that is in a day.
func BenchmarkBytesPerDay(b *testing.B) {
	const hours = 2
	for b.Loop() {
		m := newMachine(b, "-test.run", "^TestWear$", "-test.v", "-test.timeout", "9h")
		m.format(256)
		m.env = []string{"EDGE_TEST_WEAR=/disk/spool", "EDGE_TEST_WEAR_FOR=" + (hours * time.Hour).String()}
		var bytes, seconds float64
		passed := false
		var console []string
		m.run(20*time.Minute, func(line string) bool {
			scan(line, "wear %g bytes in %g s", &bytes, &seconds)
			passed = passed || strings.HasPrefix(line, "--- PASS: TestWear")
			console = append(console, line)
			return true
		})
		if !passed || seconds == 0 {
			b.Fatal(strings.Join(console, "\n"))
		}
		b.ReportMetric(bytes/seconds*86400, "edge.bytes_per_day-B")
		b.ReportMetric(0, "ns/op") // says nothing: it is the emulator's
	}
}
