package edge

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"fanwatch"
)

// A segment of the spool is a header and frames, all little-endian:
//
//	header: "FWSP", version (1 byte), 3 zero bytes, run (8), boot id (32 bytes, zero-padded), CRC-32C of all before (4)
//	frame:  length of the payload (2), CRC-32C of length and payload (4), payload
//
// All readings of a segment are of one run and so of one boot. Zeros are no frame: a length of 0 does
// not occur.
const (
	segmentMagic   = "FWSP"
	segmentVersion = 2 // 1 had no PWM at the end of a frame; it is still read
	headerSize     = 4 + 4 + 8 + 32 + 4
	frameHead      = 2 + 4
	maxPayload     = 256
)

// Record is a reading as the spool keeps it.
type Record struct {
	fanwatch.Reading
	Boot time.Duration // when it was taken, since boot: dates readings whose wall clock was wrong
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendHeader(b []byte, run uint64, boot string) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = append(b, segmentVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, run)
	var id [32]byte
	copy(id[:], boot)
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

func parseHeader(b []byte) (run uint64, boot string, err error) {
	if len(b) < headerSize || string(b[:4]) != segmentMagic ||
		crc32.Checksum(b[:headerSize-4], castagnoli()) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return 0, "", fmt.Errorf("not the header of a spool segment")
	}
	if b[4] < 1 || b[4] > segmentVersion {
		return 0, "", fmt.Errorf("segment version %d is unknown, this program knows 1 to %d: let the program that "+
			"wrote it send it first", b[4], segmentVersion)
	}
	run = binary.LittleEndian.Uint64(b[8:])
	id := b[16:48]
	for len(id) > 0 && id[len(id)-1] == 0 {
		id = id[:len(id)-1]
	}
	return run, string(id), nil
}

// states numbers fanwatch.State on disk; only ever append to it.
func states() []fanwatch.State {
	return []fanwatch.State{fanwatch.StateRunning, fanwatch.StateStarting, fanwatch.StateStalled, fanwatch.StateNoSignal}
}

func appendFrame(b []byte, r Record) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0)
	flags := byte(0)
	for i, s := range states() {
		if s == r.State {
			flags = byte(i)
		}
	}
	if r.Unsynch {
		flags |= 0x80
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, r.Seq)
	b = binary.AppendVarint(b, r.Time.UnixMicro())
	b = binary.AppendVarint(b, r.Boot.Microseconds())
	for _, f := range [...]float64{r.RPM, r.Hz, r.Jitter} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	for _, n := range [...]uint32{r.Edges, r.Glitch, r.Lost} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	if r.PWM > 0 {
		b = binary.AppendUvarint(b, uint64(r.PWM))
	}
	frame := b[start:]
	binary.LittleEndian.PutUint16(frame, uint16(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[2:], frameSum(frame))
	return b
}

func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:2], castagnoli()), castagnoli(), frame[frameHead:])
}

// nextFrame finds the first whole frame at off or behind it: where damage lies in between, it goes on at
// the next place that reads as a frame. It gives the payload and where the frame starts and ends; nil
// when there is none.
func nextFrame(b []byte, off int) (payload []byte, start, end int) {
	for ; off+frameHead < len(b); off++ {
		n := int(binary.LittleEndian.Uint16(b[off:]))
		if n == 0 || n > maxPayload || off+frameHead+n > len(b) {
			continue
		}
		frame := b[off : off+frameHead+n]
		if binary.LittleEndian.Uint32(frame[2:]) == frameSum(frame) {
			return frame[frameHead:], off, off + len(frame)
		}
	}
	return nil, len(b), len(b)
}

// decodePayload reads what appendFrame put into a frame. The CRC was right, so an error means a program
// that wrote nonsense.
func decodePayload(b []byte) (Record, error) {
	d := decoder{b: b}
	flags := d.byte()
	r := Record{}
	r.Seq = d.uvarint()
	r.Time = time.UnixMicro(d.varint()).UTC()
	r.Boot = time.Duration(min(max(d.varint(), 0), math.MaxInt64/1000)) * time.Microsecond
	for _, f := range [...]*float64{&r.RPM, &r.Hz, &r.Jitter} {
		*f = d.float()
	}
	for _, n := range [...]*uint32{&r.Edges, &r.Glitch, &r.Lost} {
		*n = uint32(min(d.uvarint(), math.MaxUint32))
	}
	if len(d.b) > 0 {
		r.PWM = fanwatch.Duty(min(d.uvarint(), math.MaxUint16))
	}
	known := states()
	if d.bad || len(d.b) != 0 || int(flags&0x7f) >= len(known) {
		return Record{}, fmt.Errorf("spool frame of %d bytes does not hold a reading", len(b))
	}
	r.State, r.Unsynch = known[flags&0x7f], flags&0x80 != 0
	if err := r.Check(); err != nil {
		return Record{}, fmt.Errorf("spool frame: %w", err)
	}
	return r, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n <= 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, 8)
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) float() float64 { return math.Float64frombits(binary.LittleEndian.Uint64(d.take(8))) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.take(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.take(n)
	return v
}
