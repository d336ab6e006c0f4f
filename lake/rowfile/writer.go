package rowfile

import (
	"fmt"
)

// Writer writes sorted rows of one day into the bytes of one Parquet file. It is for one goroutine.
type Writer struct {
	File
	dict   *textDict
	group  []vector // columns of the group that is being filled
	fill   int      // rows of group
	batch  []Row    // rows that are not yet in group
	chunks *chunkWriter
	buf    []byte
}

// NewWriter begins a file of the day, counted from 1970.
func NewWriter(day int32) *Writer {
	return &Writer{File: File{Day: day}, dict: newTextDict(), group: make([]vector, len(tableLayout().columns)),
		batch:  make([]Row, 0, 1024),
		chunks: newChunkWriter(), buf: []byte(fileMagic)}
}

// Add appends a row. It must be of the day and not be less, by [Row.Compare], than the row before.
func (f *Writer) Add(s *Row) error {
	f.Rows++
	if f.batch = append(f.batch, *s); len(f.batch) < cap(f.batch) && f.fill+len(f.batch) < groupRows {
		return nil
	}
	f.transpose()
	if f.fill < groupRows {
		return nil
	}
	return f.flush()
}

// transpose moves the batch to the group's columns.
func (f *Writer) transpose() {
	transpose(f.batch, f.group, f.dict)
	f.fill += len(f.batch)
	f.batch = f.batch[:0]
}

// flush encodes the group and begins another.
func (f *Writer) flush() error {
	if f.fill == 0 {
		return nil
	}
	chunks := make([]chunk, len(f.group))
	for c, column := range tableLayout().columns {
		var err error
		if f.buf, chunks[c], err = f.chunks.write(f.buf, column, f.group[c], f.dict); err != nil {
			return err
		}
		f.group[c] = vector{numbers: f.group[c].numbers[:0], tags: f.group[c].tags[:0]}
	}
	f.groups, f.fill = append(f.groups, chunks), 0
	return nil
}

// Finish ends the file, reads its row count back and returns its bytes.
func (f *Writer) Finish() ([]byte, error) {
	f.transpose()
	if err := f.flush(); err != nil {
		return nil, err
	}
	tail, err := fileTail(f.groups)
	if err != nil {
		return nil, err
	}
	f.buf = append(f.buf, tail...)
	f.Size = int64(len(f.buf))
	back, err := OpenIndex(f.Size, FetchBytes(f.buf))
	if err != nil {
		return nil, fmt.Errorf("table: a file just written cannot be read: %w", err)
	}
	if back.Rows != f.Rows {
		return nil, fmt.Errorf("table: a file just written has %d rows, not %d", back.Rows, f.Rows)
	}
	return f.buf, nil
}
