package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxStreams bounds how many browsers may watch at once.
const maxStreams = 200

// events is a stream of server-sent events (WHATWG HTML, section 9.2). Each "update" is an update in
// JSON; the first is whole unless Last-Event-ID names a version that this run knows. A browser is told
// at most once per pace, all that changed since; one that takes nothing for the server's patience is
// dropped and may come back. Quiet streams carry a comment and a "beat" event, by which the page
// notices a dead connection.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d browsers watch already: close some", maxStreams))
		return
	}
	defer s.streams.Add(-1)
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil { // Serve's ReadTimeout is meant for requests
		s.cfg.Log.Debug("dashboard: no read deadlines on this connection", "err", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	send := func(b []byte) bool {
		if err := rc.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
			s.cfg.Log.Debug("dashboard: no write deadlines on this connection", "err", err)
		}
		_, err := w.Write(b)
		return err == nil && rc.Flush() == nil
	}
	// A slow Operator must not keep the readings from the page.
	select {
	case <-s.poller.fresh():
	case <-time.After(2 * time.Second):
	case <-r.Context().Done():
		return
	case <-s.life.Done():
		return
	}
	version, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // not a number: 0, so everything
	if !send([]byte("retry: 2000\n\n")) {
		return
	}
	tick := time.NewTicker(s.pace)
	defer tick.Stop()
	for told := time.Now(); ; {
		u, v, news := s.board.since(version)
		switch {
		case news:
			version, told = v, time.Now()
			if !send(event(u, v)) {
				return
			}
		case time.Since(told) >= s.beat:
			told = time.Now()
			if !send([]byte(": nothing new\nevent: beat\ndata: {}\n\n")) {
				return
			}
		}
		select {
		case <-tick.C:
			s.poller.fresh()
		case <-r.Context().Done():
			return
		case <-s.life.Done():
			return
		}
	}
}

func event(u update, version uint64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %d\nevent: update\ndata: ", version)
	if err := json.NewEncoder(&b).Encode(u); err != nil { // ends in a newline
		return fmt.Appendf(nil, ": %s\n\n", oneLine(err))
	}
	b.WriteByte('\n')
	return b.Bytes()
}
