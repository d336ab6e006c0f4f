package rowfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The rows of a group and of a page. A group has dictionaries of its own: with more rows a dictionary saves more where
// fans are alike, with fewer its indices are shorter where they are not. A page is the least that a reader of one fan
// decodes; its 16 Ki indices have 64 KiB.
const (
	groupRows = 128 << 10
	pageRows  = 16 << 10
)

// leastFrame is the size of the smallest zstd frame, in bytes.
const leastFrame = 9

// chunk is the encoded column of one group: its pages and their entries in the footer. Offsets count from the chunk's
// start.
type chunk struct {
	rows, nulls  int
	dictionary   int // bytes of the dictionary page with its header; 0 = none
	raw          int // bytes before compression, headers included
	encoding     format.Encoding
	pages        []chunkPage
	lo, hi       []byte // bounds in PLAIN encoding; nil: none, because of NaN or of nulls alone
	indexIsValid bool   // every page with values has bounds
}

// chunkPage is a page of a chunk; sizes are in bytes.
type chunkPage struct {
	offset, size, row int
	nulls             int
	lo, hi            []byte
}

// chunkWriter encodes chunks. Its buffers are used again from chunk to chunk. It is not safe for concurrent use.
type chunkWriter struct {
	zstd    *zstd.Encoder
	numbers numberSet
	local   []uint32 // by place in the textDict: place in the dictionary + 1
	used    []uint32 // places of the dictionary's texts in the textDict
	index   []uint32
	levels  vector
	present vector      // an optional column without its nulls
	ends    [2][]uint32 // the ends of a page's runs, with nulls and without
	wide    vector      // a page whose runs had to be expanded
	body    []byte
	packed  []byte
	header  bytes.Buffer
	encoder *thrift.Encoder
}

func newChunkWriter() *chunkWriter {
	w := &chunkWriter{}
	// these options cannot fail
	w.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false))
	w.encoder = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.header))
	return w
}

// write appends the column's chunk to dst: all values of a group. Values in runs and values one by one make the same
// bytes.
func (w *chunkWriter) write(dst []byte, c column, v vector, dict *textDict) ([]byte, chunk, error) {
	ch := chunk{rows: v.rows(), indexIsValid: true}
	start := len(dst)
	present := v
	if c.optional {
		present = w.withoutNulls(c, v)
	}
	width := w.dictionary(c, present, dict, &ch)
	var err error
	if ch.encoding == format.RLEDictionary {
		header := format.PageHeader{Type: format.DictionaryPage}
		header.DictionaryPageHeader.Set(format.DictionaryPageHeader{NumValues: int32(w.entries(c)), Encoding: format.Plain})
		if dst, _, err = w.page(dst, &header, nil, true, &ch); err != nil {
			return nil, chunk{}, err
		}
		ch.dictionary = len(dst) - start
	}
	done, try := 0, true // done: values of present that are written; try: see page
	for from := 0; from < ch.rows; from += pageRows {
		to := min(from+pageRows, ch.rows)
		p := chunkPage{offset: len(dst) - start, row: from}
		var levels []byte
		if c.optional {
			page, _ := v.part(c.kind, from, to, &w.ends[0])
			levels = w.definitions(c, page, &p)
		}
		values, first := present.part(c.kind, done, done+to-from-p.nulls, &w.ends[1])
		w.bounds(c, values, dict, &p)
		w.encode(c, &ch, values, first, width)
		done += to - from - p.nulls
		header := format.PageHeader{Type: format.DataPageV2}
		header.DataPageHeaderV2.Set(format.DataPageHeaderV2{NumValues: int32(to - from), NumNulls: int32(p.nulls),
			NumRows: int32(to - from), Encoding: ch.encoding, DefinitionLevelsByteLength: int32(len(levels))})
		if dst, try, err = w.page(dst, &header, levels, try, &ch); err != nil {
			return nil, chunk{}, err
		}
		p.size = len(dst) - start - p.offset
		ch.add(c, p)
	}
	return dst, ch, nil
}

