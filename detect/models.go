// Package detect turns the records of one shard into rows of the landing log and into observations. It drops
// duplicates, quarantines what cannot be accepted, has each reading judged (package judge) and scored by the fan's own
// Random Cut Forest, and decides with hysteresis, for each family of trouble, whether a fan is in it.
//
// Its results are a function of the records in their order, without clock or outside randomness. Feeding the same
// records, or replaying their rows, gives the same models bit for bit on every architecture: products are converted
// explicitly, so that none is fused.
package detect

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// Config sets how fans are judged.
type Config struct {
	Trees      int    // trees per forest; 0 = 50. More give steadier scores and take more time.
	SampleSize int    // readings that each tree remembers; 0 = 256
	Warmup     int    // readings that a forest learns before it may find an anomaly; 0 = 200
	Seed       uint64 // seed of all forests; each is combined with the fan's name
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
	return c
}

// Models are the models of a shard's fans. Not safe for concurrent use.
type Models struct {
	cfg   Config
	fans  map[string]*fan
	sites map[string]*site
	quota quota
}

// New returns Models without fans.
func New(cfg Config) *Models {
	return &Models{cfg: cfg.withDefaults(), fans: make(map[string]*fan), sites: make(map[string]*site)}
}

// Input is one record of the stream.
type Input struct {
	Position fanwatch.Position // of the record; Index is not used
	Arrived  time.Time         // at the stream
	Data     []byte
}

// Output is the outcome of one record.
type Output struct {
	Rows         []fanwatch.Row
	Observations []fanwatch.Observation // changes of state, in order
	Duplicates   int                    // number of readings that were landed before
	Draining     bool                   // newer readings wait at the publisher: these are not the fan's state now
}

// Feed judges the next record. It never fails: what cannot be accepted becomes a RowQuarantined row.
func (m *Models) Feed(in Input) Output {
	var out Output
	rec, err := fanwatch.DecodeRecord(in.Data)
	if rec.Arrived.IsZero() {
		rec.Arrived = in.Arrived.UTC()
	}
	rec.Arrived = rec.Arrived.Truncate(time.Microsecond)
	switch {
	case err != nil:
		row := quarantine(rec, in, err.Error(), in.Data)
		row.Fan, row.Refused = rec.Fan, uint32(min(max(rec.Sent, 1), math.MaxUint32))
		m.addRow(&row, &out)
	case rec.Refused != "":
		row := quarantine(rec, in, rec.Refused, rec.Payload)
		row.Fan = rec.Fan
		m.addRow(&row, &out)
	case rec.Device != nil:
		data, _ := fanwatch.EncodeDevice(*rec.Device) // a Device that was decoded from JSON encodes
		row := fanwatch.Row{Kind: fanwatch.RowConfigured, Position: in.Position, Arrived: rec.Arrived, Payload: data}
		row.Fan = rec.Fan
		m.configure(*rec.Device, row)
		out.Rows = append(out.Rows, row)
	case rec.Label != nil:
		data, _ := fanwatch.EncodeLabel(*rec.Label) // a Label that was decoded from JSON encodes
		row := fanwatch.Row{Kind: fanwatch.RowLabelled, Position: in.Position, Arrived: rec.Arrived, Payload: data}
		row.Fan = rec.Fan
		m.label(*rec.Label, row)
		out.Rows = append(out.Rows, row)
	case rec.Pause != nil:
		data, _ := fanwatch.EncodePause(*rec.Pause) // a Pause that was decoded from JSON encodes
		row := fanwatch.Row{Kind: fanwatch.RowPaused, Position: in.Position, Arrived: rec.Arrived, Payload: data}
		row.Fan = rec.Fan
		m.pause(*rec.Pause, row)
		out.Rows = append(out.Rows, row)
	default:
		m.feedReadings(rec, in, &out)
	}
	return out
}

// addRow applies a row to its fan's model and appends it to the output.
func (m *Models) addRow(row *fanwatch.Row, out *Output) {
	if row.Kind == fanwatch.RowQuarantined && !m.quota.keep(row.Client, row.Arrived) {
		row.Payload = nil
		row.Reason += overQuota
	}
	if f := m.fans[row.Fan]; f != nil {
		out.Observations = append(out.Observations, m.apply(f, row)...)
	}
	out.Rows = append(out.Rows, *row)
}

func (m *Models) feedReadings(rec fanwatch.Record, in Input, out *Output) {
	f := m.fans[rec.Fan]
	if reason := refuseAll(f, rec); reason != "" {
		row := quarantine(rec, in, reason, in.Data)
		row.Fan, row.Refused = rec.Fan, uint32(len(rec.Readings))
		m.addRow(&row, out)
		return
	}
	out.Draining = rec.Backlog > uint64(len(rec.Readings))
	bad, refused := m.refusals(f, rec, in)
	out.Rows = make([]fanwatch.Row, 0, len(rec.Readings)-max(0, int(bad.Refused)-1))
	for i, r := range rec.Readings {
		no := refused != nil && refused[i]
		switch {
		case no && i == bad.Position.Index:
			m.addRow(&bad, out)
		case no:
		case f.has(r.ReadingID):
			out.Duplicates++
		default:
			row := fanwatch.Row{Kind: f.rowKind(r.ReadingID), Reading: r.Reading, Position: in.Position,
				Arrived: rec.Arrived, Client: rec.Client, Acked: rec.Acked, Dropped: rec.Dropped}
			row.Position.Index = i
			m.addRow(&row, out)
		}
	}
}

