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

// MaxBatch is the largest number of readings of one batch. 500 stay below the 128 KB of an AWS IoT Core message.
const MaxBatch = 500

// MaxAhead is how far the time of a reading may lie ahead of its arrival; beyond it the reading is quarantined.
const MaxAhead = 5 * time.Minute

// Batch is the envelope that a publisher sends: readings of one run of one fan.
type Batch struct {
	V        int           `json:"v"`
	Fan      string        `json:"fan"`
	Run      string        `json:"run"`               // as FormatRun writes it
	Acked    uint64        `json:"acked"`             // readings of this run that were acknowledged before this batch
	Dropped  uint64        `json:"dropped"`           // readings of this run that were dropped before this batch
	Backlog  uint64        `json:"backlog,omitempty"` // readings in the spool behind this batch; absent: unknown
	Readings []WireReading `json:"readings"`          // 1 to MaxBatch
}

// WireReading is a Reading on the wire. Its keys are short, because a fan sends 86,400 readings a day.
type WireReading struct {
	Seq uint64 `json:"seq"`
	T   int64  `json:"t"` // Unix microseconds
	// Age is the time from the measurement to the publish in microseconds, by the monotonic clock; set with Unsynch.
	Age     int64    `json:"age,omitempty"`
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

// NewBatch returns the envelope of readings of one fan and run. The ages of readings with Unsynch end at now.
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

// Record is the content of one record of the stream. Exactly one of Device, Label, Pause, Refused and Readings is
// set.
type Record struct {
	Arrived  time.Time // by the rule's timestamp(); zero when the rule did not add it
	Client   string    // by the rule's clientid(); "" when the control plane wrote the record
	Fan      string    // a name that CheckFan accepts, or ""
	Device   *Device   // change of configuration, from the control plane
	Label    *Label    // what a person knows of an alert, from the control plane
	Pause    *Pause    // a time of a maintenance, from the control plane
	Refused  string    // why the IoT rule or the broker refused what was published
	Payload  []byte    // with Refused: what was published
	Acked    uint64    // as in Batch, at most math.MaxInt64
	Dropped  uint64    // as in Batch, at most math.MaxInt64
	Backlog  uint64    // as in Batch, at most math.MaxInt64
	Sent     int       // with an error: number of readings of the record, as far as they can be counted
	Readings []RecordReading
}

// RecordReading is one reading of a record, not yet checked.
type RecordReading struct {
	Reading
	Age    time.Duration // with Unsynch: age of the reading when it was published
	Legacy string        // TIME of the legacy format as published; then Time is not set
}

// keys are the keys of a record with their values, matched to the letter. encoding/json alone takes CLIENT for client,
// so that a device could blank the client that the IoT rule adds; a record without client configures, because the
// control plane writes to the stream without a rule.
type keys map[string]json.RawMessage

var byteOrderMark = []byte("\xef\xbb\xbf")

func readKeys(data []byte) (keys, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, byteOrderMark)))
	var k keys
	if err := dec.Decode(&k); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return nil, fmt.Errorf("the message is a JSON %s, not an object", typ.Value)
		}
		return nil, errors.New("the message is not a JSON object")
	}
	if dec.More() {
		return nil, errors.New("the message holds more than one JSON object")
	}
	return k, nil
}

// has reports whether the key has a value other than null.
func (k keys) has(name string) bool {
	raw, ok := k[name]
	return ok && string(raw) != "null"
}

// into decodes the key's value into to, which stays as it is when there is none.
func (k keys) into(name string, to any) error {
	raw, ok := k[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fieldError(name, err)
	}
	return nil
}

// number returns the key's number, which may be written as text. given is false when the key is absent, null or empty
// text.
func (k keys) number(name string) (value float64, given bool, err error) {
	if !k.has(name) {
		return 0, false, nil
	}
	err = k.into(name, &value)
	if err == nil {
		return value, true, nil
	}
	if k[name][0] != '"' {
		return 0, false, err
	}
	text := strings.TrimSpace(textOf(k[name]))
	if text == "" {
		return 0, false, nil
	}
	if value, bad := strconv.ParseFloat(text, 64); bad == nil {
		return value, true, nil
	}
	return 0, false, err
}

// whole is an integer that may be written as 1780000000000000.0 or 1.78e15, as some encoders write all numbers.
type whole int64

func (w *whole) UnmarshalJSON(raw []byte) error {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		*w = whole(n)
		return nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return errors.New("not a whole number")
	}
	*w = whole(f)
	return nil
}

