package ingest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// intake is an object that is being read.
type intake struct {
	objstore.Object
	n       int          // parts that were read
	sum     hash.Hash    // SHA-256 of the parts that were read
	refused int          // values that were refused since the last segment
	more    fanwatch.Row // the row for values refused beyond maxRefused; Refused is their number
}

// beginObject sets the sequence number of the next object, or of its parts behind the last segment.
func (r *ingestRun) beginObject() {
	n, _ := new(big.Int).SetString(string(cmp.Or(r.next, r.at, "0")), 10) // it was parsed
	r.next = fanwatch.SequenceNumber(n.Add(n, big.NewInt(1)).String())
}

func (r *ingestRun) addSource(s landing.Source) { r.sources = append(r.sources, s) }

// addObject adds the row of one JSON object, or those of a record that Firehose could not process.
func (r *ingestRun) addObject(t *intake, data []byte) {
	if f, ok := parseUnprocessed(data); ok {
		r.addUnprocessed(t, f)
		return
	}
	if rec, err := r.addReading(t, data, time.Time{}); err != nil {
		r.addRefused(rec, t, err, data)
	}
}

// addUnprocessed adds the readings of a record that Firehose could not process, and one row for all its other values.
func (r *ingestRun) addUnprocessed(t *intake, f unprocessed) {
	var first fanwatch.Record
	var why error
	values := 0
	text, err := unpack(bytes.NewReader(f.data))
	if err == nil {
		for p, damage := range splitObjects(text) {
			if damage != nil {
				err = damage
			}
			if values++; !p.object {
				err = cmp.Or(err, errors.New("it is no JSON object"))
				continue
			}
			if rec, refusal := r.addReading(t, p.data, f.arrived); refusal != nil && why == nil {
				first, why = rec, refusal
			}
		}
	}
	if why = cmp.Or(why, err); why == nil && values > 0 {
		return
	}
	why = cmp.Or(why, errors.New("it is empty"))
	r.addRefused(first, t, fmt.Errorf("Firehose could not process this record (%.200s); its rawData: %w", f.why, why),
		f.data)
}

// addReading adds the row of a reading in the legacy format. arrived is its arrival where the reading has none; zero:
// when its object was written.
func (r *ingestRun) addReading(t *intake, data []byte, arrived time.Time) (fanwatch.Record, error) {
	rec, err := fanwatch.DecodeLegacy(data)
	written := t.arrived(r.Now())
	rec.Arrived = t.arrived(r.Now(), rec.Arrived, arrived)
	if err != nil {
		return rec, err
	}
	reading := rec.Readings[0].Reading
	reading.Time, err = r.instant(reading.Fan, rec.Readings[0].Legacy, rec.Arrived, rec.Arrived.Equal(written))
	if err == nil {
		err = reading.Check()
	}
	if err == nil {
		err = checkTime(reading.Time, rec.Arrived)
	}
	if err != nil {
		return rec, err
	}
	reading.Seq = uint64(reading.Time.UnixMicro())
	if !r.state.addIfNew(reading.Fan, int64(reading.Seq)) {
		r.pending.Duplicates++
		return rec, nil
	}
	r.pending.Readings++
	r.rows = append(r.rows, fanwatch.Row{Kind: fanwatch.RowLate, Reading: reading,
		Position: fanwatch.Position{Sequence: r.next, Index: t.n}, Arrived: rec.Arrived, Client: rec.Client})
	return rec, nil
}

// instant parses TIME. In the hour that autumn repeats arrived decides. Where arrived is guessed, from when the object
// was written, and is more than two hours from TIME (the object was copied), the fan's newest reading decides, because
// objects and their readings are in the order of their times.
func (r *ingestRun) instant(fan, legacy string, arrived time.Time, guessed bool) (time.Time, error) {
	at, err := fanwatch.ParseTime(legacy, r.Zone, arrived)
	const apart = 2 * time.Hour // more than any zone's step
	before := r.state.recent[fan]
	if err != nil || !guessed || before == nil || arrived.Sub(at).Abs() < apart {
		return at, err
	}
	newest := time.UnixMicro(before.newest)
	if newest.Sub(at).Abs() > apart {
		return at, nil
	}
	return fanwatch.ParseTime(legacy, r.Zone, newest)
}

// firstArrival is before any reading can have arrived by an IoT rule: an earlier time was misread.
var firstArrival = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// arrived returns the first of the times that can be an arrival, which is one not after the object was written, and
// without any the time at which the object was written.
func (t *intake) arrived(now time.Time, times ...time.Time) time.Time {
	written := t.Modified
	if written.IsZero() {
		written = now
	}
	for _, at := range times {
		if at.After(firstArrival) && !at.After(written.Add(fanwatch.MaxAhead)) {
			return at
		}
	}
	return written.UTC().Truncate(time.Microsecond)
}

// checkTime returns an error of a time that is not after 1970, or later than its arrival by more than
// fanwatch.MaxAhead: no right clock gives it, and readers of the tables cannot hold it.
func checkTime(at, arrived time.Time) error {
	if !at.After(time.Unix(0, 0)) {
		return fmt.Errorf("TIME %s is not after 1970: the publisher's clock was never set, or TIME was left empty",
			at.Format(time.RFC3339))
	}
	ahead := at.Sub(arrived)
	if ahead <= fanwatch.MaxAhead {
		return nil
	}
	mend := "the clock was wrong"
	const quarter = 15 * time.Minute
	if off := ahead.Round(quarter); ahead < 15*time.Hour && off > 0 && (ahead-off).Abs() <= fanwatch.MaxAhead {
		mend += ", or it is the zone in which a TIME without one is to be read (--zone)"
	}
	return fmt.Errorf("TIME %s is later than its arrival, %s: %s",
		at.Format(time.RFC3339), arrived.Format(time.RFC3339), mend)
}

// maxPayload is how many bytes of a refused value are kept.
const maxPayload = 4 << 10

// addJunk adds one row for text between two JSON objects.
func (r *ingestRun) addJunk(t *intake, data []byte) {
	_, err := fanwatch.DecodeLegacy(data)
	r.addRefused(fanwatch.Record{}, t, cmp.Or(err, errors.New("it is no JSON object")), data)
}

func (r *ingestRun) addRefused(rec fanwatch.Record, t *intake, why error, payload []byte) {
	r.pending.Quarantined++
	row := fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading:  fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: rec.Fan}},
		Position: fanwatch.Position{Sequence: r.next, Index: t.n}, Arrived: cmp.Or(rec.Arrived, t.arrived(r.Now())),
		Client: rec.Client, Reason: why.Error(), Payload: bytes.Clone(payload[:min(len(payload), maxPayload)])}
	if t.refused++; t.refused <= maxRefused {
		r.addRow(row)
		return
	}
	if t.more.Refused++; t.more.Refused == 1 {
		t.more = row
		t.more.Refused = 1
	}
}

func (r *ingestRun) addRow(row fanwatch.Row) {
	r.rows = append(r.rows, row)
	r.payloadBytes += len(row.Payload)
}

// flushRefused adds the row for the values of an object that were refused beyond maxRefused.
func (r *ingestRun) flushRefused(t *intake) {
	if t.more.Refused > 1 {
		t.more.Reason = fmt.Sprintf("%d values of object %.200q, the first: %s",
			t.more.Refused, t.Key, t.more.Reason)
	}
	if t.more.Refused > 0 {
		r.addRow(t.more)
	}
	t.more, t.refused = fanwatch.Row{}, 0
}
