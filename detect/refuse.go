package detect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fanwatch"
)

// maxAge is the largest age of a reading at its arrival. An older one comes from a clock that was never set.
const maxAge = 366 * 24 * time.Hour

// date sets the reading's time and, in the legacy format, its sequence number. It returns the reason when the time
// cannot be read.
func (f *fan) date(r *fanwatch.RecordReading, arrived time.Time) (reason string) {
	switch {
	case r.Legacy != "":
		t, err := fanwatch.ParseTime(r.Legacy, f.zone, arrived)
		if err != nil {
			return err.Error()
		}
		r.Time, r.Seq = t, uint64(t.UnixMicro())
	case r.Unsynch:
		r.Time = arrived.Add(-r.Age).Truncate(time.Microsecond)
	}
	return ""
}

// refuse returns why the reading is not accepted, or "".
func (f *fan) refuse(r fanwatch.RecordReading, arrived time.Time) string {
	if err := r.Check(); err != nil {
		return err.Error()
	}
	at := r.Time.Format(time.RFC3339)
	switch {
	case r.Time.After(arrived.Add(fanwatch.MaxAhead)):
		return fmt.Sprintf("time %s is %s ahead of its arrival: %s", at, durationText(arrived, r.Time), f.mend(r, arrived))
	case r.Time.Before(arrived.Add(-maxAge)):
		return fmt.Sprintf("time %s is more than a year before its arrival: set the publisher's clock", at)
	case r.Seq == 0:
		return "sequence number 0: a publisher counts from 1"
	case r.Seq > math.MaxInt64:
		return "sequence number beyond 63 bits"
	}
	return ""
}

// mend returns the mend for a time that is ahead of its arrival. A time without zone that is off by whole quarter
// hours, as zones are, was written in another zone than it was read in.
func (f *fan) mend(r fanwatch.RecordReading, arrived time.Time) string {
	const quarter, near = 15 * time.Minute, time.Minute
	off := r.Time.Sub(arrived)
	naive := r.Legacy != "" && !fanwatch.TimeHasZone(r.Legacy)
	if !naive || off > 27*time.Hour || off < quarter-near || (off-off.Round(quarter)).Abs() > near {
		return "set the publisher's clock"
	}
	return fmt.Sprintf("it bears no zone and was read as %s; name the one in which the publisher writes it "+
		"(fanwatch configure %s --zone Area/City)", f.zone, f.device.Fan)
}

// durationText returns the time from one instant to a later one, in seconds, days or years.
func durationText(from, to time.Time) string {
	d := to.Sub(from)
	switch days := d / (24 * time.Hour); {
	case days < 2:
		return d.Round(time.Second).String()
	case days < 2*365:
		return fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("%d years", to.Year()-from.Year()) // a Duration ends at 292 years
}

const maxPayload = 4 << 10 // bytes of a refused message that are kept

// refuseAll returns why no reading of the record is accepted, or "".
func refuseAll(f *fan, rec fanwatch.Record) string {
	switch {
	case f == nil:
		return fmt.Sprintf("fan %s is unknown: provision it first (fanwatch provision %s)", rec.Fan, rec.Fan)
	case f.device.Retired:
		return fmt.Sprintf("fan %s is retired", rec.Fan)
	case !f.device.Owns(rec.Client):
		return fmt.Sprintf("client %.128q does not own fan %s: register the client ID with the fan (clients)", rec.Client,
			rec.Fan)
	}
	return ""
}

const maxReason = 1 << 10 // bytes of a reason that are kept

// quarantine returns the row of a refused record, or of its first refused reading.
func quarantine(rec fanwatch.Record, in Input, reason string, payload []byte) fanwatch.Row {
	return fanwatch.Row{
		Kind: fanwatch.RowQuarantined, Arrived: rec.Arrived, Client: rec.Client,
		Position: fanwatch.Position{Shard: in.Position.Shard, Sequence: in.Position.Sequence},
		Acked:    rec.Acked, Dropped: rec.Dropped, Refused: 1,
		Reason: clip(reason, maxReason), Payload: slices.Clone(payload[:min(len(payload), maxPayload)]),
	}
}

// ranges is a list of ranges of sequence numbers, at most maxRanges.
type ranges struct {
	list [][2]uint64
	more int // count of numbers that are not in list
}

const maxRanges = 8

func (r *ranges) add(seq uint64) {
	n := len(r.list)
	switch {
	case n > 0 && (seq == r.list[n-1][1] || seq == r.list[n-1][1]+1) && r.more == 0:
		r.list[n-1][1] = seq
	case n < maxRanges:
		r.list = append(r.list, [2]uint64{seq, seq})
	default:
		r.more++
	}
}

func (r *ranges) text() string {
	var b strings.Builder
	b.WriteString("numbers")
	for i, iv := range r.list {
		b.WriteString(map[bool]string{true: " ", false: ", "}[i == 0])
		b.WriteString(strconv.FormatUint(iv[0], 10))
		if iv[1] != iv[0] {
			b.WriteString("-" + strconv.FormatUint(iv[1], 10))
		}
	}
	if r.more > 0 {
		fmt.Fprintf(&b, " and %d more", r.more)
	}
	return b.String()
}
