package edge

import (
	"context"
	"errors"
	"time"

	"fanwatch"
)

// replayAhead is how many readings of Config.Recorded wait in the spool at most.
const replayAhead = 5000

// replay publishes the readings of Config.Recorded and returns when all are acknowledged or ctx ends.
func (n *Node) replay(ctx context.Context) error {
	take := n.take()
	err := n.c.Recorded(ctx, func(r fanwatch.Reading) error {
		if err := n.await(ctx, replayAhead); err != nil {
			return err
		}
		r.Fan = n.c.Fan
		return take(Record{Reading: r, Boot: n.c.Clock.Boot()})
	})
	if err == nil {
		err = n.await(ctx, 0)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// await waits until at most most readings are spooled.
func (n *Node) await(ctx context.Context, most int) error {
	for n.spool.Stats().Spooled > most {
		n.pub.hurry()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return ctx.Err()
}