const tooManyGaps = "this run has more gaps in its sequence numbers than can be remembered: restart the publisher"

// refusals sets the times of a record's readings and returns which of them are refused, nil when none is, and the one
// row that stands for them: that of the first, with its reason and a list of the others.
func (m *Models) refusals(f *fan, rec fanwatch.Record, in Input) (bad fanwatch.Row, refused []bool) {
	var others ranges
	for i := range rec.Readings {
		r := &rec.Readings[i]
		reason := f.date(r, rec.Arrived)
		if reason == "" {
			reason = f.refuse(*r, rec.Arrived)
		}
		if reason == "" && f.seen.full(r.Run) && !f.has(r.ReadingID) {
			reason = tooManyGaps
		}
		if reason == "" {
			continue
		}
		if refused == nil {
			refused = make([]bool, len(rec.Readings))
			bad = quarantine(rec, in, reason, in.Data)
			bad.ReadingID, bad.Position.Index = r.ReadingID, i
		} else {
			bad.Refused++
			others.add(r.Seq)
		}
		refused[i] = true
	}
	if bad.Refused > 1 {
		bad.Reason += fmt.Sprintf("; refused with it, for this or another reason: %d readings, %s",
			bad.Refused-1, others.text())
	}
	return bad, refused
}

// apply changes a model by a row, for Feed and Replay alike.
func (m *Models) apply(f *fan, row *fanwatch.Row) []fanwatch.Observation {
	f.note(row)
	if row.Kind != fanwatch.RowScored {
		return nil
	}
	f.turn(row.Time)
	site := m.site(f)
	if site != nil {
		f.judge.Share(site.Air)
	}
	changed := f.score(m.cfg, row)
	if part, ok := f.judge.Part(); ok && site != nil && f.kept == nil {
		site.add(part)
	}
	return changed
}

// configure sets the device that came with row, if it is new or of a larger revision.
func (m *Models) configure(d fanwatch.Device, row fanwatch.Row) {
	f := m.fans[d.Fan]
	switch {
	case f == nil:
		f = newFan(d, m.cfg)
		f.st.Arrivals.Since = row.Arrived
		m.fans[d.Fan] = f
	case d.Revision > f.device.Revision:
		f.configure(d, row.Arrived, m.cfg)
	}
	f.st.Arrivals.Newest = row.Position
}

// label applies the label that came with row.
func (m *Models) label(l fanwatch.Label, row fanwatch.Row) {
	if f := m.fans[l.Fan]; f != nil {
		f.label(l, m.cfg)
		f.st.Arrivals.Newest = row.Position
	}
}

// pause applies the pause that came with row.
func (m *Models) pause(p fanwatch.Pause, row fanwatch.Row) {
	if f := m.fans[p.Fan]; f != nil {
		f.pause(p)
		f.st.Arrivals.Newest = row.Position
	}
}

// Active returns the fans that are not retired, in no order. The pointers are to the models' own values: they are not
// to be written through, and not valid after the next record.
func (m *Models) Active() iter.Seq2[*fanwatch.Device, *Arrivals] {
	return func(yield func(*fanwatch.Device, *Arrivals) bool) {
		for _, f := range m.fans {
			if !f.device.Retired && !yield(&f.device, &f.st.Arrivals) {
				return
			}
		}
	}
}

// Arrivals returns the arrivals of a fan; false when it is not known.
func (m *Models) Arrivals(name string) (Arrivals, bool) {
	if f := m.fans[name]; f != nil {
		return f.st.Arrivals, true
	}
	return Arrivals{}, false
}

// Fans returns the names of all fans, sorted.
func (m *Models) Fans() []string {
	names := make([]string, 0, len(m.fans))
	for name := range m.fans {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// Device returns the device of a fan; false when it is not known.
func (m *Models) Device(name string) (fanwatch.Device, bool) {
	if f := m.fans[name]; f != nil {
		return f.device, true
	}
	return fanwatch.Device{}, false
}

// Last returns a fan's state at its newest scored reading. ok is false when there is none.
func (m *Models) Last(name string) (o fanwatch.Observation, ok bool) {
	f := m.fans[name]
	if f == nil || f.last.Position.Sequence == "" {
		return fanwatch.Observation{}, false
	}
	return f.last, true
}

// States returns the state of each of a fan's families at its newest scored reading. It is empty when there is none.
func (m *Models) States(name string) []fanwatch.Observation {
	if _, ok := m.Last(name); !ok {
		return nil
	}
	out := make([]fanwatch.Observation, len(families))
	for i := range out {
		out[i] = m.fans[name].stateOf(i)
	}
	return out
}

// Suggestions returns what the readings of a fan suggest. The slice is the models' own: it is not to be changed.
func (m *Models) Suggestions(name string) []fanwatch.Suggestion {
	if f := m.fans[name]; f != nil {
		return f.st.Suggestions
	}
	return nil
}

// Adopt adds the fans of a parent shard for which keep returns true, in place of those of the same name. The parent is
// not to be used afterwards.
func (m *Models) Adopt(parent *Models, keep func(fan string) bool) {
	for name, f := range parent.fans {
		if keep(name) {
			m.fans[name] = f
		}
	}
}
