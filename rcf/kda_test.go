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

// recording is a series with what RANDOM_CUT_FOREST(cursor, 100, 256, 100000, 1) of Kinesis Data Analytics gave for it.
type recording struct {
	name           string
	values, scores []float64
	labelled       []bool // within a labelled window of the Numenta Anomaly Benchmark
}

// recordings reads the recorded series. They are not part of the project.
func recordings(t *testing.T) (all []recording) {
	t.Helper()
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
	for _, file := range files {
		all = append(all, readRecording(t, file))
	}
	return all
}

func readRecording(t *testing.T, file string) recording {
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
	r := recording{name: strings.TrimSuffix(filepath.Base(file), ".csv")}
	for _, row := range rows[1:] {
		r.values = append(r.values, number(row, "value"))
		r.scores = append(r.scores, number(row, "kda_score"))
		r.labelled = append(r.labelled, number(row, "labelled") == 1)
	}
	return r
}

// TestParityWithKDA compares the scores of the preset with the recorded ones, by rank and linear correlation.
func TestParityWithKDA(t *testing.T) {
	all := recordings(t)
	for seed := range uint64(3) {
		var rank, linear []float64
		for _, r := range all {
			k := newKDA(t, KDAConfig{Seed: seed})
			scores := make([]float64, len(r.values))
			for i, v := range r.values {
				scores[i] = kinesisScore(t, k, v)
			}
			if slices.Max(scores[:256]) != 0 || slices.Min(scores[256:]) == 0 {
				t.Errorf("%s: scores before row 256, or zeros after", r.name)
			}
			if slices.Min(r.values) == slices.Max(r.values) { // a constant series has no ranks to compare
				if difference := scores[256] - r.scores[256]; math.Abs(difference) > 1e-6 || scores[256] != slices.Max(scores) {
					t.Errorf("%s: %v, recorded %v", r.name, scores[256], r.scores[256])
				}
				continue
			}
			s, p := correlation(ranks(scores[256:]), ranks(r.scores[256:])), correlation(scores[256:], r.scores[256:])
			t.Logf("%-45s Spearman %.3f  Pearson %.3f", r.name, s, p)
			rank, linear = append(rank, s), append(linear, p)
		}
		slices.Sort(rank)
		slices.Sort(linear)
		s, p := rank[len(rank)/2], linear[len(linear)/2]
		t.Logf("seed %d, median over %d series: Spearman %.3f  Pearson %.3f", seed, len(rank), s, p)
		if s < 0.92 || p < 0.98 {
			t.Errorf("seed %d: median Spearman %.3f and Pearson %.3f, want at least 0.92 and 0.98", seed, s, p)
		}
	}
}

