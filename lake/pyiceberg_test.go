package lake_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// pythonRead is what testsuite/pyiceberg/read.py prints.
type pythonRead struct {
	Rows, Distinct, Columns, Files int
	Hash                           string
}

// TestPyicebergAgrees reads a table with an independent implementation of Iceberg: an hour of data with
// duplicates, late rows and three versions of the schema, before and behind a compaction.
func TestPyicebergAgrees(t *testing.T) {
	python, err := filepath.Abs("../testsuite/pyiceberg/.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Skip("pyiceberg is not installed: .ci/run makes testsuite/pyiceberg/.venv (python3 -m venv, pip install -r " +
			"requirements.txt)")
	}
	dir := t.TempDir()
	oldTable(t, dir)
	w := openWorld(t, dir, nil)
	logs := []landing.Log{w.log(0), w.log(1)}
	for part := range 6 {
		a, b := window(part*600, "fan-a", 7, 21+part*600, 600), window(part*600, "fan-b", 8, 1+part*600, 600)
		for i := range 100 { // a reshard: both shards landed these
			b.Rows[i].Reading = a.Rows[i].Reading
		}
		for i := 100; i < 120; i++ {
			b.Rows[i].Kind, b.Rows[i].Time = fanwatch.RowLate, b.Rows[i].Time.Add(-30*time.Hour)
			b.Rows[i+20].Anomaly, b.Rows[i+20].Score = fanwatch.KindStall, math.Pi
		}
		w.append(t, 0, a)
		w.append(t, 1, b)
		if r := w.commit(t, logs...); r.Rows != 1100 || r.Duplicates != 100 {
			t.Fatalf("%+v", r)
		}
	}
	const rows = 20 + 6*1100
	compare := func(files int) {
		t.Helper()
		got := readByPython(t, python, dir)
		if got.Rows != rows || got.Distinct != rows || got.Columns != 23 || got.Files != files ||
			got.Hash != contentHash(t, w) {
			t.Fatalf("pyiceberg reads %+v, want %d rows in %d files, hash %s", got, rows, files, contentHash(t, w))
		}
	}
	compare(2 + 6*2)
	// pyiceberg rewrites the first of the two days, and files of the second as far as they touch the period.
	tables := openTables(t, w, nil)
	faults := func() []string { // there are some: the table holds readings of no log, and the logs some twice
		t.Helper()
		v, err := tables.Verify(t.Context(), logs, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.Faults
	}
	before, counts, wantFaults := len(dataFiles(t, w)), w.counts(t), faults()
	var rewritten struct{ Rows int }
	runPython(t, python, &rewritten, "rewrite.py", dir, "2026-02-27T00:00:00+00:00", "2026-03-01T00:30:00+00:00")
	if rewritten.Rows < 1500 || rewritten.Rows >= rows || len(dataFiles(t, w)) < before+2 {
		t.Fatalf("pyiceberg rewrote %d rows, %d files became %d", rewritten.Rows, before, len(dataFiles(t, w)))
	}
	compare(len(live(t, w)))
	wantCounts(t, w.counts(t), counts)
	if f := faults(); !slices.Equal(f, wantFaults) {
		t.Fatalf("verify finds %q, and before that %q", f, wantFaults)
	}
	if _, err := w.table.Compact(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
		t.Fatal(err)
	}
	compare(2)
	if got := readByPython(t, python, dir, "2026-03-01T00:30:00+00:00"); got.Rows < 100 || got.Rows >= rows {
		t.Errorf("a part of the table: %+v", got)
	}
}

func readByPython(t *testing.T, python, dir string, more ...string) (r pythonRead) {
	t.Helper()
	runPython(t, python, &r, "read.py", dir, more...)
	return r
}

// runPython runs a program of testsuite/pyiceberg on the table of readings and decodes what it prints.
func runPython(t *testing.T, python string, result any, program, dir string, more ...string) {
	t.Helper()
	cmd := exec.Command(python, append([]string{"../testsuite/pyiceberg/" + program, filepath.Join(dir, "catalog.db"),
		"fanwatch.readings"}, more...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, result)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", program, err, out, stderr.String())
	}
}

// contentHash is the hash that read.py describes.
func contentHash(t *testing.T, w world) string {
	t.Helper()
	sum := uint64(0)
	err := w.table.Each(t.Context(), time.Time{}, time.Time{}, nil, func(r fanwatch.Row) error {
		text := fmt.Sprintf("%s|%d|%d|%d|%016x|%016x|%s|%s|%t|%d|%s", r.Fan, r.Run, r.Seq, r.Time.UnixMicro(),
			math.Float64bits(r.RPM), math.Float64bits(r.Score), r.State,
			r.Anomaly, r.Kind == fanwatch.RowLate, r.Arrived.UnixMicro(), r.Position.Shard)
		h := sha256.Sum256([]byte(text))
		sum += binary.BigEndian.Uint64(h[:8])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(sum)
}
