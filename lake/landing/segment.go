package landing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fanwatch"
)

// SegmentVersion is the version of a segment that this program writes. It also reads version 3, which had no columns
// for what the judge expected and no labels, version 2, which had no column for the readings of a refused record
// either, and version 1, which had none for the PWM duty cycle either, and refuses others.
const SegmentVersion = 4

// ErrSegment says that a segment cannot be stored as it is, however often it is tried.
var ErrSegment = errors.New("this segment cannot be stored")

// MaxSegmentRows is the largest number of rows of a segment. A window of 60 s of arrivals or 8 MB has some 100,000.
const MaxSegmentRows = 1 << 20

// Segment is one object of the landing log: the outcome of one window of the stream, in arrival order. A tombstone is
// a segment whose rows were removed after they reached the tables; its header stays as it was.
type Segment struct {
	Header
	Rows []fanwatch.Row
}

// Header is a segment without its rows. The writer sets After, Last, Writer, End, Sources and Counts.Duplicates;
// [Log.Append] sets the rest.
type Header struct {
	Stream string
	Shard  string
	After  fanwatch.SequenceNumber // last sequence number of the segment before; "0" in a shard's first
	Last   fanwatch.SequenceNumber // last sequence number this segment covers, at a record boundary
	Writer Token
	End    bool // the shard is closed and this is its last segment
	Counts Counts
	Fans   []FanRun // by fan and run, in that order; kept in a tombstone

	Sources []Source // the ingested objects that the rows come from

	Tombstone bool // the rows were removed
}

// Source is an ingested object that a segment has rows of.
type Source struct {
	Key     string `json:"key"`
	Upto    int    `json:"upto"`              // parts of the object that are landed up to this segment
	Done    bool   `json:"done"`              // all parts are landed, or the rest was given up
	Damaged string `json:"damaged,omitempty"` // why the parts behind Upto cannot be read; a quarantined row has it too
}

// Counts is how many rows of each kind a segment has, or had before it became a tombstone.
type Counts struct {
	Scored      int `json:"scored"`
	Late        int `json:"late"`
	Quarantined int `json:"quarantined"`
	Configured  int `json:"configured"`
	Labelled    int `json:"labelled,omitempty"`
	Paused      int `json:"paused,omitempty"`
	Duplicates  int `json:"duplicates"` // readings that the scorer dropped because it had seen them
}

// Rows returns the number of rows; duplicates are not among them.
func (c Counts) Rows() int {
	return c.Scored + c.Late + c.Quarantined + c.Configured + c.Labelled + c.Paused
}

// Readings returns the number of rows that go to the table of readings.
func (c Counts) Readings() int { return c.Scored + c.Late }

// FanRun is what a segment holds of one run of one fan. Readings in the legacy format and rows that are no readings
// count under the run of sixteen zeros. A device may write any name into a message, so of the fans of which a segment
// has refusals alone only the 64 with most stand under their names; the others count under the name "".
type FanRun struct {
	Fan         string `json:"fan"`
	Run         string `json:"run"`                   // fanwatch.FormatRun
	Landed      int    `json:"landed,omitempty"`      // distinct sequence numbers of scored and late rows
	First       uint64 `json:"first,omitempty"`       // the smallest landed sequence number
	Last        uint64 `json:"last,omitempty"`        // the largest landed sequence number
	Acked       uint64 `json:"acked,omitempty"`       // largest Row.Acked
	Dropped     uint64 `json:"dropped,omitempty"`     // largest Row.Dropped
	Quarantined int    `json:"quarantined,omitempty"` // quarantined rows
	Refused     int    `json:"refused,omitempty"`     // readings of quarantined rows; 0 before version 3: one a row
	Configured  int    `json:"configured,omitempty"`  // configured and labelled rows; 0 before segment version 3
}

// refusedFansNamed is how many fans of which a segment has refusals alone stand in its footer by name.
const refusedFansNamed = 64

// RefusedReadings returns the number of readings that were refused.
func (f *FanRun) RefusedReadings() int { return max(f.Quarantined, f.Refused) }

// Token identifies one attempt of a shard's scorer and orders attempts by age.
type Token struct {
	Scheduled int64  `json:"scheduled"` // Unix nanoseconds when the attempt's activity was scheduled
	Attempt   int32  `json:"attempt"`   // of that activity, from 1
	Run       string `json:"run"`       // the workflow run that scheduled it
}

// Newer reports whether t's attempt began after o's. Attempts that tie in time and number are ordered by run, so that
// of two different tokens exactly one is newer.
func (t Token) Newer(o Token) bool {
	return cmp.Or(cmp.Compare(t.Scheduled, o.Scheduled), cmp.Compare(t.Attempt, o.Attempt), strings.Compare(t.Run,
		o.Run)) > 0
}

// sameExtent reports whether two headers name the same window, counts and sources.
func (h Header) sameExtent(o Header) bool {
	return h.After == o.After && h.Last == o.Last && h.End == o.End && h.Counts == o.Counts &&
		slices.Equal(h.Fans, o.Fans) && slices.Equal(h.Sources, o.Sources)
}

