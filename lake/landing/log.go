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

// Log is the landing log of one shard: a chain of segments, each stored under the sequence number at
// which the one before it ended. It is the shard's checkpoint. Whoever writes a link of the chain first
// fixes where it ends; every other writer finds it taken. So no two segments overlap, however many attempts
// of a scorer believe that they own the shard.
//
// A Log holds no state and may be copied and used concurrently. Readers follow the chain; they never list.
type Log struct {
	Store  objstore.Store
	Stream string
	Shard  string
}

// ErrDamaged says that a segment cannot be read, however often it is tried.
var ErrDamaged = errors.New("damaged segment")

// Conflict says that another attempt has already written the segment that was to be appended.
type Conflict struct {
	Existing Header
	Own      Token
}

// Error says who came first and what to do about it.
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

// Newer reports whether the existing segment's writer is newer: then the caller is a zombie and must stop.
// Otherwise it must discard its models, reload snapshot and segments, and go on behind Existing.Last.
func (c *Conflict) Newer() bool { return c.Existing.Writer.Newer(c.Own) }

// Logs returns the landing logs of a stream: of every shard that ever landed anything, by name. A stream
// forgets a closed shard once its records expired; its log stays.
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

// firstShard returns the shard of the first object of the folder whose key is above after; "": there is none.
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

// Foreign reports whether the log is no shard's but holds what other programs stored; see Ingest. Its snapshots are not
// of models.
func (l Log) Foreign() bool { return strings.HasPrefix(l.Shard, ForeignPrefix) }

// Append writes the segment behind s.After. It fills in Stream, Shard, Counts (all but Duplicates) and
// Fans. When the place is taken by the same attempt's same segment (a PUT whose answer was lost) that is
// success; when by another, the error is a *Conflict. After any other error the segment may or may not
// be there: append the same segment again, unless the error wraps ErrSegment: that one does not pass.
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

// Next returns the segment behind the given sequence number ("0" or "" is the shard's start), or an error
// that wraps ErrNotFound at the log's present end.
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

// NextHeader is Next without decoding the rows.
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

// Walk calls f with each segment behind from, in the chain's order, until the log's present end.
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

// WalkOver is Walk, but it passes over a damaged segment where it finds out where that ends, from its header or from
// the key of the one behind it, and tells passed of it. Of a damaged segment at the log's end the error wraps
// ErrDamaged.
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

// endBehind finds where the segment behind after ends though it cannot be read.
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

// Tombstone replaces the segment by one without rows and with the same header, so that a zombie that
// wakes up late still finds the place taken. The caller answers for it that the rows are in the table
// and that no snapshot lies before them; see TruncateLog.
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

// ForeignPrefix begins the names of logs that are Foreign.
const ForeignPrefix = "ingest-"

// name bounds what stands in keys: Kinesis allows these characters in streams and shards.
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

// belongs checks that what the object says of itself agrees with its key: a chain that led elsewhere or
// in a circle would lose readings.
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
