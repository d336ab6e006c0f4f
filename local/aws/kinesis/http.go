package kinesis

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "Kinesis_20131202."
	maxBody      = 16 << 20 // above the largest PutRecords in base64
)

// ServeHTTP answers one call of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_faults" {
		s.serveFaults(w, r)
		return
	}
	w.Header().Set("x-amzn-RequestId", fmt.Sprintf("fanwatch-%016d", s.requests.Add(1)))
	operation, body, err := s.readRequest(w, r)
	if err != nil {
		s.answer(w, operation, nil, err)
		return
	}
	met := s.faults.take(operation)
	if f, ok := met[Delay]; ok {
		select {
		case <-time.After(time.Duration(f.Delay)):
		case <-r.Context().Done():
			return
		}
	}
	if _, ok := met[Cut]; ok {
		cut(w)
		return
	}
	out, err := s.call(operation, body, met)
	if _, ok := met[CutAfter]; ok {
		cut(w)
		return
	}
	s.answer(w, operation, out, err)
}

// call runs an operation on its JSON body.
func (s *Server) call(operation string, body []byte, met map[FaultKind]Fault) (any, error) {
	if _, ok := met[Throttle]; ok {
		return nil, fail(throttled, "Rate exceeded (a fault that a test set).")
	}
	if _, ok := met[Internal]; ok {
		return nil, &apiError{http.StatusInternalServerError, "InternalFailureException", "a fault that a test set"}
	}
	switch operation {
	case "CreateStream":
		return run(body, s.create)
	case "DeleteStream":
		return run(body, s.remove)
	case "DescribeStreamSummary":
		return run(body, s.describe)
	case "ListStreams":
		return run(body, s.list)
	case "ListShards":
		return run(body, s.listShards)
	case "SplitShard":
		return run(body, s.split)
	case "MergeShards":
		return run(body, s.merge)
	case "PutRecord":
		return run(body, s.putRecord)
	case "PutRecords":
		every := met[Partial].Every // 0 when the fault is not set
		return run(body, func(in putRecordsInput) (any, error) { return s.putRecords(in, every) })
	case "GetShardIterator":
		return run(body, s.getShardIterator)
	case "GetRecords":
		if _, ok := met[Expired]; ok {
			return nil, fail("ExpiredIteratorException", "Iterator expired (a fault that a test set).")
		}
		return run(body, s.getRecords)
	}
	return nil, &apiError{http.StatusNotImplemented, "NotImplementedException",
		fmt.Sprintf("the local Kinesis does not have the operation %q", operation)}
}

// readRequest checks the envelope of a call.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request) (operation string, body []byte, err error) {
	if s.closed.Load() {
		return "", nil, &apiError{http.StatusServiceUnavailable, "ServiceUnavailableException", "the local Kinesis is closing"}
	}
	if r.Method != http.MethodPost {
		return "", nil, &apiError{http.StatusMethodNotAllowed, "UnknownOperationException", "this is the local Kinesis; use an AWS SDK (every call is a POST)"}
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if strings.Contains(media, "cbor") {
		return "", nil, fail("SerializationException", "the local Kinesis does not speak CBOR: switch it off in the SDK (Java: AWS_CBOR_DISABLE=1), so that it sends %s", contentType)
	}
	if media != contentType {
		return "", nil, fail("SerializationException", "the content type is %.60q; send %s", media, contentType)
	}
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if !ok || operation == "" {
		return "", nil, fail("UnknownOperationException", "the header X-Amz-Target is %.60q; send %sOPERATION", r.Header.Get("X-Amz-Target"), targetPrefix)
	}
	if r.Header.Get("Authorization") == "" {
		return operation, nil, &apiError{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return operation, nil, fail("SerializationException", "reading the request: %v", err)
	}
	return operation, body, nil
}

func run[In any](body []byte, f func(In) (any, error)) (any, error) {
	in, err := decode[In](body)
	if err != nil {
		return nil, err
	}
	return f(in)
}

// decode reads a request's body. Like AWS it ignores members that it does not know.
func decode[In any](body []byte) (in In, err error) {
	if len(body) == 0 {
		return in, nil
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, fail("SerializationException", "%v", err)
	}
	return in, nil
}

// answer writes a result or an error.
func (s *Server) answer(w http.ResponseWriter, operation string, out any, err error) {
	status := http.StatusOK
	if err != nil {
		var known *apiError
		if !errors.As(err, &known) {
			s.cfg.Log.Error("kinesis: a call failed", "operation", operation, "err", err)
			known = &apiError{http.StatusInternalServerError, "InternalFailureException", err.Error()}
		}
		status = known.status
		w.Header().Set("X-Amzn-ErrorType", known.code)
		out = map[string]string{"__type": known.code, "message": known.message}
	}
	var b []byte
	if out != nil {
		if b, err = json.Marshal(out); err != nil {
			s.cfg.Log.Error("kinesis: an answer cannot be written as JSON", "operation", operation, "err", err)
			status, b = http.StatusInternalServerError, []byte(`{"__type":"InternalFailureException"}`)
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		s.cfg.Log.Debug("kinesis: the caller went away", "operation", operation, "err", err)
	}
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2, or a recorder in a test: an empty 500 is the closest
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_ = conn.Close()
}

// apiError is an error of the API: its type and message reach the caller.
type apiError struct {
	status  int
	code    string
	message string
}

const throttled = "ProvisionedThroughputExceededException"

func (e *apiError) Error() string { return e.code + ": " + e.message }

// fail makes the API's usual error, which has status 400.
func fail(code, format string, args ...any) error {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// faulty collects what is wrong with a request's members, in the words of AWS.
type faulty []string

func (f *faulty) add(member string, value any, constraint string) {
	shown := "null"
	if value != nil {
		shown = fmt.Sprintf("'%.128v'", value)
	}
	*f = append(*f, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: Member must %s", shown, member, constraint))
}

func (f faulty) err() error {
	switch len(f) {
	case 0:
		return nil
	case 1:
		return fail("ValidationException", "1 validation error detected: %s", f[0])
	}
	return fail("ValidationException", "%d validation errors detected: %s", len(f), strings.Join(f[:min(len(f), 10)], "; "))
}

// name checks a stream's or shard's name.
func (f *faulty) name(member, s string) {
	switch {
	case s == "":
		f.add(member, s, "have length greater than or equal to 1")
	case len(s) > 128:
		f.add(member, s, "have length less than or equal to 128")
	case strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != "":
		f.add(member, s, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	}
}

// seconds is a time as the protocol writes it: seconds since 1970 with a fraction. It holds milliseconds.
type seconds int64

// MarshalJSON writes the time with milliseconds.
func (t seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(t)/1000, 'f', 3, 64), nil
}

// UnmarshalJSON reads a number of seconds within the years that milliseconds can hold.
func (t *seconds) UnmarshalJSON(b []byte) error {
	var v float64
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("a time must be a number of seconds since 1970: %w", err)
	}
	if math.IsNaN(v) || math.Abs(v) > 1e12 {
		return fmt.Errorf("the time %g is out of range", v)
	}
	*t = seconds(math.Round(v * 1000))
	return nil
}
