package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"fanwatch"
	"fanwatch/lake"
)

// History is where readings lie that the dashboard no longer remembers: lake.Table. Its method may be called
// concurrently; the call ends within 10 s or its context does.
type History interface {
	// Query sums up a fan's readings of from <= time < to in at most points parts of equal length, oldest first,
	// without those that have none.
	Query(ctx context.Context, fan string, from, to time.Time, points int) ([]lake.Point, error)
}

// The bounds of one question, and of how many are worked on at once: a long period of a large table is work.
const (
	maxHistoryPoints = 2000
	historiesAtOnce  = 2
)

// spread is a quantity of the parts, by columns.
type spread struct {
	Min  []float64 `json:"min"`
	Max  []float64 `json:"max"`
	Mean []float64 `json:"mean"`
}

func (s *spread) add(p lake.Stats) {
	s.Min, s.Max, s.Mean = append(s.Min, p.Min), append(s.Max, p.Max), append(s.Mean, p.Mean)
}

// history answers what the table has of a fan with from <= time < to (Unix milliseconds), in at most points (1 to
// 2000, by default 500) parts of equal length, by columns: t is where a part begins, count its readings, kind what
// was wrong with the last of them that was not well ("" = all were). What was expected is as in judged.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	name, ok := named(w, r)
	if !ok {
		return
	}
	if s.cfg.History == nil {
		fail(w, http.StatusNotFound, "there is no table here: only what the dashboard remembers, see /api/fans/"+name+
			"/readings")
		return
	}
	q := r.URL.Query()
	from, err1 := strconv.ParseInt(q.Get("from"), 10, 64)
	to, err2 := strconv.ParseInt(q.Get("to"), 10, 64)
	const latest = 1 << 48 // the year 10889
	if err1 != nil || err2 != nil || from < 0 || to <= from || to > latest {
		fail(w, http.StatusBadRequest, "from and to must be Unix milliseconds, from before to")
		return
	}
	points := 500
	if text := q.Get("points"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxHistoryPoints {
			fail(w, http.StatusBadRequest, fmt.Sprintf("points %.20q: want a whole number from 1 to %d", text, maxHistoryPoints))
			return
		}
		points = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	select {
	case s.histories <- struct{}{}:
		defer func() { <-s.histories }()
	case <-ctx.Done():
		fail(w, http.StatusServiceUnavailable, "others are asking for long periods: try again")
		return
	}
	parts, err := s.cfg.History.Query(ctx, name, time.UnixMilli(from), time.UnixMilli(to), points)
	if err != nil {
		s.cfg.Log.Warn("dashboard: history failed", "fan", name, "err", err)
		fail(w, http.StatusBadGateway, oneLine(err))
		return
	}
	if len(parts) == 0 && s.unknown(ctx, name) { // asked only now: the table may have readings of a fan without a workflow
		unknown(w, name)
		return
	}
	v := struct {
		T     []int64         `json:"t"`
		Count []int           `json:"count"`
		Kind  []fanwatch.Kind `json:"kind"`
		RPM   spread          `json:"rpm"`
		Score spread          `json:"score"`
		judged
	}{T: []int64{}, Count: []int{}, Kind: []fanwatch.Kind{}, RPM: spread{[]float64{}, []float64{}, []float64{}},
		Score: spread{[]float64{}, []float64{}, []float64{}}}
	for i, p := range parts {
		v.set(i, len(parts), p.Expected, p.Low, p.High)
		v.T, v.Count, v.Kind = append(v.T, p.From.UnixMilli()), append(v.Count, p.Count), append(v.Kind, p.Anomaly)
		v.RPM.add(p.RPM)
		v.Score.add(p.Score)
	}
	answer(w, http.StatusOK, v)
}