// add adds a page and extends the chunk's bounds by the page's.
func (ch *chunk) add(c column, p chunkPage) {
	ch.pages = append(ch.pages, p)
	ch.nulls += p.nulls
	if p.lo == nil {
		if p.nulls < min(pageRows, ch.rows-p.row) { // NaN is among the values: the chunk has no bounds either
			ch.indexIsValid = false
		}
		return
	}
	if ch.lo == nil || less(c.kind, p.lo, ch.lo) {
		ch.lo = p.lo
	}
	if ch.hi == nil || less(c.kind, ch.hi, p.hi) {
		ch.hi = p.hi
	}
}

// less reports whether bound a is less than bound b, both in PLAIN encoding.
func less(k kind, a, b []byte) bool {
	switch k {
	case integers:
		return int64(binary.LittleEndian.Uint64(a)) < int64(binary.LittleEndian.Uint64(b))
	case floats:
		return math.Float64frombits(binary.LittleEndian.Uint64(a)) < math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return bytes.Compare(a, b) < 0
}

// dictionary chooses the encoding, puts the dictionary into w.body and the values' places in it into w.index.
// It returns the width of these places in bits.
func (w *chunkWriter) dictionary(c column, v vector, dict *textDict, ch *chunk) int {
	w.body = w.body[:0]
	switch {
	case c.kind == flags:
		ch.encoding = format.Plain
		return 0
	case c.delta:
		ch.encoding = format.DeltaBinaryPacked
		return 0
	case c.kind == texts:
		ch.encoding = format.RLEDictionary
		w.textDictionary(v.tags, dict)
		return max(1, bits.Len(uint(max(len(w.used), 1)-1)))
	}
	// A dictionary of more than half of the values costs more than it saves: each value has an entry and an index.
	w.index = grown(w.index, len(v.numbers))
	if !w.numbers.index(v.numbers, w.index, v.rows()/2+8) {
		ch.encoding = format.Plain
		return 0
	}
	ch.encoding = format.RLEDictionary
	for _, n := range w.numbers.values {
		w.body = binary.LittleEndian.AppendUint64(w.body, n)
	}
	return max(1, bits.Len(uint(max(len(w.numbers.values), 1)-1)))
}

// entries returns the number of values of the dictionary.
func (w *chunkWriter) entries(c column) int {
	if c.kind == texts {
		return len(w.used)
	}
	return len(w.numbers.values)
}

// textDictionary is dictionary for texts.
func (w *chunkWriter) textDictionary(tags []uint32, dict *textDict) {
	if n := len(dict.texts); n > len(w.local) {
		w.local = append(w.local, make([]uint32, n-len(w.local))...)
	}
	w.used = w.used[:0]
	w.index = grown(w.index, len(tags))
	for i, p := range tags {
		if w.local[p] == 0 {
			w.used = append(w.used, p)
			w.local[p] = uint32(len(w.used))
			w.body = binary.LittleEndian.AppendUint32(w.body, uint32(len(dict.texts[p])))
			w.body = append(w.body, dict.texts[p]...)
		}
		w.index[i] = w.local[p] - 1
	}
	for _, p := range w.used {
		w.local[p] = 0
	}
}

// encode puts a page's values, of which the first is the chunk's value first, into w.body.
func (w *chunkWriter) encode(c column, ch *chunk, v vector, first, width int) {
	w.body = w.body[:0]
	switch {
	case ch.encoding == format.RLEDictionary && v.ends != nil:
		w.body = appendHybridRuns(append(w.body, byte(width)), w.index[first:first+v.len()], v.ends, width)
	case ch.encoding == format.RLEDictionary:
		w.body = appendHybrid(append(w.body, byte(width)), w.index[first:first+v.len()], width)
	case c.kind == flags && v.ends != nil:
		w.body = appendBitRuns(w.body, v.tags, v.ends)
	case c.kind == flags:
		w.body = packBits(w.body, v.tags, 1)
	case v.ends != nil:
		w.wide = v.expand(c.kind, w.wide)
		w.encode(c, ch, w.wide, 0, width)
	case ch.encoding == format.DeltaBinaryPacked:
		w.body = appendDelta(w.body, v.numbers)
	default:
		for _, n := range v.numbers {
			w.body = binary.LittleEndian.AppendUint64(w.body, n)
		}
	}
}

// withoutNulls returns the values that are not null, in runs where v is.
func (w *chunkWriter) withoutNulls(c column, v vector) vector {
	if v.ends != nil {
		w.present = w.present.noRuns()
		from := 0
		for i, end := range v.ends {
			if n := v.value(c.kind, i); n != c.null {
				w.present.add(c.kind, n, int(end)-from)
			}
			from = int(end)
		}
		return w.present
	}
	w.present = vector{numbers: w.present.numbers[:0], tags: w.present.tags[:0]}
	for _, n := range v.numbers {
		if n != c.null {
			w.present.numbers = append(w.present.numbers, n)
		}
	}
	for _, t := range v.tags {
		if t != 0 {
			w.present.tags = append(w.present.tags, t)
		}
	}
	return w.present
}

// definitions returns the definition levels of an optional column's page: 1 where there is a value.
func (w *chunkWriter) definitions(c column, v vector, p *chunkPage) []byte {
	if v.ends != nil {
		w.levels = w.levels.noRuns()
		from := 0
		for i, end := range v.ends {
			level := min(v.value(c.kind, i)^c.null, 1)
			w.levels.add(texts, level, int(end)-from)
			p.nulls += (int(end) - from) * int(1-level)
			from = int(end)
		}
		return appendHybridRuns(nil, w.levels.tags, w.levels.ends, 1)
	}
	levels := grown(w.levels.tags, v.len())
	w.levels.tags = levels
	for i, t := range v.tags {
		levels[i] = min(t, 1)
	}
	for i, n := range v.numbers {
		levels[i] = uint32(min(n^c.null, 1))
	}
	for _, l := range levels {
		p.nulls += int(1 - l)
	}
	return appendHybrid(nil, levels, 1)
}

// page appends a page: header, levels and w.body. A dictionary is always compressed, because its header cannot say that
// it is not; a data page if try is set, it has more than leastFrame bytes and shrinks by at least 1/32. The result says
// whether the chunk's next page should be tried: false once a page of at least a bit a row did not shrink, because
// repetitions in such a column are already in its runs and its dictionary.
func (w *chunkWriter) page(dst []byte, header *format.PageHeader, levels []byte, try bool, ch *chunk) ([]byte, bool,
	error) {
	raw := len(levels) + len(w.body)
	w.packed = append(w.packed[:0], levels...)
	compressed := header.Type == format.DictionaryPage
	if compressed || try && len(w.body) > leastFrame {
		w.packed = w.zstd.EncodeAll(w.body, w.packed)
		compressed = compressed || len(w.packed) <= raw-raw/32
	}
	if !compressed {
		w.packed = append(w.packed[:len(levels)], w.body...)
		try = try && len(w.body) < pageRows/8
	}
	header.DataPageHeaderV2.V.IsCompressed = thrift.New(compressed)
	header.UncompressedPageSize, header.CompressedPageSize = int32(raw), int32(len(w.packed))
	header.CRC = int32(crc32.ChecksumIEEE(w.packed))
	w.header.Reset()
	if err := w.encoder.Encode(header); err != nil {
		return nil, false, fmt.Errorf("table: page header: %w", err)
	}
	ch.raw += w.header.Len() + raw
	dst = append(dst, w.header.Bytes()...)
	return append(dst, w.packed...), try, nil
}

// bounds sets a page's bounds to its least and greatest value.
func (w *chunkWriter) bounds(c column, v vector, dict *textDict, p *chunkPage) {
	var lo, hi uint64
	switch c.kind {
	case integers:
		if len(v.numbers) == 0 {
			return
		}
		lo, hi = extent(v.numbers, 1<<63)
	case floats:
		var ok bool
		if lo, hi, ok = floatBounds(v.numbers); !ok {
			return
		}
	case flags:
		if len(v.tags) == 0 {
			return
		}
		p.lo, p.hi = []byte{1}, []byte{0}
		for _, t := range v.tags {
			p.lo[0], p.hi[0] = min(p.lo[0], byte(t)), max(p.hi[0], byte(t))
		}
		return
	case texts:
		textBounds(v.tags, dict, p)
		return
	}
	both := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, lo), hi)
	p.lo, p.hi = both[:8:8], both[8:]
}

