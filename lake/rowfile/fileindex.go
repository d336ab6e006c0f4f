package rowfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"fanwatch/lake/internal/parquetguard"
	"fanwatch/objstore"
)

// Index has the places of a data file's chunks and its page index, read from the file's end. It does not change and may
// be shared by readers.
type Index struct {
	Rows   int
	groups []groupIndex
	newer  string // name of a column with values that the layout lacks, of a later version or another program; "" = none
	pages  []byte // the page index; nil = none
	at     int64  // offset of pages in the file
}

// groupIndex has one entry for each column of the layout; that of a column that the file lacks is zero.
type groupIndex struct {
	rows   int
	chunks []chunkIndex
}

// chunkIndex is a chunk's place and statistics.
type chunkIndex struct {
	present              bool
	codec                format.CompressionCodec
	start, size          int64         // place of all pages in the file
	dictionary           bool          // the first page is a dictionary
	lo, hi               []byte        // bounds in PLAIN encoding; nil: unknown
	columnIndex, offsets span          // places in the file; empty = none
	foreign              *foreignChunk // nil: this program wrote the chunk
}

// span is a part of a file, in bytes.
type span struct{ offset, size int64 }

// fileEnd is how many bytes of a file's end are fetched first: footer and page index of some millions of rows.
const fileEnd = 256 << 10

var errForeign = errors.New("not a file that fanwatch wrote")

// OpenIndex reads the end of a file of size bytes.
func OpenIndex(size int64, fetch FetchFunc) (*Index, error) {
	tail, err := fetch(max(0, size-fileEnd), min(size, fileEnd))
	if err != nil {
		return nil, err
	}
	if len(tail) < 12 || string(tail[len(tail)-4:]) != fileMagic {
		return nil, errors.New("not a Parquet file")
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-8:]))
	if n > size-12 {
		return nil, fmt.Errorf("damaged Parquet file: a footer of %d bytes in a file of %d", n, size)
	}
	begin := size - int64(len(tail)) // of tail
	reach := func(offset int64) error {
		if offset >= begin {
			return nil
		}
		more, err := fetch(offset, begin-offset)
		if err == nil {
			tail, begin = append(more, tail...), offset
		}
		return err
	}
	if err := reach(size - 8 - n); err != nil {
		return nil, err
	}
	x, err := parseFooter(tail[int64(len(tail))-8-n:len(tail)-8], size)
	if err != nil || x.at == 0 {
		return x, err
	}
	if err := reach(x.at); err != nil {
		return nil, err
	}
	x.pages = append([]byte(nil), tail[x.at-begin:int64(len(tail))-8-n]...)
	return x, nil
}

// parseFooter reads a footer that ends 8 bytes before the end of a file of size bytes.
func parseFooter(footer []byte, size int64) (*Index, error) {
	if x := parseOwn(footer, size); x != nil {
		return x, nil
	}
	return parseAny(footer, size)
}

// parseAny reads the footer of a file of any program through the library.
func parseAny(footer []byte, size int64) (*Index, error) {
	if !parquetguard.CheckStruct(footer) {
		return nil, parquetguard.ErrFooter
	}
	var meta format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, &meta); err != nil {
		return nil, fmt.Errorf("damaged Parquet file: %w", err)
	}
	own, find := isOwn(&meta), columnPlaces
	if !own {
		find = foreignPlaces
	}
	places, err := find(&meta)
	if err != nil {
		return nil, err
	}
	x := &Index{groups: make([]groupIndex, 0, len(meta.RowGroups))}
	end := size - 8 - int64(len(footer))
	for i := range meta.RowGroups {
		g := &meta.RowGroups[i]
		if len(g.Columns) != len(places) || g.NumRows < 0 || g.NumRows > 1<<31 {
			return nil, parquetguard.ErrFooter
		}
		group := groupIndex{rows: int(g.NumRows), chunks: make([]chunkIndex, len(tableLayout().columns))}
		for c := range g.Columns {
			if places[c] < 0 { // a column that a later version or another program added
				if m := &g.Columns[c].MetaData; m.Statistics.NullCount != m.NumValues {
					x.newer = meta.Schema[c+1].Name
				}
				continue
			}
			ch, err := indexChunk(&g.Columns[c], g.NumRows, end)
			if own && err == nil {
				err = checkOwnCodec(ch.codec)
			}
			if err != nil {
				return nil, err
			}
			if !own {
				ch.foreign = newForeignChunk(meta.Schema[c+1], &g.Columns[c].MetaData, &ch)
			}
			group.chunks[places[c]] = ch
		}
		x.add(group)
	}
	if int64(x.Rows) != meta.NumRows || x.Rows > 1<<31 {
		return nil, parquetguard.ErrFooter
	}
	return x, nil
}

