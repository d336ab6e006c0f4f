package rcf

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestParityWithKinesis compares scores with those that RANDOM_CUT_FOREST(cursor, 100, 256, 100000, 1) of Kinesis
// Data Analytics gave for the same series, by rank correlation. The recordings are not part of the project.
func TestParityWithKinesis(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	dir := os.Getenv("FANWATCH_KDA_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data", "kda-rcf")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if _, missing := os.Stat(dir); errors.Is(missing, fs.ErrNotExist) || err != nil || len(files) == 0 {
		t.Skipf("skipped: no recorded scores in %s; FANWATCH_KDA_DATA may name their folder", dir)
	}
	var rank, linear []float64
	for _, file := range files {
		values, recorded := readSeries(t, file)
		f := newForest(t, Config{Trees: 100, SampleSize: 256, TimeDecay: 1. / 100_000, OutputAfter: 256, Seed: 1})
		scores := make([]float64, len(values))
		for i, v := range values {
			scores[i] = process(t, f, []float64{v})
		}
		if slices.Max(scores[:256]) != 0 {
			t.Errorf("%s: scores before row 256", file)
		}
		if slices.Min(values) == slices.Max(values) {
			continue // a constant series has no ranks to compare
		}
		s, p := correlation(ranks(scores[256:]), ranks(recorded[256:])), correlation(scores[256:], recorded[256:])
		t.Logf("%-45s Spearman %.3f  Pearson %.3f", strings.TrimSuffix(filepath.Base(file), ".csv"), s, p)
		rank, linear = append(rank, s), append(linear, p)
	}
	slices.Sort(rank)
	slices.Sort(linear)
	median := rank[len(rank)/2]
	t.Logf("median over %d series: Spearman %.3f  Pearson %.3f", len(rank), median, linear[len(linear)/2])
	if median < 0.85 {
		t.Errorf("median Spearman %.3f, want at least 0.85", median)
	}
}

// readSeries reads the columns value and kda_score.
func readSeries(t *testing.T, file string) (values, recorded []float64) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	number := func(row []string, name string) float64 {
		v, err := strconv.ParseFloat(row[slices.Index(rows[0], name)], 64)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return v
	}
	for _, row := range rows[1:] {
		values = append(values, number(row, "value"))
		recorded = append(recorded, number(row, "kda_score"))
	}
	return values, recorded
}

// ranks gives each value its rank, equal ones their mean rank.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return int(math.Copysign(1, values[a]-values[b])) * b2i(values[a] != values[b])
	})
	out := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, at := range order[i:j] {
			out[at] = float64(i+j-1) / 2
		}
		i = j
	}
	return out
}

// correlation is Pearson's.
func correlation(a, b []float64) float64 {
	n := float64(len(a))
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		sa, sb = sa+a[i], sb+b[i]
	}
	for i := range a {
		x, y := a[i]-sa/n, b[i]-sb/n
		saa, sbb, sab = saa+x*x, sbb+y*y, sab+x*y
	}
	return sab / math.Sqrt(saa*sbb)
}
