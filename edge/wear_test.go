//go:build linux

package edge

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestWear is the program of the machine whose disk writes are counted (testsuite/vm, BenchmarkBytesPerDay): a node
// as in operation, connected and publishing, on a machine that does nothing else. Time is the machine's own, where
// an hour passes in seconds.
func TestWear(t *testing.T) {
	dir := os.Getenv("EDGE_TEST_WEAR")
	if dir == "" {
		t.Skip("counts what the kernel writes to a disk: go tool task bench:edge runs it in a virtual machine")
	}
	span, err := time.ParseDuration(os.Getenv("EDGE_TEST_WEAR_FOR"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, newAuthority(t, "fan-01"))
	sim, err := NewSim(SimConfig{}, System().Boot())
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Config{Fan: "fan-01", Source: sim, Dir: dir, Broker: b.addr, TLS: b.a.client(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	time.Sleep(5 * time.Minute) // until what was written for the start is on the disk
	before, acked := sectorsWritten(t), n.Status().Acked
	time.Sleep(span)
	after, st := sectorsWritten(t), n.Status()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, want := st.Acked-acked, uint64(span.Seconds()); got < want*9/10 || st.Failures != 0 {
		t.Errorf("%d readings were acknowledged in %s: %+v", got, span, st)
	}
	fmt.Printf("wear %d bytes in %d s\n", (after-before)*512, int(span.Seconds()))
}

// sectorsWritten returns how many sectors of 512 bytes went to the disk (Documentation/block/stat.rst).
func sectorsWritten(t *testing.T) (n uint64) {
	t.Helper()
	b, err := os.ReadFile("/sys/block/vda/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.Fields(string(b))[6], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
