package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"fanwatch/objstore"
)

func TestADirectoryIsAStore(t *testing.T) {
	store, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	testStore(t, store)
}

// testStore tests what landing.Log and lake.Table need of a Store; cloud has a test of the same against an S3 server.
func testStore(t *testing.T, store objstore.Store) {
	ctx := t.Context()
	if _, err := store.Get(ctx, "a/none"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("get of nothing: %v", err)
	}
	var want []string
	for _, key := range []string{"a/b", "a-b/x", "a/c/d", "a/c/e", "b", "a/b=2/z"} {
		if err := store.Put(ctx, key, []byte(key), true); err != nil {
			t.Fatal(err)
		}
		want = append(want, key)
	}
	slices.Sort(want)
	if got := listed(t, store, "", ""); !slices.Equal(got, want) {
		t.Fatalf("listed %v, want %v", got, want)
	}
	if got := listed(t, store, "a/", "a/b"); !slices.Equal(got, []string{"a/b=2/z", "a/c/d", "a/c/e"}) {
		t.Fatalf("listed %v behind a/b", got)
	}
	if got := listed(t, store, "a/c/e", ""); !slices.Equal(got, []string{"a/c/e"}) {
		t.Fatalf("listed %v for a whole key", got)
	}
	if got := listed(t, store, "none/", ""); len(got) != 0 {
		t.Fatalf("listed %v of nothing", got)
	}
	if err := store.Put(ctx, "b", []byte("new"), true); !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("put on a taken key: %v", err)
	}
	if err := store.Put(ctx, "b", []byte("new"), false); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Get(ctx, "b"); err != nil || string(data) != "new" {
		t.Fatalf("got %q, %v", data, err)
	}
	testRanges(t, store)
	for range 2 {
		if err := store.Delete(ctx, "b"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "a b", "a\x00", ".tmp/x", "ü"} {
		if err := store.Put(ctx, key, nil, false); err == nil {
			t.Errorf("key %q was accepted", key)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := store.Put(over, "late", nil, true); err == nil {
		t.Error("a put after the end of its context was accepted")
	}
	racePuts(t, store)
}

func testRanges(t *testing.T, store objstore.Store) {
	data := []byte("0123456789")
	if err := store.PutFrom(t.Context(), "ranges", bytes.NewReader(data), int64(len(data)), true); err != nil {
		t.Fatal(err)
	}
	if err := store.PutFrom(t.Context(), "ranges", bytes.NewReader(data), int64(len(data)), true); !errors.Is(err,
		objstore.ErrExists) {
		t.Fatalf("put on a taken key: %v", err)
	}
	for _, r := range [][2]int64{{0, 10}, {3, 4}, {9, 1}, {10, 0}, {0, 0}} {
		if got, err := store.GetRange(t.Context(), "ranges", r[0], r[1]); err != nil ||
			string(got) != string(data[r[0]:r[0]+r[1]]) {
			t.Errorf("%d bytes from %d on: %q, %v", r[1], r[0], got, err)
		}
	}
	for _, r := range [][2]int64{{0, 11}, {9, 2}, {11, 1}, {-1, 2}, {2, -1}} {
		if got, err := store.GetRange(t.Context(), "ranges", r[0], r[1]); err == nil {
			t.Errorf("%d bytes from %d on: %q and no error", r[1], r[0], got)
		}
	}
	if _, err := store.GetRange(t.Context(), "none", 0, 1); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("a range of nothing: %v", err)
	}
	if err := store.Delete(t.Context(), "ranges"); err != nil {
		t.Fatal(err)
	}
}

func racePuts(t *testing.T, store objstore.Store) {
	for round := range 10 {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		results := make([]error, 8)
		for i := range results {
			wg.Go(func() { results[i] = store.Put(t.Context(), key, bytes.Repeat([]byte{byte(i)}, 10_000), true) })
		}
		wg.Wait()
		data, err := store.Get(t.Context(), key)
		if err != nil || len(data) != 10_000 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for i, err := range results {
			if won := data[0] == byte(i); won && err != nil || !won && !errors.Is(err, objstore.ErrExists) {
				t.Fatalf("writer %d won: %v, got %v", i, won, err)
			}
		}
	}
}

func listed(t *testing.T, store objstore.Store, prefix, after string) []string {
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
