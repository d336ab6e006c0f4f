package landing_test

import (
	"bytes"
	"testing"

	"fanwatch/objstore"
)

func TestTheNewestReadableSnapshotIsReturned(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	if s, err := log.LatestSnapshot(ctx); err != nil || s.At != "" || s.Skipped != nil {
		t.Fatalf("no snapshot: %+v, %v", s, err)
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
	s, err := log.LatestSnapshot(ctx)
	if err != nil || s.At != "100" || !bytes.Equal(s.Data, model(100)) || s.Skipped != nil {
		t.Fatalf("at %s, %d bytes, %v, %v", s.At, len(s.Data), s.Skipped, err)
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
	s, err = log.LatestSnapshot(ctx)
	if err != nil || s.At != "11" || !bytes.Equal(s.Data, model(11)) || len(s.Skipped) != 1 {
		t.Fatalf("fell back to %s, %d bytes, %v, %v", s.At, len(s.Data), s.Skipped, err)
	}
	for _, key := range keys[:2] {
		if err := log.Store.Put(ctx, key, []byte("fan"), false); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = log.LatestSnapshot(ctx); err != nil || s.At != "" || len(s.Skipped) != 3 {
		t.Fatalf("all damaged: %+v, %v", s, err)
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
		if got, err := log.LatestSnapshot(t.Context()); err == nil && got.At != "" && string(got.Data) != "a model" {
			t.Fatalf("changed bytes gave %q", got.Data)
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
