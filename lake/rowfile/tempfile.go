package rowfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
)

// tempFile is a temporary file, which the first write makes. It is not safe for concurrent use.
type tempFile struct {
	file *os.File
	size int64
}

// write appends p and returns its place.
func (s *tempFile) write(p []byte) (span, error) {
	if s.file == nil {
		f, err := os.CreateTemp("", "fanwatch-merge-")
		if err != nil {
			return span{}, fmt.Errorf("room for a merge: %w", err)
		}
		_ = os.Remove(f.Name()) // on Unix the file goes with the process, however that ends; elsewhere close removes it
		s.file = f
	}
	if _, err := s.file.Write(p); err != nil {
		return span{}, fmt.Errorf("room for a merge: %w", err)
	}
	at := span{s.size, int64(len(p))}
	s.size += at.size
	return at, nil
}

// read returns n bytes from offset on, in the memory of buf, which it grows.
func (s *tempFile) read(offset, n int64, buf *[]byte) ([]byte, error) {
	if offset < 0 || n < 0 || offset > s.size-n {
		return nil, io.ErrUnexpectedEOF
	}
	*buf = grown(*buf, int(n)+padding)[:n]
	_, err := s.file.ReadAt(*buf, offset)
	return *buf, err
}

// close removes the file.
func (s *tempFile) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if failed := os.Remove(s.file.Name()); !errors.Is(failed, fs.ErrNotExist) {
		err = errors.Join(err, failed)
	}
	return err
}

// pieces is an io.ReadSeeker of parts that are in memory and in a temporary file.
type pieces struct {
	file  *tempFile
	parts []piece
	at    int64
	size  int64
	buf   []byte
}

// piece is a part of pieces.
type piece struct {
	start int64  // place in pieces
	bytes []byte // nil: the part is in the file
	span         // place in the file, where bytes is nil; its size always
}

func (p *pieces) add(part piece) {
	part.start = p.size
	if part.bytes != nil {
		part.size = int64(len(part.bytes))
	}
	p.size += part.size
	p.parts = append(p.parts, part)
}

// Read implements io.Reader.
func (p *pieces) Read(to []byte) (int, error) {
	data, err := p.next(int64(len(to)))
	p.at += int64(copy(to, data))
	return len(data), err
}

// WriteTo implements io.WriterTo, which saves a copy of all bytes.
func (p *pieces) WriteTo(w io.Writer) (written int64, err error) {
	for {
		data, err := p.next(fetchPiece)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return written, err
		}
		n, err := w.Write(data)
		written, p.at = written+int64(n), p.at+int64(n)
		if err != nil {
			return written, err
		}
	}
}

// next returns the next bytes, at most n and not beyond a part's end.
func (p *pieces) next(n int64) ([]byte, error) {
	i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].start+p.parts[i].size > p.at })
	if i == len(p.parts) {
		return nil, io.EOF
	}
	part := p.parts[i]
	skip := p.at - part.start
	n = min(n, part.size-skip)
	if part.bytes != nil {
		return part.bytes[skip:][:n], nil
	}
	return p.file.read(part.offset+skip, n, &p.buf)
}

// Seek implements io.Seeker.
func (p *pieces) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	p.at = offset
	return offset, nil
}
