package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// Ingestion brings the objects of a folder into the landing log.
//
// The log of an ingestion is a shard of its own and its own checkpoint: every segment says which objects it holds.
// Readings are landed as [fanwatch.RowLate]: no forest sees them. A reading that comes again within a day of its fan's
// newest (delivery is at least once) is dropped; later copies are landed, and reconcile reports them.
type Ingestion struct {
	From   objstore.Store // where the objects are
	Bucket string         // name of From's bucket where From is not To, so that folders of two buckets are two logs
	Prefix string         // common beginning of the objects' keys
	To     objstore.Store // where the landing log is
	Stream string         // the stream whose tables get the readings
	Zone   *time.Location // zone of a TIME without one; nil = UTC
	Now    fanwatch.Clock // nil = time.Now
	// SegmentRows is about how many rows a segment gets; 0 = 100,000.
	SegmentRows int
	// ReadTimeout is the longest that a read of 8 MiB of an object may take; 0 = 1 min.
	ReadTimeout time.Duration
	// Again has all objects that were passed over tried again at once. Without it an object that the store did not
	// return is tried again after a minute, then after two, four and so on, at most six hours; and one whose bytes are
	// of no use when its size or time of change differs.
	Again bool
	// GiveUp has the keys of objects that were passed over and shall count as landed, as far as they are.
	GiveUp []string
}

// Result is what one [Ingestion.Run] landed, and what of the folder is not landed.
type Result struct {
	Objects     int `json:"objects"`     // objects that were landed, wholly or up to a damage
	Readings    int `json:"readings"`    // readings that were landed
	Duplicates  int `json:"duplicates"`  // readings that were dropped as copies
	Quarantined int `json:"quarantined"` // values that were refused

	PassedOver int          `json:"passed_over,omitempty"` // objects of the folder that are not landed, or not wholly
	Passed     []PassedOver `json:"passed,omitempty"`      // the first MaxPassed of them, by key
}

// PassedOver is an object that is not landed, or not wholly.
type PassedOver struct {
	Key   string    `json:"key"`
	Why   string    `json:"why"`           // one line
	Since time.Time `json:"since"`         // when it was first passed over
	Next  time.Time `json:"next,omitzero"` // when it is tried again; zero: when it was rewritten, or with Again
}

// MaxPassed is how many of the objects that were passed over [Result] names.
const MaxPassed = 20

// Failure returns in one line which objects were passed over, "" without any.
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

// lakeFolders are the folders of the lake's bucket that the lake itself writes.
var lakeFolders = []string{"landing/", "tables/", "state/", "alerts/"}

// CheckPrefix returns an error where Prefix names a folder that may not be ingested: one of the lake's own, or one that
// could hold one of them.
func (in *Ingestion) CheckPrefix() error {
	for _, folder := range lakeFolders {
		if strings.HasPrefix(in.Prefix, folder) || strings.HasPrefix(folder, in.Prefix) {
			return fmt.Errorf("ingest: prefix %.200q: name the folder of a delivery stream, "+
				"not the lake's own %s or what may hold it", in.Prefix, folder)
		}
	}
	return nil
}

// maxAttempts is how often Run begins anew because another ingestion of the folder was faster.
const maxAttempts = 8

// Run lands all objects that are not landed yet, in the order of their keys. progress is called with the number of
// objects done and the total; nil is not called. Where Run returns an error, Result still says what was landed.
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
	for range maxAttempts {
		writer := landing.Token{Scheduled: in.Now().UnixNano(), Attempt: 1, Run: "ingest"}
		r := &ingestRun{Ingestion: in, log: in.Log(), writer: writer}
		err := r.landAll(ctx, progress)
		total = total.add(r.Result)
		var taken *landing.Conflict
		if errors.As(err, &taken) {
			continue // another ingestion of the folder was faster: go on behind it
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
	log          landing.Log
	writer       landing.Token
	at           fanwatch.SequenceNumber
	state        ingestState
	rows         []fanwatch.Row
	sources      []landing.Source
	payloadBytes int    // bytes of refused payloads among rows
	pending      Result // of rows and sources
	next         fanwatch.SequenceNumber
	segments     int   // segments
	landErr      error // of landing: nothing is landed behind it
}

func (r *ingestRun) landAll(ctx context.Context, progress func(done, total int)) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	fresh, err := r.list(ctx)
	if err != nil {
		return err
	}
	err = r.landObjects(ctx, fresh, progress)
	if ctx.Err() != nil { // what was read is landed before the end
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), closingTime)
		defer cancel()
	}
	if err := r.land(ctx); err != nil {
		return err // the state has readings that are not landed: it is not saved
	}
	if r.segments > 0 || r.state.changed {
		err = cmp.Or(err, r.save(ctx))
	}
	return err
}

