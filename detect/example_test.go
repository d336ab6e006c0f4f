package detect_test

import (
	"fmt"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// ExampleModels_Feed makes a fan known by its device and judges one reading of it.
func ExampleModels_Feed() {
	at := time.Date(2026, 11, 30, 13, 22, 5, 0, time.UTC)
	device, err := fanwatch.EncodeDevice(fanwatch.Device{V: fanwatch.DeviceVersion, Revision: 1, Fan: "fan-07"})
	if err != nil {
		panic(err)
	}
	envelope := `{"client":"fan-07","v":1,"fan":"fan-07","run":"00000000000000ff",
		"readings":[{"seq":1,"t":1796044925000000,"rpm":0,"hz":0,"st":"stalled"}]}`
	models := detect.New(detect.Config{})
	models.Feed(detect.Input{Position: fanwatch.Position{Shard: "shard-0", Sequence: "1"}, Arrived: at, Data: device})
	out := models.Feed(detect.Input{Position: fanwatch.Position{Shard: "shard-0", Sequence: "2"}, Arrived: at,
		Data: []byte(envelope)})
	fmt.Println(out.Rows[0].Kind, out.Observations[0].Anomaly.Kind)
	fmt.Println(out.Observations[0].Anomaly.Why)
	// Output:
	// scored stall
	// fan-07 has stopped: 0 RPM.
}
