package kinesis

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"fanwatch/internal/durable"
)

// shardLog is the append-only log of one shard: a directory of segments, each named after the lowest counter
// that it may hold. A sparse index in memory finds a record within markEvery bytes, so a poll at the tip
// costs no file access and a read costs one seek. Safe for concurrent use.
type shardLog struct {
	dir         string
	segmentSize int64

	mu          sync.RWMutex // guards what follows; held for writing by put, roll, trim, seal
	segments    []*segment   // oldest first; the last is written to unless the log is sealed
	file        *os.File     // the last segment's; nil before the first append and once closed
	last        uint64       // counter of the newest record, or one less than the lowest possible
	lastArrived int64
	sealed      bool
	broken      error // set when a failed write could not be undone: no more appends

	syncing sync.Mutex   // one fsync at a time: the callers that wait for it share it
	written atomic.Int64 // bytes appended since the log was opened
	synced  atomic.Int64 // how many of them are on the disk
}

type segment struct {
	path        string
	base        uint64
	size        int64 // bytes, header included
	last        uint64
	lastArrived int64
	marks       []mark // the first record and then one for every markEvery bytes
}

// mark says where the record with this counter begins.
type mark struct {
	counter uint64
	arrived int64
	offset  int64
}

const (
	markEvery  = 32 << 10
	maxCounter = 1 << 62 // microseconds of the year 148,000
)

// openLog opens the log in dir, making it if needed. Bytes behind the last intact frame of the newest segment
// are a write that the process did not live to finish, which was not acknowledged: they are cut.
func openLog(dir string, segmentSize int64, log *slog.Logger) (*shardLog, error) {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("kinesis: making a shard's directory: %w", err)
	}
	l := &shardLog{dir: dir, segmentSize: segmentSize}
	bases, err := segmentBases(dir)
	if err != nil {
		return nil, err
	}
	for i, base := range bases {
		g, cut, err := openSegment(dir, base, l.last, l.lastArrived)
		if err != nil {
			return nil, err
		}
		if cut > 0 && i < len(bases)-1 {
			return nil, fmt.Errorf("kinesis: %s is damaged %d bytes before its end, and newer segments follow; restore "+
				"it, or move it away and lose its records", g.path, cut)
		}
		if cut > 0 {
			log.Warn("kinesis: cut a torn tail", "segment", g.path, "bytes", cut)
		}
		l.segments = append(l.segments, g)
		l.last, l.lastArrived = g.last, g.lastArrived
	}
	if len(l.segments) > 0 {
		if err := l.openLast(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// put writes records (their keys and data) with one write(2), giving each a counter and the arrival time
// now (milliseconds), which it never lets run backwards. It fails as a whole or not at all.
func (l *shardLog) put(records []record, now int64, clock uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	if l.sealed {
		return fmt.Errorf("kinesis: the log %s is closed", l.dir)
	}
	if err := l.ready(); err != nil {
		return err
	}
	g := l.segments[len(l.segments)-1]
	var size int64
	for i := range records {
		size += records[i].frameSize()
	}
	b := make([]byte, 0, size)
	next, arrived := max(l.last+1, clock), max(l.lastArrived, now)
	marks := len(g.marks)
	for i := range records {
		records[i].counter, records[i].arrived = next+uint64(i), arrived
		g.mark(records[i], g.size+int64(len(b)))
		b = appendFrame(b, records[i])
	}
	if _, err := l.file.WriteAt(b, g.size); err != nil {
		g.marks = g.marks[:marks]
		if terr := l.file.Truncate(g.size); terr != nil {
			l.broken = fmt.Errorf("kinesis: %s takes no more records until a restart: %w", g.path, errors.Join(err, terr))
		}
		return fmt.Errorf("kinesis: appending to %s: %w", g.path, err)
	}
	g.size += size
	g.last, g.lastArrived = next+uint64(len(records))-1, arrived
	l.last, l.lastArrived = g.last, g.lastArrived
	l.written.Add(size)
	return nil
}

// read returns the records from counter on, at most limit and, beyond the first, at most maxBytes of keys and
// data together; the counter to go on from; and whether there are records there by now.
func (l *shardLog) read(from uint64, limit, maxBytes int) (out []record, next uint64, more bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	bytes, full := 0, false
	next = from
	for _, g := range l.segments[l.find(func(g *segment) bool { return g.last >= from }):] {
		err := g.scan(g.before(func(m mark) bool { return m.counter <= from }), func(r record) bool {
			if r.counter < from {
				return true
			}
			if full = len(out) == limit || (len(out) > 0 && bytes+r.size() > maxBytes); full {
				return false
			}
			bytes += r.size()
			r.data = append([]byte{}, r.data...)
			out = append(out, r)
			next = r.counter + 1
			return true
		})
		if err != nil {
			return nil, from, false, err
		}
		if full {
			return out, next, true, nil
		}
	}
	return out, max(from, l.last+1), false, nil // counters up to the last may be trimmed
}

// since returns the counter of the first record that arrived at or after the time t (milliseconds), or one past
// the newest when there is none.
func (l *shardLog) since(t int64) (counter uint64, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	counter = l.last + 1
	i := l.find(func(g *segment) bool { return g.lastArrived >= t })
	if i == len(l.segments) {
		return counter, nil
	}
	g := l.segments[i]
	err = g.scan(g.before(func(m mark) bool { return m.arrived < t }), func(r record) bool {
		if r.arrived >= t {
			counter = r.counter
			return false
		}
		return true
	})
	return counter, err
}

// tip returns the counter of the newest record.
func (l *shardLog) tip() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// sync puts everything written so far on the disk. Concurrent callers share an fsync.
func (l *shardLog) sync() error {
	want := l.written.Load()
	l.syncing.Lock()
	defer l.syncing.Unlock()
	for l.synced.Load() < want {
		l.mu.RLock()
		file, written := l.file, l.written.Load()
		l.mu.RUnlock()
		if file == nil {
			return nil // closed, which synced
		}
		err := file.Sync()
		if errors.Is(err, os.ErrClosed) {
			continue // rolled or closed meanwhile, which synced it: look again
		}
		if err != nil {
			return fmt.Errorf("kinesis: syncing %s: %w", file.Name(), err)
		}
		l.synced.Store(max(written, l.synced.Load()))
	}
	return nil
}

// trim removes the segments whose newest record arrived before cutoff (milliseconds).
func (l *shardLog) trim(cutoff int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segments); n > 0 && !l.sealed && len(l.segments[n-1].marks) > 0 && l.segments[n-1].lastArrived < cutoff {
		if err := l.roll(); err != nil { // the new, empty segment's name remembers the counter
			return err
		}
	}
	for len(l.segments) > 0 && l.segments[0].lastArrived < cutoff && (len(l.segments) > 1 || l.sealed) {
		if err := os.Remove(l.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("kinesis: trimming: %w", err)
		}
		l.segments = l.segments[1:]
	}
	return nil
}

// seal syncs and closes the file; the log can still be read and trimmed.
func (l *shardLog) seal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
	return l.closeFile()
}

