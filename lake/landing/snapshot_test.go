package landing_test

import (
	"bytes"
	"errors"
	"testing"

	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

func TestTheNewestReadableSnapshotIsReturned(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	if _, _, err := log.LatestSnapshot(ctx); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("no snapshot: %v", err)
	}
	other := log
	other.Shard += "1" // a prefix of one shard's name must not find the other's
	if err := other.PutSnapshot(ctx, "999", []byte("other")); err != nil {
		t.Fatal(err)
	}
	model := func(n int) []byte { return bytes.Repeat([]byte{byte(n), 'x'}, 50_000) }
	for _, n := range []int{2, 10, 9, 100, 11} { // out of order: numbers, not texts, decide
		if err := log.PutSnapshot(ctx, number(n), model(n)); err != nil {
			t.Fatal(err)
		}
	}
	at, data, err := log.LatestSnapshot(ctx)
	if err != nil || at != "100" || !bytes.Equal(data, model(100)) {
		t.Fatalf("at %s, %d bytes, %v", at, len(data), err)
	}
	keys := list(t, log.Store, "state/stream=readings/shard="+log.Shard+"/", "")
	if len(keys) != 3 {
		t.Fatalf("kept %v", keys)
	}

	frame, err := log.Store.Get(ctx, keys[2])
	if err != nil {
		t.Fatal(err)
	}
	frame[len(frame)/2] ^= 1
	if err := log.Store.Put(ctx, keys[2], frame, false); err != nil {
		t.Fatal(err)
	}
	at, data, err = log.LatestSnapshot(ctx)
	var damaged *landing.DamagedSnapshots
	if !errors.As(err, &damaged) || errors.Is(err, objstore.ErrNotFound) || at != "11" || !bytes.Equal(data, model(11)) {
		t.Fatalf("fell back to %s, %d bytes, %v", at, len(data), err)
	}
	for _, key := range keys[:2] {
		if err := log.Store.Put(ctx, key, []byte("fan"), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err = log.LatestSnapshot(ctx); !errors.Is(err, objstore.ErrNotFound) || !errors.As(err, &damaged) ||
		len(damaged.Reasons) != 3 {
		t.Fatalf("all damaged: %v", err)
	}
}

func FuzzSnapshot(f *testing.F) {
	log := openLog(f)
	if err := log.PutSnapshot(f.Context(), "5", []byte("a model")); err != nil {
		f.Fatal(err)
	}
	key := "state/stream=readings/shard=" + log.Shard + "/at=" + number(5).Pad() + ".snapshot"
	frame, err := log.Store.Get(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add(frame[:10])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := log.Store.Put(t.Context(), key, data, false); err != nil {
			t.Fatal(err)
		}
		if _, got, err := log.LatestSnapshot(t.Context()); err == nil && string(got) != "a model" {
			t.Fatalf("changed bytes gave %q", got)
		}
	})
}

// list gives the keys of a listing.
func list(t *testing.T, store objstore.Store, prefix, after string) []string {
	t.Helper()
	var keys []string
	for o, err := range store.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}
