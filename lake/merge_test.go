package lake

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestMergeAgainstSortAndMap holds the k-way merge against the dumb way: sort everything, remember every
// identity in a map.
func TestMergeAgainstSortAndMap(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var everything []stored
		var cursors []*cursor
		for range 1 + rng.IntN(12) {
			rows := make([]stored, rng.IntN(700))
			for i := range rows {
				rows[i] = anyStored(rng)
			}
			everything = append(everything, rows...)
			slices.SortFunc(rows, func(a, b stored) int { return a.compare(&b) })
			f := newDataFile(0)
			for i := range rows {
				if err := f.add(&rows[i]); err != nil {
					t.Fatal(err)
				}
			}
			data, err := f.finish()
			if err != nil {
				t.Fatal(err)
			}
			c, err := openCursor(data)
			if err != nil {
				t.Fatal(err)
			}
			cursors = append(cursors, c)
		}
		want, duplicates := dumbMerge(everything)
		hashes := maphash.MakeSeed()
		var got []stored
		var sum uint64
		stats, err := merge(cursors, func(s *stored) uint64 { return s.hash(hashes) }, func(s *stored) error {
			got = append(got, *s)
			sum += s.hash(hashes)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %d rows, want %d, or others", seed, len(got), len(want))
		}
		if stats.in != len(everything) || stats.out != len(want) || stats.duplicates != duplicates || stats.inHash-stats.dupHash != sum {
			t.Fatalf("seed %d: %+v, want %d in, %d out", seed, stats, len(everything), len(want))
		}
	}
}

// anyStored draws from few enough values that identities and times collide.
func anyStored(rng *rand.Rand) stored {
	return stored{Fan: fmt.Sprint("fan-", rng.IntN(5)), Time: rng.Int64N(50), Run: rng.Int64N(3), Seq: rng.Int64N(400), RPM: float64(rng.IntN(9)), State: "running",
		Anomaly: []string{"", "", "", "stall", "unusual"}[rng.IntN(5)], Late: rng.IntN(2) == 0, Arrived: rng.Int64(), Shard: fmt.Sprint(rng.IntN(2)), Score: rng.Float64()}
}

func dumbMerge(rows []stored) (out []stored, duplicates int) {
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b stored) int { return a.compare(&b) })
	seen := make(map[string]bool)
	for _, s := range sorted {
		id := fmt.Sprint(s.Fan, "/", s.Run, "/", s.Seq)
		if seen[id] {
			duplicates++
			continue
		}
		seen[id] = true
		out = append(out, s)
	}
	return out, duplicates
}

func TestDayOfARow(t *testing.T) {
	for micros, want := range map[int64]int32{0: 0, dayMicros - 1: 0, dayMicros: 1, -1: -1, -dayMicros: -1, -dayMicros - 1: -2} {
		if got := (&stored{Time: micros}).day(); got != want {
			t.Errorf("%d us is day %d, want %d", micros, got, want)
		}
	}
}

func TestHashSeesEveryColumn(t *testing.T) {
	seed := maphash.MakeSeed()
	base := stored{}
	v := reflect.ValueOf(&base).Elem()
	for i := range v.NumField() {
		other := base
		switch f := reflect.ValueOf(&other).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int64:
			f.SetInt(1)
		case reflect.Float64:
			f.SetFloat(1)
		case reflect.Bool:
			f.SetBool(true)
		default:
			t.Fatalf("column %s is of a kind that this test does not know", v.Type().Field(i).Name)
		}
		if other.hash(seed) == base.hash(seed) {
			t.Errorf("column %s does not count", v.Type().Field(i).Name)
		}
	}
	if tableColumns != v.NumField() || tableColumns != len(tableSchema().Fields()) {
		t.Error("tableColumns, stored and tableSchema disagree")
	}
}

func FuzzDataFile(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	file := newDataFile(0)
	for range 50 {
		s := anyStored(rng)
		if err := file.add(&s); err != nil {
			f.Fatal(err)
		}
	}
	data, err := file.finish()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for range 20 {
		bad := slices.Clone(data)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = make(runSets).addFile(data)
		if c, err := openCursorAt(data, "fan-2"); err == nil {
			for range 10_000 {
				if s, err := c.next(); s == nil || err != nil {
					break
				}
			}
		}
	})
}
