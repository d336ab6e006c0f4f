package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// Ingestion brings objects that a delivery stream (Amazon Data Firehose) has written into the landing log, and
// so into the tables: newline-delimited, joined or comma-separated JSON, plain or gzip, of readings in the 2019
// demo's format.
//
// The log of an ingestion is a shard of its own, and its own checkpoint: every segment says which objects it
// holds. So an object is landed once, however often and from however many places Run is called, and whatever
// is killed. Its readings are landed as RowLate: no forest sees them. What is no reading is quarantined. A reading
// that comes again (delivery is at least once) within a day of its fan's newest is passed over; later copies
// are landed, and Reconcile tells of them.
//
// An object that cannot be read (archived, forbidden, damaged, of another format) stops no other: it is passed
// over and named in what Run gives, again and again until it is landed, removed or given up.
type Ingestion struct {
	From   objstore.Store // where the objects are
	Bucket string         // its name where From is not To, for the same prefix of two buckets is two folders
	Prefix string         // of their keys
	To     objstore.Store
	Stream string         // whose tables the readings go to
	Zone   *time.Location // of a TIME without zone; nil = UTC
	Now    fanwatch.Clock // nil = time.Now
	// SegmentRows is about how many rows a segment gets; 0 = 100,000.
	SegmentRows int
	// ReadTimeout is how long 8 MiB of an object may take; 0 = 1 min.
	ReadTimeout time.Duration
	// Again has what was passed over tried again at once. Without it an object that the store did not give is
	// tried again a minute later, then after two, four and so on, at most after six hours; and one whose bytes
	// are of no use when its size or time of change is another.
	Again bool
	// GiveUp are keys of objects that were passed over and are to count as landed, as far as they are.
	GiveUp []string
}

// Result says what one Run landed, and what of the folder is not landed.
type Result struct {
	Objects     int `json:"objects"`
	Readings    int `json:"readings"`
	Duplicates  int `json:"duplicates"`
	Quarantined int `json:"quarantined"`

	PassedOver int          `json:"passed_over,omitempty"` // objects of the folder that are not landed, or not wholly
	Passed     []PassedOver `json:"passed,omitempty"`      // the first MaxPassed of them, by key
}

// PassedOver is an object that is not landed, or not wholly.
type PassedOver struct {
	Key   string    `json:"key"`
	Why   string    `json:"why"`           // one line
	Since time.Time `json:"since"`         // when it was first passed over
	Next  time.Time `json:"next,omitzero"` // when it is tried again; zero: when it is another, or with Again
}

// MaxPassed is how many of the objects that were passed over Result names.
const MaxPassed = 20

