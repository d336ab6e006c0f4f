package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// cursor is how far the spool has been acknowledged, and what was counted on the way.
type cursor struct {
	Segment uint64 // segments below it are spent
	Offset  uint64 // bytes of Segment that are acknowledged; 0 = none
	count
	TotalAcked, TotalDropped uint64 // since the spool was made
}

// count counts the readings of one run up to some place in the spool. Sequence numbers have no holes
// where they are given out, so a hole behind Next tells how many were dropped.
type count struct {
	Run     uint64 // 0: no run yet
	Acked   uint64
	Dropped uint64
	Next    uint64 // the sequence number that must come next; 0: not known
}

// pass moves the count over readings first..last (n of them, fewer where damage made a hole) of run.
func (c *count) pass(run, first, last, n uint64) (dropped uint64) {
	if run != c.Run {
		*c = count{Run: run, Next: 1}
	}
	if c.Next > 0 && first > c.Next {
		dropped = first - c.Next
	}
	if hole := last - first + 1 - n; last >= first && hole < last {
		dropped += hole
	}
	c.Dropped += dropped
	c.Next = last + 1
	return dropped
}

// The cursor file has two slots that are written in turn, so that a torn write spoils only the older
// state: version (1 byte), 7 zero bytes, generation, its eight numbers, CRC-32C. Writing in place costs
// the SD card one block and no directory entry.
const (
	cursorVersion = 1
	cursorSlot    = 4096
	cursorSize    = 8 + 8 + 8*8 + 4
)

type cursorFile struct {
	f          *os.File
	generation uint64
}

// openCursor opens or makes the file and reads the newer whole slot; lost tells that there was a file
// and no slot could be read.
func openCursor(path string) (c *cursorFile, cur cursor, lost bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, cursor{}, false, fmt.Errorf("spool cursor: %w", err)
	}
	c = &cursorFile{f: f}
	b := make([]byte, cursorSlot+cursorSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, cursor{}, false, fmt.Errorf("spool cursor: %w", err)
	}
	for _, slot := range [][]byte{b[:cursorSize], b[cursorSlot:]} {
		if generation, read, ok := decodeCursor(slot); ok && generation > c.generation {
			c.generation, cur = generation, read
		}
	}
	return c, cur, n > 0 && c.generation == 0, nil
}

func (c *cursorFile) save(cur cursor) error {
	c.generation++
	b := encodeCursor(c.generation, cur)
	if _, err := c.f.WriteAt(b, int64(c.generation%2)*cursorSlot); err != nil {
		return fmt.Errorf("spool cursor: %w", err)
	}
	return nil
}

func encodeCursor(generation uint64, c cursor) []byte {
	b := []byte{cursorVersion, 0, 0, 0, 0, 0, 0, 0}
	for _, v := range [...]uint64{generation, c.Segment, c.Offset, c.Run, c.Acked, c.Dropped, c.Next, c.TotalAcked,
		c.TotalDropped} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeCursor(b []byte) (generation uint64, c cursor, ok bool) {
	if len(b) != cursorSize || b[0] != cursorVersion ||
		crc32.Checksum(b[:cursorSize-4], castagnoli()) != binary.LittleEndian.Uint32(b[cursorSize-4:]) {
		return 0, cursor{}, false
	}
	for i, v := range [...]*uint64{&generation, &c.Segment, &c.Offset, &c.Run, &c.Acked, &c.Dropped, &c.Next,
		&c.TotalAcked, &c.TotalDropped} {
		*v = binary.LittleEndian.Uint64(b[8+8*i:])
	}
	return generation, c, true
}
