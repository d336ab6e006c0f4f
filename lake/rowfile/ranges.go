package rowfile

import (
	"cmp"
	"container/list"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"
)

// rowsOfGroup says which rows of a group are wanted.
type rowsOfGroup struct{ from, to int }

// mayHoldFan returns the rows of a group among which those of the fan with lo <= time < hi are, by the page index.
func (x *Index) mayHoldFan(g int, fan string, lo, hi int64) rowsOfGroup {
	group, l := &x.groups[g], tableLayout()
	whole := rowsOfGroup{0, group.rows}
	fans, times := &group.chunks[l.fan], &group.chunks[l.time]
	if fans.lo != nil && string(fans.lo) > fan || fans.hi != nil && string(fans.hi) < fan || times.before(lo) ||
		times.atOrAfter(hi) {
		return rowsOfGroup{}
	}
	whole = x.narrow(whole, fans, group.rows, func(min, max []byte) bool {
		return string(min) <= fan &&
			fan <= string(max)
	})
	return x.narrow(whole, times, group.rows, func(min, max []byte) bool {
		return len(min) != 8 || len(max) != 8 || number(min) < hi && number(max) >= lo
	})
}

func (ch *chunkIndex) before(lo int64) bool { return len(ch.hi) == 8 && number(ch.hi) < lo }

func (ch *chunkIndex) atOrAfter(hi int64) bool { return len(ch.lo) == 8 && number(ch.lo) >= hi }

// narrow takes the pages off both ends of r that do not fit.
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

// pagePlace is where a page begins: at which byte of the file and with which row of the group.
type pagePlace struct {
	offset int64
	row    int
}

// pageRows returns the places of a chunk's pages and, behind them, its end. False: there is no page index.
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

// columnPart is what is fetched of a chunk: its dictionary, and pages that begin with row first.
type columnPart struct {
	column            int
	dictionary, pages span
	first             int
}

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
	first, _ := slices.BinarySearchFunc(places, r.from+1, func(p pagePlace, row int) int {
		return cmp.Compare(p.row,
			row)
	})
	last, _ := slices.BinarySearchFunc(places, r.to, func(p pagePlace, row int) int { return cmp.Compare(p.row, row) })
	part.pages = span{places[first-1].offset, places[last].offset - places[first-1].offset}
	part.first = places[first-1].row
	return part
}

// readRows decodes rows of a group's columns into to, by place in columns: vectors of just so many values.
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

// FetchFunc returns n bytes of a file from offset on.
type FetchFunc func(offset, n int64) ([]byte, error)

// fetched are pieces of a file, by where they begin.
type fetched []fetchedPiece

type fetchedPiece struct {
	at   int64
	data []byte
}

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
	fetchGap = 64 << 10 // what lies between two spans is fetched too, when it is less: a request costs as much
	fetchers = 8        // requests at once
)

// fetchSpans fetches spans of a file, in as few requests as make sense.
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

// indexMemory bounds what the ends of data files that were read lately may take of memory.
const indexMemory = 64 << 20

// IndexCache keeps the indexes of data files, which never change, for those who read them next. Safe for
// concurrent use.
type IndexCache struct {
	mu     sync.Mutex
	places map[string]*list.Element
	order  list.List // of *cachedIndex, the last used in front
	size   int
}

type cachedIndex struct {
	path  string
	index *Index
}

// Get returns the index of the file at path, which it opens with open where it is not at hand.
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
