package fanwatch

import "time"

// RowKind says what a row of the landing log is.
type RowKind string

// The kinds of rows. RowScored and RowLate rows are readings and go to the table; a RowLate one is older than
// what its fan's forest has seen and was not fed to it. RowQuarantined rows hold what could not be
// accepted, and why. RowConfigured rows hold a Device, where it took effect.
const (
	RowScored      RowKind = "scored"
	RowLate        RowKind = "late"
	RowQuarantined RowKind = "quarantined"
	RowConfigured  RowKind = "configured"
)

// Row is one row of the landing log, in arrival order: everything a model was fed, without loss, and
// what it said, so that replaying the rows rebuilds the model bit for bit.
type Row struct {
	Kind     RowKind
	Reading            // zero but for Fan (where known) on RowQuarantined and RowConfigured rows
	Position Position  // Shard is the segment's; it is not stored per row
	Arrived  time.Time // at the stream or, by the rule's timestamp(), at the broker; UTC, microseconds
	Client   string    // MQTT client ID that published it; "" on RowConfigured rows
	Score    float64   // 0 while the forest warms up and on rows that were not scored
	Anomaly  Kind      // the fan's state after this reading
	Acked    uint64    // readings of this run that the publisher says were acknowledged before this batch
	Dropped  uint64    // readings of this run that the publisher says it had to drop before this batch
	Reason   string    // RowQuarantined: why, for a person
	Refused  uint32    // RowQuarantined: readings of the record that the row stands for; 0 and 1 are one
	Payload  []byte    // RowQuarantined: the bytes (at most 4 KiB of them); RowConfigured: the Device as JSON
}
