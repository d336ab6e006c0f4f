package activities

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// recover rebuilds the models from the newest snapshot and the segments behind it, bit for bit as they were when the
// newest segment was landed, and opens the stream there. Segments that wait to be landed are dropped.
func (r *scoring) recover(ctx context.Context) error {
	if r.lander != nil {
		r.lander.stop()
	}
	r.window, r.pending = window{}, newPending(r.Now())
	k, err := r.load(ctx, r.shardLog, r.begin)
	if err != nil {
		return err
	}
	r.models, r.at, r.ended = k.models, k.at, k.ended
	for _, why := range k.notes {
		r.Log.Error("recovery", "shard", r.in.Shard.ID, "what", why)
		r.pulse.note(why)
	}
	r.snapped, r.snappedAt = r.Now(), k.snapshot
	r.lander = startLander(ctx, r.shardLog, r.at, r.sender, r.Log)
	r.reader = r.Stream.Open(r.in.Stream, streamShard(r.in.Shard.ID), r.at)
	r.report(true)
	return nil
}

// beginning returns the models that a log without usable snapshot begins with.
type beginning func(context.Context) (*detect.Models, error)

// loadedShard is the state of a shard by its snapshot and log.
type loadedShard struct {
	models   *detect.Models
	at       fanwatch.SequenceNumber // end of the newest segment
	snapshot fanwatch.SequenceNumber // position of the newest usable snapshot; "" = there is none
	ended    bool                    // the newest segment is the shard's last
	any      bool                    // the shard has a snapshot or a segment
	notes    []string                // what was passed over or is lost
}

func (k *loadedShard) note(format string, args ...any) {
	k.notes = append(k.notes, fmt.Sprintf(format, args...))
}

// load reads the state of a shard. begin returns the models that its log begins with where no snapshot is usable.
func (r *scoring) load(ctx context.Context, l landing.Log, begin beginning) (k loadedShard, err error) {
	r.pulse.alive(longWork)
	defer r.pulse.alive(r.cfg.Stuck)
	l.Store = timedStore{l.Store}
	newest, err := l.RestoreSnapshot(ctx, func(data []byte) (err error) {
		k.models, err = detect.Restore(r.cfg.Detect, data)
		return err
	})
	if err != nil {
		return k, err
	}
	if len(newest.Skipped) > 0 {
		k.note("shard %s: damaged snapshots are passed over, more of the log is replayed: %s", l.Shard,
			strings.ReplaceAll(errors.Join(newest.Skipped...).Error(), "\n", "; "))
	}
	k.any = newest.At != "" || len(newest.Skipped) > 0
	k.at, k.snapshot = newest.At, newest.At
	if newest.At == "" {
		if k.models, err = begin(ctx); err != nil {
			return k, err
		}
		k.at = "0"
	}
	tombstoned, diverged := 0, 0
	err = l.WalkOver(ctx, k.at, func(seg landing.Segment) error {
		r.pulse.alive(longWork)
		k.any = true
		if seg.Tombstone {
			tombstoned += seg.Counts.Rows()
		}
		if err := k.models.Replay(seg.Rows); err != nil {
			if diverged++; diverged == 1 { // ordinary after an upgrade; nothing is lost
				r.Log.Warn("the models go on with the scores of this program", "shard", l.Shard, "err", err)
			}
		}
		k.at, k.ended = seg.Last, seg.End
		return nil
	}, func(err error) {
		k.note("shard %s: the models go on without the rows of a segment: %v", l.Shard, err)
	})
	if tombstoned > 0 {
		k.note("shard %s: no snapshot is usable and %d rows are in the table only: fans begin anew, "+
			"and those that were configured by these rows are unknown until they are provisioned again", l.Shard, tombstoned)
	}
	return k, err
}

// storeWithin bounds one read of the store during recovery. A snapshot of 9,000 fans has about 1 GiB.
const storeWithin = 2 * time.Minute

// timedStore is a store whose reads end after storeWithin.
type timedStore struct{ objstore.Store }

