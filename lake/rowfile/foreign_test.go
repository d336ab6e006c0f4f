package rowfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// loose is a row as another program may write it: every column optional, in another order, without encodings of
// its own.
type loose struct {
	PWM      *float64 `parquet:"pwm,id(23),optional"`
	Verdict  *string  `parquet:"verdict,id(22),optional"`
	Level    *int64   `parquet:"level,id(21),optional"`
	High     *float64 `parquet:"high,id(20),optional"`
	Low      *float64 `parquet:"low,id(19),optional"`
	Expected *float64 `parquet:"expected,id(18),optional"`

	Shard   *string  `parquet:"shard,id(17),optional"`
	Arrived *int64   `parquet:"arrived,id(16),optional,timestamp(microsecond)"`
	Unsynch *bool    `parquet:"unsynch,id(15),optional"`
	Lost    *int64   `parquet:"lost,id(14),optional"`
	Glitch  *int64   `parquet:"glitch,id(13),optional"`
	Edges   *int64   `parquet:"edges,id(12),optional"`
	Late    *bool    `parquet:"late,id(11),optional"`
	Anomaly *string  `parquet:"anomaly,id(10),optional"`
	State   *string  `parquet:"state,id(9),optional"`
	Score   *float64 `parquet:"score,id(8),optional"`
	Jitter  *float64 `parquet:"jitter,id(7),optional"`
	Hz      *float64 `parquet:"hz,id(6),optional"`
	RPM     *float64 `parquet:"rpm,id(5),optional"`
	Seq     *int64   `parquet:"seq,id(4),optional"`
	Run     *int64   `parquet:"run,id(3),optional"`
	Fan     *string  `parquet:"fan_id,id(2),optional"`
	Time    *int64   `parquet:"time,id(1),optional,timestamp(microsecond)"`
}

// named is the same without field IDs and with columns required, as a file that was added to a table by name.
type named struct {
	Fan     string  `parquet:"fan_id"`
	Time    int64   `parquet:"time,timestamp(microsecond)"`
	Run     int64   `parquet:"run"`
	Seq     int64   `parquet:"seq"`
	RPM     float64 `parquet:"rpm,split"`
	Hz      float64 `parquet:"hz"`
	Jitter  float64 `parquet:"jitter"`
	Score   float64 `parquet:"score"`
	State   string  `parquet:"state,delta"`
	Anomaly *string `parquet:"anomaly,optional"`
	Late    bool    `parquet:"late"`
	Edges   int64   `parquet:"edges,delta"`
	Glitch  int64   `parquet:"glitch"`
	Lost    int64   `parquet:"lost"`
	Unsynch bool    `parquet:"unsynch"`
	Arrived int64   `parquet:"arrived,timestamp(microsecond)"`
	Shard   string  `parquet:"shard,delta"`

	Expected *float64 `parquet:"expected,optional"`
	Low      *float64 `parquet:"low,optional"`
	High     float64  `parquet:"high"`
	Level    *int64   `parquet:"level,optional"`
	Verdict  string   `parquet:"verdict"`
	PWM      *float64 `parquet:"pwm,optional"`
}

// orNull returns nil for the zero value one time in two.
func orNull[T comparable](rng *rand.Rand, v T) *T {
	var zero T
	if v == zero && rng.IntN(2) == 0 {
		return nil
	}
	return &v
}

func toLoose(rng *rand.Rand, s Row) loose {
	return loose{unless(s.PWM, -1), orNull(rng, s.Verdict), unless(s.Level, -1), orNull(rng, s.High),
		orNull(rng, s.Low), orNull(rng, s.Expected), orNull(rng, s.Shard), orNull(rng, s.Arrived),
		orNull(rng, s.Unsynch), orNull(rng, s.Lost),
		orNull(rng, s.Glitch), orNull(rng, s.Edges), orNull(rng, s.Late), orNull(rng, s.Anomaly),
		orNull(rng, s.State), orNull(rng, s.Score), orNull(rng, s.Jitter), orNull(rng, s.Hz), orNull(rng, s.RPM),
		orNull(rng, s.Seq), orNull(rng, s.Run), orNull(rng, s.Fan), orNull(rng, s.Time)}
}

func toNamed(rng *rand.Rand, s Row) named {
	return named{s.Fan, s.Time, s.Run, s.Seq, s.RPM, s.Hz, s.Jitter, s.Score, s.State, orNull(rng, s.Anomaly), s.Late,
		s.Edges, s.Glitch, s.Lost, s.Unsynch, s.Arrived, s.Shard, orNull(rng, s.Expected), orNull(rng, s.Low), s.High,
		unless(s.Level, -1), s.Verdict, unless(s.PWM, -1)}
}

// foreignFile writes rows with random options, and returns these.
func foreignFile(t testing.TB, rng *rand.Rand, rows []Row) ([]byte, string) {
	t.Helper()
	codec := []compress.Codec{&parquet.Snappy, &parquet.Gzip, &parquet.Brotli, &parquet.Zstd,
		&parquet.Uncompressed}[rng.IntN(5)]
	version, page, group := 1+rng.IntN(2), 64<<rng.IntN(12), int64(1+len(rows)/8+rng.IntN(2*len(rows)+1))
	options := []parquet.WriterOption{parquet.Compression(codec), parquet.DataPageVersion(version),
		parquet.PageBufferSize(page), parquet.MaxRowsPerRowGroup(group)}
	if rng.IntN(2) == 0 {
		return write(t, rows, func(s Row) loose { return toLoose(rng, s) }, options),
			fmt.Sprintf("loose, %v, version %d, pages %d, groups %d", codec, version, page, group)
	}
	return write(t, rows, func(s Row) named { return toNamed(rng, s) }, options),
		fmt.Sprintf("named, %v, version %d, pages %d, groups %d", codec, version, page, group)
}

