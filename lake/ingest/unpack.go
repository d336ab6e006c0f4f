package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"fanwatch/objstore"
)

// maxText is the largest text of an object, in bytes, packed and unpacked, and maxLayers how many times over it may be
// packed. Firehose ends an object at 128 MiB.
const (
	maxText   = 1 << 30
	maxLayers = 4
)

var gzipMagic = []byte{0x1f, 0x8b}

// unpack returns the text of an object. gzip, known by its first bytes, is unpacked for as long as the result is gzip
// again. A damaged object ends with an error behind the last sound byte.
func unpack(object io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(&bounded{in: object, left: maxText}, maxObject)
	for range maxLayers {
		if head, _ := in.Peek(len(gzipMagic)); !bytes.Equal(head, gzipMagic) {
			return in, nil
		}
		in = bufio.NewReaderSize(&bounded{in: &members{in: in}, left: maxText}, maxObject)
	}
	if head, _ := in.Peek(len(gzipMagic)); bytes.Equal(head, gzipMagic) {
		return nil, fmt.Errorf("it is gzip more than %d times over", maxLayers)
	}
	return in, nil
}

// bounded reads at most left bytes and fails at the first one more. Its error stays.
type bounded struct {
	in   io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		n, err = n-1, fmt.Errorf("more than %d bytes of text: split it into smaller objects", maxText)
	}
	b.err = err
	return n, err
}

// members reads gzip members that follow each other, also with line ends or zero bytes between and behind them, as
// writers of one member a record and of padded blocks leave them. Its error stays.
type members struct {
	in   *bufio.Reader
	z    *gzip.Reader
	open bool
	err  error
}

func (m *members) Read(p []byte) (int, error) {
	for m.err == nil {
		if !m.open {
			m.err = m.next()
			continue
		}
		n, err := m.z.Read(p)
		if errors.Is(err, io.EOF) {
			m.open, err = false, nil
		}
		if m.err = err; n > 0 {
			return n, nil
		}
	}
	return 0, m.err
}

// next opens the next member, or returns io.EOF.
func (m *members) next() (err error) {
	for m.z != nil { // nothing stands before the first
		c, err := m.in.ReadByte()
		if err != nil {
			return err
		}
		if c != '\n' && c != '\r' && c != 0 {
			_ = m.in.UnreadByte() // it was read just now
			break
		}
	}
	if head, err := m.in.Peek(len(gzipMagic)); !bytes.Equal(head, gzipMagic) {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		rest, _ := m.in.Peek(maxPayload)
		return &trailingError{bytes.Clone(rest)}
	}
	if m.z == nil {
		m.z, err = gzip.NewReader(m.in)
	} else {
		err = m.z.Reset(m.in)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // a header that is cut off
		}
		return err
	}
	m.z.Multistream(false)
	m.open = true
	return nil
}

// trailingError says that the bytes behind a gzip member are no gzip member.
type trailingError struct{ rest []byte } // the bytes, at most maxPayload

func (e *trailingError) Error() string {
	return fmt.Sprintf("behind a gzip member stands what is none, %.32q", e.rest)
}

// readSize is the number of bytes of an object that are read at once.
const readSize = 8 << 20

// objectReader reads an object of a store in chunks. Its error, which stays, is the store's.
type objectReader struct {
	ctx     context.Context
	store   objstore.Store
	object  objstore.Object
	timeout time.Duration // for one chunk
	at      int64         // offset of the next chunk
	data    []byte        // the rest of the last chunk
	err     error
}

func (o *objectReader) Read(p []byte) (int, error) {
	if len(o.data) == 0 && o.err == nil {
		if o.at >= o.object.Size {
			return 0, io.EOF
		}
		ctx, cancel := context.WithTimeout(o.ctx, o.timeout)
		o.data, o.err = o.store.GetRange(ctx, o.object.Key, o.at, min(readSize, o.object.Size-o.at))
		cancel()
		o.at += int64(len(o.data))
	}
	if o.err != nil {
		return 0, o.err
	}
	n := copy(p, o.data)
	o.data = o.data[n:]
	return n, nil
}

// failed returns the store's error, nil where the object was removed since it was listed.
func (o *objectReader) failed() error {
	if errors.Is(o.err, objstore.ErrNotFound) {
		return nil
	}
	return &unreadError{o.err}
}

// unprocessed is a record that Firehose could not process, as it writes it under processing-failed/ and
// format-conversion-failed/ (developer guide, "Data transformation failure handling").
type unprocessed struct {
	data    []byte // the record as it was sent
	why     string
	arrived time.Time // zero: unknown
}