// Failure returns in one line what was passed over, "" when nothing was.
func (i Result) Failure() string {
	if i.PassedOver == 0 {
		return ""
	}
	const named = 3
	text := fmt.Sprintf("%d objects are not landed", i.PassedOver)
	if i.PassedOver == 1 {
		text = "1 object is not landed"
	}
	for n, p := range i.Passed[:min(len(i.Passed), named)] {
		text += fmt.Sprintf("%s%.200q: %s", []string{": ", "; ", "; "}[n], p.Key, p.Why)
	}
	if more := i.PassedOver - named; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Log returns the landing log of the ingestion.
func (in *Ingestion) Log() landing.Log {
	folder := in.Prefix
	if in.Bucket != "" {
		folder = in.Bucket + "/" + folder // a bucket's name has no slash
	}
	sum := sha256.Sum256([]byte(folder))
	return landing.Log{Store: in.To, Stream: in.Stream, Shard: fmt.Sprintf(landing.ForeignPrefix+"%x", sum[:8])}
}

// own are the folders of the lake's bucket that the lake itself fills.
var own = []string{"landing/", "tables/", "state/", "alerts/"}

// CheckPrefix reports whether Prefix names a folder that may be ingested: none of the lake's own, and none that
// could hold one of them.
func (in *Ingestion) CheckPrefix() error {
	for _, folder := range own {
		if strings.HasPrefix(in.Prefix, folder) || strings.HasPrefix(folder, in.Prefix) {
			return fmt.Errorf("ingest: prefix %.200q: name the folder of a delivery stream, "+
				"not the lake's own %s or what may hold it", in.Prefix, folder)
		}
	}
	return nil
}

// attempts is how often Run begins anew because another ingestion of the folder was faster.
const attempts = 8

// Run lands all objects that are not landed yet, in the order of their keys. progress is called with the objects done
// and the total; nil: it is not. With an error, Result still says what was landed.
func (in *Ingestion) Run(ctx context.Context, progress func(done, total int)) (Result, error) {
	var total Result
	if err := in.CheckPrefix(); err != nil {
		return total, err
	}
	in.Now, in.SegmentRows = clockOr(in.Now), cmp.Or(in.SegmentRows, 100_000)
	if progress == nil {
		progress = func(int, int) {}
	}
	in.ReadTimeout = cmp.Or(in.ReadTimeout, time.Minute)
	if in.Zone == nil {
		in.Zone = time.UTC
	}
	for range attempts {
		writer := landing.Token{Scheduled: in.Now().UnixNano(), Attempt: 1, Run: "ingest"}
		r := &ingestRun{Ingestion: in, log: in.Log(), writer: writer}
		err := r.run(ctx, progress)
		total = total.add(r.Result)
		var taken *landing.Conflict
		if errors.As(err, &taken) {
			continue // another ingestion of the same folder was faster: go on behind it
		}
		total.PassedOver, total.Passed = r.state.passedOver()
		if err != nil {
			err = fmt.Errorf("ingest of %s: %w", in.Prefix, err)
		}
		return total, err
	}
	return total, fmt.Errorf("ingest of %s: given up: another ingestion of the same folder runs", in.Prefix)
}

func (i Result) add(o Result) Result {
	return Result{Objects: i.Objects + o.Objects, Readings: i.Readings + o.Readings,
		Duplicates: i.Duplicates + o.Duplicates, Quarantined: i.Quarantined + o.Quarantined}
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
	Result
	log     landing.Log
	writer  landing.Token
	at      fanwatch.SequenceNumber
	state   ingestState
	rows    []fanwatch.Row
	sources []landing.Source
	held    int    // bytes of refused payloads among rows
	pending Result // of rows and sources
	next    fanwatch.SequenceNumber
	landed  int   // segments
	broken  error // of landing: nothing is landed behind it
}

func (r *ingestRun) run(ctx context.Context, progress func(done, total int)) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	fresh, err := r.list(ctx)
	if err != nil {
		return err
	}
	err = r.objects(ctx, fresh, progress)
	if ctx.Err() != nil { // what was read is landed all the same
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
	}
	if landing := r.land(ctx); landing != nil {
		return landing // the state holds readings that are not landed: it is not saved
	}
	if r.landed > 0 || r.state.changed {
		err = cmp.Or(err, r.save(ctx))
	}
	return err
}

// closing is how long an ingestion that is stopped may take to land what it has read.
const closing = 10 * time.Second

// list returns the objects that are to be read: first those that were never passed over.
func (r *ingestRun) list(ctx context.Context) (fresh []objstore.Object, err error) {
	var again []objstore.Object
	there := make(map[string]bool)
	for o, err := range r.From.List(ctx, r.Prefix, "") {
		if err != nil {
			return nil, err
		}
		if r.state.Done[o.Key] == doneWhole {
			continue
		}
		switch p, was := r.state.Passed[o.Key]; {
		case !was:
			fresh = append(fresh, o)
		case slices.Contains(r.GiveUp, o.Key):
			r.giveUp(o, p)
		case r.Again || p.due(o, r.Now()):
			again = append(again, o)
		}
		there[o.Key] = true
	}
	for _, key := range r.GiveUp {
		if r.state.Done[key] != doneWhole && (!there[key] || r.state.Passed[key] == nil) {
			return nil, fmt.Errorf("%.200q cannot be given up: no object of that name was passed over", key)
		}
	}
	for key := range r.state.Passed {
		if !there[key] {
			r.state.pass(key, nil) // removed, or landed by another ingestion
		}
	}
	return append(fresh, again...), nil
}

