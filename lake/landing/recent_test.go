package landing_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// TestRecentFindsWhereTheLastMinutesBegin: a reader that starts anew meets all that was appended since a time and not
// the whole log, also when an old segment was replaced by a tombstone a moment ago.
func TestRecentFindsWhereTheLastMinutesBegin(t *testing.T) {
	dir := t.TempDir()
	store, err := objstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := landing.Log{Store: store, Stream: "readings", Shard: "shardId-000000000000"}
	now := time.Now().Truncate(time.Second)
	for i := range 10 {
		if err := log.Append(t.Context(), window(i*10, "fan-07", 7, i*10, 10)); err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".parquet") {
			files = append(files, path)
		}
		return err
	})
	if slices.Sort(files); err != nil || len(files) != 10 {
		t.Fatalf("%d segments, %v", len(files), err)
	}
	age := func(n int, d time.Duration) {
		if err := os.Chtimes(files[n], now.Add(-d), now.Add(-d)); err != nil {
			t.Fatal(err)
		}
	}
	met := func() (n int, since time.Time) {
		at, since, err := log.Recent(t.Context(), now.Add(-15*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Walk(t.Context(), at, func(landing.Segment) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n, since
	}
	if n, since := met(); n != 10 || !since.IsZero() {
		t.Errorf("all is new: %d segments, since %v", n, since)
	}
	for i := range files {
		age(i, time.Duration(10-i)*5*time.Minute)
	}
	age(1, 0) // a tombstone
	if n, since := met(); n != 3 || !since.Equal(now.Add(-15*time.Minute)) {
		t.Errorf("of 50 minutes: %d segments, since %v", n, since)
	}
	for i := range files {
		age(i, time.Hour)
	}
	if n, _ := met(); n != 1 {
		t.Errorf("nothing is new: %d segments", n)
	}
	empty := landing.Log{Store: store, Stream: "readings", Shard: "other"}
	if at, since, err := empty.Recent(t.Context(), now); at != "0" || !since.IsZero() || err != nil {
		t.Errorf("an empty log: %s, %v, %v", at, since, err)
	}
}
