package fanwatch

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// BatchVersion is the version of the batch envelope that this program writes.
const BatchVersion = 1

// MaxBatch is how many readings one batch may hold; 500 of them stay well under the 128 KB that AWS IoT
// Core takes.
const MaxBatch = 500

// MaxAhead is how far ahead of its arrival a reading's time may lie before it is quarantined: beyond it
// the clock is wrong, and one such reading would make every later one late.
const MaxAhead = 5 * time.Minute

// Batch is the envelope that a publisher sends.
type Batch struct {
	V        int           `json:"v"`
	Fan      string        `json:"fan"`
	Run      string        `json:"run"`     // FormatRun
	Acked    uint64        `json:"acked"`   // readings of this run that were acknowledged before this batch
	Dropped  uint64        `json:"dropped"` // readings of this run that were dropped before this batch
	Backlog  uint64        `json:"backlog,omitempty"`
	Readings []WireReading `json:"readings"`
}

// WireReading is a Reading on the wire; the names are short because a fan sends 86,400 of them a day.
type WireReading struct {
	Seq     uint64   `json:"seq"`
	T       int64    `json:"t"`             // Unix microseconds
	Age     int64    `json:"age,omitempty"` // microseconds from the measurement to the publish, by the monotonic clock; given when Unsynch
	RPM     float64  `json:"rpm"`
	Hz      float64  `json:"hz"`
	Jitter  float64  `json:"jit,omitempty"`
	Edges   uint32   `json:"n,omitempty"`
	Glitch  uint32   `json:"gl,omitempty"`
	Lost    uint32   `json:"lost,omitempty"`
	PWM     *float64 `json:"pwm,omitempty"` // commanded duty cycle, 0..1; absent when unknown
	State   State    `json:"st"`
	Unsynch bool     `json:"unsynch,omitempty"`
}

// NewBatch makes the envelope for readings of one fan and run. now is the monotonic age's other end: it
// dates the readings whose clock was not synchronised.
func NewBatch(readings []Reading, acked, dropped uint64, now time.Time) Batch {
	b := Batch{V: BatchVersion, Acked: acked, Dropped: dropped, Readings: make([]WireReading, len(readings))}
	for i, r := range readings {
		b.Fan, b.Run = r.Fan, FormatRun(r.Run)
		w := WireReading{Seq: r.Seq, T: r.Time.UnixMicro(), RPM: r.RPM, Hz: r.Hz, Jitter: r.Jitter,
			Edges: r.Edges, Glitch: r.Glitch, Lost: r.Lost, State: r.State, Unsynch: r.Unsynch}
		if r.Unsynch {
			w.Age = now.Sub(r.Time).Microseconds()
		}
		if duty, known := r.PWM.Fraction(); known {
			w.PWM = &duty
		}
		b.Readings[i] = w
	}
	return b
}

// Record is what one record of the stream says. Exactly one of Device, Refused and Readings is set.
type Record struct {
	Arrived  time.Time // by the rule's timestamp(); zero when the rule did not add it
	Client   string    // by the rule's clientid(); "" when the control plane wrote the record
	Fan      string
	Device   *Device // a change of configuration, from the control plane
	Refused  string  // why the IoT rule could not handle what was published
	Payload  []byte  // with Refused: what was published
	Acked    uint64
	Dropped  uint64
	Readings []RecordReading
}

// RecordReading is one reading of a record, not yet checked.
type RecordReading struct {
	Reading
	Age    time.Duration // with Unsynch: how old the reading was when it was published
	Legacy string        // TIME of the demo's format as published; Time is not set then
}

// wire is the union of everything that may stand in a record. The IoT rule adds arrived and client to
// whatever a device publishes, replacing what the device may have put there: a record without client
// comes from the control plane, which writes to the stream directly.
type wire struct {
	Arrived   json.Number
	Client    string
	HasClient bool // the key stands there, whatever its value

	V        int
	Fan      string
	Run      string
	Acked    uint64
	Dropped  uint64
	Readings []WireReading
	Device   json.RawMessage

	FANID json.RawMessage
	TIME  json.RawMessage
	FREQ  *float64
	RPM   *float64

	ErrorRule     string
	ErrorClient   string
	ErrorPayload  *string
	ErrorFailures []struct {
		Message string `json:"errorMessage"`
	}
}

