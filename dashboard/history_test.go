package dashboard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake"
)

// table answers every question with the same points, and remembers the last question.
type table struct {
	fan      string
	from, to time.Time
	points   int
	answer   []lake.Point
	err      error
}

func (h *table) Query(_ context.Context, fan string, from, to time.Time, points int) ([]lake.Point, error) {
	h.fan, h.from, h.to, h.points = fan, from, to, points
	return h.answer, h.err
}

func TestHistory(t *testing.T) {
	h := &table{answer: []lake.Point{{From: noon, Count: 3, Expected: 2.04, Low: 1.5, High: 2.5,
		Anomaly: fanwatch.KindStall, RPM: lake.Stats{Min: 1, Max: 3, Mean: 2},
		Score: lake.Stats{Min: 0.5, Max: 0.5, Mean: 0.5}}}}
	_, u := open(t, Config{Operator: newPlant(status("fan-01", fanwatch.KindNone)), History: h})
	var got struct {
		T     []int64
		Count []int
		Kind  []string
		RPM   struct{ Min, Max, Mean []float64 }
		Score struct{ Min, Max, Mean []float64 }

		Expected, Low, High []float64
	}
	if code := getJSON(t, u+"/api/fans/nobody/history?from=1000&to=5000&points=7", &got); code != 200 {
		t.Fatalf("readings of a fan that only the table remembers: %d", code)
	}
	if h.fan != "nobody" || h.from.UnixMilli() != 1000 || h.to.UnixMilli() != 5000 || h.points != 7 {
		t.Errorf("asked for %+v", h)
	}
	if !slices.Equal(got.T, []int64{noon.UnixMilli()}) || !slices.Equal(got.Count, []int{3}) ||
		!slices.Equal(got.Kind, []string{"stall"}) || !slices.Equal(got.RPM.Max, []float64{3}) ||
		!slices.Equal(got.Score.Mean, []float64{0.5}) || !slices.Equal(got.Expected, []float64{2}) ||
		!slices.Equal(got.Low, []float64{1.5}) || !slices.Equal(got.High, []float64{2.5}) {
		t.Errorf("got %+v", got)
	}
	for _, q := range []string{"", "from=1000", "from=5000&to=5000", "from=-1&to=5", "from=1&to=x", "from=1&to=2&points=0",
		"from=1&to=2&points=2001", "from=1&to=999999999999999"} {
		if code := getJSON(t, u+"/api/fans/fan-01/history?"+q, nil); code != 400 {
			t.Errorf("%q: %d", q, code)
		}
	}
	if code := getJSON(t, u+"/api/fans/a%2Fb/history?from=1&to=2", nil); code != 400 {
		t.Errorf("impossible name: %d", code)
	}
	h.answer = nil
	if code := getJSON(t, u+"/api/fans/nobody/history?from=1&to=2", nil); code != 404 {
		t.Errorf("a fan that nobody knows: %d", code)
	}
	if code := getJSON(t, u+"/api/fans/fan-01/history?from=1&to=2", &got); code != 200 || got.T == nil ||
		got.Kind == nil || got.RPM.Min == nil {
		t.Errorf("nothing: %d %+v", code, got)
	}
	h.err = errors.New("the table is gone")
	if code := getJSON(t, u+"/api/fans/fan-01/history?from=1&to=2", nil); code != 502 {
		t.Errorf("a failing table: %d", code)
	}
	_, u = open(t, Config{Operator: newPlant()})
	if code := getJSON(t, u+"/api/fans/fan-01/history?from=1&to=2", nil); code != 404 {
		t.Errorf("no table: %d", code)
	}
}
