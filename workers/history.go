package workers

import (
	"context"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/notify"
	"fanwatch/objstore"
)

// history reads the last hour of a fan for the picture of a page: from the table and, of the newest minutes, which no
// commit has taken yet, from the landing log.
type history struct {
	tables interface {
		Query(ctx context.Context, fan string, from, to time.Time, points int) ([]lake.Point, error)
	}
	store  objstore.Store
	stream string
}

const (
	historyFor    = 2 * time.Second // bound of each of the two
	historyPoints = 900             // of the table, one for each 4 s of an hour
	newestMinutes = 5 * time.Minute
)

// Samples implements activities.Notifier.History. What one of the two does not give in time is missing.
func (h history) Samples(ctx context.Context, a fanwatch.Alert, from, to time.Time) ([]notify.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, historyFor)
	defer cancel()
	newest := make(chan []notify.Sample, 1)
	go func() { newest <- h.newest(ctx, a, to.Add(-newestMinutes), to) }()
	parts, err := h.tables.Query(ctx, a.Fan, from, to, historyPoints)
	landed := <-newest
	if err != nil && len(landed) == 0 {
		return nil, err
	}
	var all []notify.Sample
	for _, p := range parts {
		if len(landed) > 0 && !p.From.Before(landed[0].At) {
			break
		}
		all = append(all, notify.Sample{At: p.From, RPM: p.RPM.Mean, Expected: p.Expected, Low: p.Low, High: p.High,
			Score: p.Score.Max})
	}
	return append(all, landed...), nil
}

// newest reads the log of the shard on which the alert was opened.
func (h history) newest(ctx context.Context, a fanwatch.Alert, from, to time.Time) (all []notify.Sample) {
	if a.Position.Shard == "" {
		return nil
	}
	log := landing.Log{Store: h.store, Stream: h.stream, Shard: a.Position.Shard}
	at, _, err := log.Recent(ctx, from)
	if err != nil {
		return nil
	}
	// an error ends the walk early: then the picture ends early
	_ = log.Walk(ctx, at, func(s landing.Segment) error {
		for _, r := range s.Rows {
			if r.Kind == fanwatch.RowScored && r.Fan == a.Fan && !r.Time.Before(from) && !r.Time.After(to) {
				all = append(all, notify.Sample{At: r.Time, RPM: r.RPM, Expected: r.Judged.Expected, Low: r.Judged.Low,
					High: r.Judged.High, Score: r.Score})
			}
		}
		return nil
	})
	return all
}
