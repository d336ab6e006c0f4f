package edge_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"fanwatch"
	"fanwatch/edge"
)

// A fan with two pulses per revolution that turns at 1800 RPM gives a falling edge every 60 s / (2 * 1800).
func ExampleTach() {
	tach := edge.NewTach(edge.TachConfig{Pulses: 2})
	period := time.Minute / (2 * 1800)
	var now time.Duration
	for seq := uint32(1); now < 2*time.Second; seq++ {
		now += period
		tach.Observe(edge.Edge{At: now, Seq: seq})
	}
	r := tach.Window(now)
	fmt.Printf("%s at %.0f RPM, %.0f pulses per second\n", r.State, r.RPM, r.Hz)
	r = tach.Window(now + 2*time.Second)
	fmt.Printf("%s, %d edges\n", r.State, r.Edges)
	// Output:
	// running at 1800 RPM, 60 pulses per second
	// stalled, 0 edges
}

// What a program appended and did not see acknowledged is there when it opens the spool again, be it that it was
// killed in between.
func ExampleSpool() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for run := uint64(1); run <= 2; run++ {
		spool, err := edge.OpenSpool(edge.SpoolConfig{Dir: dir, Fan: "fan-01", Run: run})
		if err != nil {
			log.Fatal(err)
		}
		if run == 1 {
			for seq := uint64(1); seq <= 3; seq++ {
				id := fanwatch.ReadingID{Fan: "fan-01", Run: run, Seq: seq}
				spool.Append(edge.Record{Reading: fanwatch.Reading{ReadingID: id, RPM: 1800, State: fanwatch.StateRunning}})
			}
			spool.Ack(spool.Next(1))
		} else {
			batch := spool.Next(10)
			fmt.Println(len(batch.Records), "readings of run", batch.Records[0].Run, "from seq", batch.Records[0].Seq)
			spool.Ack(batch)
			fmt.Println(spool.Stats().Spooled, "left")
		}
		if err := spool.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 2 readings of run 1 from seq 2
	// 0 left
}