// extent returns the least and the greatest number, compared with the bits of flip inverted: for int64 the sign bit. It
// works in two strands, because each step waits for the one before.
func extent(numbers []uint64, flip uint64) (lo, hi uint64) {
	lo, hi = math.MaxUint64, 0
	lo2, hi2 := lo, hi
	for ; len(numbers) >= 2; numbers = numbers[2:] {
		a, b := numbers[0]^flip, numbers[1]^flip
		lo, hi, lo2, hi2 = min(lo, a), max(hi, a), min(lo2, b), max(hi2, b)
	}
	for _, n := range numbers {
		lo, hi = min(lo, n^flip), max(hi, n^flip)
	}
	return min(lo, lo2) ^ flip, max(hi, hi2) ^ flip
}

// floatBounds returns the bits of the least and the greatest float64; ok is false without numbers and where one is NaN.
func floatBounds(numbers []uint64) (lo, hi uint64, ok bool) {
	lo, hi = extent(numbers, 0) // the bits of numbers without a sign are in the order of the numbers
	if hi <= math.Float64bits(math.Inf(1)) {
		return lo, hi, len(numbers) > 0
	}
	l, h := math.Inf(1), math.Inf(-1)
	for _, n := range numbers {
		f := math.Float64frombits(n)
		l, h = min(l, f), max(h, f) // NaN where one number is
	}
	return math.Float64bits(l), math.Float64bits(h), l <= h
}

