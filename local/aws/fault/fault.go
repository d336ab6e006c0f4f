// Package fault makes the local AWS services fail on purpose, so that a test sees what a client does then.
//
// Each service has one [Injector]. A test in the same process calls [Injector.Inject]; another process on this machine
// uses the service's path /_faults, where POST adds a [Fault], GET lists those that are left and DELETE removes all:
//
//	curl -H 'Content-Type: application/json' http://127.0.0.1:PORT/_faults \
//	  -d '{"kind":"throttle","operation":"PutRecord","count":2}'
//
// A service tells its Injector which kinds it knows; any other is refused with the list of those. Faults live in
// memory: a restart of the service forgets them.
package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"fanwatch"
)

// Path is where a service serves its [Injector].
const Path = "/_faults"

// maxDelay is the longest [Fault.Delay].
const maxDelay = time.Minute

// Kind says what goes wrong with a call.
type Kind string

// The kinds. Error answers are those of the service's API.
const (
	// Delay waits for Fault.Delay and then does the call.
	Delay Kind = "delay"
	// Cut closes the connection without doing the call.
	Cut Kind = "cut"
	// Throttle answers that there are too many calls, without doing this one.
	Throttle Kind = "throttle"
	// Fail answers that the service failed, without doing the call.
	Fail Kind = "fail"
	// Lose does the call and closes the connection instead of answering.
	Lose Kind = "lose"
	// Partial refuses every Fault.Every-th record of a batch, beginning with the first, and does the rest.
	Partial Kind = "partial"
	// Expired answers that the iterator has expired.
	Expired Kind = "expired"
)

// Fault makes the next calls of an operation go wrong.
type Fault struct {
	Kind      Kind              `json:"kind"`
	Operation string            `json:"operation,omitempty"` // as the API names it; "" = each that knows the kind
	Count     int               `json:"count,omitempty"`     // number of calls; 0 = 1
	Delay     fanwatch.Duration `json:"delay,omitempty"`     // of a Delay; 0 to 1 min
	Every     int               `json:"every,omitempty"`     // of a Partial; 0 = 2
}

// Injector holds the faults that are set for one service. It is the http.Handler of [Path]. All methods may be called
// concurrently.
type Injector struct {
	service string
	known   map[Kind][]string

	mu     sync.Mutex
	faults []Fault
}

// NewInjector makes the Injector of a service, whose name begins its errors. known has the kinds that the service
// knows, each with the operations that know it; nil = all.
func NewInjector(service string, known map[Kind][]string) *Injector {
	return &Injector{service: service, known: known}
}

// Inject adds a fault behind those that are set. It refuses a kind that the service or the operation does not know,
// and numbers that are out of range.
func (i *Injector) Inject(f Fault) error {
	operations, known := i.known[f.Kind]
	switch {
	case !known:
		return i.refuse("kind %.60q is none of %s", string(f.Kind), i.kinds())
	case f.Operation != "" && len(operations) > 0 && !slices.Contains(operations, f.Operation):
		return i.refuse("kind %s is known to %s, not to %.60q", f.Kind, strings.Join(operations, ", "), f.Operation)
	case f.Count < 0:
		return i.refuse("count %d is negative: give 1 or more, 0 = 1", f.Count)
	case f.Kind != Delay && f.Delay != 0:
		return i.refuse("delay %s goes with the kind %s only", f.Delay, Delay)
	case f.Delay < 0 || time.Duration(f.Delay) > maxDelay:
		return i.refuse("delay %s is out of range: give 0s to %s", f.Delay, maxDelay)
	case f.Kind != Partial && f.Every != 0:
		return i.refuse("every %d goes with the kind %s only", f.Every, Partial)
	case f.Every < 0:
		return i.refuse("every %d is negative: give 1 or more, 0 = 2", f.Every)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Kind == Partial && f.Every == 0 {
		f.Every = 2
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, f)
	return nil
}

func (i *Injector) refuse(format string, args ...any) error {
	return fmt.Errorf(i.service+": fault: "+format, args...)
}

func (i *Injector) kinds() string {
	var names []string
	for _, k := range slices.Sorted(maps.Keys(i.known)) {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Clear removes all faults.
func (i *Injector) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = nil
}

// List returns the faults that are left, each with the Count that is left of it, in the order of Inject.
func (i *Injector) List() []Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]Fault{}, i.faults...)
}

