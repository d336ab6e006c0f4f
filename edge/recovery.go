package edge

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"fanwatch/internal/durable"
)

// open takes the directory into possession and finds what earlier runs left there.
func (s *Spool) open() error {
	if err := s.possess(); err != nil {
		return err
	}
	file, cur, lost, err := openCursor(s.cursorPath())
	if err != nil {
		return err
	}
	found, err := s.recover(cur)
	if err != nil {
		file.f.Close()
		return err
	}
	if s.nextID > 1 { // the disk was not there at the start and is now: this run's count goes on
		if len(found) > 0 {
			file.f.Close()
			return fmt.Errorf("spool %s: holds %d segments of earlier runs, which the next start will send: this run "+
				"stays in memory", s.c.Dir, len(found))
		}
		s.cursor.TotalAcked += cur.TotalAcked
		s.cursor.TotalDropped += cur.TotalDropped
		s.cursorFile = file
		return s.cursorFile.save(s.cursor)
	}
	if lost && len(found) > 0 {
		s.c.Log.Warn("spool: the cursor is damaged, everything in the spool is sent again", "fan", s.c.Fan)
		cur.count = count{Run: found[0].run}
	}
	s.cursorFile, s.segments = file, found
	s.cursor, s.cursor.TotalDropped = cur, cur.TotalDropped+s.cursor.TotalDropped
	s.nextID = max(s.nextID, cur.Segment+1)
	for _, g := range found {
		s.nextID = max(s.nextID, g.id+1)
	}
	s.rewind()
	// Both slots, so that the file has its blocks before the disk can be full.
	return errors.Join(file.save(s.cursor), file.save(s.cursor))
}

// possess makes the directory and locks it.
func (s *Spool) possess() error {
	if err := durable.MkdirAll(s.c.Dir, 0o700); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if isAt(s.lock, s.lockPath()) {
		return nil
	}
	f, err := lockFile(s.lockPath())
	if err != nil {
		return fmt.Errorf("spool %s: %w", s.c.Dir, err)
	}
	if s.lock != nil {
		s.lock.Close()
	}
	s.lock = f
	return nil
}

// owns reports whether lock and cursor are still where they were made. Removed files still take writes, but no
// later start finds them.
func (s *Spool) owns() bool {
	return isAt(s.lock, s.lockPath()) && isAt(s.cursorFile.f, s.cursorPath())
}

// reclaim makes lock and cursor again where they were removed: without the one a second publisher would be let
// in, without the other the next start would not know what was acknowledged.
func (s *Spool) reclaim() error {
	if s.owns() {
		return nil
	}
	if err := s.possess(); err != nil {
		return err
	}
	file, _, _, err := openCursor(s.cursorPath())
	if err != nil {
		return err
	}
	if err := errors.Join(file.save(s.cursor), file.save(s.cursor)); err != nil {
		file.f.Close()
		return err
	}
	s.cursorFile.f.Close()
	s.cursorFile, s.newNames = file, true
	return nil
}

// isAt reports whether the open file is the one that stands at path; f may be nil.
func isAt(f *os.File, path string) bool {
	if f == nil {
		return false
	}
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

func (s *Spool) lockPath() string { return filepath.Join(s.c.Dir, "lock") }

func (s *Spool) cursorPath() string { return filepath.Join(s.c.Dir, "cursor") }

// recover reads the segments behind cur, cuts torn tails and deletes what is spent.
func (s *Spool) recover(cur cursor) ([]*segment, error) {
	entries, err := os.ReadDir(s.c.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var found []*segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		id, err := strconv.ParseUint(name, 16, 64)
		if !ok || err != nil || len(name) != 16 {
			continue
		}
		path := s.path(id)
		if id < cur.Segment {
			_ = os.Remove(path) // spent; where it cannot be removed it is passed over again
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			s.failures++
			s.c.Log.Error("spool: a segment cannot be read and is left out", "fan", s.c.Fan, "err", err)
			continue
		}
		g := &segment{id: id, onDisk: true}
		if id == cur.Segment {
			err = s.scan(g, data, int(cur.Offset))
		} else {
			err = s.scan(g, data, 0)
		}
		switch {
		case err != nil:
			s.c.Log.Error("spool: a segment is left out", "fan", s.c.Fan, "segment", path, "err", err)
		case g.left == 0:
			_ = os.Remove(path)
		default:
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	return found, nil
}

// scan counts the readings of a segment from the offset on and cuts off what follows the last whole
// frame. An error is a segment of a version that this program does not know; it stays on disk.
func (s *Spool) scan(g *segment, data []byte, from int) error {
	run, boot, err := parseHeader(data)
	if err != nil {
		if len(data) > 4 && string(data[:4]) == segmentMagic && data[4] > segmentVersion {
			return err
		}
		s.torn += uint64(len(data)) // the power went while the file was made, or the header is damaged
		s.c.Log.Warn("spool: a segment without a header is given up", "fan", s.c.Fan, "bytes", len(data))
		return nil
	}
	g.run, g.boot, g.size = run, boot, headerSize
	var last uint64
	for off := headerSize; ; {
		payload, start, end := nextFrame(data, off)
		if payload == nil {
			break
		}
		s.torn += uint64(start - off)
		off, g.size = end, int64(end)
		r, err := decodePayload(payload)
		if err != nil {
			continue
		}
		if start >= from {
			g.left++
			if last > 0 && r.Seq > last+1 {
				s.cursor.TotalDropped += r.Seq - last - 1
			}
		}
		last = r.Seq
	}
	if cut := int64(len(data)) - g.size; cut > 0 {
		s.torn += uint64(cut)
		s.c.Log.Warn("spool: a torn tail was cut", "fan", s.c.Fan, "bytes", cut)
		_ = os.Truncate(s.path(g.id), g.size) // where this fails the tail is passed over in memory
	}
	return nil
}

func (s *Spool) release() {
	for _, f := range append(s.unsynced, s.file, s.lock) {
		if f != nil {
			f.Close()
		}
	}
	if s.cursorFile != nil {
		s.cursorFile.f.Close()
	}
}

// diskTrouble tells a full, read-only or failing disk from a wrong configuration.
func diskTrouble(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO) ||
		errors.Is(err, syscall.EDQUOT)
}

// writeSegment makes a segment file that holds b and leaves it open at its end.
func writeSegment(path string, b []byte) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool segment: %w", err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		_ = os.Remove(path) // half a segment would be recovered as a torn one
		return nil, fmt.Errorf("spool segment: %w", err)
	}
	return f, nil
}
