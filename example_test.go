package fanwatch_test

import (
	"encoding/json"
	"fmt"
	"time"

	"fanwatch"
)

// ExampleNewBatch makes the envelope that a publisher sends over MQTT.
func ExampleNewBatch() {
	at := time.Date(2026, 11, 30, 13, 22, 5, 0, time.UTC)
	reading := fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-07", Run: 0xff, Seq: 1}, Time: at,
		RPM: 1800, Hz: 60, Edges: 60, PWM: fanwatch.NewDuty(0.5), State: fanwatch.StateRunning}
	batch := fanwatch.NewBatch([]fanwatch.Reading{reading}, 0, 0, at)
	data, err := json.Marshal(batch.Readings[0])
	if err != nil {
		panic(err)
	}
	fmt.Println(batch.Fan, batch.Run)
	fmt.Println(string(data))
	// Output:
	// fan-07 00000000000000ff
	// {"seq":1,"t":1796044925000000,"rpm":1800,"hz":60,"n":60,"pwm":0.5,"st":"running"}
}
