package cloud

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// localS3 starts the local S3 server as the local system does, and gives a configuration for it and its
// endpoint.
func localS3(t *testing.T) (aws.Config, string) {
	t.Helper()
	program, err := filepath.Abs("../bin/fanwatch-s3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/fanwatch-s3 is not built: go tool task build makes it")
	}
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "keys")
	if err := os.WriteFile(keyFile, []byte("localkey\nlocalsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--dir", filepath.Join(dir, "s3"), "--port", "0", "--access-key-file", keyFile)
	stdin, err := cmd.StdinPipe() // the server ends when its parent's end of the pipe closes
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	endpoint := "http://" + readyAddress(t, stdout)
	cfg, err := Config(t.Context(), Settings{Local: true, AccessKey: "localkey", SecretKey: "localsecret",
		Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, endpoint
}

// readyAddress waits for the line `ready {"addr":...}`.
func readyAddress(t *testing.T, out io.Reader) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if rest, ok := strings.CutPrefix(s.Text(), "ready "); ok {
				line <- rest
			}
		}
		close(line)
	}()
	select {
	case text := <-line:
		var ready struct {
			Addr string `json:"addr"`
		}
		if err := json.Unmarshal([]byte(text), &ready); err != nil || ready.Addr == "" {
			t.Fatalf("the S3 server says %q: %v", text, err)
		}
		return ready.Addr
	case <-time.After(30 * time.Second):
		t.Fatal("the S3 server did not become ready in 30 s")
	}
	return ""
}

