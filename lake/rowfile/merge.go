package rowfile

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"fanwatch/lake/internal/parquetguard"
	"fanwatch/objstore"
)

// Merger merges data files column by column. It decodes the columns that give rows their order and identity and plans
// which rows come out in which order. Then it decodes one column after the other from all files, and encodes its values
// in the plan's order: in runs where most rows equal the one before. It holds two columns of numbers and at most one of
// texts at a time, 20 bytes a row, whatever the number of columns, and up to 128 MB of the files' bytes.
type Merger struct {
	inputs    []mergeInput
	inputRoom int // bytes of inputs that may still be held in memory
	inputFile tempFile
	rows      int // rows of all inputs

	layout fileLayout
	dict   *textDict
	reader *chunkReader
	writer *chunkWriter
	buf    []byte

	keys       rowKeys
	ranges     []sortedRange
	group      struct{ fan, run, time, seq vector } // columns of one group; fan and run in runs
	column     vector                               // one column of all inputs, in runs
	asRuns     []bool                               // whether a column is kept in runs, by column
	scratch    vector
	runScratch vector // scratch for runs
	plan       *mergePlan
	tieErr     error // why tie could not order two rows

	outputRoom int // bytes of encoded chunks that may still be held in memory
	outputFile tempFile
	encoded    [][]piece // by group and column
	groups     [][]chunk // by group and column
	sums       []uint64  // content hashes of the rows that stay, by column
}

// mergeInput is a file that is merged.
type mergeInput struct {
	index *Index
	bytes []byte // nil: the file is in Merger.inputFile
	at    int64  // place in Merger.inputFile
	base  int    // number of its first row
}

// MergeStats are the rows of a merge: RowsIn = RowsOut + Duplicates.
type MergeStats struct{ RowsIn, RowsOut, Duplicates int }

// NewMerger returns a merger of about rows rows. Memory for the keys of so many, at most of 2^23, is allocated at once:
// it is most of what a merge holds, and growing it on a small heap would run the collector at each doubling.
func NewMerger(rows int) *Merger {
	rows = min(max(rows, 0), 1<<23)
	m := &Merger{keys: rowKeys{time: make([]uint64, 0, rows), seq: make([]uint64, 0, rows+1)}, layout: tableLayout(),
		dict: newTextDict(), writer: newChunkWriter(), inputRoom: inputMemory, outputRoom: outputMemory}
	m.reader = newChunkReader(m.dict)
	m.sums, m.asRuns = make([]uint64, len(m.layout.columns)), make([]bool, len(m.layout.columns))
	return m
}

// Close removes the temporary files.
func (m *Merger) Close() error {
	return errors.Join(m.inputFile.close(), m.outputFile.close())
}

// The bytes of input files and of encoded chunks that a merge holds in memory. Small files have twice the bytes of the
// merged file or more. All further bytes are in temporary files.
const (
	inputMemory  = 96 << 20
	outputMemory = 32 << 20
)

// fetchPiece is how many bytes of a large file are fetched at once.
const fetchPiece = 8 << 20

// Add adds a file of size bytes, which must have recorded rows.
func (m *Merger) Add(ctx context.Context, store objstore.Store, key string, size int64, recorded int) (err error) {
	defer parquetguard.Catch(&err)
	in := mergeInput{at: m.inputFile.size}
	if size <= fetchPiece {
		if in.bytes, err = store.Get(ctx, key); err != nil {
			return err
		}
		in.index, err = OpenIndex(int64(len(in.bytes)), FetchBytes(in.bytes))
		if m.inputRoom -= len(in.bytes); err == nil && m.inputRoom < 0 {
			_, err = m.inputFile.write(in.bytes)
			in.bytes = nil
		}
	} else {
		in.index, err = m.fetchLarge(ctx, store, key, size)
	}
	if err != nil {
		return err
	}
	if in.index.newer != "" {
		return fmt.Errorf("it has a column %.80q with values, which this program does not know and would lose: have "+
			"the program that wrote it compact it, or empty the column", in.index.newer)
	}
	if in.index.Rows != recorded {
		return fmt.Errorf("the table counts %d rows, the file %d", recorded, in.index.Rows)
	}
	if m.rows += recorded; m.rows > 1<<31 {
		return errors.New("more than 2^31 rows in one merge")
	}
	m.inputs = append(m.inputs, in)
	return nil
}

