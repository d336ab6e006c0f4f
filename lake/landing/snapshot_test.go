package landing_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanwatch/lake/landing"
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
	if len(keys) != 4 { // the newest three and the lowest of today
		t.Fatalf("kept %v", keys)
	}
	if at, err := log.OldestSnapshot(ctx); err != nil || at != "10" {
		t.Fatalf("rows are kept from %s on: %v", at, err)
	}

	frame, err := log.Store.Get(ctx, keys[3])
	if err != nil {
		t.Fatal(err)
	}
	frame[len(frame)/2] ^= 1
	if err := log.Store.Put(ctx, keys[3], frame, false); err != nil {
		t.Fatal(err)
	}
	s, err = log.LatestSnapshot(ctx)
	if err != nil || s.At != "11" || !bytes.Equal(s.Data, model(11)) || len(s.Skipped) != 1 {
		t.Fatalf("fell back to %s, %d bytes, %v, %v", s.At, len(s.Data), s.Skipped, err)
	}
	for _, key := range keys[:3] {
		if err := log.Store.Put(ctx, key, []byte("fan"), false); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = log.LatestSnapshot(ctx); err != nil || s.At != "" || len(s.Skipped) != 4 {
		t.Fatalf("all damaged: %+v, %v", s, err)
	}
}

// TestTheFirstSnapshotOfADayStays for eight days, so that an earlier decision can be computed again. An ingestion's
// state is not of days.
func TestTheFirstSnapshotOfADayStays(t *testing.T) {
	dir, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -18)
	for shard, want := range map[string]string{
		"shardId-000000000000":        "[45 49 53 57 61 65 69 70 71]",
		landing.ForeignPrefix + "abc": "[69 70 71]",
	} {
		log := landing.Log{Store: dir, Stream: "readings", Shard: shard}
		prefix := "state/stream=readings/shard=" + shard + "/at="
		for n := 1; n < 72; n++ { // every six hours for 18 days, up to yesterday noon
			if err := log.PutSnapshot(t.Context(), number(n), []byte("a model")); err != nil {
				t.Fatal(err)
			}
			at := first.Add(time.Duration(n-1) * 6 * time.Hour)
			path := filepath.Join(dir.Root(), filepath.FromSlash(prefix+number(n).Pad()+".snapshot"))
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.PutSnapshot(t.Context(), number(71), []byte("a model")); err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, key := range list(t, dir, prefix, "") {
			n, err := strconv.Atoi(strings.TrimLeft(strings.TrimSuffix(strings.TrimPrefix(key, prefix), ".snapshot"), "0"))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: kept %v, want %s", shard, got, want)
		}
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
