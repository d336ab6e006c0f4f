package detect

import (
	"testing"

	"fanwatch"
)

// BenchmarkFeed gives the time of one reading, published alone and in batches of ten.
func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{1, 10} {
		b.Run(map[int]string{1: "alone", 10: "ten"}[size], func(b *testing.B) {
			f := newFeed(fanwatch.Device{Fan: "a"})
			m := newMachine(1, 1800)
			seq := uint64(0)
			publish := func() {
				batch := make([]fanwatch.WireReading, size)
				for i := range batch {
					seq++
					batch[i] = fanwatch.WireReading{Seq: seq, RPM: m.next(0.002), Hz: 60, Jitter: 0.003}
				}
				f.all, f.obs = f.all[:0], f.obs[:0]
				f.batch("a", 5, batch...)
			}
			for range 1000 {
				publish()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N / size {
				publish()
			}
		})
	}
}
