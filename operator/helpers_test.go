package operator

import (
	"fmt"
	"time"

	"fanwatch"
)

// opened is when the alerts of these tests were opened.
var opened = time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)

// observation gives one of fan-07, the later the larger n is.
func observation(n int, kind fanwatch.Kind) fanwatch.Observation {
	return fanwatch.Observation{V: 1, Fan: "fan-07", Position: fanwatch.Position{Shard: "s",
		Sequence: fanwatch.SequenceNumber(fmt.Sprint(100 + n))},
		Time: opened.Add(time.Duration(n) * time.Second), Anomaly: fanwatch.Anomaly{Kind: kind, Why: "because"}}
}

func point[T any](v T) *T { return &v }
