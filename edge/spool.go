package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"fanwatch/failpoint"
	"fanwatch/internal/durable"
)

// SpoolConfig says where a spool is and how large it may become. Zero values give the defaults.
type SpoolConfig struct {
	Dir          string // one directory per publisher; made when missing
	Fan          string // whose readings these are
	Run          uint64 // of the readings that will be appended; 1..2^63-1
	MaxBytes     int64  // of all segments; 0 = 64 MiB, some 12 days at 1 Hz. Beyond it the oldest go
	MaxMemory    int64  // of what is kept in memory while the disk does not take it; 0 = 4 MiB, some 18 hours
	SegmentBytes int64  // a segment is closed at this size; 0 = 256 KiB
	Log          *slog.Logger
}

// Spool holds readings from Append until Ack, in order, through a kill, a power cut and a full disk.
//
//   - Each reading is written at once (write(2)), so the end of the process loses none; Sync makes them
//     survive a power cut. A torn or zeroed tail is cut when the spool is opened.
//   - A disk that does not take readings (full, read-only, broken) is reported and counted; they stay
//     in memory then, and Sync puts them on disk when it works again.
//   - When the spool is full the oldest readings go, counted; none is ever reordered.
//   - The cursor moves over a contiguous acknowledged prefix only.
//
// Safe for concurrent use.
type Spool struct {
	c    SpoolConfig
	boot string
	lock *os.File
	wake chan struct{}

	mu       sync.Mutex
	closed   bool
	segments []*segment // oldest first
	nextID   uint64
	active   *segment // takes appends; nil: the next one opens a segment
	file     *os.File // the active segment's; nil while in memory
	unsynced []*os.File
	newNames bool // the directory has entries that were not synced

	cursor     cursor
	cursorFile *cursorFile

	at       place // where Next goes on
	counted  count // of the readings before at
	inflight []*Batch

	disk     error // why readings stay in memory; nil: they go to disk
	failures uint64
	torn     uint64
}

type segment struct {
	id     uint64
	run    uint64
	boot   string
	size   int64  // of what is whole
	left   int    // readings not acknowledged
	memory []byte // the contents while not on disk
	onDisk bool
}

type place struct {
	segment uint64
	offset  int64
}

// Batch is a number of consecutive readings of one run that Next gave out.
type Batch struct {
	Records []Record
	Acked   uint64 // readings of this run that were acknowledged when the batch was made
	Dropped uint64 // readings of this run that were dropped before it
	Boot    string // of the machine's boot that the records' Boot counts from

	run        uint64
	to         place // where it ends
	done, void bool
}

// SpoolStats are the counts and the state of a spool.
type SpoolStats struct {
	Acked    uint64 // readings acknowledged since the spool was made
	Dropped  uint64 // readings dropped since then: too old for the cap, or damaged
	Spooled  int    // readings not yet acknowledged
	Unsent   int    // of these, not given out by Next
	Bytes    int64
	Memory   int    // readings that are in memory only
	Torn     uint64 // bytes of damage cut or skipped since this spool was opened
	Failures uint64 // disk operations that failed since then
	Disk     string // why readings stay in memory; "" when they do not
}

// OpenSpool opens the spool, recovers what earlier runs left and makes it ready for this one. A disk
// that is full or read-only is no error: the spool then begins in memory. Anything else that keeps it
// from its directory is, as is another process that has it open.
func OpenSpool(c SpoolConfig) (*Spool, error) {
	c.MaxBytes = positive(c.MaxBytes, 64<<20)
	c.MaxMemory = positive(c.MaxMemory, 4<<20)
	c.SegmentBytes = positive(c.SegmentBytes, 256<<10)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Spool{c: c, boot: bootID(), wake: make(chan struct{}, 1), nextID: 1}
	if err := s.open(); err != nil {
		if !diskTrouble(err) {
			s.release()
			return nil, err
		}
		s.fail(err)
	}
	return s, nil
}

// Append adds a reading of this spool's run. It returns when the operating system has it, or when it is
// in memory because the disk is in trouble.
func (s *Spool) Append(r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	frame := appendFrame(make([]byte, 0, 96), r)
	if s.active == nil || s.active.size+int64(len(frame)) > s.c.SegmentBytes {
		s.roll()
	}
	if s.file != nil {
		if _, err := s.file.Write(frame); err != nil {
			_ = s.file.Truncate(s.active.size) // a part may have gone through; recovery skips it where this fails too
			s.fail(fmt.Errorf("spool append: %w", err))
			s.roll()
		}
	}
	if s.file == nil {
		s.active.memory = append(s.active.memory, frame...)
	}
	s.active.size += int64(len(frame))
	s.active.left++
	failpoint.Hit(failpoint.SpoolAppended)
	s.trim()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Sync makes everything appended so far survive a power cut, and tries again to put on disk what had to
// stay in memory. Call it every 10 s and on a change of state; it may take as long as the disk does, and
// the other methods do not wait for it.
func (s *Spool) Sync() error {
	if err := s.flush(); err != nil { // first, because it also lets go of deleted files, and so of space
		return err
	}
	s.mu.Lock()
	if s.disk == nil && !s.closed && !s.owns() {
		s.fail(fmt.Errorf("spool %s: its files are not where it made them, and what was in them may be lost: it makes "+
			"them again", s.c.Dir))
	}
	loaded := s.unload()
	s.mu.Unlock()
	if loaded {
		return s.flush()
	}
	return nil
}

// Next returns the next readings after those already given out, at most n, all of one run; nil when there
// are none.
func (s *Spool) Next(n int) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		g := s.segmentAt()
		if g == nil {
			return nil
		}
		if b := s.read(g, n); b != nil {
			s.inflight = append(s.inflight, b)
			return b
		}
		if g == s.active {
			return nil
		}
		s.at = place{segment: g.id + 1}
	}
	return nil
}

