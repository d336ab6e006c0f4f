package workers

import (
	"context"
	"errors"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// table answers every question of Query.
type table struct {
	points []lake.Point
	err    error
}

func (t table) Query(context.Context, string, time.Time, time.Time, int) ([]lake.Point, error) {
	return t.points, t.err
}

// TestAPictureHasWhatIsInTheTableAndBehindItWhatIsInTheLog: the newest minutes are in no table yet.
func TestAPictureHasWhatIsInTheTableAndBehindItWhatIsInTheLog(t *testing.T) {
	store, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	to := time.Now().UTC().Truncate(time.Second)
	var rows []fanwatch.Row
	for i := range 4 {
		for _, fan := range []string{"fan-07", "fan-08"} {
			rows = append(rows, fanwatch.Row{Kind: fanwatch.RowScored, Reading: fanwatch.Reading{
				ReadingID: fanwatch.ReadingID{Fan: fan, Run: 1, Seq: uint64(i + 1)}, Time: to.Add(time.Duration(i-3) * time.Minute),
				RPM: float64(100 * i), State: fanwatch.StateRunning},
				Position: fanwatch.Position{Shard: "shard-0", Sequence: "7", Index: len(rows)}, Arrived: to,
				Judged: fanwatch.Judged{Expected: 2900, Low: 2850, High: 2950, Verdict: "normal"}})
		}
	}
	log := landing.Log{Store: store, Stream: "s", Shard: "shard-0"}
	if err := log.Append(t.Context(), landing.Segment{Header: landing.Header{After: "0", Last: "7"},
		Rows: rows}); err != nil {
		t.Fatal(err)
	}
	a := fanwatch.Alert{Fan: "fan-07", Position: fanwatch.Position{Shard: "shard-0"}}
	h := history{store: store, stream: "s", tables: table{points: []lake.Point{
		{From: to.Add(-time.Hour), RPM: lake.Stats{Mean: 2900}}, {From: to.Add(-2 * time.Minute)}}}}
	got, err := h.Samples(t.Context(), a, to.Add(-time.Hour), to)
	if err != nil || len(got) != 5 || got[0].RPM != 2900 || got[4].RPM != 300 || got[4].Expected != 2900 {
		t.Errorf("%+v, %v", got, err)
	}
	h.tables = table{err: errors.New("no lake")}
	if got, err := h.Samples(t.Context(), a, to.Add(-time.Hour), to); err != nil || len(got) != 4 {
		t.Errorf("the log alone: %+v, %v", got, err)
	}
	if _, err := h.Samples(t.Context(), fanwatch.Alert{Fan: "fan-07"}, to.Add(-time.Hour), to); err == nil {
		t.Error("neither of them answers, and that is no error")
	}
}
