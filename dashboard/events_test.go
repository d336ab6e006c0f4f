package dashboard

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

func brisk(s *Server) { s.pace, s.poller.gap = 20*time.Millisecond, 0 }

func TestStreamTellsEverythingThenWhatChanged(t *testing.T) {
	p := newPlant(status("fan-01", fanwatch.KindNone), status("fan-02", fanwatch.KindNone))
	s, url := open(t, Config{Operator: p}, brisk)
	s.board.publish([]fanwatch.Row{row("fan-01", 1, 1800)})
	w := watch(t, url, "")
	u, _ := w.next()
	if !u.Whole || len(u.Fans) != 2 || u.rpm("fan-01") != 1800 {
		t.Fatalf("first update: %+v", u)
	}
	s.board.publish([]fanwatch.Row{row("fan-01", 2, 1810)})
	u, _ = w.next()
	if u.Whole || len(u.Fans) != 0 || u.rpm("fan-01") != 1810 || len(u.Latest.Name) != 1 {
		t.Fatalf("after one reading: %+v", u)
	}
	p.change(func() { p.fans["fan-02"] = status("fan-02", fanwatch.KindStall) })
	u = w.until("the stall", func(u update) bool { return u.fan("fan-02") != nil })
	if f := u.fan("fan-02"); f.Kind != fanwatch.KindStall || len(u.Fans) != 1 {
		t.Fatalf("after a stall: %+v", u)
	}
	p.change(func() { delete(p.fans, "fan-01") })
	u = w.until("the departure", func(u update) bool { return len(u.Removed) > 0 })
	if u.Removed[0] != "fan-01" {
		t.Fatalf("gone: %v", u.Removed)
	}
	before := u.Alerts
	p.change(func() { a := alert("fan-02", fanwatch.AlertOpen, noon); p.alerts[a.ID] = a })
	w.until("the alert", func(u update) bool { return u.Alerts != before })
}

func TestStreamCoalesces(t *testing.T) {
	s, url := open(t, Config{Operator: newPlant()}, func(s *Server) { s.pace = 200 * time.Millisecond })
	w := watch(t, url, "")
	started := time.Now()
	go func() {
		for n := 1; n <= 5000; n++ {
			s.board.publish([]fanwatch.Row{row("fan-01", n, float64(n))})
		}
	}()
	messages := 0
	for last := 0.0; last != 5000; messages++ {
		u, ok := w.next()
		if !ok {
			t.Fatal("the stream ended")
		}
		if r := u.rpm("fan-01"); r > 0 {
			last = r
		}
	}
	if most := int(time.Since(started)/s.pace) + 2; messages > most {
		t.Errorf("%d messages in %s, want at most one per %s", messages, time.Since(started), s.pace)
	}
}

func TestStreamGoesOnWhereABrowserLeft(t *testing.T) {
	p := newPlant(status("fan-01", fanwatch.KindNone), status("fan-02", fanwatch.KindNone))
	s, url := open(t, Config{Operator: p}, brisk)
	w := watch(t, url, "")
	w.next()
	w.body.Close()
	s.board.publish([]fanwatch.Row{row("fan-02", 1, 1800)})
	u, _ := watch(t, url, w.id).next()
	if u.Whole || len(u.Fans) != 0 || u.rpm("fan-02") != 1800 {
		t.Errorf("resumed at %s: %+v, want the reading alone", w.id, u)
	}
	for _, id := range []string{"1", "not a number", "-5", "18446744073709551615", "99999999999999999999999"} {
		if u, _ := watch(t, url, id).next(); !u.Whole || len(u.Fans) != 2 {
			t.Errorf("Last-Event-ID %q: %+v, want everything", id, u)
		}
	}
}

func TestQuietStreamBeats(t *testing.T) {
	s, url := open(t, Config{Operator: newPlant()}, func(s *Server) {
		s.pace, s.beat = 10*time.Millisecond,
			50*time.Millisecond
	})
	w := watch(t, url, "")
	w.next()
	time.AfterFunc(300*time.Millisecond, func() { s.board.publish([]fanwatch.Row{row("fan-01", 1, 1)}) })
	w.next()
	if w.beats == 0 {
		t.Error("nothing was heard while nothing happened")
	}
}