// textBounds is bounds for texts.
func textBounds(tags []uint32, dict *textDict, p *chunkPage) {
	lo, hi, last, any := "", "", uint32(0), false
	for _, t := range tags {
		if any && t == last {
			continue
		}
		s := dict.texts[t]
		if !any || s < lo {
			lo = s
		}
		if !any || s > hi {
			hi = s
		}
		last, any = t, true
	}
	if any {
		p.lo, p.hi = append(make([]byte, 0, len(lo)), lo...), append(make([]byte, 0, len(hi)), hi...)
	}
}

// numberSet numbers the distinct values of a column: an open-addressed hash table with its values in one slice. It
// grows with them, because a small one stays in the processor's cache.
type numberSet struct {
	values []uint64 // by place
	slots  []uint32 // place + 1
	shift  int
}

// index fills to with each value's place. It returns false where there are more than limit distinct values.
func (s *numberSet) index(values []uint64, to []uint32, limit int) bool {
	s.values = s.values[:0]
	s.resize(1 << 10)
	for i, v := range values {
		slot := s.find(v)
		if *slot == 0 {
			if len(s.values) == limit {
				return false
			}
			s.values = append(s.values, v)
			if *slot = uint32(len(s.values)); len(s.values)*4 > len(s.slots) {
				s.resize(4 * len(s.slots))
			}
			to[i] = uint32(len(s.values) - 1)
			continue
		}
		to[i] = *slot - 1
	}
	return true
}

// find returns the slot of a value, 0 where the value is not in the set.
func (s *numberSet) find(v uint64) *uint32 {
	at := v * 0x9E3779B97F4A7C15 >> (s.shift & 63) // Fibonacci hashing: Knuth, The Art of Computer Programming, 6.4
	for {
		slot := &s.slots[at&uint64(len(s.slots)-1)]
		if *slot == 0 || s.values[*slot-1] == v {
			return slot
		}
		at++
	}
}

// resize sets the number of slots to size, a power of two.
func (s *numberSet) resize(size int) {
	s.slots = grown(s.slots, size)
	clear(s.slots)
	s.shift = 65 - bits.Len(uint(size))
	for i, v := range s.values {
		*s.find(v) = uint32(i + 1)
	}
}