func write[T any](t testing.TB, rows []Row, convert func(Row) T, options []parquet.WriterOption) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, options...)
	for _, s := range rows {
		if _, err := w.Write([]T{convert(s)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestFilesOfOtherProgramsAreReadAndMerged reads files of another program's making, whole and by fan and time, and
// merges them with ours, against the rows that went in.
func TestFilesOfOtherProgramsAreReadAndMerged(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 11))
		rows := make([]Row, rng.IntN(600))
		for i := range rows {
			rows[i] = anyStored(rng)
		}
		data, how := foreignFile(t, rng, rows)
		index, err := openFileIndex(data)
		if err != nil {
			t.Fatalf("seed %d, %s: %v", seed, how, err)
		}
		for _, fan := range []string{"fan-0", "fan-3"} {
			lo, hi := int64(-10+rng.IntN(30)), int64(10+rng.IntN(40))
			var want []Row
			for _, s := range rows {
				if s.Fan == fan && s.Time >= lo && s.Time < hi {
					want = append(want, s)
				}
			}
			var d FanDay
			if err := d.ReadFile(index, FetchBytes(data), fan, lo, hi, AllColumns()); err != nil {
				t.Fatalf("seed %d, %s: %v", seed, how, err)
			}
			got := make([]Row, d.rows)
			for i := range got {
				assemble(&got[i], d.columns, i, d.dict)
			}
			wantSame(t, seed, got, want)
		}
		ours := make([]Row, 100)
		for i := range ours {
			ours[i] = anyStored(rng)
		}
		want, _ := referenceMerge(append(slices.Clone(rows), ours...))
		slices.SortFunc(ours, func(a, b Row) int { return a.Compare(&b) })
		merged, _ := columnMerge(t, [][]byte{data, ourFile(t, ours)}, []int{len(rows), len(ours)})
		wantSame(t, seed, libraryRows(t, merged), want)
	}
}

// TestAnUnreadableColumnOfAnotherProgramIsNamed: what cannot be read as the table's is an error that names the column.
func TestAnUnreadableColumnOfAnotherProgramIsNamed(t *testing.T) {
	type noFan struct {
		Time int64 `parquet:"time,id(1),timestamp(microsecond)"`
		Run  int64 `parquet:"run,id(3)"`
		Seq  int64 `parquet:"seq,id(4)"`
	}
	type milliseconds struct {
		noFan
		Fan     string `parquet:"fan_id,id(2)"`
		Arrived int64  `parquet:"arrived,id(16),timestamp(millisecond)"`
	}
	type narrow struct {
		noFan
		Fan   string `parquet:"fan_id,id(2)"`
		Edges int32  `parquet:"edges,id(12)"`
	}
	type nested struct {
		noFan
		Fan  string  `parquet:"fan_id,id(2)"`
		Tags []int64 `parquet:"tags,id(40)"`
	}
	for column, data := range map[string][]byte{"fan_id": fileOf(t, []noFan{{1, 1, 1}}),
		"arrived": fileOf(t, []milliseconds{{}}), "edges": fileOf(t, []narrow{{}}), "tags": fileOf(t, []nested{{}})} {
		if _, err := openFileIndex(data); err == nil || !strings.Contains(err.Error(), column) {
			t.Errorf("%s: %v", column, err)
		}
	}
	rows := make([]Row, 50)
	lz4 := write(t, rows, func(s Row) Row { return s }, []parquet.WriterOption{parquet.Compression(&parquet.Lz4Raw)})
	index, err := openFileIndex(lz4)
	if err != nil {
		t.Fatal(err)
	}
	if err := index.EachIdentity(FetchBytes(lz4), func(string, uint64, uint64) {}); err == nil ||
		!strings.Contains(err.Error(), "LZ4") {
		t.Errorf("LZ4: %v", err)
	}
}

// TestDamagedFilesOfOtherProgramsAreErrors flips bits: what comes of it is an error or other rows, never a panic,
// and never more memory than the file can fill.
func TestDamagedFilesOfOtherProgramsAreErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 13))
	for range 20 {
		rows := make([]Row, 1+rng.IntN(60))
		for i := range rows {
			rows[i] = anyStored(rng)
		}
		data, _ := foreignFile(t, rng, rows)
		for range 20 {
			bad := slices.Clone(data)
			for range 1 + rng.IntN(3) {
				bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			}
			index, err := openFileIndex(bad)
			if err != nil || index.Rows > 1<<16 {
				continue
			}
			_ = index.EachIdentity(FetchBytes(bad), func(string, uint64, uint64) {})
			_ = new(FanDay).ReadFile(index, FetchBytes(bad), "fan-2", -5, 1000, AllColumns())
			_ = DecodeColumns(bad, func(*Row) {})
		}
	}
}
