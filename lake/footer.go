package lake

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// The Parquet library believes the counts in a footer: a few flipped bits make it ask for so much memory
// that the process ends, which no recover catches. So checkFooter first walks the footer (Thrift compact
// protocol, the Apache Thrift specification "thrift-compact-protocol.md") and sees that every list,
// text and map in it is no longer than the bytes that are left.

var errFooter = errors.New("damaged Parquet file: its footer does not hang together")

// checkCodecs refuses a file that names a compression other than these four: one flipped bit turns zstd into
// LZ4, whose decoder in the library doubles its memory for as long as the bytes make no sense.
func checkCodecs(f *parquet.File) error {
	for _, group := range f.Metadata().RowGroups {
		for _, column := range group.Columns {
			switch c := column.MetaData.Codec; c {
			case format.Zstd, format.Snappy, format.Gzip, format.Uncompressed:
			default:
				return fmt.Errorf("damaged Parquet file, or one that another program wrote: compression %v is not read here", c)
			}
		}
	}
	return nil
}

// checkFooter looks at the end of a Parquet file: footer, its length in 4 bytes, "PAR1".
func checkFooter(data []byte) error {
	const tail = 8
	if len(data) < 4+tail || string(data[len(data)-4:]) != "PAR1" || string(data[:4]) != "PAR1" {
		return errors.New("not a Parquet file")
	}
	n := binary.LittleEndian.Uint32(data[len(data)-tail:])
	if uint64(n) > uint64(len(data)-4-tail) {
		return fmt.Errorf("damaged Parquet file: a footer of %d bytes in a file of %d", n, len(data))
	}
	w := thriftWalk{data: data[len(data)-tail-int(n) : len(data)-tail]}
	if !w.value(thriftStruct, 0) {
		return errFooter
	}
	return nil
}

