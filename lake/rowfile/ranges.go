package rowfile

import (
	"cmp"
	"container/list"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"
)

// rowsOfGroup is a range of rows of a group.
type rowsOfGroup struct{ from, to int }

// mayHoldFan returns the range of a group's rows that has all rows of the fan with lo <= time < hi, in Unix
// microseconds, by the page index.
func (x *Index) mayHoldFan(g int, fan string, lo, hi int64) rowsOfGroup {
	group, l := &x.groups[g], tableLayout()
	whole := rowsOfGroup{0, group.rows}
	fans, times := &group.chunks[l.fan], &group.chunks[l.time]
	if fans.lo != nil && string(fans.lo) > fan || fans.hi != nil && string(fans.hi) < fan || times.before(lo) ||
		times.atOrAfter(hi) {
		return rowsOfGroup{}
	}
	whole = x.narrow(whole, fans, group.rows, func(min, max []byte) bool {
		return string(min) <= fan && fan <= string(max)
	})
	return x.narrow(whole, times, group.rows, func(min, max []byte) bool {
		return len(min) != 8 || len(max) != 8 || number(min) < hi && number(max) >= lo
	})
}

func (ch *chunkIndex) before(lo int64) bool { return len(ch.hi) == 8 && number(ch.hi) < lo }

func (ch *chunkIndex) atOrAfter(hi int64) bool { return len(ch.lo) == 8 && number(ch.lo) >= hi }

// narrow removes the pages from both ends of r that do not fit.
func (x *Index) narrow(r rowsOfGroup, ch *chunkIndex, rows int, fits func(min, max []byte) bool) rowsOfGroup {
	var values format.ColumnIndex
	places, ok := x.pageRows(ch, rows)
	if !ok || !x.decodePart(ch.columnIndex, &values) || len(values.MinValues) != len(places)-1 ||
		len(values.MaxValues) != len(places)-1 {
		return r
	}
	first, last := -1, -1
	for p := range len(places) - 1 {
		if places[p+1].row > r.from && places[p].row < r.to && fits(values.MinValues[p], values.MaxValues[p]) {
			if first < 0 {
				first = p
			}
			last = p
		}
	}
	if first < 0 {
		return rowsOfGroup{}
	}
	return rowsOfGroup{max(r.from, places[first].row), min(r.to, places[last+1].row)}
}

// pagePlace is where a page begins: its byte of the file and its row of the group.
type pagePlace struct {
	offset int64
	row    int
}

// pageRows returns the places of a chunk's pages and, behind them, its end; false: there is no page index.
func (x *Index) pageRows(ch *chunkIndex, rows int) ([]pagePlace, bool) {
	var index format.OffsetIndex
	if !x.decodePart(ch.offsets, &index) || len(index.PageLocations) == 0 {
		return nil, false
	}
	places := make([]pagePlace, 0, len(index.PageLocations)+1)
	last := pagePlace{ch.start, 0}
	for i, p := range index.PageLocations {
		at := pagePlace{p.Offset, int(p.FirstRowIndex)}
		if at.offset < last.offset || at.offset > ch.start+ch.size || at.row < last.row || at.row > rows || i == 0 &&
			at.row != 0 {
			return nil, false
		}
		places, last = append(places, at), at
	}
	return append(places, pagePlace{ch.start + ch.size, rows}), true
}

// columnPart is the part of a chunk that is fetched: its dictionary, and pages that begin with row first.
type columnPart struct {
	column            int
	dictionary, pages span
	first             int
}

// part returns the part of a column's chunk that has the rows r.
func (x *Index) part(g, column int, r rowsOfGroup) columnPart {
	ch := &x.groups[g].chunks[column]
	part := columnPart{column: column, pages: span{ch.start, ch.size}}
	places, ok := x.pageRows(ch, x.groups[g].rows)
	if !ok || !ch.present || ch.foreign != nil {
		return part
	}
	if ch.dictionary {
		part.dictionary = span{ch.start, places[0].offset - ch.start}
	}
	byRow := func(p pagePlace, row int) int { return cmp.Compare(p.row, row) }
	first, _ := slices.BinarySearchFunc(places, r.from+1, byRow)
	last, _ := slices.BinarySearchFunc(places, r.to, byRow)
	part.pages = span{places[first-1].offset, places[last].offset - places[first-1].offset}
	part.first = places[first-1].row
	return part
}

