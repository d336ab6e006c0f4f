package kinesis

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A segment file is a header and frames. All integers are little-endian.
//
//	header: the 8 bytes "fwkseg" 0x00 0x01, the last being the format version
//	frame:  length uint32 | crc uint32 | payload of that length
//	payload: counter uint64 | arrived int64, ms since 1970 | key length uint16 | key | data
//
// crc is CRC-32C of the length's four bytes and the payload, so a frame of zeros, which a power cut can
// leave behind, is not valid.
const (
	segmentHeader = "fwkseg\x00\x01"
	frameHead     = 8
	payloadHead   = 18
	maxPayload    = 16 << 20 // far above any record that is accepted
)

// errDamaged says that a segment does not go on with an intact frame. At the end of the newest segment it
// means a torn write.
var errDamaged = errors.New("no intact frame here")

// record is one record of a shard.
type record struct {
	counter uint64
	arrived int64 // milliseconds since 1970
	key     string
	data    []byte
}

func (r record) size() int { return len(r.key) + len(r.data) }

func (r record) frameSize() int64 { return int64(frameHead + payloadHead + r.size()) }

// appendFrame appends r's frame to b.
func appendFrame(b []byte, r record) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(payloadHead+r.size()))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, r.counter)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.arrived))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.key)))
	b = append(b, r.key...)
	b = append(b, r.data...)
	binary.LittleEndian.PutUint32(b[start+4:], frameSum(b[start:start+4], b[start+frameHead:]))
	return b
}

func frameSum(length, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, length), table, payload)
}

// frameReader reads frames one after another.
type frameReader struct {
	r    *bufio.Reader
	left int64 // bytes until the end of the segment: bounds what a damaged length can ask for
	head [frameHead]byte
	buf  []byte
}

func newFrameReader(r io.Reader, size int64) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10), left: size}
}

// next returns the next record, whose data is valid until the next call. It returns io.EOF at the end,
// errDamaged for anything but an intact frame, and the reader's error when reading fails.
func (f *frameReader) next() (record, error) {
	if f.left == 0 {
		return record{}, io.EOF
	}
	if f.left < frameHead+payloadHead {
		return record{}, errDamaged
	}
	if err := f.fill(f.head[:]); err != nil {
		return record{}, err
	}
	n := binary.LittleEndian.Uint32(f.head[:4])
	if n < payloadHead || n > maxPayload || int64(n) > f.left-frameHead {
		return record{}, errDamaged
	}
	if cap(f.buf) < int(n) {
		f.buf = make([]byte, n)
	}
	p := f.buf[:n]
	if err := f.fill(p); err != nil {
		return record{}, err
	}
	if binary.LittleEndian.Uint32(f.head[4:]) != frameSum(f.head[:4], p) {
		return record{}, errDamaged
	}
	keyLen := int(binary.LittleEndian.Uint16(p[16:]))
	if payloadHead+keyLen > len(p) {
		return record{}, errDamaged
	}
	f.left -= frameHead + int64(n)
	return record{
		counter: binary.LittleEndian.Uint64(p),
		arrived: int64(binary.LittleEndian.Uint64(p[8:])),
		key:     string(p[payloadHead : payloadHead+keyLen]),
		data:    p[payloadHead+keyLen:],
	}, nil
}

// fill reads all of p; a file shorter than it was said to be is damaged.
func (f *frameReader) fill(p []byte) error {
	_, err := io.ReadFull(f.r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDamaged
	}
	if err != nil {
		return fmt.Errorf("reading a segment: %w", err)
	}
	return nil
}
