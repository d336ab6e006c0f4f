package rcf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A detector's snapshot holds numbers as a forest's does:
//
//	magic          4 bytes "RCFd"
//	version        uint16, 2
//	config         Dimensions, Window, Trees, SampleSize uint32; Rest int32; Threshold, TimeDecay float64; Seed uint64;
//	               the number of Views and of Tolerances uint32; Views uint8 each; Tolerance float64 each;
//	               Learn uint32; Normalize uint8
//	seen, rested   uint64
//	old, state     uint8, 0 or 1: begun by version 1; trouble lasts
//	calm           uint8: usual points in a row
//	lasted         uint64
//	base, step, usual  per dimension: the first value, the mean square of the steps, mean and variance float64
//	ring           Window * Dimensions float64: the last points, where they stand in memory; 0 where there was none
//	past           per dimension: mean, variance float64
//	per view       scores uint64; the last scores 3 float64; mean, variance float64; length of the following uint32;
//	               the forest's snapshot
//	checksum       uint32, CRC32C of all before
//
// Version 1 lacks Learn, Normalize, and all from old to step. A detector restored from it is old: it goes on in the
// bits that its program would have given, and State begins with the next alert.
const (
	detectorMagic   = "RCFd"
	detectorVersion = 2
	detectorHeader  = 4 + 2 + 5*4 + 2*8 + 8 + 2*4
	detectorView    = 8 + smoothing*8 + 2*8 + 4
)

// MarshalBinary returns a snapshot of the detector, its forests included. Its error is always nil.
func (d *Detector) MarshalBinary() ([]byte, error) { return d.AppendBinary(nil) }

// AppendBinary appends a snapshot of the detector to dst. Its error is always nil. A detector that UnmarshalBinary
// makes of it behaves as this one in every bit.
func (d *Detector) AppendBinary(dst []byte) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, detectorMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, detectorVersion)
	dst = d.config.append(dst)
	dst = binary.LittleEndian.AppendUint64(dst, d.seen)
	dst = binary.LittleEndian.AppendUint64(dst, d.rested)
	dst = append(dst, byte(b2i(d.old)), byte(b2i(d.state)), d.calm)
	dst = binary.LittleEndian.AppendUint64(dst, d.lasted)
	for i, usual := range d.usual {
		dst = appendFloats(dst, d.rolling.base[i], d.rolling.step[i], usual.mean, usual.variance)
	}
	dst = appendFloats(dst, d.rolling.ring...)
	for _, past := range d.rolling.past {
		dst = appendFloats(dst, past.mean, past.variance)
	}
	for i := range d.views {
		l := &d.views[i]
		dst = binary.LittleEndian.AppendUint64(dst, l.scores)
		dst = appendFloats(dst, l.recent[:]...)
		dst = appendFloats(dst, l.past.mean, l.past.variance)
		length := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		dst, _ = l.forest.AppendBinary(dst) // never an error
		binary.LittleEndian.PutUint32(dst[length:], uint32(len(dst)-length-4))
	}
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[begin:])), nil
}

func (c DetectorConfig) append(dst []byte) []byte {
	for _, v := range [...]int{c.Dimensions, c.Window, c.Trees, c.SampleSize, c.Rest} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	dst = appendFloats(dst, c.Threshold, c.TimeDecay)
	dst = binary.LittleEndian.AppendUint64(dst, c.Seed)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Views)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Tolerance)))
	for _, v := range c.Views {
		dst = append(dst, byte(v))
	}
	dst = appendFloats(dst, c.Tolerance...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Learn))
	return append(dst, byte(c.Normalize))
}

func appendFloats(dst []byte, values ...float64) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// UnmarshalBinary replaces the detector by the one in a snapshot, which from then on behaves as the original in every
// bit. On an error, which wraps ErrSnapshot, the detector is as it was. Bytes that are no snapshot cannot make it
// panic, nor allocate more than they spell out.
func (d *Detector) UnmarshalBinary(data []byte) error {
	restored, err := decodeDetector(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	*d = *restored
	return nil
}

func decodeDetector(data []byte) (*Detector, error) {
	if len(data) < detectorHeader+4 {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	if string(data[:4]) != detectorMagic {
		return nil, errors.New("it does not begin as a detector's snapshot does")
	}
	version := binary.LittleEndian.Uint16(data[4:])
	if version != 1 && version != detectorVersion {
		return nil, fmt.Errorf("format version %d, this program reads versions 1 and %d", version, detectorVersion)
	}
	body := data[:len(data)-4]
	if binary.LittleEndian.Uint32(data[len(body):]) != checksum(body) {
		return nil, errors.New("the checksum does not fit, bytes are damaged or missing")
	}
	r := &reader{in: body[6:]}
	config, err := decodeDetectorConfig(r, version)
	if err != nil {
		return nil, err
	}
	state := 2*8 + 8*config.Dimensions*config.Window + 2*8*config.Dimensions + len(config.Views)*detectorView
	if len(r.in) < state {
		return nil, errTruncated // and the input bounds what is allocated below
	}
	d := newDetector(config)
	if err := d.decodeState(r, version); err != nil {
		return nil, err
	}
	seeds := splitMix(config.Seed)
	for i := range d.views {
		if err := d.views[i].decode(r, d.seen, config.forest(config.Views[i], seeds.next())); err != nil {
			return nil, fmt.Errorf("view %v: %w", config.Views[i], err)
		}
	}
	if len(r.in) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(r.in))
	}
	return d, r.err()
}

