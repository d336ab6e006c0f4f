package lake

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// Source says how much of a foreign object a segment brings the log to.
type Source struct {
	Key  string `json:"key"`
	Upto int    `json:"upto"` // pieces of the object that are landed
	Done bool   `json:"done"` // they are all
}

// Ingestion brings objects that a delivery stream (Amazon Data Firehose) has written into the landing log, and
// so into the tables: newline-delimited or joined JSON, plain or gzip, of readings in the 2019 demo's format.
//
// The log of an ingestion is a shard of its own, and its own checkpoint: every segment says which objects it
// holds. So an object is landed once, however often and from however many places Run is called, and whatever
// is killed. Its readings are landed as Late: no forest sees them. What is no reading is quarantined. A reading
// that comes again (delivery is at least once) within a day of its fan's newest is passed over; later copies
// are landed, and Reconcile tells of them.
type Ingestion struct {
	From   Store  // where the objects are
	Bucket string // its name where From is not To, for the same prefix of two buckets is two folders
	Prefix string // of their keys
	To     Store
	Stream string         // whose tables the readings go to
	Zone   *time.Location // of a TIME without zone; nil = UTC
	Now    fanwatch.Clock // nil = time.Now
	// SegmentRows is about how many rows a segment gets; 0 = 100,000.
	SegmentRows int
}

// Ingested says what one Run landed.
type Ingested struct {
	Objects     int `json:"objects"`
	Readings    int `json:"readings"`
	Duplicates  int `json:"duplicates"`
	Quarantined int `json:"quarantined"`
}

// ingestShard begins the shards of ingestions.
const ingestShard = "ingest-"

// Log gives the landing log of the ingestion.
func (in *Ingestion) Log() Log {
	folder := in.Prefix
	if in.Bucket != "" {
		folder = in.Bucket + "/" + folder // a bucket's name has no slash
	}
	sum := sha256.Sum256([]byte(folder))
	return Log{Store: in.To, Stream: in.Stream, Shard: fmt.Sprintf(ingestShard+"%x", sum[:8])}
}

// maxForeign bounds one foreign object, uncompressed, in bytes. Firehose ends an object at 128 MiB.
const maxForeign = 1 << 30

// CheckPrefix tells whether Prefix names a folder that may be ingested.
func (in *Ingestion) CheckPrefix() error {
	for _, own := range []string{"landing/", "tables/", "state/", "alerts/"} {
		if strings.HasPrefix(in.Prefix, own) || in.Prefix == "" {
			return fmt.Errorf("ingest: prefix %q: name the folder of a delivery stream, not the lake's own", in.Prefix)
		}
	}
	return nil
}

// Run lands all objects that are not landed yet, in the order of their keys.
func (in *Ingestion) Run(ctx context.Context, progress Progress) (Ingested, error) {
	var total Ingested
	if err := in.CheckPrefix(); err != nil {
		return total, err
	}
	in.Now, in.SegmentRows = clockOr(in.Now), cmp.Or(in.SegmentRows, 100_000)
	if in.Zone == nil {
		in.Zone = time.UTC
	}
	for range commitAttempts {
		r := &ingestRun{Ingestion: in, log: in.Log(), writer: Token{Scheduled: in.Now().UnixNano(), Attempt: 1, Run: "ingest"}}
		err := r.run(ctx, progress)
		total = Ingested{total.Objects + r.Objects, total.Readings + r.Readings, total.Duplicates + r.Duplicates, total.Quarantined + r.Quarantined}
		var taken *Conflict
		if errors.As(err, &taken) {
			continue // another ingestion of the same folder was faster: go on behind it
		}
		return total, wrap(err, "ingest of %s", in.Prefix)
	}
	return total, fmt.Errorf("ingest of %s: given up: another ingestion of the same folder runs", in.Prefix)
}

func clockOr(c fanwatch.Clock) fanwatch.Clock {
	if c == nil {
		return time.Now
	}
	return c
}

// ingestRun is one pass over the folder.
type ingestRun struct {
	*Ingestion
	Ingested
	log     Log
	writer  Token
	at      fanwatch.SequenceNumber
	state   ingestState
	rows    []fanwatch.Row
	sources []Source
	pending Ingested // of rows and sources
	next    fanwatch.SequenceNumber
	landed  int // segments
}

