package rowfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"

	"fanwatch/lake/internal/parquetguard"
)

// maxPage is the largest size of an unpacked page, in bytes. Pages of other programs have 64 KiB to 1 MiB; a dictionary
// of fanwatch has at most 64 Ki numbers or as many names.
const maxPage = 64 << 20

// chunkReader decodes chunks. Its buffers are used again from chunk to chunk. It is not safe for concurrent use.
type chunkReader struct {
	dict     *textDict
	header   pageHeader
	inner    map[int64]*parquetguard.Numbers // header's parts
	unpacked []byte                          // a page, decompressed
	spare    []byte
	levels   []uint32
	defined  vector // levels, in runs
	index    []uint32
	places   vector   // index, in runs
	present  vector   // an optional column's values without its nulls
	page     vector   // a page of which only some rows are wanted
	numbers  []uint64 // the dictionary of a chunk of numbers
	tags     []uint32 // the dictionary of a chunk of texts
}

// pageDecoder decompresses pages for all readers: it keeps some memory and is slow to make.
var pageDecoder = sync.OnceValue(func() *zstd.Decoder {
	// these options cannot fail
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPage),
		zstd.WithDecoderLowmem(true))
	return d
})

func newChunkReader(dict *textDict) *chunkReader {
	r := &chunkReader{dict: dict}
	r.inner = map[int64]*parquetguard.Numbers{7: &r.header.dictionary, 8: &r.header.data}
	return r
}

// read decodes a chunk's bytes into to, which has the length of the group.
func (r *chunkReader) read(to vector, c column, ch *chunkIndex, data []byte) error {
	if !ch.present {
		fill(to.numbers, c.null)
		clear(to.tags)
		return nil
	}
	if ch.foreign != nil {
		return ch.foreign.read(to, c, r.dict, data, 0)
	}
	return r.eachPage(c, ch, data, to.len(), func(n int, head *pageHeader, body []byte) error {
		page := to.slice(c.kind, 0, n)
		to = to.slice(c.kind, n, to.len())
		return r.readPage(page, c, ch, head, body)
	})
}

// readRuns appends a chunk's values to runs. fits is false where these are more than limit, the encoding has no runs,
// or another program wrote the chunk; the runs are then of no use.
func (r *chunkReader) readRuns(to *vector, c column, ch *chunkIndex, data []byte, rows, limit int) (fits bool,
	err error) {
	if !ch.present {
		to.add(c.kind, c.null, rows)
		return true, nil
	}
	if ch.foreign != nil {
		return false, nil
	}
	err = r.eachPage(c, ch, data, rows, func(n int, head *pageHeader, body []byte) error {
		fits, err := r.readPageRuns(to, c, ch, n, head, body, limit)
		if err == nil && !fits {
			err = errNoRuns
		}
		return err
	})
	if errors.Is(err, errNoRuns) {
		return false, nil
	}
	return err == nil, err
}

// errNoRuns says that readRuns does not fit.
var errNoRuns = errors.New("the column is not to be kept in runs")

// readAsRuns sets to to a chunk's runs, however many there are.
func (r *chunkReader) readAsRuns(to *vector, c column, ch *chunkIndex, data []byte, rows int) error {
	*to = to.noRuns()
	fits, err := r.readRuns(to, c, ch, data, rows, rows/leastRun)
	if err != nil || fits {
		return err
	}
	r.page = r.page.sized(c.kind, rows)
	page := r.page.slice(c.kind, 0, rows)
	if err := r.read(page, c, ch, data); err != nil {
		return err
	}
	*to = to.noRuns()
	to.addValues(c.kind, page, 0, rows)
	return nil
}

// eachPage reads the dictionary and calls do with every data page and its number of rows.
func (r *chunkReader) eachPage(c column, ch *chunkIndex, data []byte, rows int, do func(n int, head *pageHeader,
	body []byte) error) error {
	r.numbers, r.tags = r.numbers[:0], r.tags[:0]
	for rows > 0 {
		head, body, rest, err := r.nextPage(data)
		if err != nil {
			return err
		}
		data = rest
		if head.kind() == format.DictionaryPage {
			if err := r.readDictionary(c, ch, head, body); err != nil {
				return err
			}
			continue
		}
		n := head.rows()
		if head.kind() != format.DataPageV2 || n <= 0 || n > rows {
			return errPage
		}
		if err := do(n, head, body); err != nil {
			return err
		}
		rows -= n
	}
	return nil
}

