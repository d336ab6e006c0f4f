//go:build unix

package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/testsuite/readings"
)

// The child process's orders: what to do, and with which directory.
const (
	orderEnv = "FANWATCH_BENCH_ORDER"
	dirEnv   = "FANWATCH_BENCH_DIR"
)

// TestMain lets the test binary be its own child process, so that the operating system measures both engines alike.
func TestMain(m *testing.M) {
	if order := os.Getenv(orderEnv); order != "" {
		if err := obey(order, os.Getenv(dirEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func obey(order, dir string) error {
	ctx := context.Background()
	if order == "lake" {
		w, err := open(ctx, dir)
		if err != nil {
			return err
		}
		before, err := ownCPU()
		if err != nil {
			return err
		}
		if _, err := w.table.Compact(ctx, lake.CompactConfig{MinFiles: 1}); err != nil {
			return err
		}
		after, err := ownCPU()
		fmt.Println((after - before).Seconds())
		return err
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	files, err := os.ReadFile(filepath.Join(dir, "files"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "COPY (SELECT DISTINCT * FROM read_parquet(['"+strings.Join(strings.Fields(string(files)),
		"','")+"']) ORDER BY fan_id, time) TO '"+
		filepath.Join(dir, "duckdb.parquet")+"' (FORMAT parquet, COMPRESSION zstd)")
	return err
}

// ownCPU is what this process has spent, in user and system mode.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// spent is what a child process took.
type spent struct {
	cpu, rss float64 // seconds, MB
	compact  float64 // seconds; 0 for DuckDB: of cpu, what lake.Table.Compact took; the rest is the process's start
}

func child(b *testing.B, order, dir string) spent {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orderEnv+"="+order, dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", order, err, out)
	}
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	s := spent{cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
		rss: float64(u.Maxrss) * maxrssUnit() / 1e6}
	if order == "lake" {
		if s.compact, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// maxrssUnit is the unit of Rusage.Maxrss in bytes: kilobytes, but on Apple's systems bytes.
func maxrssUnit() float64 {
	if runtime.GOOS == "darwin" {
		return 1
	}
	return 1024
}

func BenchmarkLake(b *testing.B) { b.Run("Compaction", benchmarkCompaction) }

// benchmarkCompaction has the lake compact 1,000 files of 5,040 rows, and DuckDB do what it can of the same: drop
// equal rows, sort, write with zstd. It neither swaps files in a table nor reads back what it wrote. The ratios are
// of whole processes; rows per second of processor time are of Compact, since a worker starts once and compacts
// often. Each figure is the median of the runs.
func benchmarkCompaction(b *testing.B) {
	const fans, files = 84, 1000
	dir := b.TempDir()
	w := mustOpen(b, dir)
	fleet, err := readings.New(fans, files*60, start.Truncate(24*60*60*1e9), 1)
	if err != nil {
		b.Fatal(err)
	}
	l := &lander{w: w, at: make(map[string]int)}
	l.landMinutes(b, fleet, 0, files)
	paths := w.files(b)
	if len(paths) != files {
		b.Fatalf("%d files", len(paths))
	}
	if err := os.WriteFile(filepath.Join(dir, "files"), []byte(strings.Join(paths, "\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := w.close(); err != nil {
		b.Fatal(err)
	}
	uncompacted, err := os.ReadFile(filepath.Join(dir, "catalog.db"))
	if err != nil {
		b.Fatal(err)
	}
	measured := make(map[string][]float64)
	for b.Loop() {
		theirs := child(b, "duckdb", dir)
		ours := child(b, "lake", dir)
		after := mustOpen(b, dir)
		merged := after.files(b)
		if err := after.close(); err != nil {
			b.Fatal(err)
		}
		if len(merged) != 1 {
			b.Fatalf("%d files are left", len(merged))
		}
		for unit, value := range map[string]float64{
			"cpu_ratio_duckdb-x": ours.cpu / theirs.cpu, "rss_ratio_duckdb-x": ours.rss / theirs.rss,
			"size_ratio_duckdb-x":   size(b, merged[0]) / size(b, filepath.Join(dir, "duckdb.parquet")),
			"rows_per_cpu_s-rows/s": fans * 60 * files / ours.compact, "cpu-s": ours.cpu, "rss-MB": ours.rss,
			"duckdb_cpu-s": theirs.cpu, "duckdb_rss-MB": theirs.rss,
		} {
			measured[unit] = append(measured[unit], value)
		}
		// as if nothing had been done
		if err := os.WriteFile(filepath.Join(dir, "catalog.db"), uncompacted, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for unit, values := range measured {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(0, "ns/op")
}

func size(b *testing.B, path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size())
}