// count returns the key's number of readings, cut to math.MaxInt64; 0 when the key is absent.
func (k keys) count(name string) (uint64, error) {
	var n uint64
	err := k.into(name, &n)
	if err == nil {
		return min(n, math.MaxInt64), nil
	}
	var w whole
	if k.into(name, &w) != nil || w < 0 {
		return 0, err
	}
	return uint64(w), nil
}

// looseReading is a WireReading whose integers may be written as whole does.
type looseReading struct {
	WireReading
	Seq    whole `json:"seq"`
	T      whole `json:"t"`
	Age    whole `json:"age"`
	Edges  whole `json:"n"`
	Glitch whole `json:"gl"`
	Lost   whole `json:"lost"`
}

func (k keys) readings() ([]WireReading, error) {
	var readings []WireReading
	err := k.into("readings", &readings)
	if err == nil {
		return readings, nil
	}
	var loose []looseReading
	if k.into("readings", &loose) != nil {
		return nil, err
	}
	readings = make([]WireReading, len(loose))
	for i, l := range loose {
		if l.Seq < 0 || min(l.Edges, l.Glitch, l.Lost) < 0 || max(l.Edges, l.Glitch, l.Lost) > math.MaxUint32 {
			return nil, err
		}
		r := l.WireReading
		r.Seq, r.T, r.Age = uint64(l.Seq), int64(l.T), int64(l.Age)
		r.Edges, r.Glitch, r.Lost = uint32(l.Edges), uint32(l.Glitch), uint32(l.Lost)
		readings[i] = r
	}
	return readings, nil
}

// DecodeRecord reads one record of the stream: a batch, an object in the legacy format, a device's configuration or
// the error document of an IoT rule. Of each kind only its own keys are read; others may have any value. With an
// error, which is the reason for the quarantine, the Record names the fan and the client as far as they could be read.
func DecodeRecord(data []byte) (Record, error) {
	k, err := readKeys(data)
	if err != nil {
		return Record{}, err
	}
	rec := k.record()
	_, through := k["client"] // the rule, whatever the value
	switch {
	case !through && k.has("base64OriginalPayload"):
		return refused(rec, k)
	case !through && k.has("device"):
		return configured(rec, k)
	case !through && k.has("label"):
		return labelled(rec, k)
	case !through && k.has("pause"):
		return paused(rec, k)
	case !through:
		return rec, errors.New("the record names no client: it came through no IoT rule that adds clientid() AS client")
	case k.has("FANID") || k.has("TIME") || k.has("RPM"):
		return legacy(rec, k)
	}
	return batch(rec, k)
}

// record returns the arrival and the client, which every kind of record may have. A value of the wrong type counts as
// absent.
func (k keys) record() Record {
	var rec Record
	if json.Unmarshal(k["client"], &rec.Client) != nil {
		rec.Client = ""
	}
	arrived := textOf(k["arrived"])
	if arrived == "" {
		return rec
	}
	if ms, err := strconv.ParseInt(arrived, 10, 64); err == nil && ms > 1e11 && ms < 1e14 {
		rec.Arrived = time.UnixMilli(ms).UTC()
	} else if t, err := ParseTime(arrived, time.UTC, time.Time{}); err == nil {
		rec.Arrived = t
	}
	return rec
}

func fieldError(key string, err error) error {
	var typ *json.UnmarshalTypeError
	if !errors.As(err, &typ) {
		return fmt.Errorf("field %s: %.200w", key, err)
	}
	if typ.Field != "" {
		key += "." + typ.Field
	}
	return fmt.Errorf("field %s holds a %.60s, which it cannot", key, typ.Value)
}

// refused reads the document that an IoT rule's error action writes (AWS IoT developer guide, "Error action message
// format"), or one by the local broker, which has no rule name.
func refused(rec Record, k keys) (Record, error) {
	var rule, payload string
	var failures []struct {
		Message string `json:"errorMessage"`
	}
	err := errors.Join(k.into("clientId", &rec.Client), k.into("ruleName", &rule),
		k.into("base64OriginalPayload", &payload), k.into("failures", &failures))
	if err != nil {
		return rec, fmt.Errorf("error document of a rule: %w", err)
	}
	rec.Payload = decodeBase64(payload)
	rec.Refused = "rule " + rule + " failed"
	if rule == "" { // by the broker, which knows the certificate's fan
		rec.Refused = "refused by the broker"
		if k.into("fan", &rec.Fan) != nil || CheckFan(rec.Fan) != nil {
			rec.Fan = ""
		}
	}
	if len(failures) > 0 {
		rec.Refused += ": " + failures[0].Message
	}
	return rec, nil
}

func configured(rec Record, k keys) (Record, error) {
	var d Device
	if err := json.Unmarshal(k["device"], &d); err != nil {
		return rec, fmt.Errorf("device configuration: %w", err)
	}
	if err := d.Check(); err != nil {
		return rec, err
	}
	rec.Fan, rec.Device = d.Fan, &d
	return rec, nil
}