// readPart decodes pages of a chunk into to, without their first skip rows. dictionary is the chunk's dictionary page.
func (r *chunkReader) readPart(to vector, c column, ch *chunkIndex, dictionary, pages []byte, skip int) error {
	if !ch.present {
		return r.read(to, c, ch, nil)
	}
	if ch.foreign != nil {
		return ch.foreign.read(to, c, r.dict, pages, skip)
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
		if head.kind() == format.DictionaryPage {
			if err := r.readDictionary(c, ch, head, body); err != nil {
				return err
			}
			continue
		}
		n := head.rows()
		if head.kind() != format.DataPageV2 || n <= 0 || n > 1<<24 {
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

// pageHeader has the fields of a page's header (parquet.thrift: PageHeader, DictionaryPageHeader, DataPageHeaderV2), by
// their numbers. The library takes several times as long, which counts for pages of a few thousand rows.
type pageHeader struct{ page, dictionary, data parquetguard.Numbers }

func (h *pageHeader) kind() format.PageType                { return format.PageType(h.page[1]) }
func (h *pageHeader) size() int                            { return int(h.page[2]) }
func (h *pageHeader) compressedSize() int64                { return h.page[3] }
func (h *pageHeader) crc() uint32                          { return uint32(h.page[4]) }
func (h *pageHeader) entries() int                         { return int(h.dictionary[1]) }
func (h *pageHeader) values() int                          { return int(h.data[1]) }
func (h *pageHeader) rows() int                            { return int(h.data[3]) }
func (h *pageHeader) encoding() format.Encoding            { return format.Encoding(h.data[4]) }
func (h *pageHeader) levels() (definition, repetition int) { return int(h.data[5]), int(h.data[6]) }
func (h *pageHeader) compressed() bool                     { return h.data[7] == 1 }

// nextPage splits off the first page. The header is valid until the next call.
func (r *chunkReader) nextPage(data []byte) (head *pageHeader, body, rest []byte, err error) {
	w := parquetguard.Thrift{Data: data}
	r.header = pageHeader{}
	r.header.data[7] = 1 // the default
	if !w.Numbers(&r.header.page, r.inner) {
		return nil, nil, nil, errPage
	}
	n := r.header.compressedSize()
	if n < 0 || n > int64(len(w.Data)) || r.header.size() < 0 || r.header.size() > maxPage {
		return nil, nil, nil, errPage
	}
	body, rest = w.Data[:n], w.Data[n:]
	if crc := r.header.crc(); crc != 0 && crc != crc32.ChecksumIEEE(body) {
		return nil, nil, nil, fmt.Errorf("damaged Parquet file: a page's checksum does not fit")
	}
	return &r.header, body, rest, nil
}

// unpack returns a page's bytes, decompressed and padded, and their number.
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
	r.unpacked, err = pageDecoder().DecodeAll(body, grown(r.unpacked, size+padding)[:0])
	if err != nil || len(r.unpacked) != size {
		return nil, 0, fmt.Errorf("damaged Parquet file: a page unpacks to %d bytes, want %d: %w", len(r.unpacked), size, err)
	}
	return padded(r.unpacked, size, &r.spare), size, nil
}

func (r *chunkReader) readDictionary(c column, ch *chunkIndex, head *pageHeader, body []byte) error {
	n := head.entries()
	data, size, err := r.unpack(ch, body, head.size(), true)
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
		to[i] = r.dict.place(data[4 : 4+n])
		data = data[4+n:]
	}
	return nil
}

// openPage returns a data page's definition levels, its values, decompressed and padded, and their number of bytes.
func (r *chunkReader) openPage(rows int, c column, ch *chunkIndex, head *pageHeader, body []byte) (levels, data []byte,
	size int, err error) {
	n, repetition := head.levels()
	if head.values() != rows || repetition != 0 || n < 0 || n > len(body) || !c.optional && n != 0 {
		return nil, nil, 0, errPage
	}
	data, size, err = r.unpack(ch, body[n:], head.size()-n, head.compressed())
	return body[:n], data, size, err
}

// readPage decodes a data page into to.
func (r *chunkReader) readPage(to vector, c column, ch *chunkIndex, head *pageHeader, body []byte) error {
	levels, data, size, err := r.openPage(to.len(), c, ch, head, body)
	if err != nil {
		return err
	}
	encoding := head.encoding()
	if !c.optional {
		return r.decode(to, c, encoding, data, size)
	}
	r.levels = grown(r.levels, to.len())
	var spare []byte
	if err := decodeHybrid(r.levels, padded(levels, len(levels), &spare), len(levels), 1); err != nil {
		return err
	}
	present := 0
	for _, l := range r.levels {
		present += int(l)
	}
	r.present = r.present.sized(c.kind, present)
	if err := r.decode(r.present.slice(c.kind, 0, present), c, encoding, data, size); err != nil {
		return err
	}
	scatter(to.numbers, r.present.numbers, r.levels, c.null)
	scatter(to.tags, r.present.tags, r.levels, 0)
	return nil
}

// readPageRuns appends a data page's values to runs; see readRuns.
func (r *chunkReader) readPageRuns(to *vector, c column, ch *chunkIndex, rows int, head *pageHeader, body []byte,
	limit int) (fits bool, err error) {
	levels, data, size, err := r.openPage(rows, c, ch, head, body)
	if err != nil {
		return false, err
	}
	encoding := head.encoding()
	if !c.optional {
		if fits, err := r.decodeRuns(c, encoding, data, size, rows, limit); err != nil || !fits {
			return fits, err
		}
		return len(to.ends) <= limit, r.addPlaces(to, c, 0, rows)
	}
	r.defined = r.defined.noRuns()
	var spare []byte
	if fits, err := decodeHybridRuns(&r.defined, padded(levels, len(levels), &spare), len(levels), 1, rows,
		limit); err != nil || !fits {
		return fits, err
	}
	present, from := 0, 0
	for i, end := range r.defined.ends {
		present += (int(end) - from) * int(r.defined.tags[i])
		from = int(end)
	}
	if fits, err := r.decodeRuns(c, encoding, data, size, present, limit); err != nil || !fits {
		return fits, err
	}
	present, from = 0, 0
	for i, end := range r.defined.ends {
		n := int(end) - from
		from = int(end)
		if r.defined.tags[i] == 0 {
			to.add(c.kind, c.null, n)
			continue
		}
		if err := r.addPlaces(to, c, present, present+n); err != nil {
			return false, err
		}
		present += n
	}
	return len(to.ends) <= limit, nil
}

// decodeRuns sets r.places to runs of places in the dictionary, or of flags; for fits see readRuns.
func (r *chunkReader) decodeRuns(c column, encoding format.Encoding, data []byte, size, rows, limit int) (fits bool,
	err error) {
	r.places = r.places.noRuns()
	switch {
	case rows == 0:
		return true, nil
	case encoding == format.RLEDictionary && c.kind != flags:
		if size < 1 {
			return false, errPage
		}
		if len(r.numbers)+len(r.tags) == 1 {
			r.places.add(texts, 0, rows) // the indices are all 0, whatever their encoding
			return true, nil
		}
		return decodeHybridRuns(&r.places, data[1:], size-1, int(data[0]), rows, limit)
	case encoding == format.Plain && c.kind == flags:
		if size != (rows+7)/8 {
			return false, errPage
		}
		decodeBitRuns(&r.places, data, rows)
		return true, nil
	}
	return false, nil
}

// addPlaces appends the values of the rows first..last of r.places.
func (r *chunkReader) addPlaces(to *vector, c column, first, last int) error {
	for i := r.places.runAt(first); first < last; i++ {
		place, end := r.places.tags[i], min(int(r.places.ends[i]), last)
		value := uint64(place)
		switch {
		case c.kind == flags:
		case c.kind == texts && int(place) < len(r.tags):
			value = uint64(r.tags[place])
		case c.kind.numeric() && int(place) < len(r.numbers):
			value = r.numbers[place]
		default:
			return errPage
		}
		to.add(c.kind, value, end-first)
		first = end
	}
	return nil
}

// scatter puts values where levels has a 1, and null elsewhere.
func scatter[T uint32 | uint64](to, values []T, levels []uint32, null T) {
	next := 0
	for i := range to {
		to[i] = null
		if levels[i] == 1 {
			to[i] = values[next]
			next++
		}
	}
}

// decode decodes size bytes of values without nulls.
func (r *chunkReader) decode(to vector, c column, encoding format.Encoding, data []byte, size int) error {
	rows := len(to.numbers) + len(to.tags)
	switch {
	case rows == 0:
		return nil
	//lint:ignore SA1019 other programs still write it
	case encoding == format.RLEDictionary || encoding == format.PlainDictionary:
		if size < 1 || c.kind == flags {
			return errPage
		}
		if c.kind == texts && len(r.tags) == 1 {
			fill(to.tags, r.tags[0]) // the indices are all 0, whatever their encoding
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
	return fmt.Errorf("damaged Parquet file, or one that another program wrote: column %s has encoding %v", c.name,
		encoding)
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