// fetchLarge copies a file to m.inputFile.
func (m *Merger) fetchLarge(ctx context.Context, store objstore.Store, key string, size int64) (*Index, error) {
	start := m.inputFile.size
	for at := int64(0); at < size; at += fetchPiece {
		data, err := store.GetRange(ctx, key, at, min(fetchPiece, size-at))
		if err != nil {
			return nil, err
		}
		if _, err := m.inputFile.write(data); err != nil {
			return nil, err
		}
	}
	return OpenIndex(size, func(offset, n int64) ([]byte, error) {
		var own []byte
		return m.inputFile.read(start+offset, n, &own)
	})
}

// eachGroup calls do with every group of every input and the number of its first row.
func (m *Merger) eachGroup(do func(in *mergeInput, g *groupIndex, base int) error) error {
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

// chunk returns the bytes of a column of a group.
func (m *Merger) chunk(c int, in *mergeInput, g *groupIndex) ([]byte, error) {
	ch := &g.chunks[c]
	if in.bytes != nil {
		return in.bytes[ch.start : ch.start+ch.size], nil
	}
	return m.inputFile.read(in.at+ch.start, ch.size, &m.buf)
}

// decode reads a column of a group.
func (m *Merger) decode(to vector, c int, in *mergeInput, g *groupIndex) error {
	data, err := m.chunk(c, in, g)
	if err != nil {
		return err
	}
	return m.reader.read(to, m.layout.columns[c], &g.chunks[c], data)
}

// decodeAsRuns reads a column of a group into runs.
func (m *Merger) decodeAsRuns(to *vector, c int, in *mergeInput, g *groupIndex) error {
	data, err := m.chunk(c, in, g)
	if err != nil {
		return err
	}
	return m.reader.readAsRuns(to, m.layout.columns[c], &g.chunks[c], data, g.rows)
}

// decodeAll reads a column of all inputs and calls each, unless it is nil, with each group's range of rows.
func (m *Merger) decodeAll(to vector, c int, each func(from, to int)) (err error) {
	defer parquetguard.Catch(&err)
	return m.eachGroup(func(in *mergeInput, g *groupIndex, base int) error {
		err := m.decode(to.slice(m.layout.columns[c].kind, base, base+g.rows), c, in, g)
		if err == nil && each != nil {
			each(base, base+g.rows)
		}
		return err
	})
}

// decodeRuns reads a column of all inputs into m.column, in runs; fits is false where these are too short.
func (m *Merger) decodeRuns(c int) (fits bool, err error) {
	defer parquetguard.Catch(&err)
	m.column = m.column.noRuns()
	err = m.eachGroup(func(in *mergeInput, g *groupIndex, base int) error {
		data, err := m.chunk(c, in, g)
		if err != nil {
			return err
		}
		if fits, err = m.reader.readRuns(&m.column, m.layout.columns[c], &g.chunks[c], data, g.rows,
			(base+g.rows)/leastRun); err == nil && !fits {
			err = errNoRuns
		}
		return err
	})
	if errors.Is(err, errNoRuns) {
		err = nil
	}
	return fits, err
}

// Stats returns the rows of the merge. It may be called after Merge.
func (m *Merger) Stats() MergeStats { return MergeStats{m.rows, m.plan.rows, m.plan.dropped} }

// Merge writes the merged file, stores it under a new key, reads it back and compares.
func (m *Merger) Merge(ctx context.Context, store objstore.Store, key string, day int32) (*File, error) {
	if err := m.prepare(); err != nil {
		return nil, err
	}
	if s := m.Stats(); s.RowsOut != s.RowsIn-s.Duplicates {
		return nil, fmt.Errorf("of %d rows %d are there twice, but %d are left: nothing was changed", s.RowsIn, s.Duplicates,
			s.RowsOut)
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	file, data, err := m.file(day)
	if err != nil {
		return nil, err
	}
	if err := store.PutFrom(ctx, key, data, file.Size, true); err != nil {
		return nil, err
	}
	m.inputs, m.ranges, m.encoded, m.keys = nil, nil, nil, rowKeys{} // frees memory for reading back
	return file, m.verify(ctx, store, key, file.Size)
}

// orderInputs sorts the inputs by the bounds of their first groups' times. The result is the same in any order, but in
// this one a fan's rows follow each other in memory as in time.
func (m *Merger) orderInputs() {
	first := func(in mergeInput) int64 {
		if len(in.index.groups) > 0 {
			if lo := in.index.groups[0].chunks[m.layout.time].lo; len(lo) == 8 {
				return int64(binary.LittleEndian.Uint64(lo))
			}
		}
		return 0
	}
	slices.SortStableFunc(m.inputs, func(a, b mergeInput) int { return cmp.Compare(first(a), first(b)) })
	base := 0
	for i := range m.inputs {
		m.inputs[i].base = base
		base += m.inputs[i].index.Rows
	}
}

// prepare decodes the keys and makes the plan.
func (m *Merger) prepare() (err error) {
	defer parquetguard.Catch(&err)
	m.orderInputs()
	k, l := &m.keys, &m.layout
	k.time, k.seq, k.tie = grown(k.time, m.rows), grown(k.seq, m.rows+1), m.tie() // one element more: see identitySums
	err = m.eachGroup(func(in *mergeInput, g *groupIndex, base int) error {
		err := cmp.Or(m.decode(vector{numbers: k.time[base : base+g.rows]}, l.time, in, g),
			m.decode(vector{numbers: k.seq[base : base+g.rows]}, l.seq, in, g),
			m.decodeAsRuns(&m.group.fan, l.fan, in, g), m.decodeAsRuns(&m.group.run, l.run, in, g))
		if err == nil {
			m.ranges = k.addSortedRanges(m.ranges, m.group.fan, m.group.run, base)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.plan = planMerge(k, slices.Clone(m.ranges), m.dict)
	return m.tieErr
}

// tie returns the function that orders copies of a reading: by arrival, then by shard. The function decodes these
// columns when it is first called, because copies are rare.
func (m *Merger) tie() func(a, b int) int {
	var arrived []uint64
	var shards []uint32
	return func(a, b int) int {
		if arrived == nil && m.tieErr == nil {
			arrived, shards = make([]uint64, m.rows), make([]uint32, m.rows)
			m.tieErr = errors.Join(m.decodeAll(vector{numbers: arrived}, m.layout.arrived, nil),
				m.decodeAll(vector{tags: shards}, m.layout.shard, nil))
		}
		if m.tieErr != nil {
			return 0
		}
		return cmp.Or(cmp.Compare(int64(arrived[a]), int64(arrived[b])), cmp.Compare(m.dict.texts[shards[a]],
			m.dict.texts[shards[b]]))
	}
}

// write encodes all columns as planned. It overwrites the keys.
func (m *Merger) write() error {
	n := (m.plan.rows + groupRows - 1) / groupRows
	m.groups, m.encoded = make([][]chunk, n), make([][]piece, n)
	for g := range n {
		m.groups[g], m.encoded[g] = make([]chunk, len(m.layout.columns)), make([]piece, len(m.layout.columns))
	}
	times, seqs := vector{numbers: m.keys.time}, vector{numbers: m.keys.seq}
	if err := errors.Join(m.writeColumn(m.layout.time, times), m.writeColumn(m.layout.seq, seqs)); err != nil {
		return err
	}
	sums := m.sumIdentities()
	ids := sums.sums
	// The sum of the column seq is the content hash of the identities: it shows that no row is missing.
	m.sums[m.layout.seq], m.sums[m.layout.time] = sums.content, sums.timesContent
	for _, d := range m.plan.duplicates {
		m.sums[m.layout.seq] -= ids.content(int(d.From), int(d.To))
		m.sums[m.layout.time] -= contentSum(integers, times, int(d.From), int(d.To), ids, m.dict)
	}
	free := vector{numbers: m.keys.time}
	for c := range m.layout.columns {
		if c == m.layout.seq || c == m.layout.time {
			continue
		}
		v, err := m.readColumn(c, &free, ids)
		if err == nil {
			err = m.writeColumn(c, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sumIdentities turns the sequence numbers into sums of the rows' identities, in place.
func (m *Merger) sumIdentities() identityBuilder {
	sums := identityBuilder{sums: m.keys.seq}
	for _, s := range m.ranges {
		sums.add(m.dict.hash(s.fan), m.keys.runIDs[s.run], int(s.To), m.keys.time)
	}
	return sums
}

// readColumn reads a column of all inputs, in runs or into free, and sets the content hash of the rows that stay.
func (m *Merger) readColumn(c int, free *vector, ids identitySums) (v vector, err error) {
	k := m.layout.columns[c].kind
	if m.asRuns[c], err = m.decodeRuns(c); err != nil {
		return v, err
	}
	if v = m.column; m.asRuns[c] {
		m.sums[c] = contentSum(k, v, 0, m.rows, ids, m.dict)
	} else {
		*free = free.sized(k, m.rows)
		v = free.slice(k, 0, m.rows)
		// group by group, while the values are in the cache
		err = m.decodeAll(v, c, func(from, to int) { m.sums[c] += contentSum(k, v, from, to, ids, m.dict) })
	}
	for _, d := range m.plan.duplicates {
		m.sums[c] -= contentSum(k, v, int(d.From), int(d.To), ids, m.dict)
	}
	return v, err
}

// writeColumn encodes a column's values in the plan's order.
func (m *Merger) writeColumn(c int, v vector) error {
	k, ranges := m.layout.columns[c].kind, m.plan.ranges
	var done uint32 // of runs[0]
	last, jump := 0, 0
	for g := range m.groups {
		rows := min(groupRows, m.plan.rows-g*groupRows)
		m.scratch, m.runScratch = m.scratch.sized(k, rows), m.runScratch.noRuns()
		to := m.scratch.slice(k, 0, rows)
		for filled := 0; filled < rows; {
			from := ranges[0].From + done
			n := min(ranges[0].To-from, uint32(rows-filled))
			switch {
			case v.ends != nil:
				// The same fan's rows of the next file are as many runs further on as in the file before.
				i := v.runAtHint(int(from), last+jump)
				last, jump = i, i-last
				m.runScratch.addRuns(k, v, i, int(from), int(from+n))
			case k.numeric():
				copy(to.numbers[filled:], v.numbers[from:from+n])
			default:
				copy(to.tags[filled:], v.tags[from:from+n])
			}
			filled += int(n)
			if done += n; from+n == ranges[0].To {
				ranges, done = ranges[1:], 0
			}
		}
		if v.ends != nil {
			to = m.runScratch
		}
		if err := m.writeChunk(g, c, to); err != nil {
			return err
		}
	}
	return nil
}

// writeChunk encodes a column of a group of the merged file.
func (m *Merger) writeChunk(g, c int, v vector) error {
	data, ch, err := m.writer.write(m.buf[:0], m.layout.columns[c], v, m.dict)
	if err != nil {
		return err
	}
	m.buf, m.groups[g][c] = data, ch
	if m.outputRoom -= len(data); m.outputRoom >= 0 {
		m.encoded[g][c].bytes = slices.Clone(data)
	} else if m.encoded[g][c].span, err = m.outputFile.write(data); err != nil {
		return err
	}
	return nil
}

// file returns the merged file: the chunks in order and the footer.
func (m *Merger) file(day int32) (*File, *pieces, error) {
	tail, err := fileTail(m.groups)
	if err != nil {
		return nil, nil, err
	}
	p := &pieces{file: &m.outputFile}
	p.add(piece{bytes: []byte(fileMagic)})
	for g := range m.encoded {
		for _, part := range m.encoded[g] {
			p.add(part)
		}
	}
	p.add(piece{bytes: tail})
	return &File{Day: day, Rows: m.plan.rows, Size: p.size, groups: m.groups}, p, nil
}

// verify reads the merged file back from the Store, group by group, and compares its rows' order, number and content
// with the inputs'.
func (m *Merger) verify(ctx context.Context, store objstore.Store, key string, size int64) (err error) {
	defer parquetguard.Catch(&err)
	fetch := FetchFrom(ctx, store, key)
	index, err := OpenIndex(size, fetch)
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
		chunk := func(c int) []byte {
			ch := &group.chunks[c]
			return data[ch.start-start:][:ch.size]
		}
		if err := m.verifyGroup(group, chunk, &last, sums); err != nil {
			return err
		}
	}
	if rows != m.plan.rows || !slices.Equal(sums, m.sums) {
		return fmt.Errorf("the merged file holds %d rows and other content than the %d rows that were to be in it: "+
			"nothing was changed", rows, m.plan.rows)
	}
	return nil
}

// verifyGroup checks that a group continues the order, and adds its content hashes to sums.
func (m *Merger) verifyGroup(group *groupIndex, chunk func(c int) []byte, last *sortKey, sums []uint64) error {
	read := func(to *vector, c int, inRuns bool) error {
		column := m.layout.columns[c]
		if inRuns {
			return m.reader.readAsRuns(to, column, &group.chunks[c], chunk(c), group.rows)
		}
		*to = to.sized(column.kind, group.rows+1) // see identitySums
		return m.reader.read(to.slice(column.kind, 0, group.rows), column, &group.chunks[c], chunk(c))
	}
	l, keys := &m.layout, &m.group
	if err := errors.Join(read(&keys.fan, l.fan, true), read(&keys.run, l.run, true), read(&keys.time, l.time, false),
		read(&keys.seq, l.seq, false)); err != nil {
		return err
	}
	times := keys.time.numbers[:group.rows]
	if !last.ascending(keys.fan, times, m.dict) {
		return errors.New("the merged file is not sorted: nothing was changed")
	}
	all := m.sumGroupIdentities(group.rows)
	sums[l.seq] += all.content
	sums[l.time] += all.timesContent
	for c, column := range l.columns {
		if c == l.seq || c == l.time {
			continue
		}
		v := &m.scratch
		if m.asRuns[c] {
			v = &m.runScratch
		}
		if err := read(v, c, m.asRuns[c]); err != nil {
			return err
		}
		sums[c] += contentSum(column.kind, *v, 0, group.rows, all.sums, m.dict)
	}
	return nil
}

// sumGroupIdentities is sumIdentities for the rows of m.group.
func (m *Merger) sumGroupIdentities(rows int) identityBuilder {
	keys := &m.group
	sums := identityBuilder{sums: keys.seq.numbers[:rows+1]}
	for f, r := 0, 0; sums.rows < rows; {
		end := min(keys.fan.ends[f], keys.run.ends[r])
		sums.add(m.dict.hash(keys.fan.tags[f]), keys.run.numbers[r], int(end), keys.time.numbers)
		if keys.fan.ends[f] == end {
			f++
		}
		if keys.run.ends[r] == end {
			r++
		}
	}
	return sums
}

// sortKey is the key of the last row of a sorted sequence.
type sortKey struct {
	begun bool // there is a last row
	fan   uint32
	time  int64
}

// ascending moves k over rows, whose fans are in runs, and reports whether they are in the table's order.
func (k *sortKey) ascending(fans vector, times []uint64, dict *textDict) bool {
	from := uint32(0)
	for f, end := range fans.ends {
		if fan := fans.tags[f]; !k.begun || fan != k.fan {
			if k.begun && dict.texts[fan] <= dict.texts[k.fan] {
				return false
			}
			k.begun, k.fan, k.time = true, fan, math.MinInt64
		}
		for _, t := range times[from:end] {
			if int64(t) < k.time {
				return false
			}
			k.time = int64(t)
		}
		from = end
	}
	return true
}
