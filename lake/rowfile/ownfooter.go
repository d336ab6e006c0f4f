package rowfile

import (
	"bytes"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"fanwatch/lake/internal/parquetguard"
)

// parseOwn reads the footer of a file that this program wrote, with this version's columns. It returns nil of any other
// footer and of a damaged one, which parseAny names. The library decodes all of a footer, most of which is the same in
// every file: for 1,000 small files that took 3 % of the time of merging them.
func parseOwn(footer []byte, size int64) *Index {
	x, w := &Index{}, parquetguard.Thrift{Data: footer}
	var rows int64
	var schema, writer []byte
	ok := w.Each(func(field int64, kind byte) bool {
		// fields of FileMetaData, and below of the structs in it:
		// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
		switch field {
		case 2:
			return w.Raw(kind, &schema)
		case 3:
			return w.Int64(kind, &rows)
		case 4:
			return x.groups == nil && w.Structs(kind, func(int) bool {
				g, ok := readRowGroup(&w, size-8-int64(len(footer)))
				x.add(g)
				return ok
			})
		case 6:
			return w.Text(kind, &writer)
		}
		return true
	})
	if !ok || !bytes.Equal(schema, ownSchema()) || !bytes.HasPrefix(writer, []byte(writtenBy)) || int64(x.Rows) != rows ||
		x.Rows > 1<<31 {
		return nil
	}
	return x
}

// ownSchema returns the schema of this version's files as it stands in a footer.
var ownSchema = sync.OnceValue(func() (schema []byte) {
	tail, err := fileTail(nil)
	if err != nil {
		panic(err) // it is the same on every call
	}
	w := parquetguard.Thrift{Data: tail}
	w.Each(func(field int64, kind byte) bool { return field != 2 || w.Raw(kind, &schema) })
	return schema
})

// readRowGroup reads a RowGroup of a file whose footer begins at end.
func readRowGroup(w *parquetguard.Thrift, end int64) (g groupIndex, ok bool) {
	g.chunks = make([]chunkIndex, len(tableLayout().columns))
	n, values, rows := 0, make([]int64, len(g.chunks)), int64(-1)
	var chunk format.ColumnChunk
	ok = w.Each(func(field int64, kind byte) bool {
		switch field {
		case 1:
			return w.Structs(kind, func(c int) (ok bool) {
				if c == len(values) || !readColumnChunk(w, &chunk) {
					return false
				}
				var err error
				n, values[c] = c+1, chunk.MetaData.NumValues
				g.chunks[c], err = indexChunk(&chunk, values[c], end)
				return err == nil && checkOwnCodec(g.chunks[c].codec) == nil
			})
		case 3:
			return w.Int64(kind, &rows)
		}
		return true
	})
	g.rows = int(rows)
	return g, ok && n == len(values) && rows >= 0 && rows <= 1<<31 &&
		!slices.ContainsFunc(values, func(v int64) bool { return v != rows })
}

// readColumnChunk reads the fields that indexChunk needs.
func readColumnChunk(w *parquetguard.Thrift, to *format.ColumnChunk) bool {
	*to = format.ColumnChunk{}
	m := &to.MetaData
	var codec int32
	meta := func(field int64, kind byte) bool {
		switch field {
		case 4:
			return w.Int32(kind, &codec)
		case 5:
			return w.Int64(kind, &m.NumValues)
		case 7:
			return w.Int64(kind, &m.TotalCompressedSize)
		case 9:
			return w.Int64(kind, &m.DataPageOffset)
		case 11:
			return w.Int64(kind, &m.DictionaryPageOffset)
		case 12:
			return kind == parquetguard.Struct && w.Each(func(field int64, kind byte) bool {
				switch field {
				case 5:
					return w.Text(kind, &m.Statistics.MaxValue)
				case 6:
					return w.Text(kind, &m.Statistics.MinValue)
				}
				return true
			})
		}
		return true
	}
	ok := w.Each(func(field int64, kind byte) bool {
		switch field {
		case 3:
			return kind == parquetguard.Struct && w.Each(meta)
		case 4:
			return w.Int64(kind, &to.OffsetIndexOffset)
		case 5:
			return w.Int32(kind, &to.OffsetIndexLength)
		case 6:
			return w.Int64(kind, &to.ColumnIndexOffset)
		case 7:
			return w.Int32(kind, &to.ColumnIndexLength)
		}
		return true
	})
	m.Codec = format.CompressionCodec(codec)
	// copies, so that a cached index does not keep the footer in memory
	m.Statistics.MinValue, m.Statistics.MaxValue = bytes.Clone(m.Statistics.MinValue), bytes.Clone(m.Statistics.MaxValue)
	return ok
}
