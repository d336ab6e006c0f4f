// Package parquetguard looks at bytes that are said to be a Parquet file before the Parquet library does.
//
// The library believes the counts in a footer: a few flipped bits make it ask for so much memory that the process
// ends, which no recover catches. So [CheckFooter] first walks the footer (Thrift compact protocol, the Apache Thrift
// specification "thrift-compact-protocol.md") and sees that every list, text and map in it is no longer than the bytes
// that are left. Once the library has opened the file, [CheckCodecs] refuses the compressions whose decoders go astray
// in the same way, and a deferred [Catch] turns what the library still panics about into an error.
//
// [Thrift] is the walker, for those who read footers and page headers by themselves. Nothing here keeps state.
package parquetguard

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// ErrFooter says that a footer's parts do not fit to each other.
var ErrFooter = errors.New("damaged Parquet file: its footer does not hang together")

// CheckCodecs refuses a file that names a compression other than these four: one flipped bit turns zstd into
// LZ4, whose decoder in the library doubles its memory for as long as the bytes make no sense.
func CheckCodecs(f *parquet.File) error {
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

// CheckFooter looks at the end of a Parquet file: footer, its length in 4 bytes, "PAR1".
func CheckFooter(data []byte) error {
	const tail = 8
	if len(data) < 4+tail || string(data[len(data)-4:]) != "PAR1" || string(data[:4]) != "PAR1" {
		return errors.New("not a Parquet file")
	}
	n := binary.LittleEndian.Uint32(data[len(data)-tail:])
	if uint64(n) > uint64(len(data)-4-tail) {
		return fmt.Errorf("damaged Parquet file: a footer of %d bytes in a file of %d", n, len(data))
	}
	if !CheckStruct(data[len(data)-tail-int(n) : len(data)-tail]) {
		return ErrFooter
	}
	return nil
}

// CheckStruct reports whether data begins with a struct in which every list, text and map has its bytes. Only then
// may it be given to a decoder that believes counts.
func CheckStruct(data []byte) bool {
	w := Thrift{Data: data}
	return w.value(Struct, 0)
}

// Catch turns a panic of the Parquet library, which trusts a file's numbers in places, into an error.
func Catch(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged Parquet file: %v", p)
	}
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
	Struct // the kind of a struct
)

const thriftDepth = 32 // Parquet's footer nests about 6 deep

// Thrift reads values of the compact protocol off the front of data. Its methods answer false where the bytes are
// damaged; what they have read is of no use then.
type Thrift struct{ Data []byte }

// value walks over one value; false means that it is damaged.
func (w *Thrift) value(kind byte, depth int) bool {
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
	case Struct:
		return w.fields(depth)
	}
	_, ok := w.varint()
	return ok && kind > thriftByte && kind < thriftDouble
}

func (w *Thrift) fields(depth int) bool {
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

// field reads what stands before a struct's next field: its number, told by that of the last, and the kind of its
// value; 0: there is none.
func (w *Thrift) field(last int64) (field int64, kind byte, ok bool) {
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

// Each calls do with every field of a struct that is no flag. What do does not read is walked over.
func (w *Thrift) Each(do func(field int64, kind byte) bool) bool {
	for field, kind := int64(0), byte(0); ; {
		ok := false
		if field, kind, ok = w.field(field); !ok || kind == 0 {
			return ok
		}
		if kind == thriftTrue || kind == thriftFalse {
			continue
		}
		left := len(w.Data)
		if !do(field, kind) || len(w.Data) == left && !w.value(kind, 1) {
			return false
		}
	}
}

func (w *Thrift) zigzag() (int64, bool) {
	v, ok := w.varint()
	return int64(v>>1) ^ -int64(v&1), ok
}

// Int32 reads a number into to.
func (w *Thrift) Int32(kind byte, to *int32) bool {
	v, ok := w.zigzag()
	*to = int32(v)
	return ok && kind == thriftInt32 && v == int64(*to)
}

// Int64 reads a number into to.
func (w *Thrift) Int64(kind byte, to *int64) (ok bool) {
	*to, ok = w.zigzag()
	return ok && kind == thriftInt64
}

// Text reads a text or bytes.
func (w *Thrift) Text(kind byte, to *[]byte) bool {
	n, ok := w.varint()
	from := w.Data
	if ok = ok && kind == thriftBinary && w.skip(n); ok {
		*to = from[:n]
	}
	return ok
}

// Raw reads a value as it stands.
func (w *Thrift) Raw(kind byte, to *[]byte) bool {
	from := w.Data
	ok := w.value(kind, 1)
	*to = from[:len(from)-len(w.Data)]
	return ok
}

// Structs reads a list of structs, each with read.
func (w *Thrift) Structs(kind byte, read func(i int) bool) bool {
	n, of, ok := w.listHead()
	ok = ok && kind == thriftList && of == Struct
	for i := 0; ok && i < n; i++ {
		ok = read(i)
	}
	return ok
}

// Numbers are a struct's numbers and flags, by field.
type Numbers [9]int64

// Numbers reads a struct's numbers, of 32 bits at most, and flags, and those of its fields for which inner gives a
// place.
func (w *Thrift) Numbers(to *Numbers, inner map[int64]*Numbers) bool {
	for field, kind := int64(0), byte(0); ; {
		ok := false
		if field, kind, ok = w.field(field); !ok || kind == 0 {
			return ok
		}
		var value int64
		switch {
		case kind == thriftTrue || kind == thriftFalse:
			value = int64(thriftFalse - kind)
		case kind == Struct && inner[field] != nil:
			if !w.Numbers(inner[field], nil) {
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

func (w *Thrift) list(depth int) bool {
	n, kind, ok := w.listHead()
	for ; ok && n > 0; n-- {
		ok = w.value(kind, depth+1)
	}
	return ok
}

// listHead reads how many values follow, and of what kind.
func (w *Thrift) listHead() (n int, kind byte, ok bool) {
	head, ok := w.byte()
	long := uint64(head >> 4)
	if ok && long == 15 {
		long, ok = w.varint()
	}
	return int(long), head & 15, ok && long <= uint64(len(w.Data))
}

func (w *Thrift) entries(depth int) bool {
	n, ok := w.varint()
	if !ok || n == 0 || n > uint64(len(w.Data)) {
		return ok && n == 0
	}
	kinds, ok := w.byte()
	for ; ok && n > 0; n-- {
		ok = w.value(kinds>>4, depth+1) && w.value(kinds&15, depth+1)
	}
	return ok
}

func (w *Thrift) byte() (byte, bool) {
	if len(w.Data) == 0 {
		return 0, false
	}
	b := w.Data[0]
	w.Data = w.Data[1:]
	return b, true
}

func (w *Thrift) varint() (uint64, bool) {
	v, n := binary.Uvarint(w.Data)
	if n <= 0 {
		return 0, false
	}
	w.Data = w.Data[n:]
	return v, true
}

func (w *Thrift) skip(n uint64) bool {
	if n > uint64(len(w.Data)) {
		return false
	}
	w.Data = w.Data[n:]
	return true
}
