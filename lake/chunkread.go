package lake

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// maxPage bounds what one page may unpack to: others' pages are 64 KiB to 1 MiB, a dictionary of ours at most
// 64 Ki numbers or as many names.
const maxPage = 64 << 20

// chunkReader decodes chunks. Its buffers are used again from chunk to chunk. Not safe for concurrent use.
type chunkReader struct {
	table   *textTable
	header  format.PageHeader
	decoder *thrift.Decoder
	source  thrift.BytesReader
	plain   []byte // a page, decompressed
	spare   []byte
	levels  []uint32
	index   []uint32
	present vector // an optional column's values without its nulls
	page    vector // one of whose rows only some are wanted
	numbers []uint64
	tags    []uint32 // the dictionary of the chunk that is being read
}

// pageDecoder decompresses pages, for all readers: one keeps some memory, and is slow to make.
var pageDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecoderLowmem(true)) // these options cannot fail
	return d
})

func newChunkReader(table *textTable) *chunkReader {
	r := &chunkReader{table: table}
	r.source = new(thrift.CompactProtocol).NewReaderFromBytes(nil)
	r.decoder = thrift.NewDecoder(r.source)
	return r
}

// read decodes a chunk's bytes into to, which is as long as the group has rows.
func (r *chunkReader) read(to vector, c column, ch *chunkIndex, data []byte) error {
	if !ch.present {
		clear(to.numbers)
		clear(to.tags)
		return nil
	}
	if ch.foreign != nil {
		return ch.foreign.read(to, c, r.table, data, 0)
	}
	r.numbers, r.tags = r.numbers[:0], r.tags[:0]
	for rows := len(to.numbers) + len(to.tags); rows > 0; {
		head, body, rest, err := r.nextPage(data)
		if err != nil {
			return err
		}
		data = rest
		if head.Type == format.DictionaryPage {
			if err := r.readDictionary(c, ch, head, body); err != nil {
				return err
			}
			continue
		}
		n := int(head.DataPageHeaderV2.V.NumRows)
		if head.Type != format.DataPageV2 || n <= 0 || n > rows {
			return errPage
		}
		if err := r.readPage(to.slice(c.kind, 0, n), c, ch, head, body); err != nil {
			return err
		}
		to = to.slice(c.kind, n, rows)
		rows -= n
	}
	return nil
}

// readPart decodes pages, behind the chunk's dictionary, of which the first skip rows are not wanted.
func (r *chunkReader) readPart(to vector, c column, ch *chunkIndex, dictionary, pages []byte, skip int) error {
	if !ch.present {
		return r.read(to, c, ch, nil)
	}
	if ch.foreign != nil {
		return ch.foreign.read(to, c, r.table, pages, skip)
	}
	r.numbers, r.tags = r.numbers[:0], r.tags[:0]
	rows := len(to.numbers) + len(to.tags)
	for filled := 0; filled < rows; {
		data := &pages
		if len(dictionary) > 0 {
			data = &dictionary
		}
		head, body, rest, err := r.nextPage(*data)
		if err != nil {
			return err
		}
		*data = rest
		if head.Type == format.DictionaryPage {
			if err := r.readDictionary(c, ch, head, body); err != nil {
				return err
			}
			continue
		}
		n := int(head.DataPageHeaderV2.V.NumRows)
		if head.Type != format.DataPageV2 || n <= 0 || n > 1<<24 {
			return errPage
		}
		if n <= skip {
			skip -= n
			continue
		}
		if skip == 0 && n <= rows-filled {
			if err := r.readPage(to.slice(c.kind, filled, filled+n), c, ch, head, body); err != nil {
				return err
			}
			filled += n
			continue
		}
		r.page = r.page.sized(c.kind, n)
		if err := r.readPage(r.page.slice(c.kind, 0, n), c, ch, head, body); err != nil {
			return err
		}
		n = min(n-skip, rows-filled)
		if c.kind.numeric() {
			copy(to.numbers[filled:], r.page.numbers[skip:skip+n])
		} else {
			copy(to.tags[filled:], r.page.tags[skip:skip+n])
		}
		filled, skip = filled+n, 0
	}
	return nil
}

// nextPage splits off the page in front. The header is good until the next call.
func (r *chunkReader) nextPage(data []byte) (head *format.PageHeader, body, rest []byte, err error) {
	w := thriftWalk{data: data}
	if !w.value(thriftStruct, 0) {
		return nil, nil, nil, errPage
	}
	r.header = format.PageHeader{}
	r.source.ResetBytes(data[:len(data)-len(w.data)])
	if err := r.decoder.Decode(&r.header); err != nil {
		return nil, nil, nil, fmt.Errorf("damaged Parquet file: page header: %w", err)
	}
	n := int64(r.header.CompressedPageSize)
	if n < 0 || n > int64(len(w.data)) || r.header.UncompressedPageSize < 0 || r.header.UncompressedPageSize > maxPage {
		return nil, nil, nil, errPage
	}
	body, rest = w.data[:n], w.data[n:]
	if crc := uint32(r.header.CRC); crc != 0 && crc != crc32.ChecksumIEEE(body) {
		return nil, nil, nil, fmt.Errorf("damaged Parquet file: a page's checksum does not fit")
	}
	return &r.header, body, rest, nil
}

