package lake

import "container/heap"

// mergeStats accounts for a merge: rows in = rows out + duplicates, and the same of the sums of hashes.
type mergeStats struct {
	in, out, duplicates int
	inHash, dupHash     uint64
}

// merge reads sorted cursors together and gives every (fan, run, seq) once, in the table's order, to emit.
// hash may be nil. Memory is a batch of rows per cursor and the identities of one fan.
func merge(cursors []*cursor, hash func(*stored) uint64, emit func(*stored) error) (mergeStats, error) {
	var stats mergeStats
	h := make(mergeHeap, 0, len(cursors))
	for _, c := range cursors {
		row, err := c.next()
		if err != nil {
			return stats, err
		}
		if row != nil {
			h = append(h, head{row, c})
		}
	}
	heap.Init(&h)
	var dedupe deduper
	for len(h) > 0 {
		row := h[0].row
		var sum uint64
		if hash != nil {
			sum = hash(row)
		}
		stats.in++
		stats.inHash += sum
		if dedupe.first(row) {
			stats.out++
			if err := emit(row); err != nil {
				return stats, err
			}
		} else {
			stats.duplicates++
			stats.dupHash += sum
		}
		next, err := h[0].from.next()
		if err != nil {
			return stats, err
		}
		if h[0].row = next; next == nil {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return stats, nil
}

type head struct {
	row  *stored
	from *cursor
}

type mergeHeap []head

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return h[i].row.compare(h[j].row) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *mergeHeap) Push(x any)        { *h = append(*h, x.(head)) }
func (h *mergeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
