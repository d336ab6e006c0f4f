package lake_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
)

// TestVerifyFindsEachFaultAndNoOther wants no fault of a lake that has gone through everything, and a fault of each
// way to spoil it.
func TestVerifyFindsEachFaultAndNoOther(t *testing.T) {
	build := func(t *testing.T) (world, *lake.Tables, []landing.Log) {
		w := openWorld(t, t.TempDir(), nil)
		tables := openTables(t, w, nil)
		logs := []landing.Log{w.log(0), w.log(1)}
		for i := range 3 {
			w.append(t, 0, eventful(i*100, 1+i*100))
			w.append(t, 1, window(i*100, "fan-b", 9, 1+i*100, 100))
			if _, err := tables.Commit(t.Context(), logs); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				if _, err := tables.PlanCompaction(t.Context(), lake.CompactConfig{MinFiles: 1}); err != nil {
					t.Fatal(err)
				}
				if _, err := tables.Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		return w, tables, logs
	}
	first := func(t *testing.T, w world, prefix string) string {
		t.Helper()
		files := live(t, w)
		for _, f := range files {
			if strings.Contains(f.Path, prefix) {
				return strings.TrimPrefix(f.Path, "file://")
			}
		}
		t.Fatal("no file")
		return ""
	}
	for name, spoil := range map[string]struct {
		do   func(t *testing.T, w world)
		want string
	}{
		"nothing": {func(*testing.T, world) {}, ""},
		"a data file is lost": {func(t *testing.T, w world) {
			if err := os.Remove(first(t, w, "readings")); err != nil {
				t.Fatal(err)
			}
		}, "is missing in the store"},
		"a data file is damaged": {func(t *testing.T, w world) {
			path := first(t, w, "readings")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 100; i < len(data)/2; i++ {
				data[i] ^= 0x55
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, ".parquet: "},
		"the log says otherwise": {func(t *testing.T, w world) {
			s := window(0, "fan-b", 9, 1, 100)
			s.Stream, s.Shard = "readings", w.log(1).Shard
			s.Rows[7].RPM++
			data, err := landing.EncodeSegment(&s)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.Put(t.Context(), "landing/stream=readings/shard="+s.Shard+"/after="+
				fanwatch.SequenceNumber("0").Pad()+".parquet", data, false); err != nil {
				t.Fatal(err)
			}
		}, "fan-b, run 0000000000000009: the 300 readings of the landing log and those of the table have different content"},
		"a segment is lost": {func(t *testing.T, w world) {
			if err := w.store.Delete(t.Context(), "landing/stream=readings/shard="+w.log(1).Shard+"/after="+number(200).Pad()+
				".parquet"); err != nil {
				t.Fatal(err)
			}
		}, "fan-b: 100 in the table, but not in the landing log"},
	} {
		t.Run(name, func(t *testing.T) {
			w, tables, logs := build(t)
			spoil.do(t, w)
			v, err := tables.Verify(t.Context(), logs, nil)
			if err != nil {
				t.Fatal(err)
			}
			if found := strings.Join(v.Faults, "\n"); spoil.want == "" && !v.OK || !strings.Contains(found, spoil.want) {
				t.Errorf("faults:\n%s\nwant one with %q", found, spoil.want)
			}
			if spoil.want == "" && (v.Segments != 6 || v.Compared != 585 || v.Tables[0].Rows != 585 || v.Tables[1].Rows != 30 ||
				len(v.Accounts) != 2) {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestEachReadsThePeriodAlone(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	for i := range 3 {
		w.append(t, 0, window(i*100, "fan-a", 7, 1+i*100, 100))
		w.commit(t, w.log(0))
	}
	n, last := 0, 0
	err := w.table.Each(t.Context(), midnight.Add(50*time.Second), midnight.Add(251*time.Second),
		func(done, total int) { last = total - done }, func(r fanwatch.Row) error {
			n++
			return nil
		})
	if err != nil || n != 201 || last != 0 {
		t.Fatalf("%d rows, %d left, %v", n, last, err)
	}
}