func decodeDetectorConfig(r *reader, version uint16) (c DetectorConfig, err error) {
	for _, field := range [...]*int{&c.Dimensions, &c.Window, &c.Trees, &c.SampleSize, &c.Rest} {
		*field = int(int32(r.uint32()))
	}
	c.Threshold, c.TimeDecay = math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
	c.Seed = r.uint64()
	views, tolerances := r.length(), r.length()
	if views > maxViews || tolerances > MaxCoordinates || len(r.in) < views+8*tolerances {
		return c, fmt.Errorf("%d bytes are too few for %d views and %d tolerances", len(r.in), views, tolerances)
	}
	for range views {
		c.Views = append(c.Views, View(r.bytes(1)[0]))
	}
	for range tolerances {
		c.Tolerance = append(c.Tolerance, math.Float64frombits(r.uint64()))
	}
	if version > 1 {
		c.Learn, c.Normalize = int(int32(r.uint32())), Normalization(r.bytes(1)[0])
	}
	return c, c.check()
}

// decodeState reads the detector's own state.
func (d *Detector) decodeState(r *reader, version uint16) error {
	d.seen, d.rested = r.uint64(), r.uint64()
	if d.old = version == 1; !d.old {
		if err := d.decodeSecond(r); err != nil {
			return err
		}
	}
	if d.seen >= 1<<62 || d.rested != math.MaxUint64 && d.rested > d.seen {
		return fmt.Errorf("%d points seen, %d since an alert", d.seen, d.rested)
	}
	d.rolling.seen = d.seen
	d.rolling.count = int(min(d.seen, uint64(d.config.Window)))
	for i := range d.rolling.ring {
		d.rolling.ring[i] = math.Float64frombits(r.uint64())
		if !(math.Abs(d.rolling.ring[i]) <= math.MaxFloat32) {
			return fmt.Errorf("value %v among the last points", d.rolling.ring[i])
		}
	}
	for i := range d.rolling.past {
		if err := d.rolling.past[i].decode(r, math.MaxFloat32); err != nil {
			return err
		}
	}
	return nil
}

// decodeSecond reads what version 2 added to the detector's own state.
func (d *Detector) decodeSecond(r *reader) error {
	flags := r.bytes(3)
	d.old, d.state, d.calm = flags[0] == 1, flags[1] == 1, flags[2]
	if flags[0] > 1 || flags[1] > 1 || d.calm >= calmPoints || d.calm > 0 && !d.state {
		return fmt.Errorf("old, state and calm are %d", flags)
	}
	d.lasted = r.uint64()
	for i := range d.usual {
		base, step := math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
		if !(math.Abs(base) <= math.MaxFloat32 && step >= 0 && step <= 16*math.MaxFloat32*math.MaxFloat32) {
			return fmt.Errorf("base %v and step %v", base, step)
		}
		d.rolling.base[i], d.rolling.step[i] = base, step
		if err := d.usual[i].decode(r, math.MaxFloat32); err != nil {
			return err
		}
	}
	return nil
}

// decode reads a mean of values whose magnitude is at most limit, and their variance.
func (m *moments) decode(r *reader, limit float64) error {
	m.mean, m.variance = math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
	if !(math.Abs(m.mean) <= 2*limit && m.variance >= 0 && m.variance <= 16*limit*limit) {
		return fmt.Errorf("mean %v and variance %v", m.mean, m.variance)
	}
	return nil
}

// decode reads a view's forest of a detector that has seen that many points. The forest must have been made with
// config.
func (l *viewForest) decode(r *reader, seen uint64, config Config) error {
	l.scores = r.uint64()
	for i := range l.recent {
		l.recent[i] = math.Float64frombits(r.uint64())
		if !(l.recent[i] >= 0 && l.recent[i] <= 2) {
			return fmt.Errorf("score %v", l.recent[i])
		}
	}
	if err := l.past.decode(r, 2); err != nil {
		return err
	}
	length := r.length()
	if err := r.err(); err != nil {
		return err
	}
	l.forest = new(Forest)
	if err := l.forest.UnmarshalBinary(r.in[:length]); err != nil {
		return err
	}
	r.in = r.in[length:]
	if l.forest.config != config {
		return errors.New("its forest belongs to another detector")
	}
	silent := uint64(config.OutputAfter)
	if l.forest.seen != seen || l.scores != max(seen, silent)-silent {
		return fmt.Errorf("%d points and %d scores of a detector that has seen %d points", l.forest.seen, l.scores, seen)
	}
	return nil
}

// reader takes little-endian numbers from the front of in. Beyond its end it gives zeros and remembers that it did.
type reader struct {
	in    []byte
	short bool
}

// err reports whether the input was too short so far.
func (r *reader) err() error {
	if r.short {
		return errTruncated
	}
	return nil
}

// bytes takes n bytes.
func (r *reader) bytes(n int) []byte {
	if len(r.in) < n {
		r.short, r.in = true, nil
		return make([]byte, n)
	}
	b := r.in[:n]
	r.in = r.in[n:]
	return b
}

// length takes the number of things that follow, each of a byte or more. More than the input can have is 0 and short.
func (r *reader) length() int {
	n := r.uint32()
	if uint64(n) > uint64(len(r.in)) {
		r.short = true
		return 0
	}
	return int(n)
}

func (r *reader) uint32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }
