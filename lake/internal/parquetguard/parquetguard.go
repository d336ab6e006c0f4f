// Package parquetguard checks bytes that should be a Parquet file before the Parquet library reads them.
//
// The library believes the counts in a footer: a few flipped bits make it allocate so much memory that the process
// ends, which no recover catches. [CheckFooter] therefore walks the footer first (Thrift compact protocol, the Apache
// Thrift specification "thrift-compact-protocol.md") and checks that every list, text and map in it is no longer than
// the bytes that are left. After the library has opened the file, [CheckCodecs] refuses the compressions whose decoders
// allocate without bound, and a deferred [Catch] turns the library's other panics into errors.
//
// [Thrift] reads footers and page headers without the library.
package parquetguard

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// ErrFooter says that the parts of a footer contradict each other.
var ErrFooter = errors.New("damaged Parquet file: its footer does not hang together")

// CheckCodecs returns an error of a file with a compression other than zstd, Snappy, gzip and none: one flipped bit
// turns zstd into LZ4, whose decoder in the library doubles its memory for as long as the bytes are not valid.
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

// CheckFooter checks the end of a Parquet file: footer, its length in 4 bytes, "PAR1".
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

// CheckStruct reports whether data begins with a struct in which every list, text and map has its bytes. Only then is
// it safe for a decoder that believes counts.
func CheckStruct(data []byte) bool {
	w := Thrift{Data: data}
	return w.value(Struct, 0)
}

// Catch turns a panic of the Parquet library into an error. It must be deferred.
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
	// Struct is the type of a struct.
	Struct
)

// thriftDepth is the deepest nesting that is read; Parquet's footer has about 6 levels.
const thriftDepth = 32

// Thrift reads values of the compact protocol from the front of Data. Its methods return false where the bytes are
// damaged; their results are then of no use.
type Thrift struct{ Data []byte } // the bytes that are not read yet

// value skips one value.
func (w *Thrift) value(kind byte, depth int) bool {
	if depth > thriftDepth {
		return false
	}
	switch kind {
	case thriftTrue, thriftFalse, thriftByte: // a bool of a list is a byte; fields has those of structs
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

// fields skips the fields of a struct.
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

// field reads the head of a struct's next field: its number, as the difference from the last or in full, and the kind
// of its value; 0: the struct has no more fields.
func (w *Thrift) field(last int64) (field int64, kind byte, ok bool) {
	head, ok := w.byte()
	if !ok || head == 0 {
		return 0, 0, ok
	}
	if head>>4 > 0 {
		return last + int64(head>>4), head & 15, head&15 > 0
	}
	field, ok = w.zigzag() // the difference is above 15
	return field, head & 15, ok && head&15 > 0
}

// Each calls do with every field of a struct that is no bool, and skips values that do does not read.
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

// zigzag reads a signed number.
func (w *Thrift) zigzag() (int64, bool) {
	v, ok := w.varint()
	return int64(v>>1) ^ -int64(v&1), ok
}

// Int32 reads a number of 32 bits into to.
func (w *Thrift) Int32(kind byte, to *int32) bool {
	v, ok := w.zigzag()
	*to = int32(v)
	return ok && kind == thriftInt32 && v == int64(*to)
}

// Int64 reads a number of 64 bits into to.
func (w *Thrift) Int64(kind byte, to *int64) (ok bool) {
	*to, ok = w.zigzag()
	return ok && kind == thriftInt64
}

// Text reads a text or bytes into to, which shares Data's memory.
func (w *Thrift) Text(kind byte, to *[]byte) bool {
	n, ok := w.varint()
	from := w.Data
	if ok = ok && kind == thriftBinary && w.skip(n); ok {
		*to = from[:n]
	}
	return ok
}

// Raw reads the encoded bytes of a value into to, which shares Data's memory.
func (w *Thrift) Raw(kind byte, to *[]byte) bool {
	from := w.Data
	ok := w.value(kind, 1)
	*to = from[:len(from)-len(w.Data)]
	return ok
}

// Structs reads a list of structs, each by read, which is called with its place in the list.
func (w *Thrift) Structs(kind byte, read func(i int) bool) bool {
	n, of, ok := w.listHead()
	ok = ok && kind == thriftList && of == Struct
	for i := 0; ok && i < n; i++ {
		ok = read(i)
	}
	return ok
}

// Numbers are the numbers and bools (0 or 1) of a struct, by field number.
type Numbers [9]int64

// Numbers reads a struct's numbers, of 32 bits at most, and bools into to, and those of its fields that are structs
// into inner, by field number.
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

// list skips a list or set.
func (w *Thrift) list(depth int) bool {
	n, kind, ok := w.listHead()
	for ; ok && n > 0; n-- {
		ok = w.value(kind, depth+1)
	}
	return ok
}

// listHead reads the number of values that follow and their kind.
func (w *Thrift) listHead() (n int, kind byte, ok bool) {
	head, ok := w.byte()
	long := uint64(head >> 4)
	if ok && long == 15 {
		long, ok = w.varint()
	}
	return int(long), head & 15, ok && long <= uint64(len(w.Data))
}

// entries skips a map.
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
