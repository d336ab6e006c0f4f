package iotcore

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Fault is what a test wants to go wrong from now on; the zero value is nothing. It can also be set by
// POST /_faults on the REST address, with Content-Type application/json and the durations as text:
//
//	{"delay": "2s", "drop_before_puback": 3, "refuse_connects": 1}
type Fault struct {
	Delay            time.Duration // wait this long before the rules of every publish run
	DropBeforePuback int           // so many publishes: rules run, then the connection is cut instead of the PUBACK
	RefuseConnects   int           // so many CONNECTs are answered "server unavailable"
}

// faults holds the fault that is set. Safe for concurrent use.
type faults struct {
	mu sync.Mutex
	f  Fault
}

func (s *faults) set(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f = f
}

func (s *faults) delay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.f.Delay
}

func (s *faults) takeDrop() bool    { return s.take(&s.f.DropBeforePuback) }
func (s *faults) takeRefusal() bool { return s.take(&s.f.RefuseConnects) }

func (s *faults) take(n *int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

// ServeHTTP sets the fault. The content type is asked for so that no page in a browser can do it unasked.
func (s *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "send Content-Type: application/json", http.StatusUnsupportedMediaType)
		return
	}
	var in struct {
		Delay            string `json:"delay"`
		DropBeforePuback int    `json:"drop_before_puback"`
		RefuseConnects   int    `json:"refuse_connects"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		http.Error(w, fmt.Sprintf("fault: %v", err), http.StatusBadRequest)
		return
	}
	f := Fault{DropBeforePuback: in.DropBeforePuback, RefuseConnects: in.RefuseConnects}
	if in.Delay != "" {
		var err error
		if f.Delay, err = time.ParseDuration(in.Delay); err != nil {
			http.Error(w, fmt.Sprintf("fault: delay %q: write a number and a unit, such as 2s", in.Delay), http.StatusBadRequest)
			return
		}
	}
	s.set(f)
	w.WriteHeader(http.StatusNoContent)
}
