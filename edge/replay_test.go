package edge

import (
	"context"
	"reflect"
	"testing"
	"time"

	"fanwatch"
)

func readingsOf(batches []fanwatch.Batch) (all []fanwatch.WireReading) {
	for _, b := range batches {
		all = append(all, b.Readings...)
	}
	return all
}

// TestRecordedReadingsArePublishedAsTheyWere, with their times, each once and in order, and Run ends behind the last.
func TestRecordedReadingsArePublishedAsTheyWere(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	began, n := time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC), 12_000 // more than the spool is to hold
	c.Dir, c.FlushEvery, c.Batch = t.TempDir(), time.Hour, 100
	c.Recorded = func(_ context.Context, emit func(fanwatch.Reading) error) error {
		for i := range n {
			r := fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "other", Run: 3, Seq: 9}, RPM: float64(i),
				Time: began.Add(time.Duration(i) * time.Second), PWM: fanwatch.NewDuty(0), State: fanwatch.StateRunning}
			if err := emit(r); err != nil {
				return err
			}
		}
		return nil
	}
	node, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, again := b.got()
	if again != 0 || !reflect.DeepEqual(seqs(got), span(1, uint64(n))) || node.Status().Dropped != 0 {
		t.Fatalf("%d arrived, %d again, %+v", len(got), again, node.Status())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range readingsOf(b.batches) {
		if r.RPM != float64(i) || r.T != began.Add(time.Duration(i)*time.Second).UnixMicro() || r.PWM == nil || *r.PWM != 0 ||
			r.Unsynch {
			t.Fatalf("reading %d: %+v", i, r)
		}
	}
}
