package main

import (
	"strings"
	"testing"
)

func TestFigures(t *testing.T) {
	const in = `goos: linux
pkg: fanwatch/rcf
BenchmarkScoreUpdate/d1/k1-2   	1000	 9000 ns/op	 16 B/op	 2 allocs/op
BenchmarkScoreUpdate/d1/k1-2   	1000	 7000 ns/op	 16 B/op	 2 allocs/op
BenchmarkHeap/compact-2        	1	 370.5 KB
PASS
pkg: fanwatch/testsuite
some log line
BenchmarkPath-2   	1	 12.5 p50-ms	 800 readings-per_s
ok  	fanwatch/testsuite	8.1s
pkg: fanwatch/cmd/fanwatch-edge
BenchmarkRun-2   	1	 8716288 edge.rss-B
pkg: fanwatch/testsuite/duckdb
BenchmarkLake/Compaction-2   	1	 0.2 cpu_ratio_duckdb-x
`
	var out strings.Builder
	if err := run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(out.String(), "\n\n")
	const want = `figure rcf.score_update.d1.k1 8000 ns
figure rcf.score_update.d1.k1.bytes 16 B
figure rcf.score_update.d1.k1.allocs 2 allocs
figure rcf.heap.compact 370.5 KB
figure path.p50 12.5 ms
figure path.readings 800 per_s
figure edge.rss 8.71629e+06 B
figure lake.compaction.cpu_ratio_duckdb 0.2 x
`
	if lines != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	if run(strings.NewReader("PASS\n"), &out) == nil {
		t.Error("no benchmark, and no error")
	}
}
