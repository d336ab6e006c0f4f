package lake_test

import (
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/lake/landing"
)

func TestReconcileHoursFindsTheHourThatDiffers(t *testing.T) {
	w := openWorld(t, t.TempDir(), nil)
	logs := []landing.Log{w.log(0), w.log(1)}
	for i := range 3 { // of one, two and three hours behind midnight
		s := window(i*100, "fan-a", 7, 1+i*100, 100)
		for j := range s.Rows {
			s.Rows[j].Time = s.Rows[j].Time.Add(time.Duration(1+i)*time.Hour - time.Duration(i*100)*time.Second)
		}
		w.append(t, 0, s)
		if i == 1 {
			w.commit(t, logs...)
		}
	}
	twice := window(0, "fan-a", 7, 1, 10) // another shard landed ten of the first hour again
	for j := range twice.Rows {
		twice.Rows[j].Time = twice.Rows[j].Time.Add(time.Hour)
	}
	hours := func(logs ...landing.Log) []lake.HourAccount {
		t.Helper()
		h, err := lake.ReconcileHours(t.Context(), logs, w.table)
		if err != nil || len(h) != 3 || h[0].Hour != midnight.Add(time.Hour) || h[0].Fan != "fan-a" {
			t.Fatalf("%+v, %v", h, err)
		}
		return h
	}
	h := hours(logs...)
	if !h[0].OK || !h[1].OK || !h[2].OK || h[0].Landed != 100 || h[0].Table != 100 || h[2].Pending != 100 ||
		h[2].Table != 0 {
		t.Errorf("%+v", h)
	}
	w.append(t, 1, twice)
	w.commit(t, logs...)
	h = hours(logs...)
	if h[0].OK || h[0].Duplicates != 10 || h[0].TableTwice != 10 || !h[1].OK || !h[2].OK || h[2].Table != 100 {
		t.Errorf("%+v", h)
	}
	if h = hours(logs[1]); h[0].Surplus != 90 || h[1].Surplus != 100 || h[2].OK {
		t.Errorf("without the log of shard 0: %+v", h)
	}
}