// unpack gives a page's bytes, decompressed and padded, and their number.
func (r *chunkReader) unpack(ch *chunkIndex, body []byte, size int, compressed bool) ([]byte, int, error) {
	if ch.codec == format.Uncompressed || !compressed {
		if len(body) != size {
			return nil, 0, errPage
		}
		return padded(body, size, &r.spare), size, nil
	}
	if size < 0 {
		return nil, 0, errPage
	}
	var err error
	r.plain, err = pageDecoder().DecodeAll(body, grown(r.plain, size+padding)[:0])
	if err != nil || len(r.plain) != size {
		return nil, 0, fmt.Errorf("damaged Parquet file: a page unpacks to %d bytes, want %d: %w", len(r.plain), size, err)
	}
	return padded(r.plain, size, &r.spare), size, nil
}

func (r *chunkReader) readDictionary(c column, ch *chunkIndex, head *format.PageHeader, body []byte) error {
	n := int(head.DictionaryPageHeader.V.NumValues)
	data, size, err := r.unpack(ch, body, int(head.UncompressedPageSize), true)
	if err != nil {
		return err
	}
	switch {
	case c.kind.numeric():
		if n < 0 || size != 8*n {
			return errPage
		}
		r.numbers = grown(r.numbers, n)
		plainNumbers(r.numbers, data)
	case c.kind == texts:
		if n < 0 || n > size/4 {
			return errPage
		}
		r.tags = grown(r.tags, n)
		return r.plainTexts(r.tags, data[:size])
	default:
		return errPage
	}
	return nil
}

func plainNumbers(to []uint64, data []byte) {
	for i := range to {
		to[i] = binary.LittleEndian.Uint64(data[8*i:])
	}
}

func (r *chunkReader) plainTexts(to []uint32, data []byte) error {
	for i := range to {
		if len(data) < 4 {
			return errPage
		}
		n := binary.LittleEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return errPage
		}
		to[i] = r.table.place(data[4 : 4+n])
		data = data[4+n:]
	}
	return nil
}

// readPage decodes a data page into to.
func (r *chunkReader) readPage(to vector, c column, ch *chunkIndex, head *format.PageHeader, body []byte) error {
	h := &head.DataPageHeaderV2.V
	rows, levels := len(to.numbers)+len(to.tags), int(h.DefinitionLevelsByteLength)
	if int(h.NumValues) != rows || h.RepetitionLevelsByteLength != 0 || levels < 0 || levels > len(body) || !c.optional && levels != 0 {
		return errPage
	}
	data, size, err := r.unpack(ch, body[levels:], int(head.UncompressedPageSize)-levels, !h.IsCompressed.Valid || h.IsCompressed.V)
	if err != nil {
		return err
	}
	if !c.optional {
		return r.decode(to, c, h.Encoding, data, size)
	}
	r.levels = grown(r.levels, rows)
	var spare []byte
	if err := decodeHybrid(r.levels, padded(body, levels, &spare), levels, 1); err != nil {
		return err
	}
	present := 0
	for _, l := range r.levels {
		present += int(l)
	}
	r.present = r.present.sized(c.kind, present)
	if err := r.decode(r.present.slice(c.kind, 0, present), c, h.Encoding, data, size); err != nil {
		return err
	}
	spread(to.numbers, r.present.numbers, r.levels)
	spread(to.tags, r.present.tags, r.levels)
	return nil
}

// spread puts values where levels has a 1, and the zero value elsewhere.
func spread[T uint32 | uint64](to, values []T, levels []uint32) {
	next := 0
	for i := range to {
		to[i] = 0
		if levels[i] == 1 {
			to[i] = values[next]
			next++
		}
	}
}

func (r *chunkReader) decode(to vector, c column, encoding format.Encoding, data []byte, size int) error {
	rows := len(to.numbers) + len(to.tags)
	switch {
	case rows == 0:
		return nil
	case encoding == format.RLEDictionary || encoding == format.PlainDictionary:
		if size < 1 || c.kind == flags {
			return errPage
		}
		if c.kind == texts && len(r.tags) == 1 {
			fill(to.tags, r.tags[0]) // whatever the indices' encoding
			return nil
		}
		if c.kind.numeric() && len(r.numbers) == 1 {
			fill(to.numbers, r.numbers[0])
			return nil
		}
		r.index = grown(r.index, rows)
		if err := decodeHybrid(r.index, data[1:], size-1, int(data[0])); err != nil {
			return err
		}
		if c.kind == texts {
			return lookup(to.tags, r.index, r.tags)
		}
		return lookup(to.numbers, r.index, r.numbers)
	case encoding == format.DeltaBinaryPacked && c.kind == integers:
		return decodeDelta(to.numbers, data, size)
	case encoding == format.Plain && c.kind.numeric():
		if size != 8*rows {
			return errPage
		}
		plainNumbers(to.numbers, data)
		return nil
	case encoding == format.Plain && c.kind == flags:
		if size != (rows+7)/8 {
			return errPage
		}
		unpackBits(to.tags, data, 1)
		return nil
	case encoding == format.RLE && c.kind == flags:
		if size < 4 {
			return errPage
		}
		return decodeHybrid(to.tags, data[4:], size-4, 1)
	case encoding == format.Plain && c.kind == texts:
		return r.plainTexts(to.tags, data[:size])
	}
	return fmt.Errorf("damaged Parquet file, or one that another program wrote: column %s has encoding %v", c.name, encoding)
}

func fill[T uint32 | uint64](to []T, v T) {
	for i := range to {
		to[i] = v
	}
}

func lookup[T uint32 | uint64](to []T, index []uint32, dictionary []T) error {
	for i, place := range index {
		if int(place) >= len(dictionary) {
			return errPage
		}
		to[i] = dictionary[place]
	}
	return nil
}