// objects lands the objects. The error is of the landing, or says that the store of the objects does not answer.
func (r *ingestRun) objects(ctx context.Context, fresh []objstore.Object, progress func(done, total int)) error {
	var first error
	failed := make(map[string]*passed) // by key: what was remembered of it before
	news := 0                          // how many of them failed for the first time
	for i, o := range fresh {
		progress(i, len(fresh))
		err := r.object(ctx, o)
		var unread *unreadError
		if !errors.As(err, &unread) {
			if err != nil {
				return err
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !errors.Is(err, objstore.ErrArchived) {
			if err := r.answers(ctx); err != nil {
				return fmt.Errorf("%w, and its folder cannot be listed: %w", unread, err)
			}
			was := r.state.Passed[o.Key]
			if failed[o.Key] = was; was == nil {
				news++
			}
			first = cmp.Or(first, error(unread))
		}
		r.passUnread(o, unread)
	}
	progress(len(fresh), len(fresh))
	if len(failed) == len(fresh) && news >= outage {
		for key, was := range failed {
			r.state.pass(key, was) // no object's fault: none has to wait when it is over
		}
		return fmt.Errorf("none of %d objects could be read: %w", len(fresh), first)
	}
	return nil
}

// outage is how many objects must fail for the first time, and none be read, before it is the store that is to blame.
const outage = 3

// answers reports whether the store of the objects is there at all.
func (r *ingestRun) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.ReadTimeout)
	defer cancel()
	for _, err := range r.From.List(ctx, r.Prefix, "") {
		return err
	}
	return nil
}

// unreadError says that the store did not give an object.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// maxRefused is how many rows an object's refused values get one by one. One more stands for all others.
const maxRefused = 100

// maxHeld bounds the refused payloads that wait to be landed, in bytes.
const maxHeld = 8 << 20

// intake is one object on its way.
type intake struct {
	objstore.Object
	n       int // parts taken
	sum     hash.Hash
	refused int          // rows
	rest    fanwatch.Row // stands for what was refused beyond maxRefused
}

// object takes what is new of one object, and lands full segments on the way. What is wrong with its bytes is
// noted and no error; an *unreadError says that the store did not give them.
func (r *ingestRun) object(ctx context.Context, o objstore.Object) error {
	was := r.state.Passed[o.Key]
	taken := r.state.Done[o.Key]
	if taken > 0 && was != nil && was.Sum != nil && (was.Tries > 0 || was.another(o)) {
		same, err := r.beginsWith(ctx, o, taken, was.Sum)
		if err != nil {
			return err
		}
		if !same {
			taken, was = 0, nil
		}
	}
	in := r.read(ctx, o)
	text, why := r.open(o, in)
	if in.err != nil {
		return in.failed()
	}
	if why != "" {
		r.passUseless(o, why, nil)
		return nil
	}
	r.begin()
	t := &intake{Object: o, sum: sha256.New()}
	var leading []byte // junk before the first object
	found := false
	for p, err := range splitObjects(text) {
		if in.err != nil {
			r.flush(t)
			if t.n > taken && found {
				r.source(landing.Source{Key: o.Key, Upto: t.n})
			}
			return in.failed()
		}
		if err != nil {
			r.flush(t)
			r.damaged(t, taken, p, err, was)
			return nil
		}
		t.n = p.upto
		t.sum.Write(p.data)
		found = found || p.object
		switch {
		case p.upto <= taken:
			continue
		case !p.object && !found:
			leading = bytes.Clone(p.data)
			continue
		case len(leading) > 0:
			r.junk(t, leading)
			leading = nil
		}
		if p.object {
			r.take(t, p.data)
		} else {
			r.junk(t, p.data)
		}
		if len(r.rows) >= r.SegmentRows || r.held >= maxHeld {
			r.flush(t)
			r.source(landing.Source{Key: o.Key, Upto: t.n})
			if err := r.land(ctx); err != nil {
				return err
			}
			r.begin()
		}
	}
	if !found && len(leading) > 0 {
		r.passUseless(o, noObject(leading), nil)
		return nil
	}
	r.flush(t)
	return r.whole(ctx, landing.Source{Key: o.Key, Upto: t.n, Done: true})
}