func (r *ingestRun) run(ctx context.Context, progress Progress) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	var fresh []Object
	for o, err := range r.From.List(ctx, r.Prefix, "") {
		if err != nil {
			return err
		}
		if r.state.Done[o.Key] != doneWhole {
			fresh = append(fresh, o)
		}
	}
	for i, o := range fresh {
		progress.tell(i, len(fresh))
		if err := r.object(ctx, o); err != nil {
			return err
		}
	}
	if err := r.land(ctx); err != nil {
		return err
	}
	progress.tell(len(fresh), len(fresh))
	if r.landed == 0 {
		return nil
	}
	return r.save(ctx)
}

// object takes the pieces of one object, and lands full segments on the way.
func (r *ingestRun) object(ctx context.Context, o Object) error {
	data, err := r.From.Get(ctx, o.Key)
	if errors.Is(err, ErrNotFound) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	data, damage := plainText(data)
	r.begin()
	n := 0
	for piece := range splitObjects(data) {
		if n++; n <= r.state.Done[o.Key] {
			continue
		}
		r.piece(piece, n, o)
		if len(r.rows) >= r.SegmentRows {
			r.source(Source{o.Key, n, false})
			if err := r.land(ctx); err != nil {
				return err
			}
			r.begin()
		}
	}
	if damage != nil {
		r.refuse(fanwatch.Record{}, n+1, o, fmt.Errorf("object %s is damaged behind its %d. value: %w", o.Key, n, damage), nil)
	}
	r.pending.Objects++
	r.source(Source{o.Key, n, true})
	if len(r.sources) >= 500 {
		return r.land(ctx)
	}
	return nil
}

// begin gives the object, or what is left of it, a sequence number.
func (r *ingestRun) begin() {
	n, _ := new(big.Int).SetString(string(orZero(cmp.Or(r.next, r.at))), 10) // it was parsed
	r.next = fanwatch.SequenceNumber(n.Add(n, big.NewInt(1)).String())
}

func (r *ingestRun) source(s Source) { r.sources = append(r.sources, s) }

// plainText unpacks gzip, which it knows by its first bytes. With damage it gives what stands before it.
func plainText(data []byte) (text []byte, damage error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err = io.ReadAll(io.LimitReader(z, maxForeign+1))
	if err == nil && len(text) > maxForeign {
		return text[:maxForeign], fmt.Errorf("more than %d bytes uncompressed", maxForeign)
	}
	return text, err
}

// piece makes a row of one piece of an object.
func (r *ingestRun) piece(piece []byte, index int, o Object) {
	rec, err := fanwatch.DecodeDemo(piece)
	if rec.Arrived.IsZero() {
		rec.Arrived = o.Modified.UTC().Truncate(time.Microsecond)
	}
	if err != nil {
		r.refuse(rec, index, o, err, piece)
		return
	}
	reading := rec.Readings[0].Reading
	if reading.Time, err = fanwatch.ParseTime(rec.Readings[0].Legacy, r.Zone); err == nil {
		err = reading.Check()
	}
	if err == nil && reading.Time.Sub(rec.Arrived) > fanwatch.MaxAhead {
		err = fmt.Errorf("TIME is %s ahead of its arrival: the clock was wrong", reading.Time.Sub(rec.Arrived).Round(time.Second))
	}
	if err != nil {
		r.refuse(rec, index, o, err, piece)
		return
	}
	reading.Seq = uint64(reading.Time.UnixMicro())
	if !r.state.first(reading.Fan, int64(reading.Seq)) {
		r.pending.Duplicates++
		return
	}
	r.pending.Readings++
	r.rows = append(r.rows, fanwatch.Row{Kind: fanwatch.Late, Reading: reading, Position: fanwatch.Position{Sequence: r.next, Index: index}, Arrived: rec.Arrived, Client: rec.Client})
}

// maxPayload is how much of what was refused is kept.
const maxPayload = 4 << 10

func (r *ingestRun) refuse(rec fanwatch.Record, index int, o Object, why error, payload []byte) {
	r.pending.Quarantined++
	r.rows = append(r.rows, fanwatch.Row{Kind: fanwatch.Quarantined, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: rec.Fan}}, Position: fanwatch.Position{Sequence: r.next, Index: index},
		Arrived: cmp.Or(rec.Arrived, o.Modified.UTC().Truncate(time.Microsecond)), Client: rec.Client, Reason: why.Error(), Payload: bytes.Clone(payload[:min(len(payload), maxPayload)])})
}