func (s timedStore) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	return s.Store.Get(ctx, key)
}

func (s timedStore) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		s.Store.List(ctx, prefix, startAfter)(yield)
	}
}

// begin returns the models of a shard without snapshot: those that it inherits. It stores them as the shard's first
// snapshot, so that later recoveries need no other shard.
func (r *scoring) begin(ctx context.Context) (*detect.Models, error) {
	models, err := r.inherit(ctx)
	if err != nil || len(models.Fans()) == 0 {
		return models, err
	}
	data, err := models.Snapshot()
	if err != nil {
		return nil, err
	}
	if err := r.shardLog.PutSnapshot(ctx, "0", data); err != nil {
		return nil, err
	}
	return models, nil
}

// inherit returns models with the fans in the shard's hash range: of its parents if all were read, else of every shard
// in the store, each fan from the shard that has the newest state of it. A shard without parents inherits none, unless
// its stream was made anew.
func (r *scoring) inherit(ctx context.Context) (*detect.Models, error) {
	models := detect.New(r.cfg.Detect)
	inRange, err := r.in.Shard.Holds()
	if err != nil {
		return nil, err
	}
	complete := len(r.in.Shard.Parents) > 0 || suffix(r.in.Shard.ID) == ""
	for _, parent := range r.in.Shard.Parents {
		read, err := r.adopt(ctx, models, parent, inRange)
		if err != nil {
			return nil, err
		}
		complete = complete && read
	}
	if complete {
		return models, nil
	}
	logs, err := landing.Logs(ctx, timedStore{r.Store}, r.in.Stream)
	if err != nil {
		return nil, err
	}
	for _, l := range logs {
		if l.Shard == r.in.Shard.ID || l.Foreign() {
			continue
		}
		if _, err := r.adopt(ctx, models, l.Shard, inRange); err != nil {
			return nil, err
		}
	}
	if n := len(models.Fans()); n > 0 {
		r.pulse.note(fmt.Sprintf("shard %s begins with %d fans of the shards that were read before it: "+
			"its parents were not read, or the stream %s was deleted and made again and is read from its beginning",
			r.in.Shard.ID, n, r.in.Stream))
		r.Log.Warn("fans are taken over from all shards that were read", "shard", r.in.Shard.ID, "fans", n)
	}
	return models, nil
}

// adopt adds to models the fans of one shard at the end of its log, where they are newer. read is false for a shard
// that was never read, or has no snapshot, and so may lack fans.
func (r *scoring) adopt(
	ctx context.Context, models *detect.Models, shard string, inRange func(string) bool,
) (read bool, err error) {
	k, err := r.load(ctx, landing.Log{Store: r.Store, Stream: r.in.Stream, Shard: shard},
		func(context.Context) (*detect.Models, error) { return detect.New(r.cfg.Detect), nil })
	if err != nil {
		return false, fmt.Errorf("what shard %s hands on: %w", shard, err)
	}
	for _, why := range k.notes {
		r.Log.Error("inheritance", "shard", r.in.Shard.ID, "what", why)
		r.pulse.note(why)
	}
	models.Adopt(k.models, func(fan string) bool { return inRange(fan) && newer(k.models, models, fan) })
	return k.any && k.snapshot != "", nil
}

// newer reports whether a has a newer state of a fan than b.
func newer(a, b *detect.Models, fan string) bool {
	da, _ := a.Device(fan)
	db, known := b.Device(fan)
	if !known {
		return true
	}
	oa, _ := a.Last(fan)
	ob, _ := b.Last(fan)
	if c := oa.Position.Compare(ob.Position); c != 0 {
		return c > 0
	}
	return da.Revision > db.Revision
}

// streamShard returns the shard's name on the stream, without the suffix that it has in the log.
func streamShard(id string) string {
	name, _, _ := strings.Cut(id, ".")
	return name
}

// suffix returns the suffix of the shard's making, "" for the first.
func suffix(id string) string { return strings.TrimPrefix(id, streamShard(id)) }
