// Package detect turns the records of one shard into rows of the landing log and into observations: it
// drops duplicates, quarantines what cannot be accepted, holds every reading against hard limits from
// the first second, scores it by the fan's own Random Cut Forest, and decides with hysteresis when a fan
// is in trouble.
//
// Everything here is a function of the records in their order. No clock, no randomness from outside:
// feeding the same records, or replaying the rows that came of them, gives the same models bit for bit,
// on every architecture (products are converted explicitly, so that nothing is fused).
package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// Config sets how fans are judged. The zero value of each field means its default.
type Config struct {
	Trees      int    // trees per forest; 0 = 50. More: steadier scores, more time.
	SampleSize int    // readings that each tree remembers; 0 = 256
	Warmup     int    // readings of a fan before its forest may raise an alert; 0 = 200
	Seed       uint64 // of all forests; each fan's is this and its name
	Learn      int    // readings in trouble after which the forest takes the new behaviour for usual; 0 = 3600
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Trees, 50)
	def(&c.SampleSize, 256)
	def(&c.Warmup, 200)
	def(&c.Learn, 3600)
	return c
}

// maxPayload is how much of a refused message is kept.
const maxPayload = 4 << 10

// maxAge is how old a reading may be at its arrival; beyond it the device's clock was never set.
const maxAge = 366 * 24 * time.Hour

// Models is what a shard's scorer knows of its fans. It is not safe for concurrent use.
type Models struct {
	cfg  Config
	fans map[string]*fan
}

// New makes Models that know no fan.
func New(cfg Config) *Models {
	return &Models{cfg: cfg.withDefaults(), fans: make(map[string]*fan)}
}

// Input is one record as it came from the stream.
type Input struct {
	Position fanwatch.Position // of the record: Index is not used
	Arrived  time.Time         // at the stream
	Data     []byte
}

// Output is what came of one record.
type Output struct {
	Rows         []fanwatch.Row
	Observations []fanwatch.Observation // changes of state, in order
	Duplicates   int                    // readings that were landed before
}

// Feed takes the next record. It never fails: what cannot be accepted becomes a Quarantined row.
func (m *Models) Feed(in Input) Output {
	var out Output
	rec, err := fanwatch.DecodeRecord(in.Data)
	if rec.Arrived.IsZero() {
		rec.Arrived = in.Arrived.UTC()
	}
	rec.Arrived = rec.Arrived.Truncate(time.Microsecond)
	switch {
	case err != nil:
		out.Rows = append(out.Rows, quarantine(rec, in, 0, fanwatch.ReadingID{Fan: rec.Fan}, err.Error(), in.Data))
	case rec.Refused != "":
		out.Rows = append(out.Rows, quarantine(rec, in, 0, fanwatch.ReadingID{}, rec.Refused, rec.Payload))
	case rec.Device != nil:
		m.configure(*rec.Device)
		data, _ := fanwatch.EncodeDevice(*rec.Device) // a Device that was decoded from JSON encodes
		out.Rows = append(out.Rows, fanwatch.Row{Kind: fanwatch.Configured, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: rec.Fan}},
			Position: in.Position, Arrived: rec.Arrived, Payload: data})
	default:
		m.feedReadings(rec, in, &out)
	}
	return out
}

func (m *Models) feedReadings(rec fanwatch.Record, in Input, out *Output) {
	f := m.fans[rec.Fan]
	if reason := stranger(f, rec); reason != "" {
		out.Rows = append(out.Rows, quarantine(rec, in, 0, fanwatch.ReadingID{Fan: rec.Fan}, reason, in.Data))
		return
	}
	for i, r := range rec.Readings {
		reason := f.date(&r, rec.Arrived)
		if f.seen.has(r.ReadingID) {
			out.Duplicates++
			continue
		}
		if reason == "" {
			reason = f.refuse(r.Reading, rec.Arrived)
		}
		row := fanwatch.Row{Reading: r.Reading, Arrived: rec.Arrived, Client: rec.Client, Acked: rec.Acked, Dropped: rec.Dropped,
			Position: fanwatch.Position{Shard: in.Position.Shard, Sequence: in.Position.Sequence, Index: i}}
		if reason != "" {
			row = quarantine(rec, in, i, r.ReadingID, reason, in.Data)
		} else {
			row.Kind = f.kindOf(r.ReadingID)
		}
		if o := m.apply(f, &row); o != nil {
			out.Observations = append(out.Observations, *o)
		}
		out.Rows = append(out.Rows, row)
	}
}