// closingTime is how long an ingestion that is stopped may take to land what it has read.
const closingTime = 10 * time.Second

// list returns the objects that are to be read, those that were never passed over first. It adds the rows of objects
// that are given up.
func (r *ingestRun) list(ctx context.Context) (fresh []objstore.Object, err error) {
	var again []objstore.Object
	listed := make(map[string]bool)
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
		case r.Again || p.retryDue(o, r.Now()):
			again = append(again, o)
		}
		listed[o.Key] = true
	}
	for _, key := range r.GiveUp {
		if r.state.Done[key] != doneWhole && (!listed[key] || r.state.Passed[key] == nil) {
			return nil, fmt.Errorf("%.200q cannot be given up: no object of that name was passed over", key)
		}
	}
	for key := range r.state.Passed {
		if !listed[key] {
			r.state.pass(key, nil) // removed, or landed by another ingestion
		}
	}
	return append(fresh, again...), nil
}

// landObjects lands the objects. Its error is the landing log's, or says that the store of the objects does not answer.
func (r *ingestRun) landObjects(ctx context.Context, fresh []objstore.Object, progress func(done, total int)) error {
	var first error
	failed := make(map[string]*passedObject) // the objects that were not read, as they were remembered; nil: not at all
	newlyFailed := 0                         // how many of failed failed for the first time
	for i, o := range fresh {
		progress(i, len(fresh))
		err := r.landObject(ctx, o)
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
			if err := r.checkListing(ctx); err != nil {
				return fmt.Errorf("%w, and its folder cannot be listed: %w", unread, err)
			}
			was := r.state.Passed[o.Key]
			if failed[o.Key] = was; was == nil {
				newlyFailed++
			}
			first = cmp.Or(first, error(unread))
		}
		r.passUnread(o, unread)
	}
	progress(len(fresh), len(fresh))
	if len(failed) == len(fresh) && newlyFailed >= minOutage {
		for key, was := range failed {
			r.state.pass(key, was) // the store is at fault: no object waits for its next try
		}
		return fmt.Errorf("none of %d objects could be read: %w", len(fresh), first)
	}
	return nil
}

// minOutage is how many objects must fail for the first time, while none is read, before the store counts as failing.
const minOutage = 3

// checkListing returns an error where the store of the objects does not list them.
func (r *ingestRun) checkListing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.ReadTimeout)
	defer cancel()
	for _, err := range r.From.List(ctx, r.Prefix, "") {
		return err
	}
	return nil
}

// unreadError says that the store did not return an object.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// maxRefused is how many refused values of an object get a row each. One more row stands for all others.
const maxRefused = 100

// maxPayloadBytes is the largest sum of refused payloads that wait to be landed, in bytes.
const maxPayloadBytes = 8 << 20

