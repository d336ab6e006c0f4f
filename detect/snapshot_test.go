package detect

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"fanwatch"
)

// TestSnapshotsOfEarlierVersionsAreRead: testdata was written by earlier programs; fan a is commanded to
// 40 % after 60 %, b has stopped, of c nothing was read. What was usual stays so, for the rules too.
func TestSnapshotsOfEarlierVersionsAreRead(t *testing.T) {
	restore := func(version int) *feed {
		data, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("snapshot.v%d", version)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Restore(Config{}, data)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		now, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Restore(Config{}, now)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Snapshot(); err != nil || !bytes.Equal(twice, now) {
			t.Errorf("version %d: the models differ after another snapshot: %v", version, err)
		}
		return &feed{Models: m, seq: 5000}
	}
	for version := 1; version < SnapshotVersion; version++ {
		f := restore(version)
		if o, ok := f.Last("b"); !ok || o.Anomaly.Kind != fanwatch.KindStall {
			t.Errorf("version %d: fan b is %+v", version, o)
		}
		f.legacy("b", "b", 0)
		if len(f.obs) != 0 {
			t.Errorf("version %d: told again: %+v", version, f.obs)
		}
		if h, _ := f.Arrivals("b"); h.Newest.Sequence == "" {
			t.Errorf("version %d: %+v", version, h)
		}
		f.batch("c", 1, fanwatch.WireReading{Seq: 1, State: fanwatch.StateStalled})
		if len(f.obs) != 1 || f.obs[0].Anomaly.Kind != fanwatch.KindStall {
			t.Errorf("version %d: %+v", version, f.obs)
		}
		for range 8 {
			f.legacy("b", "b", 1800)
		}
		if e := f.fans["b"].judged.Expected; e < 1750 || e > 1850 {
			t.Errorf("version %d: %g RPM expected of b", version, e)
		}
	}
	for version := 2; version < SnapshotVersion; version++ {
		for duty, want := range map[float64]float64{0.4: 1200, 0.6: 1800} {
			f := restore(version)
			for i := range 5 {
				f.batch("a", 9, fanwatch.WireReading{Seq: uint64(1 + i), RPM: want, PWM: &duty})
			}
			if e := f.fans["a"].judged.Expected; e < 0.95*want || e > 1.05*want {
				t.Errorf("version %d: %g RPM expected at %g, want about %g", version, e, duty, want)
			}
		}
	}
	f := restore(3)
	now, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []int{0, SnapshotVersion + 1} {
		if _, err := Restore(Config{}, bytes.Replace(now, []byte(`{"v":4,`),
			fmt.Appendf(nil, `{"v":%d,`, v), 1)); err == nil {
			t.Errorf("version %d was taken", v)
		}
	}
}
