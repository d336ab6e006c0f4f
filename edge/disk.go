package edge

import (
	"os"
	"slices"
)

// roll closes the active segment and opens the next, on disk where that works.
func (s *Spool) roll() {
	if s.file != nil {
		s.unsynced = append(s.unsynced, s.file)
		s.file = nil
	}
	g := &segment{id: s.nextID, run: s.c.Run, boot: s.boot, size: headerSize}
	s.nextID++
	header := appendHeader(make([]byte, 0, headerSize), s.c.Run, s.boot)
	if s.disk == nil {
		f, err := writeSegment(s.path(g.id), header)
		if err == nil {
			s.file, g.onDisk, s.newNames = f, true, true
		} else {
			s.fail(err)
		}
	}
	if !g.onDisk {
		g.memory = header
	}
	s.active = g // only now: fail gives up the active segment
	s.segments = append(s.segments, g)
	s.removeSpent()
}

// unload puts what is in memory on disk, oldest first, as far as the disk takes it.
func (s *Spool) unload() bool {
	if s.disk == nil || s.closed {
		return false
	}
	takeUp := s.reclaim
	if s.cursorFile == nil { // it could not even be opened
		takeUp = s.open
	}
	if err := takeUp(); err != nil {
		s.failures++
		s.disk = err
		return false
	}
	for _, g := range s.segments {
		if g.onDisk {
			continue
		}
		f, err := writeSegment(s.path(g.id), g.memory)
		if err != nil {
			s.failures++
			s.disk = err
			return false
		}
		s.unsynced = append(s.unsynced, f)
		g.onDisk, g.memory, s.newNames = true, nil, true
	}
	s.c.Log.Info("spool: disk works again", "fan", s.c.Fan)
	s.disk, s.active = nil, nil
	return true
}

// trim drops the oldest readings while the spool is over its caps.
func (s *Spool) trim() {
	var bytes, memory int64
	first := -1
	for i, g := range s.segments {
		bytes += g.size
		if !g.onDisk {
			memory += g.size
			if first < 0 {
				first = i
			}
		}
	}
	for memory > s.c.MaxMemory && first < len(s.segments)-1 {
		memory -= s.segments[first].size
		bytes -= s.segments[first].size
		s.drop(first)
	}
	for bytes > s.c.MaxBytes && len(s.segments) > 1 {
		bytes -= s.segments[0].size
		s.drop(0)
	}
}

// drop removes the segment with index i and counts what was in it.
func (s *Spool) drop(i int) {
	g := s.segments[i]
	s.cursor.TotalDropped += uint64(g.left)
	s.c.Log.Warn("spool: readings dropped", "fan", s.c.Fan, "readings", g.left, "dropped so far", s.cursor.TotalDropped)
	s.segments = slices.Delete(s.segments, i, i+1)
	if g == s.active {
		s.active = nil
		if s.file != nil {
			s.unsynced, s.file = append(s.unsynced, s.file), nil
		}
	}
	s.inflight = slices.DeleteFunc(s.inflight, func(b *Batch) bool {
		b.void = b.to.segment == g.id
		return b.void
	})
	s.counted = s.cursor.count
	for _, b := range s.inflight {
		s.counted.pass(b.run, b.Records[0].Seq, b.Records[len(b.Records)-1].Seq, uint64(len(b.Records)))
	}
	if s.at.segment == g.id {
		s.at = place{segment: g.id + 1}
	}
	if i == 0 {
		s.cursor.Segment, s.cursor.Offset = g.id+1, 0
	}
	s.saveCursor()
	s.remove(g)
}

// removeSpent deletes the segments in which everything is acknowledged.
func (s *Spool) removeSpent() {
	for len(s.segments) > 0 {
		g := s.segments[0]
		if g == s.active || g.left > 0 || len(s.inflight) > 0 && s.inflight[0].to.segment == g.id {
			return
		}
		s.segments = s.segments[1:]
		s.remove(g)
	}
}

func (s *Spool) remove(g *segment) {
	if !g.onDisk {
		return
	}
	if err := os.Remove(s.path(g.id)); err != nil {
		s.failures++ // the cursor is behind it, so the next opening tries again
	}
}

func (s *Spool) saveCursor() {
	if s.cursorFile == nil {
		return
	}
	if err := s.cursorFile.save(s.cursor); err != nil {
		s.fail(err)
	}
}

// fail notes that the disk does not take readings: they stay in memory from here on.
func (s *Spool) fail(err error) {
	s.failures++
	if s.disk == nil {
		s.c.Log.Error("spool: the disk does not take readings, they stay in memory", "fan", s.c.Fan, "err", err)
	}
	s.disk = err
	if s.file != nil {
		s.unsynced, s.file = append(s.unsynced, s.file), nil
	}
	s.active = nil
}
