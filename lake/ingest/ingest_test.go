package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

func legacyObject(fan string, second int) string {
	return fmt.Sprintf(`{"TIME":"%s","FANID":"%s","FREQ":60,"RPM":%d}`,
		midnight.Add(time.Duration(second)*time.Second).Format("2006-01-02T15:04:05.000000"), fan, 1800+second%7)
}

func put(t testing.TB, store objstore.Store, key, text string, zipped bool) {
	t.Helper()
	data := []byte(text)
	if zipped {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		data = buf.Bytes()
	}
	if err := store.Put(t.Context(), key, data, false); err != nil {
		t.Fatal(err)
	}
}

func TestAnObjectIsLandedOnce(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	tables := openTables(t, w, nil)
	in := ingest.Ingestion{From: w.store, Prefix: "firehose/", To: w.store, Stream: "readings", SegmentRows: 70}
	run := func(want ingest.Result) {
		t.Helper()
		if got, err := in.Run(t.Context(), nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v, %v", got, want, err)
		}
		if _, err := tables.Commit(t.Context(), []landing.Log{in.Log()}); err != nil {
			t.Fatal(err)
		}
	}
	run(ingest.Result{})
	var joined, lines strings.Builder
	for i := range 100 {
		joined.WriteString(legacyObject("fan-a", i))
		lines.WriteString(legacyObject("fan-b", i) + "\n")
	}
	put(t, w.store, "firehose/2026/03/01/00/fans-1-a", joined.String(), false)
	put(t, w.store, "firehose/2026/03/01/00/fans-1-b.gz", lines.String()+legacyObject("fan-b", 3)+"\nrubbish\n"+
		`{"TIME":"2026-03-01T00:10:00","FANID":"fan-b"}`, true)
	put(t, w.store, "elsewhere/fans-1-c", joined.String(), false)
	run(ingest.Result{Objects: 2, Readings: 200, Duplicates: 1, Quarantined: 2})
	run(ingest.Result{})
	// a key in front of others
	put(t, w.store, "firehose/2026/03/01/00/fans-0-late", legacyObject("fan-a", 100)+legacyObject("fan-a", 99), false)
	run(ingest.Result{Objects: 1, Readings: 1, Duplicates: 1})
	wantCounts(t, w.counts(t), map[string]int{"fan-a": 101, "fan-b": 100})
	if r := w.rows(t, "fan-a")[5]; r.Kind != fanwatch.RowLate || r.RPM != 1805 || r.Hz != 60 ||
		!r.Time.Equal(midnight.Add(5*time.Second)) || r.Run != 0 || r.Seq != uint64(r.Time.UnixMicro()) {
		t.Errorf("%+v", r)
	}
	refused, err := tables.Quarantine(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(refused) != 2 || refused[0].Fan == "" && string(refused[0].Payload) != "rubbish" ||
		refused[1].Reason != "RPM is missing" {
		t.Errorf("%+v, %v", refused, err)
	}
	v, err := tables.Verify(t.Context(), []landing.Log{in.Log()}, nil)
	if err != nil || !v.OK {
		t.Errorf("%+v, %v", v.Faults, err)
	}
}

// TestAFolderOfTheLakeIsNotIngested before anything is read: also by a prefix that could hold one.
func TestAFolderOfTheLakeIsNotIngested(t *testing.T) {
	for _, own := range []string{"", "l", "landing", "landing/", "landing/stream=x/", "tab", "tables", "tables/fanwatch",
		"s", "state", "state/", "a", "alerts", "alerts/waiting/"} {
		for _, bucket := range []string{"", "other"} {
			// a store would be called
			bad := ingest.Ingestion{From: nil, Bucket: bucket, Prefix: own, To: nil, Stream: "readings"}
			if _, err := bad.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "the lake's own") {
				t.Errorf("prefix %q was taken: %v", own, err)
			}
		}
	}
	for _, sound := range []string{"firehose/", "landings/", "f", "2019/", "lake/landing/", "alert/"} {
		if err := (&ingest.Ingestion{Prefix: sound}).CheckPrefix(); err != nil {
			t.Errorf("prefix %q: %v", sound, err)
		}
	}
}