// whole notes that nothing is left of an object.
func (r *ingestRun) whole(ctx context.Context, s landing.Source) error {
	r.pending.Objects++
	r.source(s)
	if len(r.sources) >= 500 {
		return r.land(ctx)
	}
	return nil
}

// read opens an object of the store.
func (r *ingestRun) read(ctx context.Context, o objstore.Object) *objectReader {
	return &objectReader{ctx: ctx, store: r.From, object: o, timeout: r.ReadTimeout}
}

// open returns the object's text, or why it has none.
func (r *ingestRun) open(o objstore.Object, in *objectReader) (text *bufio.Reader, why string) {
	text, err := unpack(in)
	if err != nil {
		return nil, err.Error()
	}
	head, _ := text.Peek(512)
	return text, foreignFormat(o.Key, head)
}

// beginsWith reports whether the first n parts of the object have that hash.
func (r *ingestRun) beginsWith(ctx context.Context, o objstore.Object, n int, sum []byte) (bool, error) {
	in, h := r.read(ctx, o), sha256.New()
	text, why := r.open(o, in)
	if why == "" && in.err == nil {
		for p, err := range splitObjects(text) {
			if err != nil || p.upto > n {
				break
			}
			h.Write(p.data)
		}
	}
	if in.err != nil {
		return false, in.failed()
	}
	return bytes.Equal(h.Sum(nil), sum), nil
}

// damaged takes a row that names the damage behind what was taken, once.
func (r *ingestRun) damaged(t *intake, taken int, rest textPiece, damage error, was *passed) {
	why := oneLine(fmt.Sprintf("it cannot be read behind its %d. value: %v: write it anew", t.n, damage))
	if was == nil || !was.Damaged || t.n > taken {
		payload := rest.data
		var trailing *trailingError
		if errors.As(damage, &trailing) && len(payload) == 0 {
			payload = trailing.rest
		}
		behind := &intake{Object: t.Object, n: rest.upto + 1}
		r.refuse(fanwatch.Record{}, behind, fmt.Errorf("object %.200q: %s", t.Key, why), payload)
		r.pending.Objects++
		r.source(landing.Source{Key: t.Key, Upto: t.n, Damaged: why})
	}
	r.passUseless(t.Object, why, t.sum.Sum(nil))
}

// giveUp lands a row in place of what is left of an object.
func (r *ingestRun) giveUp(o objstore.Object, p *passed) {
	r.begin()
	t := &intake{Object: o, n: max(r.state.Done[o.Key], 0) + 1}
	r.refuse(fanwatch.Record{}, t, fmt.Errorf("object %.200q was given up by hand: %s", o.Key, p.Why), nil)
	r.source(landing.Source{Key: o.Key, Upto: t.n, Done: true})
}

// begin returns the object, or what is left of it, a sequence number.
func (r *ingestRun) begin() {
	n, _ := new(big.Int).SetString(string(cmp.Or(r.next, r.at, "0")), 10) // it was parsed
	r.next = fanwatch.SequenceNumber(n.Add(n, big.NewInt(1)).String())
}

func (r *ingestRun) source(s landing.Source) { r.sources = append(r.sources, s) }

// take makes a row of one JSON object.
func (r *ingestRun) take(t *intake, data []byte) {
	if f, ok := parseUnprocessed(data); ok {
		r.unprocessed(t, f)
		return
	}
	if rec, err := r.reading(t, data, time.Time{}); err != nil {
		r.refuse(rec, t, err, data)
	}
}

// unprocessed takes the readings of a record that Firehose could not process. One row stands for all that are
// none.
func (r *ingestRun) unprocessed(t *intake, f unprocessed) {
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
			if rec, refusal := r.reading(t, p.data, f.arrived); refusal != nil && why == nil {
				first, why = rec, refusal
			}
		}
	}
	if why = cmp.Or(why, err); why == nil && values > 0 {
		return
	}
	why = cmp.Or(why, errors.New("it is empty"))
	r.refuse(first, t, fmt.Errorf("Firehose could not process this record (%.200s); its rawData: %w", f.why, why), f.data)
}

