package sns

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault makes the next Count calls of an operation misbehave; for tests.
// Faults live in memory only.
type Fault struct {
	// Operation is the API action; empty or "*" is any.
	Operation string `json:"operation"`
	// Kind is one of
	//   fail      InternalError, HTTP 500, nothing done
	//   throttle  Throttling, HTTP 400, nothing done
	//   delay     wait DelayMS, then go on
	//   cut       close the connection, nothing done
	//   lose      do it, then close the connection instead of answering
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	// DelayMS is in milliseconds, at most a minute.
	DelayMS int `json:"delay_ms,omitempty"`
}

// faultList is the set of faults, first come first used. Its zero value is empty.
type faultList struct {
	mu   sync.Mutex
	list []Fault
}

// SetFault adds a fault. Count 0 takes back the faults of that operation.
func (s *Server) SetFault(f Fault) error {
	if f.Operation == "" {
		f.Operation = "*"
	}
	if f.Count < 0 || f.DelayMS < 0 || f.DelayMS > 60_000 {
		return fmt.Errorf("sns: fault: count must not be negative, delay_ms must be 0 to 60000")
	}
	if kinds := []string{"fail", "throttle", "delay", "cut", "lose"}; f.Count > 0 && !slices.Contains(kinds, f.Kind) {
		return fmt.Errorf("sns: fault: kind %q is none of %s", f.Kind, strings.Join(kinds, ", "))
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if f.Count == 0 {
		s.faults.list = slices.DeleteFunc(s.faults.list, func(g Fault) bool { return f.Operation == "*" || g.Operation == f.Operation })
		return nil
	}
	s.faults.list = append(s.faults.list, f)
	return nil
}

// take uses one count of the first fault that fits; nil is none.
func (l *faultList) take(operation string) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if f := &l.list[i]; f.Operation == "*" || f.Operation == operation {
			taken := *f
			if f.Count--; f.Count == 0 {
				l.list = slices.Delete(l.list, i, i+1)
			}
			return &taken
		}
	}
	return nil
}

// before acts ahead of the call; true means that the call is over.
func (f *Fault) before(w http.ResponseWriter, r *http.Request, requestID string) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case "fail":
		writeError(w, &apiError{http.StatusInternalServerError, "InternalError", "a fault was set for this call"}, requestID)
		return true
	case "throttle":
		writeError(w, &apiError{http.StatusBadRequest, "Throttling", "Rate exceeded: a fault was set for this call"}, requestID)
		return true
	case "cut":
		panic(http.ErrAbortHandler) // net/http's way to close a connection without an answer
	case "delay":
		select {
		case <-time.After(time.Duration(f.DelayMS) * time.Millisecond):
		case <-r.Context().Done():
		}
	}
	return false
}

func (f *Fault) after() {
	if f != nil && f.Kind == "lose" {
		panic(http.ErrAbortHandler)
	}
}

// serveFaults is the switch for other processes on this machine: POST adds a
// Fault, DELETE clears all, GET lists.
func (s *Server) serveFaults(w http.ResponseWriter, r *http.Request) {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || !loopback(host) {
		http.Error(w, "the fault switch answers loopback only", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		s.faults.mu.Lock()
		s.faults.list = nil
		s.faults.mu.Unlock()
	case http.MethodPost:
		var f Fault
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
		d.DisallowUnknownFields()
		err := d.Decode(&f)
		if err == nil {
			err = s.SetFault(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	default:
		http.Error(w, "use GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(append([]Fault{}, s.faults.list...))
}