func TestSlowBrowserIsDropped(t *testing.T) {
	s, url := open(t, Config{Operator: newPlant()}, func(s *Server) {
		s.pace, s.patience = time.Millisecond,
			200*time.Millisecond
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// and reads nothing
	if _, err := conn.Write([]byte("GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the browser watches", func() bool { return s.streams.Load() == 1 })
	rows := make([]fanwatch.Row, 2000)
	n := 0
	eventually(t, "the browser is dropped", func() bool {
		n++
		for i := range rows {
			rows[i] = row("fan-"+strings.Repeat("x", 80)+string(rune('a'+i%26))+string(rune('a'+i/26%26)), n*len(rows)+i, 1800)
		}
		s.board.publish(rows) // returns though the browser takes nothing
		return s.streams.Load() == 0
	})
}

func TestOperatorIsAskedAtMostOncePerGapAndOnlyWhileWatched(t *testing.T) {
	p, clock := newPlant(status("fan-01", fanwatch.KindNone)), &hands{t: noon}
	s, url := open(t, Config{Operator: p, Now: clock.now}, func(s *Server) { s.pace = time.Millisecond })
	if n, _ := p.times(); n != 0 {
		t.Fatalf("asked %d times though nobody watches", n)
	}
	a, b := watch(t, url, ""), watch(t, url, "")
	for n := 1; n <= 50; n++ { // the streams tick many times while the clock stands
		s.board.publish([]fanwatch.Row{row("fan-01", n, float64(n))})
		for _, w := range []*watcher{a, b} {
			w.until("the reading", func(u update) bool { return u.rpm("fan-01") == float64(n) })
		}
		getJSON(t, url+"/api/fans", nil)
	}
	if n, _ := p.times(); n != 1 {
		t.Errorf("asked %d times within one second by two browsers, want 1", n)
	}
	clock.move(time.Second)
	eventually(t, "a second question", func() bool { n, _ := p.times(); return n == 2 })
	a.body.Close()
	b.body.Close()
	eventually(t, "nobody watches", func() bool { return s.streams.Load() == 0 })
	before, _ := p.times()
	clock.move(time.Hour)
	s.board.publish([]fanwatch.Row{row("fan-01", 99, 99)})
	if n, _ := p.times(); n != before {
		t.Errorf("asked %d times more after the last browser left", n-before)
	}
}

func TestResolvedAlertsAreAskedForWhenOneVanishes(t *testing.T) {
	p, clock := newPlant(), &hands{t: noon}
	a, old := alert("fan-01", fanwatch.AlertOpen, noon), alert("fan-02", fanwatch.AlertResolved, noon.Add(-time.Hour))
	p.alerts[a.ID], p.alerts[old.ID] = a, old
	_, url := open(t, Config{Operator: p, Now: clock.now})
	list := func() (states []fanwatch.AlertState) {
		t.Helper()
		var got struct{ Alerts []fanwatch.Alert }
		clock.move(time.Second)
		getJSON(t, url+"/api/alerts", &got)
		for _, a := range got.Alerts {
			states = append(states, a.State)
		}
		return states
	}
	want := func(full int, states ...fanwatch.AlertState) {
		t.Helper()
		got := list()
		if _, n := p.times(); n != full || len(got) != len(states) {
			t.Fatalf("%v after %d full questions, want %v after %d", got, n, states, full)
		}
		for i := range got {
			if got[i] != states[i] {
				t.Fatalf("%v, want %v", got, states)
			}
		}
	}
	want(1, fanwatch.AlertOpen, fanwatch.AlertResolved)
	want(1, fanwatch.AlertOpen, fanwatch.AlertResolved)
	p.change(func() { a.State, a.EndedAt = fanwatch.AlertResolved, noon; p.alerts[a.ID] = a })
	want(2, fanwatch.AlertResolved, fanwatch.AlertResolved)
	want(2, fanwatch.AlertResolved, fanwatch.AlertResolved)
	clock.move(endedFor)
	want(3, fanwatch.AlertResolved, fanwatch.AlertResolved)
}

func TestSilentOperatorLeavesWhatWasKnown(t *testing.T) {
	p := newPlant(status("fan-01", fanwatch.KindNone))
	s, url := open(t, Config{Operator: p}, brisk)
	w := watch(t, url, "")
	w.next()
	p.change(func() { p.broken = errors.New("dial 127.0.0.1:7233:\nconnection refused") })
	u := w.until("the trouble", func(u update) bool { return u.Trouble != "" })
	if strings.Contains(u.Trouble, "\n") || !strings.Contains(u.Trouble, "connection refused") ||
		u.Asked != noon.UnixMilli() {
		t.Errorf("trouble %q, asked %d", u.Trouble, u.Asked)
	}
	s.board.publish([]fanwatch.Row{row("fan-01", 1, 1800)})
	w.until("readings all the same", func(u update) bool { return u.rpm("fan-01") == 1800 })
	var all update
	if getJSON(t, url+"/api/fans", &all); all.fan("fan-01") == nil || all.fan("fan-01").Site != "Hall 3" {
		t.Errorf("the fan was forgotten: %+v", all)
	}
	p.change(func() { p.broken = nil })
	w.until("the recovery", func(u update) bool { return u.Trouble == "" })
}

func TestTooManyBrowsers(t *testing.T) {
	s, url := open(t, Config{Operator: newPlant()})
	s.streams.Store(maxStreams)
	var got struct{ Error string }
	if code := getJSON(t, url+"/api/events", &got); code != http.StatusServiceUnavailable || got.Error == "" {
		t.Errorf("%d %q", code, got.Error)
	}
}