// add adds a group.
func (x *Index) add(group groupIndex) {
	for _, ch := range group.chunks {
		for _, s := range []span{ch.columnIndex, ch.offsets} {
			if s.size > 0 && (x.at == 0 || s.offset < x.at) {
				x.at = s.offset
			}
		}
	}
	x.Rows += group.rows
	x.groups = append(x.groups, group)
}

// columnPlaces returns for each column of the file its place in the layout, by field ID; -1: none.
func columnPlaces(meta *format.FileMetaData) ([]int, error) {
	l := tableLayout()
	if len(meta.Schema) == 0 {
		return nil, parquetguard.ErrFooter
	}
	places := make([]int, 0, len(meta.Schema))
	taken := make(map[int]bool)
	for i, s := range meta.Schema[1:] {
		if s.NumChildren.V != 0 || s.RepetitionType.V == format.Repeated {
			return nil, errForeign
		}
		places = append(places, -1)
		for c, column := range l.columns {
			if column.id != int(s.FieldID) {
				continue
			}
			if s.Type.V != l.schema[c+1].Type.V || s.RepetitionType.V != l.schema[c+1].RepetitionType.V || taken[c] {
				return nil, fmt.Errorf("column %s is of another type than the table's: %w", column.name, errForeign)
			}
			places[i], taken[c] = c, true
		}
	}
	return places, nil
}

// indexChunk returns the index of a chunk of rows rows in a file whose footer begins at end.
func indexChunk(from *format.ColumnChunk, rows, end int64) (chunkIndex, error) {
	m := &from.MetaData
	ch := chunkIndex{present: true, codec: m.Codec, start: m.DataPageOffset, size: m.TotalCompressedSize,
		lo: m.Statistics.MinValue, hi: m.Statistics.MaxValue,
		columnIndex: span{from.ColumnIndexOffset, int64(from.ColumnIndexLength)}, offsets: span{from.OffsetIndexOffset,
			int64(from.OffsetIndexLength)}}
	if m.DictionaryPageOffset > 0 && m.DictionaryPageOffset < m.DataPageOffset {
		ch.start, ch.dictionary = m.DictionaryPageOffset, true
	}
	for _, s := range []span{{ch.start, ch.size}, ch.columnIndex, ch.offsets} {
		if s.offset < 0 || s.size < 0 || s.size > end || s.offset > end-s.size {
			return chunkIndex{}, parquetguard.ErrFooter
		}
	}
	if ch.start == 0 && rows > 0 || m.NumValues != rows {
		return chunkIndex{}, parquetguard.ErrFooter
	}
	return ch, nil
}

func checkOwnCodec(codec format.CompressionCodec) error {
	if codec != format.Zstd && codec != format.Uncompressed {
		return fmt.Errorf("damaged Parquet file: compression %v", codec)
	}
	return nil
}

// pageIndexPart returns a part of the page index; ok is false where there is none.
func (x *Index) pageIndexPart(s span) (data []byte, ok bool) {
	if s.size == 0 || x.pages == nil || s.offset < x.at || s.offset-x.at > int64(len(x.pages))-s.size {
		return nil, false
	}
	return x.pages[s.offset-x.at:][:s.size], true
}

// decodePart decodes a part of the page index into v; false: it is missing or damaged.
func (x *Index) decodePart(s span, v any) bool {
	data, ok := x.pageIndexPart(s)
	if !ok {
		return false
	}
	return parquetguard.CheckStruct(data) && thrift.Unmarshal(new(thrift.CompactProtocol), data, v) == nil
}

// memory returns about how many bytes the index takes.
func (x *Index) memory() int {
	return len(x.pages) + len(x.groups)*len(tableLayout().columns)*200 + 200
}

// FetchFrom returns a function that reads an object of the store.
func FetchFrom(ctx context.Context, store objstore.Store, key string) FetchFunc {
	return func(offset, n int64) ([]byte, error) { return store.GetRange(ctx, key, offset, n) }
}

// FetchBytes returns a function that reads a file in memory.
func FetchBytes(data []byte) FetchFunc {
	return func(offset, n int64) ([]byte, error) {
		if offset < 0 || n < 0 || offset > int64(len(data))-n {
			return nil, io.ErrUnexpectedEOF
		}
		return data[offset : offset+n], nil
	}
}

// number returns an int64 in PLAIN encoding.
func number(plain []byte) int64 { return int64(binary.LittleEndian.Uint64(plain)) }
