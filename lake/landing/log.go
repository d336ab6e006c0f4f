package landing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/objstore"
)

// Log is the landing log of one shard: a chain of segments, each stored under the sequence number at which the one
// before it ended. It is the shard's checkpoint. The first segment stored under a key stays, and every later writer of
// the key gets a [Conflict]; so segments never overlap, however many attempts of a scorer run.
//
// A Log holds no state and may be copied and used concurrently.
type Log struct {
	Store  objstore.Store
	Stream string // 1 to 128 letters, digits, '_', '.' or '-'; so is Shard
	Shard  string
}

// ErrDamaged says that a segment cannot be read, however often it is tried.
var ErrDamaged = errors.New("damaged segment")

// Conflict says that another attempt has already written the segment that was to be appended.
type Conflict struct {
	Existing Header // the header of the stored segment
	Own      Token  // the writer of the segment that was not stored
}

// Error names the stored segment, its writer's age and what to do.
func (c *Conflict) Error() string {
	what := "an older attempt's: reload the snapshot and the log and go on behind it"
	switch {
	case c.Newer():
		what = "a newer attempt's: stop"
	case c.Existing.Writer == c.Own:
		what = "this attempt's own, with another end: reload the snapshot and the log and go on behind it"
	}
	return fmt.Sprintf("the segment after %s of shard %s exists and ends at %s; it is %s", c.Existing.After,
		c.Existing.Shard, c.Existing.Last, what)
}

// Newer reports whether the existing segment's writer is newer: then the caller must stop. Otherwise it must discard
// its models, reload snapshot and segments, and go on behind Existing.Last.
func (c *Conflict) Newer() bool { return c.Existing.Writer.Newer(c.Own) }

// Logs returns the landing logs of a stream, by shard: of every shard that has a segment, also of those that Kinesis
// no longer lists.
func Logs(ctx context.Context, store objstore.Store, stream string) ([]Log, error) {
	folder := "landing/stream=" + stream + "/shard="
	if err := (Log{Stream: stream, Shard: "any"}).check(); err != nil {
		return nil, err
	}
	var logs []Log
	for after := ""; ; {
		shard, err := firstShard(ctx, store, folder, after)
		if err != nil || shard == "" {
			return logs, wrap(err, "landing logs of stream %s", stream)
		}
		logs = append(logs, Log{Store: store, Stream: stream, Shard: shard})
		after = folder + shard + "0" // "0" follows "/": the listing goes on behind the whole folder
	}
}

// firstShard returns the shard of the first object of the folder whose key is above after, "" without one.
func firstShard(ctx context.Context, store objstore.Store, folder, after string) (string, error) {
	for o, err := range store.List(ctx, folder, after) {
		if err != nil {
			return "", err
		}
		shard, _, _ := strings.Cut(strings.TrimPrefix(o.Key, folder), "/")
		return shard, nil
	}
	return "", nil
}

// Foreign reports whether the log is an ingestion's and no shard's (package ingest). Its snapshots are not of models.
func (l Log) Foreign() bool { return strings.HasPrefix(l.Shard, ForeignPrefix) }

// Append writes the segment behind s.After. It sets Stream, Shard, Counts (all but Duplicates) and Fans. A place that
// holds the same attempt's same segment (a PUT whose answer was lost) is success; one that holds another segment is a
// *[Conflict]. An error that wraps [ErrSegment] stays; after any other the segment may be there: append it again.
func (l Log) Append(ctx context.Context, s Segment) error {
	if err := l.check(); err != nil {
		return err
	}
	s.Stream, s.Shard, s.Tombstone = l.Stream, l.Shard, false
	s.After, s.Last = cmp.Or(s.After, "0"), cmp.Or(s.Last, "0")
	data, err := EncodeSegment(&s)
	if err != nil {
		return fmt.Errorf("landing log of shard %s: %w", l.Shard, err)
	}
	failpoint.Hit(failpoint.LandingPutBefore)
	err = l.Store.Put(ctx, l.segmentKey(s.After), data, true)
	failpoint.Hit(failpoint.LandingPutAfter)
	if !errors.Is(err, objstore.ErrExists) {
		return wrap(err, "landing log of shard %s", l.Shard)
	}
	existing, err := l.NextHeader(ctx, s.After)
	if err != nil {
		return err
	}
	if existing.Writer == s.Writer && existing.sameExtent(s.Header) {
		return nil
	}
	return &Conflict{Existing: existing, Own: s.Writer}
}

// Next returns the segment behind the given sequence number; "0" or "" is the shard's start. At the log's present end
// the error wraps [objstore.ErrNotFound]; of a segment that cannot be read it wraps [ErrDamaged].
func (l Log) Next(ctx context.Context, after fanwatch.SequenceNumber) (Segment, error) {
	data, err := l.get(ctx, after)
	if err != nil {
		return Segment{}, err
	}
	s, err := DecodeSegment(data)
	if err == nil {
		err = l.belongs(s.Header, after)
	}
	if err != nil {
		return Segment{}, fmt.Errorf("%s: %w: %w", l.segmentKey(after), ErrDamaged, err)
	}
	return s, nil
}