func labelled(rec Record, k keys) (Record, error) {
	var l Label
	if err := json.Unmarshal(k["label"], &l); err != nil {
		return rec, fmt.Errorf("label: %w", err)
	}
	if err := l.Check(); err != nil {
		return rec, err
	}
	rec.Fan, rec.Label = l.Fan, &l
	return rec, nil
}

func paused(rec Record, k keys) (Record, error) {
	var p Pause
	if err := json.Unmarshal(k["pause"], &p); err != nil {
		return rec, fmt.Errorf("pause: %w", err)
	}
	if err := p.Check(); err != nil {
		return rec, err
	}
	rec.Fan, rec.Pause = p.Fan, &p
	return rec, nil
}

func batch(rec Record, k keys) (Record, error) {
	rec, err := decodeBatch(rec, k)
	if err != nil {
		var readings []json.RawMessage
		if json.Unmarshal(k["readings"], &readings) == nil {
			rec.Sent = len(readings)
		}
	}
	return rec, err
}

func decodeBatch(rec Record, k keys) (Record, error) {
	var fan, text string
	var v whole
	fanErr := k.into("fan", &fan)
	if fanErr == nil {
		if fanErr = CheckFan(fan); fanErr == nil {
			rec.Fan = fan
		}
	}
	if err := k.into("v", &v); err != nil {
		return rec, err
	}
	if v != BatchVersion {
		return rec, fmt.Errorf("batch version %d is unknown, this program knows %d "+
			"(or the legacy format's FANID, TIME and RPM)",
			v, BatchVersion)
	}
	readings, err := k.readings()
	if err != nil {
		return rec, err
	}
	for _, c := range []struct {
		name string
		to   *uint64
	}{{"acked", &rec.Acked}, {"dropped", &rec.Dropped}, {"backlog", &rec.Backlog}} {
		if *c.to, err = k.count(c.name); err != nil {
			return rec, err
		}
	}
	if fanErr != nil {
		return rec, fanErr
	}
	if err := k.into("run", &text); err != nil {
		return rec, err
	}
	run, err := ParseRun(text)
	if err != nil {
		return rec, err
	}
	if len(readings) == 0 || len(readings) > MaxBatch {
		return rec, fmt.Errorf("batch of %d readings, want 1 to %d", len(readings), MaxBatch)
	}
	rec.Readings = make([]RecordReading, len(readings))
	for i, r := range readings {
		var duty Duty
		if r.PWM != nil {
			duty = NewDuty(*r.PWM)
		}
		rec.Readings[i] = RecordReading{
			Reading: Reading{ReadingID: ReadingID{fan, run, r.Seq}, Time: time.UnixMicro(r.T).UTC(), RPM: r.RPM, Hz: r.Hz,
				Jitter: r.Jitter, Edges: r.Edges, Glitch: r.Glitch, Lost: r.Lost, PWM: duty, State: r.State, Unsynch: r.Unsynch},
			Age: time.Duration(min(max(r.Age, 0), math.MaxInt64/1000)) * time.Microsecond,
		}
	}
	return rec, nil
}

// DecodeLegacy reads one object in the legacy format that did not come through the stream: arrived and client, which
// an IoT rule adds, may be absent. Its errors are those of [DecodeRecord].
func DecodeLegacy(data []byte) (Record, error) {
	k, err := readKeys(data)
	if err != nil {
		return Record{}, err
	}
	return legacy(k.record(), k)
}

// legacy reads {"TIME","FANID","FREQ","RPM"}. TIME may be text or a number, as ParseTime reads it; RPM and FREQ may be
// text; FREQ may be absent.
func legacy(rec Record, k keys) (Record, error) {
	fan := strings.TrimSpace(textOf(k["FANID"]))
	if fan == "" {
		return rec, errors.New("FANID is missing: say which fan this is")
	}
	if err := CheckFan(fan); err != nil {
		return rec, err
	}
	rec.Fan = fan
	rpm, given, err := k.number("RPM")
	if err != nil {
		return rec, err
	}
	if !given {
		return rec, errors.New("RPM is missing")
	}
	hz, _, err := k.number("FREQ")
	if err != nil {
		return rec, err
	}
	t := strings.TrimSpace(textOf(k["TIME"]))
	if t == "" {
		return rec, errors.New("TIME is missing")
	}
	r := RecordReading{Legacy: t, Reading: Reading{ReadingID: ReadingID{Fan: fan}, RPM: rpm, Hz: hz, State: StateRunning}}
	if rpm == 0 {
		r.State = StateStalled
	}
	rec.Readings = []RecordReading{r}
	return rec, nil
}