// land appends what was taken as one segment.
func (r *ingestRun) land(ctx context.Context) error {
	if len(r.sources) == 0 {
		return nil
	}
	s := Segment{Header: Header{After: r.at, Last: r.next, Writer: r.writer, Sources: r.sources, Counts: Counts{Duplicates: r.pending.Duplicates}}, Rows: r.rows}
	if err := r.log.Append(ctx, s); err != nil {
		return err
	}
	r.state.take(s.Sources)
	p := r.pending
	r.Ingested = Ingested{r.Objects + p.Objects, r.Readings + p.Readings, r.Duplicates + p.Duplicates, r.Quarantined + p.Quarantined}
	r.at, r.rows, r.sources, r.pending = r.next, nil, nil, Ingested{}
	if r.landed++; r.landed%20 == 0 {
		return r.save(ctx)
	}
	return nil
}

// doneWhole marks an object of which nothing is left.
const doneWhole = -1

// ingestState is what an ingestion remembers: a function of its log, which snapshots save reading again.
type ingestState struct {
	V    int                `json:"v"`
	Done map[string]int     `json:"done"` // pieces landed of each object; doneWhole
	Seen map[string][]int64 `json:"seen"` // by fan: times of a day's readings in Unix microseconds, ascending, each as the step from the one before

	recent map[string]*recent
}

const ingestStateVersion = 1

// recent are the times of the last day of a fan's readings.
type recent struct {
	times  map[int64]struct{}
	newest int64
	pruned int64 // newest when times was last pruned
}

// first tells whether a fan's reading is new, and remembers it.
func (s *ingestState) first(fan string, micros int64) bool {
	f := s.recent[fan]
	if f == nil {
		f = &recent{times: make(map[int64]struct{})}
		s.recent[fan] = f
	}
	if _, ok := f.times[micros]; ok {
		return false
	}
	f.newest = max(f.newest, micros)
	if micros > f.newest-dayMicros {
		f.times[micros] = struct{}{}
	}
	if f.newest-f.pruned > dayMicros/4 {
		f.pruned = f.newest
		maps.DeleteFunc(f.times, func(t int64, _ struct{}) bool { return t <= f.newest-dayMicros })
	}
	return true
}

func (s *ingestState) take(sources []Source) {
	for _, src := range sources {
		s.Done[src.Key] = src.Upto
		if src.Done {
			s.Done[src.Key] = doneWhole
		}
	}
}

// load makes the state from the newest snapshot and the segments behind it.
func (r *ingestRun) load(ctx context.Context) error {
	r.at = "0"
	r.state = ingestState{V: ingestStateVersion, Done: make(map[string]int), recent: make(map[string]*recent)}
	at, data, err := r.log.LatestSnapshot(ctx)
	var damaged *Damaged
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil && !errors.As(err, &damaged):
		return err
	default:
		if err := r.state.decode(data); err != nil {
			return err
		}
		r.at = at
	}
	return r.log.Walk(ctx, r.at, func(s Segment) error {
		if s.Tombstone {
			return fmt.Errorf("segment %s after %s was emptied, but no snapshot holds what it said", s.Shard, s.After)
		}
		for i := range s.Rows {
			if s.Rows[i].Kind == fanwatch.Late {
				r.state.first(s.Rows[i].Fan, int64(s.Rows[i].Seq))
			}
		}
		r.state.take(s.Sources)
		r.at = s.Last
		return nil
	})
}

func (r *ingestRun) save(ctx context.Context) error {
	r.state.Seen = make(map[string][]int64)
	for fan, f := range r.state.recent {
		times, before := slices.Sorted(maps.Keys(f.times)), int64(0)
		for i, t := range times {
			times[i], before = t-before, t
		}
		r.state.Seen[fan] = times
	}
	data, err := json.Marshal(&r.state)
	if err != nil {
		return err
	}
	return r.log.PutSnapshot(ctx, r.at, data)
}

func (s *ingestState) decode(data []byte) error {
	if err := json.Unmarshal(data, s); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if s.V != ingestStateVersion {
		return fmt.Errorf("snapshot of version %d is unknown, this program knows %d", s.V, ingestStateVersion)
	}
	for fan, steps := range s.Seen {
		t := int64(0)
		for _, step := range steps {
			t += step
			s.first(fan, t)
		}
	}
	s.Seen = nil
	return nil
}