// field is a key of a record and where its value goes.
type field struct {
	key string
	to  any
}

func (w *wire) fields() []field {
	return []field{{"arrived", &w.Arrived}, {"client", &w.Client},
		{"v", &w.V}, {"fan", &w.Fan}, {"run", &w.Run}, {"acked", &w.Acked}, {"dropped", &w.Dropped}, {"readings", &w.Readings}, {"device", &w.Device},
		{"FANID", &w.FANID}, {"TIME", &w.TIME}, {"FREQ", &w.FREQ}, {"RPM", &w.RPM},
		{"ruleName", &w.ErrorRule}, {"clientId", &w.ErrorClient}, {"base64OriginalPayload", &w.ErrorPayload}, {"failures", &w.ErrorFailures}}
}

// DecodeRecord reads one record of the stream: a batch, the demo's object, a device's configuration or
// the IoT rule's error document. The error says what is wrong in words for the quarantine; the Record
// then still names the fan and the client as far as they could be read.
func DecodeRecord(data []byte) (Record, error) {
	var w wire
	if err := decodeWire(data, &w); err != nil {
		return Record{}, err
	}
	rec := w.record()
	switch {
	case !w.HasClient && w.ErrorPayload != nil:
		return refused(rec, w), nil
	case !w.HasClient && w.Device != nil:
		return configured(rec, w)
	case !w.HasClient:
		return rec, errors.New("the record names no client: it came through no IoT rule that adds clientid() AS client")
	case w.FANID != nil || w.TIME != nil || w.RPM != nil:
		return legacy(rec, w)
	}
	return batch(rec, w)
}

// record gives what is read of every kind of record.
func (w *wire) record() Record {
	rec := Record{Client: w.Client, Fan: w.Fan, Acked: w.Acked, Dropped: w.Dropped}
	if ms, err := w.Arrived.Int64(); err == nil && ms > 0 && ms < math.MaxInt64/1000 {
		rec.Arrived = time.UnixMilli(ms).UTC()
	}
	return rec
}

// decodeWire matches keys to the letter. encoding/json alone takes CLIENT for client: a device could blank
// what the rule had added, and pass for the control plane.
func decodeWire(data []byte, w *wire) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	var raw map[string]json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return fmt.Errorf("the message is a JSON %s, not an object", typ.Value)
		}
		return errors.New("the message is not a JSON object")
	}
	if dec.More() {
		return errors.New("the message holds more than one JSON object")
	}
	_, w.HasClient = raw["client"]
	for _, f := range w.fields() {
		if value, ok := raw[f.key]; ok {
			if err := json.Unmarshal(value, f.to); err != nil {
				return fieldError(f.key, err)
			}
		}
	}
	return nil
}

func fieldError(key string, err error) error {
	var typ *json.UnmarshalTypeError
	if !errors.As(err, &typ) {
		return fmt.Errorf("field %s: %w", key, err)
	}
	if typ.Field != "" {
		key += "." + typ.Field
	}
	return fmt.Errorf("field %s holds a %s, which it cannot", key, typ.Value)
}

// refused reads the document that an IoT rule's error action writes (AWS IoT developer guide, "Error
// action message format").
func refused(rec Record, w wire) Record {
	rec.Client = w.ErrorClient
	rec.Payload = decodeBase64(*w.ErrorPayload)
	rec.Refused = "rule " + w.ErrorRule + " failed"
	if w.ErrorRule == "" { // of the broker, before any rule
		rec.Refused = "refused by the broker"
	}
	if len(w.ErrorFailures) > 0 {
		rec.Refused += ": " + w.ErrorFailures[0].Message
	}
	return rec
}

func configured(rec Record, w wire) (Record, error) {
	var d Device
	if err := json.Unmarshal(w.Device, &d); err != nil {
		return rec, fmt.Errorf("device configuration: %w", err)
	}
	rec.Fan = d.Fan
	if err := d.Check(); err != nil {
		return rec, err
	}
	rec.Device = &d
	return rec, nil
}