// textOf returns a JSON text or number as text, and "" for any other value.
func textOf(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case c == '-' || '0' <= c && c <= '9':
		return string(raw)
	}
	return ""
}

// ParseTime reads the TIME of the legacy format: a date and a time of day to the minute or finer, joined by T or a
// space, the date with dashes or slashes, with Z, UTC, GMT or an offset (with or without colon) or, in loc, without
// zone; or 20060102150405; or a number of seconds, milli-, micro- or nanoseconds since 1970. A time without zone in an
// hour that loc has twice is the instant nearer to arrived, or either when arrived is zero. The result is UTC in whole
// microseconds.
func ParseTime(s string, loc *time.Location, arrived time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if t, ok := compact(s, loc); ok {
			return nearest(t, loc, arrived).UTC(), nil
		}
		return sinceEpoch(s, f)
	}
	clock, zone := splitZone(s)
	naive := zone == nil
	if naive {
		zone = loc
	}
	var leap time.Duration
	if before, fraction, found := strings.Cut(clock, ":60"); found && strings.Count(before, ":") == 1 {
		clock, leap = before+":59"+fraction, time.Second
	}
	for _, layout := range legacyLayouts {
		t, err := time.ParseInLocation(layout, clock, zone)
		if err != nil {
			continue
		}
		if naive {
			t = nearest(t, loc, arrived)
		}
		return t.Add(leap).UTC().Truncate(time.Microsecond), nil
	}
	return time.Time{}, fmt.Errorf("TIME %.40q cannot be read: write it as 2026-01-31T13:45:10Z", s)
}

// compact reads 20060102150405 in the years 1970 to 2285. As milliseconds since 1970 such a number lies beyond 2285.
func compact(s string, loc *time.Location) (time.Time, bool) {
	const layout = "20060102150405"
	if len(s) != len(layout) {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(layout, s, loc)
	return t, err == nil && t.Year() >= 1970 && t.Year() < 2286
}

var legacyLayouts = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006/01/02 15:04:05", "2006/01/02T15:04:05",
	"2006-01-02T15:04", "2006-01-02 15:04", "2006/01/02 15:04", "2006/01/02T15:04"}

// sinceEpoch dates a number by its size: up to 1e11 are seconds, to 1e14 milliseconds, to 1e17 microseconds; above
// nanoseconds.
func sinceEpoch(s string, f float64) (time.Time, error) {
	switch {
	case f >= 1e17:
		f /= 1e9
	case f >= 1e14:
		f /= 1e6
	case f > 1e11:
		f /= 1e3
	}
	if !(f > 0 && f < 1e11) {
		return time.Time{}, fmt.Errorf("TIME %.40q is outside the years 1970 to 5138", s)
	}
	return time.UnixMicro(int64(math.Round(f * 1e6))).UTC(), nil
}

// TimeHasZone reports whether a TIME that [ParseTime] reads names an instant without a zone from elsewhere.
func TimeHasZone(s string) bool {
	s = strings.TrimSpace(s)
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		_, is := compact(s, time.UTC)
		return !is
	}
	_, zone := splitZone(s)
	return zone != nil
}

// splitZone returns the time without its zone, and the zone; nil when there is none.
func splitZone(s string) (clock string, zone *time.Location) {
	for _, utc := range []string{"UTC", "GMT", "Z", "z"} {
		if rest, found := strings.CutSuffix(s, utc); found {
			s, zone = strings.TrimSpace(rest), time.UTC
			break
		}
	}
	i := strings.LastIndexAny(s, "+-")
	if i < len("2006-01-02 5:04") {
		return s, zone
	}
	for _, layout := range []string{"-07:00", "-0700", "-07"} {
		if t, err := time.Parse(layout, s[i:]); err == nil {
			_, offset := t.Zone()
			return strings.TrimSpace(s[:i]), time.FixedZone("", offset)
		}
	}
	return s, zone
}

// nearest returns the instant nearest to arrived among those that show t's time of day in loc: two where the clock is
// put back, else one.
func nearest(t time.Time, loc *time.Location, arrived time.Time) time.Time {
	if arrived.IsZero() {
		return t
	}
	best := t
	_, here := t.Zone()
	for _, apart := range []time.Duration{-25 * time.Hour, 25 * time.Hour} {
		_, there := t.Add(apart).In(loc).Zone()
		other := t.Add(time.Duration(here-there) * time.Second).In(loc)
		if _, offset := other.Zone(); offset == there && other.Sub(arrived).Abs() < best.Sub(arrived).Abs() {
			best = other
		}
	}
	return best
}

// EncodeDevice returns the record by which the control plane announces d to the scorers.
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