// find returns the index of the first segment with ok, which must hold for all behind it too.
func (l *shardLog) find(ok func(*segment) bool) int {
	return sort.Search(len(l.segments), func(i int) bool { return ok(l.segments[i]) })
}

// ready sees to it that there is an open segment to append to.
func (l *shardLog) ready() error {
	if n := len(l.segments); n == 0 || l.segments[n-1].size >= l.segmentSize {
		return l.roll()
	}
	if l.file == nil {
		return l.openLast()
	}
	return nil
}

// roll seals the newest segment and begins another, whose name goes on after the newest counter.
func (l *shardLog) roll() error {
	if err := l.closeFile(); err != nil {
		return err
	}
	path := filepath.Join(l.dir, segmentName(l.last+1))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("kinesis: beginning a segment: %w", err)
	}
	_, err = f.WriteString(segmentHeader)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = durable.SyncDir(l.dir)
	}
	if err != nil {
		return fmt.Errorf("kinesis: beginning a segment: %w", errors.Join(err, f.Close()))
	}
	l.file = f
	l.segments = append(l.segments, &segment{path: path, base: l.last + 1, size: int64(len(segmentHeader)), last: l.last,
		lastArrived: l.lastArrived})
	return nil
}

func (l *shardLog) openLast() error {
	f, err := os.OpenFile(l.segments[len(l.segments)-1].path, os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("kinesis: opening a segment: %w", err)
	}
	l.file = f
	return nil
}