// apply is the one place where a row of readings changes a model; Feed and Replay both end here.
func (m *Models) apply(f *fan, row *fanwatch.Row) *fanwatch.Observation {
	if row.Seq != 0 {
		f.seen.add(row.ReadingID)
	}
	if row.Kind != fanwatch.Scored {
		return nil
	}
	return f.score(m.cfg, row)
}

// stranger says why nothing of this record can be accepted, or "".
func stranger(f *fan, rec fanwatch.Record) string {
	switch {
	case f == nil:
		return fmt.Sprintf("fan %s is unknown: provision it first (fanwatch provision %s)", rec.Fan, rec.Fan)
	case f.device.Retired:
		return fmt.Sprintf("fan %s is retired", rec.Fan)
	case !f.device.Owns(rec.Client):
		return fmt.Sprintf("client %.128q does not own fan %s: register the client ID with the fan (clients)", rec.Client, rec.Fan)
	}
	return ""
}

func quarantine(rec fanwatch.Record, in Input, index int, id fanwatch.ReadingID, reason string, payload []byte) fanwatch.Row {
	return fanwatch.Row{
		Kind: fanwatch.Quarantined, Reading: fanwatch.Reading{ReadingID: id}, Arrived: rec.Arrived, Client: rec.Client,
		Position: fanwatch.Position{Shard: in.Position.Shard, Sequence: in.Position.Sequence, Index: index},
		Acked:    rec.Acked, Dropped: rec.Dropped,
		Reason: reason, Payload: slices.Clone(payload[:min(len(payload), maxPayload)]),
	}
}

// ErrDiverged says that replaying a row gave another score than the row holds: the snapshot does not
// belong to the rows, or this program scores differently from the one that landed them.
var ErrDiverged = errors.New("replay does not give the scores that were landed")

// Replay feeds rows that Feed gave before, in their order.
func (m *Models) Replay(rows []fanwatch.Row) error {
	for i := range rows {
		row := rows[i]
		if row.Kind == fanwatch.Configured {
			rec, err := fanwatch.DecodeRecord(row.Payload)
			if err != nil || rec.Device == nil {
				return fmt.Errorf("replay %s: the configuration cannot be read: %w", row.Position, err)
			}
			m.configure(*rec.Device)
			continue
		}
		f := m.fans[row.Fan]
		if f == nil {
			if row.Kind == fanwatch.Quarantined {
				continue
			}
			return fmt.Errorf("replay %s: fan %s is unknown: %w", row.Position, row.Fan, ErrDiverged)
		}
		m.apply(f, &row)
		if math.Float64bits(row.Score) != math.Float64bits(rows[i].Score) || row.Anomaly != rows[i].Anomaly {
			return fmt.Errorf("replay %s of %s: score %v %q, landed %v %q: %w", row.Position, row.ReadingID, row.Score, row.Anomaly,
				rows[i].Score, rows[i].Anomaly, ErrDiverged)
		}
	}
	return nil
}

func (m *Models) configure(d fanwatch.Device) {
	f := m.fans[d.Fan]
	if f == nil {
		m.fans[d.Fan] = newFan(d, m.cfg)
		return
	}
	if d.Revision > f.device.Revision {
		f.setDevice(d)
	}
}

// Fans lists the fans that are known, sorted.
func (m *Models) Fans() []string {
	names := make([]string, 0, len(m.fans))
	for name := range m.fans {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// Device gives what is known of a fan.
func (m *Models) Device(name string) (fanwatch.Device, bool) {
	if f := m.fans[name]; f != nil {
		return f.device, true
	}
	return fanwatch.Device{}, false
}

// Last gives the observation that holds for a fan now: its state at its newest reading. ok is false
// while no reading of it was scored.
func (m *Models) Last(name string) (o fanwatch.Observation, ok bool) {
	f := m.fans[name]
	if f == nil || f.last.Position.Sequence == "" {
		return fanwatch.Observation{}, false
	}
	return f.last, true
}

// Adopt takes over the fans of a parent shard that keep says yes to.
func (m *Models) Adopt(parent *Models, keep func(fan string) bool) {
	for name, f := range parent.fans {
		if keep(name) {
			m.fans[name] = f
		}
	}
}
