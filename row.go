package fanwatch

import "time"

// RowKind is the kind of a row of the landing log.
type RowKind string

// The kinds of rows.
const (
	// RowScored is the kind of a reading that was judged; it goes to the table.
	RowScored RowKind = "scored"
	// RowLate is the kind of a reading that came after a newer one of its run; it goes to the table unjudged.
	RowLate RowKind = "late"
	// RowQuarantined is the kind of a reading or record that was refused, with the reason.
	RowQuarantined RowKind = "quarantined"
	// RowConfigured is the kind of a Device, where it took effect.
	RowConfigured RowKind = "configured"
	// RowLabelled is the kind of a Label, where it took effect.
	RowLabelled RowKind = "labelled"
	// RowPaused is the kind of a Pause, where it took effect.
	RowPaused RowKind = "paused"
)

// Row is one row of the landing log. The rows of a shard, in arrival order, hold all input of its models and their
// scores, so that a replay rebuilds the models bit for bit.
type Row struct {
	Kind     RowKind
	Reading            // with other kinds than RowScored and RowLate zero but for Fan, where known
	Position Position  // Shard is the segment's; it is not stored with the row
	Arrived  time.Time // at the stream or, by the rule's timestamp(), at the broker; UTC, whole microseconds
	Client   string    // MQTT client ID of the publisher; "" with RowConfigured
	Score    float64   // the forest's score; 0 while it warms up, and with other kinds than RowScored
	Anomaly  Kind      // the gravest of the fan's states after the reading
	Judged   Judged    // what the judge expected of the reading; zero with other kinds than RowScored
	Acked    uint64    // readings of the run that were acknowledged before the batch, as the publisher counts
	Dropped  uint64    // readings of the run that were dropped before the batch, as the publisher counts
	Reason   string    // with RowQuarantined: why it was refused
	Refused  uint32    // with RowQuarantined: number of readings that the row stands for; 0 counts as 1
	// Payload is, with RowQuarantined, the record, at most 4 KiB of it; with RowConfigured, RowLabelled and RowPaused
	// the record of the Device, Label or Pause.
	Payload []byte
}

// Judged is what the judge expected of a reading and what it made of it.
type Judged struct {
	Expected float64 // RPM, in steps of 0.1; 0 = nothing was expected: the fan is learned, or stands still by command
	Low      float64 // lower end of the band, RPM, in steps of 0.1
	High     float64 // upper end of the band, RPM, in steps of 0.1
	Level    int32   // number of the level at which the fan stands, from 0; -1 = at none that is known
	Verdict  string  // one of a few words, such as normal, learning, stopped, away; the kinds of trouble, by commas
}
