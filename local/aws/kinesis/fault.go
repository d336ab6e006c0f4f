package kinesis

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"sync"
	"time"

	"fanwatch"
)

// FaultKind names what goes wrong.
type FaultKind string

// The faults. A call can meet several at once, such as a delay and a throttle.
const (
	Throttle FaultKind = "throttle"  // answer ProvisionedThroughputExceededException, doing nothing
	Partial  FaultKind = "partial"   // PutRecords: every n-th record fails, beginning with the first
	Expired  FaultKind = "expired"   // GetRecords: answer ExpiredIteratorException
	Delay    FaultKind = "delay"     // wait before doing it
	Internal FaultKind = "internal"  // answer InternalFailureException (500), doing nothing
	Cut      FaultKind = "cut"       // close the connection, doing nothing
	CutAfter FaultKind = "cut-after" // do it, then close the connection without an answer
)

// Fault makes the next calls of an operation go wrong.
type Fault struct {
	Kind      FaultKind         `json:"kind"`
	Operation string            `json:"operation,omitempty"` // such as PutRecords; empty: any
	Count     int               `json:"count,omitempty"`     // how many calls; 0: one
	Delay     fanwatch.Duration `json:"delay,omitempty"`     // of a delay, up to a minute
	Every     int               `json:"every,omitempty"`     // the n of partial; 0: two
}

// SetFault adds a fault behind those that are set.
func (s *Server) SetFault(f Fault) error {
	switch f.Kind {
	case Throttle, Partial, Expired, Delay, Internal, Cut, CutAfter:
	default:
		return fmt.Errorf("kinesis: there is no fault %q", f.Kind)
	}
	if f.Delay < 0 || f.Delay > maxDelay || (f.Delay != 0 && f.Kind != Delay) {
		return fmt.Errorf("kinesis: a fault's delay is from 0 to 1m, and for the kind delay only; it is %s", f.Delay)
	}
	f.Count = max(f.Count, 1)
	if f.Every <= 0 {
		f.Every = 2
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.set = append(s.faults.set, f)
	return nil
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.set = nil
}

const maxDelay = fanwatch.Duration(time.Minute)

type faults struct {
	mu  sync.Mutex
	set []Fault
}

// take uses up one count of the first fault of each kind that fits the operation.
func (f *faults) take(operation string) map[FaultKind]Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var met map[FaultKind]Fault
	left := f.set[:0]
	for _, fault := range f.set {
		_, again := met[fault.Kind]
		if !again && (fault.Operation == "" || fault.Operation == operation) {
			if met == nil {
				met = make(map[FaultKind]Fault)
			}
			met[fault.Kind] = fault
			fault.Count--
		}
		if fault.Count > 0 {
			left = append(left, fault)
		}
	}
	f.set = left
	return met
}

// serveFaults is /_faults: POST a Fault as JSON to add it, GET lists those left, DELETE removes all.
// From this machine only; the content type keeps a web page from posting here.
func (s *Server) serveFaults(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		http.Error(w, "faults can be set from this machine only", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.faults.mu.Lock()
		set := append([]Fault{}, s.faults.set...)
		s.faults.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(set); err != nil {
			s.cfg.Log.Debug("kinesis: listing faults", "err", err)
		}
	case http.MethodDelete:
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
			http.Error(w, "send a fault as application/json", http.StatusUnsupportedMediaType)
			return
		}
		f, err := decodeFault(io.LimitReader(r.Body, 1<<16))
		if err == nil {
			err = s.SetFault(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "GET, POST or DELETE", http.StatusMethodNotAllowed)
	}
}

func decodeFault(r io.Reader) (f Fault, err error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("kinesis: reading a fault: %w", err)
	}
	return f, nil
}