func TestADamagedObjectIsLandedUpToItsDamage(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	in := ingest.Ingestion{From: w.store, Prefix: "firehose/", To: w.store, Stream: "readings"}
	var text strings.Builder
	for i := range 20_000 {
		text.WriteString(legacyObject("fan-a", i*i%86_400))
	}
	put(t, w.store, "firehose/whole", text.String(), true)
	data, err := w.store.Get(t.Context(), "firehose/whole")
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.store, "firehose/whole", string(data[:len(data)/2]), false)
	r, err := in.Run(t.Context(), nil)
	if err != nil || r.Objects != 1 || r.Readings < 1000 || r.Quarantined != 1 || r.PassedOver != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	landed := r.Readings + r.Duplicates
	for _, again := range []bool{false, true} {
		in.Again = again
		if r, err = in.Run(t.Context(), nil); err != nil || r.Objects != 0 || r.Quarantined != 0 || r.PassedOver != 1 ||
			!strings.Contains(r.Failure(), "unexpected EOF") {
			t.Fatalf("again: %+v, %v", r, err)
		}
	}
	put(t, w.store, "firehose/whole", text.String(), true) // it is written anew, as a whole
	if r, err = in.Run(t.Context(), nil); err != nil || r.Objects != 1 || landed+r.Readings+r.Duplicates != 20_000 ||
		r.PassedOver != 0 || r.Failure() != "" {
		t.Fatalf("mended: %+v, %v", r, err)
	}
	w.commit(t, in.Log())
	distinct := make(map[int]bool)
	for i := range 20_000 {
		distinct[i*i%86_400] = true
	}
	wantCounts(t, w.counts(t), map[string]int{"fan-a": len(distinct)})
	put(t, w.store, "firehose/other", legacyObject("fan-b", 1)+legacyObject("fan-b", 2), true)
	data, err = w.store.Get(t.Context(), "firehose/other")
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.store, "firehose/other", string(data[:len(data)-4]), false) // only its end is lost
	if r, err = in.Run(t.Context(), nil); err != nil || r.Readings != 2 || r.PassedOver != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	put(t, w.store, "firehose/other", legacyObject("fan-b", 7)+legacyObject("fan-b", 8)+legacyObject("fan-b", 9), true)
	if r, err = in.Run(t.Context(), nil); err != nil || r.Readings != 3 || r.PassedOver != 0 {
		t.Fatalf("another of the same name: %+v, %v", r, err)
	}
}

// TestAKilledIngestionLandsEveryReadingOnce lets every change of the store fail once for good, goes on, and wants
// every reading once.
func TestAKilledIngestionLandsEveryReadingOnce(t *testing.T) {
	for at := int64(1); ; at++ {
		w := openWorld(t, t.TempDir(), nil)
		for i := range 3 {
			var text strings.Builder
			for n := range 60 {
				text.WriteString(legacyObject("fan-a", i*50+n)) // ten of each come again in the next
			}
			put(t, w.store, fmt.Sprintf("firehose/%d", i), text.String(), i == 1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := &fuse{at: at, die: cancel, lost: at%2 == 0}
		in := ingest.Ingestion{From: w.store, Prefix: "firehose/", To: brittleStore{w.store, f}, Stream: "readings",
			SegmentRows: 25}
		_, err := in.Run(ctx, nil)
		cancel()
		if err == nil {
			if at < 8 {
				t.Fatalf("only %d changes", at-1)
			}
			return
		}
		if !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		in.To = w.store
		if _, err := in.Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		w.commit(t, in.Log())
		wantCounts(t, w.counts(t), map[string]int{"fan-a": 160})
		accounts, err := lake.Reconcile(t.Context(), []landing.Log{in.Log()}, w.table)
		if err != nil || !accounts[0].OK || accounts[0].Landed != 160 {
			t.Fatalf("after change %d failed: %+v, %v", at, accounts, err)
		}
	}
}
