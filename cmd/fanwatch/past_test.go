package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// past is a shard that was judged: models, and what they landed.
type past struct {
	t       testing.TB
	dir     string
	store   *objstore.Dir
	log     landing.Log
	models  *detect.Models
	records int
	rows    []fanwatch.Row // of the segment that is not yet appended
	after   fanwatch.SequenceNumber
}

var pastBegan = time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC)

func newPast(t testing.TB) *past {
	t.Helper()
	dir := t.TempDir()
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	return &past{t: t, dir: dir, store: store, models: detect.New(detect.Config{Seed: 1}), after: "0",
		log: landing.Log{Store: store, Stream: "fanwatch", Shard: "shardId-000000000000"}}
}

func (p *past) feed(data []byte, arrived time.Time) {
	p.t.Helper()
	p.records++
	out := p.models.Feed(detect.Input{Arrived: arrived, Data: data, Position: fanwatch.Position{Shard: p.log.Shard,
		Sequence: fanwatch.SequenceNumber(strconv.Itoa(p.records))}})
	p.rows = append(p.rows, out.Rows...)
}

func (p *past) configure(d fanwatch.Device) {
	p.t.Helper()
	d.V, d.Revision = fanwatch.DeviceVersion, max(d.Revision, 1)
	data, err := fanwatch.EncodeDevice(d)
	if err != nil {
		p.t.Fatal(err)
	}
	p.feed(data, pastBegan)
}

// publish feeds a second of each fan, at the second n.
func (p *past) publish(n int, rpms map[string]float64) {
	p.t.Helper()
	for _, fan := range []string{"fan-a", "fan-b"} {
		rpm, ok := rpms[fan]
		if !ok {
			continue
		}
		at := pastBegan.Add(time.Duration(n) * time.Second)
		r := fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan, Run: 7, Seq: uint64(n + 1)}, Time: at, RPM: rpm,
			Hz: rpm / 30, Jitter: 0.01, PWM: fanwatch.NewDuty(0.5), State: fanwatch.StateRunning}
		if rpm == 0 {
			r.State = fanwatch.StateStalled
		}
		data, err := json.Marshal(struct {
			fanwatch.Batch
			Client string `json:"client"`
		}{fanwatch.NewBatch([]fanwatch.Reading{r}, 0, 0, at), fan})
		if err != nil {
			p.t.Fatal(err)
		}
		p.feed(data, at.Add(40*time.Millisecond))
	}
}

// land appends what was judged since.
func (p *past) land() {
	p.t.Helper()
	last := fanwatch.SequenceNumber(strconv.Itoa(p.records))
	err := p.log.Append(p.t.Context(), landing.Segment{Header: landing.Header{After: p.after, Last: last,
		Writer: landing.Token{Attempt: 1}}, Rows: p.rows})
	if err != nil {
		p.t.Fatal(err)
	}
	p.after, p.rows = last, nil
}

func (p *past) snapshot() {
	p.t.Helper()
	data, err := p.models.Snapshot()
	if err == nil {
		err = p.log.PutSnapshot(p.t.Context(), p.after, data)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// tables commits the log.
func (p *past) tables() *lake.Tables {
	p.t.Helper()
	cat, done, err := lake.OpenSQLite(filepath.Join(p.dir, "catalog.db"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = done() })
	tables, err := lake.OpenTables(p.t.Context(), lake.TableConfig{Catalog: cat, Store: p.store,
		Location: "file://" + p.store.Root(), Now: func() time.Time { return pastBegan.Add(24 * time.Hour) }})
	if err == nil {
		_, err = tables.Commit(p.t.Context(), []landing.Log{p.log})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return tables
}

// live lets two fans live for so many seconds, a segment a minute: fan-a stalls from 1,500 to 1,560.
func (p *past) live(seconds int, each func(n int)) {
	rng := rand.New(rand.NewPCG(1, 2))
	p.configure(fanwatch.Device{Fan: "fan-a"})
	p.configure(fanwatch.Device{Fan: "fan-b", Limits: fanwatch.Limits{MaxRPM: 3000}})
	for n := range seconds {
		a, b := 1800+4*rng.NormFloat64(), 900+3*rng.NormFloat64()
		if n >= 1500 && n < 1560 {
			a = 0
		}
		p.publish(n, map[string]float64{"fan-a": a, "fan-b": b})
		if each(n); n%60 == 59 {
			p.land()
		}
	}
}

// second returns the time of the readings at a second.
func second(n int) time.Time { return pastBegan.Add(time.Duration(n) * time.Second) }

// csvOf writes the readings of the seconds 0 to 2,399: fan-a stalls from 1,500 to 1,560.
func csvOf(header string, fan func(string) string) string {
	rng := rand.New(rand.NewPCG(1, 2))
	text := header + "\n"
	for n := range 2400 {
		a, b := 1800+4*rng.NormFloat64(), 900+3*rng.NormFloat64()
		if n >= 1500 && n < 1560 {
			a = 0
		}
		at := second(n).Format(time.RFC3339)
		text += fmt.Sprintf("%s%s,%.2f\n%s%s,%.2f\n", fan("fan-a"), at, a, fan("fan-b"), at, b)
	}
	return text
}
