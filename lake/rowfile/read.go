package rowfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"fanwatch/lake/internal/parquetguard"
)

// EachRow calls do with each row of a data file's bytes, in the file's order, until do returns an error. The row is
// valid until do returns.
func EachRow(data []byte, do func(*Row) error) (err error) {
	defer parquetguard.Catch(&err)
	index, err := OpenIndex(int64(len(data)), FetchBytes(data))
	if err != nil {
		return err
	}
	dict := newTextDict()
	r, columns, v := newChunkReader(dict), AllColumns(), make([]vector, len(tableLayout().columns))
	for g := range index.groups {
		rows := index.groups[g].rows
		for i, c := range columns {
			v[i] = v[i].sized(tableLayout().columns[c].kind, rows)
		}
		if err := index.readRows(r, FetchBytes(data), g, columns, rowsOfGroup{0, rows}, v); err != nil {
			return err
		}
		for i := range rows {
			var s Row
			assemble(&s, v, i, dict)
			if err := do(&s); err != nil {
				return err
			}
		}
	}
	return nil
}

// EachIdentity calls do with fan, run and seq of each row of the file. It reads these three columns alone.
func (x *Index) EachIdentity(fetch FetchFunc, do func(fan string, run, seq uint64)) (err error) {
	defer parquetguard.Catch(&err)
	l, dict := tableLayout(), newTextDict()
	r := newChunkReader(dict)
	columns, v := []int{l.fan, l.run, l.seq}, make([]vector, 3)
	for g := range x.groups {
		rows := x.groups[g].rows
		for i, c := range columns {
			v[i] = v[i].sized(l.columns[c].kind, rows)
		}
		if err := x.readRows(r, fetch, g, columns, rowsOfGroup{0, rows}, v); err != nil {
			return err
		}
		for i := range rows {
			do(dict.texts[v[0].tags[i]], v[1].numbers[i], v[2].numbers[i])
		}
	}
	return nil
}

// Fans returns the names of the file's fans, in no order. It reads this column alone.
func (x *Index) Fans(fetch FetchFunc) (names []string, err error) {
	defer parquetguard.Catch(&err)
	dict, c := newTextDict(), tableLayout().fan
	r := newChunkReader(dict)
	var v vector
	for g := range x.groups {
		ch := &x.groups[g].chunks[c]
		data, err := fetch(ch.start, ch.size)
		if err != nil {
			return nil, err
		}
		if err := r.readAsRuns(&v, tableLayout().columns[c], ch, data, x.groups[g].rows); err != nil {
			return nil, err
		}
	}
	return dict.texts[1:], nil
}

// DecodeColumns calls do with each row of a data file's bytes, in the file's order, with the columns that the fields of
// T name. It reads files of any program, through the library. The row is valid until do returns.
func DecodeColumns[T any](data []byte, do func(*T)) (err error) {
	defer parquetguard.Catch(&err)
	f, err := openDataFile(data)
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[T](f)
	defer r.Close()
	batch := make([]T, 1024)
	for {
		n, err := r.Read(batch)
		for i := range batch[:n] {
			do(&batch[i])
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("damaged Parquet file: %w", err)
		}
	}
}

// openDataFile opens a file through the library, after it has checked the sizes that the library believes.
func openDataFile(data []byte) (*parquet.File, error) {
	if err := parquetguard.CheckFooter(data); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("damaged Parquet file: %w", err)
	}
	for _, group := range f.Metadata().RowGroups {
		for _, c := range group.Columns {
			m := &c.MetaData
			start, size := m.DataPageOffset, m.TotalCompressedSize
			if m.DictionaryPageOffset > 0 && m.DictionaryPageOffset < start {
				start = m.DictionaryPageOffset
			}
			if start < 0 || size < 0 || size > int64(len(data)) || start > int64(len(data))-size {
				return nil, parquetguard.ErrFooter
			}
			if err := checkPages(m.Codec, data[start:start+size]); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}
