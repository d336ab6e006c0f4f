package landing

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/objstore"
)

// SnapshotVersion is the version of a snapshot's frame that this program writes; the data inside has its own.
const SnapshotVersion = 1

// MaxSnapshot is the largest snapshot, uncompressed, in bytes. A fan's model takes some 117 KiB, and a shard of 1,000
// records a second has some 9,000 fans: half of this, which is the largest slice of bytes on a machine of 32 bits.
const MaxSnapshot = 1<<31 - 1

// snapshotsKept is how many snapshots of a shard stay: the newest and two to fall back on. Beside them the first of
// each UTC day stays for snapshotDays, so that what was judged then can be computed again: no segment keeps its rows
// for them.
const (
	snapshotsKept = 3
	snapshotDays  = 8 * 24 * time.Hour
)

// A frame is magic, version, CRC-32C of all that follows, length of the data, and the data in zstd.
const (
	snapshotMagic  = "fanwatch"
	snapshotHeader = len(snapshotMagic) + 4 + 4 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutSnapshot stores the shard's models as they are behind sequence number at, in place of one that was stored there,
// and removes all but the newest three and, of the last 8 days, the first of each.
func (l Log) PutSnapshot(ctx context.Context, at fanwatch.SequenceNumber, data []byte) error {
	if err := l.check(); err != nil {
		return err
	}
	frame, err := EncodeFrame(data)
	if err != nil {
		return fmt.Errorf("snapshot of shard %s: %w", l.Shard, err)
	}
	failpoint.Hit(failpoint.SnapshotPutBefore)
	err = l.Store.Put(ctx, l.snapshotKey(at), frame, false)
	failpoint.Hit(failpoint.SnapshotPutAfter)
	if err != nil {
		return fmt.Errorf("snapshot of shard %s: %w", l.Shard, err)
	}
	all, err := l.snapshots(ctx)
	if err != nil {
		return err
	}
	for _, o := range l.outdated(all) {
		if err := l.Store.Delete(ctx, o.Key); err != nil {
			return fmt.Errorf("old snapshot of shard %s: %w", l.Shard, err)
		}
	}
	return nil
}

// outdated returns those of a shard's snapshots, the newest first, that are to be removed.
func (l Log) outdated(all []objstore.Object) (out []objstore.Object) {
	day := func(o objstore.Object) time.Time { return o.Modified.UTC().Truncate(24 * time.Hour) }
	first := make(map[time.Time]string) // key of a day's first snapshot
	if len(all) > 0 && !l.Foreign() {
		for _, o := range all {
			if day(all[0]).Sub(day(o)) < snapshotDays {
				first[day(o)] = o.Key
			}
		}
	}
	for _, o := range all[min(snapshotsKept, len(all)):] {
		if first[day(o)] != o.Key {
			out = append(out, o)
		}
	}
	return out
}

// Snapshot is a stored snapshot of a shard's models.
type Snapshot struct {
	At      fanwatch.SequenceNumber // where it was taken; "": the shard has no usable one, and its whole log is replayed
	Data    []byte                  // as it was given to [Log.PutSnapshot]; of [Log.RestoreSnapshot] nil
	Skipped []error                 // the newer ones that are damaged or were refused, newest first: to be logged
}

// LatestSnapshot returns the newest readable snapshot of the shard's models. An error is a store that failed.
func (l Log) LatestSnapshot(ctx context.Context) (Snapshot, error) {
	var data []byte
	s, err := l.RestoreSnapshot(ctx, func(d []byte) error {
		data = d
		return nil
	})
	s.Data = data
	return s, err
}

// RestoreSnapshot calls use with the shard's snapshots, the newest first, until use returns nil, and returns which one
// that was. An error is a store that failed.
func (l Log) RestoreSnapshot(ctx context.Context, use func(data []byte) error) (Snapshot, error) {
	var s Snapshot
	if err := l.check(); err != nil {
		return s, err
	}
	all, err := l.snapshots(ctx)
	if err != nil {
		return s, err
	}
	for _, o := range all {
		key := o.Key
		at, data, err := l.readSnapshot(ctx, key)
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			continue // removed since it was listed, because newer ones came
		case err == nil:
			err = use(data)
		case !errors.Is(err, errSnapshot):
			return Snapshot{}, fmt.Errorf("snapshot of shard %s: %w", l.Shard, err)
		}
		if err == nil {
			s.At = at
			return s, nil
		}
		s.Skipped = append(s.Skipped, fmt.Errorf("%s: %w", key, err))
	}
	return s, nil
}