// NextHeader is [Log.Next] without decoding the rows; its errors do not wrap [ErrDamaged].
func (l Log) NextHeader(ctx context.Context, after fanwatch.SequenceNumber) (Header, error) {
	data, err := l.get(ctx, after)
	if err != nil {
		return Header{}, err
	}
	h, err := DecodeHeader(data)
	if err == nil {
		err = l.belongs(h, after)
	}
	if err != nil {
		return Header{}, fmt.Errorf("%s: %w", l.segmentKey(after), err)
	}
	return h, nil
}

// Walk calls f with each segment behind from, in the chain's order, until the log's present end or an error of f.
func (l Log) Walk(ctx context.Context, from fanwatch.SequenceNumber, f func(Segment) error) error {
	for {
		s, err := l.Next(ctx, from)
		if errors.Is(err, objstore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(s); err != nil || s.End {
			return err
		}
		from = s.Last
	}
}

// WalkOver is [Log.Walk], but it passes over damaged segments and calls passed with the error of each. Where one ends
// it finds in its header or in the key of the next; of a damaged segment at the log's end the error wraps [ErrDamaged].
func (l Log) WalkOver(
	ctx context.Context, from fanwatch.SequenceNumber, f func(Segment) error, passed func(error),
) error {
	for {
		err := l.Walk(ctx, from, func(s Segment) error {
			from = s.Last
			return f(s)
		})
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		end, endErr := l.endBehind(ctx, from)
		if endErr != nil {
			return fmt.Errorf("%w (%w); remove it: its window is read again from the stream", err, endErr)
		}
		passed(err)
		from = end
	}
}

// endBehind returns where the segment behind after ends, though it cannot be read.
func (l Log) endBehind(ctx context.Context, after fanwatch.SequenceNumber) (fanwatch.SequenceNumber, error) {
	if h, err := l.NextHeader(ctx, after); err == nil {
		return h.Last, nil
	}
	key := l.segmentKey(after)
	folder := key[:strings.LastIndexByte(key, '=')+1]
	for o, err := range l.Store.List(ctx, folder, key) {
		if err != nil {
			return "", err
		}
		return fanwatch.ParseSequenceNumber(strings.TrimSuffix(strings.TrimPrefix(o.Key, folder), ".parquet"))
	}
	return "", errors.New("no segment lies behind it")
}

// Tombstone replaces the segment by one without rows and with the same header, so that an earlier attempt still finds
// the place taken. The caller must know that the rows are in the tables and that no kept snapshot lies before them
// ([Log.OldestSnapshot]).
func (l Log) Tombstone(ctx context.Context, h Header) error {
	if err := l.check(); err != nil {
		return err
	}
	if err := l.belongs(h, h.After); err != nil {
		return err
	}
	h.Tombstone = true
	data, err := EncodeSegment(&Segment{Header: h})
	if err != nil {
		return fmt.Errorf("tombstone of shard %s after %s: %w", l.Shard, h.After, err)
	}
	failpoint.Hit(failpoint.TombstoneBefore)
	err = l.Store.Put(ctx, l.segmentKey(h.After), data, false)
	failpoint.Hit(failpoint.TombstoneAfter)
	return wrap(err, "tombstone of shard %s after %s", l.Shard, h.After)
}

// ForeignPrefix begins the names of logs for which [Log.Foreign] is true.
const ForeignPrefix = "ingest-"

// name matches the names that may stand in keys: Kinesis allows these characters in streams and shards.
var name = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

func (l Log) check() error {
	if !name.MatchString(l.Stream) || !name.MatchString(l.Shard) {
		return fmt.Errorf("stream %.80q, shard %.80q: use 1 to 128 letters, digits, '_', '.' or '-'", l.Stream, l.Shard)
	}
	return nil
}

func (l Log) segmentKey(after fanwatch.SequenceNumber) string {
	return fmt.Sprintf("landing/stream=%s/shard=%s/after=%s.parquet", l.Stream, l.Shard, after.Pad())
}

func (l Log) get(ctx context.Context, after fanwatch.SequenceNumber) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	data, err := l.Store.Get(ctx, l.segmentKey(after))
	return data, wrap(err, "landing log of shard %s", l.Shard)
}

// belongs checks that the header agrees with its object's key: a chain that led elsewhere or in a circle would lose
// readings.
func (l Log) belongs(h Header, after fanwatch.SequenceNumber) error {
	if h.Stream != l.Stream || h.Shard != l.Shard || h.After.Compare(after) != 0 {
		return fmt.Errorf("the segment says that it is %s/%s after %s: it was moved or copied here", h.Stream, h.Shard,
			h.After)
	}
	if c := h.Last.Compare(h.After); c < 0 || c == 0 && !h.End {
		return fmt.Errorf("the segment ends at %s, which is not behind its start", h.Last)
	}
	return nil
}

// wrap adds context to an error and leaves nil alone.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