func newKDA(t testing.TB, c KDAConfig) *KDA {
	t.Helper()
	k, err := NewKDA(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func kinesisScore(t testing.TB, k *KDA, point ...float64) float64 {
	t.Helper()
	score, err := k.Process(point)
	if err != nil {
		t.Fatal(err)
	}
	return score
}

// What the recordings show exactly: a constant stream, and one of two values in which the first 256 rows, all of
// them in every tree, hold 250 of the one and 6 of the other.
func TestKDAScoresOfDuplicatesAreTheRecorded(t *testing.T) {
	constant, two := newKDA(t, KDAConfig{}), newKDA(t, KDAConfig{})
	for i := range 257 {
		want := 0.0
		if i == 256 {
			want = 8. / 257
		}
		if got := kinesisScore(t, constant, 45); math.Abs(got-want) > 1e-12 {
			t.Fatalf("constant, row %d: %v, want %v", i, got, want)
		}
		if i < 256 {
			kinesisScore(t, two, float64(20*b2i(i < 6)))
		}
	}
	for value, count := range map[float64]float64{0: 250, 20: 6} {
		var same KDA
		if err := same.UnmarshalBinary(kinesisBytes(t, two)); err != nil {
			t.Fatal(err)
		}
		if got, want := kinesisScore(t, &same, value), 8/(1+math.Log2(count)); math.Abs(got-want) > 1e-9 {
			t.Errorf("value %v, sampled %v times: %v, want %v", value, count, got, want)
		}
	}
	if got := kinesisScore(t, two, 1e9); math.Abs(got-8) > 0.01 {
		t.Errorf("far outside: %v, want about log2(256)", got)
	}
}

func TestKDARefusesValuesOutOfRange(t *testing.T) {
	most := int64(math.MaxInt32)
	for want, c := range map[string]KDAConfig{
		"":                            {},
		"NumberOfTrees is 1001, give": {NumberOfTrees: 1001},
		"NumberOfTrees is -1, give":   {NumberOfTrees: -1},
		"SubSampleSize is 9, give 10": {SubSampleSize: 9},
		"SubSampleSize is 1001":       {SubSampleSize: 1001},
		"TimeDecay is -1, give 1 to":  {TimeDecay: -1},
		"ShingleSize is 31, give 1":   {ShingleSize: 31},
		"Dimensions is -5":            {Dimensions: -5},
		// Beyond what an int has where that is 32 bits, it comes out negative and is refused all the same.
		"TimeDecay is ": {TimeDecay: int(most + 1)},
	} {
		_, err := NewKDA(c)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	for _, c := range []KDAConfig{{NumberOfTrees: 1, SubSampleSize: 10, TimeDecay: 1, ShingleSize: 30},
		{NumberOfTrees: 1000, SubSampleSize: 1000, TimeDecay: math.MaxInt32}} {
		k := newKDA(t, c)
		for i := range 40 {
			kinesisScore(t, k, float64(i%9))
		}
	}
}

// The columns' parts add up to the score that Process gives, and point the right way.
func TestKDAExplanationsAddUpToTheScore(t *testing.T) {
	for _, shingle := range []int{1, 3} {
		explained, plain := newKDA(t, KDAConfig{Dimensions: 2, NumberOfTrees: 20, ShingleSize: shingle}),
			newKDA(t, KDAConfig{Dimensions: 2, NumberOfTrees: 20, ShingleSize: shingle})
		random := splitMix(4)
		for i := range 600 {
			point := []float64{random.exponential(), float64(i % 5)}
			if i == 599 {
				point = []float64{-300, 2}
			}
			want := kinesisScore(t, plain, point...)
			score, columns, err := explained.Explain(point)
			if err != nil || score != want || len(columns) != 2 {
				t.Fatalf("row %d: %v, %v, %v, want score %v of 2 columns", i, score, columns, err, want)
			}
			if sum := columns[0].Attribution + columns[1].Attribution; math.Abs(sum-score) > 1e-9 {
				t.Fatalf("row %d: parts add up to %v, score %v", i, sum, score)
			}
			for _, c := range columns {
				if c.Strength < 0 || c.Strength > c.Attribution {
					t.Fatalf("row %d: %+v", i, c)
				}
			}
			if i == 599 && (columns[0].High || columns[0].Strength < 4 || columns[1].Attribution > 1) {
				t.Errorf("-300 where 0 to 5 is usual: %+v", columns)
			}
		}
		if _, _, err := explained.Explain([]float64{1}); !errors.Is(err, ErrPoint) {
			t.Errorf("a point of one value: %v", err)
		}
	}
}

func kinesisBytes(t testing.TB, k *KDA) []byte {
	t.Helper()
	data, err := k.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKDAResumes(t *testing.T) {
	original := newKDA(t, KDAConfig{NumberOfTrees: 3, SubSampleSize: 20, ShingleSize: 2})
	for i := range 100 {
		var restored KDA
		if err := restored.UnmarshalBinary(kinesisBytes(t, original)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, want := kinesisScore(t, &restored, float64(i*i%7)), kinesisScore(t, original, float64(i*i%7)); got != want {
				t.Fatalf("row %d: %v, want %v", i, got, want)
			}
		}
	}
	forest := snapshotOf(t, newForest(t, Config{}))
	before := kinesisBytes(t, original)
	for name, data := range map[string][]byte{"nothing": nil, "a forest": forest,
		"another forest": append([]byte(kdaMagic), forest...), "half": before[:len(before)/2]} {
		if err := original.UnmarshalBinary(data); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.Equal(before, kinesisBytes(t, original)) {
		t.Error("a refused snapshot changed it")
	}
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