// OldestSnapshot returns where the third newest snapshot was taken, after it has read it, or the oldest of fewer, and
// "0" without a snapshot.
// Its replay needs the rows behind it: a segment that ends later must not become a tombstone.
func (l Log) OldestSnapshot(ctx context.Context) (fanwatch.SequenceNumber, error) {
	if err := l.check(); err != nil {
		return "0", err
	}
	all, err := l.snapshots(ctx)
	if err != nil || len(all) == 0 {
		return "0", err
	}
	oldest := all[min(len(all), snapshotsKept)-1].Key
	at, _, err := l.readSnapshot(ctx, oldest)
	if err != nil {
		return "0", fmt.Errorf("%s: %w", strings.TrimSuffix(oldest, snapshotSuffix), err)
	}
	return at, nil
}

func (l Log) snapshotPrefix() string {
	return fmt.Sprintf("state/stream=%s/shard=%s/at=", l.Stream, l.Shard)
}

const snapshotSuffix = ".snapshot"

func (l Log) snapshotKey(at fanwatch.SequenceNumber) string {
	return l.snapshotPrefix() + at.Pad() + snapshotSuffix
}

// snapshots returns the objects of the shard's snapshots, the newest first.
func (l Log) snapshots(ctx context.Context) ([]objstore.Object, error) {
	var all []objstore.Object
	for o, err := range l.Store.List(ctx, l.snapshotPrefix(), "") {
		if err != nil {
			// %v: a bucket that is missing is no missing snapshot
			return nil, fmt.Errorf("snapshots of shard %s: %v", l.Shard, err)
		}
		if strings.HasSuffix(o.Key, snapshotSuffix) {
			all = append(all, o)
		}
	}
	slices.Reverse(all)
	return all, nil
}

func (l Log) readSnapshot(ctx context.Context, key string) (fanwatch.SequenceNumber, []byte, error) {
	at, err := fanwatch.ParseSequenceNumber(strings.TrimSuffix(strings.TrimPrefix(key, l.snapshotPrefix()),
		snapshotSuffix))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	frame, err := l.Store.Get(ctx, key)
	if err != nil {
		return "", nil, err
	}
	data, err := DecodeFrame(frame)
	return at, data, err
}

var errSnapshot = errors.New("damaged snapshot")

// EncodeFrame returns data, at most [MaxSnapshot] bytes, as it lies in a snapshot's object: magic, version, CRC-32C
// and length in front of zstd. [DecodeFrame] undoes it.
func EncodeFrame(data []byte) ([]byte, error) {
	if len(data) > MaxSnapshot {
		return nil, fmt.Errorf("%d bytes, want at most %d: split the stream into more shards", len(data), MaxSnapshot)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	frame := append([]byte(snapshotMagic), make([]byte, 4+4)...)
	binary.LittleEndian.PutUint32(frame[len(snapshotMagic):], SnapshotVersion)
	frame = binary.LittleEndian.AppendUint64(frame, uint64(len(data)))
	frame = enc.EncodeAll(data, frame)
	sumAt := len(snapshotMagic) + 4
	binary.LittleEndian.PutUint32(frame[sumAt:], crc32.Checksum(frame[sumAt+4:], castagnoli))
	return frame, nil
}

// DecodeFrame returns the data that [EncodeFrame] packed. Its error says what is damaged.
func DecodeFrame(frame []byte) ([]byte, error) {
	if len(frame) < snapshotHeader || !bytes.HasPrefix(frame, []byte(snapshotMagic)) {
		return nil, fmt.Errorf("%w: it does not begin as one", errSnapshot)
	}
	rest := frame[len(snapshotMagic):]
	if v := binary.LittleEndian.Uint32(rest); v != SnapshotVersion {
		return nil, fmt.Errorf("%w: version %d is unknown, this program knows %d", errSnapshot, v, SnapshotVersion)
	}
	if binary.LittleEndian.Uint32(rest[4:]) != crc32.Checksum(rest[8:], castagnoli) {
		return nil, fmt.Errorf("%w: checksum mismatch", errSnapshot)
	}
	size := binary.LittleEndian.Uint64(rest[8:])
	if size > MaxSnapshot {
		return nil, fmt.Errorf("%w: %d bytes", errSnapshot, size)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSnapshot+1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	data, err := dec.DecodeAll(rest[16:], nil)
	if err != nil || uint64(len(data)) != size {
		return nil, fmt.Errorf("%w: %d bytes of %d: %v", errSnapshot, len(data), size, err)
	}
	return data, nil
}
