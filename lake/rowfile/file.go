package rowfile

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// A file of the table is "PAR1", the chunks group by group, the page index and the footer. fileTail makes the parts
// behind the chunks, so that these may be made in any order.

const (
	fileMagic = "PAR1"
	writtenBy = "fanwatch version " // begins created_by of a file; the version follows
)

// Version is the version of the tables' layout that this program writes. A later version adds columns, with the next
// field IDs, and changes nothing else. A table of an earlier version gains them when it is opened to be changed; its
// files stay as they are, and their rows have null in these columns (in Go: zero). A table of a later version is
// refused. Version 2 added the column refused to the table quarantine, version 3 the columns expected to pwm to the
// table of readings and the table labels, version 4 the columns severity to ended_by to the table alerts.
const Version = 4

// MetaVersion is the key of the footer's entry that has the version of the file's layout.
const MetaVersion = "fanwatch.version"

// fileTail returns the page index and the footer of a file with these groups of chunks.
func fileTail(groups [][]chunk) ([]byte, error) {
	l := tableLayout()
	meta := format.FileMetaData{Version: 2, Schema: l.schema, ColumnOrders: l.orders, CreatedBy: writtenBy +
		strconv.Itoa(Version) + " (build table)",
		KeyValueMetadata: []format.KeyValue{{Key: MetaVersion, Value: strconv.Itoa(Version)}}}
	at := int64(len(fileMagic))
	for g, chunks := range groups {
		group := format.RowGroup{Ordinal: int16(g), FileOffset: at, NumRows: int64(chunks[0].rows),
			Columns:        make([]format.ColumnChunk, len(chunks)),
			SortingColumns: []format.SortingColumn{{ColumnIdx: int32(l.fan)}, {ColumnIdx: int32(l.time)}}}
		for c := range chunks {
			group.Columns[c] = chunks[c].describe(l.columns[c], l.schema[c+1], at)
			at += int64(chunks[c].size())
			group.TotalByteSize += int64(chunks[c].raw)
		}
		group.TotalCompressedSize = at - group.FileOffset
		meta.NumRows += group.NumRows
		meta.RowGroups = append(meta.RowGroups, group)
	}
	tail, err := pageIndex(groups, &meta, at)
	if err != nil {
		return nil, err
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return nil, fmt.Errorf("table: footer: %w", err)
	}
	tail = append(tail, footer...)
	return append(binary.LittleEndian.AppendUint32(tail, uint32(len(footer))), fileMagic...), nil
}

// size returns the chunk's length in bytes.
func (ch *chunk) size() int {
	if len(ch.pages) == 0 {
		return ch.dictionary
	}
	last := ch.pages[len(ch.pages)-1]
	return last.offset + last.size
}

// describe returns the footer's entry of a chunk that begins at at.
func (ch *chunk) describe(c column, s format.SchemaElement, at int64) format.ColumnChunk {
	m := format.ColumnMetaData{Type: s.Type.V, PathInSchema: []string{c.name}, Codec: format.Zstd,
		NumValues: int64(ch.rows), TotalUncompressedSize: int64(ch.raw), TotalCompressedSize: int64(ch.size()),
		DataPageOffset: at + int64(ch.dictionary), Encoding: []format.Encoding{ch.encoding, format.RLE},
		Statistics: format.Statistics{NullCount: int64(ch.nulls)}}
	if ch.dictionary > 0 {
		m.DictionaryPageOffset = at
		m.Encoding = append(m.Encoding, format.Plain)
	}
	if ch.indexIsValid {
		m.Statistics.MinValue, m.Statistics.MaxValue = ch.lo, ch.hi
	}
	return format.ColumnChunk{MetaData: m}
}

// pageIndex returns the column indexes and offset indexes (Parquet format, "PageIndex.md") of a file in which they
// begin at at, and sets their places in meta.
func pageIndex(groups [][]chunk, meta *format.FileMetaData, at int64) ([]byte, error) {
	var out []byte
	protocol := new(thrift.CompactProtocol)
	for g, chunks := range groups {
		for c := range chunks {
			ch := &chunks[c]
			if !ch.indexIsValid {
				continue
			}
			data, err := thrift.Marshal(protocol, ch.columnIndex())
			if err != nil {
				return nil, fmt.Errorf("table: page index: %w", err)
			}
			entry := &meta.RowGroups[g].Columns[c]
			entry.ColumnIndexOffset, entry.ColumnIndexLength = at+int64(len(out)), int32(len(data))
			out = append(out, data...)
		}
	}
	for g, chunks := range groups {
		for c := range chunks {
			entry := &meta.RowGroups[g].Columns[c]
			index := format.OffsetIndex{}
			start := entry.MetaData.DataPageOffset - int64(chunks[c].dictionary)
			for _, p := range chunks[c].pages {
				index.PageLocations = append(index.PageLocations, format.PageLocation{Offset: start + int64(p.offset),
					CompressedPageSize: int32(p.size), FirstRowIndex: int64(p.row)})
			}
			data, err := thrift.Marshal(protocol, &index)
			if err != nil {
				return nil, fmt.Errorf("table: page index: %w", err)
			}
			entry.OffsetIndexOffset, entry.OffsetIndexLength = at+int64(len(out)), int32(len(data))
			out = append(out, data...)
		}
	}
	return out, nil
}

func (ch *chunk) columnIndex() *format.ColumnIndex {
	index := &format.ColumnIndex{}
	for _, p := range ch.pages {
		lo, hi := p.lo, p.hi
		if lo == nil {
			lo, hi = []byte{}, []byte{}
		}
		index.NullPages = append(index.NullPages, p.lo == nil)
		index.MinValues, index.MaxValues = append(index.MinValues, lo), append(index.MaxValues, hi)
		index.NullCounts = append(index.NullCounts, int64(p.nulls))
	}
	return index
}

// File has the size and the statistics of a data file.
type File struct {
	Day    int32 // days since 1970
	Rows   int
	Size   int64 // bytes
	groups [][]chunk
}

// ColumnStats are the statistics of one column of a file.
type ColumnStats struct {
	ID     int    // field ID
	Nulls  int64  // rows without a value
	Lo, Hi []byte // least and greatest value in Parquet's PLAIN encoding; nil: unknown
}

// Columns returns the statistics of all columns, in the layout's order.
func (f *File) Columns() []ColumnStats {
	stats := make([]ColumnStats, len(tableLayout().columns))
	for c, column := range tableLayout().columns {
		s := &stats[c]
		s.ID = column.id
		for g := range f.groups {
			s.Nulls += int64(f.groups[g][c].nulls)
		}
		s.Lo, s.Hi, _ = f.bounds(c)
	}
	return stats
}

// bounds returns the least and the greatest value of a column; ok is false where one is unknown.
func (f *File) bounds(c int) (lo, hi []byte, ok bool) {
	k := tableLayout().columns[c].kind
	for g := range f.groups {
		ch := &f.groups[g][c]
		if !ch.indexIsValid || ch.lo == nil {
			return nil, nil, false
		}
		if lo == nil || less(k, ch.lo, lo) {
			lo = ch.lo
		}
		if hi == nil || less(k, hi, ch.hi) {
			hi = ch.hi
		}
	}
	return lo, hi, lo != nil
}
