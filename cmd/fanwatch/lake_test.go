package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/parquet-go/parquet-go"

	"fanwatch"
	"fanwatch/cloud/awscatalog"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/workers"
)

var start = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)

func rows(n int, rng *rand.Rand) (all []fanwatch.Row) {
	at := start
	for i := range n {
		r := fanwatch.Row{Kind: fanwatch.RowScored, Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-1",
			Run: 7, Seq: uint64(i + 1)}, Time: at, RPM: 1800 + 10*rng.NormFloat64(), State: fanwatch.StateRunning},
			Position: fanwatch.Position{Shard: "s"}, Arrived: at.Add(time.Second), Score: rng.Float64()}
		if i%7 == 3 {
			r.Anomaly = fanwatch.KindStall
		}
		all = append(all, r)
		at = at.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
	}
	return all
}

func seq(all []fanwatch.Row) iter.Seq2[fanwatch.Row, error] {
	return func(yield func(fanwatch.Row, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestEveryReading(t *testing.T) {
	all := rows(100, rand.New(rand.NewPCG(1, 2)))
	got, err := everyReading(seq(all))
	if err != nil || len(got) != len(all) {
		t.Fatalf("%d of %d readings, %v", len(got), len(all), err)
	}
	for i, r := range all {
		if want := (bucket{r.Time, 1, r.RPM, r.RPM, r.RPM, r.Score, string(r.Anomaly)}); got[i] != want {
			t.Fatalf("reading %d is %+v, want %+v", i, got[i], want)
		}
	}
}

func TestExport(t *testing.T) {
	all := rows(5000, rand.New(rand.NewPCG(1, 2)))
	each := func(add func(exported) error) error {
		for _, r := range all {
			if err := add(toExported(r)); err != nil {
				return err
			}
		}
		return nil
	}
	var buf bytes.Buffer
	if err := exportRows(&buf, "csv", each); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&buf).ReadAll()
	if err != nil || len(records) != 5001 || records[0][0] != "time" || records[1][0] != "2026-05-28T20:00:00.000000Z" ||
		records[1][9] != "" || records[4][9] != "stall" || records[1][10] != "false" {
		t.Fatalf("%d records, %v ...; %v", len(records), records[:5], err)
	}
	buf.Reset()
	if err := exportRows(&buf, "ndjson", each); err != nil {
		t.Fatal(err)
	}
	dec, n := json.NewDecoder(&buf), 0
	for ; ; n++ {
		var o map[string]any
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if _, anomalous := o["anomaly"]; o["rpm"] != all[n].RPM || o["seq"] != float64(n+1) || anomalous != (n%7 == 3) {
			t.Fatalf("line %d: %v", n, o)
		}
	}
	buf.Reset()
	if err := exportRows(&buf, "parquet", each); err != nil {
		t.Fatal(err)
	}
	back, err := parquet.Read[exported](bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil || n != 5000 || len(back) != 5000 || back[4999] != toExported(all[4999]) {
		t.Fatalf("%d lines, %d rows, %v", n, len(back), err)
	}
	if err := exportRows(&buf, "xls", each); !errors.Is(err, errUsage) {
		t.Errorf("xls: %v", err)
	}
}

func TestPeriod(t *testing.T) {
	now := start
	from, to, err := period{"24h", "2026-05-28T19:00"}.times(now)
	if err != nil || !from.Equal(now.Add(-24*time.Hour)) || !to.Equal(now.Add(-time.Hour)) {
		t.Errorf("%v to %v, %v", from, to, err)
	}
	if from, to, err = (period{"2026-05-01", ""}).times(now); err != nil ||
		!from.Equal(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) || !to.IsZero() {
		t.Errorf("%v to %v, %v", from, to, err)
	}
	for _, bad := range []period{{"yesterday", ""}, {"", "soon"}, {"1h", "2h"}} {
		if _, _, err := bad.times(now); !errors.Is(err, errUsage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 128 << 20: "128.0 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestToFile(t *testing.T) {
	dir := t.TempDir()
	write := func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }
	path := filepath.Join(dir, "x.csv")
	if err := toFile(path, io.Discard, write); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if err := toFile(dir, io.Discard, write); !errors.Is(err, errUsage) || err.Error() != "--out "+dir+
		" is a folder, name a file in it (see --help)" {
		t.Error(err)
	}
	missing := filepath.Join(dir, "no", "x.csv")
	if err := toFile(missing, io.Discard, write); !errors.Is(err, os.ErrNotExist) ||
		!strings.HasPrefix(err.Error(), "--out: open "+missing+": ") ||
		!strings.HasSuffix(err.Error(), ", name a file in a folder that is there and can be written") {
		t.Error(err)
	}
	fail := func(io.Writer) error {
		return &os.PathError{Op: "write", Path: filepath.Join(dir, hidden+"1"), Err: syscall.ENOSPC}
	}
	if err := toFile(path, io.Discard, fail); err == nil || err.Error() != "write "+path+": "+syscall.ENOSPC.Error() {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v: an incomplete file is left, or the complete one is not", left, err)
	}
}

// TestExportSaysWhatWasExpected, and nothing of what is not known: level 0 and a duty cycle of 0 are known.
func TestExportSaysWhatWasExpected(t *testing.T) {
	all := rows(3, rand.New(rand.NewPCG(1, 2)))
	all[1].Judged = fanwatch.Judged{Expected: 1800.3, Low: 1773.3, High: 1827.3, Verdict: "normal"}
	all[1].PWM = fanwatch.NewDuty(0)
	all[2].Judged = fanwatch.Judged{Level: -1, Verdict: "away"}
	var buf bytes.Buffer
	err := exportRows(&buf, "csv", func(add func(exported) error) error {
		for _, r := range all {
			if err := add(toExported(r)); err != nil {
				return err
			}
		}
		return nil
	})
	records, bad := csv.NewReader(&buf).ReadAll()
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	for i, want := range []string{"expected,low,high,level,verdict,pwm", ",,,,,", "1800.3,1773.3,1827.3,0,normal,0",
		",,,,away,"} {
		if got := strings.Join(records[i][17:], ","); got != want {
			t.Errorf("line %d: %s, want %s", i, got, want)
		}
	}
}

func TestExportJSON(t *testing.T) {
	refuses(t, "lake export --json", "--json is not for export, give --format ndjson (see --help)")
}

// A lake is a server's: here one that has no buckets but the lake's own, which is empty.
func TestIngestWithoutBucket(t *testing.T) {
	s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lake" || r.URL.Path == "/lake/" {
			fmt.Fprint(w,
				`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+
					`<IsTruncated>false</IsTruncated></ListBucketResult>`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		code := "NoSuchBucket"
		if strings.HasPrefix(r.URL.Path, "/lake/") {
			code = "NoSuchKey"
		}
		fmt.Fprintf(w, `<Error><Code>%s</Code></Error>`, code)
	}))
	defer s3.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"keys": "a\nb\n",
		"endpoints.json": fmt.Sprintf(
			`{"v": 1, "s3": %q, "keys": %q, "region": "us-east-1", "bucket": "lake", "stream": "s"}`, s3.URL,
			filepath.Join(dir, "keys"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := inProcess(t, "lake", "ingest", "x/", "--from-bucket", "nobucket", "--dir", dir)
	if !errors.Is(err, errUsage) ||
		err.Error() != `there is no bucket "nobucket": name the delivery stream's with --from-bucket (see --help)` {
		t.Error(err)
	}
}

// TestIngestNamesWhatIsNotLanded, fit for a line, and exits with 1 for it.
func TestIngestNamesWhatIsNotLanded(t *testing.T) {
	r := ingest.Result{Objects: 3, Readings: 300, PassedOver: 7, Passed: []ingest.PassedOver{{Key: "firehose/\x1b[2Jx.zip",
		Why: "it is a ZIP archive"}, {Key: "firehose/y", Why: "it is damaged"}}}
	var out bytes.Buffer
	err := (&app{}).printIngested(&out, r)
	if want := "3 objects: 300 readings landed, 0 passed over because they were there, 0 values refused\nNOT " +
		"LANDED: \"firehose/\\x1b[2Jx.zip\": it is a ZIP archive\nNOT LANDED: \"firehose/y\": it is damaged\nNOT " +
		"LANDED: 5 more\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if err == nil || errors.Is(err, errUsage) || !strings.HasPrefix(err.Error(), "7 objects not landed: ") {
		t.Error(err)
	}
	out.Reset()
	if err := (&app{json: true}).printIngested(&out, r); err == nil ||
		!strings.Contains(out.String(), `"passed_over": 7`) && !strings.Contains(out.String(), `"passed_over":7`) {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := (&app{}).printIngested(&out, ingest.Result{Objects: 1}); err != nil {
		t.Error(err)
	}
}

// Programs that read JSON want a list where there is nothing, and people want one segment, not 1 segments.
func TestEmptyVerdict(t *testing.T) {
	var out bytes.Buffer
	if err := (&app{json: true}).printVerdict(&out, lake.VerifyReport{OK: true}); err != nil ||
		strings.Contains(out.String(), "null") {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	if err := printState(&out, lakeState{Lags: []lake.Lag{{Shard: "s", Rows: 57, Segments: 1}}}); err != nil ||
		!strings.Contains(out.String(), "57 readings in 1 segment ") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestLakeStatusSaysWhereAReaderFindsTheTables holds what the status says of the catalog against the configuration.
func TestLakeStatusSaysWhereAReaderFindsTheTables(t *testing.T) {
	for want, place := range map[string]catalogPlace{
		"catalog fanwatch: sqlite /lake/catalog.db": placeOf(workers.Config{
			Catalog: workers.Catalog{SQLite: "/lake/catalog.db"}}, awscatalog.Settings{Kind: "glue"}),
		"catalog fanwatch: glue eu-central-1": placeOf(workers.Config{AWS: aws.Config{Region: "eu-central-1"}},
			awscatalog.Settings{Kind: "glue"}),
		"catalog fanwatch: rest https://u:xxxxx@rest.example/iceberg warehouse w": placeOf(workers.Config{},
			awscatalog.Settings{Kind: "rest", URI: "https://u:secret@rest.example/iceberg", Warehouse: "w"}),
	} {
		s := lakeState{Catalog: place, Tables: []lake.Status{{Table: "fanwatch.readings", Metadata: "s3://b/m.json"}}}
		var out strings.Builder
		if err := printPlaces(&out, s); err != nil || out.String() != "\n"+want+
			"\nmetadata of fanwatch.readings: s3://b/m.json\n" {
			t.Errorf("%v, %q, want %q", err, out.String(), want)
		}
	}
}
