package landing

import (
	"context"
	"errors"
	"fmt"

	"fanwatch"
	"fanwatch/objstore"
)

// MarkEnded notes beside the log that its shard is closed and read to its end; last is its last sequence number. It
// may be called again.
func (l Log) MarkEnded(ctx context.Context, last fanwatch.SequenceNumber) error {
	if err := l.check(); err != nil {
		return err
	}
	return l.Store.Put(ctx, l.endedKey(), []byte(`{"v":1,"last":"`+string(last)+`"}`), false)
}

// Ended reports whether [Log.MarkEnded] was called for the shard.
func (l Log) Ended(ctx context.Context) (bool, error) {
	if err := l.check(); err != nil {
		return false, err
	}
	_, err := l.Store.Get(ctx, l.endedKey())
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (l Log) endedKey() string {
	return fmt.Sprintf("state/stream=%s/shard=%s/ended.json", l.Stream, l.Shard)
}
