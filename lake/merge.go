package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
)

// merger merges data files column by column. First it decodes what gives rows their order and identity, and
// plans: which rows, in which order. Then it takes one column after the other, decodes it from all files, lets
// the plan pick its values, and encodes them. So it holds three columns at a time, 20 bytes a row, whatever a row
// has of columns, and up to 128 MB of the files' bytes.
type merger struct {
	inputs []mergeInput
	inRoom int // for bytes of inputs in memory
	in     spool
	rows   int

	layout fileLayout
	table  *textTable
	reader *chunkReader
	writer *chunkWriter
	buf    []byte

	keys     rowKeys
	segments []segment
	scratch  vector
	plan     *mergePlan
	failed   error // of a tie that could not be decided

	read struct{ fan, time, run, seq vector } // of the group that is read back

	outRoom int // for encoded chunks in memory
	out     spool
	encoded [][]piece // by group and column
	groups  [][]chunk
	sums    []uint64 // by column, of the rows that stay
}

type mergeInput struct {
	index *fileIndex
	bytes []byte // nil: they begin at at in merger.in
	at    int64
	base  int // its first row
}

// mergeStats accounts for a merge: rows in = rows out + duplicates.
type mergeStats struct{ in, out, duplicates int }

func newMerger() *merger {
	m := &merger{layout: tableLayout(), table: newTextTable(), writer: newChunkWriter(), inRoom: inputMemory, outRoom: outputMemory}
	m.reader = newChunkReader(m.table)
	m.sums = make([]uint64, len(m.layout.columns))
	return m
}

// close removes the temporary files.
func (m *merger) close() error {
	return errors.Join(m.in.close(), m.out.close())
}

// The bytes of files that a merge holds in memory, coming in and going out. More of them go through temporary files.
const (
	inputMemory  = 64 << 20
	outputMemory = 64 << 20
)

// fetchPiece is how much of a large file is fetched at once.
const fetchPiece = 8 << 20

// add takes a file in: of size bytes and with recorded rows, as the table says.
func (m *merger) add(ctx context.Context, store Store, key string, size int64, recorded int) (err error) {
	defer catch(&err)
	in := mergeInput{at: m.in.size, base: m.rows}
	if size <= fetchPiece {
		if in.bytes, err = store.Get(ctx, key); err != nil {
			return err
		}
		in.index, err = openIndex(int64(len(in.bytes)), fetchBytes(in.bytes))
		if m.inRoom -= len(in.bytes); err == nil && m.inRoom < 0 {
			_, err = m.in.write(in.bytes)
			in.bytes = nil
		}
	} else {
		in.index, err = m.fetchLarge(ctx, store, key, size)
	}
	if err != nil {
		return err
	}
	if in.index.newer != "" {
		return fmt.Errorf("it has a column %.80q, which this program does not know and would lose: compact with the version that wrote it", in.index.newer)
	}
	if in.index.rows != recorded {
		return fmt.Errorf("the table counts %d rows, the file %d", recorded, in.index.rows)
	}
	if m.rows += recorded; m.rows > 1<<31 {
		return errors.New("more than 2^31 rows in one merge")
	}
	m.inputs = append(m.inputs, in)
	return nil
}

// fetchLarge brings a file into m.in.
func (m *merger) fetchLarge(ctx context.Context, store Store, key string, size int64) (*fileIndex, error) {
	start := m.in.size
	for at := int64(0); at < size; at += fetchPiece {
		data, err := store.GetRange(ctx, key, at, min(fetchPiece, size-at))
		if err != nil {
			return nil, err
		}
		if _, err := m.in.write(data); err != nil {
			return nil, err
		}
	}
	return openIndex(size, func(offset, n int64) ([]byte, error) {
		var own []byte
		return m.in.read(start+offset, n, &own)
	})
}

// eachGroup calls with every group of every input, and the number of its first row.
func (m *merger) eachGroup(do func(in *mergeInput, g *groupIndex, base int) error) error {
	for i := range m.inputs {
		base := m.inputs[i].base
		for g := range m.inputs[i].index.groups {
			group := &m.inputs[i].index.groups[g]
			if err := do(&m.inputs[i], group, base); err != nil {
				return err
			}
			base += group.rows
		}
	}
	return nil
}