func batch(rec Record, w wire) (Record, error) {
	if w.V != BatchVersion {
		return rec, fmt.Errorf("batch version %d is unknown, this program knows %d (or the demo's FANID, TIME and RPM)", w.V, BatchVersion)
	}
	if err := CheckFan(w.Fan); err != nil {
		return rec, err
	}
	run, err := ParseRun(w.Run)
	if err != nil {
		return rec, err
	}
	if len(w.Readings) == 0 || len(w.Readings) > MaxBatch {
		return rec, fmt.Errorf("batch of %d readings, want 1 to %d", len(w.Readings), MaxBatch)
	}
	for _, r := range w.Readings {
		var duty Duty
		if r.PWM != nil {
			duty = NewDuty(*r.PWM)
		}
		rec.Readings = append(rec.Readings, RecordReading{
			Reading: Reading{ReadingID: ReadingID{w.Fan, run, r.Seq}, Time: time.UnixMicro(r.T).UTC(), RPM: r.RPM, Hz: r.Hz,
				Jitter: r.Jitter, Edges: r.Edges, Glitch: r.Glitch, Lost: r.Lost, PWM: duty, State: r.State, Unsynch: r.Unsynch},
			Age: time.Duration(min(max(r.Age, 0), math.MaxInt64/1000)) * time.Microsecond,
		})
	}
	return rec, nil
}

// DecodeDemo reads one object in the demo's format as it lies outside the stream, where no rule has to have
// added arrived and client; where they stand they are read. The error is one for the quarantine, as
// DecodeRecord's is.
func DecodeDemo(data []byte) (Record, error) {
	var w wire
	if err := decodeWire(data, &w); err != nil {
		return Record{}, err
	}
	return legacy(w.record(), w)
}

// legacy reads the demo's {"TIME","FANID","FREQ","RPM"}. TIME may be text or a number of Unix seconds
// or milliseconds; FREQ may be missing.
func legacy(rec Record, w wire) (Record, error) {
	if rec.Fan = plain(w.FANID); rec.Fan == "" {
		return rec, errors.New("FANID is missing: say which fan this is")
	}
	if err := CheckFan(rec.Fan); err != nil {
		return rec, err
	}
	if w.RPM == nil {
		return rec, errors.New("RPM is missing")
	}
	t := plain(w.TIME)
	if t == "" {
		return rec, errors.New("TIME is missing")
	}
	r := RecordReading{Reading: Reading{ReadingID: ReadingID{Fan: rec.Fan}, RPM: *w.RPM, State: Running}, Legacy: t}
	if w.FREQ != nil {
		r.Hz = *w.FREQ
	}
	if r.RPM == 0 {
		r.State = Stalled
	}
	rec.Readings = []RecordReading{r}
	return rec, nil
}

// plain gives a JSON text or number as text, "" for anything else.
func plain(raw json.RawMessage) string {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

var legacyLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00", "2006/01/02 15:04:05.999999999",
}

// ParseTime reads the demo's TIME: RFC 3339, the same without zone (then in loc) or with a space or
// slashes, or Unix seconds or milliseconds. The result is UTC in whole microseconds.
func ParseTime(s string, loc *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if f > 1e11 {
			f /= 1000
		}
		if !(f > 0 && f < 1e11) {
			return time.Time{}, fmt.Errorf("TIME %.40q is outside the years 1970 to 5138", s)
		}
		return time.UnixMicro(int64(math.Round(f * 1e6))).UTC(), nil
	}
	for _, layout := range legacyLayouts {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, fmt.Errorf("TIME %.40q cannot be read: write it as 2026-01-31T13:45:10Z", s)
}

// EncodeDevice makes the record by which the control plane tells the scorers of d.
func EncodeDevice(d Device) ([]byte, error) {
	return json.Marshal(struct {
		V      int    `json:"v"`
		Device Device `json:"device"`
	}{BatchVersion, d})
}

func decodeBase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return []byte(s)
	}
	return b
}