// readRows decodes rows of a group's columns into to: vectors by place in columns, each with the number of rows.
func (x *Index) readRows(r *chunkReader, fetch FetchFunc, g int, columns []int, rows rowsOfGroup, to []vector) error {
	parts := make([]columnPart, len(columns))
	var spans []span
	for i, c := range columns {
		parts[i] = x.part(g, c, rows)
		spans = append(spans, parts[i].dictionary, parts[i].pages)
	}
	pieces, err := fetchSpans(fetch, spans)
	if err != nil {
		return err
	}
	for i, part := range parts {
		column := tableLayout().columns[part.column]
		if err := r.readPart(to[i], column, &x.groups[g].chunks[part.column], pieces.of(part.dictionary),
			pieces.of(part.pages), rows.from-part.first); err != nil {
			return err
		}
	}
	return nil
}

// FetchFunc returns n bytes of a file, from offset on.
type FetchFunc func(offset, n int64) ([]byte, error)

// fetched are parts of a file, by offset.
type fetched []fetchedPiece

// fetchedPiece is a part of a file that begins at at.
type fetchedPiece struct {
	at   int64
	data []byte
}

// of returns the bytes of a span, which must be within one part.
func (f fetched) of(s span) []byte {
	if s.size == 0 {
		return nil
	}
	i, found := slices.BinarySearchFunc(f, s.offset, func(p fetchedPiece, at int64) int { return cmp.Compare(p.at, at) })
	if !found {
		i--
	}
	return f[i].data[s.offset-f[i].at:][:s.size]
}

const (
	fetchGap = 64 << 10 // largest gap between two spans that are fetched with one request, which costs as much
	fetchers = 8        // requests at once
)

// fetchSpans fetches spans of a file; spans with at most fetchGap between them are one request.
func fetchSpans(fetch FetchFunc, spans []span) (fetched, error) {
	spans = slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.size == 0 })
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.offset, b.offset) })
	var joined []span
	for _, s := range spans {
		if n := len(joined); n > 0 && s.offset <= joined[n-1].offset+joined[n-1].size+fetchGap {
			joined[n-1].size = max(joined[n-1].size, s.offset+s.size-joined[n-1].offset)
			continue
		}
		joined = append(joined, s)
	}
	pieces := make(fetched, len(joined))
	var fetching errgroup.Group
	fetching.SetLimit(fetchers)
	for i, s := range joined {
		fetching.Go(func() (err error) {
			pieces[i].at = s.offset
			pieces[i].data, err = fetch(s.offset, s.size)
			return err
		})
	}
	return pieces, fetching.Wait()
}

// indexMemory is about how many bytes the indexes of an IndexCache take at most.
const indexMemory = 64 << 20

// IndexCache has the indexes of the data files that were read last, about 64 MiB of them. Its zero value is empty.
// It is safe for concurrent use.
type IndexCache struct {
	mu     sync.Mutex
	places map[string]*list.Element
	order  list.List // of *cachedIndex, the last used in front
	size   int       // bytes
}

type cachedIndex struct {
	path  string
	index *Index
}

// Get returns the index of the file at path, by open where it is not in the cache.
func (c *IndexCache) Get(path string, open func() (*Index, error)) (*Index, error) {
	c.mu.Lock()
	if e := c.places[path]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cachedIndex).index, nil
	}
	c.mu.Unlock()
	index, err := open()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places == nil {
		c.places = make(map[string]*list.Element)
	}
	if c.places[path] != nil {
		return index, nil // another goroutine was as fast
	}
	c.places[path] = c.order.PushFront(&cachedIndex{path, index})
	for c.size += index.memory(); c.size > indexMemory && c.order.Len() > 1; {
		oldest := c.order.Remove(c.order.Back()).(*cachedIndex)
		delete(c.places, oldest.path)
		c.size -= oldest.index.memory()
	}
	return index, nil
}