// Met has the faults that one call meets, by kind; nil is none.
type Met map[Kind]Fault

// Take uses up one Count of the first fault of each kind that the operation meets. Each call of a service does so once.
func (i *Injector) Take(operation string) Met {
	i.mu.Lock()
	defer i.mu.Unlock()
	met := Met{}
	left := i.faults[:0]
	for _, f := range i.faults {
		if !met.Has(f.Kind) && i.meets(operation, f) {
			met[f.Kind] = f
			f.Count--
		}
		if f.Count > 0 {
			left = append(left, f)
		}
	}
	i.faults = left
	return met
}

func (i *Injector) meets(operation string, f Fault) bool {
	if f.Operation != "" {
		return f.Operation == operation
	}
	operations := i.known[f.Kind]
	return len(operations) == 0 || slices.Contains(operations, operation)
}

// Has reports whether the call meets a fault of the kind.
func (m Met) Has(k Kind) bool {
	_, ok := m[k]
	return ok
}

// What [Met.Run] gives for a call that is not to be answered as usual.
var (
	// ErrCut asks for the connection to be closed without an answer.
	ErrCut = errors.New("a fault that a test set: cut")
	// ErrThrottle asks for the API's answer to too many calls.
	ErrThrottle = errors.New("a fault that a test set: throttle")
	// ErrFail asks for the API's answer to a failure of its own.
	ErrFail = errors.New("a fault that a test set: fail")
)

// Run does one call under the faults that it meets: Delay, then Cut, Throttle or Fail instead of do, then Lose. do
// itself obeys Partial and Expired. The error is do's, [ErrThrottle], [ErrFail] or [ErrCut]; it is ErrCut, too,
// when ctx ends the wait of a Delay.
func (m Met) Run(ctx context.Context, do func() error) error {
	if f, ok := m[Delay]; ok {
		wait := time.NewTimer(time.Duration(f.Delay))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ErrCut
		}
	}
	var err error
	switch {
	case m.Has(Cut):
		return ErrCut
	case m.Has(Throttle):
		err = ErrThrottle
	case m.Has(Fail):
		err = ErrFail
	default:
		err = do()
	}
	if m.Has(Lose) {
		return ErrCut
	}
	return err
}

// Serve is [Met.Run] for an HTTP handler: it closes the connection for [ErrCut] and gives answer every other error, nil
// as well.
func (m Met) Serve(w http.ResponseWriter, r *http.Request, do func() error, answer func(error)) {
	if err := m.Run(r.Context(), do); errors.Is(err, ErrCut) {
		CloseConnection(w)
	} else {
		answer(err)
	}
}

// CloseConnection ends a request without an answer. Where the connection cannot be had (HTTP/2, a recorder) it answers
// an empty 500.
func CloseConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_ = conn.Close()
}

// ServeHTTP is [Path]: POST adds a [Fault] given as JSON, GET lists, DELETE clears. It answers this machine only, and
// takes no POST but application/json, which a web page of another site cannot send.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		http.Error(w, "faults can be set from this machine only", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(i.List()) // an error is the caller's going away
		return
	case http.MethodDelete:
		i.Clear()
	case http.MethodPost:
		if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
			http.Error(w, "send a fault as application/json", http.StatusUnsupportedMediaType)
			return
		}
		if err := i.decode(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	default:
		http.Error(w, "use GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// decode adds the fault in the request's body.
func (i *Injector) decode(w http.ResponseWriter, r *http.Request) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	var f Fault
	if err := d.Decode(&f); err != nil {
		return i.refuse("%w", err)
	}
	return i.Inject(f)
}