// The types of the compact protocol. Those of 16 to 64 bits are varints.
const (
	thriftTrue = 1 + iota
	thriftFalse
	thriftByte
	_
	thriftInt32
	thriftInt64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

const thriftDepth = 32 // Parquet's footer nests about 6 deep

type thriftWalk struct{ data []byte }

// value walks over one value; false means that it is damaged.
func (w *thriftWalk) value(kind byte, depth int) bool {
	if depth > thriftDepth {
		return false
	}
	switch kind {
	case thriftTrue, thriftFalse, thriftByte: // a bool stands in a byte in lists; fields handles the other place
		return w.skip(1)
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, ok := w.varint()
		return ok && w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.entries(depth)
	case thriftStruct:
		return w.fields(depth)
	}
	_, ok := w.varint()
	return ok && kind > thriftByte && kind < thriftDouble
}

func (w *thriftWalk) fields(depth int) bool {
	for field, kind := int64(0), byte(0); ; {
		ok := false
		if field, kind, ok = w.field(field); !ok || kind == 0 {
			return ok
		}
		if kind != thriftTrue && kind != thriftFalse && !w.value(kind, depth+1) {
			return false
		}
	}
}

// field reads what stands before a struct's next field: its number, told by that of the last, and the kind of its value; 0: there
// is none.
func (w *thriftWalk) field(last int64) (field int64, kind byte, ok bool) {
	head, ok := w.byte()
	if !ok || head == 0 {
		return 0, 0, ok
	}
	if head>>4 > 0 {
		return last + int64(head>>4), head & 15, head&15 > 0
	}
	field, ok = w.zigzag() // too far from the last to be its difference
	return field, head & 15, ok && head&15 > 0
}

// each calls with every field of a struct that is no flag. What do does not take is walked over.
func (w *thriftWalk) each(do func(field int64, kind byte) bool) bool {
	for field, kind := int64(0), byte(0); ; {
		ok := false
		if field, kind, ok = w.field(field); !ok || kind == 0 {
			return ok
		}
		if kind == thriftTrue || kind == thriftFalse {
			continue
		}
		left := len(w.data)
		if !do(field, kind) || len(w.data) == left && !w.value(kind, 1) {
			return false
		}
	}
}

func (w *thriftWalk) zigzag() (int64, bool) {
	v, ok := w.varint()
	return int64(v>>1) ^ -int64(v&1), ok
}

// int32 and int64 read a number into to.
func (w *thriftWalk) int32(kind byte, to *int32) bool {
	v, ok := w.zigzag()
	*to = int32(v)
	return ok && kind == thriftInt32 && v == int64(*to)
}

func (w *thriftWalk) int64(kind byte, to *int64) (ok bool) {
	*to, ok = w.zigzag()
	return ok && kind == thriftInt64
}

// text reads a text or bytes.
func (w *thriftWalk) text(kind byte, to *[]byte) bool {
	n, ok := w.varint()
	from := w.data
	if ok = ok && kind == thriftBinary && w.skip(n); ok {
		*to = from[:n]
	}
	return ok
}

// raw reads a value as it stands.
func (w *thriftWalk) raw(kind byte, to *[]byte) bool {
	from := w.data
	ok := w.value(kind, 1)
	*to = from[:len(from)-len(w.data)]
	return ok
}

// structs reads a list of structs, each with read.
func (w *thriftWalk) structs(kind byte, read func(i int) bool) bool {
	n, of, ok := w.listHead()
	ok = ok && kind == thriftList && of == thriftStruct
	for i := 0; ok && i < n; i++ {
		ok = read(i)
	}
	return ok
}

// thriftNumbers are a struct's numbers and flags, by field.
type thriftNumbers [9]int64

// numbers reads a struct's numbers, of 32 bits at most, and flags, and those of its fields for which inner gives a place.
func (w *thriftWalk) numbers(to *thriftNumbers, inner map[int64]*thriftNumbers) bool {
	for field, kind := int64(0), byte(0); ; {
		ok := false
		if field, kind, ok = w.field(field); !ok || kind == 0 {
			return ok
		}
		var value int64
		switch {
		case kind == thriftTrue || kind == thriftFalse:
			value = int64(thriftFalse - kind)
		case kind == thriftStruct && inner[field] != nil:
			if !w.numbers(inner[field], nil) {
				return false
			}
			continue
		case kind > thriftByte && kind < thriftDouble:
			if value, ok = w.zigzag(); !ok || value != int64(int32(value)) {
				return false
			}
		case !w.value(kind, 1):
			return false
		default:
			continue
		}
		if field >= 0 && field < int64(len(to)) {
			to[field] = value
		}
	}
}

func (w *thriftWalk) list(depth int) bool {
	n, kind, ok := w.listHead()
	for ; ok && n > 0; n-- {
		ok = w.value(kind, depth+1)
	}
	return ok
}

// listHead reads how many values follow, and of what kind.
func (w *thriftWalk) listHead() (n int, kind byte, ok bool) {
	head, ok := w.byte()
	long := uint64(head >> 4)
	if ok && long == 15 {
		long, ok = w.varint()
	}
	return int(long), head & 15, ok && long <= uint64(len(w.data))
}

func (w *thriftWalk) entries(depth int) bool {
	n, ok := w.varint()
	if !ok || n == 0 || n > uint64(len(w.data)) {
		return ok && n == 0
	}
	kinds, ok := w.byte()
	for ; ok && n > 0; n-- {
		ok = w.value(kinds>>4, depth+1) && w.value(kinds&15, depth+1)
	}
	return ok
}

func (w *thriftWalk) byte() (byte, bool) {
	if len(w.data) == 0 {
		return 0, false
	}
	b := w.data[0]
	w.data = w.data[1:]
	return b, true
}

func (w *thriftWalk) varint() (uint64, bool) {
	v, n := binary.Uvarint(w.data)
	if n <= 0 {
		return 0, false
	}
	w.data = w.data[n:]
	return v, true
}

func (w *thriftWalk) skip(n uint64) bool {
	if n > uint64(len(w.data)) {
		return false
	}
	w.data = w.data[n:]
	return true
}