// decode reads a column of a group.
func (m *merger) decode(to vector, c int, in *mergeInput, g *groupIndex) error {
	ch := &g.chunks[c]
	if in.bytes != nil {
		return m.reader.read(to, m.layout.columns[c], ch, in.bytes[ch.start:ch.start+ch.size])
	}
	data, err := m.in.read(in.at+ch.start, ch.size, &m.buf)
	if err != nil {
		return err
	}
	return m.reader.read(to, m.layout.columns[c], ch, data)
}

// decodeAll reads a column of all inputs, and calls with each group's part of it.
func (m *merger) decodeAll(to vector, c int, each func(part vector, base, rows int)) (err error) {
	defer catch(&err)
	return m.eachGroup(func(in *mergeInput, g *groupIndex, base int) error {
		part := to.slice(m.layout.columns[c].kind, base, base+g.rows)
		err := m.decode(part, c, in, g)
		if err == nil && each != nil {
			each(part, base, g.rows)
		}
		return err
	})
}

// stats accounts for the plan.
func (m *merger) stats() mergeStats { return mergeStats{m.rows, m.plan.rows, len(m.plan.duplicates)} }

// merge writes the merged file, stores it under a new key, reads it back and compares.
func (m *merger) merge(ctx context.Context, store Store, key string, day int32) (*tableFile, error) {
	if err := m.prepare(); err != nil {
		return nil, err
	}
	if s := m.stats(); s.out != s.in-s.duplicates {
		return nil, fmt.Errorf("of %d rows %d are there twice, but %d are left: nothing was changed", s.in, s.duplicates, s.out)
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	file, data, err := m.file(day)
	if err != nil {
		return nil, err
	}
	if err := store.PutFrom(ctx, key, data, file.size, true); err != nil {
		return nil, err
	}
	m.inputs, m.segments, m.encoded, m.keys = nil, nil, nil, rowKeys{} // reading back needs room, and none of these
	return file, m.verify(ctx, store, key, file.size)
}

// prepare decodes the keys and makes the plan.
func (m *merger) prepare() (err error) {
	defer catch(&err)
	k := &m.keys
	k.time, k.seq, k.run, k.tie = make([]uint64, m.rows), make([]uint64, m.rows), make([]uint32, m.rows), m.tie()
	err = m.eachGroup(func(in *mergeInput, g *groupIndex, base int) error {
		to := base + g.rows
		m.scratch = vector{grown(m.scratch.numbers, g.rows), grown(m.scratch.tags, g.rows)}
		for c, v := range map[int]vector{m.layout.time: {numbers: k.time[base:to]}, m.layout.seq: {numbers: k.seq[base:to]}, m.layout.run: m.scratch, m.layout.fan: m.scratch} {
			if err := m.decode(v.slice(m.layout.columns[c].kind, 0, g.rows), c, in, g); err != nil {
				return err
			}
		}
		k.setRuns(k.run[base:to], m.scratch.numbers)
		m.segments = k.addSegments(m.segments, m.scratch.tags, base)
		return nil
	})
	if err != nil {
		return err
	}
	m.plan = planMerge(k, m.segments, m.table)
	return m.failed
}

// tie makes the function that orders copies of a reading: by arrival, then by shard. It decodes these columns
// when it is first asked: copies are rare.
func (m *merger) tie() func(a, b int) int {
	var arrived []uint64
	var shards []uint32
	return func(a, b int) int {
		if arrived == nil && m.failed == nil {
			arrived, shards = make([]uint64, m.rows), make([]uint32, m.rows)
			m.failed = errors.Join(m.decodeAll(vector{numbers: arrived}, m.layout.arrived, nil), m.decodeAll(vector{tags: shards}, m.layout.shard, nil))
		}
		if m.failed != nil {
			return 0
		}
		return cmp.Or(cmp.Compare(int64(arrived[a]), int64(arrived[b])), cmp.Compare(m.table.texts[shards[a]], m.table.texts[shards[b]]))
	}
}

// write encodes all columns as planned. It gives up the keys for the memory.
func (m *merger) write() error {
	n := (m.plan.rows + groupRows - 1) / groupRows
	m.groups, m.encoded = make([][]chunk, n), make([][]piece, n)
	for g := range n {
		m.groups[g], m.encoded[g] = make([]chunk, len(m.layout.columns)), make([]piece, len(m.layout.columns))
	}
	times, seqs := vector{numbers: m.keys.time}, vector{numbers: m.keys.seq}
	if err := errors.Join(m.writeColumn(m.layout.time, times), m.writeColumn(m.layout.seq, seqs)); err != nil {
		return err
	}
	m.identify()
	ids := m.keys.seq
	// The sum of the column seq is that of the identities themselves: it says that no row is missing.
	for c, v := range map[int]vector{m.layout.time: times, m.layout.seq: {numbers: ids}} {
		m.sums[c] = contentSum(integers, v, ids, m.table) - m.duplicateSum(c, v, ids)
	}
	free := vector{m.keys.time, m.keys.run}
	for c, column := range m.layout.columns {
		if c == m.layout.seq || c == m.layout.time {
			continue
		}
		v := free.slice(column.kind, 0, m.rows)
		// Added up group by group, while they are at hand.
		err := m.decodeAll(v, c, func(part vector, base, rows int) {
			m.sums[c] += contentSum(column.kind, part, ids[base:base+rows], m.table)
		})
		if err != nil {
			return err
		}
		m.sums[c] -= m.duplicateSum(c, v, ids)
		if err := m.writeColumn(c, v); err != nil {
			return err
		}
	}
	return nil
}

// identify turns the sequence numbers into a hash of each row's identity, in place.
func (m *merger) identify() {
	for _, s := range m.segments {
		fan := m.table.hash(s.fan)
		for i := s.from; i < s.to; i++ {
			m.keys.seq[i] = rowIdentity(fan, m.keys.runs[m.keys.run[i]], m.keys.seq[i])
		}
	}
}

// duplicateSum is the part of the content hash that is due to the rows that go.
func (m *merger) duplicateSum(c int, v vector, ids []uint64) uint64 {
	sum, k := uint64(0), m.layout.columns[c].kind
	for _, d := range m.plan.duplicates {
		sum += contentSum(k, v.slice(k, int(d), int(d)+1), ids[d:d+1], m.table)
	}
	return sum
}

// writeColumn encodes a column's values in the plan's order.
func (m *merger) writeColumn(c int, v vector) error {
	column := m.layout.columns[c]
	runs := m.plan.runs
	var taken uint32 // of runs[0]
	for g := range m.groups {
		rows := min(groupRows, m.plan.rows-g*groupRows)
		m.scratch = vector{grown(m.scratch.numbers, rows), grown(m.scratch.tags, rows)}
		to := m.scratch.slice(column.kind, 0, rows)
		for filled := 0; filled < rows; {
			from := runs[0].from + taken
			n := min(runs[0].to-from, uint32(rows-filled))
			if column.kind.numeric() {
				copy(to.numbers[filled:], v.numbers[from:from+n])
			} else {
				copy(to.tags[filled:], v.tags[from:from+n])
			}
			filled += int(n)
			if taken += n; from+n == runs[0].to {
				runs, taken = runs[1:], 0
			}
		}
		data, ch, err := m.writer.write(m.buf[:0], column, to, m.table)
		if err != nil {
			return err
		}
		m.buf, m.groups[g][c] = data, ch
		if m.outRoom -= len(data); m.outRoom >= 0 {
			m.encoded[g][c].bytes = slices.Clone(data)
		} else if m.encoded[g][c].span, err = m.out.write(data); err != nil {
			return err
		}
	}
	return nil
}

// file puts the chunks in order, and the footer behind them.
func (m *merger) file(day int32) (*tableFile, *pieces, error) {
	tail, err := fileTail(m.groups)
	if err != nil {
		return nil, nil, err
	}
	p := &pieces{spool: &m.out}
	p.add(piece{bytes: []byte(fileMagic)})
	for g := range m.encoded {
		for _, part := range m.encoded[g] {
			p.add(part)
		}
	}
	p.add(piece{bytes: tail})
	return &tableFile{day: day, rows: m.plan.rows, size: p.size, groups: m.groups}, p, nil
}

// verify reads the merged file back from the Store, group by group, and compares its rows' order, number and
// content with what was read from the old ones.
func (m *merger) verify(ctx context.Context, store Store, key string, size int64) (err error) {
	defer catch(&err)
	fetch := fetchFrom(ctx, store, key)
	index, err := openIndex(size, fetch)
	if err != nil {
		return err
	}
	sums, rows := make([]uint64, len(m.layout.columns)), 0
	var last sortKey
	for g := range index.groups {
		group := &index.groups[g]
		rows += group.rows
		start, end := int64(math.MaxInt64), int64(0)
		for c := range group.chunks {
			start, end = min(start, group.chunks[c].start), max(end, group.chunks[c].start+group.chunks[c].size)
		}
		data, err := fetch(start, end-start)
		if err != nil {
			return err
		}
		read := func(c int, v vector) (vector, error) {
			ch, column := &group.chunks[c], m.layout.columns[c]
			v = v.sized(column.kind, group.rows)
			return v, m.reader.read(v.slice(column.kind, 0, group.rows), column, ch, data[ch.start-start:][:ch.size])
		}
		if err := m.verifyGroup(group.rows, read, &last, sums); err != nil {
			return err
		}
	}
	if rows != m.plan.rows || !slices.Equal(sums, m.sums) {
		return fmt.Errorf("the merged file holds %d rows and other content than the %d rows that were to be in it: nothing was changed", rows, m.plan.rows)
	}
	return nil
}

// verifyGroup sees that a group goes on in order, and adds its content to sums.
func (m *merger) verifyGroup(rows int, read func(c int, v vector) (vector, error), last *sortKey, sums []uint64) error {
	l := m.layout
	var err [4]error
	keys := &m.read
	keys.fan, err[0] = read(l.fan, keys.fan)
	keys.time, err[1] = read(l.time, keys.time)
	keys.run, err[2] = read(l.run, keys.run)
	keys.seq, err[3] = read(l.seq, keys.seq)
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	fans, ids := keys.fan.tags[:rows], keys.seq.numbers[:rows]
	if !last.ascending(fans, keys.time.numbers[:rows], m.table) {
		return errors.New("the merged file is not sorted: nothing was changed")
	}
	var fan uint64
	for i := range ids {
		if i == 0 || fans[i] != fans[i-1] {
			fan = m.table.hash(fans[i])
		}
		ids[i] = rowIdentity(fan, keys.run.numbers[i], ids[i])
	}
	for c, column := range l.columns {
		v := keys.seq
		if c != l.seq {
			var err error
			if m.scratch, err = read(c, m.scratch); err != nil {
				return err
			}
			v = m.scratch
		}
		sums[c] += contentSum(column.kind, v.slice(column.kind, 0, rows), ids, m.table)
	}
	return nil
}

// sortKey is where a sorted sequence of rows has come to.
type sortKey struct {
	begun bool
	fan   uint32
	time  int64
}

// ascending goes on over rows; false: they are not in the table's order.
func (k *sortKey) ascending(fans []uint32, times []uint64, table *textTable) bool {
	for i, fan := range fans {
		t := int64(times[i])
		switch {
		case !k.begun || fan != k.fan:
			if k.begun && table.texts[fan] <= table.texts[k.fan] {
				return false
			}
			k.begun, k.fan = true, fan
		case t < k.time:
			return false
		}
		k.time = t
	}
	return true
}

// scramble mixes a number's bits: the multiplication carries each upwards, the shift back down.
func scramble(n uint64) uint64 {
	n = (n ^ 0xA0761D6478BD642F) * 0xE7037ED1A0B428DB
	return n ^ n>>32
}

func rowIdentity(fan, run, seq uint64) uint64 { return scramble(scramble(fan^run) ^ seq) }

// contentSum is the content hash of a column's values. Sums of identity x hash of the value (multilinear hashing)
// do not depend on the rows' order, and bind each value to its row.
func contentSum(k kind, v vector, ids []uint64, table *textTable) uint64 {
	var sum, hash uint64
	if k.numeric() {
		ids = ids[:len(v.numbers)]
		for i, n := range v.numbers {
			sum += ids[i] * scramble(n)
		}
		return sum
	}
	ids = ids[:len(v.tags)]
	for i, t := range v.tags {
		if i == 0 || t != v.tags[i-1] {
			if hash = scramble(uint64(t)); k == texts {
				hash = table.hash(t)
			}
		}
		sum += ids[i] * hash
	}
	return sum
}

// hash gives a hash of the text at a place, which is never 0.
func (t *textTable) hash(place uint32) uint64 {
	for n := len(t.hashes); n < len(t.texts); n++ {
		t.hashes = append(t.hashes, maphash.String(t.seed, t.texts[n])|1)
	}
	return t.hashes[place]
}