// landObject reads the new parts of one object, and lands segments as they are full. Useless bytes are noted in the
// state and no error; an *unreadError says that the store did not return the object.
func (r *ingestRun) landObject(ctx context.Context, o objstore.Object) error {
	was := r.state.Passed[o.Key]
	taken := r.state.Done[o.Key]
	if taken > 0 && was != nil && was.Sum != nil && (was.Tries > 0 || was.rewritten(o)) {
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
	r.beginObject()
	t := &intake{Object: o, sum: sha256.New()}
	var leading []byte // junk before the first object
	found := false
	for p, err := range splitObjects(text) {
		if in.err != nil {
			r.flushRefused(t)
			if t.n > taken && found {
				r.addSource(landing.Source{Key: o.Key, Upto: t.n})
			}
			return in.failed()
		}
		if err != nil {
			r.flushRefused(t)
			r.addDamage(t, taken, p, err, was)
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
			r.addJunk(t, leading)
			leading = nil
		}
		if p.object {
			r.addObject(t, p.data)
		} else {
			r.addJunk(t, p.data)
		}
		if len(r.rows) >= r.SegmentRows || r.payloadBytes >= maxPayloadBytes {
			r.flushRefused(t)
			r.addSource(landing.Source{Key: o.Key, Upto: t.n})
			if err := r.land(ctx); err != nil {
				return err
			}
			r.beginObject()
		}
	}
	if !found && len(leading) > 0 {
		r.passUseless(o, noObject(leading), nil)
		return nil
	}
	r.flushRefused(t)
	return r.finishObject(ctx, landing.Source{Key: o.Key, Upto: t.n, Done: true})
}

// finishObject notes that all of an object is read.
func (r *ingestRun) finishObject(ctx context.Context, s landing.Source) error {
	r.pending.Objects++
	r.addSource(s)
	if len(r.sources) >= 500 {
		return r.land(ctx)
	}
	return nil
}

// read returns a reader of an object of the store.
func (r *ingestRun) read(ctx context.Context, o objstore.Object) *objectReader {
	return &objectReader{ctx: ctx, store: r.From, object: o, timeout: r.ReadTimeout}
}

// open returns the object's text, or in why the reason that it has none.
func (r *ingestRun) open(o objstore.Object, in *objectReader) (text *bufio.Reader, why string) {
	text, err := unpack(in)
	if err != nil {
		return nil, err.Error()
	}
	head, _ := text.Peek(512)
	return text, foreignFormat(o.Key, head)
}

// beginsWith reports whether the first n parts of the object have the SHA-256 sum.
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

// addDamage adds a row that names the damage behind the object's last sound part, unless the log has it.
func (r *ingestRun) addDamage(t *intake, taken int, rest textPiece, damage error, was *passedObject) {
	why := oneLine(fmt.Sprintf("it cannot be read behind its %d. value: %v: write it anew", t.n, damage))
	if was == nil || !was.Damaged || t.n > taken {
		payload := rest.data
		var trailing *trailingError
		if errors.As(damage, &trailing) && len(payload) == 0 {
			payload = trailing.rest
		}
		behind := &intake{Object: t.Object, n: rest.upto + 1}
		r.addRefused(fanwatch.Record{}, behind, fmt.Errorf("object %.200q: %s", t.Key, why), payload)
		r.pending.Objects++
		r.addSource(landing.Source{Key: t.Key, Upto: t.n, Damaged: why})
	}
	r.passUseless(t.Object, why, t.sum.Sum(nil))
}

// giveUp adds a row in place of the parts of an object that are not landed.
func (r *ingestRun) giveUp(o objstore.Object, p *passedObject) {
	r.beginObject()
	t := &intake{Object: o, n: max(r.state.Done[o.Key], 0) + 1}
	r.addRefused(fanwatch.Record{}, t, fmt.Errorf("object %.200q was given up by hand: %s", o.Key, p.Why), nil)
	r.addSource(landing.Source{Key: o.Key, Upto: t.n, Done: true})
}

// land appends rows and sources as one segment. After an error it returns that error again and lands nothing.
func (r *ingestRun) land(ctx context.Context) error {
	if len(r.sources) == 0 || r.landErr != nil {
		return r.landErr
	}
	s := landing.Segment{Header: landing.Header{After: r.at, Last: r.next, Writer: r.writer, Sources: r.sources,
		Counts: landing.Counts{Duplicates: r.pending.Duplicates}}, Rows: r.rows}
	if r.landErr = r.log.Append(ctx, s); r.landErr != nil {
		return r.landErr
	}
	r.state.applySources(s.Sources)
	r.Result = r.add(r.pending)
	r.at, r.rows, r.sources, r.payloadBytes, r.pending = r.next, nil, nil, 0, Result{}
	if r.segments++; r.segments%20 == 0 {
		return r.save(ctx)
	}
	return nil
}