// parseUnprocessed reads a record that Firehose could not process; ok is false for any other JSON object.
func parseUnprocessed(object []byte) (f unprocessed, ok bool) {
	if !bytes.Contains(object, []byte(`"rawData"`)) {
		return f, false
	}
	var w struct {
		RawData          []byte `json:"rawData"` // base64
		ErrorCode        string `json:"errorCode"`
		ErrorMessage     string `json:"errorMessage"`
		LastErrorCode    string `json:"lastErrorCode"` // of a format conversion
		LastErrorMessage string `json:"lastErrorMessage"`
		Arrival          int64  `json:"arrivalTimestamp"` // Unix milliseconds
	}
	if json.Unmarshal(object, &w) != nil || w.ErrorCode == "" && w.LastErrorCode == "" {
		return f, false
	}
	f = unprocessed{data: w.RawData, why: cmp.Or(w.ErrorCode, w.LastErrorCode)}
	if message := cmp.Or(w.ErrorMessage, w.LastErrorMessage); message != "" {
		f.why += ": " + message
	}
	if w.Arrival > 0 && w.Arrival < math.MaxInt64/1000 {
		f.arrived = time.UnixMilli(w.Arrival).UTC()
	}
	return f, true
}

// formats has the first bytes of objects that hold no JSON text.
var formats = []struct{ magic, name string }{
	{"PK\x03\x04", "a ZIP archive"}, {"PK\x05\x06", "a ZIP archive"}, {"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"PAR1", "Parquet"}, {"ORC", "ORC"}, {"Obj\x01", "Avro"}, {"%PDF-", "PDF"}, {"<?xml", "XML"},
	{"BZh", "bzip2"}, {"\x28\xb5\x2f\xfd", "Zstandard"}, {"\xfd7zXZ\x00", "xz"}, {"\x04\x22\x4d\x18", "LZ4"},
	{"\xff\x06\x00\x00sNaPpY", "Snappy"}, {"\x82SNAPPY\x00", "Snappy"},
	{"\xff\xfe", "UTF-16 text"}, {"\xfe\xff", "UTF-16 text"}, {"\x00\x00\xfe\xff", "UTF-32 text"},
	{"{\x00", "UTF-16 text"}, {"\x00{\x00", "UTF-16 text"}, {"[\x00", "UTF-16 text"}, {"\x00[\x00", "UTF-16 text"},
}

// foreignFormat returns the reason that an object holds no JSON text, with its format and the mend, and "" where it may
// hold some. head is its beginning, unpacked, at least 512 bytes of a longer one.
func foreignFormat(key string, head []byte) string {
	name := ""
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			name = f.name
		}
	}
	switch snappy := strings.HasSuffix(key, ".snappy") || strings.HasSuffix(key, ".hsnappy"); {
	case name != "":
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		name = "a tar archive"
	case snappy && !bytes.HasPrefix(trimSeparators(head), []byte("{")), hadoopSnappy(head):
		name = "Snappy"
	default:
		return ""
	}
	mend := "let the delivery stream write JSON, plain or gzip, and write this one anew as such"
	if strings.HasPrefix(name, "UTF-") {
		mend = "let it be written in UTF-8"
	}
	return fmt.Sprintf("it is %s, not JSON: %s", name, mend)
}

// hadoopSnappy reports whether head begins with Hadoop's framing of Snappy: the lengths of the whole and of the first
// chunk, big-endian, and then the length with which Snappy begins, a varint, which fits them.
func hadoopSnappy(head []byte) bool {
	if len(head) < 10 || head[0] != 0 {
		return false
	}
	whole := uint64(binary.BigEndian.Uint32(head))
	length, n := binary.Uvarint(head[8:])
	return n > 0 && whole > 0 && length > 0 && length <= whole && head[4] == 0
}

// noObject returns the reason that a text without a JSON object is not landed; junk is its beginning.
func noObject(junk []byte) string {
	line, _, _ := bytes.Cut(junk, []byte("\n"))
	unprintable := func(c rune) bool { return c < ' ' && c != '\t' && c != '\r' || c == utf8.RuneError }
	for _, comma := range []byte(",;\t") {
		if bytes.Count(line, []byte{comma}) > 1 && bytes.IndexFunc(line, unprintable) < 0 {
			return fmt.Sprintf("it is CSV, not JSON: let each row be written as a JSON object; it begins with %.60q", line)
		}
	}
	return fmt.Sprintf("it holds no JSON object: let each reading be written as one; it begins with %.60q", line)
}
