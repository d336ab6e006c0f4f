package lake

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/iceberg-go/table"

	"fanwatch"
	"fanwatch/lake/landing"
)

// Every day of readings is a file of its own, so a message of readings of 360 days would be 360 files with the next
// commit, and as many with each further one. So a commit passes over the readings that are much older than their
// arrival, and notes in the table, in its own transaction, from which segment on it did so. They stay in the landing
// log, whose segments keep their rows as long. When they have waited for TableConfig.OldEvery, a commit takes just
// them from the segments between there and the table's offset, and removes the note. So each of their days becomes a
// file once in that time, however many messages came. An ingestion is no device, and is asked for: its readings do
// not wait.

// propOld + stream/shard holds a held; absent or empty: nothing is held back.
const propOld = "fanwatch.old."

// heldVersion is the version of held that this program writes; it refuses to read others.
const heldVersion = 1

// held says which readings of a log are not in the table although its offset lies behind them.
type held struct {
	V     int                     `json:"v"`
	After fanwatch.SequenceNumber `json:"after"` // those of segments behind this one
	Age   time.Duration           `json:"age"`   // that arrived so much later than they were measured
	Since time.Time               `json:"since"` // when the first was passed over, by the committer's clock
}

func oldKey(l landing.Log) string { return propOld + l.Stream + "/" + l.Shard }

// heldOf returns what is held back of a log; ok is false where nothing is.
func heldOf(tbl *table.Table, l landing.Log) (h held, ok bool, err error) {
	text := tbl.Properties()[oldKey(l)]
	if text == "" {
		return h, false, nil
	}
	h, err = parseHeld(text)
	return h, true, wrap(err, "table property %s", oldKey(l))
}

func parseHeld(text string) (h held, err error) {
	err = json.Unmarshal([]byte(text), &h)
	if err == nil && h.V != heldVersion {
		err = fmt.Errorf("version %d is unknown, this program knows %d", h.V, heldVersion)
	}
	if err == nil {
		h.After, err = fanwatch.ParseSequenceNumber(string(h.After))
	}
	return h, err
}

func (h held) String() string {
	h.V = heldVersion
	text, _ := json.Marshal(h) // it has nothing that cannot be encoded
	return string(text)
}

// holds reports whether a row waits.
func (h held) holds(r *fanwatch.Row) bool { return r.Arrived.Sub(r.Time) > h.Age }

// coverage says which rows of a log are in a table.
type coverage struct {
	at   fanwatch.SequenceNumber // of the last segment
	held *held                   // nil: all rows until there
}

// coverageOf reads how far the table has come with a log.
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

// whole returns the sequence number up to which all rows are in the table.
func (e coverage) whole() fanwatch.SequenceNumber {
	if e.held != nil && e.held.After.Compare(e.at) < 0 {
		return e.held.After
	}
	return e.at
}