// reading makes a row of a reading in the demo's format. arrived is when it arrived where the reading itself does
// not say so; zero: when its object was written.
func (r *ingestRun) reading(t *intake, data []byte, arrived time.Time) (fanwatch.Record, error) {
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
	if !r.state.first(reading.Fan, int64(reading.Seq)) {
		r.pending.Duplicates++
		return rec, nil
	}
	r.pending.Readings++
	r.rows = append(r.rows, fanwatch.Row{Kind: fanwatch.RowLate, Reading: reading,
		Position: fanwatch.Position{Sequence: r.next, Index: t.n}, Arrived: rec.Arrived, Client: rec.Client})
	return rec, nil
}

// instant reads TIME. In the hour that autumn repeats arrived decides. Where it is no more than when the object was
// written, and that is long after (the object was copied), it is the fan's newest reading before: objects and
// their readings stand in the order of their times.
func (r *ingestRun) instant(fan, legacy string, arrived time.Time, guessed bool) (time.Time, error) {
	at, err := fanwatch.ParseTime(legacy, r.Zone, arrived)
	const apart = 2 * time.Hour // more than any zone's step, so that it names the other instant if there is one
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

// firstArrival is before anything can have arrived by an IoT rule: an earlier time was misread.
var firstArrival = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// arrived returns the first of the times at which something in the object can have arrived: not after the object
// was written. Without any it is when the object was written.
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

// checkTime refuses times that no clock that is right can have given, and that readers of the tables cannot hold.
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

// maxPayload is how much of what was refused is kept.
const maxPayload = 4 << 10

// junk makes one row of a run of what is no JSON object.
func (r *ingestRun) junk(t *intake, data []byte) {
	_, err := fanwatch.DecodeLegacy(data)
	r.refuse(fanwatch.Record{}, t, cmp.Or(err, errors.New("it is no JSON object")), data)
}

func (r *ingestRun) refuse(rec fanwatch.Record, t *intake, why error, payload []byte) {
	r.pending.Quarantined++
	row := fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading:  fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: rec.Fan}},
		Position: fanwatch.Position{Sequence: r.next, Index: t.n}, Arrived: cmp.Or(rec.Arrived, t.arrived(r.Now())),
		Client: rec.Client, Reason: why.Error(), Payload: bytes.Clone(payload[:min(len(payload), maxPayload)])}
	if t.refused++; t.refused <= maxRefused {
		r.keep(row)
		return
	}
	if t.rest.Refused++; t.rest.Refused == 1 {
		t.rest = row
		t.rest.Refused = 1
	}
}

func (r *ingestRun) keep(row fanwatch.Row) {
	r.rows = append(r.rows, row)
	r.held += len(row.Payload)
}

// flush makes the row that stands for what was refused of an object beyond maxRefused.
func (r *ingestRun) flush(t *intake) {
	if t.rest.Refused > 1 {
		t.rest.Reason = fmt.Sprintf("%d values of object %.200q, the first: %s",
			t.rest.Refused, t.Key, t.rest.Reason)
	}
	if t.rest.Refused > 0 {
		r.keep(t.rest)
	}
	t.rest, t.refused = fanwatch.Row{}, 0
}

// land appends what was taken as one segment.
func (r *ingestRun) land(ctx context.Context) error {
	if len(r.sources) == 0 || r.broken != nil {
		return r.broken
	}
	s := landing.Segment{Header: landing.Header{After: r.at, Last: r.next, Writer: r.writer, Sources: r.sources,
		Counts: landing.Counts{Duplicates: r.pending.Duplicates}}, Rows: r.rows}
	if r.broken = r.log.Append(ctx, s); r.broken != nil {
		return r.broken
	}
	r.state.take(s.Sources)
	r.Result = r.add(r.pending)
	r.at, r.rows, r.sources, r.held, r.pending = r.next, nil, nil, 0, Result{}
	if r.landed++; r.landed%20 == 0 {
		return r.save(ctx)
	}
	return nil
}