func openBucket(t *testing.T, bucket string) (*S3, aws.Config, string) {
	t.Helper()
	cfg, endpoint := localS3(t)
	store := NewS3(cfg, endpoint, bucket)
	for range 2 { // making it twice is no trouble
		if err := store.CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return store, cfg, endpoint
}

func TestS3IsAStore(t *testing.T) {
	store, _, _ := openBucket(t, "lake")
	ctx := t.Context()
	if _, err := store.Get(ctx, "a/none"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("get of nothing: %v", err)
	}
	keys := []string{"a-b/x", "a/b=2/z", "a/c/d", "a/c/e", "b"}
	for _, key := range keys {
		if err := store.Put(ctx, key, []byte(key), true); err != nil {
			t.Fatal(err)
		}
	}
	if got := listKeys(t, store, "", ""); !slices.Equal(got, keys) {
		t.Fatalf("listed %v, want %v", got, keys)
	}
	if got := listKeys(t, store, "a/", "a/b=2/z"); !slices.Equal(got, []string{"a/c/d", "a/c/e"}) {
		t.Fatalf("listed %v behind a/b=2/z", got)
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
	for range 2 {
		if err := store.Delete(ctx, "b"); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(ctx, "../a", nil, false); err == nil {
		t.Error("key ../a was accepted")
	}
	ranges(t, store)
	racePuts(t, store)
}

func ranges(t *testing.T, store *S3) {
	data := []byte("0123456789")
	if err := store.PutFrom(t.Context(), "ranges", bytes.NewReader(data), int64(len(data)), true); err != nil {
		t.Fatal(err)
	}
	if err := store.PutFrom(t.Context(), "ranges", bytes.NewReader(data), int64(len(data)), true); !errors.Is(err,
		objstore.ErrExists) {
		t.Fatalf("put on a taken key: %v", err)
	}
	for _, r := range [][2]int64{{0, 10}, {3, 4}, {9, 1}, {10, 0}} {
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
}

// racePuts wants exactly one winner of every race. A loser may also be told of a conflict (409), and then
// tries again.
func racePuts(t *testing.T, store *S3) {
	for round := range 10 {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		results := make([]error, 8)
		for i := range results {
			wg.Go(func() {
				for {
					results[i] = store.Put(t.Context(), key, bytes.Repeat([]byte{byte(i)}, 10_000), true)
					if results[i] == nil || errors.Is(results[i], objstore.ErrExists) || t.Context().Err() != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		data, err := store.Get(t.Context(), key)
		if err != nil || len(data) != 10_000 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for i, err := range results {
			if won := data[0] == byte(i); won != (err == nil) {
				t.Fatalf("writer %d won: %v, got %v", i, won, err)
			}
		}
	}
}

func listKeys(t *testing.T, store *S3, prefix, after string) []string {
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

// TestLandingLogAndTableHoldOnS3 takes the way of the lake on the real server: landing log, table, compaction, account.
func TestLandingLogAndTableHoldOnS3(t *testing.T) {
	store, cfg, endpoint := openBucket(t, "lake")
	files, err := IcebergFiles(t.Context(), cfg, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	cat, closeCatalog, err := lake.OpenSQLite(filepath.Join(t.TempDir(), "catalog.db"), files)
	if err != nil {
		t.Fatal(err)
	}
	defer closeCatalog()
	table, err := lake.OpenTable(t.Context(), lake.TableConfig{Catalog: cat, Store: store, Location: "s3://lake"})
	if err != nil {
		t.Fatal(err)
	}
	logs := []landing.Log{{Store: store, Stream: "readings", Shard: "shardId-000000000000"}}
	for i := range 4 {
		if err := logs[0].Append(t.Context(), oneReading(i)); err != nil {
			t.Fatal(err)
		}
		if r, err := table.Commit(t.Context(), logs); err != nil || r.Rows != 1 {
			t.Fatalf("committed %+v, %v", r, err)
		}
	}
	if r, err := table.Compact(t.Context(), lake.CompactConfig{MinFiles: 2}); err != nil || r.FilesIn != 4 ||
		r.RowsOut != 4 {
		t.Fatalf("compacted %+v, %v", r, err)
	}
	if points, err := table.Query(t.Context(), oneReading(0).Rows[0].Fan, time.Unix(0, 0), time.Now().Add(24*time.Hour),
		1); err != nil || len(points) != 1 || points[0].Count != 4 {
		t.Fatalf("asked for %+v, %v", points, err)
	}
	if err := table.ExpireSnapshots(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	if n := len(listKeys(t, store, "tables/fanwatch/readings/data/", "")); n != 1 {
		t.Errorf("%d data files are left", n)
	}
	if _, err := table.RemoveOrphans(t.Context(), -time.Hour); err != nil {
		t.Fatal(err)
	}
	accounts, err := lake.Reconcile(t.Context(), logs, table)
	if err != nil || len(accounts) != 1 || !accounts[0].OK || accounts[0].Table != 4 {
		t.Fatalf("accounts %+v, %v", accounts, err)
	}
}

func oneReading(i int) landing.Segment {
	at := time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC)
	number := func(n int) fanwatch.SequenceNumber { return fanwatch.SequenceNumber(fmt.Sprint(n)) }
	return landing.Segment{
		Header: landing.Header{After: number(i), Last: number(i + 1), Writer: landing.Token{Scheduled: 1, Attempt: 1,
			Run: "r"}},
		Rows: []fanwatch.Row{{Kind: fanwatch.RowScored, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-1",
			Run: 7, Seq: uint64(i + 1)}, Time: at, RPM: 1800, State: fanwatch.StateRunning},
			Position: fanwatch.Position{Sequence: number(i + 1)}, Arrived: at, Client: "fan-1"}},
	}
}

// TestAnArchivedObjectIsAnErrorOfItsOwn: S3 answers 403 InvalidObjectState for an object in Glacier.
func TestAnArchivedObjectIsAnErrorOfItsOwn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidObjectState</Code>
			<Message>The operation is not valid for the object's storage class</Message>
			<StorageClass>GLACIER</StorageClass></Error>`)
	}))
	defer server.Close()
	cfg, err := Config(t.Context(), Settings{Local: true, AccessKey: "a", SecretKey: "b", Endpoints: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	store := NewS3(cfg, server.URL, "b")
	if _, err := store.GetRange(t.Context(), "2019/x", 0, 10); !errors.Is(err, objstore.ErrArchived) ||
		!strings.Contains(err.Error(), "s3://b/2019/x") {
		t.Error(err)
	}
	if _, err := store.Get(t.Context(), "2019/x"); !errors.Is(err, objstore.ErrArchived) {
		t.Error(err)
	}
}