// Ack marks a batch as acknowledged. The cursor moves over the contiguous prefix of acknowledged batches.
func (s *Spool) Ack(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || b.void {
		return
	}
	b.done = true
	moved := false
	for len(s.inflight) > 0 && s.inflight[0].done {
		b := s.inflight[0]
		if !moved {
			failpoint.Hit(failpoint.SpoolAcked)
		}
		s.inflight, moved = s.inflight[1:], true
		n := uint64(len(b.Records))
		s.cursor.pass(b.run, b.Records[0].Seq, b.Records[n-1].Seq, n)
		s.cursor.Acked += n
		s.cursor.TotalAcked += n
		s.cursor.Segment, s.cursor.Offset = b.to.segment, uint64(b.to.offset)
		if i := s.index(b.to.segment); i >= 0 {
			s.segments[i].left -= int(n)
		}
	}
	if moved {
		s.saveCursor()
		s.removeSpent()
	}
}

// Rewind takes back what was given out and not acknowledged: Next gives it again.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewind()
}

// Wake returns a channel that holds a value when something was appended since it was last emptied.
func (s *Spool) Wake() <-chan struct{} { return s.wake }

// Unsent returns how many readings Next has not given out.
func (s *Spool) Unsent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsent()
}

func (s *Spool) unsent() (n int) {
	for _, g := range s.segments {
		n += g.left
	}
	for _, b := range s.inflight {
		n -= len(b.Records)
	}
	return n
}

// Stats returns the counts of the spool.
func (s *Spool) Stats() SpoolStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SpoolStats{Acked: s.cursor.TotalAcked, Dropped: s.cursor.TotalDropped, Torn: s.torn, Failures: s.failures}
	for _, g := range s.segments {
		st.Spooled += g.left
		st.Bytes += g.size
		if !g.onDisk {
			st.Memory += g.left
		}
	}
	st.Unsent = s.unsent()
	if s.disk != nil {
		st.Disk = s.disk.Error()
	}
	return st
}

// Close syncs and closes the spool; what was not acknowledged stays on disk. Everything is a no-op
// afterwards.
func (s *Spool) Close() error {
	err := s.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.saveCursor()
	s.release()
	return err
}

// flush syncs files and directory. It does not hold the mutex while the disk works.
func (s *Spool) flush() error {
	s.mu.Lock()
	files, current, names := s.unsynced, s.file, s.newNames
	s.unsynced, s.newNames = nil, false
	s.mu.Unlock()

	var errs []error
	for _, f := range files {
		errs = append(errs, f.Sync(), f.Close())
	}
	if current != nil {
		if err := current.Sync(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if names {
		errs = append(errs, durable.SyncDir(s.c.Dir))
	}
	err := errors.Join(errs...)
	if err != nil {
		err = fmt.Errorf("spool sync: %w", err)
		s.mu.Lock()
		s.fail(err)
		s.mu.Unlock()
	}
	return err
}

func (s *Spool) rewind() {
	for _, b := range s.inflight {
		b.void = true
	}
	s.inflight = nil
	s.at = place{s.cursor.Segment, int64(s.cursor.Offset)}
	s.counted = s.cursor.count
}

// segmentAt returns the segment in which Next goes on, nil at the end of the spool.
func (s *Spool) segmentAt() *segment {
	for _, g := range s.segments {
		if g.id < s.at.segment {
			continue
		}
		if g.id > s.at.segment {
			s.at = place{segment: g.id}
		}
		s.at.offset = max(s.at.offset, headerSize)
		return g
	}
	return nil
}

// read takes up to n readings of g from s.at on; nil when there are none left in it.
func (s *Spool) read(g *segment, n int) *Batch {
	rest := g.size - s.at.offset
	for _, size := range [...]int64{int64(n) * (frameHead + maxPayload), rest} { // the second when damage fills the first
		data, err := s.contents(g, s.at.offset, min(size, rest))
		if err != nil {
			s.fail(err)
			s.drop(s.index(g.id))
			return nil
		}
		b := &Batch{run: g.run, Boot: g.boot}
		off := 0
		for len(b.Records) < n {
			payload, start, end := nextFrame(data, off)
			if payload == nil || (start != off && len(b.Records) > 0) { // a batch ends at damage, so that Dropped stays right
				break
			}
			if r, err := decodePayload(payload); err == nil {
				r.Fan, r.Run = s.c.Fan, g.run
				b.Records = append(b.Records, r)
			}
			off = end
		}
		if len(b.Records) == 0 {
			continue
		}
		s.at.offset += int64(off)
		b.to = s.at
		count := len(b.Records)
		s.counted.pass(g.run, b.Records[0].Seq, b.Records[count-1].Seq, uint64(count))
		b.Dropped = s.counted.Dropped
		if s.cursor.Run == g.run {
			b.Acked = s.cursor.Acked
		}
		return b
	}
	return nil
}

func (s *Spool) contents(g *segment, from, n int64) ([]byte, error) {
	if n <= 0 {
		return nil, nil
	}
	if !g.onDisk {
		return slices.Clone(g.memory[from : from+n]), nil
	}
	f, err := os.Open(s.path(g.id))
	if err != nil {
		return nil, fmt.Errorf("spool read: %w", err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, from); err != nil {
		return nil, fmt.Errorf("spool read: %w", err)
	}
	return b, nil
}

func (s *Spool) index(id uint64) int {
	return slices.IndexFunc(s.segments, func(g *segment) bool { return g.id == id })
}

func (s *Spool) path(id uint64) string { return filepath.Join(s.c.Dir, fmt.Sprintf("%016x.seg", id)) }

func positive(v, d int64) int64 {
	if v > 0 {
		return v
	}
	return d
}
