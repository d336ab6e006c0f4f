package landing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// A scorer appends a segment for each window of its shard; a reader walks the chain. An older attempt of the scorer,
// which still runs, finds the place taken.
func ExampleLog() {
	dir, err := os.MkdirTemp("", "landing")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := objstore.OpenDir(dir)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	log := landing.Log{Store: store, Stream: "readings", Shard: "shardId-000000000000"}

	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	writer := landing.Token{Scheduled: at.UnixNano(), Attempt: 2, Run: "example"}
	first := landing.Segment{
		Header: landing.Header{After: "0", Last: "42", Writer: writer},
		Rows: []fanwatch.Row{{
			Kind: fanwatch.RowScored,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-07", Run: 1, Seq: 1}, Time: at, RPM: 1800,
				State: fanwatch.StateRunning},
			Position: fanwatch.Position{Sequence: "42"},
			Arrived:  at,
		}},
	}
	second := landing.Segment{Header: landing.Header{After: "42", Last: "99", Writer: writer}}
	for _, s := range []landing.Segment{first, second} {
		if err := log.Append(ctx, s); err != nil {
			panic(err)
		}
	}

	err = log.Walk(ctx, "0", func(s landing.Segment) error {
		fmt.Printf("(%s, %s]: %d rows\n", s.After, s.Last, s.Counts.Rows())
		return nil
	})
	if err != nil {
		panic(err)
	}

	older := landing.Segment{Header: landing.Header{After: "0", Last: "17", Writer: landing.Token{Attempt: 1}}}
	var conflict *landing.Conflict
	if err := log.Append(ctx, older); errors.As(err, &conflict) {
		fmt.Println("conflict, stop:", conflict.Newer())
	}
	// Output:
	// (0, 42]: 1 rows
	// (42, 99]: 0 rows
	// conflict, stop: true
}