// check returns an error where the segment's extent or a row is not valid.
func (s *Segment) check() error {
	last := s.Last.Compare(s.After)
	switch {
	case last < 0 || last == 0 && !s.End:
		return fmt.Errorf("segment ends at %s, which is not behind its start %s", s.Last, s.After)
	case len(s.Rows) > MaxSegmentRows:
		return fmt.Errorf("segment of %d rows, want at most %d: end the window earlier", len(s.Rows), MaxSegmentRows)
	}
	for i := range s.Rows {
		if err := s.checkRow(&s.Rows[i]); err != nil {
			return fmt.Errorf("row %d of the segment: %w", i, err)
		}
	}
	return nil
}

func (s *Segment) checkRow(r *fanwatch.Row) error {
	switch {
	case r.Position.Sequence.Compare(s.After) <= 0 || r.Position.Sequence.Compare(s.Last) > 0:
		return fmt.Errorf("position %s is outside the segment's (%s, %s]", r.Position, s.After, s.Last)
	case r.Position.Shard != "" && r.Position.Shard != s.Shard:
		return fmt.Errorf("position %s is on another shard than the segment's %s", r.Position, s.Shard)
	case r.Position.Index < 0 || r.Position.Index > 1<<30:
		return fmt.Errorf("position %s has an impossible index", r.Position)
	case !r.Time.Equal(r.Time.Truncate(1000)) || !r.Arrived.Equal(r.Arrived.Truncate(1000)):
		return fmt.Errorf("%s: its times %v and %v are not whole microseconds: truncate them on arrival",
			r.ReadingID, r.Time, r.Arrived)
	}
	switch r.Kind {
	case fanwatch.RowScored, fanwatch.RowLate, fanwatch.RowQuarantined, fanwatch.RowConfigured, fanwatch.RowLabelled,
		fanwatch.RowPaused:
		return nil
	}
	return fmt.Errorf("kind %.40q is none of scored, late, quarantined, configured, labelled, paused", r.Kind)
}

// count returns the rows' counts, in total and by fan and run.
func (s *Segment) count() (Counts, []FanRun) {
	type key struct {
		fan string
		run uint64
	}
	counts := Counts{Duplicates: s.Counts.Duplicates}
	fans := make(map[key]*FanRun)
	seen := make(map[fanwatch.ReadingID]bool, len(s.Rows))
	unnamed := s.unnamed()
	for i := range s.Rows {
		r := &s.Rows[i]
		k := key{r.Fan, r.Run}
		if unnamed[r.Fan] {
			k = key{}
		}
		f := fans[k]
		if f == nil {
			f = &FanRun{Fan: k.fan, Run: fanwatch.FormatRun(k.run)}
			fans[k] = f
		}
		f.Acked, f.Dropped = max(f.Acked, r.Acked), max(f.Dropped, r.Dropped)
		switch r.Kind {
		case fanwatch.RowScored:
			counts.Scored++
		case fanwatch.RowLate:
			counts.Late++
		case fanwatch.RowQuarantined:
			counts.Quarantined++
			f.Quarantined++
			f.Refused += max(1, int(r.Refused))
			continue
		case fanwatch.RowLabelled:
			counts.Labelled++
			f.Configured++
			continue
		case fanwatch.RowPaused:
			counts.Paused++
			f.Configured++
			continue
		default:
			counts.Configured++
			f.Configured++
			continue
		}
		if seen[r.ReadingID] {
			continue
		}
		seen[r.ReadingID] = true
		if f.Landed == 0 {
			f.First, f.Last = r.Seq, r.Seq
		}
		f.Landed++
		f.First, f.Last = min(f.First, r.Seq), max(f.Last, r.Seq)
	}
	list := make([]FanRun, 0, len(fans))
	byFanAndRun := func(a, b key) int { return cmp.Or(cmp.Compare(a.fan, b.fan), cmp.Compare(a.run, b.run)) }
	for _, k := range slices.SortedFunc(maps.Keys(fans), byFanAndRun) {
		list = append(list, *fans[k])
	}
	return counts, list
}

// unnamed returns the fans that count under the name ""; see FanRun.
func (s *Segment) unnamed() map[string]bool {
	refused := make(map[string]int) // readings of each fan of which nothing was accepted
	for i := range s.Rows {
		if r := &s.Rows[i]; r.Kind == fanwatch.RowQuarantined {
			refused[r.Fan] += max(1, int(r.Refused))
		}
	}
	for i := range s.Rows {
		if r := &s.Rows[i]; r.Kind != fanwatch.RowQuarantined {
			delete(refused, r.Fan)
		}
	}
	names := slices.SortedFunc(maps.Keys(refused),
		func(a, b string) int { return cmp.Or(cmp.Compare(refused[b], refused[a]), strings.Compare(a, b)) })
	unnamed := make(map[string]bool)
	for _, fan := range names[min(refusedFansNamed, len(names)):] {
		unnamed[fan] = true
	}
	return unnamed
}
