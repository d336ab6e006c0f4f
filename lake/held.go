package lake

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
)

// Every day of readings is a file of its own: a message with readings of 360 days would make 360 files, and so would
// the next. A commit therefore holds back readings that are much older than their arrival, and notes in the table, in
// its own transaction, from which segment on it did so. They stay in the landing log, whose segments keep their rows as
// long. When they have waited for TableConfig.OldEvery, a commit adds just them, from the segments between there and
// the table's offset, and removes the note: each of their days becomes one file in that time, however many messages
// arrived. Readings of an ingestion are not held back.

// propOld begins the table property that has the heldReadings of a log, propOld + stream/shard. Absent or empty: none
// are held back.
const propOld = "fanwatch.old."

// heldVersion is the version of heldReadings that this program writes; it refuses to read others.
const heldVersion = 1

// heldReadings says which readings of a log are not in the table although its offset has passed them: those that
// arrived more than Age after they were measured, in segments behind After.
type heldReadings struct {
	V     int                     `json:"v"`
	After fanwatch.SequenceNumber `json:"after"`
	Age   time.Duration           `json:"age"`
	Since time.Time               `json:"since"` // when the first was held back, by the committer's clock
}

func oldKey(l landing.Log) string { return propOld + l.Stream + "/" + l.Shard }

// heldOf returns the held readings of a log; ok is false without any.
func heldOf(tbl *table.Table, l landing.Log) (h heldReadings, ok bool, err error) {
	text := tbl.Properties()[oldKey(l)]
	if text == "" {
		return h, false, nil
	}
	h, err = parseHeld(text)
	return h, true, wrap(err, "table property %s", oldKey(l))
}

func parseHeld(text string) (h heldReadings, err error) {
	err = json.Unmarshal([]byte(text), &h)
	if err == nil && h.V != heldVersion {
		err = fmt.Errorf("version %d is unknown, this program knows %d", h.V, heldVersion)
	}
	if err == nil {
		h.After, err = fanwatch.ParseSequenceNumber(string(h.After))
	}
	return h, err
}

func (h heldReadings) String() string {
	h.V = heldVersion
	text, _ := json.Marshal(h) // it has no value that JSON cannot encode
	return string(text)
}

// holds reports whether a row is held back.
func (h heldReadings) holds(r *fanwatch.Row) bool { return r.Arrived.Sub(r.Time) > h.Age }

// coverage says which rows of a log are in a table.
type coverage struct {
	at   fanwatch.SequenceNumber // the table's offset: the end of its last segment
	held *heldReadings           // the rows up to at that are not in the table; nil: none
}

// coverageOf returns the table's coverage of a log.
func coverageOf(tbl *table.Table, l landing.Log) (e coverage, err error) {
	if e.at, err = offset(tbl, l); err != nil {
		return e, err
	}
	h, ok, err := heldOf(tbl, l)
	if ok {
		e.held = &h
	}
	return e, err
}

// has reports whether the row of a segment that ends at last is in the table.
func (e coverage) has(last fanwatch.SequenceNumber, r *fanwatch.Row) bool {
	if last.Compare(e.at) > 0 {
		return false
	}
	return e.held == nil || last.Compare(e.held.After) <= 0 || !e.held.holds(r)
}

// complete returns the sequence number up to which all rows are in the table.
func (e coverage) complete() fanwatch.SequenceNumber {
	if e.held != nil && e.held.After.Compare(e.at) < 0 {
		return e.held.After
	}
	return e.at
}