func (l *shardLog) closeFile() error {
	if l.file == nil {
		return nil
	}
	written := l.written.Load()
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("kinesis: syncing %s: %w", l.file.Name(), err)
	}
	l.synced.Store(written)
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("kinesis: closing a segment: %w", err)
	}
	return nil
}

// openSegment reads a whole segment, checks it, builds its index and cuts what is behind its last intact frame.
// last and lastArrived are those of the segment before; cut says how many bytes went.
func openSegment(dir string, base, last uint64, lastArrived int64) (g *segment, cut int64, err error) {
	g = &segment{path: filepath.Join(dir, segmentName(base)), base: base, size: int64(len(segmentHeader)),
		last: max(last, base-1), lastArrived: lastArrived}
	f, err := os.OpenFile(g.path, os.O_RDWR, 0o644)
	if err != nil {
		return nil, 0, fmt.Errorf("kinesis: opening a segment: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("kinesis: %w", err)
	}
	head := make([]byte, len(segmentHeader))
	if n, err := io.ReadFull(f, head); err != nil || string(head) != segmentHeader {
		if n == len(head) {
			return nil, 0, fmt.Errorf("kinesis: %s is not a segment of this format; move it away", g.path)
		}
		// Killed between making the file and writing its header: it never held a record.
		return g, 0, os.WriteFile(g.path, []byte(segmentHeader), 0o644)
	}
	if err := g.load(f, info.Size()); err != nil {
		return nil, 0, fmt.Errorf("kinesis: %s: %w", g.path, err)
	}
	if cut = info.Size() - g.size; cut > 0 {
		if err := f.Truncate(g.size); err != nil {
			return nil, 0, fmt.Errorf("kinesis: cutting a torn tail: %w", err)
		}
	}
	return g, cut, nil
}

// load reads the frames behind the header up to the first that is not intact.
func (g *segment) load(r io.Reader, size int64) error {
	frames := newFrameReader(r, size-int64(len(segmentHeader)))
	for {
		rec, err := frames.next()
		if err == io.EOF || errors.Is(err, errDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.counter <= g.last || rec.counter > maxCounter {
			return nil // counters grow by microseconds: these bytes are not what was appended here
		}
		g.mark(rec, g.size)
		g.size += rec.frameSize()
		g.last, g.lastArrived = rec.counter, max(g.lastArrived, rec.arrived)
	}
}

// mark remembers where r begins, if it is time for a mark.
func (g *segment) mark(r record, offset int64) {
	if n := len(g.marks); n == 0 || offset-g.marks[n-1].offset >= markEvery {
		g.marks = append(g.marks, mark{r.counter, r.arrived, offset})
	}
}

// before returns the offset of the last mark with ok, which must hold for all marks before it too, or the first
// record's.
func (g *segment) before(ok func(mark) bool) int64 {
	i := sort.Search(len(g.marks), func(i int) bool { return !ok(g.marks[i]) })
	if i == 0 {
		return int64(len(segmentHeader))
	}
	return g.marks[i-1].offset
}

// scan calls f for the records from offset on until f returns false.
func (g *segment) scan(offset int64, f func(record) bool) error {
	if offset >= g.size {
		return nil
	}
	file, err := os.Open(g.path)
	if err != nil {
		return fmt.Errorf("kinesis: reading a segment: %w", err)
	}
	defer file.Close()
	frames := newFrameReader(io.NewSectionReader(file, offset, g.size-offset), g.size-offset)
	for {
		r, err := frames.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("kinesis: %s, %d bytes before its end: %w", g.path, frames.left, err)
		}
		if !f(r) {
			return nil
		}
	}
}

func segmentName(base uint64) string { return fmt.Sprintf("%020d.log", base) }

// segmentBases lists the segments of dir by the counter in their names, ascending.
func segmentBases(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("kinesis: listing segments: %w", err)
	}
	var bases []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".log")
		base, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || base == 0 || segmentName(base) != e.Name() {
			return nil, fmt.Errorf("kinesis: %s is not a segment; move it away", filepath.Join(dir, e.Name()))
		}
		bases = append(bases, base)
	}
	sort.Slice(bases, func(i, j int) bool { return bases[i] < bases[j] })
	return bases, nil
}
