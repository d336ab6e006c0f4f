package rowfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"fanwatch/lake/internal/parquetguard"
)

// Other programs may rewrite files of an Iceberg table: Spark, pyiceberg and DuckDB compact it too. Chunks of a file
// that this program did not write are read through the Parquet library, whatever their codec (but LZ4), encoding and
// kind of page, and whether the column is optional or required. That is slower and reads whole chunks.

// foreignChunk is the description of a chunk for the library.
type foreignChunk struct {
	element format.SchemaElement
	meta    format.ColumnMetaData // offsets count from the chunk's start
}

// isOwn reports whether this program, in any version, wrote the file.
func isOwn(meta *format.FileMetaData) bool {
	return strings.HasPrefix(meta.CreatedBy, writtenBy)
}

// foreignPlaces returns for each column of the file its place in the layout; -1: none. Columns are found by field IDs,
// and in a file without them by names (Iceberg spec, "Column Projection").
func foreignPlaces(meta *format.FileMetaData) ([]int, error) {
	l := tableLayout()
	if len(meta.Schema) == 0 {
		return nil, parquetguard.ErrFooter
	}
	byName := !slices.ContainsFunc(meta.Schema, func(s format.SchemaElement) bool { return s.FieldID != 0 })
	places := make([]int, 0, len(meta.Schema))
	for _, s := range meta.Schema[1:] {
		if s.NumChildren.V != 0 || s.RepetitionType.V == format.Repeated {
			return nil, fmt.Errorf("column %.80q is nested: fanwatch reads tables of plain columns", s.Name)
		}
		place := slices.IndexFunc(l.columns, func(c column) bool {
			return byName && c.name == s.Name || !byName &&
				c.id == int(s.FieldID)
		})
		if place >= 0 {
			if s.Type.V != l.schema[place+1].Type.V || !inMicroseconds(&s) || slices.Contains(places, place) {
				return nil, fmt.Errorf("column %s is of another type than the table's, or there twice", l.columns[place].name)
			}
		}
		places = append(places, place)
	}
	for _, key := range []int{l.time, l.fan, l.run, l.seq} {
		if !slices.Contains(places, key) {
			return nil, fmt.Errorf("column %s is missing", l.columns[key].name)
		}
	}
	return places, nil
}

// inMicroseconds reports whether a column is no timestamp or one in microseconds, as Iceberg's timestamptz is stored
// (Iceberg spec, "Parquet" of Appendix A).
func inMicroseconds(s *format.SchemaElement) bool {
	t, ok := s.LogicalType.Value.(*format.TimestampType)
	if !ok {
		return true
	}
	_, ok = t.Unit.Value.(*format.MicroSeconds)
	return ok
}

func newForeignChunk(element format.SchemaElement, meta *format.ColumnMetaData, ch *chunkIndex) *foreignChunk {
	const front = int64(len(fileMagic))
	m := format.ColumnMetaData{Type: meta.Type, Encoding: meta.Encoding, PathInSchema: []string{element.Name},
		Codec: meta.Codec, NumValues: meta.NumValues,
		TotalUncompressedSize: meta.TotalUncompressedSize, TotalCompressedSize: ch.size, DataPageOffset: front +
			meta.DataPageOffset - ch.start}
	if ch.dictionary {
		m.DictionaryPageOffset = front
	}
	return &foreignChunk{element, m}
}

// read decodes the chunk, whose bytes are data, into to, without its first skip rows. The library reads a file of this
// one chunk.
func (f *foreignChunk) read(to vector, c column, dict *textDict, data []byte, skip int) error {
	file, err := f.file(data)
	if err != nil {
		return err
	}
	pages := file.RowGroups()[0].ColumnChunks()[0].Pages()
	defer pages.Close()
	values := make([]parquet.Value, 1024)
	for rows, filled := len(to.numbers)+len(to.tags), 0; filled < rows; {
		page, err := pages.ReadPage()
		if err != nil {
			return fmt.Errorf("damaged Parquet file: column %s ends %d rows early: %w", c.name, rows-filled, err)
		}
		for from := page.Values(); filled < rows; {
			n, err := from.ReadValues(values)
			passed := min(skip, n)
			wanted := values[passed:min(n, passed+rows-filled)]
			put(to, filled, c, dict, wanted)
			filled, skip = filled+len(wanted), skip-passed
			if errors.Is(err, io.EOF) || err == nil && n == 0 {
				break
			}
			if err != nil {
				return fmt.Errorf("damaged Parquet file: column %s: %w", c.name, err)
			}
		}
		parquet.Release(page)
	}
	return nil
}

// file returns a file of the one chunk.
func (f *foreignChunk) file(data []byte) (*parquet.File, error) {
	root := format.SchemaElement{Name: "root"}
	root.NumChildren.V, root.NumChildren.Valid = 1, true
	meta := format.FileMetaData{Version: 2, Schema: []format.SchemaElement{root, f.element}, NumRows: f.meta.NumValues,
		RowGroups: []format.RowGroup{{NumRows: f.meta.NumValues, TotalByteSize: f.meta.TotalUncompressedSize,
			Columns: []format.ColumnChunk{{MetaData: f.meta}}}}}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return nil, err
	}
	all := make([]byte, 0, len(data)+len(footer)+12)
	all = append(append(append(all, fileMagic...), data...), footer...)
	all = append(binary.LittleEndian.AppendUint32(all, uint32(len(footer))), fileMagic...)
	return openDataFile(all)
}

// put stores values from place at on. Null in a column that is not optional is the zero value.
func put(to vector, at int, c column, dict *textDict, values []parquet.Value) {
	for i, v := range values {
		switch {
		case c.kind.numeric():
			to.numbers[at+i] = c.null
		default:
			to.tags[at+i] = 0
		}
		if v.IsNull() {
			continue
		}
		switch c.kind {
		case integers:
			to.numbers[at+i] = uint64(v.Int64())
		case floats:
			to.numbers[at+i] = math.Float64bits(v.Double())
		case texts:
			to.tags[at+i] = dict.place(v.ByteArray())
		case flags:
			if v.Boolean() {
				to.tags[at+i] = 1
			}
		}
	}
}

// checkPages checks the headers of a chunk's pages, whose sizes the library believes. It refuses LZ4: a damaged block
// makes the library's decoder double its memory until the process ends, and its encoder writes incompressible pages as
// empty ones.
func checkPages(codec format.CompressionCodec, data []byte) error {
	switch codec {
	case format.Zstd, format.Snappy, format.Gzip, format.Brotli, format.Uncompressed:
	default:
		return fmt.Errorf("damaged Parquet file, or one that another program wrote with compression %v: have it write "+
			"zstd or snappy", codec)
	}
	for r := newChunkReader(nil); len(data) > 0; {
		_, _, rest, err := r.nextPage(data)
		if err != nil {
			return err
		}
		data = rest
	}
	return nil
}
